"""06: which slots a rule reveals."""

import math
from collections.abc import Iterator
from typing import Any

import torch

import bltlab

from .comparing import Answer, compare, exercise, say

Probs = list[list[float]]


def _random_blocks(
    sharpness: tuple[float, ...], numbers: tuple[float, ...]
) -> Iterator[tuple[Probs, list[bool], float]]:
    """150 blocks of 2 to 5 slots: probabilities (S, V), which are masked, and one of the numbers.

    At least one slot is masked. sharpness: scales of the logits; the larger, the surer.
    """
    for seed in range(150):
        g = torch.Generator().manual_seed(seed)
        size = 2 + seed % 4
        logits = torch.randn(size, 6, generator=g, dtype=torch.float64)
        probs = (logits * sharpness[seed % len(sharpness)]).softmax(-1)
        masked = torch.rand(size, generator=g) < 0.6
        masked[seed % size] = True
        yield probs.tolist(), masked.tolist(), numbers[seed % len(numbers)]


def _asked(rule: Any, probs: Probs, masked: list[bool]) -> list[int]:
    """What a rule of the library reveals."""
    exact = torch.tensor([probs], dtype=torch.float64)
    return rule(exact, torch.tensor([masked]))[0].int().tolist()


# -- confidence ------------------------------------------------------------------------------------


def _confident(probs: Probs, masked: list[bool], threshold: float) -> list[int]:
    return _asked(bltlab.Confidence(threshold), probs, masked)


@exercise(
    "6.1",
    wrong={
        "nothing is revealed where no slot is sure": lambda probs, masked, threshold: [
            int(m and max(slot) > threshold) for slot, m in zip(probs, masked, strict=True)
        ],
        "slots that are already filled are revealed": lambda probs, masked, threshold: _confident(
            probs, [True] * len(masked), threshold
        ),
        "a slot at the threshold counts as above it": lambda probs, masked, threshold: _confident(
            probs, masked, threshold - 1e-9
        ),
    },
)
def confident(yours: Answer) -> None:
    """yours(probs, masked, threshold) -> the slots that `bltlab.Confidence` reveals."""

    def given(probs, masked, threshold):
        best = [round(max(slot), 3) for slot in probs]
        return f"best probabilities {best}, masked {say(masked)} and threshold {threshold}"

    cases = list(_random_blocks((0.5, 2.0, 4.0), (0.5, 0.7, 0.9)))
    at_the_threshold = [[0.25, 0.75], [0.125, 0.875], [0.5, 0.5]]  # 0.75 is not above 0.75
    cases.append((at_the_threshold, [True, True, True], 0.75))
    compare("confident", yours, _confident, cases, given)


# -- the entropy bound -----------------------------------------------------------------------------


def _bounded(probs: Probs, masked: list[bool], gamma: float) -> list[int]:
    return _asked(bltlab.EntropyBound(gamma), probs, masked)


def _nats(probs: list[float]) -> float:
    """The entropy of some probabilities."""
    return -sum(p * math.log(p) for p in probs)


@exercise(
    "6.2",
    wrong={
        "filled slots use up the bound": lambda probs, masked, gamma: _bounded(
            probs, [True] * len(masked), gamma
        ),
        "each slot is held against the bound alone": lambda probs, masked, gamma: [
            int(m and _nats(slot) <= gamma) for slot, m in zip(probs, masked, strict=True)
        ],
        "entropies are in bits": lambda probs, masked, gamma: _bounded(
            probs, masked, gamma * math.log(2)
        ),
    },
)
def bounded(yours: Answer) -> None:
    """yours(probs, masked, gamma) -> the slots that `bltlab.EntropyBound` reveals."""

    def given(probs, masked, gamma):
        nats = [round(_nats(slot), 3) for slot in probs]
        return f"entropies {nats}, masked {say(masked)} and gamma {gamma}"

    cases = list(_random_blocks((1.0, 2.0, 4.0), (0.3, 1.0, 2.5)))
    compare("bounded", yours, _bounded, cases, given)


# -- a rule that the library lacks -----------------------------------------------------------------


def _leftmost(probs: Probs, masked: list[bool], threshold: float) -> list[int]:
    """From the first masked slot on, as long as all are sure; the first in any case."""
    sure = [not m or max(slot) > threshold for slot, m in zip(probs, masked, strict=True)]
    first = masked.index(True)
    sure[first] = True
    run = sure.index(False) if False in sure else len(sure)
    return [int(m and i < run) for i, m in enumerate(masked)]


@exercise(
    "6.3",
    wrong={
        "sure slots behind an unsure one are revealed": lambda probs, masked, threshold: [
            int(m and (max(slot) > threshold or i == masked.index(True)))
            for i, (slot, m) in enumerate(zip(probs, masked, strict=True))
        ],
        "nothing is revealed where the first is not sure": lambda probs, masked, threshold: [
            flag if max(probs[masked.index(True)]) > threshold else 0
            for flag in _leftmost(probs, masked, threshold)
        ],
        "a filled slot ends the run": lambda probs, masked, threshold: [
            int(flag and all(masked[masked.index(True) : i]))
            for i, flag in enumerate(_leftmost(probs, masked, threshold))
        ],
        "filled slots are revealed": lambda probs, masked, threshold: _leftmost(
            probs, [True] * len(masked), threshold
        ),
    },
)
def leftmost(yours: Answer) -> None:
    """yours(probs, masked, threshold) -> the run of sure slots from the first masked one on."""

    def given(probs, masked, threshold):
        best = [round(max(slot), 3) for slot in probs]
        return f"best probabilities {best}, masked {say(masked)} and threshold {threshold}"

    cases = list(_random_blocks((2.0, 4.0), (0.5, 0.6)))
    compare("leftmost", yours, _leftmost, cases, given)
