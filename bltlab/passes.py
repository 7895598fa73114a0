"""The model's parts run over the caches of a batch: one pass each, counted where it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .cache import Attend, Cache, JoinedSpan, Packing, Span
from .clock import timed
from .costs import NFE
from .masks import additive, causal, denoising
from .model import BLT
from .patching import entropy, opens_by_rule
from .transfer import send, send_padded

Mask = tuple[int, Tensor | None]  # the first slot that is read, and who may read what from it


@dataclass
class Part:
    """Some positions of one decoder pass.

    inputs (B, T, D); reads: for each row the latent of each position, or one for all of them.
    """

    inputs: Tensor
    span: Span
    reads: list[list[int]]


class CachedModel:
    """A model and what it keeps of a batch of texts: keys and values by part, states, latents.

    Counts what it does: `nfe`, bytes of weights and of caches that were read, seconds by part.
    """

    def __init__(self, model: BLT, batch_size: int):
        self.model = model
        self.device = model.device
        self.from_embedding = model.decoder.from_embedding  # clean bytes enter it so, not as states
        self._embedding = getattr(model.decoder, "embedding", None)
        self.batch_size = batch_size
        config = model.config
        decoder = config.decoder
        self.kv = {
            "patcher": self._of_stack(config.patcher, model.patcher.output.weight.dtype),
            "encoder": self._of_stack(config.encoder, model.dtype),
            "global_": self._of_stack(config.global_, model.dtype),
            "decoder": self._of_stack(decoder, model.dtype),
        }
        head = decoder.dim // decoder.n_heads
        keys = (decoder.n_layers, config.keys_per_patch, 2, decoder.n_heads, head)
        self.keys = self._of_vectors(*keys)
        self.states = self._of_vectors(config.encoder.dim)
        self.latents = self._of_vectors(config.global_.dim)
        reach = model.encoder.hashes.reach - 1  # zeros before BOS
        self.ids = Cache(1, (), (), batch_size, torch.long, model.device, before=reach)
        self._weights = model.weight_bytes()
        self._done = dict.fromkeys(self.kv, 0)
        self.weight_bytes = 0
        self.cache_bytes = 0
        self.seconds_by_part = dict.fromkeys(self.kv, 0.0)

    def _of_stack(self, stack: Any, dtype: torch.dtype) -> Cache:
        shape = (2, stack.n_heads), (stack.dim // stack.n_heads,)
        return Cache(stack.n_layers, *shape, self.batch_size, dtype, self.model.device)

    def _of_vectors(self, *inner: int) -> Cache:
        return Cache(1, (), inner, self.batch_size, self.model.dtype, self.model.device)

    @property
    def nfe(self) -> NFE:
        """Passes so far, by part."""
        return NFE(**self._done)

    @property
    def caches(self) -> list[Cache]:
        """All of them."""
        return [*self.kv.values(), self.keys, self.states, self.latents, self.ids]

    def select(self, rows: list[int]) -> None:
        """Keep these rows, in this order."""
        for cache in self.caches:
            cache.select(rows)
        self.batch_size = len(rows)

    def span(
        self, first: Sequence[int], counts: Sequence[int], only: Sequence[int] | None = None
    ) -> Span:
        """The `Span` of these positions, on the model's device."""
        return Span(first, counts, self.device, only)

    def padded(self, rows: list[list[int]], width: int) -> Tensor:
        """Lists as a tensor (B, width), with 0 where nothing is read."""
        return send_padded(rows, self.device, width)

    # -- attention over the caches ---------------------------------------------------------------

    def _lowest(self, span: Span | JoinedSpan, window: int | None) -> int:
        """The first slot that any position of a span may read."""
        return 0 if window is None else max(0, min(span.first) - window + 1)

    def _slots(self, span: Span | JoinedSpan, window: int | None) -> tuple[int, Tensor]:
        """The slots that any position of a span may read:

        the first of them, and all as a tensor.
        """
        low = self._lowest(span, window)
        return low, torch.arange(low, span.end, device=span.positions.device)

    def _causal_mask(self, span: Span, window: int | None) -> Mask:
        if span.uniform and span.width == 1:  # it may read all of them
            return self._lowest(span, window), None
        low, slots = self._slots(span, window)
        return low, causal(span.positions[..., None], slots, window)

    def _attend(self, part: str, span: Span | JoinedSpan, low_mask: Mask) -> Attend:
        """An `attend` that writes keys and values to a part's cache, and reads its slots from `low`
        on.

        The mask is (B, T, slots), or None where all may be read.
        """
        cache = self.kv[part]
        low, mask = low_mask
        cache.reserve(span.end)
        slots_read = (span.end - low) * len(span.first)
        self.cache_bytes += cache.slot_bytes * slots_read
        scores = None
        if mask is not None:
            scores = additive(mask[:, None], cache.layers[0].dtype)

        def attend(layer: int, q: Tensor, kv: Tensor) -> Tensor:
            cache.write(layer, span, kv)
            kept = cache.read(layer, low, span.end, span.only)
            k, v = kept.unbind(1)  # (B, H, slots, head)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=scores)

        return attend

    def _count(self, part: str, *weights: str) -> None:
        """One more pass of a part, that read these weights."""
        self._done[part] += 1
        for name in weights:
            self.weight_bytes += self._weights[name]

    # -- taking bytes in: entropy model, encoder, global transformer -----------------------------

    @timed("patcher")
    def find_patches(self, ids: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        """(B, T) both: entropy in nats after each of ids, and whether that alone opens a patch."""
        config = self.model.config.patcher
        attend = self._attend("patcher", span, self._causal_mask(span, config.window))
        nats = entropy(self.model.patcher(ids, span.positions, attend))
        self._count("patcher", "patcher")
        return nats, opens_by_rule(config, ids, nats)

    @timed("encoder")
    def encode(self, ids: Tensor, span: Span) -> Tensor:
        """States (B, T, D) of bytes, kept for pooling and for the decoder."""
        self.ids.reserve(span.end)
        self.ids.write(0, span, ids)
        grams = self.ids.windows(span)  # (B, T, reach)
        mask = self._causal_mask(span, self.model.config.encoder.window)
        attend = self._attend("encoder", span, mask)
        states = self.model.encoder(ids, grams, span.positions, attend)
        self._count("encoder", "encoder")
        self.states.reserve(span.end)
        self.states.write(0, span, states)
        return states

    @timed("global_")
    def close_patches(self, rows: list[int], first: list[int], edges: list[list[int]]) -> None:
        """Latents of some patches, in one global pass, and what the decoder's layers read of them.

        rows: numbers of the rows that have any; first: the number of each row's first such patch;
        edges: where its patches begin, and where the last one ends.
        """
        only = rows if len(rows) < self.batch_size else None  # the other rows cost nothing
        counts = [len(ends) - 1 for ends in edges]
        patches = self.span(first, counts, only)
        pooled = self._pool(patches, edges, only)
        mask = self._causal_mask(patches, self.model.config.global_.window)
        attend = self._attend("global_", patches, mask)
        packing = Packing(patches)
        latents = self.model.global_(
            packing.pack(pooled), packing.pack(patches.positions), packing.around(attend)
        )
        self._count("global_", "global_", "pool", "keys")
        keys = torch.stack(self.model.decoder.keys(latents), 2)  # (B, P, layers, K, 2, H, head)
        for cache, values in ((self.latents, latents), (self.keys, keys)):
            cache.reserve(patches.end)
            cache.write(0, patches, packing.pad(values))

    def _pool(self, patches: Span, edges: list[list[int]], only: list[int] | None) -> Tensor:
        """The pooled vectors (B, P, K * D) of these patches."""
        begins = [ends[0] for ends in edges]
        lengths = [ends[-1] - ends[0] for ends in edges]
        spread = self.span(begins, lengths, only)
        numbers = []
        for ends in edges:
            bins = patch_numbers(ends)  # padding goes to a bin for bytes of no patch
            padding = spread.width - len(bins)
            numbers.append(bins + [patches.width] * padding)
        patch = send(numbers, self.model.device)  # (B, T)
        return self.model.encoder.pool(self.states.at(0, spread), patch, patches.width)

    # -- the decoder -----------------------------------------------------------------------------

    def inputs(self, ids: Tensor, span: Span) -> Tensor:
        """What new clean bytes (B, T) enter the decoder with: (B, T, D)."""
        return self.embedded(ids) if self.from_embedding else self.encode(ids, span)

    def embedded(self, ids: Tensor) -> Tensor:
        """What blocks enter the decoder with, and bytes where it reads no states: (B, T, D)."""
        return self._embedding(ids)

    def decode(self, part: Part) -> Tensor:
        """One decoder pass over clean bytes -> logits (B, T, V)."""
        mask = self._causal_mask(part.span, self.model.config.decoder.window)
        return self._run_decoder(part.inputs, part.span, part.reads, mask)

    def decode_block(self, parts: list[Part], block_size: int) -> Tensor:
        """One decoder pass over some parts, a block last -> logits (B, T, V)."""
        window = self.model.config.decoder.window
        begin = parts[-1].span.positions[:, :1, None]  # (B, 1, 1)
        inputs = torch.cat([part.inputs for part in parts], 1)
        span: Span | JoinedSpan = parts[0].span
        if len(parts) > 1:
            span = JoinedSpan([part.span for part in parts])
        low, slots = self._slots(span, window)
        mask = denoising(span.positions[..., None], slots, begin, block_size, window)
        return self._run_decoder(inputs, span, joined_reads(parts), (low, mask))

    @timed("decoder")
    def _run_decoder(
        self, x: Tensor, span: Span | JoinedSpan, reads: list[list[int]], low_mask: Mask
    ) -> Tensor:
        """Logits (B, T, V) of inputs (B, T, D); reads: as in `Part`."""
        keys = self.keys.layers[0]
        if self.batch_size == 1 and len(set(reads[0])) == 1:
            keys = keys.narrow(1, reads[0][0], 1)  # (1, 1, layers, K, 2, H, head)
        else:
            keys = keys[span.rows, send(reads, keys.device)]  # (B, T or 1, ...)
        attend = self._attend("decoder", span, low_mask)
        logits = self.model.decoder(
            x,
            span.positions,
            lambda layer: keys[:, :, layer],
            attend,
        )
        self._count("decoder", "decoder")
        positions = len(x) * x.shape[1]
        self.cache_bytes += self.keys.slot_bytes * positions
        return logits


def patch_numbers(edges: Sequence[int]) -> list[int]:
    """For each byte the number of its patch, from the starts of patches and the end of the last.

    >>> patch_numbers([3, 5, 8])
    [0, 0, 1, 1, 1]
    """
    numbers: list[int] = []
    for patch, (begin, end) in enumerate(pairwise(edges)):
        numbers.extend([patch] * (end - begin))
    return numbers


def joined_reads(parts: Sequence[Part]) -> list[list[int]]:
    """The latents that the positions of all parts read, row by row; one for all where there is one
    part.
    """
    if len(parts) == 1:
        return parts[0].reads
    joined: list[list[int]] = [[] for _ in parts[0].reads]
    for part in parts:
        for row, reads in zip(joined, part.reads, strict=True):
            shared = len(reads) != part.span.width
            row.extend(reads * part.span.width if shared else reads)
    return joined
