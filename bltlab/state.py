"""What a decoder remembers: caches, the open patch, counters; and the few verbs that change them.

position     0    1  2  3  4  5  6 | 7  8  9        Everything from `length` (here 7) on is scratch: drafts and blocks
id          BOS   T  h  e  ␣  b  y | t  _  _        are written there and overwritten by the next extend, so forgetting
opens        1    1  0  0  0  1  0 | 0              is only moving an index. `opens` is known one position ahead.
latents     o_0  o_1 (closed)  o_2 (open)           The slot behind the last closed patch holds the open one's latent.
"""

import torch
import torch.nn.functional as F

from . import vocab
from .cache import Cache, JoinedSpan, Packing, Span
from .clock import Clock, timed
from .costs import NFE
from .masks import additive, causal, denoising
from .patching import GrowingPatches, entropy, surprising

LATENTS = ("closed", "open")
RECORDS = ("all", "totals", "")  # every event with candidates; without; only what was committed


class DecodingState:
    """Caches of one batch of texts under one model, with the verbs extend, rollback, draft, denoise, peek_latent.

    max_length: bytes a row may hold, BOS and one proposal included. Rows have their own lengths. record: how much the
    moves tell about what they do with this state, one of `RECORDS`.
    """

    def __init__(self, model, batch_size=1, max_length=None, record="all"):
        c, self.model, self.record = model.config, model, record
        self.max_length = c.max_length if max_length is None else max_length
        if batch_size < 1 or self.max_length < 1:
            raise ValueError(
                f"batch_size and max_length must be at least 1, got {batch_size} and {self.max_length}"
            )
        self.rows = [GrowingPatches(c.patcher.max_patch_length) for _ in range(batch_size)]
        cache = lambda n, inner, outer=(), dtype=model.dtype, before=0: Cache(
            n, outer, inner, batch_size, dtype, model.device, before
        )
        kv = lambda s, **kw: cache(s.n_layers, (s.dim // s.n_heads,), (2, s.n_heads), **kw)
        self._kv = {
            "patcher": kv(c.patcher, dtype=model.patcher.output.weight.dtype),
            "encoder": kv(c.encoder),
            "global_": kv(c.global_),
            "decoder": kv(c.decoder),
        }
        d = c.decoder
        self._keys = cache(1, (d.n_layers, c.keys_per_patch, 2, d.n_heads, d.dim // d.n_heads))
        self._states, self._latents = cache(1, (c.encoder.dim,)), cache(1, (c.global_.dim,))
        self._ids = cache(
            1, (), dtype=torch.long, before=model.encoder.hashes.reach - 1
        )  # zeros before BOS
        self._n_scratch = 0  # bytes of drafts past the frontier
        self._after = None  # (ids, latent) of the clean bytes that the last denoise cached
        self._open_ready = False
        self._logits, self._logits_first = None, None
        self._weights = model.weight_bytes()
        self.nfe, self.weight_bytes, self.cache_bytes, self.clock = NFE(), 0, 0, Clock()
        self.seconds_by_part = dict.fromkeys(self._kv, 0.0)

    # -- what can be asked -------------------------------------------------------------------------------------------

    @property
    def batch_size(self):
        return len(self.rows)

    @property
    def lengths(self):
        """Bytes of each row, BOS included, as a list."""
        return [row.length for row in self.rows]

    @property
    def length(self):
        """Bytes of the row, BOS included: an int for one row, a list for several."""
        return self.lengths[0] if self.batch_size == 1 else self.lengths

    @property
    def logits(self):
        """(B, V) at the frontier. Raises RuntimeError where the last extend left them pending or rollback went past it."""
        if self._logits is None or any(row.decoded < row.length for row in self.rows):
            raise RuntimeError("no logits at the frontier: extend first, with logits=True")
        at = [length - 1 - first for length, first in zip(self.lengths, self._logits_first)]
        if min(at) < 0:
            raise RuntimeError("no logits at the frontier: rollback went before the last extend")
        return (
            self._logits[:, at[0]]
            if len(set(at)) == 1
            else self._logits[torch.arange(self.batch_size), at]
        )

    def stamp(self):
        """The counters now, as an event carries them."""
        return dict(
            nfe=self.nfe,
            weight_bytes=self.weight_bytes,
            cache_bytes=self.cache_bytes,
            seconds=self.clock.read(),
        )

    def snapshot(self):
        """What is cached, scratch left out: one dict of lists and tensors a row. For showing and testing."""
        shown = []
        for b, row in enumerate(self.rows):
            upto = {"global_": row.closed, "decoder": row.decoded}
            kv = {
                name: [x[b, :, :, : upto.get(name, row.length)].clone() for x in cache.layers]
                for name, cache in self._kv.items()
            }
            shown.append(
                dict(
                    ids=list(row.ids),
                    opens=list(row.opens),
                    entropies=list(row.entropies),
                    reads=list(row.reads),
                    states=self._states.layers[0][b, : row.length].clone(),
                    kv=kv,
                    keys=self._keys.layers[0][b, : row.closed].clone(),
                    latents=self._latents.layers[0][b, : row.closed].clone(),
                )
            )
        return shown

    # -- the verbs -----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def extend(self, ids, logits=True, open_latent=False):
        """Append known bytes, any number at once -> logits (B, T, V) at every new position.

        ids: (B, T), rows right-padded with -1 (a flat list for one row). logits=False leaves the decoder's part to the
        next pass. open_latent=True adds the open patch to the same global pass. Raises ValueError past max_length, and
        MemoryError, with nothing appended, where a cache cannot grow.
        """
        rows = self._as_rows(ids)
        counts = [len(r) for r in rows]
        if not any(counts):
            return None
        if (longest := max(n + row.length for n, row in zip(counts, self.rows))) > self.max_length:
            raise ValueError(
                f"max_length is {self.max_length} bytes with BOS, got a text of {longest}"
            )
        self._forget_scratch()
        span = self._span(self.lengths, counts)
        given = torch.is_tensor(ids) and ids.shape == span.positions.shape and span.real is None
        tensor = ids if given else self._pad(rows, span.width)
        try:
            nats, surprise = self._find_patches(tensor, span)
            self._encode(tensor, span)
            closed_before = [row.closed for row in self.rows]
            for b, row in enumerate(self.rows):
                row.append(rows[b], nats[b], surprise[b])
            self._close_patches(closed_before, open_latent)
            offset = [f - row.decoded for f, row in zip(span.first, self.rows)]
            decoded = self._decode_pending() if logits else None  # (B, pending + new, V)
        except MemoryError:
            self.rollback(span.first)
            raise
        if decoded is None or not any(offset):
            return decoded
        index = torch.tensor(offset, device=decoded.device)[:, None] + torch.arange(
            span.width, device=decoded.device
        )
        return decoded[
            torch.arange(self.batch_size)[:, None], index.clamp_max(decoded.shape[1] - 1)
        ]

    def rollback(self, length):
        """Forget everything past a byte position: an int, or one per row."""
        lengths = (
            [int(length)] * self.batch_size if isinstance(length, int) else [int(n) for n in length]
        )
        if wrong := [
            (n, row.length)
            for row, n in zip(self.rows, lengths, strict=True)
            if not 0 <= n <= row.length
        ]:
            raise ValueError(f"rollback must go to a length in 0..{wrong[0][1]}, got {wrong[0][0]}")
        for row, n in zip(self.rows, lengths):
            row.truncate(n)
        self._forget_scratch()

    @torch.inference_mode()
    def draft(self, ids, latent="closed"):
        """One decoder step past the frontier on one byte a row, patch rule ignored -> logits (B, V). Scratch.

        ids: one id a row; an int where there is one row.
        """
        ids = torch.as_tensor(ids, device=self.model.device).reshape(-1, 1)
        if len(ids) != self.batch_size:
            raise ValueError(
                f"draft needs one id for each of the {self.batch_size} texts, got {len(ids)}"
            )
        self._prepare(latent)
        self._after = None
        if any(row.decoded < row.length for row in self.rows):
            self._decode_pending()
        x, span = self._enter_scratch(ids)
        mask = self._causal_mask(span, self.model.config.decoder.window)
        return self._run_decoder(x, span, self._frontier_reads(latent), mask)[:, -1]

    @torch.inference_mode()
    def denoise(self, block_ids, after=(), latent="closed", busy=None):
        """Logits (B, S, V) of a block with MASKs: causal on the prefix, bidirectional inside. Scratch.

        block_ids (B, S). after: clean scratch bytes between frontier and block, (B, A) or one list for all rows; the
        tensor of the call before is taken as unchanged and not run again. busy (B,) bool: only these rows are asked for;
        where nothing else is left to run, the others cost nothing and their logits are 0.
        """
        block = torch.as_tensor(block_ids, device=self.model.device).expand(self.batch_size, -1)
        if self.model.config.block_size is None:
            raise ValueError(
                "denoise needs a model with a diffusion head (config.block_size set), got a plain BLT"
            )
        self._prepare(latent)
        known = (
            torch.is_tensor(after)
            and self._after is not None
            and self._after[0] is after
            and self._after[1] == latent
        )
        self._after, after = (after, latent), self._columns(after)
        pieces, spans, n_after, frontier = [], [], after.shape[1], self._frontier_reads(latent)
        pending = [row.length - row.decoded for row in self.rows]
        if any(pending):
            spans.append(self._span([row.decoded for row in self.rows], pending))
            pieces.append(self._inputs(spans[-1]))
        self._n_scratch = 0
        if n_after and not known:  # else they are cached already
            x, span = self._enter_scratch(after)
            pieces, spans, self._n_scratch = pieces + [x], spans + [span], 0
        some = [] if spans or busy is None or busy.all() else busy.nonzero()[:, 0].tolist()
        rows = some or list(range(self.batch_size))
        spans.append(
            self._span(
                [self.rows[b].length + n_after for b in rows],
                [block.shape[1]] * len(rows),
                some or None,
            )
        )
        pieces.append(self.model.decoder.embedding(block[rows] if some else block))
        joined = spans[0] if len(spans) == 1 else JoinedSpan(spans)
        reads = [frontier[b] for b in rows]
        if any(pending):
            reads = [
                r + f * (joined.width - len(r)) for r, f in zip(self._row_reads(spans[0]), frontier)
            ]
        low, kv = self._keys_of(joined, window := self.model.config.decoder.window)
        mask = denoising(
            joined.positions[..., None],
            kv,
            spans[-1].positions[:, :1, None],
            block.shape[1],
            window,
        )
        logits = self._run_decoder(torch.cat(pieces, 1), joined, reads, (low, mask))
        if any(pending):
            self._keep_logits(logits[:, : spans[0].width], spans[0])
        logits = logits[:, -block.shape[1] :]
        return (
            logits.new_zeros(*block.shape, logits.shape[-1]).index_copy(0, joined.only, logits)
            if some
            else logits
        )

    @torch.inference_mode()
    def peek_latent(self):
        """(B, G): the latent that the open patch would have if it closed here (an empty one: the last closed). Scratch."""
        self._prepare("closed")
        if not self._open_ready:
            self._close_patches([row.closed for row in self.rows], open_latent=True)
        at = [row.closed if row.has_open else row.closed - 1 for row in self.rows]
        return self._latents.layers[0][torch.arange(self.batch_size), at]

    def select(self, rows):
        """Keep these rows, in this order: indices, or one bool a row. Raises ValueError for a row named twice."""
        rows = torch.as_tensor(rows)
        rows = (rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows).tolist()
        if len(set(rows)) < len(rows) or not set(rows) <= set(range(self.batch_size)):
            raise ValueError(f"select takes different rows of 0..{self.batch_size - 1}, got {rows}")
        self.rows = [self.rows[b] for b in rows]
        for cache in (*self._kv.values(), self._keys, self._states, self._latents, self._ids):
            cache.select(rows)
        self._forget_scratch()
        if self._logits is not None:
            self._logits, self._logits_first = (
                self._logits[rows],
                [self._logits_first[b] for b in rows],
            )
        return self

    # -- shapes --------------------------------------------------------------------------------------------------------

    def _as_rows(self, ids):
        """Anything the verbs accept as ids -> a list of B lists without padding. Raises ValueError for ids out of range."""
        rows = ids.tolist() if torch.is_tensor(ids) else list(ids)
        if rows and not isinstance(rows[0], (list, tuple)):
            rows = [rows] * self.batch_size if not torch.is_tensor(ids) or ids.ndim == 1 else rows
        if len(rows) != self.batch_size:
            raise ValueError(
                f"ids must have one row for each of the {self.batch_size} texts, got {len(rows)}"
            )
        rows = [[int(i) for i in row] for row in rows]
        rows = [
            row[: row.index(vocab.PAD_ID)] if set(row[-1:]) == {vocab.PAD_ID} else row
            for row in rows
        ]
        for row, known in zip(rows, self.rows):
            for at, i in enumerate(row, known.length):
                if not 0 <= i < vocab.VOCAB_SIZE or (i == vocab.BOS_ID) != (at == 0):
                    raise ValueError(
                        f"ids must be in 0..{vocab.VOCAB_SIZE - 1}, BOS at the start and only there, got {i}"
                    )
        return rows

    def _columns(self, ids):
        """Scratch ids, (B, A) or one list for all rows -> (B, A)."""
        if not torch.is_tensor(ids):
            rows = [ids] if len(ids) == 0 or isinstance(ids[0], int) else ids
            if len({len(r) for r in rows}) > 1:
                raise ValueError(
                    f"after must hold equally many bytes in each row, got {[len(r) for r in rows]}"
                )
            if not all(0 <= i < vocab.VOCAB_SIZE for r in rows for i in r):
                raise ValueError(f"ids must be in 0..{vocab.VOCAB_SIZE - 1}, got {rows}")
            ids = torch.tensor(rows, dtype=torch.long, device=self.model.device)
        return ids.expand(self.batch_size, -1)

    def _span(self, first, counts, only=None):
        return Span(list(first), list(counts), self.model.device, only)

    def _pad(self, rows, width):
        return torch.tensor([r + [0] * (width - len(r)) for r in rows], device=self.model.device)

    # -- attention over the caches ---------------------------------------------------------------------------------------

    def _keys_of(self, span, window):
        """(low, kv): the slots that any query of `span` may read, as the first and an index tensor."""
        low = 0 if window is None else max(0, min(span.first) - window + 1)
        return low, torch.arange(low, span.end, device=span.positions.device)

    def _causal_mask(self, span, window):
        low, kv = self._keys_of(span, window)
        alone = span.uniform and span.width == 1  # it may read all of them
        return low, None if alone else causal(span.positions[..., None], kv, window)

    def _attend(self, part, span, low_mask):
        """An `attend` that writes keys and values to the cache and reads slots low .. end. mask (B, T, end - low)."""
        cache, (low, mask) = self._kv[part], low_mask
        cache.reserve(span.end)
        self.cache_bytes += cache.slot_bytes * (span.end - low) * len(span.first)
        mask = None if mask is None else additive(mask[:, None], cache.layers[0].dtype)

        def attend(layer, q, kv):
            cache.write(layer, span, kv)
            k, v = cache.read(layer, low, span.end, span.only).unbind(1)  # (B, H, keys, head)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

        return attend

    def _count(self, part, *weights):
        self.nfe += NFE(**{part: 1})
        self.weight_bytes += sum(self._weights[w] for w in weights)

    # -- the parts -----------------------------------------------------------------------------------------------------

    @timed("patcher")
    def _find_patches(self, ids, span):
        """Entropy after each of new ids (B, T), and whether it lets the next byte open a patch, as lists."""
        c = self.model.config.patcher
        logits = self.model.patcher(
            ids, span.positions, self._attend("patcher", span, self._causal_mask(span, c.window))
        )
        self._count("patcher", "patcher")
        nats = entropy(logits)
        return nats.tolist(), surprising(c, ids, nats).tolist()

    @timed("encoder")
    def _encode(self, ids, span):
        """Run new bytes (B, T) through the encoder and keep their states."""
        self._ids.reserve(span.end)
        self._ids.write(0, span, ids)
        grams = self._ids.windows(span)  # (B, T, reach)
        mask = self._causal_mask(span, self.model.config.encoder.window)
        states = self.model.encoder(ids, grams, span.positions, self._attend("encoder", span, mask))
        self._count("encoder", "encoder")
        self._states.reserve(span.end)
        self._states.write(0, span, states)
        return states

    @timed("global_")
    def _close_patches(self, closed_before, open_latent):
        """Pool and pass through the global transformer all patches closed since `closed_before`, and the open one if asked."""
        counts = [
            row.closed - n + (open_latent and row.has_open)
            for row, n in zip(self.rows, closed_before)
        ]
        self._open_ready = open_latent
        closing = [b for b, n in enumerate(counts) if n]
        if not closing:
            return
        only = closing if len(closing) < self.batch_size else None  # the other rows cost nothing
        patches = self._span(
            [closed_before[b] for b in closing], [counts[b] for b in closing], only
        )
        begins, ends = [], []
        for b, n, count in zip(closing, patches.first, patches.counts):
            starts = [*self.rows[b].starts, self.rows[b].length]
            begins.append(starts[n])
            ends.append(starts[n + 1 : n + 1 + count])
        spread = self._span(begins, [e[-1] - a for a, e in zip(begins, ends)], only)
        bins = [
            [p for p, (a, z) in enumerate(zip([begin] + e, e)) for _ in range(z - a)]
            for begin, e in zip(begins, ends)
        ]
        patch = torch.tensor(
            [b + [patches.width] * (spread.width - len(b)) for b in bins], device=self.model.device
        )
        pooled = self.model.encoder.pool(self._states.at(0, spread), patch, patches.width)
        mask = self._causal_mask(patches, self.model.config.global_.window)
        attend, packing = self._attend("global_", patches, mask), Packing(patches)
        latents = self.model.global_(
            packing.pack(pooled), packing.pack(patches.positions), packing.around(attend)
        )
        self._count("global_", "global_", "pool", "keys")
        keys = torch.stack(self.model.decoder.keys(latents), 2)  # (B, P, layers, K, 2, H, head)
        for cache, values in ((self._latents, latents), (self._keys, keys)):
            cache.reserve(patches.end)
            cache.write(0, patches, packing.pad(values))

    def _inputs(self, span):
        """Decoder inputs (B, T, D) of committed bytes."""
        if self.model.decoder.from_embedding:
            ids = [row.ids[f : f + n] for row, f, n in zip(self.rows, span.first, span.counts)]
            return self.model.decoder.embedding(self._pad(ids, span.width))
        return self._states.at(0, span)

    def _row_reads(self, span):
        """The latent that each committed byte reads: B lists, padded to the span."""
        return [
            row.reads[f : f + n] + [0] * (span.width - n)
            for row, f, n in zip(self.rows, span.first, span.counts)
        ]

    def _frontier_reads(self, latent):
        """The latent that scratch reads: B lists of one."""
        return [[row.closed - 1 + (latent == "open" and row.has_open)] for row in self.rows]

    def _decode_pending(self):
        """Run the decoder over all bytes it has not committed -> logits (B, T, V), kept for the frontier."""
        first = [row.decoded for row in self.rows]
        span = self._span(first, [row.length - f for row, f in zip(self.rows, first)])
        mask = self._causal_mask(span, self.model.config.decoder.window)
        logits = self._run_decoder(self._inputs(span), span, self._row_reads(span), mask)
        self._keep_logits(logits, span)
        return logits

    def _keep_logits(self, logits, span):
        """Logits of newly decoded bytes; a row without any keeps what it had at its frontier."""
        first = list(span.first)
        for b, row in enumerate(self.rows):
            before = row.length - 1 - self._logits_first[b] if self._logits is not None else -1
            if span.counts[b] == 0 and before >= 0:
                logits[b, 0], first[b] = self._logits[b, before], row.length - 1
            row.decoded = row.length
        self._logits, self._logits_first = logits, first

    @timed("decoder")
    def _run_decoder(self, x, span, reads, low_mask):
        """x (B, T, D); reads: B lists with a latent for each position, or one for all -> logits (B, T, V)."""
        keys = self._keys.layers[0]
        if self.batch_size == 1 and len(set(reads[0])) == 1:
            keys = keys.narrow(1, reads[0][0], 1)  # (1, 1, layers, K, 2, H, head)
        else:
            keys = keys[
                span.rows, torch.tensor(reads, device=keys.device)
            ]  # (B, T or 1, layers, ...)
        logits = self.model.decoder(
            x,
            span.positions,
            lambda layer: keys[:, :, layer],
            self._attend("decoder", span, low_mask),
        )
        self._count("decoder", "decoder")
        self.cache_bytes += self._keys.slot_bytes * x.shape[1] * len(x)
        return logits

    # -- scratch -------------------------------------------------------------------------------------------------------

    def _prepare(self, latent):
        if latent not in LATENTS:
            raise ValueError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
        if min(self.lengths) == 0:
            raise ValueError("extend with BOS first: an empty text has no frontier to draft from")
        if latent == "open" and not self._open_ready:
            self.peek_latent()

    def _enter_scratch(self, ids):
        """Clean bytes (B, T) behind the frontier and the scratch so far -> decoder inputs (B, T, D) and their span."""
        span = self._span(
            [n + self._n_scratch for n in self.lengths], [ids.shape[1]] * self.batch_size
        )
        x = (
            self.model.decoder.embedding(ids)
            if self.model.decoder.from_embedding
            else self._encode(ids, span)
        )
        self._n_scratch += ids.shape[1]
        return x, span

    def _forget_scratch(self):
        self._n_scratch, self._after, self._open_ready = 0, None, False
