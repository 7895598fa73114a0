"""A viewer as a page or an iframe that fetches nothing.

Its script and plain data in, self-contained HTML out.

Data may hold any byte, `</script>` included, so that nothing of it is ever markup: in the page it
stands inside a script with every `<` escaped, and viewers draw it with text nodes only.
"""

import json
from html import escape
from pathlib import Path
from typing import Any

from . import colours


def read(name: str) -> str:
    """The text of a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


# What every viewer shares: `bltlabColours` and `bltlabBase`
BASE = f"var bltlabColours = {json.dumps(colours.css())};\n" + read("base.js")

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

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"Frame of {len(self)} characters"


def script(*names: str) -> str:
    """What every viewer shares, and the .js files of these names, as one source."""
    return BASE + "".join(read(f"{name}.js") for name in names)


def page(
    name: str,
    source: str,
    data: Any,
    title: str,
    options: dict[str, Any] | None = None,
    width: int = 1240,
) -> str:
    """A whole HTML document as one `str`.

    name: the viewer's JavaScript function, defined by `source`; it is called with an element,
    `data` and `options`.
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


def frame(
    html: str,
    title: str,
    height: int,
) -> Frame:
    """A page inside `<iframe sandbox srcdoc>`: scripts run, but reach nothing outside.

    height: pixels.
    """
    style = f"width:100%;height:{int(height)}px;border:0"
    return Frame(
        f'<iframe sandbox="allow-scripts" title="{escape(title)}" style="{style}" '
        f'srcdoc="{escape(html)}"></iframe>'
    )


def _script(value: Any) -> str:
    """JSON that may stand inside a script element: no `<` and nothing but ASCII is left in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
