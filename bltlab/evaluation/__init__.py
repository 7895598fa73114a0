"""How good a model is: `score`, its bits per byte, and the tasks of `python -m bltlab evaluate`.

A task is a file in tasks/, whose base.py says how to write one; harness.py asks them.
"""

from typing import Any

from .likelihood import score
from .tasks import Task, known_tasks, translation

__all__ = ["TASKS", "Task", "score", "translation"]


def __getattr__(name: str) -> Any:
    if name == "TASKS":
        return known_tasks()
    raise AttributeError(f"module {__name__} has no {name}")
