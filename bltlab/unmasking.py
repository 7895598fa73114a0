"""Unmasking rules: (probs (B, S, V) at temperature 1, masked (B, S)) -> revealed (B, S). Pure functions of their arguments."""

import re
from dataclasses import dataclass, field

import torch


def _option(default, help, **limits):
    return field(default=default, metadata={"help": help, **limits})


def _at_least_best(chosen, score, masked):
    """`chosen`, or the masked slot with the highest score in rows where none is."""
    best = torch.zeros_like(masked).scatter(
        1, score.masked_fill(~masked, -torch.inf).argmax(1, keepdim=True), True
    )
    return torch.where(chosen.any(1, keepdim=True), chosen, best) & masked


@dataclass(frozen=True)
class Confidence:
    """Reveal every slot whose best byte is more probable than `threshold`; if there is none, the surest slot.

    >>> import torch
    >>> probs = torch.tensor([[[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]])
    >>> Confidence(0.7)(probs, torch.ones(1, 3, dtype=torch.bool)).int().tolist()
    [[1, 0, 1]]
    """

    threshold: float = _option(0.7, "probability that the best byte must exceed", min=0.0, max=1.0)

    def __post_init__(self):
        if not (isinstance(self.threshold, (int, float)) and 0 <= self.threshold <= 1):
            raise ValueError(
                f"the confidence threshold must be a number in 0..1, got {self.threshold!r}"
            )

    def __call__(self, probs, masked):
        top = probs.amax(-1)
        return _at_least_best((top > self.threshold) & masked, top, masked)


@dataclass(frozen=True)
class EntropyBound:
    """Reveal the surest slots while their entropies, in nats, add up to at most `gamma`; at least one."""

    gamma: float = _option(0.5, "sum of entropies, in nats, revealed at once", min=0.0, max=20.0)

    def __post_init__(self):
        if not (isinstance(self.gamma, (int, float)) and 0 <= self.gamma < float("inf")):
            raise ValueError(
                f"gamma must be a finite number of nats of at least 0, got {self.gamma!r}"
            )

    def __call__(self, probs, masked):
        nats = -torch.special.xlogy(probs, probs).sum(-1)
        order = nats.masked_fill(~masked, torch.inf).sort(dim=1, stable=True)
        chosen = torch.zeros_like(masked).scatter(
            1, order.indices, order.values.cumsum(1) <= self.gamma
        )
        return _at_least_best(chosen & masked, -nats, masked)


@dataclass(frozen=True)
class TopK:
    """Reveal the k surest slots each step."""

    k: int = _option(2, "slots revealed each step", min=1, max=64)

    def __post_init__(self):
        if not (isinstance(self.k, int) and self.k >= 1):
            raise ValueError(f"k must be an int of at least 1 slot, got {self.k}")

    def __call__(self, probs, masked):
        order = (
            probs.amax(-1)
            .masked_fill(~masked, -torch.inf)
            .sort(dim=1, descending=True, stable=True)
        )
        return torch.zeros_like(masked).scatter(1, order.indices[:, : self.k], True) & masked


@dataclass(frozen=True)
class OneStep:
    """Reveal the whole block at once."""

    def __call__(self, probs, masked):
        return masked


RULES = {"confidence": Confidence, "entropy": EntropyBound, "topk": TopK, "onestep": OneStep}


def rule_title(kind):
    """The name of a rule in words.

    >>> rule_title(EntropyBound)
    'entropy bound'
    """
    return re.sub(r"(?<!^)([A-Z])", r" \1", kind.__name__).lower()


def parse_rule(text):
    """ "confidence:0.7", "entropy:0.5", "topk:2" or "onestep" -> the rule. Raises ValueError with the accepted forms.

    >>> parse_rule("topk:3")
    TopK(k=3)
    """
    name, _, value = str(text).partition(":")
    accepted = "confidence:0.7, entropy:0.5, topk:2, onestep"
    if name not in RULES or (name == "onestep" and value):
        raise ValueError(f"an unmasking rule is one of {accepted}, got {text!r}")
    try:
        return RULES[name](*([(int if name == "topk" else float)(value)] if value else []))
    except ValueError as error:
        raise ValueError(f"an unmasking rule is one of {accepted}, got {text!r}: {error}") from None


def format_rule(rule):
    """The text that `parse_rule` reads; a rule of your own shows as its repr.

    >>> format_rule(Confidence(0.7))
    'confidence:0.7'
    """
    name = next((n for n, kind in RULES.items() if type(rule) is kind), None)
    return ":".join([name, *map(repr, vars(rule).values())]) if name else repr(rule)
