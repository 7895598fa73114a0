"""Weights on disk: finding them, reading and writing them, and the key layouts of other projects.

Three layouts are read, as plain dicts of tensors: ours ("bltlab"), transformers' `BltForCausalLM`
("transformers") and facebookresearch/blt with its entropy model in a folder of its own
("original"). The first two are written as well. A layout is one table, `names`: our tensor -> the
tensors it is the concatenation of, so that both ways use it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from . import hub
from .config import BLTConfig, HashConfig, PatcherConfig, TransformerConfig
from .files import being_changed, gathering, is_plain_name, why, write

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)  # of weights
ENTROPY_PARAMS, ENTROPY_WEIGHTS = "entropy_model/params.json", "entropy_model/consolidated.pth"

TRIES, PAUSE = 200, 0.05  # readings, and seconds between them, of a folder that changes meanwhile

Tensors = dict[str, Tensor]  # by name
Names = dict[str, list[str]]  # our name -> theirs, in the order they are concatenated in


# -- finding ---------------------------------------------------------------------------------------


def assets() -> Path:
    """The folder of shipped weights, traces and text.

    It is inside an installed wheel, or beside the package in a checkout.
    """
    inside = Path(__file__).parent / "assets"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "assets"


def shipped() -> list[str]:
    """Names of the models that ship with bltlab."""
    return sorted(path.parent.name for path in assets().glob(f"*/{CONFIG}"))


def resolve(name: str | Path, subfolder: str = "", **hub_options: Any) -> Path:
    """The folder of a model: one that holds a config, else a shipped name, else a hub id.

    A hub id is "owner/name"; without a network, it is found where it was downloaded before.

    subfolder: where in it the model is. hub_options: as `hub.download` takes them.
    Raises FileNotFoundError that says what was looked for, ValueError for a subfolder that leaves
    the folder.
    """
    if Path(subfolder).is_absolute() or ".." in Path(subfolder).parts:
        raise ValueError(f"subfolder must lie in the model's folder, got {subfolder!r}")
    path = Path(name)
    if (path / subfolder / CONFIG).is_file():
        return (path / subfolder).resolve()
    if (assets() / name / subfolder / CONFIG).is_file():
        return assets() / name / subfolder
    if path.exists():
        raise FileNotFoundError(
            f"{path / subfolder} holds no {CONFIG}: a model folder needs {CONFIG} and {WEIGHTS}"
        )
    known = ", ".join(shipped()) or "none"
    if not hub.is_id(name):
        raise FileNotFoundError(
            f"{name} is no model folder and no shipped name; shipped are {known}"
        )
    wanted = ("*.json", "*.safetensors", ENTROPY_WEIGHTS)
    patterns = [(PurePosixPath(subfolder) / pattern).as_posix() for pattern in wanted]
    try:
        return hub.download(str(name), patterns, **hub_options) / subfolder
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; shipped are {known}") from None


# -- reading ---------------------------------------------------------------------------------------


def load(
    folder: str | Path, expected_of: Callable[[BLTConfig], Tensors]
) -> tuple[BLTConfig, Tensors]:
    """The config and the tensors, by our names, of a folder in any layout.

    Tensors that need no fusing stay memory-mapped. Where somebody saves to the folder meanwhile,
    all is read again: config and tensors are of one model.

    expected_of: from a config to tensors (on the meta device, say) of the names and shapes that
    must come out.
    Raises FileNotFoundError or ValueError, naming the file and the key.
    """
    folder = Path(folder)
    for _ in range(TRIES):
        before = _state_of(folder)
        try:
            found = _load(folder, expected_of)
        except (FileNotFoundError, ValueError):
            if _is_settled(folder, before):
                raise
        else:
            if _is_settled(folder, before):
                return found
        time.sleep(PAUSE)
    raise ValueError(f"{folder} is written to all the time: try again later")


def _state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What tells files from those that took their names later."""
    found = {}
    for path in (*folder.glob("*.json"), *folder.glob("*.safetensors")):
        with suppress(FileNotFoundError):
            told = path.stat()
            found[path.name] = (told.st_ino, told.st_mtime_ns, told.st_size)
    return found


def _is_settled(folder: Path, before: dict[str, tuple[int, int, int]]) -> bool:
    """Is a folder as it was before, and not in the midst of a change?"""
    return not being_changed(folder) and _state_of(folder) == before


def _load(folder: Path, expected_of: Callable[[BLTConfig], Tensors]) -> tuple[BLTConfig, Tensors]:
    data = _read_json(folder / CONFIG)
    layout = _layout(data, folder / CONFIG)
    with _naming(folder / CONFIG):
        config = _CONFIGS[layout](data, folder)
        config = BLTConfig.from_json(config.to_json())  # each value is of its type
    tensors, files = read_tensors(folder)
    if layout == "original":
        entropy, entropy_files = _read_pickle(folder / ENTROPY_WEIGHTS)
        _add(tensors, files, entropy, entropy_files, folder)
    with _naming(folder / CONFIG):
        _check_layers(config, len(tensors))
        expected = expected_of(config)
    return config, convert_in(tensors, files, layout, config, expected, folder)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what a config of wrong values raises into a ValueError that names its file."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"{path}: {error!s:.240}") from None


def _check_layers(config: BLTConfig, count: int) -> None:
    """Raise ValueError where there are fewer tensors than layers, before any layer is built."""
    layers = sum(getattr(config, part).n_layers for part in _STACKS)
    if layers > count:
        raise ValueError(f"n_layers add up to {layers:,}, and there are {count:,} tensors")


def _layout(data: Mapping[str, Any], path: Path) -> str:
    """Which layout a config.json belongs to. Raises ValueError where it is none of them."""
    model_type = data.get("model_type")
    if model_type == "bltlab":
        return "bltlab"
    if model_type == "blt":
        return "transformers"
    if isinstance(data.get("args"), dict) and "dim_local_encoder" in data["args"]:
        return "original"
    raise ValueError(
        f"{path} is no BLT: model_type must be 'bltlab' or 'blt' (or the original's args), "
        f"got {model_type!r:.60}"
    )


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises FileNotFoundError or ValueError, naming the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: must hold an object, got {type(data).__name__}")
    return data


def read_tensors(folder: str | Path) -> tuple[Tensors, dict[str, str]]:
    """({name: tensor}, {name: the file it was in}) of a folder's safetensors.

    They are in one file, or in the shards that an index names. Raises FileNotFoundError or
    ValueError, naming the file.
    """
    folder = Path(folder)
    promised = _weight_map(folder)  # {name: file}, empty where there is no index
    shards = sorted(set(promised.values()))
    tensors: Tensors = {}
    files: dict[str, str] = {}
    for file in shards or [WEIGHTS]:
        if not (folder / file).is_file():
            named = f", {INDEX} names it" if promised else ""
            raise FileNotFoundError(f"{folder / file} is missing{named}")
        found = _read_safetensors(folder / file)
        _add(tensors, files, found, dict.fromkeys(found, file), folder)
    for name, file in promised.items():
        if files.get(name) != file:
            raise ValueError(f"{folder / file} lacks {name}, which {INDEX} promises")
    return tensors, files


def _add(
    tensors: Tensors,
    files: dict[str, str],
    more: Tensors,
    their_files: dict[str, str],
    folder: Path,
) -> None:
    """Add tensors, and the file of each. Raises ValueError for a name that is there already."""
    for name, tensor in more.items():
        if name in tensors:
            first, second = folder / files[name], folder / their_files[name]
            raise ValueError(f"{first} and {second} both hold {name}")
        tensors[name], files[name] = tensor, their_files[name]


def _weight_map(folder: Path) -> dict[str, str]:
    """The file of each tensor by the index of a folder with shards; empty for a single file.

    Raises ValueError for an index that names what is not a file of this folder.
    """
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return {}
    where = _read_json(folder / INDEX).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{folder / INDEX}: weight_map must name the file of each tensor")
    for name, file in where.items():
        if not is_plain_name(file):
            raise ValueError(
                f"{folder / INDEX}: {name} must lie in a file of this folder, got {file!r:.80}"
            )
    return where


def _read_safetensors(path: Path) -> Tensors:
    """Tensors of one file, memory-mapped. Raises ValueError where it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file: {error}") from None


def _read_pickle(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The original's entropy model as `read_tensors` gives it: no code in the file is run."""
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
    named = data.get("model", data) if isinstance(data, dict) else None
    if not isinstance(named, dict) or not all(map(torch.is_tensor, named.values())):
        raise ValueError(f"{path} holds something else than tensors by name")
    tensors = {f"patcher.{key}": value for key, value in named.items()}
    return tensors, dict.fromkeys(tensors, ENTROPY_WEIGHTS)


# -- writing ---------------------------------------------------------------------------------------


def save(
    folder: str | Path,
    config: BLTConfig,
    tensors: Tensors,
    files: Iterable[tuple[str, str]] = (),
    layout: str = "bltlab",
    shard_bytes: int = 5 * 10**9,
) -> None:
    """Write a model folder: each file whole or not at all, the config that announces them last.

    tensors: by our names. files: further (name, text) pairs, such as a card. shard_bytes: weights
    above it are split, with an index.
    Raises ValueError for a layout that is not written or that this model does not fit, and for the
    name of a file that would lie elsewhere; OSError, in one sentence, where it cannot be written.
    """
    from huggingface_hub import save_torch_state_dict

    text = config_text(config, layout)
    if layout == "transformers":
        tensors = convert_out(tensors, names(config, layout))
    folder = Path(folder)
    files = list(files)
    for name, _ in files:
        if not is_plain_name(name) or name in (CONFIG, WEIGHTS, INDEX):
            raise ValueError(
                f"files are named as files of the folder, such as README.md, got {name!r}"
            )
    try:
        with gathering(folder, [INDEX, CONFIG], instead_of=_weight_files(folder)) as part:
            save_torch_state_dict(tensors, part, max_shard_size=shard_bytes)
            _name_shards_by_content(part)
            for name, content in [*files, (CONFIG, text + "\n")]:
                write(part / name, content)
            for path in part.iterdir():
                path.chmod(0o644)
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{folder} could not be written ({why(error)}); what was there before is whole"
        ) from None


def _weight_files(folder: Path) -> set[str]:
    """Names of the files of an earlier save's weights."""
    named: set[str] = set()
    with suppress(FileNotFoundError, ValueError):
        named = {*_read_json(folder / INDEX)["weight_map"].values()}
    return {WEIGHTS, INDEX, *(name for name in named if is_plain_name(name))}


def _name_shards_by_content(folder: Path) -> None:
    """Give shards names that no other save's shards have, so that an index never names a mixture.

    model-00001-of-00002.safetensors becomes model-DIGEST-00001-of-00002.safetensors.
    """
    if not (folder / INDEX).is_file():
        return
    index = _read_json(folder / INDEX)
    where = index["weight_map"]
    digest = _digest_of([folder / shard for shard in sorted({*where.values()})])
    for tensor, shard in where.items():
        name = shard.replace("-", f"-{digest}-", 1)
        where[tensor] = name
        if (folder / shard).exists():
            (folder / shard).rename(folder / name)
    write(folder / INDEX, json.dumps(index, indent=2) + "\n")


def _digest_of(paths: Iterable[Path]) -> str:
    """Eight hex digits that stand for what some files hold."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:8]


def config_text(config: BLTConfig, layout: str) -> str:
    """The config.json of a layout. Raises ValueError for a layout that is not written."""
    if layout == "bltlab":
        return config.to_json()
    if layout == "transformers":
        return json.dumps(to_transformers_config(config), indent=1)
    raise ValueError(f"layout must be bltlab or transformers to write, got {layout!r}")


# -- key layouts -----------------------------------------------------------------------------------

# Our names -> transformers', without the ".weight" at the end of both.
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


def names(config: BLTConfig, layout: str) -> Names:
    """Our tensor name -> the names, in another layout, that it is the concatenation of.

    layout: "transformers" or "original".
    """
    table = {ours: [theirs] for ours, theirs in _SINGLE.items()}
    if config.keys_per_patch * config.encoder.dim == config.global_.dim:
        del table["global_.projection"]
    for part, theirs in _STACKS.items():
        for n in range(getattr(config, part).n_layers):
            table |= _below(f"{part}.stack.layers.{n}", f"{theirs}.layers.{n}", _LAYER)
    table |= _below("encoder.cross", f"{_STACKS['encoder']}.cross_attn_layers.0", _CROSS)
    for n in range(config.decoder.n_layers):
        theirs = f"{_STACKS['decoder']}.cross_attn_layers.{n}"
        table |= _below(f"decoder.cross.{n}", theirs, _CROSS)
    if layout == "original":
        table = {ours: list(map(_to_original, theirs)) for ours, theirs in table.items()}
        n_tables = len(config.hashes.sizes)
        table["encoder.hashes.table"] = [f"encoder_hash_tok_embedding.{i}" for i in range(n_tables)]
    return {f"{ours}.weight": _each(theirs, after=".weight") for ours, theirs in table.items()}


def _below(ours: str, theirs: str, table: Names) -> Names:
    """A table with a prefix before our names and one before theirs.

    >>> _below("a", "b", {"out": ["o_proj"]})
    {'a.out': ['b.o_proj']}
    """
    return {f"{ours}.{own}": _each(parts, before=f"{theirs}.") for own, parts in table.items()}


def _each(parts: Iterable[str], before: str = "", after: str = "") -> list[str]:
    """Names with the same text before or after each."""
    return [f"{before}{name}{after}" for name in parts]


def _to_original(name: str) -> str:
    """The original's name of a tensor, by transformers'."""
    name = "local_decoder.output" if name == "lm_head" else name.removeprefix("model.")
    return ".".join(_ORIGINAL.get(word, word) for word in name.split("."))


def convert_in(
    theirs: Tensors,
    files: Mapping[str, str],
    layout: str,
    config: BLTConfig,
    expected: Tensors,
    folder: Path,
) -> Tensors:
    """Our tensors, of those of a layout.

    `theirs` is emptied on the way, so that little is held twice.

    files: the file of each of them, and folder: that of the files, to name in an error; expected:
    tensors of our names and shapes.
    Raises ValueError, naming file and key, for a name or a shape that does not fit.
    """
    table = {own: [own] for own in expected} if layout == "bltlab" else names(config, layout)
    _check_names(theirs, table, files, folder)
    ours = {}
    for own, parts in table.items():
        rows, *rest = expected[own].shape
        shape = (rows // len(parts), *rest)
        for name in parts:
            _check_tensor(name, theirs[name], shape, folder / files.get(name, ""))
        tensors = [theirs.pop(name) for name in parts]
        ours[own] = tensors[0] if len(tensors) == 1 else torch.cat(tensors)
    return ours


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], path: Path) -> None:
    """Raise ValueError, naming file and key, for a tensor of another shape or of another type."""
    got = tuple(tensor.shape)
    if got != shape:
        raise ValueError(f"{path}: {name} must have shape {shape}, got {got}")
    if tensor.dtype not in DTYPES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        raise ValueError(f"{path}: {name} must be one of {known}, got {tensor.dtype}")


def _check_names(theirs: Tensors, table: Names, files: Mapping[str, str], folder: Path) -> None:
    """Raise ValueError, naming file and key, for a tensor that is missing or unknown."""
    wanted = set(chain.from_iterable(table.values()))
    if lost := sorted(wanted - set(theirs)):
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise ValueError(f"{folder / WEIGHTS} lacks {lost[0]}{more}")
    if odd := sorted(set(theirs) - wanted):
        raise ValueError(f"{folder / files[odd[0]]} has unknown {odd[0]}")


def convert_out(ours: Tensors, table: Names) -> Tensors:
    """Their tensors, of ours, by a table of `names`.

    Raises ValueError for a tensor that their layout has no place for.
    """
    if odd := sorted(set(ours) - set(table)):
        raise ValueError(f"this layout has no place for {odd[0]}: it holds plain BLTs only")
    theirs = {}
    for own, parts in table.items():
        if len(parts) == 1:
            theirs[parts[0]] = ours[own]
        else:
            for name, tensor in zip(parts, ours[own].chunk(len(parts)), strict=True):
                theirs[name] = tensor.clone()
    return theirs


# -- configs of other projects ---------------------------------------------------------------------

# What transformers' config classes take where a config.json is silent.
_TRANSFORMERS_DEFAULTS = {
    "patcher": dict(
        hidden_size=768,
        num_hidden_layers=14,
        num_attention_heads=12,
        intermediate_size=2048,
        sliding_window=512,
        rope_theta=10_000.0,
    ),
    "encoder": dict(
        hidden_size=1024,
        num_hidden_layers=1,
        num_attention_heads=16,
        intermediate_size=None,
        rope_theta=500_000.0,
    ),
    "global": dict(
        hidden_size=2048,
        num_hidden_layers=25,
        num_attention_heads=16,
        intermediate_size=5632,
        rope_theta=500_000.0,
    ),
    "decoder": dict(
        hidden_size=1024,
        num_hidden_layers=9,
        num_attention_heads=16,
        intermediate_size=2816,
        rope_theta=500_000.0,
    ),
}

# Key of transformers' config.json -> the one value that this library can read, also the default.
_TRANSFORMERS_ONLY = {
    "patching_mode": "entropy",
    "encoder_hash_byte_group_nb_functions": 1,
    "vocab_size": 260,
}


def _from_transformers_config(data: Mapping[str, Any], folder: Path) -> BLTConfig:
    """The config in transformers' config.json, with its class's defaults where it is silent."""
    window = data.get("local_attention_window_len", 512)
    patcher, sliding_window = _transformers_part(data, "patcher")
    encoder, _ = _transformers_part(data, "encoder")
    global_, _ = _transformers_part(data, "global")
    decoder, _ = _transformers_part(data, "decoder")
    _check_transformers_config(data)
    return BLTConfig(
        patcher=PatcherConfig(
            **patcher,
            window=sliding_window,
            threshold=data.get("patching_threshold", PatcherConfig.threshold),
            max_patch_length=data.get("max_patch_length"),
        ),
        encoder=TransformerConfig(**encoder, window=window),
        global_=TransformerConfig(**global_),
        decoder=TransformerConfig(**decoder, window=window),
        hashes=HashConfig(
            sizes=tuple(data.get("encoder_hash_byte_group_size") or HashConfig.sizes),
            n_rows=data.get("encoder_hash_byte_group_vocab", HashConfig.n_rows),
        ),
        keys_per_patch=data.get("cross_attn_k", 2),
        max_length=(data.get("encoder_config") or {}).get("max_position_embeddings", 24576),
    )


def _transformers_part(data: Mapping[str, Any], part: str) -> tuple[dict[str, Any], int | None]:
    """Fields of the `TransformerConfig` of a part, its window apart, and its "sliding_window"."""
    values: dict[str, Any] = dict(_TRANSFORMERS_DEFAULTS[part])
    for key, value in (data.get(f"{part}_config") or {}).items():
        if value is not None or key == "sliding_window":
            values[key] = value
    dim, n_heads = values["hidden_size"], values["num_attention_heads"]
    if values.get("num_key_value_heads") not in (None, n_heads):
        raise ValueError(
            f"{part}_config.num_key_value_heads must be {n_heads}, as the query heads, "
            f"got {values['num_key_value_heads']}"
        )
    rope = values.get("rope_parameters") or {}
    fields = dict(
        dim=dim,
        n_layers=values["num_hidden_layers"],
        n_heads=n_heads,
        hidden_dim=values["intermediate_size"] or int(8 * dim / 3),
        rope_theta=float(rope.get("rope_theta", values["rope_theta"])),
        norm_eps=values.get("rms_norm_eps", 1e-5),
    )
    return fields, values.get("sliding_window")


def _check_transformers_config(data: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the key, for what transformers can do and this library cannot."""
    for key, only in _TRANSFORMERS_ONLY.items():
        if data.get(key, only) != only:
            raise ValueError(f"{key} must be {only!r}, got {data[key]!r}")
    for part, only in (("encoder", False), ("decoder", True)):
        if (data.get(f"{part}_config") or {}).get("cross_attn_all_layers", only) is not only:
            raise ValueError(f"{part}_config.cross_attn_all_layers must be {only}")


def to_transformers_config(config: BLTConfig) -> dict[str, Any]:
    """The config.json that transformers' `BltConfig` reads.

    Raises ValueError for what a Blt there cannot be.
    """
    needs = {"block_size": None, "decoder_input": "encoder", "doubled_residual": True}
    for name, only in needs.items():
        if getattr(config, name) != only:
            raise ValueError(
                f"transformers' Blt needs {name} {only!r}, this model has {getattr(config, name)!r}"
            )
    if config.patcher.rule != "entropy":
        raise ValueError(
            f"transformers' Blt needs patcher.rule 'entropy', "
            f"this model has {config.patcher.rule!r}"
        )
    part = _transformers_part_config
    local = dict(
        vocab_size=260,
        cross_attn_k=config.keys_per_patch,
        hidden_size_global=config.global_.dim,
    )
    return dict(
        model_type="blt",
        architectures=["BltForCausalLM"],
        vocab_size=260,
        max_position_embeddings=config.max_length,
        patch_in_forward=True,
        patching_mode="entropy",
        patching_threshold=config.patcher.threshold,
        max_patch_length=config.patcher.max_patch_length,
        local_attention_window_len=config.encoder.window,
        cross_attn_k=config.keys_per_patch,
        tie_word_embeddings=False,
        encoder_hash_byte_group_size=list(config.hashes.sizes),
        encoder_hash_byte_group_vocab=config.hashes.n_rows,
        encoder_hash_byte_group_nb_functions=1,
        bos_token_id=1,
        eos_token_id=2,
        patcher_config=part(config, "patcher")
        | dict(vocab_size=260, sliding_window=config.patcher.window),
        global_config=part(config, "global_"),
        encoder_config=part(config, "encoder") | dict(cross_attn_all_layers=False, **local),
        decoder_config=part(config, "decoder") | dict(cross_attn_all_layers=True, **local),
    )


def _transformers_part_config(config: BLTConfig, part: str) -> dict[str, Any]:
    """What transformers' config.json says of every part."""
    stack = getattr(config, part)
    return dict(
        hidden_size=stack.dim,
        num_hidden_layers=stack.n_layers,
        num_attention_heads=stack.n_heads,
        intermediate_size=stack.hidden_dim,
        rms_norm_eps=stack.norm_eps,
        max_position_embeddings=config.max_length,
        rope_parameters=dict(rope_type="default", rope_theta=stack.rope_theta),
    )


def _from_original_config(data: Mapping[str, Any], folder: Path) -> BLTConfig:
    """The config in the original's config.json (`args`) and its entropy model's params.json."""
    args, params = data["args"], _read_json(folder / ENTROPY_PARAMS)
    entropy_model = params.get("entropy_model", {})
    patching = params.get("data", {}).get("patcher_args", {})
    for where in (args, entropy_model):
        if where.get("n_kv_heads") not in (None, where.get("n_heads")):
            raise ValueError(f"n_kv_heads must equal n_heads, got {where['n_kv_heads']}")
    window = args.get("local_attention_window_len", 512)
    try:
        return BLTConfig(
            patcher=_original_patcher(entropy_model, patching),
            encoder=_original_stack(args, "local_encoder", window),
            global_=_original_stack(args, "global", None),
            decoder=_original_stack(args, "local_decoder", window),
            hashes=HashConfig(
                sizes=_sizes(args["encoder_hash_byte_group_size"]),
                n_rows=args["encoder_hash_byte_group_vocab"],
            ),
            keys_per_patch=args.get("cross_attn_k", 2),
            max_length=args.get("max_encoder_seq_length") or 24576,
        )
    except KeyError as error:
        raise ValueError(f"args or {ENTROPY_PARAMS} lack {error}") from None


def _original_patcher(args: Mapping[str, Any], patching: Mapping[str, Any]) -> PatcherConfig:
    """The entropy model's shape, and when it opens a patch."""
    return PatcherConfig(
        dim=args["dim"],
        n_layers=args["n_layers"],
        n_heads=args["n_heads"],
        hidden_dim=_swiglu_width(args["dim"], args.get("multiple_of", 256)),
        window=args.get("sliding_window") or 512,
        rope_theta=float(args.get("rope_theta", 10_000.0)),
        norm_eps=args.get("norm_eps", 1e-5),
        threshold=patching.get("threshold", PatcherConfig.threshold),
        max_patch_length=patching.get("max_patch_length"),
    )


def _original_stack(args: Mapping[str, Any], part: str, window: int | None) -> TransformerConfig:
    """The shape of a part: "local_encoder", "global" or "local_decoder"."""
    dim = args[f"dim_{part}"]
    return TransformerConfig(
        dim=dim,
        n_layers=args[f"n_layers_{part}"],
        n_heads=args[f"n_heads_{part}"],
        hidden_dim=_swiglu_width(dim, args.get("multiple_of", 256)),
        window=window,
        rope_theta=float(args.get("rope_theta", 500_000.0)),
        norm_eps=args.get("norm_eps", 1e-5),
    )


def _swiglu_width(dim: int, multiple: int) -> int:
    """8/3 of the width, rounded up to a multiple.

    >>> _swiglu_width(1024, 256)
    2816
    """
    return -(-int(8 * dim / 3) // multiple) * multiple


def _sizes(value: str | Iterable[int]) -> tuple[int, ...]:
    """N-gram sizes, from "3,4,5" or a list."""
    return tuple(map(int, value.split(","))) if isinstance(value, str) else tuple(value)


def _from_own_config(data: Mapping[str, Any], folder: Path) -> BLTConfig:
    """The config in a config.json of ours."""
    return BLTConfig.from_dict(data)


_CONFIGS = {
    "bltlab": _from_own_config,
    "transformers": _from_transformers_config,
    "original": _from_original_config,
}
