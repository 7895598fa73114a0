"""Writes a report: Markdown, and one page with figures that fetches nothing."""

from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path

from .. import files
from ..evaluation.rows import read_rows
from ..evaluation.summary import Row
from ..viz.page import document
from . import tables

APART = ("weights", "method", "top_p")  # what differs between the rows of a table
TITLE = "Quality against cost"
INTRODUCTION = (
    "Each line is a model, a task and a method. Scores carry 95 % intervals; shares are in percent."
    " What a method costs is relative to autoregression with the same weights on the same items, in"
    " figures to that of the model without blocks, as in the paper; 1B and 3B are the paper's"
    " shapes, to which the counts are projected. Same bytes: the share up"
    " to the first difference from what autoregression wrote."
)
STYLE = """\
body {
  max-width: 1180px;
  margin: 0 auto;
  padding: 16px;
  font: 15px/1.5 system-ui, sans-serif;
}
table {
  border-collapse: collapse;
  display: block;
  overflow-x: auto;
  margin: 12px 0;
}
td, th {
  border-bottom: 1px solid #8884;
  padding: 3px 9px;
  text-align: left;
  font-size: 13px;
  white-space: nowrap;
}
code { font-size: 12px; overflow-wrap: anywhere; }"""


def write_report(rows_file: str | Path) -> list[Path]:
    """Write report.md and report.html beside a file of rows; returns their paths.

    Without plotly only the first. Raises ValueError or FileNotFoundError where there are no rows.
    """
    path = Path(rows_file)
    found = by_task(read_rows(path))
    written = [path.with_name("report.md")]
    files.write(written[0], as_markdown(found))
    if find_spec("plotly"):
        written.append(path.with_name("report.html"))
        files.write(written[1], as_page(found))
    return written


def by_task(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by what was asked: a task, its corpus, and settings other than those that came first."""
    found: dict[str, list[Row]] = {}
    first: dict[str, Row] = {}
    for row in rows:
        text = row["key"].get("text")
        title = f"{row['task']} ({text})" if text else row["task"]
        asked = {name: value for name, value in row["key"].items() if name not in APART}
        known = first.setdefault(title, asked)
        others = [f"{name} {value}" for name, value in asked.items() if value != known.get(name)]
        found.setdefault(", ".join([title, *others]), []).append(row)
    return found


def _tables_of(rows: Sequence[Row]) -> list[list[Row]]:
    """The tables of one task: quality, evaluations, and what else there is, where there is any."""
    kinds = (tables.quality_row, tables.cost_row, tables.figure_row)
    found = []
    for kind in kinds:
        table = list(map(kind, rows))
        if len(tables.columns(table)) > 2:  # not only model and method
            found.append(table)
    return found


def _about(rows: Sequence[Row]) -> str:
    """How many items, where and when, in a sentence."""
    machines = "; ".join(dict.fromkeys(row["machine"] for row in rows))
    sizes = sorted({row["n"] for row in rows})
    items = " or ".join(map(str, sizes))
    last = max(row["when"] for row in rows)
    about = f"{items} items, on {machines}; the last row was made on {last}."
    skipped = [f" {row['model']}: {row['skipped']}." for row in rows if row.get("skipped")]
    return about + "".join(dict.fromkeys(skipped))


def _signatures(rows: Sequence[Row]) -> list[str]:
    """How metrics were set, each once."""
    found: dict[str, None] = {}
    for row in rows:
        for name, value in (row.get("figures") or {}).items():
            if name.endswith("_signature"):
                found[f"{name.removesuffix('_signature')}: {value}"] = None
    return list(found)


def _commands(by_task: dict[str, list[Row]]) -> list[str]:
    found = []
    for rows in by_task.values():
        found += [row["command"] for row in rows]
    return found


def as_markdown(by_task: dict[str, list[Row]]) -> str:
    """The report as Markdown."""
    parts = [f"# {TITLE}", INTRODUCTION]
    for title, rows in by_task.items():
        parts += [f"## {title}", _about(rows)]
        parts += [tables.as_markdown(table) for table in _tables_of(rows)]
        parts += _signatures(rows)
    commands = _commands(by_task)
    parts += ["## Commands", "Each row by itself:", "\n".join(["```bash", *commands, "```"])]
    return "\n\n".join(parts) + "\n"


def as_page(by_task: dict[str, list[Row]]) -> str:
    """The report as a page that opens from disk, plotly's script inside."""
    parts = [f"<h1>{TITLE}</h1>", f"<p>{escape(INTRODUCTION)}</p>"]
    has_script = False
    for title, rows in by_task.items():
        parts += [f"<h2>{escape(title)}</h2>", f"<p>{escape(_about(rows))}</p>"]
        parts += [tables.as_html(table) for table in _tables_of(rows)]
        parts += [f"<p><code>{escape(line)}</code></p>" for line in _signatures(rows)]
        for figure in _figures(title, rows):
            parts.append(figure.to_html(full_html=False, include_plotlyjs=not has_script))
            has_script = True
    parts.append("<h2>Commands</h2>")
    parts += [f"<p><code>{escape(command)}</code></p>" for command in _commands(by_task)]
    return document(TITLE, STYLE, "\n".join(parts))


def _figures(title: str, rows: Sequence[Row]) -> list:
    """The figures of a task whose methods were compared."""
    from . import draw  # plotly is slow to import, and may be missing

    compared = [row for row in rows if row.get("relative")]
    if not compared:
        return []
    found = [draw.quality(title, compared), draw.accepted(title, compared)]
    if "ratio_of_known" in compared[0]["figures"]:
        found += [draw.diversity(compared, *figure) for figure in draw.DIVERSITY.items()]
    return [figure for figure in found if figure]
