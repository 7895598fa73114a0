"""Inside the model, in the browser: masks, training blocks, one denoised block and hash hits of one short text.

The data is what `bltlab.inspection.describe` returns, as plain JSON; nothing here needs the model, or torch.
"""

from .page import frame, page, script

SOURCE = script("parts", "inside_mask", "inside")  # the global `bltlabInside`, with what it needs
SCHEMA = "bltlab.inside/1"


def to_page(data, title="bltlab: inside the model"):
    """`describe`'s plain data -> a whole HTML document as one `str`. Raises ValueError for data of another kind."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(
            f"data must be what bltlab.inspection.describe returns, with schema {SCHEMA!r}"
        )
    return page("bltlabInside", SOURCE, data, title)


def to_iframe(data, height=None):
    """The same page in a sandboxed iframe, as a `str` that Jupyter shows. height: pixels."""
    return frame(to_page(data), "bltlab, inside the model", height or 1000)
