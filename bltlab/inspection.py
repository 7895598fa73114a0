"""Inside the model, for one short text, as plain JSON; `viz.inside` draws it.

It tells who may read whom, how training blocks are made, how one block is denoised, and which rows
of the hash tables each byte hits. Positions count BOS as 0. A mask is a list of rows, each a string
of "1" (the row may read that column) and "0".
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import files, vocab
from .decoding import moves
from .diffusion import STARTS, corrupt, lay_out
from .masks import denoising, text_mask, training_mask
from .model import BLT, Encoded, HashEmbedding, grams
from .patching import patchify
from .sampling import Pick
from .state import DecodingState
from .unmasking import Confidence
from .viz import inside, patches

MOST_BYTES = 64
DIGITS = 5  # of a number that is told


@torch.inference_mode()
def describe(
    model: BLT,
    text: str | bytes,
    block_size: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What the model does with `text` (1 to 64 bytes), in plain numbers.

    block_size: bytes of a block, the model's own by default; a plain BLT has no blocks, so nothing
    of training blocks and of denoising is told.
    seed: of the blocks' places, masking rates and masks.

    Raises ValueError for a text of another length, a block size below 1, or one for a plain BLT.
    """
    data, size = _checked(model, text, block_size)
    ids = torch.tensor([vocab.encode(data)], device=model.device)  # (1, T)
    encoded, window = model.encode(ids), model.config.decoder.window
    return {
        "schema": inside.SCHEMA,
        "model": _summary(model),
        "ids": ids[0].tolist(),
        "block_size": size,
        "seed": seed,
        "patches": _patches(encoded),
        "clean": {"mask": _rows(text_mask(encoded.document, window)[0])},
        "training": _training_by_starts(model, encoded, ids, size, seed) if size else {},
        "denoising": _denoising(model, ids, size) if size else None,
        "hashes": _hashes(model.encoder.hashes, ids),
    }


def _checked(
    model: BLT,
    text: str | bytes,
    block_size: int | None,
) -> tuple[bytes, int | None]:
    """The text as bytes, and how many a block has, None where there are no blocks.

    Raises ValueError where `describe` does.
    """
    data = vocab.to_bytes(text)
    if not 0 < len(data) <= MOST_BYTES:
        raise ValueError(f"text must have 1 to {MOST_BYTES} bytes, got {len(data)}")
    if model.config.block_size is None:
        if block_size is not None:
            raise ValueError("block_size needs a BLT-D (a model trained with blocks)")
        return data, None
    size = model.config.block_size if block_size is None else block_size
    if type(size) is not int or size < 1:
        raise ValueError(f"block_size must be an int of at least 1 byte, got {block_size!r}")
    return data, size


def _summary(model: BLT) -> dict[str, Any]:
    """The numbers of the model that the view names."""
    config = model.config
    return {
        "name": model.name,
        "window": config.decoder.window,
        "threshold": config.patcher.threshold,
        "max_patch_length": config.patcher.max_patch_length,
        "block_size": config.block_size,
    }


def _patches(encoded: Encoded) -> dict[str, list]:
    """Where patches begin, how long they are, which latent each byte reads, and the entropies."""
    found = encoded.patches
    return {
        "starts": found.starts[0].tolist(),
        "lengths": found.lengths[0].tolist(),
        "reads": found.reads[0].tolist(),
        "entropies": _short(encoded.entropies[0]),
    }


def _training_by_starts(
    model: BLT,
    encoded: Encoded,
    ids: Tensor,
    size: int,
    seed: int,
) -> dict[str, dict[str, list]]:
    """The blocks of one training step, for each rule where they begin."""
    return {starts: _training(model, encoded, ids, size, starts, seed) for starts in STARTS}


def _training(
    model: BLT,
    encoded: Encoded,
    ids: Tensor,
    size: int,
    starts: str,
    seed: int,
) -> dict[str, list]:
    """Blocks as `diffusion_loss` lays them out and corrupts them, and what their slots may read."""
    generator = torch.Generator().manual_seed(seed)
    begin, clean = lay_out(encoded, ids, size, starts, generator)  # (1, M), (1, M, S)
    blocks = corrupt(begin, clean, generator=generator)
    has_bytes = (blocks.ids[0] >= 0).any(-1)  # a block that begins past the end has none
    begin = blocks.starts[0, has_bytes]
    mask = training_mask(ids.shape[1], begin.cpu(), size, model.config.decoder.window)
    return {
        "starts": begin.tolist(),
        "ids": blocks.ids[0, has_bytes].tolist(),
        "masked": blocks.masked[0, has_bytes].int().tolist(),
        "t": _short(blocks.t[0, has_bytes]),
        "reads": encoded.patches.reads[0, begin - 1].tolist(),
        "mask": _rows(mask),
    }


class _Watched:
    """An unmasking rule that keeps what it was asked: probs (1, S, V) and masked (1, S)."""

    def __init__(self, rule: Confidence) -> None:
        self.rule = rule
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, probs: Tensor, masked: Tensor) -> Tensor:
        self.seen.append((probs, masked))
        return self.rule(probs, masked)


def _denoising(
    model: BLT,
    ids: Tensor,
    size: int,
) -> dict[str, Any]:
    """One block behind the text, denoised by the default rule: what each step believed and
    revealed.
    """
    start, window = ids.shape[1], model.config.decoder.window
    state, rule = DecodingState(model, max_length=start + size), _Watched(Confidence())
    state.extend(ids)
    events = list(moves.unmask(state, Pick(), rule, size))
    position = torch.arange(start + size)
    return {
        "start": start,
        "reads": state.rows[0].reads[-1],
        "threshold": rule.rule.threshold,
        "steps": [_step(event, *seen) for event, seen in zip(events, rule.seen, strict=True)],
        "mask": _rows(denoising(position[:, None], position[None], start, size, window)),
    }


def _step(
    event: Any,
    probs: Tensor,
    masked: Tensor,
) -> dict[str, list]:
    """One denoising step: an `Unmasked`, and what its rule was asked."""
    nats = torch.special.entr(probs).sum(-1)  # (1, S)
    return {
        "masked": masked[0].int().tolist(),
        "revealed": list(event.revealed),
        "block": list(event.block),
        "entropies": _short(nats[0]),
        "candidates": [_short_candidates(slot) for slot in event.candidates],
    }


def _hashes(embedding: HashEmbedding, ids: Tensor) -> dict[str, Any]:
    """For each n-gram size the row of its table that each byte hits, and who shares one."""
    read = grams(ids, embedding.reach)  # (1, T, reach)
    rows = (embedding.rows(read) - embedding.first_rows)[0]  # (T, sizes)
    shared = []
    for column, size in enumerate(embedding.config.sizes):
        windows = read[0, :, -size:].tolist()
        shared += _shared_rows(size, rows[:, column].tolist(), windows)
    return {
        "sizes": list(embedding.config.sizes),
        "n_rows": embedding.config.n_rows,
        "rows": rows.tolist(),
        "shared": shared,
    }


def _shared_rows(
    size: int,
    rows: Sequence[int],
    read: Sequence[list[int]],
) -> list[dict[str, Any]]:
    """The rows of a table that at least two positions hit, lowest first.

    rows: hit by each position.
    read: the n-gram there. `kinds` numbers the different n-grams of a row, so that more than one
    kind is a collision.

    >>> _shared_rows(1, [5, 2, 5], [[70], [71], [72]])
    [{'size': 1, 'row': 5, 'at': [0, 2], 'kinds': [0, 1]}]
    """
    positions: dict[int, list[int]] = {}
    for t, row in enumerate(rows):
        positions.setdefault(row, []).append(t)
    shared = []
    for row, at in sorted(positions.items()):
        if len(at) > 1:
            kinds = _ranks([read[t] for t in at])
            shared.append({"size": size, "row": row, "at": at, "kinds": kinds})
    return shared


def _ranks(values: Sequence[list[int]]) -> list[int]:
    """The rank of each value, from 0; equal values share one.

    >>> _ranks([[7], [3], [7]])
    [1, 0, 1]
    """
    keys = [tuple(value) for value in values]
    ranked = sorted(set(keys))
    return [ranked.index(key) for key in keys]


def _rows(mask: Tensor) -> list[str]:
    """A mask (Q, K) as a text for each row.

    >>> _rows(torch.tensor([[True, False], [True, True]]))
    ['10', '11']
    """
    return ["".join(map(str, row)) for row in mask.int().tolist()]


def _short(values: Tensor | Sequence[float]) -> list[float]:
    """Numbers, rounded."""
    plain = values.tolist() if isinstance(values, Tensor) else values
    return [round(value, DIGITS) for value in plain]


def _short_candidates(candidates: Sequence[tuple[int, float]]) -> list[list]:
    return [[i, round(prob, DIGITS)] for i, prob in candidates]


def survey(
    model: BLT,
    text: str | bytes,
    name: str,
) -> dict[str, Any]:
    """A text's entropies under the model, as `viz.patches` shows them, rounded to 5 digits."""
    config = model.config.patcher
    found = patches.survey(patchify(model, text), name, config.threshold, config.max_patch_length)
    return found | {"entropies": _short(found["entropies"])}


def record(model: BLT, folder: str | Path) -> None:
    """Make the views of `folder` again from the texts that they hold: `patches.json` and
    `inside.json`.
    """
    folder = Path(folder)
    surveys = json.loads((folder / "patches.json").read_text(encoding="utf-8"))
    told = json.loads((folder / "inside.json").read_text(encoding="utf-8"))
    _write(folder / "patches.json", [survey(model, bytes(s["bytes"]), s["name"]) for s in surveys])
    text = vocab.decode(told["ids"])
    _write(folder / "inside.json", describe(model, text, told["block_size"], told["seed"]))


def _write(path: Path, value: Any) -> None:
    files.write(path, json.dumps(value, separators=(",", ":")) + "\n")
