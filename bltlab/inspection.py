"""Inside the model, for one short text, as plain JSON: who may read whom, how training blocks are made, one denoised block,
and which rows of the hash tables each byte hits. `viz.inside` draws it.

Positions count BOS as 0. A mask is a list of rows, each a string of "1" (the row may read that column) and "0".
"""

import json
from itertools import groupby
from pathlib import Path

import torch

from . import files, vocab
from .decoding import moves
from .diffusion import STARTS, corrupt, lay_out
from .masks import denoising, text_mask, training_mask
from .model import windows
from .patching import patchify
from .sampling import Pick
from .state import DecodingState
from .unmasking import Confidence
from .viz import inside, patches

MOST_BYTES = 64


@torch.inference_mode()
def describe(model, text, block_size=None, seed=0):
    """What the model does with `text` (1 to 64 bytes), in plain numbers.

    block_size: bytes of a block, the model's own by default. seed: of the blocks' places, masking rates and masks.
    Raises ValueError for a plain BLT, a text of another length or a block size below 1.
    """
    data = vocab.to_bytes(text)
    if not 0 < len(data) <= MOST_BYTES:
        raise ValueError(f"text must have 1 to {MOST_BYTES} bytes, got {len(data)}")
    if model.config.block_size is None:
        raise ValueError("describe needs a BLT-D (config.block_size set), got a plain BLT")
    size = model.config.block_size if block_size is None else block_size
    if type(size) is not int or size < 1:
        raise ValueError(f"block_size must be an int of at least 1 byte, got {block_size!r}")
    ids = torch.tensor([vocab.encode(data)], device=model.device)
    encoded, c = model.encode(ids), model.config
    found = encoded.patches
    return {
        "schema": inside.SCHEMA,
        "model": {
            "name": model.name,
            "window": c.decoder.window,
            "threshold": c.patcher.threshold,
            "max_patch_length": c.patcher.max_patch_length,
            "block_size": c.block_size,
        },
        "ids": ids[0].tolist(),
        "block_size": size,
        "seed": seed,
        "patches": {
            "starts": found.starts[0].tolist(),
            "lengths": found.lengths[0].tolist(),
            "reads": found.reads[0].tolist(),
            "entropies": _short(encoded.entropies[0]),
        },
        "clean": {"mask": _rows(text_mask(encoded.document, c.decoder.window)[0])},
        "training": {
            starts: _training(model, encoded, ids, size, starts, seed) for starts in STARTS
        },
        "denoising": _denoising(model, ids, size),
        "hashes": _hashes(model.encoder.hashes, ids),
    }


def _training(model, encoded, ids, size, starts, seed):
    """Blocks as `diffusion_loss` lays them out and corrupts them, and what their slots may read."""
    generator = torch.Generator().manual_seed(seed)
    blocks = corrupt(*lay_out(encoded, ids, size, starts, generator), generator=generator)
    real = (blocks.ids[0] >= 0).any(-1)  # those that begin past the end carry no byte
    begin = blocks.starts[0, real]
    return {
        "starts": begin.tolist(),
        "ids": blocks.ids[0, real].tolist(),
        "masked": blocks.masked[0, real].int().tolist(),
        "t": _short(blocks.t[0, real]),
        "reads": encoded.patches.reads[0, begin - 1].tolist(),
        "mask": _rows(training_mask(ids.shape[1], begin.cpu(), size, model.config.decoder.window)),
    }


def _denoising(model, ids, size):
    """One block behind the text, denoised under the default rule: what each step believed and revealed."""
    state, seen, rule = DecodingState(model, max_length=ids.shape[1] + size), [], Confidence()

    def watched(probs, masked):
        seen.append((probs, masked))
        return rule(probs, masked)

    state.extend(ids)
    events = list(moves.unmask(state, Pick(), watched, size))
    end, window = ids.shape[1], model.config.decoder.window
    at = torch.arange(end + size)
    q, kv = at[:, None], at[None]
    steps = [
        {
            "masked": masked[0].int().tolist(),
            "revealed": list(event.revealed),
            "block": list(event.block),
            "entropies": _short(-torch.special.xlogy(probs, probs).sum(-1)[0]),
            "candidates": [[[i, round(p, 5)] for i, p in slot] for slot in event.candidates],
        }
        for (probs, masked), event in zip(seen, events)
    ]
    return {
        "start": end,
        "reads": state.rows[0].reads[-1],
        "threshold": rule.threshold,
        "steps": steps,
        "mask": _rows(denoising(q, kv, end, size, window)),
    }


def _hashes(embedding, ids):
    """For each n-gram size the row of its table that each byte hits, and who shares one.

    `shared`: (size, row, positions, kinds): at least two positions hit a row; kinds numbers their different windows, so
    that more than one kind is a collision.
    """
    grams, c = windows(ids, embedding.reach)[0], embedding.config
    rows = (
        embedding.rows(grams[None])[0] - torch.arange(len(c.sizes), device=ids.device) * c.n_rows
    ).tolist()  # (T, sizes)
    shared = []
    for column, size in enumerate(c.sizes):
        hit = lambda t: rows[t][column]
        for row, found in groupby(sorted(range(len(rows)), key=hit), hit):
            if len(found := list(found)) > 1:
                read = [tuple(grams[t, -size:].tolist()) for t in found]
                shared.append(
                    {
                        "size": size,
                        "row": row,
                        "at": found,
                        "kinds": [sorted(set(read)).index(g) for g in read],
                    }
                )
    return {"sizes": list(c.sizes), "n_rows": c.n_rows, "rows": rows, "shared": shared}


def _rows(mask):
    return ["".join("01"[v] for v in row) for row in mask.int().tolist()]


def _short(values):
    return [round(v, 5) for v in values.tolist()]


def survey(model, text, name):
    """A text's entropies under the model, as `viz.patches` shows them, rounded to 5 digits."""
    c = model.config.patcher
    found = patches.survey(patchify(model, text), name, c.threshold, c.max_patch_length)
    return found | {"entropies": [round(nats, 5) for nats in found["entropies"]]}


def record(model, folder):
    """Make the views of `folder` again from the texts that they hold: `patches.json` and `inside.json`, each whole or not."""
    surveys, description = (
        json.loads((Path(folder) / name).read_text()) for name in ("patches.json", "inside.json")
    )
    _write(
        Path(folder) / "patches.json",
        [survey(model, bytes(s["bytes"]), s["name"]) for s in surveys],
    )
    _write(
        Path(folder) / "inside.json",
        describe(
            model, vocab.decode(description["ids"]), description["block_size"], description["seed"]
        ),
    )


def _write(path, value):
    files.write(path, (json.dumps(value, separators=(",", ":")) + "\n").encode())
