"""What a decoding run costs: evaluation counts, bytes read, cache and arithmetic, as plain numbers.

Two accountings of memory traffic stand side by side:

* `paper_gb`, Fast BLT eq. 8: every decoder pass reads the decoder, every global pass reads encoder
  and global transformer; the entropy model and all caches are left out, weights are 2 bytes wide.
* `measured_gb`: the weights and cache entries that the decoding state really touched, in the dtype
  it ran in, entropy model included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Parameters of the shapes in Fast BLT section 4.1, embedding tables left out.
PUBLISHED = {
    "1B": dict(encoder=19e6, global_=1.28e9, decoder=160e6),
    "3B": dict(encoder=26e6, global_=2.82e9, decoder=160e6),
}


@dataclass(frozen=True)
class NFE:
    """Function evaluations by part: how often each network was called.

    >>> NFE(decoder=3, global_=1) + NFE(decoder=2)
    NFE(patcher=0, encoder=0, global_=1, decoder=5)
    """

    patcher: int = 0
    encoder: int = 0
    global_: int = 0
    decoder: int = 0

    def __add__(self, other: "NFE") -> "NFE":
        pairs = zip(self.astuple(), other.astuple(), strict=True)
        return NFE(*(a + b for a, b in pairs))

    def __sub__(self, other: "NFE") -> "NFE":
        pairs = zip(self.astuple(), other.astuple(), strict=True)
        return NFE(*(a - b for a, b in pairs))

    def astuple(self) -> tuple[int, int, int, int]:
        """The four counts in the order of the fields."""
        return self.patcher, self.encoder, self.global_, self.decoder


def paper_gb(nfe: NFE, parameters: Mapping[str, float]) -> float:
    """Gigabytes by Fast BLT eq. 8, in 2-byte weights.

    parameters: the counts of `encoder`, `global_` and `decoder`, embedding tables left out.

    >>> round(paper_gb(NFE(decoder=179, global_=64), PUBLISHED["3B"]), 1)  # printed: 421.51
    421.6
    """
    latent = parameters["encoder"] + parameters["global_"]
    return 2 * (nfe.decoder * parameters["decoder"] + nfe.global_ * latent) / 1e9


def project(run: Any, shape: str) -> float:
    """Gigabytes that a run's evaluations would move at a published shape, by `paper_gb`.

    run: an `NFE`, or what holds one: a `Trace` or its totals. shape: "1B" or "3B".
    Raises ValueError for another shape.

    >>> project(NFE(decoder=100, global_=32), "1B")  # printed: 115.3
    115.136
    """
    if shape not in PUBLISHED:
        raise ValueError(f"shape must be one of {', '.join(PUBLISHED)}, got {shape!r}")
    totals = getattr(run, "totals", run)
    return paper_gb(getattr(totals, "nfe", totals), PUBLISHED[shape])


def measured_gb(weight_bytes: int, cache_bytes: int) -> float:
    """Gigabytes of weights and cache entries that the decoding state counted."""
    return (weight_bytes + cache_bytes) / 1e9


def cache_bytes_per_byte(
    config: Any, bytes_per_patch: float, width: int = 4, patcher_width: int = 4
) -> float:
    """Bytes that a decoding state keeps for each byte of text.

    A byte leaves a key and a value in every layer of entropy model, encoder and decoder, and its
    encoder state. A patch leaves them in every global layer, its latent, and the K keys and values
    that each decoder layer reads of it.

    config: a `BLTConfig`. width: bytes of a number in the model; patcher_width: of one in the
    entropy model.
    """
    a_byte = (
        _keys_and_values(config.encoder) + config.encoder.dim + _keys_and_values(config.decoder)
    )
    a_patch = (
        _keys_and_values(config.global_)
        + config.global_.dim
        + config.keys_per_patch * _keys_and_values(config.decoder)
    )
    entropy_model = patcher_width * _keys_and_values(config.patcher)
    return entropy_model + width * (a_byte + a_patch / bytes_per_patch)


def _keys_and_values(stack: Any) -> int:
    """Numbers that one position leaves in the layers of a stack, a `TransformerConfig`."""
    return 2 * stack.n_layers * stack.dim


def causal_pairs(n: int, window: int | None = None) -> int:
    """How many (query, key) pairs n positions have that read the past and themselves.

    window: how many keys one of them reads at most.

    >>> causal_pairs(4), causal_pairs(4, window=2)
    (10, 7)
    """
    full = n if window is None else min(n, window)
    return full * (full + 1) // 2 + (n - full) * full


def training_flops(
    config: Any,
    parameters: Mapping[str, int],
    length: int,
    patches: int,
    block_bytes: int = 0,
    block_size: int = 0,
) -> float:
    """Arithmetic that one window's training step cannot do without, in FLOPs.

    Forward and backward take 6 FLOPs a parameter and position, and 12 a layer, channel and (query,
    key) pair. Patches are known ahead, so the entropy model does not run. The pairs of
    cross-attention (K a byte) are left out.

    config: a `BLTConfig`. parameters: by part, tables left out. length: bytes of the window;
    patches: how many it has; block_bytes: slots of its blocks; block_size: slots of one block.
    """
    products = (
        parameters["encoder"] * length
        + parameters["global_"] * patches
        + parameters["decoder"] * (length + block_bytes)
    )
    clean = causal_pairs(length, config.decoder.window)
    # A slot reads what a clean byte reads, and its block.
    blocks = block_bytes * (clean / length + block_size)
    attention = (
        _channels(config.encoder) * causal_pairs(length, config.encoder.window)
        + _channels(config.global_) * causal_pairs(patches)
        + _channels(config.decoder) * (clean + blocks)
    )
    return 6 * products + 12 * attention


def _channels(stack: Any) -> int:
    """Channels of all layers of a stack, a `TransformerConfig`."""
    return stack.n_layers * stack.dim


def ratio(part: float, whole: float) -> float | None:
    """part / whole, or None where there is nothing to divide by."""
    return part / whole if whole else None
