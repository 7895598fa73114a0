"""What a decoder remembers: caches, the open patch, counters; and the few verbs that change them.

    position     0    1  2  3  4  5  6 | 7  8  9   From `length` (here 7) on all is scratch: drafts
    id          BOS   T  h  e  ␣  b  y | t  _  _   and blocks are written there, and the next extend
    opens        1    1  0  0  0  1  0 | 0         writes over them. So forgetting is only moving an
    latents     o_0  o_1 (closed)  o_2 (open)      index. `opens` is known one position ahead.

The slot behind the last closed patch holds the open one's latent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from math import isnan
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from . import vocab
from .cache import Cache, Span
from .clock import Clock
from .compiled import passes_of
from .costs import NFE
from .layers import not_numbers
from .masks import row_numbers
from .model import BLT
from .passes import Part
from .patching import GrowingPatches
from .transfer import fetch, send

LATENTS = ("closed", "open")  # what drafts read: the last closed patch's latent, the open one's
RECORDS = ("all", "totals", "")  # every event with candidates; without; only what was committed

Ids = Tensor | Sequence[int] | Sequence[Sequence[int]]


@dataclass
class Scratch:
    """What stands past the frontier. counts: clean bytes in each row; `extend` forgets them.

    before_block: they were read by `denoise` ahead of its block, so a draft does not go on from
    them. open_ready: the open patch's latent is in its slot.
    """

    counts: list[int]
    before_block: bool = False
    open_ready: bool = False


@dataclass
class Frontier:
    """Logits (B, T, V) of the last bytes that were decoded.

    first: each row's position of the first.
    """

    logits: Tensor
    first: list[int]


Verb = TypeVar("Verb", bound=Callable[..., Any])


def in_inference_mode(verb: Verb) -> Verb:
    """`torch.inference_mode` for methods that call each other: it is entered once."""

    @wraps(verb)
    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.is_inference_mode_enabled():
            return verb(*args, **kwargs)
        with torch.inference_mode():
            return verb(*args, **kwargs)

    return cast(Verb, run)


class DecodingState:
    """What a model knows of a batch of texts, and the verbs that change it.

    The verbs: extend, rollback, draft, denoise, peek_latent; and select, which drops rows.
    max_length: bytes a row may hold, BOS and one proposal included (the model's own by default).
    Rows have their own lengths. record: how much the moves tell about what they do, one of
    `RECORDS`. stop_at_eos: the moves run nothing for what comes after an EOS; otherwise it is a
    byte like others. Raises ValueError for a size below 1.
    """

    def __init__(
        self,
        model: BLT,
        batch_size: int = 1,
        max_length: int | None = None,
        record: str = "all",
        stop_at_eos: bool = False,
    ):
        config = model.config
        self.model = model
        self.record = record
        self.stop_at_eos = stop_at_eos
        self.max_length = config.max_length if max_length is None else max_length
        if batch_size < 1 or self.max_length < 1:
            raise ValueError(
                "batch_size and max_length must be at least 1,"
                f" got {batch_size} and {self.max_length}"
            )
        longest = config.patcher.max_patch_length
        self.rows = [GrowingPatches(longest) for _ in range(batch_size)]
        self._passes = passes_of(model, batch_size)
        self._scratch = Scratch([0] * batch_size)
        self._frontier: Frontier | None = None
        self.clock = Clock()

    # -- what can be asked -----------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        """How many texts there are."""
        return len(self.rows)

    @property
    def lengths(self) -> list[int]:
        """Bytes of each row, BOS included."""
        return [row.length for row in self.rows]

    @property
    def length(self) -> int | list[int]:
        """Bytes of the row, BOS included: an int for one row, a list for several."""
        return self.lengths[0] if self.batch_size == 1 else self.lengths

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self._passes.device

    @property
    def waits(self) -> bool:
        """Does a look at what was computed wait for a device? On a CPU it costs nothing."""
        return self.device.type != "cpu"

    @property
    def has_pending(self) -> bool:
        """Does any byte wait for its decoder pass?"""
        return any(self._pending_counts())

    @property
    def scratch_lengths(self) -> list[int]:
        """Bytes of scratch behind each row's frontier."""
        return list(self._scratch.counts)

    @property
    def logits(self) -> Tensor:
        """(B, V) at the frontier; bytes whose decoder part was left pending are decoded now.

        Raises RuntimeError where there are none: before the first extend, or where a rollback went
        behind the bytes that were decoded last.
        """
        if self.has_pending:
            self._decode_pending()
        if self._frontier is None:
            raise RuntimeError("no logits at the frontier: extend first")
        first = self._frontier.first
        at = [length - 1 - f for length, f in zip(self.lengths, first, strict=True)]
        if min(at) < 0:
            raise RuntimeError("no logits at the frontier: rollback went before the last extend")
        logits = self._frontier.logits
        if len(set(at)) == 1:
            return logits[:, at[0]]
        return logits[row_numbers(logits)[:, 0], send(at, logits.device)]

    @property
    def nfe(self) -> NFE:
        """Passes so far, by part."""
        return self._passes.nfe

    @property
    def seconds_by_part(self) -> dict[str, float]:
        """Seconds that each part took so far."""
        return self._passes.seconds_by_part

    @property
    def caches(self) -> list[Cache]:
        """Every cache that is held."""
        return self._passes.caches

    def stamp(self) -> dict[str, Any]:
        """The counters now, as an event carries them."""
        return dict(
            nfe=self._passes.nfe,
            weight_bytes=self._passes.weight_bytes,
            cache_bytes=self._passes.cache_bytes,
            seconds=self.clock.read(),
        )

    def snapshot(self) -> list[dict[str, Any]]:
        """What is cached, scratch left out:

        a dict of lists and tensors for each row, for showing and testing.
        """
        return [self._snapshot_of(number, row) for number, row in enumerate(self.rows)]

    def _snapshot_of(self, number: int, row: GrowingPatches) -> dict[str, Any]:
        ends = {"global_": row.closed, "decoder": row.decoded}
        kv = {}
        for name, cache in self._passes.kv.items():
            end = ends.get(name, row.length)
            kv[name] = [layer[number, :, :, :end].clone() for layer in cache.layers]
        return dict(
            ids=list(row.ids),
            opens=list(row.opens),
            entropies=list(row.entropies),
            reads=list(row.reads),
            kv=kv,
            states=self._passes.states.layers[0][number, : row.length].clone(),
            keys=self._passes.keys.layers[0][number, : row.closed].clone(),
            latents=self._passes.latents.layers[0][number, : row.closed].clone(),
        )

    # -- the verbs -------------------------------------------------------------------------------

    @in_inference_mode
    def extend(
        self, ids: Ids, logits: bool = True, open_latent: bool = False, picked: bool = False
    ) -> Tensor | None:
        """Append known bytes, any number at once -> logits (B, T, V) at every new position.

        ids: (B, T), rows right-padded with -1; a flat list for one row. logits=False leaves the
        decoder's part to the next pass, and returns None. open_latent=True adds the open patch to
        the same global pass. picked: ids (B, T) are what a pick chose; they are looked at together
        with their patches, not before. Raises ValueError for ids out of range and past max_length,
        and MemoryError, with nothing appended, where a cache cannot grow.
        """
        rows = None if picked else self._as_rows(ids)  # None: not looked at
        counts = [ids.shape[1]] * self.batch_size if rows is None else [len(row) for row in rows]
        if not any(counts):
            return None
        span = self._passes.span(self.lengths, counts)
        if span.end > self.max_length:
            raise ValueError(
                f"max_length is {self.max_length} bytes with BOS, got a text of {span.end}"
            )
        self._forget_scratch()
        try:
            self._take_in(self._on_device(ids, rows, span), span, rows, open_latent)
            return self._decoded_now(span) if logits else None
        except MemoryError:
            self.rollback(span.first)
            raise

    def rollback(self, length: int | Sequence[int]) -> None:
        """Forget everything past a byte position, an int or one for each row: moves an index, runs
        nothing.

        A position past the frontier keeps that much of the scratch. Raises ValueError for one where
        nothing stands.
        """
        many = [length] * self.batch_size if isinstance(length, int) else list(length)
        standing = [row.length + n for row, n in zip(self.rows, self._scratch.counts, strict=True)]
        for n, most in zip(many, standing, strict=True):
            if not 0 <= n <= most:
                raise ValueError(f"rollback must go to a length in 0..{most}, got {n}")
        kept = [max(0, n - row.length) for n, row in zip(many, self.rows, strict=True)]
        shorter = [n < row.length for row, n in zip(self.rows, many, strict=True)]
        if any(shorter):
            self._forget_scratch()
            for row, n in zip(self.rows, many, strict=True):
                row.truncate(n)
        self._scratch.counts = kept
        self._scratch.before_block = False

    @in_inference_mode
    def draft(
        self,
        ids: int | Ids,
        latent: str = "closed",
        counts: Sequence[int] | None = None,
        every: bool = False,
        block: Tensor | None = None,
    ) -> Any:
        """Read bytes as scratch in one decoder pass -> logits (B, V) after each row's last byte.

        They go on from the scratch that earlier drafts left, and close no patch: all read the
        latent that `latent` names.

        ids: one id for each row (an int for one row), or (B, T). counts: how many of a row's ids
        are real, T by default. every: logits (B, T, V) after each byte instead. block (B, S): MASKs
        to denoise behind the bytes in the same pass; then (logits, the block's logits (B, S, V)) is
        returned. Raises ValueError for another number of rows.
        """
        columns = send(ids, self.device)
        columns = columns if columns.ndim == 2 else columns.reshape(-1, 1)  # (B, T)
        if len(columns) != self.batch_size:
            raise ValueError(
                f"draft needs one id for each of the {self.batch_size} texts, got {len(columns)}"
            )
        self._ensure_latent(latent)
        if self._scratch.before_block:
            self._drop_scratch_bytes()
        if self.has_pending:
            self._decode_pending()
        clean = self._clean_part(columns, latent, counts)
        if block is None:
            logits = self._passes.decode(clean)
            return logits if every else self._last(logits, counts)
        size = block.shape[1]
        both = self._passes.decode_block([clean, self._block_part(block, latent, None)], size)
        logits, denoised = both.split((clean.span.width, size), 1)  # (B, T, V), (B, S, V)
        logits = logits if every else self._last(logits, counts)
        return logits, denoised

    def _last(self, logits: Tensor, counts: Sequence[int] | None) -> Tensor:
        """Of logits (B, T, V) those after each row's last byte: (B, V)."""
        if counts is None:
            return logits[:, -1]
        last = [max(count - 1, 0) for count in counts]
        return logits[row_numbers(logits)[:, 0], send(last, logits.device)]

    @in_inference_mode
    def denoise(
        self,
        block_ids: Ids,
        after: Ids | None = (),
        latent: str = "closed",
        busy: Tensor | Sequence[bool] | None = None,
    ) -> Tensor:
        """Logits (B, S, V) of a block with MASKs: causal on what is before it, both ways inside it.

        One decoder pass over the bytes that are pending, clean bytes behind them, and the block.
        What is run past the frontier is scratch (Fast BLT section 3.1.1).

        block_ids (B, S). after: clean bytes between frontier and block, (B, A) or one list for all
        rows; they replace earlier scratch. None: the block stands behind the scratch of the calls
        before, which is not run again. busy (B,) bool: the rows whose logits are asked for; where
        the block alone is run, the others cost nothing and their logits are 0. Raises ValueError
        for a plain BLT.
        """
        if self.model.config.block_size is None:
            raise ValueError(
                "denoise needs a model with a diffusion head (config.block_size set),"
                " got a plain BLT"
            )
        block = send(block_ids, self.device).expand(self.batch_size, -1)
        self._ensure_latent(latent)
        size = block.shape[1]
        pending = self._pending_part() if self.has_pending else None
        clean = self._clean_before_block(after, latent)
        in_front = [part for part in (pending, clean) if part is not None]
        rows = None if in_front else self._rows_asked_for(busy)  # None: all
        block_part = self._block_part(block, latent, rows)
        logits = self._passes.decode_block([*in_front, block_part], size)  # of all, side by side
        if pending is not None:
            self._keep_logits(logits[:, : pending.span.width], pending.span)
        denoised = logits[:, -size:]
        if rows is None:
            return denoised
        of_all_rows = denoised.new_zeros(*block.shape, denoised.shape[-1])
        return of_all_rows.index_copy(0, block_part.span.only, denoised)

    @in_inference_mode
    def peek_latent(self) -> Tensor:
        """(B, G): the latent that the open patch would have if it closed here. Scratch.

        Where the open patch is empty, it is that of the last closed one.
        """
        self._ensure_latent("closed")
        if not self._scratch.open_ready:
            self._close_patches([row.closed for row in self.rows], open_latent=True)
        at = [row.closed if row.has_open else row.closed - 1 for row in self.rows]
        latents = self._passes.latents.layers[0]
        return latents[row_numbers(latents)[:, 0], send(at, latents.device)]

    def select(self, rows: Tensor | Sequence[int] | Sequence[bool]) -> "DecodingState":
        """Keep these rows, in this order:

        numbers, or one bool a row. Raises ValueError for a row named twice.
        """
        chosen = torch.as_tensor(rows)
        chosen = chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen
        rows = chosen.tolist()
        known = range(self.batch_size)
        if len(set(rows)) < len(rows) or not set(rows).issubset(known):
            raise ValueError(f"select takes different rows of 0..{self.batch_size - 1}, got {rows}")
        self.rows = [self.rows[number] for number in rows]
        self._passes.select(rows)
        self._forget_scratch()
        if self._frontier is not None:
            first = [self._frontier.first[number] for number in rows]
            self._frontier = Frontier(self._frontier.logits[rows], first)
        return self

    # -- ids as they come ------------------------------------------------------------------------

    def _as_rows(self, ids: Ids) -> list[list[int]]:
        """Anything `extend` takes as ids -> a list of B lists without padding.

        Raises ValueError.
        """
        rows: list[Any] = ids.tolist() if torch.is_tensor(ids) else list(ids)
        if not rows or not isinstance(rows[0], (list, tuple)):
            rows = [rows] * self.batch_size
        if len(rows) != self.batch_size:
            raise ValueError(
                f"ids must have one row for each of the {self.batch_size} texts, got {len(rows)}"
            )
        rows = [_without_padding(row) for row in rows]
        for row, known in zip(rows, self.rows, strict=True):
            _check_ids(row, known.length)
        return rows

    def _on_device(self, ids: Ids, rows: list[list[int]] | None, span: Span) -> Tensor:
        """The ids of a span, (B, T) where the model is."""
        is_full = torch.is_tensor(ids) and ids.shape == (self.batch_size, span.width)
        if rows is None or (is_full and min(span.counts) == span.width):
            return send(ids.long(), self.device)
        return self._passes.padded(rows, span.width)

    def _columns(self, ids: Ids) -> Tensor:
        """Scratch ids, (B, A) or one list for all rows, as a tensor (B, A). Raises ValueError."""
        if not torch.is_tensor(ids):
            rows: Any = [ids] if len(ids) == 0 or isinstance(ids[0], int) else ids
            lengths = [len(row) for row in rows]
            if len(set(lengths)) > 1:
                raise ValueError(f"after must hold equally many bytes in each row, got {lengths}")
            for row in rows:
                _check_ids(row, 1)
            ids = torch.tensor(rows, dtype=torch.long)
        return send(ids, self.device).expand(self.batch_size, -1)

    # -- new bytes, as far as the decoder's door -------------------------------------------------

    def _take_in(
        self, ids: Tensor, span: Span, rows: list[list[int]] | None, open_latent: bool
    ) -> None:
        """Entropies and patches of new bytes, their states, and latents of patches that closed.

        Raises ValueError where an entropy is not a number.
        """
        found = self._passes.find_patches(ids, span)
        self._passes.encode(ids, span)
        nats, opens, looked_at = fetch(*found, ids if rows is None else None)
        if isnan(sum(map(sum, nats))):
            raise not_numbers("the entropies")
        rows = looked_at if rows is None else rows
        closed_before = [row.closed for row in self.rows]
        for number, row in enumerate(self.rows):
            row.append(rows[number], nats[number], opens[number])
        self._close_patches(closed_before, open_latent)

    def _close_patches(self, closed_before: list[int], open_latent: bool) -> None:
        """Latents of the patches that closed since, and of the open one if asked: one pass."""
        self._scratch.open_ready = open_latent
        rows = []
        first = []
        edges = []
        for number, (row, before) in enumerate(zip(self.rows, closed_before, strict=True)):
            ends = row.starts[before:]  # of patches: where one ends the next begins
            if open_latent and row.has_open:
                ends = [*ends, row.length]
            if len(ends) > 1:
                rows.append(number)
                first.append(before)
                edges.append(ends)
        if rows:
            self._passes.close_patches(rows, first, edges)

    # -- the decoder -----------------------------------------------------------------------------

    def _pending_counts(self) -> list[int]:
        """How many bytes of each row the decoder has not committed to its cache."""
        return [row.length - row.decoded for row in self.rows]

    def _decoded_now(self, span: Span) -> Tensor:
        """Decode what is pending -> logits (B, T, V) at a span, the newest bytes."""
        offset = [first - row.decoded for first, row in zip(span.first, self.rows, strict=True)]
        decoded = self._decode_pending()  # (B, pending + new, V)
        if not any(offset):
            return decoded
        new = torch.arange(span.width, device=decoded.device)
        index = send(offset, decoded.device)[:, None] + new
        index = index.clamp_max(decoded.shape[1] - 1)
        return decoded[row_numbers(decoded), index]

    @in_inference_mode
    def _decode_pending(self) -> Tensor:
        """Decode the bytes that are pending -> their logits (B, T, V), kept for the frontier."""
        part = self._pending_part()
        logits = self._passes.decode(part)
        self._keep_logits(logits, part.span)
        return logits

    def _pending_part(self) -> Part:
        """The bytes that are known, but not decoded yet."""
        span = self._passes.span([row.decoded for row in self.rows], self._pending_counts())
        reads = []
        ids = []
        for row, first, count in zip(self.rows, span.first, span.counts, strict=True):
            end = first + count
            padding = [0] * (span.width - count)
            reads.append(row.reads[first:end] + padding)
            ids.append(row.ids[first:end])
        if self._passes.from_embedding:
            padded = self._passes.padded(ids, span.width)
            inputs = self._passes.embedded(padded)
        else:
            inputs = self._passes.states.at(0, span)
        return Part(inputs, span, reads)

    def _clean_part(self, ids: Tensor, latent: str, counts: Sequence[int] | None = None) -> Part:
        """Bytes (B, T) behind the frontier and the scratch so far; they become scratch."""
        if counts is None:
            counts = [ids.shape[1]] * self.batch_size
        standing = self._scratch.counts
        first = [n + before for n, before in zip(self.lengths, standing, strict=True)]
        span = self._passes.span(first, counts)
        inputs = self._passes.inputs(ids[:, : span.width], span)
        self._scratch.counts = [a + b for a, b in zip(standing, counts, strict=True)]
        return Part(inputs, span, self._frontier_reads(latent))

    def _clean_before_block(self, after: Ids | None, latent: str) -> Part | None:
        """What `denoise` reads between frontier and block, instead of earlier scratch, if any."""
        if after is None:
            return None
        self._drop_scratch_bytes()
        ids = self._columns(after)  # (B, A)
        part = self._clean_part(ids, latent) if ids.shape[1] else None
        self._scratch.before_block = True
        return part

    def _block_part(self, block: Tensor, latent: str, rows: list[int] | None) -> Part:
        """A block (B, S) behind the scratch, of all rows or of some."""
        numbers = range(self.batch_size) if rows is None else rows
        scratch = self._scratch.counts
        first = [self.rows[number].length + scratch[number] for number in numbers]
        counts = [block.shape[1]] * len(first)
        span = self._passes.span(first, counts, rows)
        reads = self._frontier_reads(latent)
        ids = block if rows is None else block[span.only]
        inputs = self._passes.embedded(ids)
        return Part(inputs, span, [reads[number] for number in numbers])

    def _rows_asked_for(self, busy: Tensor | Sequence[bool] | None) -> list[int] | None:
        """The numbers of the busy rows; None where that is all of them."""
        if busy is None:
            return None
        asked = busy.tolist() if torch.is_tensor(busy) else list(busy)
        rows = [number for number, wanted in enumerate(asked) if wanted]
        return rows if 0 < len(rows) < len(asked) else None

    def _frontier_reads(self, latent: str) -> list[list[int]]:
        """The latent that scratch reads: a list of one for each row."""
        return [
            [row.closed if latent == "open" and row.has_open else row.closed - 1]
            for row in self.rows
        ]

    def _keep_logits(self, logits: Tensor, span: Span) -> None:
        """Keep logits (B, T, V) of newly decoded bytes; a row without any keeps its last ones."""
        first = list(span.first)
        before = self._frontier
        for number, row in enumerate(self.rows):
            at = row.length - 1 - before.first[number] if before else -1
            if span.counts[number] == 0 and at >= 0:
                logits[number, 0] = before.logits[number, at]
                first[number] = row.length - 1
            row.decoded = row.length
        self._frontier = Frontier(logits, first)

    # -- scratch ---------------------------------------------------------------------------------

    def _ensure_latent(self, latent: str) -> None:
        """Check that there is a frontier to go on from, and that the latent asked for is there."""
        if latent not in LATENTS:
            raise ValueError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
        if min(self.lengths) == 0:
            raise ValueError("extend with BOS first: an empty text has no frontier to draft from")
        if latent == "open" and not self._scratch.open_ready:
            self.peek_latent()

    def _drop_scratch_bytes(self) -> None:
        self._scratch.counts = [0] * self.batch_size
        self._scratch.before_block = False

    def _forget_scratch(self) -> None:
        self._scratch = Scratch([0] * self.batch_size)


def _without_padding(row: Sequence[int]) -> list[int]:
    """A row up to its first PAD, if it ends with one.

    >>> _without_padding([5, 6, -1, -1])
    [5, 6]
    """
    row = list(map(int, row))
    if not row or row[-1] != vocab.PAD_ID:
        return row
    return row[: row.index(vocab.PAD_ID)]


def _check_ids(row: Sequence[int], position: int) -> None:
    """Raise ValueError for ids that may not stand from this position on."""
    last = vocab.VOCAB_SIZE - 1
    for at, i in enumerate(row, position):
        is_bos = i == vocab.BOS_ID
        at_start = at == 0
        if not 0 <= i <= last or is_bos != at_start:
            raise ValueError(f"ids must be in 0..{last}, BOS at the start and only there, got {i}")
