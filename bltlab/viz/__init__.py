"""Seeing a trace: in Jupyter, as a file, as figures.

`view` shows the player; `to_html`, `to_svg`, `to_png` and `to_gif` write files; `figures` makes
plotly figures. Files appear whole or not at all. Loaded lazily; no torch here.

Traces may be given as `Trace`, as what `generate` returns, or as their JSON objects.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import files
from ..trace import Trace, traces_of
from . import export, player


def __getattr__(name: str) -> Any:
    """plotly and anywidget are loaded when they are asked for."""
    if name in ("figures", "widget", "explorer"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class View:
    """Traces in the player, ready to be shown by Jupyter."""

    def __init__(self, traces: list[Trace], clock: str | None) -> None:
        self.traces, self.clock = traces, clock

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        return export.mimebundle(self.traces, repr(self), self.clock)

    def __repr__(self) -> str:
        return f"View of {export.many_traces(self.traces)}"


def _in_jupyter() -> bool:
    """Is this a kernel that can hold a widget?"""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = ask() if ask else None
    return hasattr(shell, "kernel") and find_spec("anywidget") is not None


def view(traces: Any, clock: str | None = None, model: Any = None) -> Any:
    """The player, with one trace or several on one clock, a name in `player.CLOCKS`.

    In Jupyter it is a `widget.TracePlayer`, whose `step` and `clock` Python can read and set;
    without anywidget, or elsewhere, a `View`, which shows as HTML.

    model: in the widget a click on a candidate takes that byte, and the model writes on from there,
    beside the old lane: see `bltlab.branch`.

    Raises ValueError for an unknown
    clock, TypeError for something else than traces.
    """
    if clock not in (None, *player.CLOCKS):
        raise ValueError(f"clock must be one of {', '.join(player.CLOCKS)}, got {clock!r}")
    traces = traces_of(traces)
    if not _in_jupyter():
        return View(traces, clock)
    from .widget import TracePlayer

    return TracePlayer(traces, clock, branch=None if model is None else _branching(model))


def _branching(model: Any) -> Callable[[Trace, int, int], Any]:
    """Goes on from a trace with another byte, by a model."""
    from ..decoding import branch

    return partial(branch, model)


def to_html(traces: Any, path: str | Path, clock: str | None = None) -> None:
    """Write one trace or several as one HTML file that plays offline."""
    lanes = [trace.to_json() for trace in traces_of(traces)]
    files.write(path, player.to_page(lanes, clock=clock))


def to_svg(
    traces: Any,
    path: str | Path,
    step: int | None = None,
    clock: str | None = None,
    width: int | None = None,
) -> None:
    """Write a still picture as SVG: text that scales and can be searched.

    step: a tick of the clock, the last by default; on the clock "event" (the default) the number of
    events shown.
    width: pixels, 760 by default, or 1160 for several traces.

    Raises ValueError for a step the clock does not have.
    """
    picture = export.Scene(traces_of(traces), clock, width).draw(step)
    files.write(path, export.svg(picture))


def to_png(
    traces: Any,
    path: str | Path,
    step: int | None = None,
    clock: str | None = None,
    width: int | None = None,
) -> None:
    """Write the same picture as `to_svg` as PNG, two pixels to one.

    Raises ImportError where Pillow is not installed, ValueError as `to_svg` does.
    """
    picture = export.Scene(traces_of(traces), clock, width).draw(step)
    files.write(path, export.png(picture))


def to_gif(
    traces: Any,
    path: str | Path,
    clock: str | None = None,
    seconds: float = 10.0,
    width: int | None = None,
) -> None:
    """Write an animated GIF, in which the clock runs evenly.

    On "passes" or "seconds" lanes race each other.

    seconds: that the clock runs. Raises ImportError where Pillow is not installed, ValueError for
    an unknown clock.
    """
    files.write(path, export.gif(export.Scene(traces_of(traces), clock, width), seconds))


def events_shown(traces: Any, clock: str | None = None, step: int | None = None) -> list[int]:
    """How many events each trace has shown at a step of a clock, the last step by default."""
    scene = export.Scene(traces_of(traces), clock)
    return scene.steps(scene.checked(step))
