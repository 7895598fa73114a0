"""06: which slots a rule reveals; and who may read whom while blocks are trained."""

import math
import random
from collections.abc import Iterator
from typing import Any

import torch

import bltlab
from bltlab import masks

from .comparing import Answer, compare, exercise, refuse, run, say

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


# -- the training mask -----------------------------------------------------------------------------

Mask = list[list[int]]


def _training_mask(length: int, starts: list[int], size: int) -> Mask:
    return masks.training_mask(length, torch.tensor(starts), size).int().tolist()


def _edited(length: int, starts: list[int], size: int, under: bool) -> Mask:
    """The mask with blocks that read the clean bytes under them, or are causal inside."""
    mask = _training_mask(length, starts, size)
    for row in range(length, len(mask)):
        block, slot = divmod(row - length, size)
        first = length + block * size
        position = starts[block] + slot
        if under:
            mask[row][: position + 1] = [1] * len(mask[row][:length][: position + 1])
        else:
            mask[row][first + slot + 1 : first + size] = [0] * (size - slot - 1)
    return mask


@exercise(
    "6.3",
    wrong={
        "a block reads the clean bytes under it": lambda length, starts, size: _edited(
            length, starts, size, under=True
        ),
        "a block is causal inside": lambda length, starts, size: _edited(
            length, starts, size, under=False
        ),
        "everything is causal by place in the row": lambda length, starts, size: (
            torch.ones([length + len(starts) * size] * 2).tril().int().tolist()
        ),
    },
)
def training_mask(yours: Answer) -> None:
    """yours(length, starts, size) -> (L, L): who may read whom; clean bytes first, then blocks."""
    draw = random.Random(0)
    cases = []
    for _ in range(60):
        length = draw.randint(2, 9)
        count = draw.randint(1, min(3, length - 1))
        starts = sorted(draw.sample(range(1, length), count))
        cases.append((length, starts, draw.randint(1, 4)))
    for case in sorted(cases, key=lambda case: case[0] + len(case[1]) * case[2]):
        length, starts, size = case
        given = f"{length} clean bytes and blocks of {size} from {starts} on"
        _check_mask(given, run(yours, case), _training_mask(*case))
    print(f"training_mask: yours agrees with the library on {len(cases)} cases")


def _check_mask(given: str, result: Any, wanted: Mask) -> None:
    """Raise where a mask has another size, or name the first row and column that differ."""
    size = len(wanted)
    square = isinstance(result, list) and len(result) == size
    if not square or any(not isinstance(row, list) or len(row) != size for row in result):
        refuse("training_mask", "the size is wrong.", given, result, f"{size} rows and columns")
    for q in range(size):
        for kv in range(size):
            if bool(result[q][kv]) != bool(wanted[q][kv]):
                may = "may" if wanted[q][kv] else "may not"
                told = f"row {q} {may} read column {kv}, yours says the opposite."
                refuse("training_mask", told, given, result[q], f"row {q}: {wanted[q]}")
