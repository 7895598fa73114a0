"""05: a block as it is fed, the loss by 1/t, and who may read whom while blocks are trained."""

import random
from typing import Any

import torch
import torch.nn.functional as F

import bltlab
from bltlab import diffusion, masks
from bltlab.diffusion import Blocks

from .comparing import Answer, compare, exercise, refuse, run, say

MASK = bltlab.vocab.MASK_ID

# -- corruption ------------------------------------------------------------------------------------


def _corrupt(ids: list[int], u: list[float], t: float) -> list[int]:
    clean = torch.tensor([[ids]])
    hidden = (torch.tensor([[u]], dtype=torch.float64) < t) & (clean >= 0)
    return Blocks(torch.ones(1, 1), clean, hidden, torch.ones(1, 1)).corrupted[0, 0].tolist()


@exercise(
    "5.1",
    wrong={
        "a byte is hidden with probability 1 - t": lambda ids, u, t: [
            MASK if i < 0 or v >= t else i for i, v in zip(ids, u, strict=True)
        ],
        "slots past the end are fed as they are": lambda ids, u, t: [
            MASK if v < t else i for i, v in zip(ids, u, strict=True)
        ],
        "the whole block is hidden or none of it": lambda ids, u, t: [
            MASK if i < 0 or u[0] < t else i for i in ids
        ],
        "a hidden byte is fed as id 0": lambda ids, u, t: [
            0 if i == MASK else i for i in _corrupt(ids, u, t)
        ],
    },
)
def corrupt(yours: Answer) -> None:
    """yours(ids, u, t) -> the ids that the decoder is fed: hidden where u < t, or past the end."""
    draw = random.Random(0)
    cases = []
    for n in range(120):
        size = 2 + n % 5
        ids = [draw.randint(70, 99) for _ in range(size)]
        ids[size - n % 3 % size :] = [-1] * (n % 3 % size)
        u = [round(draw.random(), 2) for _ in range(size)]
        cases.append((ids, u, draw.choice((0.05, 0.3, 0.5, 0.8, 1.0))))
    compare("corrupt", yours, _corrupt, cases, lambda ids, u, t: f"ids {ids}, u {u} and t {t}")


# -- the loss --------------------------------------------------------------------------------------

Four = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _nats(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(M, S): what each byte costs."""
    return F.cross_entropy(logits.flatten(0, 1), ids.clamp_min(0).flatten(), reduction="none").view(
        ids.shape
    )


def _masked_loss(
    logits: torch.Tensor, ids: torch.Tensor, masked: torch.Tensor, t: torch.Tensor
) -> float:
    blocks = Blocks(torch.ones_like(t)[None], ids[None], masked[None], t[None])
    _, count = diffusion.loss_counts(ids, blocks)
    return (diffusion.masked_byte_loss(logits[None], blocks) / count).item()


@exercise(
    "5.2",
    wrong={
        "each hidden byte counts alike, whatever t": lambda logits, ids, masked, t: _nats(
            logits, ids
        )[masked].mean(),
        "the sum is divided by the hidden bytes": lambda logits, ids, masked, t: (
            _nats(logits, ids) / t[:, None]
        )[masked].mean(),
        "it is multiplied by t": lambda logits, ids, masked, t: (
            (_nats(logits, ids) * t[:, None])[masked].sum() / (ids >= 0).sum()
        ),
        "slots past the end are counted": lambda logits, ids, masked, t: (
            (_nats(logits, ids) / t[:, None])[masked].sum() / ids.numel()
        ),
        "bytes that were not hidden carry loss": lambda logits, ids, masked, t: (
            _nats(logits, ids) / t[:, None]
        )[ids >= 0].mean(),
    },
)
def masked_loss(yours: Answer) -> None:
    """yours(logits, ids, masked, t) -> the loss by 1/t, a byte: (M, S, V), (M, S), (M, S), (M,)."""

    def given(logits, ids, masked, t):
        return f"logits {say(logits)}, ids {ids.tolist()}, masked {say(masked)}, t {say(t)}"

    compare("masked_loss", yours, _masked_loss, [_four(seed) for seed in range(60)], given)


def _four(seed: int) -> Four:
    """Logits, ids, masked and t of 2 or 3 blocks of 2 or 3 slots; some end in -1."""
    g = torch.Generator().manual_seed(seed)
    M, S = 2 + seed % 2, 2 + seed // 2 % 2
    ids = torch.randint(0, 3, (M, S), generator=g)
    if seed % 3:
        ids[-1, -1] = -1
    masked = torch.rand(M, S, generator=g) < 0.6
    masked[0, 0] = True
    t = torch.rand(M, generator=g, dtype=torch.float64) * 0.8 + 0.1
    logits = torch.randn(M, S, 3, generator=g, dtype=torch.float64)
    return logits, ids, masked & (ids >= 0), t


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
    "5.3",
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
