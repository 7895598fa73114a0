"""Bytes put forward: what moves hand to each other, and where they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .. import vocab
from ..sampling import Pick
from ..state import DecodingState


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


def choose(
    state: DecodingState,
    pick: Pick,
    logits: torch.Tensor,
    at: torch.Tensor,
    *scratch: torch.Tensor | Sequence[Sequence[int]],
) -> torch.Tensor:
    """The ids (B, n) that `pick` writes at positions `at` (B, n), from logits (B, n, V).

    scratch: ids (B, m) behind the frontier, one after another, MASK where one is hidden. They are
    asked for only where a pick minds what stands in front of it.
    """
    if not getattr(pick, "no_repeat_ngram_bytes", 0):
        return pick(logits, at)
    texts = [list(row.ids) for row in state.rows]
    for part in scratch:
        rows = part.tolist() if torch.is_tensor(part) else part
        for text, ids in zip(texts, rows, strict=True):
            text.extend(ids)
    return pick(logits, at, texts)
