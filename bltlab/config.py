"""Shapes as frozen dataclasses, presets by name, JSON in and out."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, get_args, get_origin

from .options import is_finite, plain_number

DECODER_INPUTS = ("encoder", "embedding")
# What no shape exceeds: a file that says more is damaged, or wants to do damage.
MOST_WIDE = 2**20
MOST_LAYERS = 4096
MOST_SIZES = 64
MOST = 2**31 - 1  # any whole number
SMALLEST, LARGEST = 1e-9, 1e30  # numbers to compute with


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError for what is not a number in low..high, both included."""
    if not (is_finite(value) and low <= value <= high):
        raise ValueError(f"{name} must be a number in {low:,}..{high:,}, got {_short(value)}")


@dataclass(frozen=True)
class TransformerConfig:
    """One stack of pre-norm layers.

    window: keys a position sees, itself included; None is all of the past.
    Raises ValueError for sizes below 1, for sizes that no machine could hold, for a head width that
    is not even, and for an angle or an epsilon that gives no numbers.
    """

    dim: int
    n_layers: int
    n_heads: int
    hidden_dim: int
    window: int | None = None
    rope_theta: float = 500_000.0
    norm_eps: float = 1e-5

    def __post_init__(self):
        _check_range("dim", self.dim, 1, MOST_WIDE)
        _check_range("hidden_dim", self.hidden_dim, 1, MOST_WIDE)
        _check_range("n_layers", self.n_layers, 1, MOST_LAYERS)
        _check_range("n_heads", self.n_heads, 1, MOST_WIDE)
        if self.window is not None:
            _check_range("window", self.window, 1, MOST)
        if self.dim % self.n_heads or (self.dim // self.n_heads) % 2:
            raise ValueError(
                f"dim must be n_heads times an even head width, "
                f"got dim {self.dim} and n_heads {_short(self.n_heads)}"
            )
        _check_range("rope_theta", self.rope_theta, SMALLEST, LARGEST)
        _check_range("norm_eps", self.norm_eps, 0, 1)


@dataclass(frozen=True)
class PatcherConfig(TransformerConfig):
    """The entropy model, and the rule that opens patches.

    rule: a name in `patching.PATCH_RULES`, looked up where the model is built: "entropy", "stride"
    (every max_patch_length bytes), "space" (after a byte that is no letter or digit), or your own.
    threshold: nats; by "entropy", a byte opens a patch where the entropy before it is above.
    max_patch_length: bytes, or None for no limit; holds for every rule.
    Raises ValueError for a threshold that is not finite, for a limit below 1, and for "stride"
    without one.
    """

    window: int | None = 512
    rope_theta: float = 10_000.0
    threshold: float = 1.335442066192627
    max_patch_length: int | None = None
    rule: str = "entropy"

    def __post_init__(self):
        super().__post_init__()
        _check_range("threshold", self.threshold, -LARGEST, LARGEST)
        if self.max_patch_length is not None and self.max_patch_length < 1:
            raise ValueError(
                f"max_patch_length must be at least 1 byte or None, got {self.max_patch_length}"
            )
        if self.rule == "stride" and self.max_patch_length is None:
            raise ValueError("rule 'stride' needs max_patch_length, the stride in bytes, got None")


@dataclass(frozen=True)
class HashConfig:
    """Hash n-gram embeddings: one table of n_rows for each size n; prime: base of the hash.

    Raises ValueError where there is no size, or where there are more, or longer ones, than 64.
    """

    sizes: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    n_rows: int = 500_002
    prime: int = 1_000_000_007

    def __post_init__(self) -> None:
        _check_range("the number of sizes", len(self.sizes), 1, MOST_SIZES)
        for size in self.sizes:
            _check_range("each of sizes", size, 1, MOST_SIZES)
        _check_range("n_rows", self.n_rows, 1, MOST)


@dataclass(frozen=True)
class BLTConfig:
    """A whole model.

    keys_per_patch: K latent queries and keys a patch (the released cross_attn_k).
    doubled_residual: released weights add a cross-attention's input twice (2h + o).
    decoder_input: the decoder starts from the encoder's states ("encoder", released weights) or
    from a byte embedding of its own ("embedding", Fast BLT's D_0).
    block_size: bytes of a diffusion block, None for a plain BLT.
    max_length: longest context in bytes, BOS included.
    Raises ValueError for parts that do not fit together.
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
                f"decoder_input must be one of {', '.join(DECODER_INPUTS)}, "
                f"got {self.decoder_input!r}"
            )
        if self.encoder.dim != self.decoder.dim:
            raise ValueError(
                f"encoder and decoder must share one dim, "
                f"got {self.encoder.dim} and {self.decoder.dim}"
            )
        if self.block_size is not None and self.block_size < 1:
            raise ValueError(f"block_size must be at least 1 byte or None, got {self.block_size}")
        _check_range("keys_per_patch", self.keys_per_patch, 1, MOST_SIZES)
        _check_range("max_length", self.max_length, 1, MOST)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "BLTConfig":
        """A preset by name, with top-level fields replaced.

        Raises ValueError, with the known names, for another one.

        >>> BLTConfig.preset("tiny", block_size=None).decoder.dim
        64
        """
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
        return replace(PRESETS[name], **changes)

    def to_json(self) -> str:
        """The config as the text of a config.json."""
        values = {"model_type": "bltlab", **asdict(self)}
        return json.dumps(values, indent=1, default=plain_number)

    @classmethod
    def from_json(cls, text: str) -> "BLTConfig":
        """The config in the text of a config.json. Raises ValueError as `from_dict` does."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "BLTConfig":
        """The config in plain JSON values. Raises ValueError, naming the key, for a bad one."""
        if data.get("model_type") != "bltlab":
            raise ValueError(f"model_type must be 'bltlab', got {_short(data.get('model_type'))}")
        values = {name: value for name, value in data.items() if name != "model_type"}
        return _build(cls, values, "config")


def _build(kind: Any, data: Mapping[str, Any], path: str) -> Any:
    """A config dataclass from plain JSON; ValueError names the first key that does not fit.

    path: what the dataclass is called in that sentence.
    """
    types = {f.name: f.type for f in fields(kind)}
    if unknown := sorted(set(data) - set(types)):
        raise ValueError(f"{path} has unknown keys: {_short(', '.join(unknown))}")
    values = {name: _value(types[name], value, f"{path}.{name}") for name, value in data.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _value(kind: Any, value: Any, path: str) -> Any:
    """A field's value from plain JSON. Raises ValueError, naming `path`, where it does not fit."""
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{path} must be an object, got {_short(value)}")
        return _build(kind, value, path)
    if not _fits(value, kind):
        raise ValueError(f"{path} must be {getattr(kind, '__name__', kind)}, got {_short(value)}")
    return tuple(value) if isinstance(value, list) else value


def _fits(value: Any, kind: Any) -> bool:
    """Is a JSON value of a field's type? Whole numbers pass for float, lists of them for tuple."""
    if kind is float:
        return type(value) in (int, float) and is_finite(value)
    if get_origin(kind) is tuple:
        return isinstance(value, (list, tuple)) and all(map(_is_whole, value))
    if type(value) is int:
        return int in (kind, *get_args(kind)) and _is_whole(value)
    return type(value) in (get_args(kind) or (kind,))


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) <= MOST


def _short(value: Any) -> str:
    """A value for a sentence: a long one is cut."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python writes, or deep nesting
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:60]}..."


# -- presets ---------------------------------------------------------------------------------------


def _preset(
    *,
    patcher: Mapping[str, Any],
    local: Mapping[str, Any],
    n_encoder_layers: int,
    n_decoder_layers: int,
    global_: Mapping[str, Any],
    hashes: Mapping[str, Any],
    **others: Any,
) -> BLTConfig:
    """A row of `PRESETS`: fields of the parts' dataclasses by name.

    local: what encoder and decoder have in common. others: fields of `BLTConfig`.
    """
    return BLTConfig(
        patcher=PatcherConfig(**patcher),
        encoder=TransformerConfig(n_layers=n_encoder_layers, **local),
        global_=TransformerConfig(**global_),
        decoder=TransformerConfig(n_layers=n_decoder_layers, **local),
        hashes=HashConfig(**hashes),
        **others,
    )


_RELEASED_PATCHER = dict(dim=768, n_layers=14, n_heads=12, hidden_dim=2048)  # 100M
_RELEASED_LOCAL = dict(dim=1024, n_heads=16, hidden_dim=2816, window=512)

# Fast BLT section 4.1: patches of at most 8 bytes, blocks, and a decoder that embeds bytes itself.
_FAST_BLT: dict[str, Any] = dict(
    patcher=dict(**_RELEASED_PATCHER, max_patch_length=8),
    decoder_input="embedding",
    doubled_residual=False,
    block_size=8,
)

PRESETS = {
    "blt-1b": _preset(
        patcher=_RELEASED_PATCHER,
        local=_RELEASED_LOCAL,
        n_encoder_layers=1,
        n_decoder_layers=9,
        global_=dict(dim=2048, n_layers=25, n_heads=16, hidden_dim=5632),
        hashes=dict(n_rows=500_002),
    ),
    "blt-7b": _preset(
        patcher=_RELEASED_PATCHER,
        local=dict(dim=1280, n_heads=20, hidden_dim=3584, window=512),
        n_encoder_layers=1,
        n_decoder_layers=6,
        global_=dict(dim=4096, n_layers=32, n_heads=32, hidden_dim=11008),
        hashes=dict(n_rows=500_002),
        keys_per_patch=4,
    ),
    "fast-blt-1b": _preset(
        local=_RELEASED_LOCAL,
        n_encoder_layers=1,
        n_decoder_layers=9,
        global_=dict(dim=2048, n_layers=25, n_heads=16, hidden_dim=5632),
        hashes=dict(n_rows=500_002),
        **_FAST_BLT,
    ),
    "fast-blt-3b": _preset(
        local=_RELEASED_LOCAL,
        n_encoder_layers=1,
        n_decoder_layers=9,
        global_=dict(dim=3072, n_layers=25, n_heads=24, hidden_dim=8192),
        hashes=dict(n_rows=500_002),
        **_FAST_BLT,
    ),
    # 21.5M, for timing
    "probe": _preset(
        patcher=dict(dim=192, n_layers=4, n_heads=6, hidden_dim=512, window=512),
        local=dict(dim=256, n_heads=4, hidden_dim=768, window=512),
        n_encoder_layers=1,
        n_decoder_layers=4,
        global_=dict(dim=512, n_layers=4, n_heads=8, hidden_dim=1536),
        hashes=dict(n_rows=5003),
    ),
    "nano": _preset(
        patcher=dict(
            dim=128, n_layers=2, n_heads=4, hidden_dim=352, window=128, max_patch_length=8
        ),
        local=dict(dim=128, n_heads=4, hidden_dim=352, window=128),
        n_encoder_layers=1,
        n_decoder_layers=4,
        global_=dict(dim=256, n_layers=4, n_heads=4, hidden_dim=704),
        hashes=dict(sizes=(2, 3, 4, 5, 6), n_rows=6144),
        block_size=8,
        max_length=2048,
    ),
    "phrases": _preset(
        patcher=dict(
            dim=128, n_layers=2, n_heads=4, hidden_dim=352, window=256, max_patch_length=8
        ),
        local=dict(dim=128, n_heads=4, hidden_dim=352, window=256),
        n_encoder_layers=1,
        n_decoder_layers=4,
        global_=dict(dim=192, n_layers=4, n_heads=4, hidden_dim=528),
        hashes=dict(sizes=(2, 3, 4, 5, 6), n_rows=1024),
        block_size=8,
        max_length=1024,
    ),
    "tiny": _preset(
        patcher=dict(dim=64, n_layers=1, n_heads=4, hidden_dim=176, window=128, max_patch_length=8),
        local=dict(dim=64, n_heads=4, hidden_dim=176, window=128),
        n_encoder_layers=1,
        n_decoder_layers=2,
        global_=dict(dim=128, n_layers=2, n_heads=4, hidden_dim=352),
        hashes=dict(sizes=(2, 3, 4), n_rows=2048),
        block_size=8,
        max_length=2048,
    ),
}
