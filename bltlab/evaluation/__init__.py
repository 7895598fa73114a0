"""How good a model is: `score`, its bits per byte, and the tasks of `python -m bltlab evaluate`.

task.py says what a task is; a new one is a file beside it and its name here.
"""

from . import likelihood, translation, words
from .likelihood import score
from .task import Request, Task

TASKS: dict[str, Task] = {
    "likelihood": likelihood.TASK,
    "translation": translation.TASK,
    "words": words.TASK,
}

__all__ = ["TASKS", "Request", "Task", "score"]
