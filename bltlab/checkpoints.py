"""Weights on disk: finding them, reading and writing them, and the key layouts of other projects.

Three layouts are read, as plain dicts of tensors: ours ("bltlab"), transformers' `BltForCausalLM` ("transformers") and
facebookresearch/blt with its entropy model in a folder of its own ("original"); the first two are written as well.
A layout is one table, `names`: our tensor -> the tensors it is the concatenation of, so that both ways use it.
"""

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .config import BLTConfig, HashConfig, PatcherConfig, TransformerConfig

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ENTROPY_PARAMS, ENTROPY_WEIGHTS = "entropy_model/params.json", "entropy_model/consolidated.pth"


# -- finding -----------------------------------------------------------------------------------------------------------


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
        raise FileNotFoundError(
            f"{name} holds no {CONFIG}: a model folder needs {CONFIG} and {WEIGHTS}"
        )
    if (assets() / name / CONFIG).is_file():
        return assets() / name
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        from huggingface_hub import snapshot_download

        try:
            return Path(
                snapshot_download(
                    str(name), allow_patterns=["*.json", "*.safetensors", ENTROPY_WEIGHTS]
                )
            )
        except Exception as error:  # offline, unknown or gated: one sentence for all
            raise FileNotFoundError(
                f"{name} is neither a folder nor reachable as a hub id ({type(error).__name__}); "
                f"shipped are {', '.join(shipped())}"
            ) from None
    raise FileNotFoundError(
        f"{name} is no model folder and no shipped name; shipped are {', '.join(shipped()) or 'none'}"
    )


# -- reading -----------------------------------------------------------------------------------------------------------


def load(folder, expected_of):
    """(BLTConfig, tensors by our names) of a folder in any layout; tensors that need no fusing stay memory-mapped.

    expected_of: from a config to tensors (on the meta device, say) of the names and shapes that must come out.
    Raises FileNotFoundError or ValueError, naming the file and the key.
    """
    folder = Path(folder)
    data = _read_json(folder / CONFIG)
    layout = _layout(data, folder / CONFIG)
    try:
        config = _CONFIGS[layout](data, folder)
        expected = expected_of(config)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    tensors, files = read_tensors(folder)
    if layout == "original":
        entropy, entropy_files = _read_pickle(folder / ENTROPY_WEIGHTS)
        tensors, files = tensors | entropy, files | entropy_files
    return config, convert_in(tensors, files, layout, config, expected, folder)


def _layout(data, path):
    if data.get("model_type") in ("bltlab", "blt"):
        return "bltlab" if data["model_type"] == "bltlab" else "transformers"
    if isinstance(data.get("args"), dict) and "dim_local_encoder" in data["args"]:
        return "original"
    raise ValueError(
        f"{path} is no BLT: model_type must be 'bltlab' or 'blt' (or the original's args), "
        f"got {data.get('model_type')!r}"
    )


def _read_json(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: must hold an object, got {type(data).__name__}")
    return data


def read_tensors(folder):
    """(tensors by name, file by name) of a folder's safetensors, in one file or in the shards that an index names."""
    folder = Path(folder)
    if (folder / INDEX).is_file() and not (folder / WEIGHTS).is_file():
        where = _read_json(folder / INDEX).get("weight_map", {})
    else:
        where = None
    tensors, files = {}, {}
    for name in sorted(set(where.values())) if where else [WEIGHTS]:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing" + (f", {INDEX} names it" if where else "")
            )
        try:
            with safe_open(folder / name, "pt") as f:
                for key in f.keys():
                    tensors[key], files[key] = f.get_tensor(key), name
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{folder / name} is damaged or not a safetensors file: {error}"
            ) from None
    if where and (lost := sorted(set(where) - set(tensors))):
        raise ValueError(f"{folder / where[lost[0]]} lacks {lost[0]}, which {INDEX} promises")
    return tensors, files


def _read_pickle(path):
    """The original's entropy model, tensors only: no code in the file is run."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the original layout keeps its entropy model there"
        )
    try:
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many kinds for a broken file
        raise ValueError(
            f"{path} is damaged or not a file of tensors: {type(error).__name__}"
        ) from None
    tensors = {f"patcher.{key}": value for key, value in data.get("model", data).items()}
    return tensors, dict.fromkeys(tensors, ENTROPY_WEIGHTS)


# -- writing -----------------------------------------------------------------------------------------------------------


def save(folder, config, tensors, files=(), layout="bltlab", shard_bytes=5 * 10**9):
    """Write a model folder: each file appears whole or not at all, weights before the config that announces them.

    files: further (name, text) pairs, such as a card. Weights above `shard_bytes` are split, with an index.
    """
    from huggingface_hub import save_torch_state_dict

    folder = Path(folder)
    if layout == "transformers":
        text, tensors = (
            json.dumps(to_transformers_config(config), indent=1),
            convert_out(tensors, names(config, layout)),
        )
    elif layout == "bltlab":
        text = config.to_json()
    else:
        raise ValueError(f"layout must be bltlab or transformers to write, got {layout!r}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
        save_torch_state_dict(tensors, part, max_shard_size=shard_bytes)
        weights = sorted(p.name for p in Path(part).iterdir())
        for name, content in (*files, (CONFIG, text + "\n")):
            (Path(part) / name).write_text(content, encoding="utf-8")
        for name in (*weights, *(n for n, _ in files), CONFIG):
            (Path(part) / name).chmod(0o644)
            os.replace(Path(part) / name, folder / name)
        for old in {WEIGHTS, INDEX} - set(weights):  # of an earlier save with other shards
            (folder / old).unlink(missing_ok=True)


def save_random(folder, config, shapes, layout, shard_bytes=2 * 10**9):
    """Write a bf16 checkpoint of random weights, one shard in memory at a time, for measuring -> its bytes on disk.

    shapes: tensors (on the meta device) by our names.
    """
    table = names(config, layout) if layout == "transformers" else {own: [own] for own in shapes}
    waiting = [
        (name, (shapes[own].shape[0] // len(parts), *shapes[own].shape[1:]))
        for own, parts in table.items()
        for name in parts
    ]
    where, disk = {}, 0
    while waiting:
        shard, file = {}, f"model-{len(set(where.values())) + 1:05d}.safetensors"
        while waiting and sum(t.nbytes for t in shard.values()) < shard_bytes:
            name, shape = waiting.pop()
            shard[name], where[name] = (
                torch.empty(shape, dtype=torch.bfloat16).uniform_(-0.05, 0.05),
                file,
            )
        save_file(shard, Path(folder) / file)
        disk += (Path(folder) / file).stat().st_size
    (Path(folder) / INDEX).write_text(json.dumps({"weight_map": where}))
    text = (
        json.dumps(to_transformers_config(config)) if layout == "transformers" else config.to_json()
    )
    (Path(folder) / CONFIG).write_text(text)
    return disk


# -- key layouts -------------------------------------------------------------------------------------------------------

_LAYER = {
    "attention_norm": ["input_layernorm"],
    "feed_forward_norm": ["post_attention_layernorm"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.out": ["self_attn.o_proj"],
    "feed_forward.gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "feed_forward.down": ["mlp.down_proj"],
}
_CROSS = {
    "query_norm": ["q_norm"],
    "key_norm": ["k_norm"],
    "query": ["q_proj"],
    "key_value": ["k_proj", "v_proj"],
    "out": ["o_proj"],
}
_SINGLE = {
    "patcher.embedding": "model.patcher.embed_tokens",
    "patcher.norm": "model.patcher.norm",
    "patcher.output": "model.patcher.lm_head",
    "encoder.hashes.table": "model.encoder_hash_tok_embedding",
    "encoder.embedding": "model.local_encoder.embed_tokens",
    "encoder.query_projection": "model.local_encoder.patch_embedding_projection",
    "global_.projection": "model.global_transformer.token_embedding_projection",
    "decoder.latent_projection": "model.local_decoder.patch_embedding_projection",
    "decoder.norm": "model.local_decoder.norm",
    "decoder.output": "lm_head",
}
_STACKS = {
    "patcher": "model.patcher",
    "encoder": "model.local_encoder",
    "global_": "model.global_transformer",
    "decoder": "model.local_decoder",
}
_ORIGINAL = {
    "self_attn": "attention",
    "mlp": "feed_forward",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "embed_tokens": "tok_embeddings",
    "q_norm": "cross_attn_norm_q",
    "k_norm": "cross_attn_norm_kv",
    "gate_proj": "w1",
    "down_proj": "w2",
    "up_proj": "w3",
    "q_proj": "wq",
    "k_proj": "wk",
    "v_proj": "wv",
    "o_proj": "wo",
    "lm_head": "output",
}


def names(config, layout):
    """Our tensor name -> the names, in "transformers" or "original" layout, that it is the concatenation of."""
    table = {ours: [theirs] for ours, theirs in _SINGLE.items()}
    if config.keys_per_patch * config.encoder.dim == config.global_.dim:
        del table["global_.projection"]
    for part, prefix in _STACKS.items():
        for n in range(getattr(config, part).n_layers):
            table |= {
                f"{part}.stack.layers.{n}.{own}": [f"{prefix}.layers.{n}.{p}" for p in parts]
                for own, parts in _LAYER.items()
            }
    for where, prefix in [("encoder.cross", "model.local_encoder.cross_attn_layers.0")] + [
        (f"decoder.cross.{n}", f"model.local_decoder.cross_attn_layers.{n}")
        for n in range(config.decoder.n_layers)
    ]:
        table |= {
            f"{where}.{own}": [f"{prefix}.{p}" for p in parts] for own, parts in _CROSS.items()
        }
    if layout == "original":
        table = {ours: [_to_original(name) for name in theirs] for ours, theirs in table.items()}
        table["encoder.hashes.table"] = [
            f"encoder_hash_tok_embedding.{i}" for i in range(len(config.hashes.sizes))
        ]
    return {
        f"{ours}.weight": [f"{name}.weight" for name in theirs] for ours, theirs in table.items()
    }


def _to_original(name):
    name = "local_decoder.output" if name == "lm_head" else name.removeprefix("model.")
    return ".".join(_ORIGINAL.get(word, word) for word in name.split("."))


def convert_in(theirs, files, layout, config, expected, folder):
    """Tensors of a layout -> ours. Raises ValueError, naming file and key, for a name or a shape that does not fit.

    files: file by name; expected: tensors of our names and shapes. `theirs` is emptied on the way, to hold little twice.
    """
    table = {own: [own] for own in expected} if layout == "bltlab" else names(config, layout)
    wanted = {name for parts in table.values() for name in parts}
    if lost := sorted(wanted - set(theirs)):
        raise ValueError(
            f"{folder / WEIGHTS} lacks {lost[0]}"
            + (f" and {len(lost) - 1} more" if len(lost) > 1 else "")
        )
    if odd := sorted(set(theirs) - wanted):
        raise ValueError(f"{folder / files[odd[0]]} has unknown {odd[0]}")
    ours = {}
    for own, parts in table.items():
        rows, *rest = expected[own].shape
        for name in parts:
            if (want := (rows // len(parts), *rest)) != tuple(theirs[name].shape):
                raise ValueError(
                    f"{folder / files[name]}: {name} must have shape {want}, got {tuple(theirs[name].shape)}"
                )
        pieces = [theirs.pop(name) for name in parts]
        ours[own] = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    return ours


def convert_out(ours, table):
    """Our tensors -> theirs. Raises ValueError for a tensor that their layout has no place for."""
    if odd := sorted(set(ours) - set(table)):
        raise ValueError(f"this layout has no place for {odd[0]}: it holds plain BLTs only")
    return {
        name: piece.clone() if len(parts) > 1 else piece
        for own, parts in table.items()
        for name, piece in zip(parts, ours[own].chunk(len(parts)))
    }


# -- configs of other projects ------------------------------------------------------------------------------------------


def _from_transformers_config(data, folder):
    """transformers' config.json, its class defaults where it is silent."""
    defaults = {
        "patcher": dict(
            hidden_size=768,
            num_hidden_layers=14,
            num_attention_heads=12,
            intermediate_size=2048,
            sliding_window=512,
        ),
        "encoder": dict(
            hidden_size=1024, num_hidden_layers=1, num_attention_heads=16, intermediate_size=None
        ),
        "global": dict(
            hidden_size=2048, num_hidden_layers=25, num_attention_heads=16, intermediate_size=5632
        ),
        "decoder": dict(
            hidden_size=1024, num_hidden_layers=9, num_attention_heads=16, intermediate_size=2816
        ),
    }
    window = data.get("local_attention_window_len", 512)
    parts = {}
    for part, values in defaults.items():
        v = values | {
            k: x
            for k, x in (data.get(f"{part}_config") or {}).items()
            if x is not None or k == "sliding_window"
        }
        dim, heads = v["hidden_size"], v["num_attention_heads"]
        if v.get("num_key_value_heads") not in (None, heads):
            raise ValueError(
                f"{part}_config.num_key_value_heads must be {heads}, as the query heads, "
                f"got {v['num_key_value_heads']}"
            )
        rope = v.get("rope_parameters") or {}
        theta = rope.get(
            "rope_theta", v.get("rope_theta", 10_000.0 if part == "patcher" else 500_000.0)
        )
        shape = (dim, v["num_hidden_layers"], heads, v["intermediate_size"] or int(8 * dim / 3))
        kind = PatcherConfig if part == "patcher" else TransformerConfig
        parts[part] = kind(
            *shape,
            {"patcher": v.get("sliding_window"), "global": None}.get(part, window),
            float(theta),
            v.get("rms_norm_eps", 1e-5),
        )
    for key, only, default in (
        ("patching_mode", "entropy", "entropy"),
        ("encoder_hash_byte_group_nb_functions", 1, 1),
        ("vocab_size", 260, 260),
    ):
        if data.get(key, default) != only:
            raise ValueError(f"{key} must be {only!r}, got {data[key]!r}")
    for part, only in (("encoder", False), ("decoder", True)):
        if (data.get(f"{part}_config") or {}).get("cross_attn_all_layers", only) is not only:
            raise ValueError(f"{part}_config.cross_attn_all_layers must be {only}")
    patcher = replace(
        parts["patcher"],
        threshold=data.get("patching_threshold", PatcherConfig.threshold),
        max_patch_length=data.get("max_patch_length"),
    )
    hashes = HashConfig(
        tuple(data.get("encoder_hash_byte_group_size") or HashConfig.sizes),
        data.get("encoder_hash_byte_group_vocab", HashConfig.n_rows),
    )
    longest = (data.get("encoder_config") or {}).get("max_position_embeddings", 24576)
    return BLTConfig(
        patcher,
        parts["encoder"],
        parts["global"],
        parts["decoder"],
        hashes,
        data.get("cross_attn_k", 2),
        max_length=longest,
    )


def to_transformers_config(config):
    """The config.json that transformers' `BltConfig` reads. Raises ValueError for what a Blt there cannot be."""
    for name, only in (
        ("block_size", None),
        ("decoder_input", "encoder"),
        ("doubled_residual", True),
    ):
        if getattr(config, name) != only:
            raise ValueError(
                f"transformers' Blt needs {name} {only!r}, this model has {getattr(config, name)!r}"
            )
    if config.patcher.rule != "entropy":
        raise ValueError(
            f"transformers' Blt needs patcher.rule 'entropy', this model has {config.patcher.rule!r}"
        )
    p, e, g, d = config.patcher, config.encoder, config.global_, config.decoder
    part = lambda c, **kw: dict(
        hidden_size=c.dim,
        num_hidden_layers=c.n_layers,
        num_attention_heads=c.n_heads,
        intermediate_size=c.hidden_dim,
        rms_norm_eps=c.norm_eps,
        max_position_embeddings=config.max_length,
        rope_parameters=dict(rope_type="default", rope_theta=c.rope_theta),
        **kw,
    )
    local = dict(vocab_size=260, cross_attn_k=config.keys_per_patch, hidden_size_global=g.dim)
    return dict(
        model_type="blt",
        architectures=["BltForCausalLM"],
        vocab_size=260,
        max_position_embeddings=config.max_length,
        patch_in_forward=True,
        patching_mode="entropy",
        patching_threshold=p.threshold,
        max_patch_length=p.max_patch_length,
        local_attention_window_len=e.window,
        cross_attn_k=config.keys_per_patch,
        tie_word_embeddings=False,
        encoder_hash_byte_group_size=list(config.hashes.sizes),
        encoder_hash_byte_group_vocab=config.hashes.n_rows,
        encoder_hash_byte_group_nb_functions=1,
        bos_token_id=1,
        eos_token_id=2,
        patcher_config=part(p, vocab_size=260, sliding_window=p.window),
        global_config=part(g),
        encoder_config=part(e, cross_attn_all_layers=False, **local),
        decoder_config=part(d, cross_attn_all_layers=True, **local),
    )


def _from_original_config(data, folder):
    """The original's config.json (`args`) and its entropy model's params.json."""
    args, params = data["args"], _read_json(folder / ENTROPY_PARAMS)
    m, patching = params.get("entropy_model", {}), params.get("data", {}).get("patcher_args", {})
    for where in (args, m):
        if where.get("n_kv_heads") not in (None, where.get("n_heads")):
            raise ValueError(f"n_kv_heads must equal n_heads, got {where['n_kv_heads']}")
    width = lambda dim, of: (
        of * -(-int(8 * dim / 3) // of)
    )  # SwiGLU width, rounded up to a multiple
    of, eps, theta = (
        args.get("multiple_of", 256),
        args.get("norm_eps", 1e-5),
        float(args.get("rope_theta", 500_000.0)),
    )
    window = args.get("local_attention_window_len", 512)
    stack = lambda part, window: TransformerConfig(
        args[f"dim_{part}"],
        args[f"n_layers_{part}"],
        args[f"n_heads_{part}"],
        width(args[f"dim_{part}"], of),
        window,
        theta,
        eps,
    )
    try:
        patcher = PatcherConfig(
            m["dim"],
            m["n_layers"],
            m["n_heads"],
            width(m["dim"], m.get("multiple_of", 256)),
            m.get("sliding_window") or 512,
            float(m.get("rope_theta", 10_000.0)),
            m.get("norm_eps", 1e-5),
            patching.get("threshold", PatcherConfig.threshold),
            patching.get("max_patch_length"),
        )
        sizes = args["encoder_hash_byte_group_size"]
        sizes = [int(n) for n in sizes.split(",")] if isinstance(sizes, str) else sizes
        return BLTConfig(
            patcher,
            stack("local_encoder", window),
            stack("global", None),
            stack("local_decoder", window),
            HashConfig(tuple(sizes), args["encoder_hash_byte_group_vocab"]),
            args.get("cross_attn_k", 2),
            max_length=args.get("max_encoder_seq_length") or 24576,
        )
    except KeyError as error:
        raise ValueError(f"args or {ENTROPY_PARAMS} lack {error}") from None


_CONFIGS = {
    "bltlab": lambda data, folder: BLTConfig.from_dict(data),
    "transformers": _from_transformers_config,
    "original": _from_original_config,
}
