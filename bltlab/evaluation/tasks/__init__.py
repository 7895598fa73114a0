"""The tasks of `python -m bltlab evaluate`, one a file; base.py says how to write one."""

import inspect
import pkgutil
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from ...options import load_class
from .base import Answers, Item, Reading, Task

__all__ = ["Answers", "Item", "Reading", "Task", "is_task", "known_tasks", "task_of"]


@lru_cache(None)
def known_tasks() -> dict[str, Task]:
    """The tasks of this folder by name: whatever class has one, in whatever file."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        for task in _tasks_in(import_module(f"{__name__}.{module.name}")):
            found[task.name] = task
    return found


def _tasks_in(module: object) -> list[Task]:
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass)]
    return [kind() for kind in kinds if issubclass(kind, Task) and kind.name]


def is_task(spec: str) -> bool:
    """Does a text name a task of this folder, or a class in a file that is there?"""
    name = spec.partition(":")[0]
    own_file = Path(name if name.endswith(".py") else f"{name}.py")
    return name in known_tasks() or (":" in spec and own_file.is_file())


def task_of(spec: str) -> tuple[Task, str]:
    """(task, corpus) of "name", "name:CORPUS", or "file:Class" for a task of one's own.

    >>> task, corpus = task_of("translation:corpora/pairs")
    >>> task.name, corpus
    ('translation', 'corpora/pairs')

    Raises ValueError for a task that is not known.
    """
    name, _, rest = spec.partition(":")
    known = known_tasks()
    if name in known:
        return known[name], rest or known[name].text
    if not rest:
        raise ValueError(
            f"task must be one of {', '.join(known)}, or file:Class for one of your own, got"
            f" {spec!r}"
        )
    kind = load_class(spec)
    if not issubclass(kind, Task) or not kind.name:
        raise ValueError(f"{spec} must be a class below bltlab.evaluation.tasks.Task with a name")
    return kind(), kind.text
