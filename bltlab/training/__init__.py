"""Training. `train` is a generator of `Report`s, so the command line, a notebook and a test watch the same loop.

Names are loaded when first used: the command line needs the options only, and what several processes need is slow to import.
"""

from importlib import import_module

_HOMES = {
    "run": "train",
    "options": "TrainOptions",
    "watch": "Report Sample held_out_bits",
    "text": "choose_threshold",
    "loop": "keep_freed_memory",
    "optim": "Muon orthogonalise rate_at",
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = list(_WHERE)


def __getattr__(name):
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
