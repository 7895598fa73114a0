"""Seeing a trace: `view` in Jupyter, `to_html`, `to_svg`, `to_png` and `to_gif` as a file, `figures` as plotly.

Loaded lazily; no torch here. Traces may be given as `Trace`, as what `generate` returns, or as their JSON objects.
"""

import sys
from importlib import import_module
from importlib.util import find_spec

from .. import files
from . import export, player


def __getattr__(name):
    if name in ("figures", "widget", "explorer"):  # plotly and anywidget are loaded when asked for
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class View:
    """Traces in the player, ready to be shown by Jupyter."""

    def __init__(self, traces, clock):
        self.traces, self.clock = traces, clock

    def _repr_mimebundle_(self, include=None, exclude=None):
        return export.mimebundle(self.traces, repr(self), self.clock)

    def __repr__(self):
        return f"View of {len(self.traces)} trace{'s' * (len(self.traces) != 1)}"


def _traces_of(traces):
    from ..trace import traces_of  # the trace draws itself with rooms of this folder

    return traces_of(traces)


def _in_jupyter():
    """Is this a kernel that can hold a widget?"""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel") and find_spec("anywidget") is not None


def view(traces, clock=None):
    """One trace or several on one clock, a name in `player.CLOCKS`: the player.

    In Jupyter it is a `widget.TracePlayer`, whose `step` and `clock` Python can read and set; without anywidget, or
    elsewhere, a `View`, which shows as HTML. Raises ValueError for an unknown clock, TypeError for what is no trace.
    """
    if clock not in (None, *player.CLOCKS):
        raise ValueError(f"clock must be one of {', '.join(player.CLOCKS)}, got {clock!r}")
    traces = _traces_of(traces)
    if not _in_jupyter():
        return View(traces, clock)
    from .widget import TracePlayer

    return TracePlayer(traces, clock)


def to_html(traces, path, clock=None):
    """Write one trace or several as one HTML file that plays offline; whole or not at all."""
    files.write(
        path, player.to_page([t.to_json() for t in _traces_of(traces)], clock=clock).encode("utf-8")
    )


def to_svg(traces, path, step=None, clock=None, width=None):
    """Write a still picture as SVG: text that scales and can be searched.

    step: a tick of the clock, the last by default; on the clock "event" (the default) the number of events shown.
    width: pixels, 760 by default, or 1160 for several traces. Raises ValueError for a step the clock does not have.
    """
    files.write(
        path, export.svg(export.Scene(_traces_of(traces), clock, width).draw(step)).encode("utf-8")
    )


def to_png(traces, path, step=None, clock=None, width=None):
    """Write the same picture as `to_svg` as PNG, two pixels to one. Raises ImportError where Pillow is not installed."""
    files.write(path, export.png(export.Scene(_traces_of(traces), clock, width).draw(step)))


def to_gif(traces, path, clock=None, seconds=10.0, width=None):
    """Write an animated GIF: the clock runs evenly for `seconds`, so that on "passes" or "seconds" lanes race each other.

    Raises ImportError where Pillow is not installed, ValueError for an unknown clock.
    """
    files.write(path, export.gif(export.Scene(_traces_of(traces), clock, width), seconds))


def events_shown(traces, clock=None, step=None):
    """How many events each trace has shown at a step of a clock, as a list; at the last step by default."""
    scene = export.Scene(_traces_of(traces), clock)
    return scene.steps(scene.checked(step))
