"""Bytes put forward, and how sure somebody was of them: what moves hand to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .. import vocab
from ..sampling import beliefs
from ..state import DecodingState

N_CANDIDATES = 5  # that an event tells of a byte


@dataclass(frozen=True)
class Proposal:
    """Bytes put forward, and by whom.

    ids (B, n); probs (B, n): the drafter's, or None where nobody asked; own: how many of the bytes
    in front (none or one) are the model's own choice, which need no check.
    """

    ids: torch.Tensor
    probs: torch.Tensor | None = None
    own: int = 0

    @property
    def length(self) -> int:
        """n, how many bytes."""
        return self.ids.shape[1]

    def then(self, ids: torch.Tensor, probs: torch.Tensor | None) -> "Proposal":
        """The same bytes with others behind them."""
        known = self.probs is not None and probs is not None
        joined = torch.cat([self.probs, probs], 1) if known else None
        return Proposal(torch.cat([self.ids, ids], 1), joined, self.own)


def nothing(state: DecodingState) -> Proposal:
    """A proposal without bytes, to put others behind."""
    empty = torch.empty(state.batch_size, 0, device=state.model.device)
    return Proposal(empty.long(), empty)


def ends_of(ids: Sequence[Sequence[int]]) -> list[int]:
    """How many bytes of each row stand before its first EOS.

    >>> ends_of([[70, 2, 71], [70, 71, 72]])
    [1, 3]
    """
    eos = vocab.EOS_ID
    return [list(row).index(eos) if eos in row else len(row) for row in ids]


def ahead(state: DecodingState, offset: int, n: int) -> torch.Tensor:
    """(B, n): the positions from `offset` bytes past each row's frontier on."""
    device = state.model.device
    if state.batch_size == 1:
        begin = state.lengths[0] + offset
        return torch.arange(begin, begin + n, device=device)[None]
    begins = torch.tensor(state.lengths, device=device)[:, None] + offset
    return begins + torch.arange(n, device=device)


@dataclass(frozen=True)
class Weighed:
    """How sure somebody was of some bytes.

    ids (B, n); probs (B, n) of them; top: ids and probabilities (B, n, 5) of the best candidates.
    probs and top are None where nobody asked; events then carry None, and no candidates.
    """

    ids: torch.Tensor
    probs: torch.Tensor | None = None
    top: tuple[torch.Tensor, ...] | None = None

    @classmethod
    def join(cls, steps: Sequence["Weighed"]) -> "Weighed":
        """Steps of one byte each, side by side."""
        first, top = steps[0], None
        if first.top is not None:
            top = tuple(torch.cat(part, 1) for part in zip(*(s.top for s in steps), strict=True))
        probs = None if first.probs is None else torch.cat([s.probs for s in steps], 1)
        return cls(torch.cat([step.ids for step in steps], 1), probs, top)

    def plain_probs(self) -> list[tuple[Any, ...]]:
        """A tuple of probabilities for each row, None where nobody asked."""
        rows, n = self.ids.shape
        if self.probs is None:
            return [(None,) * n] * rows
        return [tuple(row) for row in self.probs.tolist()]

    def plain_candidates(self) -> list[tuple[Any, ...]]:
        """For each row a tuple with the candidates of each byte: ((id, probability), ...)."""
        rows, n = self.ids.shape
        if self.top is None:
            return [((),) * n] * rows
        ids, probs = (part.tolist() for part in self.top)
        return [_candidates(*row) for row in zip(ids, probs, strict=True)]


def _candidates(ids: list[list[int]], probs: list[list[float]]) -> tuple[Any, ...]:
    """One row's candidates, a tuple of pairs for each byte."""
    return tuple(tuple(zip(i, p, strict=True)) for i, p in zip(ids, probs, strict=True))


def weigh(
    state: DecodingState,
    ids: torch.Tensor,
    logits: torch.Tensor | None = None,
    probs: torch.Tensor | None = None,
    always: bool = False,
) -> Weighed:
    """How sure logits (B, n, V), or probabilities at temperature 1, are of ids (B, n).

    Only as far as `state.record` asks; `always` wants the probabilities anyway.
    """
    if state.record != "all" and not always:
        return Weighed(ids)
    probs = beliefs(logits) if probs is None else probs
    chosen = probs.gather(-1, ids[..., None])[..., 0]
    if state.record != "all":
        return Weighed(ids, chosen)
    top = probs.topk(N_CANDIDATES, -1)
    return Weighed(ids, chosen, (top.indices, top.values))
