"""Training: `train` is a generator of `Report`s, so a command line, a notebook and a test watch one
loop.

    options        everything that a run depends on
    text           what it reads and is measured on
    start          the weights that it starts from; the patch threshold
    distributed    the processes that share it
    losses         what a batch holds, and what is minimised on it
    schedule       the learning rate over the steps
    optim          Muon and AdamW
    loop           a stage: step after step, until its text is read
    watch          what is measured: held-out bits, samples, trackers
    states         the tensors of a state: a folder from elsewhere runs no code
    folder         states to resume from, the log, the samples
    run            all of it together

Names are loaded when they are first used: the command line needs the options only, and what several
processes need is slow to import.
"""

from importlib import import_module
from typing import Any

_NAMES_IN = {
    "run": ("train",),
    "options": ("TrainOptions",),
    "watch": ("Report", "Sample", "held_out_bits"),
    "text": ("choose_threshold",),
    "loop": ("keep_freed_memory",),
    "optim": ("Muon", "orthogonalise"),
    "schedule": ("learning_rate_scale", "rate_at"),
}
_HOME_OF = {name: home for home, names in _NAMES_IN.items() for name in names}
__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
