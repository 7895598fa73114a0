"""09: the cost model, and settings that win passes and lose seconds."""

import random

import bltlab
from bltlab.costs import paper_gb

from .comparing import Answer, compare, exercise

Sizes = dict[str, float]
Measured = tuple[str, float, float]  # a method's name, passes, seconds

# -- gigabytes -------------------------------------------------------------------------------------


def _gigabytes(decoder: int, large: int, sizes: Sizes) -> float:
    return paper_gb(bltlab.NFE(decoder=decoder, global_=large), sizes)


@exercise(
    "9.1",
    wrong={
        "the encoder is left out": lambda decoder, large, sizes: _gigabytes(
            decoder, large, sizes | {"encoder": 0}
        ),
        "the encoder is billed with each decoder pass": lambda decoder, large, sizes: (
            2 * (decoder * (sizes["decoder"] + sizes["encoder"]) + large * sizes["global_"]) / 1e9
        ),
        "a weight has one byte": lambda decoder, large, sizes: (
            _gigabytes(decoder, large, sizes) / 2
        ),
        "each pass reads all weights": lambda decoder, large, sizes: (
            2 * (decoder + large) * sum(sizes.values()) / 1e9
        ),
    },
)
def gigabytes(yours: Answer) -> None:
    """yours(decoder, large, sizes) -> gigabytes by eq. 8."""
    draw = random.Random(0)
    cases: list[tuple] = [(10, 0, dict(encoder=1e9, global_=1e9, decoder=1e9))]
    for _ in range(40):
        sizes = dict(encoder=2e7, global_=draw.choice((1e9, 3e9)), decoder=1.6e8)
        cases.append((draw.randint(1, 600), draw.randint(1, 300), sizes))
    compare(
        "gigabytes",
        yours,
        _gigabytes,
        cases,
        lambda decoder, large, sizes: f"{decoder} decoder and {large} global passes of {sizes}",
    )


# -- the losing setting ----------------------------------------------------------------------------


def _losing(rows: list[Measured]) -> list[str]:
    lost = [row for row in rows if row[1] < rows[0][1] and row[2] > rows[0][2]]
    return [name for name, _, _ in sorted(lost, key=lambda row: -row[2])]


@exercise(
    "9.2",
    wrong={
        "all that lose seconds are named, whatever their passes": lambda rows: [
            row[0] for row in sorted(rows, key=lambda row: -row[2]) if row[2] > rows[0][2]
        ],
        "all that win passes are named, whatever their seconds": lambda rows: [
            row[0] for row in sorted(rows, key=lambda row: -row[2]) if row[1] < rows[0][1]
        ],
        "the smallest loss stands first": lambda rows: _losing(rows)[::-1],
        "they stand in the order of the rows": lambda rows: [
            row[0] for row in rows if row[0] in _losing(rows)
        ],
    },
)
def losing(yours: Answer) -> None:
    """yours(rows) -> names of the rows with fewer passes and more seconds than the first row."""
    draw = random.Random(0)
    cases: list[tuple] = []
    for n in range(80):
        rows = [("ar", 10, 10)]
        for name in "abcdef"[: 1 + n // 14]:
            rows.append((name, draw.randint(6, 13), draw.choice((7, 8, 9, 11, 12, 13, 14))))
        seconds = [row[2] for row in rows]
        if len(set(seconds)) == len(seconds):  # no two alike: the order is clear
            cases.append((rows,))
    compare("losing", yours, _losing, cases, lambda rows: f"rows {rows}")
