"""A viewer as a page or an iframe: its script and plain data in, self-contained HTML out, which fetches nothing.

Data may hold any byte, `</script>` included, so that nothing of it is ever markup: in the page it stands inside a script
with every `<` escaped, and viewers draw it with text nodes only.
"""

import json
from html import escape
from pathlib import Path

from . import colours

COLOURS = f"var bltlabColours = {json.dumps(colours.css())};\n"
# What every viewer shares: `bltlabColours` and `bltlabBase`
BASE = COLOURS + Path(__file__).with_name("base.js").read_text(encoding="utf-8")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; padding: 16px; background: Canvas; color: CanvasText; }}
#viewer {{ max-width: {width}px; margin: 0 auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; color: #e8e6e3; }} }}
</style>
</head>
<body>
<div id="viewer"></div>
<script>
{source}
</script>
<script>
const viewer = {name}(document.getElementById("viewer"), {data}, {options});
</script>
</body>
</html>
"""


class Frame(str):
    """HTML that Jupyter shows as it is when it ends a cell."""

    def _repr_html_(self):
        return str(self)

    def __repr__(self):
        return f"Frame of {len(self)} characters"


def script(*names):
    """What every viewer shares, and the .js files of these names, as one source."""
    return "".join(
        [
            BASE,
            *(Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8") for name in names),
        ]
    )


def page(name, source, data, title, options=None, width=1240):
    """name: the viewer's JavaScript function, defined by `source`; it is called with an element, `data` and `options`.

    width: pixels, at most.
    """
    return PAGE.format(
        title=escape(title),
        source=source.replace("</script", "<\\/script"),
        name=name,
        data=_script(data),
        options=_script(options or {}),
        width=width,
    )


def frame(html, title, height):
    """A page inside `<iframe sandbox srcdoc>`: scripts run, but reach nothing outside. height: pixels."""
    return Frame(
        f'<iframe sandbox="allow-scripts" title="{escape(title)}" style="width:100%;height:{int(height)}px;border:0" '
        f'srcdoc="{escape(html)}"></iframe>'
    )


def _script(value):
    """JSON that may stand inside a script element: no `<` and nothing but ASCII is left in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
