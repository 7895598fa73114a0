"""The tables of the Fast BLT paper (arXiv 2605.08044) as data: `paper_tables.csv`, row by row.

A row is one method at one shape on one task: its score, what was accepted, evaluations of decoder
and global transformer, and the traffic that the paper prints.
"""

import csv
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from ..costs import NFE, project
from ..evaluation.summary import Row

FILE = Path(__file__).with_name("paper_tables.csv")
NUMBERS = ("score", "acceptance_percent", "decoder_nfe", "global_nfe", "traffic_gb")


@lru_cache(None)
def paper_rows() -> tuple[Row, ...]:
    """All rows; a number that the paper does not print is None."""
    with open(FILE, encoding="utf-8", newline="") as file:
        return tuple(map(_with_numbers, csv.DictReader(file)))


def _with_numbers(row: Row) -> Row:
    found = dict(row)
    for name in NUMBERS:
        found[name] = float(row[name]) if row[name] else None
    return found


def label(row: Row) -> str:
    """A row's method as our command line writes it.

    >>> label(dict(method="blt-d", block_or_k="8", rule="entropy:1.0"))
    'blt-d 8 entropy:1.0'
    """
    return " ".join(part for part in (row["method"], row["block_or_k"], row["rule"]) if part)


def traffic_of(row: Row) -> float:
    """Gigabytes by equation 8, from a row's evaluations."""
    nfe = NFE(decoder=row["decoder_nfe"], global_=row["global_nfe"])
    return project(nfe, row["shape"])


def traffic_errors() -> list[tuple[float, Row]]:
    """(relative error of our equation, row) of each row with traffic, the worst first."""
    found = []
    for row in paper_rows():
        if row["traffic_gb"] is not None:
            found.append((abs(traffic_of(row) / row["traffic_gb"] - 1), row))
    return sorted(found, key=lambda pair: -pair[0])


def in_global_passes(row: Row) -> float:
    """The same error in passes of encoder and global transformer."""
    one = project(NFE(global_=1), row["shape"])
    return abs(traffic_of(row) - row["traffic_gb"]) / one


def told(worst: int = 3) -> str:
    """What `evaluate --paper` prints: how near our equation comes to the printed traffic."""
    errors = traffic_errors()
    middle = errors[len(errors) // 2][0]
    most = max(in_global_passes(row) for _, row in errors)
    lines = [
        f"{len(errors)} traffic figures of the paper from its evaluation counts by equation 8:"
        f" half of them within {100 * middle:.2f} %, the worst {100 * errors[0][0]:.2f} % off,"
        f" none by more than {most:.2f} global passes"
    ]
    for error, row in errors[:worst]:
        lines.append(
            f"{100 * error:.2f} %: {row['task']} {row['shape']}, {label(row)}: printed"
            f" {row['traffic_gb']:.2f} GB, computed {traffic_of(row):.2f}"
        )
    return "\n".join(lines)


def relative_points(tasks: Iterable[str]) -> Iterator[Row]:
    """Traffic and score of the rows of some tasks, over autoregression's at the same shape."""
    base: dict[tuple[str, str], Row] = {}
    wanted = set(tasks)
    for row in paper_rows():
        if row["task"] not in wanted or row["traffic_gb"] is None:
            continue
        own = row["task"], row["shape"]
        if row["method"] == "ar":
            base[own] = row
        yield dict(
            name=f"paper: {row['task']}, {row['shape']}",
            label=label(row),
            traffic=row["traffic_gb"] / base[own]["traffic_gb"],
            score=row["score"] / base[own]["score"],
        )
