"""A viewer as a page or an iframe that fetches nothing.

Its script and plain data in, self-contained HTML out.

Data may hold any byte, `</script>` included, so that nothing of it is ever markup: in the page it
stands inside a script with every `<` escaped, and viewers draw it with text nodes only.
"""

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from . import colours


def read(name: str) -> str:
    """The text of a file beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


# What every viewer shares: `bltlabColours` and `bltlabBase`
BASE = f"var bltlabColours = {json.dumps(colours.css())};\n" + read("base.js")

DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
{style}
</style>
</head>
<body>
{body}
</body>
</html>
"""
STYLE = """body {{ margin: 0; padding: 16px; background: Canvas; color: CanvasText; }}
#viewer {{ max-width: {width}px; margin: 0 auto; }}
nav.site {{ display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 auto 14px;
  max-width: {width}px; font: 15px/1.6 system-ui, sans-serif; }}
nav.site a {{ color: inherit; }}
nav.site [aria-current] {{ font-weight: 700; text-decoration: none; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; color: #e8e6e3; }} }}"""
BODY = """{nav}<div id="viewer"></div>
<script>
{source}
</script>
<script>
const viewer = {name}(document.getElementById("viewer"), {data}, {options});
</script>"""


class Frame(str):
    """HTML that Jupyter shows as it is when it ends a cell."""

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"Frame of {len(self)} characters"


def script(*names: str) -> str:
    """What every viewer shares, and the .js files of these names, as one source."""
    return BASE + "".join(read(f"{name}.js") for name in names)


def document(title: str, style: str, body: str) -> str:
    """A whole HTML document that fetches nothing."""
    return DOCUMENT.format(title=escape(title), style=style, body=body)


def page(
    name: str,
    source: str,
    data: Any,
    title: str,
    options: dict[str, Any] | None = None,
    width: int = 1240,
    links: Mapping[str, str] | None = None,
) -> str:
    """A whole HTML document as one `str`.

    name: the viewer's JavaScript function, defined by `source`; it is called with an element,
    `data` and `options`.
    width: pixels, at most. links: other pages beside this one, by title; that without a name is
    this one.
    """
    body = BODY.format(
        source=source.replace("</script", "<\\/script"),
        name=name,
        data=_script(data),
        options=_script(options or {}),
        nav=_nav(links or {}),
    )
    return document(title, STYLE.format(width=width), body)


def _nav(links: Mapping[str, str]) -> str:
    """Links to other pages, as HTML.

    >>> _nav({"Tour": "", "Race": "race.html"})
    '<nav class="site"><a aria-current="page">Tour</a> <a href="race.html">Race</a></nav>\\n'
    """
    found = []
    for title, file in links.items():
        place = f'href="{escape(file)}"' if file else 'aria-current="page"'
        found.append(f"<a {place}>{escape(title)}</a>")
    return f'<nav class="site">{" ".join(found)}</nav>\n' if found else ""


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


def file_name(title: str) -> str:
    """A title as a file's name, whatever it holds.

    >>> file_name("BLT-D 2"), file_name("../é")
    ('blt-d-2', '----')
    """
    return re.sub(r"[^a-z0-9_-]", "-", title.lower())


def _script(value: Any) -> str:
    """JSON that may stand inside a script element: no `<` and nothing but ASCII is left in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
