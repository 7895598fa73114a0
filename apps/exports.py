"""What a visitor takes along: the traces of a view as a page, a picture or an animation."""

import base64
import time
from typing import Any

from shown import ERRORS, refused, told

from bltlab.trace import traces_of
from bltlab.viz import export, player
from bltlab.viz.page import file_name
from bltlab.viz.scene import Scene

KINDS = {  # by the ending of the file: what it is on the web
    "html": "text/html",
    "svg": "image/svg+xml",
    "png": "image/png",
    "gif": "image/gif",
}
MOST_LANES, MOST_EVENTS = 6, 6000  # of what is drawn as pixels


def exported(kind: str, view: dict[str, Any]) -> dict[str, str]:
    """A file as plain data: its name, its type and its bytes in base64.

    view: what the page shows: {"traces", "clock", "step"}. Raises ValueError or TypeError, in one
    sentence, for what is no view, or too much to draw, and ImportError without Pillow.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    traces = traces_of(view.get("traces") or [])
    if not traces:
        raise ValueError("there is no decoding on this tab: open Watch, Race or Tour")
    clock, step = view.get("clock"), view.get("step")
    events = sum(len(trace.events) for trace in traces)
    if len(traces) > MOST_LANES or (kind != "html" and events > MOST_EVENTS):
        raise ValueError(
            f"at most {MOST_LANES} traces of {MOST_EVENTS:,} events in all are drawn here:"
            " save them, and use python -m bltlab view"
        )
    data = _drawn(kind, traces, clock, step)
    name = "race" if len(traces) > 1 else file_name(traces[0].method["name"])
    text = base64.b64encode(data).decode("ascii")
    return dict(name=f"{name}.{kind}", type=KINDS[kind], data=text)


def _drawn(kind: str, traces: list, clock: str | None, step: int | None) -> bytes:
    """The bytes of the file."""
    if kind == "html":
        return player.to_page([trace.to_json() for trace in traces], clock=clock).encode()
    scene = Scene(traces, clock)
    if kind == "gif":
        return export.gif(scene)
    picture = scene.draw(step)
    return export.png(picture) if kind == "png" else export.svg(picture).encode()


def taken(kind: str, view: dict[str, Any] | None) -> dict[str, Any]:
    """The file that a button asks for, for the page to hand on, or a note that says why not."""
    try:
        file = exported(kind, view or {})
    except (*ERRORS, ImportError) as error:
        return refused(error)
    return dict(file=file | dict(at=time.time()), note=told(f"Saved {file['name']}."))
