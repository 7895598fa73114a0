"""Seeing a trace: `view` in Jupyter, `to_html` as a file, `figures` as plotly. Loaded lazily; no torch here."""

import os
from importlib import import_module
from pathlib import Path

from . import player


def __getattr__(name):
    if name == "figures":                                            # plotly is loaded when a figure is asked for
        return import_module(f"{__name__}.figures")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class View:
    """Traces in the player, ready to be shown by Jupyter."""

    def __init__(self, traces, clock):
        self.traces, self.clock = traces, clock

    def _repr_html_(self):
        return player.to_iframe(self.traces, clock=self.clock)

    def __repr__(self):
        return f"View of {len(self.traces)} trace{'s' * (len(self.traces) != 1)}"


def _as_json(traces):
    several = traces if isinstance(traces, (list, tuple)) else [traces]
    several = [getattr(t, "trace", t) for t in several]              # a Generation shows its trace
    return [t if isinstance(t, dict) else t.to_json() for t in several]


def view(traces, clock=None):
    """One trace or several on one clock ("event", "passes", "decoder", "global" or "seconds"): the player in Jupyter."""
    return View(_as_json(traces), clock)


def to_html(traces, path, clock=None):
    """Write one trace or several as one HTML file that plays offline; whole or not at all."""
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(player.to_page(_as_json(traces), clock=clock), encoding="utf-8")
    os.replace(temporary, path)
