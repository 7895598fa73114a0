"""What a decoding run costs: evaluation counts and bytes read, as plain numbers.

Two accountings of memory traffic stand side by side:

* `paper_gb`, Fast BLT eq. 8: every decoder pass reads the decoder, every global pass reads encoder and global; the
  entropy model and all caches are left out, weights are 2 bytes wide.
* `measured_gb`: the weights and cache entries that the decoding state really touched, in the dtype it ran in,
  entropy model included.
"""

from dataclasses import dataclass


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

    >>> three_b = dict(encoder=26e6, global_=2.82e9, decoder=160e6)
    >>> round(paper_gb(NFE(decoder=179, global_=64), three_b), 1)            # published: 421.51 for BLT-D-8
    421.6
    """
    latent = parameters["encoder"] + parameters["global_"]
    return 2 * (nfe.decoder * parameters["decoder"] + nfe.global_ * latent) / 1e9


def measured_gb(weight_bytes, cache_bytes):
    """Gigabytes of weights and cache entries that the decoding state counted."""
    return (weight_bytes + cache_bytes) / 1e9


def ratio(part, whole):
    """part / whole, or None where there is nothing to divide by."""
    return part / whole if whole else None
