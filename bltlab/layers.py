"""Norm, rotary positions, attention, feed-forward, and the mask functions.

Axes in shape comments: B batch, T bytes, P patches, K keys per patch, S slots of a block, D local width, G global
width, H heads, V ids.
"""

from functools import lru_cache
from math import prod

import torch
import torch.nn.functional as F
from torch import nn


# -- masks: boolean algebra on index tensors that broadcast; True means "q may read kv" --------------------------------

def causal(q, kv, window=None):
    """A position reads the past and itself, at most `window` keys.

    >>> import torch; i = torch.arange(4)
    >>> causal(i[:, None], i, window=2).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    mask = kv <= q
    return mask if window is None else mask & (kv > q - window)


def same_document(q_document, kv_document):
    """Documents packed in one sequence do not read each other."""
    return q_document == kv_document


def inside_block(q, kv, start, size):
    """Every slot of a block reads every slot of it, both ways; `start` and `size` in bytes."""
    return (q >= start) & (q < start + size) & (kv >= start) & (kv < start + size)


def block_reads_prefix(q, kv, start, window=None):
    """A block's slot reads the clean bytes before the block (Fast BLT 3.1; never the clean bytes under it)."""
    return causal(q, kv, window) & (kv < start)


def denoising(q, kv, start, size, window=None):
    """While a block is filled in: causal, and inside the block both ways."""
    return causal(q, kv, window) | inside_block(q, kv, start, size)


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
    return (positions.reshape(*positions.shape, 1, 1, 1) * rotary_frequencies(dim, theta, dtype, positions.device)).exp()


def turn(x, turns):
    """Turn x (B, T, n, H, head) in place by `turns` (B, T, 1, 1, head/2): pairs are (even, odd) neighbours."""
    if x.dtype in (torch.float32, torch.float64):
        torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(turns)
    else:
        x.copy_(torch.view_as_real(torch.view_as_complex(x.float().unflatten(-1, (-1, 2))) * turns).flatten(-2))


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads = config.n_heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, x, turns, attend):
        """x (B, T, D). attend(q, kv) -> (B, H, T, head) from (B, H, T, head) and (B, 2, H, T, head): keeping and masking
        is the caller's."""
        qkv = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))                           # (B, T, 3, H, head)
        turn(qkv[:, :, :2], turns)
        qkv = qkv.permute(0, 2, 3, 1, 4)                                                 # (B, 3, H, T, head)
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
        turns = rotary_turns(positions, self.config.dim // self.config.n_heads, self.config.rope_theta, x.dtype)
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


def additive(mask, dtype):
    """0 where True, -inf where not: the mask as scores take it, made once for all layers."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)


def text_mask(document, window=None, q=slice(None), kv=slice(None)):
    """(B, T, T), or the part for some positions: causal within `window`, cut between documents. document (B, T) numbers
    them."""
    t = torch.arange(document.shape[1], device=document.device)
    return causal(t[q, None], t[kv], window) & same_document(document[:, q, None], document[:, None, kv])


def pieces(length, size):
    """Positions cut into pieces of `size`, each with the keys it may read under a window of `size`: its own and those of
    the piece before. A list of (queries, keys), as slices.

    >>> pieces(5, 2)
    [(slice(0, 2, None), slice(0, 2, None)), (slice(2, 4, None), slice(0, 4, None)), (slice(4, 5, None), slice(2, 5, None))]
    """
    return [(slice(a, min(a + size, length)), slice(max(0, a - size), min(a + size, length))) for a in range(0, length, size)]


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
        q = self.query(self.query_norm(x)).unflatten(-1, (self.n_heads, -1))             # (..., H, head)
        return q * q.shape[-1] ** -0.5

    def read(self, x, keys):
        """Each byte reads the K keys of its one patch. x (B, T, D), keys (B, T or 1, K, 2, H, head) -> (B, T, D)."""
        k, v = keys.unbind(3)                                                            # (B, T, K, H, head)
        weights = (self._query(x)[:, :, None] * k).sum(-1).softmax(2)                    # (B, T, K, H)
        return torch.add(self.out((weights[..., None] * v).sum(2).flatten(2)), x, alpha=self.residual)

    def pool(self, queries, keys, patch):
        """Each patch's K queries read the bytes of that patch: a softmax over segments.

        queries (B, P, K, D), keys (B, T, 2, H, head), patch (B, T) in 0..P, where P is a bin for bytes of no patch
        -> (B, P, K, D).
        """
        B, P, K, D = queries.shape
        k, v = keys.unbind(2)                                                            # (B, T, H, head)
        q = F.pad(self._query(queries), (0, 0, 0, 0, 0, 0, 0, 1))                        # (B, P+1, K, H, head)
        row = torch.arange(B, device=patch.device)[:, None]
        scores = (q[row, patch] * k[:, :, None]).sum(-1)                                 # (B, T, K, H)
        index = patch[:, :, None, None].expand_as(scores)
        top = torch.full_like(q[..., 0], -torch.inf).scatter_reduce(1, index, scores.detach(), "amax")
        weights = (scores - top[row, patch]).exp()
        total = torch.zeros_like(top).scatter_add(1, index, weights)
        mixed = weights[..., None] * v[:, :, None]                                       # (B, T, K, H, head)
        summed = torch.zeros_like(q).scatter_add(1, index[..., None].expand_as(mixed), mixed)
        pooled = (summed / total.clamp_min(1e-30)[..., None])[:, :P].flatten(3)          # (B, P, K, D)
        return self.residual * queries + self.out(pooled)


# -- what a decoding state keeps for attention -------------------------------------------------------------------------

class Cache:
    """Per-layer tensors with one slot a position along axis 1 + len(outer); the last slot takes what nobody will read.

    Each is (B, *outer, capacity + 1, *inner): keys and values are (B, 2, H, capacity + 1, head), so that a head's keys
    lie side by side.
    """

    def __init__(self, n_layers, outer, inner, batch_size, dtype, device, before=0, capacity=64):
        self.axis, self.before = 1 + len(outer), before                                  # `before`: zeros ahead of slot 0
        self.layers = [torch.zeros(batch_size, *outer, before + capacity + 1, *inner, dtype=dtype, device=device)
                       for _ in range(n_layers)]
        self.slot_bytes = n_layers * prod(outer) * prod(inner) * self.layers[0].itemsize         # one position of one row

    @property
    def capacity(self):
        return self.layers[0].shape[self.axis] - 1 - self.before

    def reserve(self, n):
        """Room for n slots, by doubling. Raises MemoryError, and keeps what there is, where the machine has none."""
        if n > self.capacity:
            capacity = max(n, 2 * self.capacity)
            grow = [0, 0] * (self.layers[0].ndim - 1 - self.axis) + [0, capacity - self.capacity]
            try:
                self.layers = [F.pad(x, grow) for x in self.layers]
            except RuntimeError as error:                            # torch.OutOfMemoryError is one
                size = len(self.layers[0]) * self.slot_bytes * capacity / 1e9
                raise MemoryError(f"no memory for a cache of {capacity} positions in {len(self.layers[0])} rows "
                                  f"({size:.1f} GB): shorten the text or the batch") from error

    def write(self, layer, span, values):
        """values (B, *outer, T, *inner) to the slots of `span`."""
        buffer = self.layers[layer]
        if span.uniform:
            buffer.narrow(self.axis, self.before + span.first[0], span.width).copy_(values)
        else:
            slots = span.positions if span.real is None else torch.where(span.real, span.positions, self.capacity)
            buffer.movedim(self.axis, 1)[span.rows, self.before + slots] = values.movedim(self.axis, 1)

    def read(self, layer, low, end, rows=None):
        """Slots low .. end - 1 of all rows, or of some: (B, *outer, end - low, *inner)."""
        slots = self.layers[layer].narrow(self.axis, self.before + low, end - low)
        return slots if rows is None else slots[rows]

    def at(self, layer, span):
        """The slots of `span` alone: (B, T, *outer, *inner)."""
        if span.uniform:
            return self.read(layer, span.first[0], span.end).movedim(self.axis, 1)
        return self.layers[layer].movedim(self.axis, 1)[span.rows, self.before + span.positions]

    def windows(self, span):
        """For each position of `span` the slots that end there, `before` + 1 of them: (B, T, before + 1)."""
        if span.uniform:
            return self.read(0, span.first[0] - self.before, span.end).unfold(1, self.before + 1, 1)
        reach = torch.arange(self.before + 1, device=span.positions.device)
        return self.layers[0][span.rows[..., None], span.positions[..., None] + reach]

    @torch.inference_mode()
    def select(self, rows):
        """Keep these rows, in this order; rows that only close ranks move up in place."""
        if rows != sorted(rows):
            self.layers = [x[rows] for x in self.layers]
            return
        for x in self.layers:
            for to, row in enumerate(rows):
                if to != row:
                    x[to] = x[row]
        self.layers = [x[:len(rows)] for x in self.layers]


class Span:
    """Positions first[b] .. first[b] + counts[b] - 1 of each row as a (B, T) tensor; beyond a row's count `real` is False.

    only: the rows of the batch that it is about, None for all. `rows` (B, 1) are their numbers, to index a cache by.
    """

    def __init__(self, first, counts, device, only=None):
        self.first, self.counts, self.width = first, counts, max(counts)
        self.only = None if only is None else torch.tensor(only, device=device)
        same = len(set(first)) == 1 and len(set(counts)) == 1
        self.uniform, self.end = same and only is None, max(f + c for f, c in zip(first, counts))
        self.rows = torch.arange(len(first), device=device)[:, None] if only is None else self.only[:, None]
        self.real = None
        if same:
            self.positions = torch.arange(first[0], self.end, device=device).expand(len(first), -1)
        else:
            offset = torch.arange(self.width, device=device)
            start, count = (torch.tensor(x, device=device)[:, None] for x in (first, counts))
            self.real = offset < count
            self.positions = (start + torch.minimum(offset, count - 1)).clamp_min(0)


class JoinedSpan:
    """Several spans of all rows in one pass, one after another along T."""

    def __init__(self, spans):
        self.first = [min(f) for f in zip(*(s.first for s in spans))]
        self.end, self.uniform, self.only, self.rows = max(s.end for s in spans), False, None, spans[0].rows
        self.positions = torch.cat([s.positions for s in spans], 1)
        everywhere = lambda s: torch.ones_like(s.positions, dtype=torch.bool) if s.real is None else s.real
        self.real = torch.cat([everywhere(s) for s in spans], 1)
        self.width = self.positions.shape[1]


class Packing:
    """Lays the real positions of a ragged span side by side, (1, N, ...), so that products skip the padding of (B, T, ...).

    Where there is no padding, everything is handed through as it is.
    """

    def __init__(self, span):
        self._flat = None
        if sum(span.counts) < span.positions.numel():
            flat = [b * span.width + t for b, count in enumerate(span.counts) for t in range(count)]
            self._flat = torch.tensor(flat, device=span.positions.device)
            self._back = torch.zeros_like(span.positions).flatten()
            self._back[self._flat] = torch.arange(len(flat), device=span.positions.device)
            self._back = self._back.view_as(span.positions)                              # padding shows the first position

    def pack(self, x):
        """(B, T, ...) -> (1, N, ...)."""
        return x if self._flat is None else x.flatten(0, 1)[self._flat][None]

    def pad(self, x):
        """(1, N, ...) -> (B, T, ...)."""
        return x if self._flat is None else x[0, self._back]

    def around(self, attend):
        """`attend`, which takes (B, T), for packed queries, keys and values."""
        if self._flat is None:
            return attend
        padded = lambda x: self.pad(x.movedim(-2, 1)).movedim(1, -2)                     # T is the last axis but one
        return lambda layer, q, kv: self.pack(attend(layer, padded(q), padded(kv)).movedim(-2, 1)).movedim(1, -2)


def lay_out_by_column(module):
    """Store the module's matrices by column: on a CPU, a product with one vector then reads memory in order.

    Same values, same names; a step of one byte runs about 1.4 times faster where weights exceed the processor's cache.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.weight.data = part.weight.data.t().contiguous().t()
    return module
