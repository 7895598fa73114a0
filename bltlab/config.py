"""Shapes as frozen dataclasses, presets by name, JSON in and out."""

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from math import isfinite
from typing import get_args

PATCH_RULES = ("entropy", "stride", "space")
DECODER_INPUTS = ("encoder", "embedding")


@dataclass(frozen=True)
class TransformerConfig:
    """One stack of pre-norm layers. window: keys a position sees, itself included; None is all of the past."""

    dim: int
    n_layers: int
    n_heads: int
    hidden_dim: int
    window: int | None = None
    rope_theta: float = 500_000.0
    norm_eps: float = 1e-5

    def __post_init__(self):
        if (
            min(
                self.dim,
                self.n_layers,
                self.n_heads,
                self.hidden_dim,
                1 if self.window is None else self.window,
            )
            < 1
        ):
            raise ValueError("dim, n_layers, n_heads, hidden_dim and window must be at least 1")
        if self.dim % self.n_heads or (self.dim // self.n_heads) % 2:
            raise ValueError(
                f"dim must be n_heads times an even head width, got dim {self.dim} and n_heads {self.n_heads}"
            )


@dataclass(frozen=True)
class PatcherConfig(TransformerConfig):
    """The entropy model, and the rule that opens patches.

    threshold: nats; a byte opens a patch where the entropy before it is above. max_patch_length: bytes, or None.
    rule: "entropy", "stride" (every max_patch_length bytes) or "space" (after each non-alphanumeric byte).
    """

    window: int | None = 512
    rope_theta: float = 10_000.0
    threshold: float = 1.335442066192627
    max_patch_length: int | None = None
    rule: str = "entropy"

    def __post_init__(self):
        super().__post_init__()
        if self.rule not in PATCH_RULES:
            raise ValueError(f"rule must be one of {', '.join(PATCH_RULES)}, got {self.rule!r}")
        if self.max_patch_length is not None and self.max_patch_length < 1:
            raise ValueError(
                f"max_patch_length must be at least 1 byte or None, got {self.max_patch_length}"
            )
        if self.rule == "stride" and self.max_patch_length is None:
            raise ValueError("rule 'stride' needs max_patch_length, the stride in bytes, got None")


@dataclass(frozen=True)
class HashConfig:
    """Hash n-gram embeddings: one table of n_rows for each size."""

    sizes: tuple = (3, 4, 5, 6, 7, 8)
    n_rows: int = 500_002
    prime: int = 1_000_000_007


@dataclass(frozen=True)
class BLTConfig:
    """A whole model.

    keys_per_patch: K latent queries and keys a patch (the released cross_attn_k). doubled_residual: released weights
    add a cross-attention's input twice (2h + o). decoder_input: the decoder starts from the encoder's states (released
    weights) or from its own byte embedding (Fast BLT, D_0). block_size: bytes of a diffusion block, None for a plain BLT.
    max_length: longest context in bytes, BOS included.
    """

    patcher: PatcherConfig
    encoder: TransformerConfig
    global_: TransformerConfig
    decoder: TransformerConfig
    hashes: HashConfig = field(default_factory=HashConfig)
    keys_per_patch: int = 2
    doubled_residual: bool = True
    decoder_input: str = "encoder"
    block_size: int | None = None
    max_length: int = 4096

    def __post_init__(self):
        if self.decoder_input not in DECODER_INPUTS:
            raise ValueError(
                f"decoder_input must be one of {', '.join(DECODER_INPUTS)}, got {self.decoder_input!r}"
            )
        if self.encoder.dim != self.decoder.dim:
            raise ValueError(
                f"encoder and decoder must share one dim, got {self.encoder.dim} and {self.decoder.dim}"
            )
        if self.block_size is not None and self.block_size < 1:
            raise ValueError(f"block_size must be at least 1 byte or None, got {self.block_size}")

    @classmethod
    def preset(cls, name, **changes):
        """A preset by name, with top-level fields replaced. Raises ValueError with the known names."""
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
        return replace(PRESETS[name], **changes)

    def to_json(self):
        return json.dumps({"model_type": "bltlab", **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text):
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, data):
        """Raises ValueError, naming the key, for what is not a bltlab config."""
        if data.get("model_type") != "bltlab":
            raise ValueError(f"model_type must be 'bltlab', got {data.get('model_type')!r}")
        return _build(cls, {k: v for k, v in data.items() if k != "model_type"}, "config")


def _fits(value, kind):
    """Is a JSON value of a field's type? Whole numbers pass for float, lists of whole numbers for tuple."""
    if kind is float:
        return type(value) in (int, float) and isfinite(value)
    if kind is tuple:
        return (
            isinstance(value, (list, tuple))
            and len(value) > 0
            and all(type(v) is int for v in value)
        )
    return type(value) in (get_args(kind) or (kind,))


def _build(kind, data, path):
    """A dataclass from plain JSON, naming the first key that does not fit."""
    types = {f.name: f.type for f in fields(kind)}
    if unknown := sorted(set(data) - set(types)):
        raise ValueError(f"{path} has unknown keys: {', '.join(unknown)}")
    values = {}
    for name, value in data.items():
        if is_dataclass(types[name]):
            if not isinstance(value, dict):
                raise ValueError(f"{path}.{name} must be an object, got {value!r}")
            value = _build(types[name], value, f"{path}.{name}")
        elif not _fits(value, types[name]):
            raise ValueError(
                f"{path}.{name} must be {getattr(types[name], '__name__', types[name])}, got {value!r}"
            )
        values[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _preset(local, global_, patcher, n_rows, *, sizes=(3, 4, 5, 6, 7, 8), **changes):
    """local: (dim, heads, hidden, encoder layers, decoder layers, window); global_, patcher: (dim, layers, heads, hidden)."""
    dim, heads, hidden, n_encoder, n_decoder, window = local
    limits = changes.pop("patching", {})
    return BLTConfig(
        patcher=PatcherConfig(*patcher, window=window, **limits),
        encoder=TransformerConfig(dim, n_encoder, heads, hidden, window),
        global_=TransformerConfig(*global_),
        decoder=TransformerConfig(dim, n_decoder, heads, hidden, window),
        hashes=HashConfig(sizes, n_rows),
        **changes,
    )


_ENTROPY_100M = (768, 14, 12, 2048)
_FAST = dict(
    patching=dict(max_patch_length=8),
    decoder_input="embedding",
    doubled_residual=False,
    block_size=8,
)
PRESETS = {
    "blt-1b": _preset((1024, 16, 2816, 1, 9, 512), (2048, 25, 16, 5632), _ENTROPY_100M, 500_002),
    "blt-7b": _preset(
        (1280, 20, 3584, 1, 6, 512), (4096, 32, 32, 11008), _ENTROPY_100M, 500_002, keys_per_patch=4
    ),
    "fast-blt-1b": _preset(
        (1024, 16, 2816, 1, 9, 512), (2048, 25, 16, 5632), _ENTROPY_100M, 500_002, **_FAST
    ),
    "fast-blt-3b": _preset(
        (1024, 16, 2816, 1, 9, 512), (3072, 25, 24, 8192), _ENTROPY_100M, 500_002, **_FAST
    ),
    "probe": _preset(
        (256, 4, 768, 1, 4, 512), (512, 4, 8, 1536), (192, 4, 6, 512), 5003
    ),  # 21.5M, for timing
    "nano": _preset(
        (128, 4, 352, 1, 4, 128),
        (256, 4, 4, 704),
        (128, 2, 4, 352),
        6144,
        sizes=(2, 3, 4, 5, 6),
        patching=dict(max_patch_length=8),
        block_size=8,
        max_length=2048,
    ),
    "phrases": _preset(
        (128, 4, 352, 1, 4, 256),
        (192, 4, 4, 528),
        (128, 2, 4, 352),
        1024,
        sizes=(2, 3, 4, 5, 6),
        patching=dict(max_patch_length=8),
        block_size=8,
        max_length=1024,
    ),
    "tiny": _preset(
        (64, 4, 176, 1, 2, 128),
        (128, 2, 4, 352),
        (64, 1, 4, 176),
        2048,
        sizes=(2, 3, 4),
        patching=dict(max_patch_length=8),
        block_size=8,
        max_length=2048,
    ),
}
