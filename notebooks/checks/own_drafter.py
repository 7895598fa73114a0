"""11: chain and block, a drafter of one's own, a whole round."""

from typing import Any

import torch

import bltlab
from bltlab.decoding import moves
from bltlab.sampling import Pick
from bltlab.unmasking import OneStep

from .comparing import EXERCISES, Answer, exercise, refuse, say
from .drafts import check_ids
from .samples import autoregressive, state_of

# -- chain and block -------------------------------------------------------------------------------


def _chain_and_block(state: bltlab.DecodingState, pick: Pick, k: int, size: int) -> Any:
    chained = yield from moves.chain(state, pick, k)
    return (yield from moves.unmask(state, pick, OneStep(), size, after=chained))


def _block_apart(state: bltlab.DecodingState, pick: Pick, k: int, size: int) -> Any:
    chained = yield from moves.chain(state, pick, k)
    block = yield from moves.unmask(state, pick, OneStep(), size)
    return chained.then(block.ids, block.probs)


def _only_a_block(state: bltlab.DecodingState, pick: Pick, k: int, size: int) -> Any:
    own = yield from moves.chain(state, pick)
    return (yield from moves.unmask(state, pick, OneStep(), k + size, after=own))


def _only_a_chain(state: bltlab.DecodingState, pick: Pick, k: int, size: int) -> Any:
    return (yield from moves.chain(state, pick, k + size))


@exercise(
    "11.1",
    wrong={
        "the block does not stand behind the chain (after=)": _block_apart,
        "the model's own byte counts as one of the k": lambda state, pick, k, size: (
            _chain_and_block(state, pick, k - 1, size)
        ),
        "all guesses come from one block": _only_a_block,
        "all guesses come from the chain": _only_a_chain,
    },
)
def chain_and_block(yours: Answer) -> None:
    """yours(state, pick, k, size) -> a generator that returns the proposal and commits nothing."""
    known = EXERCISES["chain_and_block"].wrong
    for seed in range(12):
        k, size, prompt = 1 + seed % 3, 2 + seed % 4, f"river {seed}"
        pick = Pick(0.9 * (seed % 2), seeds=(seed,))
        given = f"{prompt!r}, temperature {pick.temperature}, k = {k} and size = {size}"
        found = _ids_of(_chain_and_block, prompt, pick, k, size)
        result = _ids_of(yours, prompt, pick, k, size)
        if result != found:
            told = f"the proposal must hold {1 + k + size} bytes, chain first."
            named = [w for w, f in known.items() if _ids_of(f, prompt, pick, k, size) == result]
            refuse("chain_and_block", told, given, result, found, *named[:1])
    print("chain_and_block: yours proposes what the library does on 12 prompts")


def _ids_of(yours: Answer, prompt: str, pick: Pick, k: int, size: int) -> Any:
    """The ids of the proposal that a generator returns, or what is wrong with it."""
    state = state_of(prompt)
    found = _returned(yours, state, pick, k, size)
    if state.length != len(bltlab.encode(prompt)):
        return ValueError("bytes were committed")
    return found.ids[0].tolist() if isinstance(found, moves.Proposal) else found


def _returned(yours: Answer, *arguments: Any) -> Any:
    """What a function returns, or a generator at its end; or the exception that it raised."""
    try:
        found = yours(*arguments)
        while hasattr(found, "__next__"):
            next(found)
    except StopIteration as end:
        return end.value
    except Exception as error:
        return error
    return found


# -- a drafter of one's own ------------------------------------------------------------------------


def _constant(state: bltlab.DecodingState, pick: Pick) -> moves.Proposal:
    return moves.Proposal(torch.full((1, 4), 100), torch.ones(1, 4), own=1)


@exercise(
    "11.2",
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
    found = _returned(yours, state, pick)
    if not isinstance(found, moves.Proposal) or found.own != 1:
        wanted = "a moves.Proposal with own=1"
        refuse("proposer", "that is no such proposal.", given, _named(found), wanted)
    return found


def _named(found: Any) -> Any:
    return found if isinstance(found, Exception) else f"{type(found).__name__} {say(found)}"


# -- a whole round ---------------------------------------------------------------------------------


def _own_pick(state: bltlab.DecodingState, pick: Pick) -> Any:
    proposed = yield from moves.chain(state, Pick(pick.temperature), 2)
    yield from moves.verify(state, pick, proposed)


def _greedy(state: bltlab.DecodingState, pick: Pick) -> Any:
    proposed = yield from moves.chain(state, Pick(), 2)
    yield from moves.verify(state, Pick(), proposed)


def _trusted(state: bltlab.DecodingState, pick: Pick) -> Any:
    yield from moves.trust(state, (yield from moves.chain(state, pick, 3)))


def _undecided(state: bltlab.DecodingState, pick: Pick) -> Any:
    yield from moves.chain(state, pick, 3)


@exercise(
    "11.3",
    wrong={
        "the draft is drawn with another seed, and so is the model's own byte": _own_pick,
        "the best byte is taken, whatever the temperature": _greedy,
        "the draft is trusted": _trusted,
        "nothing is committed": _undecided,
    },
)
def whole_round(yours: Answer) -> None:
    """yours(state, pick) -> a generator of events that commits at least one byte.

    The text must be that of autoregression, greedy and sampled, with several seeds.
    """
    n, rounds, committed = 24, 0, 0
    for seed in range(8):
        prompt, pick = f"river {seed}, river {seed}", Pick(0.9 * (seed % 2), seeds=(seed,))
        given = f"{prompt!r}, temperature {pick.temperature} and seed {seed}"
        state = state_of(prompt)
        start = state.length
        while state.length < start + n:
            before, found = state.length, _returned(yours, state, pick)
            if isinstance(found, Exception) or state.length == before:
                told = "a round must commit at least one byte."
                got = found if isinstance(found, Exception) else f"{state.length - before} bytes"
                refuse("whole_round", told, given, got, "1 byte or more")
            rounds += 1
        committed += state.length - start
        wanted = autoregressive(prompt, n, pick)
        check_ids("whole_round", state.rows[0].ids[start : start + n], wanted, given)
    print(f"whole_round: yours is lossless on 8 prompts, {committed / rounds:.2f} bytes a round")
