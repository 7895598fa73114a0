"""08: the acceptance rate, the share by place, how good a guess must be."""

import random

import bltlab
from bltlab.events import Verified
from bltlab.viz import figures

from .comparing import Answer, compare, exercise
from .samples import traces


def _verified(trace: bltlab.Trace) -> list[Verified]:
    return list(trace.events_of(Verified))


def _verified_traces() -> list[bltlab.Trace]:
    """Traces that hold guesses which were verified, and bytes that were committed."""
    return [t for t in traces() if t.totals.rounds and any(e.drafted for e in _verified(t))]


def _rounds(trace: bltlab.Trace) -> str:
    """The rounds of a trace in words."""
    pairs = [f"{e.accepted} of {len(e.drafted)}" for e in _verified(trace)]
    return f"{trace.totals.rounds} rounds that accept {', '.join(pairs)}"


# -- the rate --------------------------------------------------------------------------------------


def _ratios(trace: bltlab.Trace) -> list[float]:
    return [e.accepted / len(e.drafted) for e in _verified(trace) if e.drafted]


@exercise(
    "8.1",
    wrong={
        "the rates of the rounds are averaged: long drafts must weigh more": lambda trace: (
            sum(_ratios(trace)) / len(_ratios(trace))
        ),
        "the model's own byte counts as a guess": lambda trace: (
            sum(e.accepted + 1 for e in _verified(trace))
            / sum(len(e.drafted) + 1 for e in _verified(trace))
        ),
        "bytes a round are counted": lambda trace: trace.totals.mean_acceptance_length,
        "accepted guesses are divided by rounds": lambda trace: (
            sum(e.accepted for e in _verified(trace)) / trace.totals.rounds
        ),
    },
)
def acceptance_rate(yours: Answer) -> None:
    """yours(trace) -> accepted guesses / all guesses."""
    cases = [(trace,) for trace in _verified_traces()]
    compare("acceptance_rate", yours, lambda trace: trace.totals.acceptance_rate, cases, _rounds)


# -- the share by place ----------------------------------------------------------------------------


def _by_all_rounds(many: list[bltlab.Trace]) -> list[float]:
    rounds = [e for trace in many for e in _verified(trace)]
    longest = max(len(e.drafted) for e in rounds)
    return [sum(e.accepted > n for e in rounds) / len(rounds) for n in range(longest)]


@exercise(
    "8.2",
    wrong={
        "rounds that never guessed so far count too": _by_all_rounds,
        "only the first trace is read": lambda many: figures.accepted_share(many[:1]),
        "the rejected are counted": lambda many: [1 - x for x in figures.accepted_share(many)],
        "the last place is left out": lambda many: figures.accepted_share(many)[:-1],
    },
)
def accepted_share(yours: Answer) -> None:
    """yours(traces) -> the share of guesses that was accepted, by their place in the draft.

    Of the rounds that guessed so far; others say nothing about that place.
    """
    found = _verified_traces()
    cases = []
    for n in (1, 3, len(found)):
        cases += [(found[i : i + n],) for i in range(0, len(found), n)]
    compare(
        "accepted_share",
        yours,
        figures.accepted_share,
        cases,
        lambda many: "; ".join(map(_rounds, many)),
    )


# -- how good a guess must be ----------------------------------------------------------------------


def _break_even(small: float, large: float, patch: float) -> float:
    """Bytes a round at which BLT-DV reads as much for a byte as autoregression."""
    return (2 * small + large) / (small + large / patch)


def _needed(length: float, size: int) -> float | None:
    """With what probability each of `size` guesses must be right, to keep `length` bytes a round.

    >>> _needed(2, 1), _needed(3, 1)
    (1.0, None)
    """
    if length > 1 + size:
        return None
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        kept = sum(middle**n for n in range(size + 1))
        low, high = (low, middle) if kept >= length else (middle, high)
    return high


def _good_enough(small: float, large: float, patch: float, size: int) -> float | None:
    return _needed(_break_even(small, large, patch), size)


@exercise(
    "8.3",
    wrong={
        "guesses behind a wrong one count too": lambda small, large, patch, size: (
            (_break_even(small, large, patch) - 1) / size
        ),
        "the block never ends": lambda small, large, patch, size: (
            1 - 1 / _break_even(small, large, patch)
        ),
        "the model's own byte is left out": lambda small, large, patch, size: _needed(
            _break_even(small, large, patch) + 1, size
        ),
        "autoregression runs the large part for every byte": lambda small, large, patch, size: (
            _needed((2 * small + large) / (small + large), size)
        ),
        "1 is given where no probability is enough": lambda small, large, patch, size: (
            _good_enough(small, large, patch, size) or 1.0
        ),
    },
)
def good_enough(yours: Answer) -> None:
    """yours(small, large, patch, size) -> the probability of a guess at which BLT-DV is even."""
    draw = random.Random(0)
    cases: list[tuple] = [(1, 0, 4, 1), (1, 0, 4, 8), (1, 8, 4, 2), (1, 8, 4, 8)]
    for _ in range(60):
        sizes = (draw.uniform(0.1, 2), draw.uniform(0, 20), draw.uniform(1, 8))
        cases.append((*sizes, draw.randint(1, 12)))
    compare(
        "good_enough",
        yours,
        _good_enough,
        cases,
        lambda small, large, patch, size: (
            f"small {small:.4g}, large {large:.4g}, patch {patch:.4g}, {size} guesses a round"
        ),
    )
