"""A file of your own for notebook 11: two drafters, a rule, a method with a fault, and `Mine`.

Edit `Mine` and run the leaderboard's cell again; all other tools take it as well:

    python -m bltlab generate --checkpoint blt-d-nano --method my_drafter.py:Mine "And he said "
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

import bltlab
from bltlab.decoding import Method, at_least_one, chain, option, propose, verify
from bltlab.sampling import Pick

SPACE = 32


@lru_cache
def table_of(n: int, size: int = 500_000) -> dict[bytes, int]:
    """The byte that follows each n bytes most often, in `size` bytes of the training text."""
    documents = list(bltlab.data.documents("plain-english", "train"))
    text = "\n".join(documents[::20]).encode()[:size]
    counts = Counter(text[at : at + n + 1] for at in range(len(text) - n))
    rarest_first = sorted(counts, key=counts.__getitem__)
    return {gram[:-1]: gram[-1] for gram in rarest_first}


# -- a method --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table(Method):
    """Proposes what most often follows the last n bytes: no model drafts."""

    name = "table"
    title = "A table of n-grams"
    length: int = option(8, "bytes proposed at once", min=1, max=32)
    n: int = option(4, "bytes that are looked up", min=1, max=8)

    def round(self, state: bltlab.DecodingState, pick: Pick) -> Iterator[Any]:
        """The model's own byte, then guesses of the table; the model verifies."""
        own = yield from chain(state, pick)
        known = zip(state.rows, own.ids.tolist(), strict=True)
        guesses = [self.guess(row.ids + ids) for row, ids in known]
        proposed = yield from propose(state, guesses, after=own)
        yield from verify(state, pick, proposed)

    def guess(self, ids: Sequence[int]) -> list[int]:
        """`length` ids behind some ids, each looked up behind the one before."""
        text = bltlab.decode(list(ids[-self.n :]))
        for _ in range(self.length):
            text += bytes([table_of(self.n).get(text[-self.n :], SPACE)])
        return bltlab.encode(text)[-self.length :]

    @property
    def lookahead(self) -> int:
        """The model's own byte, and the guesses."""
        return 1 + self.length


# -- a rule ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ramp:
    """Left slots are revealed sooner: the bar rises from slot to slot."""

    first: float = option(0.3, "what the first slot must exceed", min=0.0, max=1.0)
    last: float = option(0.9, "what the last slot must exceed", min=0.0, max=1.0)

    def __call__(self, probs: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """revealed (B, S), from probs (B, S, V) and masked (B, S)."""
        top = probs.amax(-1)
        bar = torch.linspace(self.first, self.last, top.shape[1], device=top.device)
        return at_least_one(top > bar, top, masked)


# -- something is wrong here -----------------------------------------------------------------------


@dataclass(frozen=True)
class Careless(Method):
    """A short chain, verified. Its text reads well, and no error is raised."""

    name = "careless"
    title = "A chain with a fault"

    def round(self, state: bltlab.DecodingState, pick: Pick) -> Iterator[Any]:
        """Four guesses behind the model's own byte."""
        proposed = yield from chain(state, Pick(pick.temperature), 4)
        yield from verify(state, pick, proposed)

    @property
    def lookahead(self) -> int:
        """The model's own byte, and the guesses."""
        return 5


# -- yours -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mine(Method):
    """Repeats what followed the last place where the newest three bytes stood: make it better."""

    name = "mine"
    title = "Mine"
    length: int = option(6, "bytes proposed at once", min=1, max=32)

    def round(self, state: bltlab.DecodingState, pick: Pick) -> Iterator[Any]:
        """The model's own byte, then guesses; the model verifies."""
        own = yield from chain(state, pick)
        known = zip(state.rows, own.ids.tolist(), strict=True)
        guesses = [self.guess(bltlab.decode(row.ids + ids)) for row, ids in known]
        proposed = yield from propose(state, guesses, after=own)
        yield from verify(state, pick, proposed)

    def guess(self, text: bytes) -> list[int]:
        """`length` ids behind a text."""
        at = text.rfind(text[-3:], 0, -1) + 3
        guesses = (text[at:] + b" " * self.length)[: self.length]
        return bltlab.encode(guesses)[1:]

    @property
    def lookahead(self) -> int:
        """The model's own byte, and the guesses."""
        return 1 + self.length
