"""03: the loss in bits a byte, the threshold of patches."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F

import bltlab
from bltlab import diffusion, patching
from bltlab.config import PatcherConfig

from .comparing import Answer, compare, exercise, refuse, run, say
from .samples import random_logits

# -- bits a byte -----------------------------------------------------------------------------------


def _bits(logits: torch.Tensor, ids: torch.Tensor) -> float:
    return diffusion.next_byte_loss(logits, ids).item() / math.log(2)


def _all_bits(logits: torch.Tensor, ids: torch.Tensor) -> float:
    targets = ids[:, 1:].flatten()
    nats = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets, ignore_index=-1)
    return nats.item() / math.log(2)


@exercise(
    "3.1",
    wrong={
        "the loss is in nats": lambda logits, ids: _bits(logits, ids) * math.log(2),
        "each byte is predicted from itself, not from those before it": lambda logits, ids: _bits(
            logits.roll(-1, 1), ids
        ),
        "padding counts": lambda logits, ids: _bits(logits, ids.masked_fill(ids < 0, 0)),
        "the BOS of a second document counts": _all_bits,
    },
)
def bits_per_byte(yours: Answer) -> None:
    """yours(logits, ids) -> the mean loss of the next byte, in bits. (B, T, V) and (B, T)."""

    def given(logits, ids):
        if logits.numel() > 100:
            return f"ids {ids.tolist()} and random logits of shape {tuple(logits.shape)}"
        return f"ids {ids.tolist()} and logits {say(logits)}"

    cases = [random_logits(seed) for seed in range(60)]
    compare("bits_per_byte", yours, _bits, cases, given)


# -- the threshold ---------------------------------------------------------------------------------


@exercise(
    "3.2",
    wrong={
        "the patch length is not asked for": lambda entropies, length: 1.0,
        "the limit of 8 bytes is forgotten": lambda entropies, length: (
            entropies.flatten().quantile(1 - 1 / length).item()
        ),
        "the wrong end of the entropies is taken": lambda entropies, length: (
            entropies.flatten().quantile(1 / length).item()
        ),
    },
)
def threshold(yours: Answer) -> None:
    """yours(entropies, patch_length) -> the threshold that gives patches of this mean length.

    It may be any number between two entropies: what counts is the mean patch that it gives.
    """
    config = replace(bltlab.BLTConfig.preset("tiny").patcher, max_patch_length=8)
    for seed in range(8):
        g = torch.Generator().manual_seed(seed)
        entropies = torch.rand(24, 256, generator=g) ** (1 + seed % 3) * 4
        wanted = 2.0 + 0.6 * seed
        given = f"random entropies {tuple(entropies.shape)} and a mean patch of {wanted:g} bytes"
        result = run(yours, (entropies, wanted))
        mean = _mean_of(config, entropies)(result)
        if not abs(mean - wanted) < 0.03 * wanted:
            told = f"that threshold gives {mean:.2f} bytes a patch."
            refuse("threshold", told, given, result, f"one that gives about {wanted:g} bytes")
    print("threshold: yours gives the mean patch asked for on 8 cases")


def _mean_of(config: PatcherConfig, entropies: torch.Tensor) -> Callable[[object], float]:
    """A function: threshold -> bytes a patch where texts with these entropies (B, T) are cut."""

    def mean(threshold):
        if not isinstance(threshold, (int, float)):
            return math.nan
        rule = replace(config, threshold=float(threshold))
        surprise = patching.opens_by_rule(rule, torch.zeros_like(entropies).long(), entropies)
        rows, length = entropies.shape
        positions = torch.arange(length).expand(rows, -1)
        start = torch.zeros(rows, dtype=torch.long)
        opened = patching.next_opens(surprise, positions, start, config.max_patch_length)
        return entropies.numel() / opened.sum().item()

    return mean
