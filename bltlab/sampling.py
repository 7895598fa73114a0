"""Choosing bytes: temperature, top-k and top-p, with draws keyed by position.

Everything here is a pure function of its arguments. A draw is keyed by (seed, position): the same
uniform number for draft and target, turned into a byte by the inverse CDF in id order. So a method
that accepts a guess while it equals the model's own draw writes the very bytes of autoregression,
at any temperature.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from . import vocab
from .layers import not_numbers
from .options import is_finite, plain_number
from .transfer import send
from .unmasking import (  # noqa: F401  (importable from here since the first release)
    RULES,
    Confidence,
    EntropyBound,
    OneStep,
    TopK,
    best_first,
    first_best,
    format_rule,
    parse_rule,
    rounding,
    rule_title,
)

WITHOUT_FLOAT64 = {"mps"}  # devices; there draws are made in float32
ALLOWED = (vocab.EOS_ID, *range(vocab.OFFSET, vocab.VOCAB_SIZE))  # ids that may be generated


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # whoever asks first, they may be kept for a backward pass
def _banned(n_ids: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which ids are never generated (n_ids,), and what stands in their place."""
    banned = torch.ones(n_ids, dtype=torch.bool)
    banned[list(ALLOWED)] = False
    return banned.to(device), torch.full((), -torch.inf, device=device)


def allowed_logits(logits: Tensor) -> Tensor:
    """Logits (..., V) with the specials that are never generated at -inf; EOS may be generated."""
    banned, minus_infinity = _banned(logits.shape[-1], logits.device)
    return torch.where(banned, minus_infinity, logits)


def beliefs(logits: Tensor) -> Tensor:
    """Probabilities (..., V) at temperature 1, specials removed: what rules and events see."""
    return allowed_logits(logits).softmax(-1)


def uniforms(seeds: Tensor, positions: Tensor) -> Tensor:
    """One number in [0, 1) for each (seed, position), by the splitmix64 mixer.

    Both int64; their shapes broadcast; float64 comes out.
    """
    z = seeds * _wrapped(0xD1342543DE82EF95) + (positions + 1) * _wrapped(0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _wrapped(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _wrapped(0x94D049BB133111EB)
    return _shifted(z ^ _shifted(z, 31), 11).double() / 2**53


def _wrapped(n: int) -> int:
    """An unsigned 64-bit number as the int64 of the same bits."""
    return (n + 2**63) % 2**64 - 2**63


def _shifted(z: Tensor, n: int) -> Tensor:
    """Logical right shift of int64."""
    return (z >> n) & ((1 << (64 - n)) - 1)


def would_repeat(ids: Sequence[int], n: int) -> set[int]:
    """The bytes that, written behind ids, end a run of n bytes which stands there already.

    >>> would_repeat([104, 105, 106, 104, 105], n=3), would_repeat([104, 105], n=3)
    ({106}, set())
    """
    text = "".join(map(chr, ids))
    last = text[max(0, len(text) - n + 1) :]
    found = set()
    at = text.find(last)
    while 0 <= at < len(text) - len(last):
        found.add(ord(text[at + len(last)]))
        at = text.find(last, at + 1)
    return found.intersection(ALLOWED) - {vocab.EOS_ID}


@dataclass(frozen=True)
class Pick:
    """Turns logits and positions into ids.

    temperature 0 takes the best; top_k 0 and top_p 1 keep every byte. seeds: one int for each row.
    no_repeat_ngram_bytes: no run of so many bytes is written that the text, prompt included, holds
    already; 0 lets it repeat. Raises ValueError or TypeError for values out of range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seeds: tuple[int, ...] = (0,)
    no_repeat_ngram_bytes: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p", "top_k", "no_repeat_ngram_bytes"):
            number = plain_number(getattr(self, name))
            if type(number) not in (int, float):
                raise TypeError(f"{name} must be a number, got {number!r}")
            object.__setattr__(self, name, number)
        if not (is_finite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                f"temperature must be a finite number of at least 0, got {self.temperature!s:.60}"
            )
        if not (type(self.top_k) is int and self.top_k >= 0):
            raise ValueError(
                f"top_k must be an int of at least 0 (0 keeps every byte), got {self.top_k}"
            )
        if not (type(self.no_repeat_ngram_bytes) is int and self.no_repeat_ngram_bytes >= 0):
            raise ValueError(
                "no_repeat_ngram_bytes must be an int of at least 0 (0 lets bytes repeat), got"
                f" {self.no_repeat_ngram_bytes}"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    @property
    def is_greedy(self) -> bool:
        """Does it write the likeliest byte, wherever that stands?"""
        return self.temperature == 0 and not self.no_repeat_ngram_bytes

    def __call__(
        self,
        logits: Tensor,
        positions: Tensor | None = None,
        texts: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """ids (B, ...) from logits (B, ..., V), for the bytes at positions (B, ...).

        positions: only where `is_greedy` may they be left out.
        texts: the ids of each row as far as they are known, BOS first; what stands there before a
        position is not repeated at it. Where a logit is not a number the id is BOE, which
        `check_picked` tells from a byte. Raises ValueError where positions are needed, or texts
        to avoid repeats, and there are none.
        """
        logits = allowed_logits(logits)
        if self.is_greedy:
            return first_best(logits)
        if positions is None:
            raise ValueError("a pick that draws, or avoids repeats, needs positions, got none")
        if self.no_repeat_ngram_bytes:
            logits = self._without_repeats(logits, positions, texts)
        if self.temperature == 0:
            return first_best(logits)
        probs = self._probabilities(logits)
        seeds = torch.tensor(self.seeds).view(-1, *[1] * (positions.ndim - 1))
        u = uniforms(seeds, positions.cpu())[..., None].to(probs.dtype)
        u = send(u, probs.device)
        cumulative = probs.cumsum(-1)
        total = cumulative[..., -1:]
        chosen = (cumulative <= u * total).sum(-1)
        # Rounding must not step past the last byte that has any probability.
        possible = (probs > 0).int()
        last = logits.shape[-1] - 1 - possible.flip(-1).argmax(-1)
        return torch.minimum(chosen, last)

    def _without_repeats(
        self, logits: Tensor, positions: Tensor, texts: Sequence[Sequence[int]] | None
    ) -> Tensor:
        """logits (B, T, V) with -inf for bytes that would end a run which the text holds already.

        Nothing is held against a position while a byte just before it is not known.
        """
        if texts is None:
            raise ValueError(
                "no_repeat_ngram_bytes needs the texts in front of what is picked: leave that to"
                " the moves, or give pick(logits, positions, texts)"
            )
        n, logits = self.no_repeat_ngram_bytes, logits.clone()
        for row, (text, places) in enumerate(zip(texts, positions.tolist(), strict=True)):
            for column, place in enumerate(places):
                before = text[:place]
                if len(before) == place and vocab.MASK_ID not in before[place - n + 1 :]:
                    logits[row, column, list(would_repeat(before, n))] = -torch.inf
        return logits

    def _probabilities(self, logits: Tensor) -> Tensor:
        """(B, ..., V), truncated to top_k and top_p; not normalised after that.

        In float64 where the device has it.
        """
        lacks = logits.device.type in WITHOUT_FLOAT64
        wide = logits.to(torch.float32 if lacks else torch.float64)
        relative = wide - logits.amax(-1, keepdim=True)
        probs = (relative / self.temperature).softmax(-1)
        return self._truncated(probs, logits) if self.top_k or self.top_p < 1 else probs

    def _truncated(self, probs: Tensor, logits: Tensor) -> Tensor:
        """The top_k best, of them the smallest set that holds top_p; ties go to the lower id."""
        order = best_first(logits)
        kept = probs.gather(-1, order)
        if self.top_k:
            kept[..., self.top_k :] = 0
        if self.top_p < 1:
            before = kept.cumsum(-1) - kept
            enough = self.top_p * kept.sum(-1, keepdim=True) - rounding(logits)
            kept[..., 1:] *= before[..., 1:] < enough  # the best stays in any case
        return torch.zeros_like(probs).scatter(-1, order, kept)

    def rows(self, rows: Sequence[int]) -> "Pick":
        """The same for some rows of the batch."""
        return replace(self, seeds=tuple(self.seeds[number] for number in rows))


def check_picked(rows: Sequence[Sequence[int]]) -> None:
    """Raise ValueError where a pick met logits that are not numbers: see `Pick`. rows: its ids."""
    if any(vocab.BOE_ID in ids for ids in rows):
        raise not_numbers("the logits")
