"""What a run starts from: random weights of a preset, or the weights of other models."""

import warnings
from dataclasses import replace
from typing import cast

import torch

from .. import data
from ..config import PRESETS, BLTConfig
from ..layers import lay_out_by_row
from ..model import BLT, diffuse_from
from ..patching import choose_threshold, patch_text
from .options import BLOCK, BUDGETS, TrainOptions

DEFAULT_PATCH = 4.0  # bytes of a mean patch, where nothing else is asked for
SAMPLE = 64  # windows of text that a threshold is chosen on
LOOKED_AT = 2e5  # bytes of a text that say whether patches fit


def model_to_train(o: TrainOptions, fresh: bool = True) -> BLT:
    """The model before its first step. Raises ValueError for models that do not go together.

    fresh: False for a saved run that goes on.
    """
    model = _started_model(o) if o.start else _new_model(o)
    if fresh and o.start and o.preset:
        _check_shape(o, model.config)
    if o.entropy_model:
        taken = BLT.from_pretrained(o.entropy_model, device="cpu")
        model.patcher = taken.patcher
        model.config = replace(model.config, patcher=taken.config.patcher)
    lay_out_by_row(model)  # a loaded model's may lie as decoding likes them
    return model


def _new_model(o: TrainOptions) -> BLT:
    changes = {"decoder_input": o.decoder_input} if o.decoder_input else {}
    config = BLTConfig.preset(o.preset, block_size=o.block_size or None, **changes)
    return BLT(config).initialise(o.seed)


def _started_model(o: TrainOptions) -> BLT:
    """The model in `start`: a plain BLT becomes a BLT-D, unless block_size is 0."""
    start = BLT.from_pretrained(o.start, device="cpu")
    trained = start.config.block_size
    if trained is None and o.own_text and not o.megabytes:
        raise ValueError(
            f"{o.start} is a plain BLT, which has no blocks to learn from own_text: give"
            " megabytes as well, to make it a BLT-D first"
        )
    if trained is None:
        size = BLOCK if o.block_size is None else o.block_size
        return diffuse_from(start, size, o.seed) if size else start
    if o.block_size == 0:
        raise ValueError(
            f"block_size 0 trains a plain BLT, but {o.start} is a BLT-D with blocks of {trained}"
        )
    start.config = replace(start.config, block_size=o.block_size or trained)
    return start


def _check_shape(o: TrainOptions, config: BLTConfig) -> None:
    """Raise ValueError where the preset is another shape than that of the model to start from."""
    parts = ("encoder", "global_", "decoder", "hashes", "keys_per_patch")
    if any(getattr(PRESETS[o.preset], part) != getattr(config, part) for part in parts):
        raise ValueError(
            f"preset {o.preset} is another shape than that of the model in start, {o.start}:"
            " leave one of the two out"
        )


def settled(o: TrainOptions, model: BLT) -> TrainOptions:
    """The options with nothing left to the models that a run starts from.

    A model's own entropy model is trained on the text first where it cuts it into patches less than
    half as long as asked for; a warning says so. One from `entropy_model`, or with a threshold
    given, stays as it is.
    """
    o = replace(o, block_size=model.config.block_size or 0)
    if o.entropy_megabytes is not None:
        return o
    wanted = o.patch_length or DEFAULT_PATCH
    keeps = (
        not o.megabytes
        or o.entropy_model
        or o.threshold is not None
        or model.config.patcher.rule != "entropy"
    )
    found = wanted if keeps else _mean_patch_on(o, model)
    if found >= wanted / 2:
        return replace(o, entropy_megabytes=0.0)
    megabytes = (BUDGETS[None] | BUDGETS.get(o.preset, {}))["entropy_megabytes"]
    warnings.warn(
        f"the entropy model of {o.start} cuts {o.text} into patches of {found:.2f} bytes: it is"
        f" trained on {megabytes:g} MB of that first, and its threshold chosen for patches of"
        f" {wanted:g} bytes (--entropy-megabytes 0 keeps it as it is)",
        stacklevel=2,
    )
    return replace(o, entropy_megabytes=megabytes)


@torch.no_grad()
def _mean_patch_on(o: TrainOptions, model: BLT) -> float:
    """Bytes a patch of the first text of a corpus, under the model's own entropy model."""
    ids = data.join_documents(data.read_documents(o.text, data.ALL), LOOKED_AT)[: int(LOOKED_AT)]
    length = min(o.length, len(ids) + 1)
    windows = data.cut_windows(ids, length)[:SAMPLE]
    patches, _ = model.patch(windows)
    return windows.numel() / patches.opens.sum().item()


@torch.no_grad()
def threshold_to_set(
    o: TrainOptions, model: BLT, batches: data.Batches, device: torch.device
) -> float | None:
    """The threshold asked for, or chosen on text for the mean patch; None: the model's stays."""
    config = model.config.patcher
    if o.threshold is not None or config.rule != "entropy":
        return o.threshold
    if not o.entropy_megabytes and o.patch_length is None:
        return None
    sample = cast(torch.Tensor, batches.next())
    entropies = []
    for ids in sample.split(16):
        ids = ids.to(device)
        _, found = patch_text(config, model.patcher, ids, torch.ones_like(ids))
        entropies.append(found.cpu())
    return choose_threshold(config, torch.cat(entropies), sample, o.patch_length or DEFAULT_PATCH)
