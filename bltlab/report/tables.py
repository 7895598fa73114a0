"""Tables of a report: rows of plain values, as Markdown and as HTML."""

from collections.abc import Sequence
from html import escape

from ..evaluation.summary import Row, format_value

RELATIVE = {
    "projected_1b": "traffic, 1B",
    "projected_3b": "traffic, 3B",
    "paper": "traffic, paper's count",
    "measured": "traffic, measured",
    "seconds": "seconds",
}
COSTS = {
    "decoder_per_byte": "decoder a byte",
    "encoder_per_byte": "encoder a byte",
    "global_per_byte": "global a byte",
    "bytes_per_patch": "bytes a patch",
    "bytes_per_round": "bytes a round",
    "acceptance": "accepted",
    "steps_per_block": "steps a block",
}
BESIDE = ("_signature", "_low", "_high")  # figures that belong to another one


def score_text(row: Row) -> str:
    """A score and its interval.

    >>> score_text(dict(score=98.8, low=97.412, high=99.4))
    '98.8 (97.4 to 99.4)'
    """
    low, high = _short(row["low"]), _short(row["high"])
    return f"{_short(row['score'])} ({low} to {high})"


def _short(number: float) -> str:
    return f"{number:.3g}" if abs(number) < 10 else f"{number:.1f}"


def named(row: Row) -> Row:
    """The first cells of a row: its model and method, and top-p where it is not all."""
    top_p = row["key"].get("top_p", 1)
    method = row["method"] if top_p == 1 else f"{row['method']}, top-p {top_p:g}"
    return dict(model=row["model"], method=method)


def quality_row(row: Row) -> Row:
    """What a method's text is worth, and what it took against autoregression."""
    against = row.get("relative") or {}
    cells = named(row) | {row["measure"]: score_text(row)}
    cells["against ar"] = _change(row)
    cells["same bytes"] = row.get("agreement")
    for name, title in RELATIVE.items():
        cells[title] = against.get(name)
    return cells


def _change(row: Row) -> str | None:
    """The difference to autoregression and p, where it is another method."""
    change = row.get("difference")
    if change is None or row["method"] == "ar":
        return None
    text = f"{change['mean']:+.3g} ({change['low']:+.3g} to {change['high']:+.3g})"
    return text if row.get("p") is None else f"{text}, p = {row['p']:.2g}"


def cost_row(row: Row) -> Row:
    """Evaluations and guesses of a method."""
    cells = named(row)
    for name, title in COSTS.items():
        cells[title] = row["costs"].get(name)
    return cells


def figure_row(row: Row) -> Row:
    """What else a task says of a method, signatures apart."""
    cells = named(row)
    figures = row.get("figures") or {}
    for name, value in figures.items():
        if name.endswith(BESIDE):
            continue
        low = figures.get(f"{name}_low")
        if low is not None:
            high = figures[f"{name}_high"]
            value = score_text(dict(score=value, low=low, high=high))
        cells[name.replace("_", " ")] = value
    return cells


def columns(rows: Sequence[Row]) -> list[str]:
    """The names that have a value in any row, in the order of their coming."""
    names = []
    for row in rows:
        names += [name for name, value in row.items() if value is not None]
    return list(dict.fromkeys(names))


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    names = columns(rows)
    found = [names]
    for row in rows:
        found.append([format_value(row.get(name)) for name in names])
    return found


def as_markdown(rows: Sequence[Row]) -> str:
    """Rows as a table of Markdown.

    >>> print(as_markdown([{"method": "ar", "score": 0.5}]))
    | method | score |
    |---|---|
    | ar | 0.5 |
    """
    heading, *body = _cells(rows)
    ruler = "|---" * len(heading) + "|"
    return "\n".join([_piped(heading), ruler, *map(_piped, body)])


def _piped(cells: Sequence[str]) -> str:
    safe = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(safe)} |"


def as_html(rows: Sequence[Row]) -> str:
    """Rows as a table of HTML."""
    heading, *body = _cells(rows)
    lines = [_line("th", heading)]
    for cells in body:
        lines.append(_line("td", cells))
    return "\n".join(["<table>", *lines, "</table>"])


def _line(tag: str, cells: Sequence[str]) -> str:
    inside = [f"<{tag}>{escape(cell)}</{tag}>" for cell in cells]
    return f"<tr>{''.join(inside)}</tr>"
