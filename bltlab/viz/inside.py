"""Inside the model, in the browser, for one short text.

Its masks, training blocks, one denoised block and the hits in the hash tables.

The data is what `bltlab.inspection.describe` returns, as plain JSON; nothing here needs the model,
or torch.
"""

from typing import Any

from .page import Frame, frame, page, script

SOURCE = script("parts", "inside_mask", "inside")  # the global `bltlabInside`, with what it needs
SCHEMA = "bltlab.inside/1"


def to_page(data: Any, title: str = "bltlab: inside the model") -> str:
    """`describe`'s plain data as a whole HTML document.

    Raises ValueError for data of another kind.
    """
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(
            f"data must be what bltlab.inspection.describe returns, with schema {SCHEMA!r}"
        )
    return page("bltlabInside", SOURCE, data, title)


def to_iframe(data: Any, height: int | None = None) -> Frame:
    """The same page in a sandboxed iframe, as a `str` that Jupyter shows. height: pixels."""
    return frame(to_page(data), "bltlab, inside the model", height or 1000)
