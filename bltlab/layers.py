"""Norm, rotary positions, attention, feed-forward.

Axes in shape comments: B batch, T bytes, P patches, K keys per patch, S slots of a block, D local width, G global
width, H heads, V ids.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from .masks import (  # noqa: F401  (their first home: the names stay importable here)
    additive,
    block_reads_prefix,
    causal,
    denoising,
    inside_block,
    same_document,
    text_mask,
)

# -- parts -------------------------------------------------------------------------------------------------------------


class RMSNorm(nn.Module):
    """Root-mean-square norm in fp32 at least, weight applied after the cast back (as the released weights expect)."""

    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        if x.dtype in (torch.float32, torch.float64):
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return self.weight * F.rms_norm(x.float(), self.weight.shape, eps=self.eps).to(x.dtype)


@lru_cache(maxsize=64)
def rotary_frequencies(dim, theta, dtype, device):
    """(dim/2,) turns per position on the imaginary axis, fp32 at least, fp64 for an fp64 model."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    turns = theta ** (-torch.arange(0, dim, 2, device=device, dtype=wide) / dim)
    return torch.complex(torch.zeros_like(turns), turns)


def rotary_turns(positions, dim, theta, dtype):
    """positions (B, T) -> unit complex numbers (B, T, 1, 1, dim/2), one for each (even, odd) pair of a head."""
    return (
        positions.reshape(*positions.shape, 1, 1, 1)
        * rotary_frequencies(dim, theta, dtype, positions.device)
    ).exp()


def turn(x, turns):
    """Turn x (B, T, n, H, head) in place by `turns` (B, T, 1, 1, head/2): pairs are (even, odd) neighbours."""
    if x.dtype in (torch.float32, torch.float64):
        torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(turns)
    else:
        x.copy_(
            torch.view_as_real(
                torch.view_as_complex(x.float().unflatten(-1, (-1, 2))) * turns
            ).flatten(-2)
        )


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads = config.n_heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x, turns, attend):
        """x (B, T, D). attend(q, kv) -> (B, H, T, head) from (B, H, T, head) and (B, 2, H, T, head): keeping and masking
        is the caller's."""
        qkv = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))  # (B, T, 3, H, head)
        turn(qkv[:, :, :2], turns)
        qkv = qkv.permute(0, 2, 3, 1, 4)  # (B, 3, H, T, head)
        return self.out(attend(qkv[:, 0], qkv[:, 1:]).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, dim, hidden_dim):
        super().__init__()
        self.gate_up = nn.Linear(dim, 2 * hidden_dim, bias=False)
        self.down = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Layer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config):
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = FeedForward(config.dim, config.hidden_dim)

    def forward(self, x, turns, attend):
        x = x + self.attention(self.attention_norm(x), turns, attend)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Stack(nn.Module):
    """Layers in a row over (B, T, dim).

    `attend(layer, q, kv)` is handed in by the caller: `over_text(...)` for a whole text, a decoding state's caches for a
    step. So there is one forward for training, prefill, step and verification, and no cache in a module.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))

    def forward(self, x, positions, attend, before=lambda layer, x: x):
        """x (B, T, dim), positions (B, T). `before(layer, x)` runs ahead of each layer: the decoder's cross-attention."""
        turns = rotary_turns(
            positions, self.config.dim // self.config.n_heads, self.config.rope_theta, x.dtype
        )
        for n, layer in enumerate(self.layers):
            x = layer(before(n, x), turns, lambda q, kv: attend(n, q, kv))
        return x


def attention(q, k, v, mask):
    """q, k, v (..., T, head), mask (..., T, T), True = may read -> (..., T, head).

    The fused kernel, but not for training on a CPU, where its backward is several times slower than plain products.
    """
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return scores(q, k, mask).softmax(-1).to(v.dtype) @ v


def scores(q, k, mask):
    """q (..., T, head), k (..., N, head), mask (..., T, N) -> (..., T, N), -inf where q may not read k."""
    return (q * q.shape[-1] ** -0.5 @ k.mT).add_(additive(mask, q.dtype))


def pieces(length, size):
    """Positions cut into pieces of `size`, each with the keys it may read under a window of `size`: its own and those of
    the piece before. A list of (queries, keys), as slices.

    >>> pieces(5, 2)
    [(slice(0, 2, None), slice(0, 2, None)), (slice(2, 4, None), slice(0, 4, None)), (slice(4, 5, None), slice(2, 5, None))]
    """
    return [
        (slice(a, min(a + size, length)), slice(max(0, a - size), min(a + size, length)))
        for a in range(0, length, size)
    ]


def with_piece_before(x, size):
    """x (..., T, head) -> the keys of `pieces`, one tensor a piece."""
    parts = x.split(size, -2)
    return [parts[0]] + [torch.cat(pair, -2) for pair in zip(parts, parts[1:])]


def over_text(document, window=None):
    """An `attend` over whole texts under `text_mask`, piece by piece where there is a window: O(T * window)."""
    length = document.shape[1]
    size = min(window or length, length)
    masks = [text_mask(document, window, q, kv)[:, None] for q, kv in pieces(length, size)]

    def attend(layer, q, kv):
        parts = zip(q.split(size, -2), with_piece_before(kv, size), masks)
        return torch.cat([attention(q, *kv.unbind(1), mask) for q, kv, mask in parts], -2)

    return attend


class CrossAttention(nn.Module):
    """Attention between bytes and the K vectors of one patch: no positions, O(bytes * K), never a bytes-by-patches mask.

    `r x + out(attention)` with r = 2 for released weights (their block adds its input, and so does their caller).
    """

    def __init__(self, dim, n_heads, eps, doubled_residual):
        super().__init__()
        self.n_heads, self.residual = n_heads, 2.0 if doubled_residual else 1.0
        self.query_norm, self.key_norm = RMSNorm(dim, eps), RMSNorm(dim, eps)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def project_keys(self, x):
        """x (..., D) -> key and value side by side (..., 2, H, head): what a cache keeps."""
        return self.key_value(self.key_norm(x)).unflatten(-1, (2, self.n_heads, -1))

    def _query(self, x):
        q = self.query(self.query_norm(x)).unflatten(-1, (self.n_heads, -1))  # (..., H, head)
        return q * q.shape[-1] ** -0.5

    def read(self, x, keys):
        """Each byte reads the K keys of its one patch. x (B, T, D), keys (B, T or 1, K, 2, H, head) -> (B, T, D)."""
        k, v = keys.unbind(3)  # (B, T, K, H, head)
        weights = (self._query(x)[:, :, None] * k).sum(-1).softmax(2)  # (B, T, K, H)
        return torch.add(
            self.out((weights[..., None] * v).sum(2).flatten(2)), x, alpha=self.residual
        )

    def pool(self, queries, keys, patch):
        """Each patch's K queries read the bytes of that patch: a softmax over segments.

        queries (B, P, K, D), keys (B, T, 2, H, head), patch (B, T) in 0..P, where P is a bin for bytes of no patch
        -> (B, P, K, D).
        """
        B, P, K, D = queries.shape
        k, v = keys.unbind(2)  # (B, T, H, head)
        q = F.pad(self._query(queries), (0, 0, 0, 0, 0, 0, 0, 1))  # (B, P+1, K, H, head)
        row = torch.arange(B, device=patch.device)[:, None]
        scores = (q[row, patch] * k[:, :, None]).sum(-1)  # (B, T, K, H)
        index = patch[:, :, None, None].expand_as(scores)
        top = torch.full_like(q[..., 0], -torch.inf).scatter_reduce(
            1, index, scores.detach(), "amax"
        )
        weights = (scores - top[row, patch]).exp()
        total = torch.zeros_like(top).scatter_add(1, index, weights)
        mixed = weights[..., None] * v[:, :, None]  # (B, T, K, H, head)
        summed = torch.zeros_like(q).scatter_add(1, index[..., None].expand_as(mixed), mixed)
        pooled = (summed / total.clamp_min(1e-30)[..., None])[:, :P].flatten(3)  # (B, P, K, D)
        return self.residual * queries + self.out(pooled)


def lay_out_by_column(module):
    """Store the module's matrices by column: on a CPU, a product with one vector then reads memory in order.

    Same values, same names; a step of one byte runs about 1.4 times faster where weights exceed the processor's cache.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.data = part.weight.data.t().contiguous().t()
    return module
