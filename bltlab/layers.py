"""Norm, rotary positions, attention, feed-forward.

Axes in shapes: B batch, T bytes, P patches, K keys per patch, S slots of a block, D local width,
G global width, H heads, V ids.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from math import isnan

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import TransformerConfig
from .masks import (  # noqa: F401  (their first home: the names stay importable here)
    additive,
    block_reads_prefix,
    causal,
    chunk_slices,
    denoising,
    inside_block,
    row_numbers,
    same_document,
    text_mask,
)

# attend(layer, q, kv) -> (B, H, T, head): what each query reads, from q (B, H, T, head) and the new
# keys and values kv (B, 2, H, T, head) of a layer. Whoever hands it in caches and masks.
Attend = Callable[[int, Tensor, Tensor], Tensor]

# -- parts -----------------------------------------------------------------------------------------


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in fp32 at least, in one kernel."""

    def __init__(self, dim: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x (..., dim), normed; in the weight's dtype."""
        x = x.to(self.weight.dtype)  # autocast leaves some in 16 bits
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotary_radians(dim: int, theta: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(dim / 2,): how far a position turns each pair.

    In fp32 at least, in fp64 for an fp64 model.
    """
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    even = torch.arange(0, dim, 2, device=device, dtype=wide)
    return theta ** (-even / dim)


@lru_cache(maxsize=64)
def rotary_frequencies(dim: int, theta: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`rotary_radians` on the imaginary axis."""
    radians = rotary_radians(dim, theta, dtype, device)
    return torch.complex(torch.zeros_like(radians), radians)


def rotary(positions: Tensor, dim: int, theta: float, dtype: torch.dtype) -> Tensor:
    """Unit complex numbers (B, T, 1, 1, dim / 2): how far each pair of a head is turned.

    positions (B, T); dim: width of a head. While torch compiles, which takes real numbers better,
    they are cosines and sines: (B, T, 1, 1, dim / 2, 2).
    """
    places = positions.reshape(*positions.shape, 1, 1, 1)
    if torch.compiler.is_compiling():
        angles = places * rotary_radians(dim, theta, dtype, positions.device)
        return torch.stack([angles.cos(), angles.sin()], -1)
    return (places * rotary_frequencies(dim, theta, dtype, positions.device)).exp()


def apply_rotary(x: Tensor, rotation: Tensor) -> None:
    """Turn x (B, T, n, H, head) in place by what `rotary` gives: pairs are (even, odd) neighbours.

    >>> x = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
    >>> apply_rotary(x, torch.tensor([1j]).view(1, 1, 1, 1, 1))  # a quarter turn
    >>> x.flatten().tolist()
    [0.0, 1.0]
    """
    if not rotation.is_complex():
        (cos, sin), (even, odd) = rotation.unbind(-1), x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = even * cos - odd * sin, even * sin + odd * cos
        x.copy_(torch.stack(turned, -1).flatten(-2))
    elif x.dtype in (torch.float32, torch.float64):
        torch.view_as_complex(x.unflatten(-1, (-1, 2))).mul_(rotation)
    else:
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        x.copy_(torch.view_as_real(pairs * rotation).flatten(-2))


def check_numbers(x: Tensor, what: str) -> Tensor:
    """x itself; where something in it is no number, ValueError, which calls it `what`."""
    if isnan(x.detach().sum()):  # one is enough
        raise not_numbers(what)
    return x


def not_numbers(what: str) -> ValueError:
    """The error where something that was computed is no number."""
    return ValueError(f"{what} of this model are not numbers: its weights are damaged")


class SelfAttention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.n_heads = config.n_heads
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out = nn.Linear(config.dim, config.dim, bias=False)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        attend: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """(B, T, D) from x (B, T, D); `attend` as in `Attend`, for this layer."""
        qkv = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))  # (B, T, 3, H, head)
        apply_rotary(qkv[:, :, :2], rotation)
        qkv = qkv.permute(0, 2, 3, 1, 4)  # (B, 3, H, T, head)
        read = attend(qkv[:, 0], qkv[:, 1:])  # (B, H, T, head)
        return self.out(read.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.gate_up = nn.Linear(dim, 2 * hidden_dim, bias=False)
        self.down = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) from x (..., dim)."""
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Layer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = SelfAttention(config)
        self.feed_forward_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = FeedForward(config.dim, config.hidden_dim)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        attend: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """(B, T, D) from x (B, T, D); arguments as `SelfAttention` takes them."""
        x = x + self.attention(self.attention_norm(x), rotation, attend)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Stack(nn.Module):
    """Layers one after another.

    `attend` is handed in by the caller: `over_text(...)` for a whole text, a decoding state's
    caches for a step. So there is one forward for training, prefill, step and verification, and no
    cache in a module.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        attend: Attend,
        before: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """(B, T, dim) from x (B, T, dim) at positions (B, T).

        before(layer, x) -> x, where given, runs ahead of each layer: the decoder's cross-attention.
        """
        head = self.config.dim // self.config.n_heads
        rotation = rotary(positions, head, self.config.rope_theta, x.dtype)
        for n, layer in enumerate(self.layers):
            if before is not None:
                x = before(n, x)
            x = layer(x, rotation, partial(attend, n))
        return x


# -- attention over whole texts --------------------------------------------------------------------


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """(..., T, head): what q (..., T, head) reads of k, v (..., N, head) under mask (..., T, N).

    By the fused kernel, but not for training on a CPU, where its backward is several times slower
    than plain products.
    """
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return scores(q, k, mask).softmax(-1).to(v.dtype) @ v


def scores(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """(..., T, N): q (..., T, head) times k (..., N, head), -inf where mask (..., T, N) is not."""
    scaled = q * q.shape[-1] ** -0.5
    return (scaled @ k.mT).add_(additive(mask, q.dtype))


def chunk_keys(x: Tensor, size: int) -> list[Tensor]:
    """x (..., T, head) cut into the keys of `chunk_slices`: each chunk with the one before it.

    >>> [keys.flatten().tolist() for keys in chunk_keys(torch.arange(5)[:, None], 2)]
    [[0, 1], [0, 1, 2, 3], [2, 3, 4]]
    """
    chunks = x.split(size, -2)
    pairs = zip(chunks[:-1], chunks[1:], strict=True)
    return [chunks[0], *(torch.cat(pair, -2) for pair in pairs)]


def over_text(document: Tensor, window: int | None = None) -> Attend:
    """An `Attend` over whole texts under `text_mask`, in chunks of a window: O(T * window).

    document (B, T) numbers the documents packed in each row.
    """
    return _over_piece(document, window, document[:, :0], None)


def over_pieces(
    document: Tensor, window: int | None = None, size: int = 4096
) -> Iterator[tuple[slice, Attend]]:
    """Yield (positions, an `Attend` over them): a whole text in pieces, as `over_text` reads it.

    So a stack needs memory for one piece only. Each layer leaves the next piece its last window of
    keys and values: every layer reads the pieces one after another, once each. A piece has whole
    windows, at least `size` positions and less than twice as many; without a window, one is all.

    >>> document = torch.ones(1, 11)
    >>> [positions for positions, _ in over_pieces(document, window=2, size=4)]
    [slice(0, 4, None), slice(4, 11, None)]
    """
    length = document.shape[1]
    size = -(-size // window) * window if window else length
    kept: dict[int, Tensor] = {}
    before = document[:, :0]
    start = 0
    while start < length:
        end = start + size
        if end + size > length:
            end = length
        piece = document[:, start:end]
        yield slice(start, end), _over_piece(piece, window, before, kept)
        if window:
            before = piece[:, -window:]
        start = end


def _over_piece(
    document: Tensor, window: int | None, before: Tensor, kept: dict[int, Tensor] | None
) -> Attend:
    """An `Attend` over a piece of text, document (B, T), and the window in front of it.

    before (B, window), or (B, 0) at the start of a text, numbers the documents there. kept: each
    layer's keys and values there, (B, 2, H, window, head), which those at the end of the piece
    replace; None where no piece follows.
    """
    standing, length = before.shape[1], document.shape[1]
    size = min(window or length, length)
    both = torch.cat([before, document], 1)
    chunks = chunk_slices(standing + length, size)[standing // size :]
    masks = [text_mask(both, window, *chunk)[:, None] for chunk in chunks]

    def attend(layer: int, q: Tensor, kv: Tensor) -> Tensor:
        if standing:
            kv = torch.cat([kept[layer], kv], -2)
        if kept is not None:
            kept[layer] = kv[..., -size:, :].clone()
        all_keys = chunk_keys(kv, size)[standing // size :]
        read = []
        for queries, keys, mask in zip(q.split(size, -2), all_keys, masks, strict=True):
            k, v = keys.unbind(1)
            read.append(attention(queries, k, v, mask))
        return torch.cat(read, -2)

    return attend


# -- attention to patches --------------------------------------------------------------------------


class CrossAttention(nn.Module):
    """Attention between bytes and the K vectors of one patch.

    No positions, and O(bytes * K): a bytes-by-patches mask is never built. The result is
    `r x + out(attention)`, with r = 2 for released weights: their block adds its input, and so does
    the caller of their block.
    """

    def __init__(self, dim: int, n_heads: int, eps: float, doubled_residual: bool):
        super().__init__()
        self.n_heads = n_heads
        self.residual = 2.0 if doubled_residual else 1.0
        self.query_norm = RMSNorm(dim, eps)
        self.key_norm = RMSNorm(dim, eps)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def project_keys(self, x: Tensor) -> Tensor:
        """Key and value of x (..., D), side by side (..., 2, H, head): what a cache keeps."""
        both = self.key_value(self.key_norm(x))
        return both.unflatten(-1, (2, self.n_heads, -1))

    def _queries(self, x: Tensor) -> Tensor:
        """Queries (..., H, head) of x (..., D)."""
        q = self.query(self.query_norm(x))
        return q.unflatten(-1, (self.n_heads, -1))

    def read(self, x: Tensor, keys: Tensor) -> Tensor:
        """Each byte reads the K keys of its one patch: (B, T, D).

        x (B, T, D); keys (B, T or 1, K, 2, H, head).
        """
        by_products = torch.compiler.is_compiling()  # then they become part of a larger loop
        by_products = by_products or keys.shape[0] * keys.shape[1] > FEW
        read = read_by_products if by_products else read_in_one_kernel
        mixed = read(self._queries(x), keys)
        return torch.add(self.out(mixed.flatten(2)), x, alpha=self.residual)

    def pool(self, queries: Tensor, keys: Tensor, patch: Tensor) -> Tensor:
        """Each patch's K queries read the bytes of that patch: (B, P, K, D).

        queries (B, P, K, D), keys (B, T, 2, H, head), patch (B, T) in 0..P, never falling, where P
        is a bin for bytes of no patch.
        """
        few = torch.compiler.is_exporting() or patch.numel() <= FEW  # steps are of few bytes a row
        pool = pool_in_one_kernel if few else pool_by_segments
        pooled = pool(self._queries(queries), keys, patch)
        return torch.add(self.out(pooled.flatten(3)), queries, alpha=self.residual)


# Cross-attention in two ways. One kernel asks least of a GPU, and of a CPU while bytes are few; for
# whole texts plain products take less time. Neither adds up in an order that changes.
FEW = 64  # bytes


def read_in_one_kernel(q: Tensor, keys: Tensor) -> Tensor:
    """(B, T, H, head): what q (B, T, H, head) reads of keys (B, T or 1, K, 2, H, head)."""
    k, v = keys.flatten(0, 1).permute(2, 0, 3, 1, 4)  # (N, H, K, head), N = B * T or B
    by_latent = q.reshape(len(k), -1, *q.shape[2:]).transpose(1, 2)  # (N, H, 1 or T, head)
    read = F.scaled_dot_product_attention(by_latent, k, v)
    return read.transpose(1, 2).reshape(q.shape)


def read_by_products(q: Tensor, keys: Tensor) -> Tensor:
    """The same as `read_in_one_kernel`."""
    k, v = keys.unbind(3)  # (B, T, K, H, head)
    scaled = q[:, :, None] * q.shape[-1] ** -0.5
    weights = (scaled * k).sum(-1).softmax(2)  # (B, T, K, H)
    return (weights[..., None] * v).sum(2)


def pool_in_one_kernel(q: Tensor, keys: Tensor, patch: Tensor) -> Tensor:
    """(B, P, K, H, head): what queries q (B, P, K, H, head) read of the bytes of their patches.

    keys (B, T, 2, H, head), patch (B, T): as `CrossAttention.pool` takes them.
    """
    k, v = keys.permute(2, 0, 3, 1, 4)  # (B, H, T, head)
    patches, vectors = q.shape[1:3]
    numbers = torch.arange(patches * vectors, device=q.device) // vectors  # (P * K,)
    elsewhere = patch[:, None] != numbers[:, None]  # (B, P * K, T)
    lowest = torch.finfo(q.dtype).min / 2  # finite: an empty patch reads anything, no NaN
    scores = torch.zeros_like(elsewhere, dtype=q.dtype).masked_fill_(elsewhere, lowest)
    by_head = q.flatten(1, 2).transpose(1, 2)  # (B, H, P * K, head)
    read = F.scaled_dot_product_attention(by_head, k, v, attn_mask=scores[:, None])
    return read.transpose(1, 2).reshape(q.shape)


def pool_by_segments(q: Tensor, keys: Tensor, patch: Tensor) -> Tensor:
    """The same as `pool_in_one_kernel`, in O(T): a softmax over segments; empty patches read 0."""
    k, v = keys.unbind(2)  # (B, T, H, head)
    q = F.pad(q * q.shape[-1] ** -0.5, (0, 0, 0, 0, 0, 0, 0, 1))  # (B, P + 1, K, H, head)
    row = row_numbers(patch)
    products = (q[row, patch] * k[:, :, None]).sum(-1)  # (B, T, K, H)

    # The softmax: the largest of each patch is taken off, as in any other.
    index = patch[:, :, None, None].expand_as(products)
    lowest = q.new_full(q.shape[:-1], -torch.inf, dtype=products.dtype)  # (B, P + 1, K, H)
    largest = lowest.scatter_reduce(1, index, products.detach(), "amax")
    weights = (products - largest[row, patch]).exp()

    bins = torch.zeros(q.shape[:2], dtype=torch.long, device=q.device)
    lengths = bins.scatter_add(1, patch, torch.ones_like(patch))  # (B, P + 1)
    total = segment_sums(weights, lengths).clamp_min(1e-30)
    summed = segment_sums(weights[..., None] * v[:, :, None], lengths)
    return (summed / total[..., None])[:, :-1]


def segment_sums(x: Tensor, lengths: Tensor) -> Tensor:
    """Sums (B, S, ...) of x (B, T, ...) over S segments side by side, lengths (B, S).

    Each is added up from left to right; `scatter_add` on CUDA adds in any order.

    >>> segment_sums(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2, 0, 1]]))
    tensor([[3., 0., 3.]])
    """
    return torch.segment_reduce(x, "sum", lengths=lengths, axis=1, unsafe=True)


# -- layout ----------------------------------------------------------------------------------------


def lay_out_by_column(module: nn.Module) -> nn.Module:
    """The module, its matrices stored by column: same values, same names.

    On a CPU, a product with one vector then reads memory in order: a step of one byte runs about
    1.4 times faster where weights exceed the processor's cache.
    """
    for part in _matrices(module):
        part.weight.data = part.weight.data.t().contiguous().t()
    return module


def lay_out_by_row(module: nn.Module) -> nn.Module:
    """The module, its matrices stored by row, as training and compiled steps read them."""
    with torch.inference_mode(False):
        for part in _matrices(module):
            part.weight.data = part.weight.data.contiguous()
    return module


def _matrices(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]
