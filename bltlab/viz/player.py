"""The player as a page or an iframe: JSON traces in, self-contained HTML out.

It knows no Python class.
A trace may hold any byte, `</script>` included, so that nothing of it is ever markup: page.py puts
it into a script with every `<` escaped, and the player draws it with text nodes only.
"""

from .page import BASE, Frame, frame, page, script  # noqa: F401

CLOCKS = (
    "event",
    "passes",
    "patcher",
    "encoder",
    "global",
    "decoder",
    "paper",
    "measured",
    "seconds",
)
# The global `bltlabPlayer`, with what it needs; BASE comes first
SOURCE = script("fold", "lane", "detail", "player")


def to_page(traces: list[dict], title: str = "bltlab", clock: str | None = None) -> str:
    """A whole HTML document as one `str`, which fetches nothing.

    traces: JSON objects (`Trace.to_json`), one lane each.
    clock: what the slider counts at first, one of `CLOCKS` ("event" by default); the reader may
    change it.
    """
    if clock not in (None, *CLOCKS):
        raise ValueError(f"clock must be one of {', '.join(CLOCKS)}, got {clock!r}")
    traces = list(traces)
    width = 1240 if len(traces) < 2 else 1720
    return page("bltlabPlayer", SOURCE, traces, title, {"clock": clock or "event"}, width)


def to_iframe(traces: list[dict], height: int | None = None, clock: str | None = None) -> Frame:
    """The same page in a sandboxed iframe, as a `str` that Jupyter shows.

    Its scripts run, but reach nothing outside.

    height: pixels; by default enough for the bytes; the numbers below may need scrolling.
    """
    traces = list(traces)
    height = height or (860 if len(traces) < 2 else 1000)
    return frame(to_page(traces, clock=clock), "bltlab player", height)
