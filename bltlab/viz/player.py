"""The player as a page or an iframe: JSON traces in, self-contained HTML out. Knows no Python class and no other room.

A trace may hold any byte, `</script>` included, so that nothing of it is ever markup: in the page it stands inside a
script with every `<` escaped, and player.js draws it with text nodes only.
"""

import json
from html import escape
from pathlib import Path

CLOCKS = ("event", "passes", "decoder", "global", "seconds")
SOURCE = Path(__file__).with_name("player.js").read_text(encoding="utf-8")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; padding: 16px; background: Canvas; color: CanvasText; }}
#player {{ max-width: {width}px; margin: 0 auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; color: #e8e6e3; }} }}
</style>
</head>
<body>
<div id="player"></div>
<script>
{source}
</script>
<script>
const player = bltlabPlayer(document.getElementById("player"), {traces}, {options});
</script>
</body>
</html>
"""


def to_page(traces, title="bltlab", clock=None):
    """Trace JSON objects (`Trace.to_json`), one lane each -> a whole HTML document as one `str`; it fetches nothing.

    clock: what the slider counts at first, one of `CLOCKS` ("event" by default); the reader may change it.
    """
    if clock not in (None, *CLOCKS):
        raise ValueError(f"clock must be one of {', '.join(CLOCKS)}, got {clock!r}")
    traces = list(traces)
    return PAGE.format(title=escape(title), source=SOURCE.replace("</script", "<\\/script"),
                       traces=_script(traces), width=1240 if len(traces) < 2 else 1720,
                       options=_script({"clock": clock or "event"}))


def to_iframe(traces, height=None, clock=None):
    """The same page inside `<iframe sandbox srcdoc>`, as a `str` for a notebook cell: scripts run, but reach nothing outside.

    height: pixels; by default enough for the traces' bytes, 900 at most.
    """
    traces = list(traces)
    height = height or min(330 + sum(map(_height, traces)), 900)
    return (f'<iframe sandbox="allow-scripts" title="bltlab player" style="width:100%;height:{int(height)}px;border:0" '
            f'srcdoc="{escape(to_page(traces, clock=clock))}"></iframe>')


def _script(value):
    """JSON that may stand inside a script element: no `<` and nothing but ASCII is left in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _height(trace):
    """Pixels that one lane needs at a notebook's usual width: about 20 bytes a row."""
    n_bytes = sum(len(event.get("ids", ())) for event in trace["events"])
    return 180 + 60 * -(-n_bytes // 20)
