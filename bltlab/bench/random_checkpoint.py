"""A checkpoint of random weights, as large as a preset's: to measure what loading takes."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from .. import files
from ..checkpoints import CONFIG, INDEX, Tensors, config_text, names
from ..config import BLTConfig


def save_random(
    folder: str | Path,
    config: BLTConfig,
    shapes: Tensors,
    layout: str,
    shard_bytes: int = 2 * 10**9,
) -> int:
    """Bytes on disk of a bf16 checkpoint, written one shard in memory at a time.

    shapes: tensors (on the meta device) by our names. layout: "bltlab" or "transformers".
    """
    folder = Path(folder)
    waiting = _shapes_on_disk(config, shapes, layout)
    where: dict[str, str] = {}  # the file of each tensor
    disk = 0
    while waiting:
        file = f"model-{len(set(where.values())) + 1:05d}.safetensors"
        shard = _take_shard(waiting, shard_bytes)
        save_file(shard, folder / file)
        where |= dict.fromkeys(shard, file)
        disk += (folder / file).stat().st_size
    files.write(folder / INDEX, json.dumps({"weight_map": where}))
    files.write(folder / CONFIG, config_text(config, layout))
    return disk


def _shapes_on_disk(
    config: BLTConfig, shapes: Tensors, layout: str
) -> list[tuple[str, tuple[int, ...]]]:
    """(name, shape) of each tensor as a layout stores it."""
    table = names(config, layout) if layout == "transformers" else {own: [own] for own in shapes}
    found = []
    for own, parts in table.items():
        rows, *rest = shapes[own].shape
        found += [(name, (rows // len(parts), *rest)) for name in parts]
    return found


def _take_shard(waiting: list[tuple[str, tuple[int, ...]]], shard_bytes: int) -> Tensors:
    """Random tensors of the last shapes that wait, which are taken away, to about `shard_bytes`."""
    shard: Tensors = {}
    size = 0
    while waiting and size < shard_bytes:
        name, shape = waiting.pop()
        shard[name] = torch.empty(shape, dtype=torch.bfloat16).uniform_(-0.05, 0.05)
        size += shard[name].nbytes
    return shard
