"""What a decoding run costs: evaluation counts, bytes read, cache and arithmetic, as plain numbers.

Two accountings of memory traffic stand side by side:

* `paper_gb`, Fast BLT eq. 8: every decoder pass reads the decoder, every global pass reads encoder and global; the
  entropy model and all caches are left out, weights are 2 bytes wide.
* `measured_gb`: the weights and cache entries that the decoding state really touched, in the dtype it ran in,
  entropy model included.
"""

from dataclasses import dataclass

# Parameters of the shapes in Fast BLT section 4, embedding tables left out.
PUBLISHED = {
    "1B": dict(encoder=19e6, global_=1.28e9, decoder=160e6),
    "3B": dict(encoder=26e6, global_=2.82e9, decoder=160e6),
}


@dataclass(frozen=True)
class NFE:
    """Function evaluations by part: how often each network was called."""

    patcher: int = 0
    encoder: int = 0
    global_: int = 0
    decoder: int = 0

    def __add__(self, other):
        return NFE(*(a + b for a, b in zip(self.astuple(), other.astuple())))

    def __sub__(self, other):
        return NFE(*(a - b for a, b in zip(self.astuple(), other.astuple())))

    def astuple(self):
        return self.patcher, self.encoder, self.global_, self.decoder


def paper_gb(nfe, parameters):
    """Gigabytes by Fast BLT eq. 8, in 2-byte weights.

    nfe: `NFE`. parameters: dict with the counts of `encoder`, `global_` and `decoder`, embedding tables left out.

    >>> round(paper_gb(NFE(decoder=179, global_=64), PUBLISHED["3B"]), 1)    # published: 421.51 for BLT-D-8
    421.6
    """
    latent = parameters["encoder"] + parameters["global_"]
    return 2 * (nfe.decoder * parameters["decoder"] + nfe.global_ * latent) / 1e9


def project(run, shape):
    """Gigabytes that a run's evaluations would move at a published shape, by `paper_gb`.

    run: `NFE`, or what holds one: a `Trace` or its totals. shape: "1B" or "3B". Raises ValueError for another shape.

    >>> project(NFE(decoder=100, global_=32), "1B")                          # published: 115.3 for BLT-D-16
    115.136
    """
    if shape not in PUBLISHED:
        raise ValueError(f"shape must be one of {', '.join(PUBLISHED)}, got {shape!r}")
    run = getattr(run, "totals", run)
    return paper_gb(getattr(run, "nfe", run), PUBLISHED[shape])


def measured_gb(weight_bytes, cache_bytes):
    """Gigabytes of weights and cache entries that the decoding state counted."""
    return (weight_bytes + cache_bytes) / 1e9


def cache_bytes_per_byte(config, bytes_per_patch, width=4, patcher_width=4):
    """Bytes that a decoding state keeps for each byte of text, of a `BLTConfig`. width: bytes of a number in the model,
    patcher_width: in the entropy model.

    A byte leaves a key and a value in every layer of entropy model, encoder and decoder, and its encoder state. A patch
    leaves them in every global layer, its latent, and the K keys and values that each decoder layer reads of it.
    """
    kv = lambda stack: 2 * stack.n_layers * stack.dim
    a_byte = kv(config.encoder) + config.encoder.dim + kv(config.decoder)
    a_patch = kv(config.global_) + config.global_.dim + config.keys_per_patch * kv(config.decoder)
    return patcher_width * kv(config.patcher) + width * (a_byte + a_patch / bytes_per_patch)


def causal_pairs(n, window=None):
    """How many (query, key) pairs n positions have, each reading the past and itself, at most `window` keys.

    >>> causal_pairs(4), causal_pairs(4, window=2)
    (10, 7)
    """
    full = n if window is None else min(n, window)
    return full * (full + 1) // 2 + (n - full) * full


def training_flops(config, parameters, length, patches, block_bytes=0, block_size=0):
    """Arithmetic that one window's training step cannot do without, in FLOPs.

    parameters: by part, tables left out. length: bytes of the window; patches in it; block_bytes: slots of its blocks.
    Forward and backward take 6 FLOPs a parameter and position and 12 a layer, channel and (query, key) pair. Patches are
    known ahead, so the entropy model does not run; cross-attention's pairs (K a byte) are left out.
    """
    pairs = causal_pairs(length, config.decoder.window)
    blocks = block_bytes * (
        pairs / length + block_size
    )  # a slot reads a clean byte's past, and its block
    products = (
        parameters["encoder"] * length
        + parameters["global_"] * patches
        + parameters["decoder"] * (length + block_bytes)
    )
    attention = sum(
        stack.n_layers * stack.dim * n
        for stack, n in (
            (config.encoder, causal_pairs(length, config.encoder.window)),
            (config.global_, causal_pairs(patches)),
            (config.decoder, pairs + blocks),
        )
    )
    return 6 * products + 12 * attention


def ratio(part, whole):
    """part / whole, or None where there is nothing to divide by."""
    return part / whole if whole else None
