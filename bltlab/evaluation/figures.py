"""What decoded texts add up to: rates of their traces, agreement between texts, and figures as aligned text."""

import statistics

from ..costs import PUBLISHED, project, ratio
from ..events import Verified


def figures(traces):
    """What traces say, over all their bytes: evaluations, traffic (MB) and projected traffic a byte; patches; guesses.

    A figure is None where nothing was guessed, verified or denoised. Raises ValueError where no byte was written.
    """
    totals = [t.totals for t in traces]
    n = sum(t.new_bytes for t in totals)
    check_written(n)
    a_byte = lambda of: ratio(sum(map(of, totals)), n)
    accepted = [e.accepted for t in traces for e in t.events if isinstance(e, Verified)]
    guessed = [len(e.drafted) for t in traces for e in t.events if isinstance(e, Verified)]
    mean = lambda values: (
        statistics.mean(v) if (v := [x for x in values if x is not None]) else None
    )
    return dict(
        patcher_per_byte=a_byte(lambda t: t.nfe.patcher),
        encoder_per_byte=a_byte(lambda t: t.nfe.encoder),
        global_per_byte=a_byte(lambda t: t.nfe.global_),
        decoder_per_byte=a_byte(lambda t: t.nfe.decoder),
        bytes_per_patch=mean(t.bytes_per_patch for t in totals),
        bytes_per_round=ratio(n, sum(t.rounds for t in totals)),
        acceptance=ratio(sum(accepted), sum(guessed)),
        accepted_per_round=histogram(accepted, max(guessed, default=0)),
        steps_per_block=mean(t.denoising_steps_per_block for t in totals),
        paper_mb_per_byte=1e3 * a_byte(lambda t: t.paper_gb),
        measured_mb_per_byte=1e3 * a_byte(lambda t: t.measured_gb),
        **{
            f"projected_{shape.lower()}_mb_per_byte": 1e3 * a_byte(lambda t: project(t, shape))
            for shape in PUBLISHED
        },
    )


def histogram(values, most):
    """Share of each of 0 .. most among the values; None without values.

    >>> histogram([2, 0, 2, 2], 2)
    [0.25, 0.0, 0.75]
    """
    return [values.count(v) / len(values) for v in range(most + 1)] if values else None


def agreement(ours, theirs):
    """Shares of bytes that two lists of texts have alike: up to the first difference in each text, and position by position.

    >>> agreement([b"abcd"], [b"abxd"])
    (0.5, 0.75)
    """
    length = sum(max(len(a), len(b)) for a, b in zip(ours, theirs))
    same = [[x == y for x, y in zip(a, b)] for a, b in zip(ours, theirs)]
    first = sum((s + [False]).index(False) for s in same)
    return ratio(first, length), ratio(sum(map(sum, same)), length)


def shown(value):
    """A cell: three digits, lists of shares as a row of bars.

    >>> shown(0.123456), shown(12345), shown(None), shown([0.0, 0.5, 1.0])
    ('0.123', '12,345', '', '▁▅█')
    """
    if isinstance(value, (list, tuple)):
        return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * share))] for share in value)
    if value is None or isinstance(value, str):
        return value or ""
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.0f}"
        if abs(value) >= 1000
        else f"{value:.3g}"
    )


def table(rows, across=False):
    """Rows of dicts as aligned text, without figures that no row has; `across` puts a row in each column, for few rows of
    many figures."""
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    cells = [[name.replace("_", " ").strip() for name in names]] + [
        [shown(row[name]) for name in names] for row in rows
    ]
    if across:
        cells = [list(line) for line in zip(*cells)]
        cells[0:1] = _stacked(cells[0])
    widths = [max(map(len, column)) for column in zip(*cells)]
    justify = lambda column, cell: (
        cell.ljust(widths[column]) if column == 0 else cell.rjust(widths[column])
    )
    return "\n".join("  ".join(justify(*c) for c in enumerate(line)).rstrip() for line in cells)


def _stacked(labels):
    """ "blt-d,block_size=4" as a heading over several lines, one option a line."""
    pieces = [label.split(",") for label in labels]
    return [[p[n] if n < len(p) else "" for p in pieces] for n in range(max(map(len, pieces)))]


def check_written(new_bytes):
    if new_bytes == 0:
        raise ValueError("there is nothing to measure: every text ended before its first byte")
