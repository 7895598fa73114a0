"""08: the acceptance rate, the share by place, a drafter of one's own."""

from typing import Any

import torch

import bltlab
from bltlab.decoding import moves
from bltlab.events import Verified
from bltlab.sampling import Pick
from bltlab.viz import figures

from .comparing import Answer, compare, exercise, refuse, say
from .drafts import check_ids
from .samples import autoregressive, state_of, traces


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


# -- a drafter of one's own ------------------------------------------------------------------------


def _constant(state: bltlab.DecodingState, pick: Pick) -> moves.Proposal:
    return moves.Proposal(torch.full((1, 4), 100), torch.ones(1, 4), own=1)


@exercise(
    "8.3",
    wrong={
        "the first byte is a guess, not the model's own": _constant,
        "nothing is proposed": lambda state, pick: print("thinking"),
        "ids are returned, not a Proposal": lambda state, pick: [1, 2],
        "the proposal does not say that it starts with the model's own byte": lambda state, pick: (
            moves.Proposal(torch.zeros(1, 1).long(), torch.ones(1, 1), own=0)
        ),
    },
)
def proposer(yours: Answer) -> None:
    """yours(state, pick) -> a `moves.Proposal`, or a generator of events that returns one.

    Any proposal that starts with the model's own byte keeps the text of autoregression.
    """
    n, rounds, committed = 24, 0, 0
    for seed in range(8):
        prompt = f"river {seed}, river {seed}"
        pick = Pick(0.9 * (seed % 2), seeds=(seed,))
        given = f"a state that holds {prompt!r}, and temperature {pick.temperature}"
        state = state_of(prompt)
        start = state.length
        while state.length < start + n:
            proposal = _run_proposer(yours, state, pick, given)
            for _ in moves.verify(state, pick, proposal):
                pass
            rounds += 1
        committed += state.length - start
        told = f"{given}; the first id must be the model's own"
        found = state.rows[0].ids[start:]
        check_ids("proposer", found, autoregressive(prompt, n, pick), told)
    print(
        f"proposer: yours keeps the bytes of autoregression on 8 prompts, "
        f"{committed / rounds:.2f} bytes a round"
    )


def _run_proposer(
    yours: Answer, state: bltlab.DecodingState, pick: Pick, given: str
) -> moves.Proposal:
    """What a learner's proposer proposes. Raises `Refused` where it is not a proposal."""
    found: Any
    try:
        found = yours(state, pick)
        while hasattr(found, "__next__"):
            next(found)
    except StopIteration as end:  # a generator returns its proposal
        found = end.value
    except Exception as error:
        found = error
    if not isinstance(found, moves.Proposal) or found.own != 1:
        wanted = "a moves.Proposal with own=1"
        refuse("proposer", "that is no such proposal.", given, _named(found), wanted)
    return found


def _named(found: Any) -> Any:
    return found if isinstance(found, Exception) else f"{type(found).__name__} {say(found)}"
