"""Bytes put forward: what moves hand to each other, and where they stand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from .. import vocab
from ..sampling import Pick, check_picked
from ..state import DecodingState
from ..transfer import fetch

Rows = list[list[int]]


@dataclass(frozen=True)
class Proposal:
    """Bytes put forward, and by whom.

    ids (B, n); probs (B, n): the drafter's, or None where nobody asked; own: how many of the bytes
    in front (none or one) are the model's own choice, which need no check. rows: the ids as lists,
    where somebody has looked at them.
    """

    ids: torch.Tensor
    probs: torch.Tensor | None = None
    own: int = 0
    rows: Rows | None = field(default=None, repr=False)

    @property
    def length(self) -> int:
        """n, how many bytes."""
        return self.ids.shape[1]

    def then(
        self, ids: torch.Tensor, probs: torch.Tensor | None, rows: Rows | None = None
    ) -> "Proposal":
        """The same bytes with others behind them."""
        if self.length == 0:
            return Proposal(ids, probs, self.own, rows)
        known = self.probs is not None and probs is not None
        joined = torch.cat([self.probs, probs], 1) if known else None
        both = None
        if self.rows is not None and rows is not None:
            both = [mine + more for mine, more in zip(self.rows, rows, strict=True)]
        return Proposal(torch.cat([self.ids, ids], 1), joined, self.own, both)

    def seen(self, state: DecodingState) -> "Proposal":
        """The same with its rows, where a look does not wait for a device."""
        if self.rows is not None or state.waits:
            return self
        return Proposal(self.ids, self.probs, self.own, plain(self.ids))


def nothing(state: DecodingState) -> Proposal:
    """A proposal without bytes, to put others behind."""
    ids, probs = _no_columns(state.batch_size, state.device)
    return Proposal(ids, probs, rows=[[] for _ in state.rows])


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _no_columns(batch_size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.empty(batch_size, 0, dtype=torch.long, device=device)
    return ids, torch.empty(batch_size, 0, device=device)


def plain(ids: torch.Tensor) -> Rows:
    """Ids that a pick chose as lists. Raises ValueError where it met no numbers."""
    (rows,) = fetch(ids)
    check_picked(rows)
    return rows


def ends_of(ids: Sequence[Sequence[int]]) -> list[int]:
    """How many bytes of each row stand before its first EOS.

    >>> ends_of([[70, 2, 71], [70, 71, 72]])
    [1, 3]
    """
    eos = vocab.EOS_ID
    return [list(row).index(eos) if eos in row else len(row) for row in ids]


def ahead(state: DecodingState, offset: int | Sequence[int], n: int) -> torch.Tensor:
    """(B, n), on the CPU: the positions from `offset` bytes past each row's frontier on.

    offset: one number for all rows, or one for each.
    """
    offsets = offset if isinstance(offset, Sequence) else [offset] * state.batch_size
    begins = [length + one for length, one in zip(state.lengths, offsets, strict=True)]
    rows = [list(range(begin, begin + n)) for begin in begins]
    return torch.tensor(rows, dtype=torch.long)


def choose(
    state: DecodingState,
    pick: Pick,
    logits: torch.Tensor,
    at: torch.Tensor | int | Sequence[int],
    *scratch: torch.Tensor | Sequence[Sequence[int]] | Callable[[], Rows],
) -> torch.Tensor:
    """The ids (B, n) that `pick` writes at positions `at` (B, n), from logits (B, n, V).

    at: numbers, as `ahead` takes them, are how far past the frontier the first of them stand.
    scratch: ids (B, m) behind the frontier, one after another, MASK where one is hidden, or
    functions that give them. They are asked for only where a pick minds what stands in front of it.
    """
    if type(pick) is Pick and pick.is_greedy:
        return pick(logits)
    if not torch.is_tensor(at):
        at = ahead(state, at, logits.shape[1])
    if not getattr(pick, "no_repeat_ngram_bytes", 0):
        return pick(logits, at)
    texts = [list(row.ids) for row in state.rows]
    for part in scratch:
        given = part() if callable(part) else part
        rows = given.tolist() if torch.is_tensor(given) else given
        for text, ids in zip(texts, rows, strict=True):
            text.extend(ids)
    return pick(logits, at, texts)
