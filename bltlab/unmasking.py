"""Unmasking rules: which slots of a block a denoising step reveals (Fast BLT section 3.1.2).

A rule is called with probs (B, S, V), probabilities at temperature 1 without specials, and masked
(B, S), and returns revealed (B, S), bool: at least one masked slot wherever there is any. It is a
pure function of its arguments, so that runs may share it. One of your own is a frozen dataclass
like these: its fields are its options, and its `name` is what the command line calls it. Where the
number of steps is known beforehand, `steps_for(S)` says it: then no step waits to see what is left.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .options import check_options, format_rule_of, option, parse_rule_of


@dataclass(frozen=True)
class Confidence:
    """Reveal every slot whose best byte is more probable than `threshold`; if none, the surest one.

    >>> probs = torch.tensor([[[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]])
    >>> Confidence(0.7)(probs, torch.ones(1, 3, dtype=torch.bool)).int().tolist()
    [[1, 0, 1]]
    """

    name: ClassVar[str] = "confidence"
    threshold: float = option(
        0.7, "probability that the best byte must exceed, the paper's alpha", min=0.0, max=1.0
    )

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, probs: Tensor, masked: Tensor) -> Tensor:
        """revealed (B, S)."""
        top = probs.amax(-1)
        return at_least_one(top > self.threshold + rounding(top), top, masked)


@dataclass(frozen=True)
class EntropyBound:
    """Reveal the surest slots while their entropies add up to at most `gamma` nats, or one."""

    name: ClassVar[str] = "entropy"
    gamma: float = option(
        0.5,
        "doubt revealed at once, as a sum of entropies in nats, the paper's gamma",
        min=0.0,
        max=20.0,
    )

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, probs: Tensor, masked: Tensor) -> Tensor:
        """revealed (B, S)."""
        nats = -torch.special.xlogy(probs, probs).sum(-1)
        surest = best_first(-nats.masked_fill(~masked, torch.inf))
        within = nats.gather(1, surest).cumsum(1) <= self.gamma + rounding(nats)
        chosen = torch.zeros_like(masked).scatter(1, surest, within)
        return at_least_one(chosen, -nats, masked)


@dataclass(frozen=True)
class TopK:
    """Reveal the `k` surest slots each step."""

    name: ClassVar[str] = "topk"
    k: int = option(2, "masked bytes revealed each step", min=1, max=64)

    def __post_init__(self) -> None:
        check_options(self)

    def __call__(self, probs: Tensor, masked: Tensor) -> Tensor:
        """revealed (B, S)."""
        surest = best_first(probs.amax(-1).masked_fill(~masked, -torch.inf))
        chosen = torch.zeros_like(masked).scatter(1, surest[:, : self.k], True)
        return chosen & masked

    def steps_for(self, block_size: int) -> int:
        """How many fill a block."""
        return -(-block_size // self.k)


@dataclass(frozen=True)
class OneStep:
    """Reveal the whole block at once."""

    name: ClassVar[str] = "onestep"

    def __call__(self, probs: Tensor, masked: Tensor) -> Tensor:
        """revealed (B, S)."""
        return masked

    def steps_for(self, block_size: int) -> int:
        """How many fill a block."""
        return 1


# -- ties: what only rounding parts goes by place, so that a row does not know its batch -----------


def rounding(scores: Tensor) -> float:
    """How far apart two scores may be that are the same: 4e-11 in float64, 2e-5 in float32.

    A block's slots that read the same, or bytes of the same weights, differ by less than that.
    """
    return _rounding(scores.dtype)


@lru_cache
def _rounding(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps ** (2 / 3)


def first_best(scores: Tensor) -> Tensor:
    """The index (...) of the best score (..., n); of several that are the same, the first.

    >>> first_best(torch.tensor([0.1, 0.4, 0.4 + 1e-7]))
    tensor(1)
    """
    lowest = scores.amax(-1, keepdim=True) - rounding(scores)
    return (scores >= lowest).view(torch.uint8).argmax(-1)


def best_first(scores: Tensor) -> Tensor:
    """The indices (..., n) of scores (..., n) from the best on; the same scores in their order.

    >>> best_first(torch.tensor([0.1, 0.4, 0.4 + 1e-7]))
    tensor([1, 2, 0])
    """
    order = scores.sort(-1, descending=True)
    is_lower = order.values.diff(dim=-1) < -rounding(scores)
    ranks = F.pad(is_lower.cumsum(-1), (1, 0))
    return torch.zeros_like(ranks).scatter(-1, order.indices, ranks).argsort(dim=-1, stable=True)


RULES: dict[str, type] = {kind.name: kind for kind in (Confidence, EntropyBound, TopK, OneStep)}


def at_least_one(chosen: Tensor, score: Tensor, masked: Tensor) -> Tensor:
    """The masked slots of `chosen` (B, S); in a row without any, the one of the best score."""
    chosen = chosen & masked
    if chosen.device.type == "cpu" and chosen.any(1).all():  # where a look costs nothing
        return chosen
    best = first_best(score.masked_fill(~masked, -torch.inf))
    only_best = torch.zeros_like(masked).scatter(1, best[:, None], True)
    return torch.where(chosen.any(1, keepdim=True), chosen, only_best) & masked


def check_revealed(rule: Any, revealed: Any, masked: Tensor) -> Tensor:
    """What a rule returned, without slots that were not masked.

    Raises TypeError for something other than a bool tensor of the mask's shape.
    """
    if not torch.is_tensor(revealed) or revealed.dtype != torch.bool:
        got = revealed.dtype if torch.is_tensor(revealed) else type(revealed).__name__
        raise TypeError(f"an unmasking rule must return a bool tensor (B, S), {rule} gave {got}")
    if revealed.shape != masked.shape:
        raise TypeError(
            f"an unmasking rule must return a bool tensor of {tuple(masked.shape)}, the slots of"
            f" the block, {rule} gave {tuple(revealed.shape)}"
        )
    return revealed & masked


def check_progress(rule: Any, before: int, after: int) -> None:
    """Raise ValueError where a step of a rule left as many MASKs as there were before it."""
    if after == before:
        raise ValueError(
            f"an unmasking rule must reveal at least one slot a step, {rule} revealed none"
        )


def rule_title(kind: type) -> str:
    """The name of a rule's class in words.

    >>> rule_title(EntropyBound)
    'entropy bound'
    """
    return re.sub(r"(?<!^)([A-Z])", r" \1", kind.__name__).lower()


def parse_rule(text: str) -> Any:
    """A rule from "confidence:0.7", "entropy:0.5", "topk:2", "onestep" or "my.module:MyRule:0.5".

    >>> parse_rule("topk:3")
    TopK(k=3)

    Raises ValueError with the accepted forms.
    """
    return parse_rule_of(str(text), RULES, "an unmasking rule", load=True)


def format_rule(rule: Any) -> str:
    """The text that `parse_rule` reads; a rule that is no dataclass shows as its repr.

    >>> format_rule(Confidence(0.7))
    'confidence:0.7'
    """
    return format_rule_of(rule)
