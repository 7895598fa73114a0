"""07: the accepted prefix, a keyed draw, BLT-S by hand."""

import random
from typing import Any

import torch

import bltlab
from bltlab.decoding import moves
from bltlab.sampling import Pick, allowed_logits, uniforms

from .comparing import Answer, compare, exercise, plain, refuse
from .samples import autoregressive, random_ids, state_of

# -- the accepted prefix ---------------------------------------------------------------------------


def _accepted(drafted: list[int], target: list[int]) -> int:
    return moves.accepted_length(drafted, target).item()


@exercise(
    "7.1",
    wrong={
        "all that agree are counted, behind a wrong one too": lambda drafted, target: sum(
            a == b for a, b in zip(drafted, target, strict=True)
        ),
        "the first that differs is counted too": lambda drafted, target: (
            _accepted(drafted, target) + 1
        ),
        "a draft without a wrong byte is not thought of": lambda drafted, target: next(
            i for i in range(len(drafted)) if drafted[i] != target[i]
        ),
    },
)
def accepted_length(yours: Answer) -> None:
    """yours(drafted, target) -> how many drafted ids stand before the first that differs."""
    draw = random.Random(0)
    cases: list[tuple] = [([1, 2, 3], [1, 2, 3]), ([5], [6]), ([5], [5])]
    for _ in range(200):
        n = draw.randint(1, 6)
        cases.append((random_ids(draw, 0, 2, n), random_ids(draw, 0, 2, n)))
    compare(
        "accepted_length",
        yours,
        _accepted,
        cases,
        lambda drafted, target: f"drafted {drafted} and target {target}",
    )


# -- a keyed draw ----------------------------------------------------------------------------------


def _draw(logits: torch.Tensor, temperature: float, seed: int, position: int) -> int:
    pick = Pick(temperature, seeds=(seed,))
    return pick(logits[None], torch.tensor([position])).item()


def _draw_from_all(logits: torch.Tensor, temperature: float, seed: int, position: int) -> int:
    u = uniforms(torch.tensor(seed), torch.tensor(position))
    return int(((logits / temperature).softmax(-1).cumsum(-1) <= u).sum())


@exercise(
    "7.2",
    wrong={
        "the temperature is forgotten": lambda logits, temperature, seed, position: _draw(
            logits, 1.0, seed, position
        ),
        "each position draws the number of the first": lambda logits, temperature, seed, position: (
            _draw(logits, temperature, seed, 0)
        ),
        "the best byte is taken, not drawn": lambda logits, temperature, seed, position: int(
            allowed_logits(logits).argmax()
        ),
        "special ids may be drawn": _draw_from_all,
        "EOS may not be drawn": lambda logits, temperature, seed, position: _draw(
            torch.cat([logits[:2], torch.tensor([-1e9]), logits[3:]]), temperature, seed, position
        ),
    },
)
def draw(yours: Answer) -> None:
    """yours(logits, temperature, seed, position) -> the id that `Pick` draws; logits (V,)."""

    def given(logits, temperature, seed, position):
        allowed = allowed_logits(logits)
        best = [f"{i}: {logits[i]:.3g}" for i in logits.topk(3).indices.tolist()]
        u = uniforms(torch.tensor(seed), torch.tensor(position))
        return (
            f"260 logits, the largest {', '.join(best)}, of those that are allowed"
            f" {allowed.argmax().item()}; temperature {temperature}, seed {seed},"
            f" position {position}, so the uniform number {u:.4f}"
        )

    g = torch.Generator().manual_seed(0)
    cases = []
    for seed in range(120):
        logits = torch.randn(260, generator=g, dtype=torch.float64) * 3
        logits[seed % 4] += 9  # specials with much weight: they must not be drawn, EOS may
        cases.append((logits, (0.5, 0.9, 2.0)[seed % 3], seed % 7, seed))
    compare("draw", yours, _draw, cases, given)


# -- BLT-S by hand ---------------------------------------------------------------------------------


def check_ids(name: str, found: list[int], wanted: list[int], given: str) -> None:
    """Raise where two texts differ, as far as both go."""
    for i, (yours, library) in enumerate(zip(found, wanted, strict=False)):
        if yours != library:
            told = f"new byte {i} is not what autoregression writes."
            refuse(name, told, given, found[: i + 1], wanted[: i + 1])


def _written(state: bltlab.DecodingState, n: int, k: int, unchecked: bool = False) -> list[int]:
    """n ids in rounds of k guesses, greedy; unchecked: whatever was drafted is kept."""
    start, pick = state.length, Pick()
    while state.length < start + n:
        rounds = _round(state, pick, k, unchecked)
        for _ in rounds:
            pass
    return state.rows[0].ids[start : start + n]


def _round(state: bltlab.DecodingState, pick: Pick, k: int, unchecked: bool) -> Any:
    proposed = yield from moves.chain(state, pick, k)
    if unchecked:
        yield from moves.trust(state, proposed)
    else:
        yield from moves.verify(state, pick, proposed)


@exercise(
    "7.3",
    wrong={
        "the draft is kept without a look": lambda state, n: _written(state, n, 4, unchecked=True),
        "one byte is written at a time": lambda state, n: _written(state, n, 0),
        "the last round is cut too short": lambda state, n: _written(state, n, 4)[:-1],
        "more is returned than was asked for": lambda state, n: _written(state, n + 1, 4),
    },
)
def write(yours: Answer) -> None:
    """yours(state, n) -> the n ids that autoregression writes, several verified at once.

    It must extend the state fewer than n times: the passes of the entropy model are counted.
    """
    n, saved = 24, 0
    for seed in range(8):
        prompt = f"river {seed}"
        given = f"a state that holds {prompt!r}, and n = {n}"
        state = state_of(prompt)
        before = state.nfe
        try:
            found = plain(yours(state, n))
        except Exception as error:
            found = error
        if not isinstance(found, list) or len(found) != n:
            refuse("write", f"{n} ids are wanted.", given, found, f"a list of {n} ids")
        check_ids("write", found, autoregressive(prompt, n, Pick()), given)
        rounds = (state.nfe - before).patcher
        if not 0 < rounds < n:
            told = "draft several bytes, then extend by all of them at once."
            refuse("write", told, given, f"{rounds} calls of extend", f"fewer than {n}")
        saved += n - rounds
    print(
        f"write: yours writes the bytes of autoregression on 8 prompts and spares {saved} of "
        f"{8 * n} passes"
    )
