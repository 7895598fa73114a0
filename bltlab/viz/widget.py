"""The player as a Jupyter widget that Python can steer. Needs anywidget; no torch here.

Its bundle holds a PNG and no HTML: who opens the notebook without a kernel still sees a picture.
"""

from pathlib import Path

import anywidget
import traitlets

from ..trace import traces_of
from . import export, player

LAB = """
.jp-OutputArea-output .bltp-view :is(dt, dd) { float: none; width: auto; font-weight: inherit; }
.jp-OutputArea-output .bltp-view .bltp-stats { display: flex; }
"""  # JupyterLab has rules of its own for lists of facts


class TracePlayer(anywidget.AnyWidget):
    """The player in a cell. traces: what is shown; clock and step: set them, or read where the reader has moved to.

    traces: one `Trace`, what `generate` returns, or a list. clock: a name in `player.CLOCKS`. step: a tick of it, None
    until the player has told (it then begins to play). Raises traitlets.TraitError for an unknown clock or a step below 0.
    """

    _esm = player.SOURCE + Path(__file__).with_name("widget.js").read_text(encoding="utf-8")
    _css = LAB
    traces = traitlets.List().tag(
        sync=True, to_json=lambda traces, _: [t.to_json() for t in traces]
    )
    clock = traitlets.Enum(player.CLOCKS, "event").tag(sync=True)
    step = traitlets.Int(None, min=0, allow_none=True).tag(sync=True)

    def __init__(self, traces, clock=None, step=None):
        super().__init__(traces=traces_of(traces), clock=clock or "event", step=step)

    @traitlets.validate("traces")
    def _traces_of(self, proposal):
        return traces_of(proposal["value"])

    def __repr__(self):
        return f"TracePlayer of {len(self.traces)} trace{'s' * (len(self.traces) != 1)}"

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        picture, told = export.still(self.traces, self.clock, self.step)
        return data | picture, metadata | told
