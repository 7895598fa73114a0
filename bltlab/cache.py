"""What a decoding state keeps for attention, and which of its positions a pass is about."""

from math import prod

import torch
import torch.nn.functional as F


class Cache:
    """Per-layer tensors with one slot a position along axis 1 + len(outer); the last slot takes what nobody will read.

    Each is (B, *outer, capacity + 1, *inner): keys and values are (B, 2, H, capacity + 1, head), so that a head's keys
    lie side by side.
    """

    def __init__(self, n_layers, outer, inner, batch_size, dtype, device, before=0, capacity=64):
        self.axis, self.before = 1 + len(outer), before  # `before`: zeros ahead of slot 0
        self.layers = [
            torch.zeros(
                batch_size, *outer, before + capacity + 1, *inner, dtype=dtype, device=device
            )
            for _ in range(n_layers)
        ]
        self.slot_bytes = (
            n_layers * prod(outer) * prod(inner) * self.layers[0].itemsize
        )  # one position of one row

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
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                size = len(self.layers[0]) * self.slot_bytes * capacity / 1e9
                raise MemoryError(
                    f"no memory for a cache of {capacity} positions in {len(self.layers[0])} rows "
                    f"({size:.1f} GB): shorten the text or the batch"
                ) from error

    def write(self, layer, span, values):
        """values (B, *outer, T, *inner) to the slots of `span`."""
        buffer = self.layers[layer]
        if span.uniform:
            buffer.narrow(self.axis, self.before + span.first[0], span.width).copy_(values)
        else:
            slots = (
                span.positions
                if span.real is None
                else torch.where(span.real, span.positions, self.capacity)
            )
            buffer.movedim(self.axis, 1)[span.rows, self.before + slots] = values.movedim(
                self.axis, 1
            )

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
        self.layers = [x[: len(rows)] for x in self.layers]


class Span:
    """Positions first[b] .. first[b] + counts[b] - 1 of each row as a (B, T) tensor; beyond a row's count `real` is False.

    only: the rows of the batch that it is about, None for all. `rows` (B, 1) are their numbers, to index a cache by.
    """

    def __init__(self, first, counts, device, only=None):
        self.first, self.counts, self.width = first, counts, max(counts)
        self.only = None if only is None else torch.tensor(only, device=device)
        same = len(set(first)) == 1 and len(set(counts)) == 1
        self.uniform, self.end = same and only is None, max(f + c for f, c in zip(first, counts))
        self.rows = (
            torch.arange(len(first), device=device)[:, None] if only is None else self.only[:, None]
        )
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
        self.end, self.uniform, self.only, self.rows = (
            max(s.end for s in spans),
            False,
            None,
            spans[0].rows,
        )
        self.positions = torch.cat([s.positions for s in spans], 1)
        everywhere = lambda s: (
            torch.ones_like(s.positions, dtype=torch.bool) if s.real is None else s.real
        )
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
            self._back = self._back.view_as(span.positions)  # padding shows the first position

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
        padded = lambda x: self.pad(x.movedim(-2, 1)).movedim(1, -2)  # T is the last axis but one
        return lambda layer, q, kv: self.pack(
            attend(layer, padded(q), padded(kv)).movedim(-2, 1)
        ).movedim(1, -2)
