"""Weights on disk: finding them, reading and writing them, and other projects' key layouts as plain dicts of tensors."""

import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .config import BLTConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def assets():
    """The folder of shipped weights, traces and text: inside an installed wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "assets"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "assets"


def shipped():
    """Names of the models that ship with bltlab."""
    return sorted(p.parent.name for p in assets().glob(f"*/{CONFIG}"))


def resolve(name):
    """A folder with a model: an existing path, else a shipped name, else a hub id ("owner/name", needs a network).

    Raises FileNotFoundError that says what was looked for.
    """
    path = Path(name)
    if (path / CONFIG).is_file():
        return path.resolve()
    if path.exists():
        raise FileNotFoundError(f"{name} holds no {CONFIG}: a model folder needs {CONFIG} and {WEIGHTS}")
    if (assets() / name / CONFIG).is_file():
        return assets() / name
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download
        try:
            return Path(snapshot_download(str(name), allow_patterns=[CONFIG, "*.safetensors", "*.json"]))
        except Exception as error:                                   # offline, unknown or gated: one sentence for all
            raise FileNotFoundError(f"{name} is neither a folder nor reachable as a hub id ({type(error).__name__}); "
                                    f"shipped are {', '.join(shipped())}") from None
    raise FileNotFoundError(f"{name} is no model folder and no shipped name; shipped are {', '.join(shipped()) or 'none'}")


def load(folder):
    """(BLTConfig, tensors by name) of a folder in our layout. Raises FileNotFoundError or ValueError, naming the file."""
    folder = Path(folder)
    try:
        config = BLTConfig.from_json((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    return config, read_tensors(folder / WEIGHTS)


def read_tensors(path):
    """Tensors by name from a safetensors file. Raises FileNotFoundError, or ValueError where the file is damaged."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from None


def check(expected, tensors, where):
    """Raise ValueError, naming the key, unless `tensors` has exactly the names and shapes of `expected`."""
    for what, names in (("lacks", set(expected) - set(tensors)), ("has unknown", set(tensors) - set(expected))):
        if names:
            raise ValueError(f"{where} {what} {sorted(names)[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""))
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{where}: {name} must have shape {tuple(expected[name].shape)}, got {tuple(tensor.shape)}")


def save(folder, config, tensors, files=()):
    """Write a model folder: each file appears whole or not at all, weights before the config that announces them.

    files: further (name, text) pairs, such as a card.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
        save_file(tensors, Path(part) / WEIGHTS)
        (Path(part) / CONFIG).write_text(config.to_json() + "\n", encoding="utf-8")
        for name, text in files:
            (Path(part) / name).write_text(text, encoding="utf-8")
        for name in (WEIGHTS, *(n for n, _ in files), CONFIG):
            os.replace(Path(part) / name, folder / name)


def save_state(path, state):
    """Write a training state (a dict of tensors, numbers and lists) for `load_state`; whole or not at all."""
    temporary = Path(f"{path}.part")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path):
    """Read what `save_state` wrote, tensors and plain values only. Raises ValueError where the file is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:                                       # torch raises many kinds for a broken file
        raise ValueError(f"{path} is damaged or not a training state: {type(error).__name__}") from None


# -- transformers' Blt layout ------------------------------------------------------------------------------------------

_STACKS = {"model.patcher": "patcher", "model.local_encoder": "encoder", "model.global_transformer": "global_",
           "model.local_decoder": "decoder"}
_RENAMED = {
    "model.patcher.embed_tokens.weight": "patcher.embedding.weight",
    "model.patcher.norm.weight": "patcher.norm.weight",
    "model.patcher.lm_head.weight": "patcher.output.weight",
    "model.encoder_hash_tok_embedding.weight": "encoder.hashes.table.weight",
    "model.local_encoder.embed_tokens.weight": "encoder.embedding.weight",
    "model.local_encoder.patch_embedding_projection.weight": "encoder.query_projection.weight",
    "model.global_transformer.token_embedding_projection.weight": "global_.projection.weight",
    "model.local_decoder.patch_embedding_projection.weight": "decoder.latent_projection.weight",
    "model.local_decoder.norm.weight": "decoder.norm.weight",
    "lm_head.weight": "decoder.output.weight",
}
_LAYER = {                                                           # ours: theirs, concatenated
    "attention_norm": ["input_layernorm"], "feed_forward_norm": ["post_attention_layernorm"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], "attention.out": ["self_attn.o_proj"],
    "feed_forward.gate_up": ["mlp.gate_proj", "mlp.up_proj"], "feed_forward.down": ["mlp.down_proj"],
}
_CROSS = {"query_norm": ["q_norm"], "key_norm": ["k_norm"], "query": ["q_proj"], "key_value": ["k_proj", "v_proj"],
          "out": ["o_proj"]}


def from_transformers(theirs):
    """Tensors under transformers' `BltForCausalLM` names -> tensors under ours (projections fused)."""
    ours = {_RENAMED[name]: tensor for name, tensor in theirs.items() if name in _RENAMED}
    for prefix, stack in _STACKS.items():
        n_layers = len({name.split(".layers.")[1].split(".")[0] for name in theirs if name.startswith(f"{prefix}.layers.")})
        n_cross = len({name.split(".cross_attn_layers.")[1].split(".")[0] for name in theirs
                       if name.startswith(f"{prefix}.cross_attn_layers.")})
        for n in range(n_layers):
            for own, parts in _LAYER.items():
                ours[f"{stack}.stack.layers.{n}.{own}.weight"] = torch.cat(
                    [theirs[f"{prefix}.layers.{n}.{part}.weight"] for part in parts])
        for n in range(n_cross):
            where = f"{stack}.cross" if stack == "encoder" else f"{stack}.cross.{n}"
            for own, parts in _CROSS.items():
                ours[f"{where}.{own}.weight"] = torch.cat(
                    [theirs[f"{prefix}.cross_attn_layers.{n}.{part}.weight"] for part in parts])
    return ours
