"""What decoded texts add up to: costs a byte, agreement with other texts, tables."""

import statistics
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from ..costs import NFE, PUBLISHED, project, ratio
from ..trace import Totals, Trace, acceptance_rate

Row = dict[str, Any]  # one line of a table: plain values by name
BARS = "▁▂▃▄▅▆▇█"


def summarise(traces: Sequence[Trace]) -> Row:
    """Costs and guesses over all new bytes of the traces, as plain values by name.

    `*_per_byte`: function evaluations of each part; `*_mb_per_byte`: traffic in MB, by the paper's
    equation, as the caches and weights were really read, and projected on the published shapes.
    `acceptance` is the share of guessed bytes that were kept, `accepted_per_round` their histogram;
    `foreseen` that of guesses which the decoder agreed with before the model saw any.
    A value is None where nothing was guessed, verified or denoised. Raises ValueError where no byte
    was written.
    """
    totals = [trace.totals for trace in traces]
    new_bytes = sum(t.new_bytes for t in totals)
    check_written(new_bytes)
    return {
        **_evaluations(totals, new_bytes),
        "bytes_per_patch": _mean_of_known(t.bytes_per_patch for t in totals),
        "bytes_per_round": ratio(new_bytes, sum(t.rounds for t in totals)),
        **_guesses(traces),
        "steps_per_block": _mean_of_known(t.denoising_steps_per_block for t in totals),
        **_traffic(totals, new_bytes),
    }


def _evaluations(totals: list[Totals], new_bytes: int) -> Row:
    nfe = sum((t.nfe for t in totals), NFE())
    return {
        "patcher_per_byte": nfe.patcher / new_bytes,
        "encoder_per_byte": nfe.encoder / new_bytes,
        "global_per_byte": nfe.global_ / new_bytes,
        "decoder_per_byte": nfe.decoder / new_bytes,
    }


def _guesses(traces: Sequence[Trace]) -> Row:
    guesses = [pair for trace in traces for pair in trace.guesses]  # (guessed, accepted) a round
    most = max((guessed for guessed, _ in guesses), default=0)
    return {
        "acceptance": acceptance_rate(guesses),
        "accepted_per_round": histogram([accepted for _, accepted in guesses], most),
        "foreseen": acceptance_rate([pair for trace in traces for pair in trace.foreseen]),
    }


def _traffic(totals: list[Totals], new_bytes: int) -> Row:
    gigabytes = {
        "paper": sum(t.paper_gb for t in totals),
        "measured": sum(t.measured_gb for t in totals),
    }
    for shape in PUBLISHED:
        name = f"projected_{shape.lower()}"
        gigabytes[name] = sum(project(t, shape) for t in totals)
    row = {}
    for name, gb in gigabytes.items():
        row[f"{name}_mb_per_byte"] = 1e3 * (gb / new_bytes)
    return row


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return statistics.mean(known)


def check_written(new_bytes: int) -> None:
    """Raises ValueError where no byte was written, so that nothing can be divided by them."""
    if new_bytes == 0:
        raise ValueError("there is nothing to measure: every text ended before its first byte")


def histogram(values: list[int], most: int) -> list[float] | None:
    """Share of each of 0 .. most among the values; None without values.

    >>> histogram([2, 0, 2, 2], 2)
    [0.25, 0.0, 0.75]
    """
    if not values:
        return None
    return [values.count(value) / len(values) for value in range(most + 1)]


def agreement(ours: Sequence[bytes], theirs: Sequence[bytes]) -> tuple[float, float]:
    """Shares of bytes that two lists of texts have alike.

    First the share up to the first difference in each text, then the share position by position.

    >>> agreement([b"abcd"], [b"abxd"])
    (0.5, 0.75)
    """
    length = 0
    until_difference = 0
    by_position = 0
    for a, b in zip(ours, theirs, strict=True):
        same = [x == y for x, y in zip(a, b, strict=False)]  # the rest of the longer one differs
        same.append(False)
        length += max(len(a), len(b))
        until_difference += same.index(False)
        by_position += sum(same)
    return ratio(until_difference, length), ratio(by_position, length)


# -- tables as text ------------------------------------------------------------------------------


def format_value(value: Any) -> str:
    """The text of a cell: three digits of a number; a list of shares as a row of bars.

    >>> format_value(0.123456), format_value(12345), format_value(None), format_value([0, 0.5, 1])
    ('0.123', '12,345', '', '▁▅█')
    """
    if isinstance(value, (list, tuple)):
        return "".join(map(_bar, value))
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _bar(share: float) -> str:
    height = int(len(BARS) * share)
    return BARS[min(height, len(BARS) - 1)]


def table(rows: Sequence[Row], across: bool = False) -> str:
    """Rows as aligned text, without the names that have no value in any row.

    across: each row becomes a column, for few rows of many values.

    >>> print(table([{"method": "ar", "bleu": 31.0}, {"method": "blt-d", "bleu": 29.25}]))
    method  bleu
    ar        31
    blt-d   29.2
    """
    every = dict.fromkeys(name for row in rows for name in row)
    names = [name for name in every if _has_value(rows, name)]
    heading = [name.replace("_", " ").strip() for name in names]
    lines = [heading]
    for row in rows:
        cells = [format_value(row.get(name)) for name in names]
        lines.append(cells)
    if across:
        labels, *values = (list(column) for column in zip(*lines, strict=True))
        lines = [*_stacked(labels), *values]
    return _aligned(lines)


def _has_value(rows: Sequence[Row], name: str) -> bool:
    return any(row.get(name) is not None for row in rows)


def _stacked(labels: list[str]) -> list[list[str]]:
    """Labels as a heading over several lines, one option a line.

    >>> _stacked(["ar", "blt-d,block_size=4"])
    [['ar', 'blt-d'], ['', 'block_size=4']]
    """
    parts = [label.split(",") for label in labels]
    return [list(line) for line in zip_longest(*parts, fillvalue="")]


def _aligned(lines: list[list[str]]) -> str:
    """Cells in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = []
    for first, *others in lines:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        aligned.append("  ".join(cells).rstrip())
    return "\n".join(aligned)
