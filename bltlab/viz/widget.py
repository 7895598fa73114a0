"""The player as a Jupyter widget that Python can steer. Needs anywidget; no torch here.

Its bundle holds a PNG and no HTML: who opens the notebook without a kernel still sees a picture.
"""

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


class TracePlayer(anywidget.AnyWidget):
    """The player in a cell.

    traces: what is shown: one `Trace`, what `generate` returns, or a list.
    clock: a name in `player.CLOCKS`.
    step: a tick of it, None until the player has told (it then begins to play). Set clock and step,
    or read where the reader has moved to.

    Raises traitlets.TraitError for an unknown clock or a step below 0.
    """

    _esm = player.SOURCE + read("widget.js")
    _css = LAB
    traces: Any = traitlets.List().tag(sync=True, to_json=_as_json)
    clock = traitlets.Enum(player.CLOCKS, "event").tag(sync=True)
    step = traitlets.Int(None, min=0, allow_none=True).tag(sync=True)

    def __init__(self, traces: Any, clock: str | None = None, step: int | None = None) -> None:
        super().__init__(traces=traces_of(traces), clock=clock or "event", step=step)

    @traitlets.validate("traces")
    def _traces_of(self, proposal: dict[str, Any]) -> list[Trace]:
        return traces_of(proposal["value"])

    def __repr__(self) -> str:
        return f"TracePlayer of {export.many_traces(self.traces)}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        picture, told = export.still(self.traces, self.clock, self.step)
        return data | picture, metadata | told
