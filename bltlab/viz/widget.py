"""The player as a Jupyter widget that Python can steer. Needs anywidget; no torch here.

A widget lives as long as its kernel. Beside it goes a player of plain HTML, out of sight while the
widget is alive: so an exported notebook plays, and one on a page without scripts shows a picture.
"""

from collections.abc import Callable
from secrets import token_hex
from typing import Any

import anywidget
import traitlets

from ..trace import Trace, traces_of
from . import export, player
from .page import read

LAB = """
.jp-OutputArea-output .bltp-view :is(dt, dd) { float: none; width: auto; font-weight: inherit; }
.jp-OutputArea-output .bltp-view .bltp-stats { display: flex; }
"""  # JupyterLab has rules of its own for lists of facts


def _as_json(traces: list[Trace], widget: Any) -> list[dict[str, Any]]:
    """What the browser gets of traces."""
    return [trace.to_json() for trace in traces]


def show(widget: Any, name: str, still: tuple[dict, dict]) -> Any:
    """Show a widget in a cell, and a copy that needs no kernel; returns a handle of the copy.

    name: of the copy; the player of that name hides it. still: its (data, metadata).
    """
    from IPython.display import display

    bundle = widget._repr_mimebundle_()
    bundle = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
    bundle.pop("image/png", None)  # the copy has it
    display(bundle, raw=True)
    data, metadata = copy_named(name, still)
    return display(data, metadata=metadata, raw=True, display_id=True)


def copy_named(name: str, still: tuple[dict, dict]) -> tuple[dict, dict]:
    """(data, metadata) whose HTML the player of that name hides."""
    data, metadata = still
    html = f'<div class="bltlab-{name}">{data["text/html"]}</div>'
    return data | {"text/html": html}, metadata


class TracePlayer(anywidget.AnyWidget):
    """The player in a cell.

    traces: what is shown: one `Trace`, what `generate` returns, or a list.
    clock: a name in `player.CLOCKS`.
    step: a tick of it, None until the player has told (it then begins to play). Set clock and step,
    or read where the reader has moved to.
    name: of the copy that needs no kernel. said: how often Python has set clock or step; what the
    page tells carries the number it has `heard`, so that older news does not undo Python's own.
    branch: goes on from a trace with a byte at an offset, which the reader takes by a click; what
    it returns is shown beside that trace, unless it is None. `wanted` is the latest click.

    Raises traitlets.TraitError for an unknown clock or a step below 0.
    """

    _esm = player.SOURCE + read("widget.js")
    _css = LAB
    traces: Any = traitlets.List().tag(sync=True, to_json=_as_json)
    clock = traitlets.Enum(player.CLOCKS, "event").tag(sync=True)
    step = traitlets.Int(None, min=0, allow_none=True).tag(sync=True)
    name = traitlets.Unicode().tag(sync=True)
    said = traitlets.Int(0).tag(sync=True)
    heard = traitlets.Int(0).tag(sync=True)
    branches = traitlets.Bool(False).tag(sync=True)
    wanted = traitlets.Dict().tag(sync=True)
    _told = False  # is the page speaking?

    def __init__(
        self,
        traces: Any,
        clock: str | None = None,
        step: int | None = None,
        branch: Callable[[Trace, int, int], Any] | None = None,
    ) -> None:
        self._branch = branch
        super().__init__(
            traces=traces_of(traces),
            clock=clock or "event",
            step=step,
            name=f"copy-{token_hex(4)}",
            branches=branch is not None,
        )

    @traitlets.observe("wanted")
    def _take(self, change: Any) -> None:
        """Go on from the byte that was clicked."""
        asked = change.new
        old = self.traces[asked["lane"]]
        found = self._branch(old, asked["at"], asked["byte"])
        if found is not None:
            self.traces = [old, found]

    @traitlets.observe("clock", "step")
    def _count(self, change: Any) -> None:
        self.said += not self._told

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page tells, but for what it told before Python's last word arrived."""
        if sync_data.get("heard", self.said) < self.said:
            sync_data = dict(sync_data)
            sync_data.pop("clock", None)
            sync_data.pop("step", None)
        self._told = True
        try:
            super().set_state(sync_data)
        finally:
            self._told = False

    @traitlets.validate("traces")
    def _traces_of(self, proposal: dict[str, Any]) -> list[Trace]:
        return traces_of(proposal["value"])

    def __repr__(self) -> str:
        return f"TracePlayer of {export.many_traces(self.traces)}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        picture, told = export.still(self.traces, self.clock, self.step)
        return data | picture, metadata | told

    def _ipython_display_(self) -> None:
        show(self, self.name, export.mimebundle(self.traces, repr(self), self.clock))
