"""The parts of a decoding step as pure functions of tensors: what can be compiled once.

Each takes the caches that it reads and writes as arguments, and says in tensors and shapes where:

    at (n, B, T)     positions; the slots that are written (the last one takes what nobody reads);
                     for the decoder also the latents that are read, and where a block begins and
                     ends (the same: no block); for the global part, where there are several texts,
                     their numbers
    reach            (low + 2, count), of which only the shape counts: slots low .. low + count - 1
                     are read, under a mask that is made of positions

So one graph serves every length of text: numbers are data, sizes are shapes, nothing is counted or
looked at inside. `bltlab.compiled` calls them, and says where.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cache import Attend
from .masks import additive, denoising, row_numbers
from .model import BLT
from .patching import entropy

TOGETHER = 4  # vectors that are multiplied at once: weights are read once for them


def over_caches(
    layers: Sequence[Tensor],
    at: Tensor,
    reach: Tensor,
    window: int | None,
    only: Tensor | None = None,
) -> Attend:
    """An `Attend` that writes keys and values to caches (B, 2, H, slots, head), and reads them.

    only (B', 1): the rows of the caches that it is about; None: all.
    """
    positions, written = at[0], at[1]
    low, count = reach.shape[0] - 2, reach.shape[1]
    slots = low + torch.arange(count, device=at.device)
    rows = row_numbers(positions) if only is None else only
    begin, end = (at[3], at[4]) if len(at) > 3 else (positions, positions)  # the same: no block
    size = (end - begin)[..., None]
    mask = denoising(positions[..., None], slots, begin[..., None], size, window)
    scores = additive(mask[:, None], layers[0].dtype)

    def attend(layer: int, q: Tensor, kv: Tensor) -> Tensor:
        cache = layers[layer]
        cache.movedim(3, 1)[rows, written] = kv.movedim(3, 1).to(cache.dtype)
        kept = cache.narrow(3, low, count)
        k, v = (kept if only is None else kept[only[:, 0]]).unbind(1)
        if q.shape[2] == 1:
            return _of_one_byte(q, k, v, scores)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=scores)

    return attend


def _of_one_byte(q: Tensor, k: Tensor, v: Tensor, scores: Tensor) -> Tensor:
    """Attention of one query a row, (B, H, 1, head), as sums, which a compiler makes loops of."""
    scaled = q * q.shape[-1] ** -0.5
    products = (scaled * k).sum(-1) + scores[:, :, 0]  # (B, H, slots)
    weights = products.softmax(-1)[..., None]
    return (weights * v).sum(-2, keepdim=True)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """What `F.linear` gives for x (..., K), as sums that a compiler makes loops of.

    Weights (N, K) are read in the order of memory, once for `TOGETHER` vectors.

    >>> x, weight = torch.randn(1, 9, 24), torch.randn(5, 24)
    >>> torch.allclose(product(x, weight), F.linear(x, weight), atol=1e-5)
    True
    >>> torch.allclose(product(x[:, :1], weight), F.linear(x[:, :1], weight), atol=1e-5)
    True
    """
    vectors = x.reshape(-1, x.shape[-1])  # (n, K)
    n = vectors.shape[0]
    if n == 1:
        return (vectors * weight).sum(-1).expand(*x.shape[:-1], -1)
    loops = (n + TOGETHER - 1) // TOGETHER
    padded = F.pad(vectors, [0, 0, 0, loops * TOGETHER - n])
    # A strided view makes it a result of its own: else it would be worked out inside the loops.
    groups = padded.as_strided(padded.shape, padded.stride()).view(loops, TOGETHER, -1)
    sums = [(some[:, None] * weight).sum(-1) for some in groups.unbind(1)]  # each (loops, N)
    return torch.stack(sums, 1).flatten(0, 1)[:n].view(*x.shape[:-1], -1)


class PatcherStep(nn.Module):
    """Entropies (B, T) in nats after each of ids (B, T)."""

    def __init__(self, model: BLT):
        super().__init__()
        self.part = model.patcher
        self.window = model.config.patcher.window

    def forward(self, ids: Tensor, at: Tensor, reach: Tensor, *kv: Tensor) -> Tensor:
        """caches: kv of each layer."""
        attend = over_caches(kv, at, reach, self.window)
        return entropy(self.part(ids, at[0], attend))


class EncoderStep(nn.Module):
    """States (B, T, D) of ids (B, T), kept."""

    def __init__(self, model: BLT):
        super().__init__()
        self.part = model.encoder
        self.window = model.config.encoder.window

    def forward(
        self,
        ids: Tensor,
        at: Tensor,
        reach: Tensor,
        known: Tensor,
        states: Tensor,
        *kv: Tensor,
    ) -> Tensor:
        """caches: known (B, before + slots), the ids of the text; states (B, slots, D); kv."""
        positions, written = at[0], at[1]
        rows = row_numbers(ids)
        n_grams = self.part.hashes.reach
        known[rows, written + n_grams - 1] = ids
        windows = positions[..., None] + torch.arange(n_grams, device=ids.device)
        grams = known[rows[..., None], windows]
        attend = over_caches(kv, at, reach, self.window)
        found = self.part(ids, grams, positions, attend)
        states[rows, written] = found
        return found


class GlobalStep(nn.Module):
    """Latents (B, P, G) of patches, kept, and what the decoder's layers read of them."""

    def __init__(self, model: BLT):
        super().__init__()
        self.encoder = model.encoder
        self.part = model.global_
        self.decoder = model.decoder
        self.window = model.config.global_.window

    def forward(
        self,
        held: Tensor,
        at: Tensor,
        reach: Tensor,
        states: Tensor,
        latents: Tensor,
        keys: Tensor,
        *kv: Tensor,
    ) -> Tensor:
        """held (2, B, T): positions of the patches' bytes, and the number of each one's patch.

        It is P for bytes of no patch. caches: states (B, slots, D), latents (B, slots, G), keys
        (B, slots, layers, K, 2, H, head), kv; all of them may have more rows than take part.
        """
        positions, written = at[0], at[1]  # (B, P)
        only = at[2, :, :1] if len(at) > 2 else None
        rows = row_numbers(positions) if only is None else only
        of_bytes = states[rows, held[0]]
        pooled = self.encoder.pool(of_bytes, held[1], positions.shape[1])
        attend = over_caches(kv, at, reach, self.window, only)
        found = self.part(pooled, positions, attend)
        latents[rows, written] = found
        keys[rows, written] = torch.stack(self.decoder.keys(found), 2)
        return found


class DecoderStep(nn.Module):
    """Logits (B, T, V) of inputs (B, T, D)."""

    def __init__(self, model: BLT):
        super().__init__()
        self.part = model.decoder
        self.window = model.config.decoder.window

    def forward(self, x: Tensor, at: Tensor, reach: Tensor, keys: Tensor, *kv: Tensor) -> Tensor:
        """caches: keys (B, slots, layers, K, 2, H, head), which is only read, and kv."""
        attend = over_caches(kv, at, reach, self.window)
        read = keys[row_numbers(x), at[2]]  # (B, T, layers, K, 2, H, head)
        return self.part(x, at[0], lambda layer: read[:, :, layer], attend)


STEPS: dict[str, type[nn.Module]] = {
    "patcher": PatcherStep,
    "encoder": EncoderStep,
    "global_": GlobalStep,
    "decoder": DecoderStep,
}
