"""What a decoding state keeps for attention, and which positions a pass is about.

A `Cache` has a slot for every position; a `Span` names some positions of every row; a `JoinedSpan`
is several spans in one pass; a `Packing` leaves out the padding of a ragged span.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from .transfer import send

Attend = Callable[[int, Tensor, Tensor], Tensor]


class Span:
    """Some positions of each row, one after another: what one pass is about.

    first, counts: where each row's positions begin, and how many there are. `positions` (B, T) are
    the positions; a row with fewer than T repeats its last one, and `real` (B, T) is False there
    (None where all rows have T). only: numbers of the rows of the batch that take part, None for
    all.

    >>> span = Span([4, 7], [3, 2], torch.device("cpu"))
    >>> span.positions.tolist(), span.real.tolist()
    ([[4, 5, 6], [7, 8, 8]], [[True, True, True], [True, True, False]])
    """

    def __init__(
        self,
        first: Sequence[int],
        counts: Sequence[int],
        device: torch.device,
        only: Sequence[int] | None = None,
    ):
        self.first = list(first)
        self.counts = list(counts)
        self.width = max(self.counts)
        self.device = device
        ends = [f + n for f, n in zip(self.first, self.counts, strict=True)]
        self.end = max(ends)
        self.only = None if only is None else send(only, device)
        self.even = len(set(self.counts)) == 1  # no row is padded
        self.aligned = self.even and len(set(self.first)) == 1  # all rows have the same positions
        self.uniform = self.aligned and only is None  # a plain slice of every row of the batch

    # Tensors are made when first asked for: a compiled step goes by the numbers.

    @cached_property
    def rows(self) -> Tensor:
        """(B, 1): the rows' numbers, to index a cache by."""
        numbers = torch.arange(len(self.first), device=self.device)
        return (numbers if self.only is None else self.only)[:, None]

    @cached_property
    def positions(self) -> Tensor:
        """(B, T)."""
        if self.aligned:
            one = torch.arange(self.first[0], self.end, device=self.device)
            return one.expand(len(self.first), -1)
        if self.even:
            return send(self.first, self.device)[:, None] + self._offset
        start, count = self._bounds
        return (start + torch.minimum(self._offset, count - 1)).clamp_min(0)

    @cached_property
    def real(self) -> Tensor | None:
        """(B, T) bool, None where all rows have T positions."""
        return None if self.even else self._offset < self._bounds[1]

    @cached_property
    def _offset(self) -> Tensor:
        return torch.arange(self.width, device=self.device)

    @cached_property
    def _bounds(self) -> Tensor:
        """(2, B, 1): where the rows begin, and how many positions they have."""
        return send([self.first, self.counts], self.device)[..., None]

    def real_mask(self) -> Tensor:
        """`real` as a tensor in any case: (B, T) bool."""
        return torch.ones_like(self.positions, dtype=torch.bool) if self.real is None else self.real


class JoinedSpan:
    """Several spans of the same rows in one pass, one after another along T."""

    def __init__(self, spans: Sequence[Span]):
        self.first = [min(starts) for starts in zip(*(s.first for s in spans), strict=True)]
        self.end = max(span.end for span in spans)
        self.uniform = False
        self.only = None
        self.rows = spans[0].rows
        self.positions = torch.cat([span.positions for span in spans], 1)
        self.real = torch.cat([span.real_mask() for span in spans], 1)
        self.width = self.positions.shape[1]


class Cache:
    """One tensor a layer with a slot for every position; the last slot takes what nobody will read.

    A layer is (B, *outer, before + capacity + 1, *inner). Keys and values have outer = (2, H) and
    inner = (head width), so that the keys of one head lie side by side. `before` zeros stand ahead
    of slot 0. Positions past the frontier are simply written over: forgetting is moving an index.

    >>> cache = Cache(1, (), (3,), batch_size=1, dtype=torch.float32, device=torch.device("cpu"))
    >>> cache.write(0, Span([4], [2], torch.device("cpu")), torch.ones(1, 2, 3))
    >>> cache.read(0, 3, 7)[0, :, 0].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """

    def __init__(
        self,
        n_layers: int,
        outer: tuple[int, ...],
        inner: tuple[int, ...],
        batch_size: int,
        dtype: torch.dtype,
        device: torch.device,
        before: int = 0,
        capacity: int = 64,
    ):
        self.axis = 1 + len(outer)
        self.before = before
        shape = (batch_size, *outer, before + capacity + 1, *inner)
        self.layers = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(n_layers)]
        one_slot = prod(outer) * prod(inner) * self.layers[0].itemsize
        self.slot_bytes = n_layers * one_slot  # of one position of one row, over all layers

    @property
    def capacity(self) -> int:
        """How many positions there is room for."""
        return self.layers[0].shape[self.axis] - 1 - self.before

    def reserve(self, n: int) -> None:
        """Make room for n positions, in buckets: a power of two of them.

        Raises MemoryError, and keeps what there is, where the machine has no memory for it.
        """
        if n <= self.capacity:
            return
        capacity = 1 << (n - 1).bit_length()
        rows = len(self.layers[0])
        axes_behind = self.layers[0].ndim - 1 - self.axis
        added = capacity - self.capacity
        grow = [0, 0] * axes_behind + [0, added]
        try:
            self.layers = [F.pad(layer, grow) for layer in self.layers]
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            size = rows * self.slot_bytes * capacity
            raise MemoryError(
                f"no memory for a cache of {capacity} positions in {rows} rows"
                f" ({size / 1e9:.1f} GB):"
                " shorten the text or the batch"
            ) from error

    def write(self, layer: int, span: Span | JoinedSpan, values: Tensor) -> None:
        """Put values (B, *outer, T, *inner) into the slots of a span."""
        buffer = self.layers[layer]
        if span.uniform:
            begin = self.before + span.first[0]
            buffer.narrow(self.axis, begin, span.width).copy_(values)
            return
        slots = span.positions
        if span.real is not None:
            slots = torch.where(span.real, slots, self.capacity)
        slots = self.before + slots
        by_position = buffer.movedim(self.axis, 1)  # (B, slots, *outer, *inner)
        by_position[span.rows, slots] = values.movedim(self.axis, 1)

    def read(self, layer: int, low: int, end: int, rows: Tensor | None = None) -> Tensor:
        """Slots low .. end - 1 of all rows, or of some: (B, *outer, end - low, *inner)."""
        begin = self.before + low
        slots = self.layers[layer].narrow(self.axis, begin, end - low)
        return slots if rows is None else slots[rows]

    def at(self, layer: int, span: Span) -> Tensor:
        """The slots of a span alone: (B, T, *outer, *inner)."""
        if span.uniform:
            slots = self.read(layer, span.first[0], span.end)
            return slots if self.axis == 1 else slots.movedim(self.axis, 1)
        slots = self.before + span.positions
        by_position = self.layers[layer].movedim(self.axis, 1)
        return by_position[span.rows, slots]

    def windows(self, span: Span) -> Tensor:
        """For each position of a span the `before` + 1 slots that end there: (B, T, before + 1)."""
        if span.uniform:
            slots = self.read(0, span.first[0] - self.before, span.end)
            return slots.unfold(1, self.before + 1, 1)
        reach = torch.arange(self.before + 1, device=span.positions.device)
        rows = span.rows[..., None]
        slots = span.positions[..., None] + reach
        return self.layers[0][rows, slots]

    @torch.inference_mode()
    def select(self, rows: list[int]) -> None:
        """Keep these rows, in this order; where rows only close ranks they move up in place."""
        if rows != sorted(rows):
            self.layers = [layer[rows] for layer in self.layers]
            return
        for layer in self.layers:
            for to, row in enumerate(rows):
                if to != row:
                    layer[to] = layer[row]
        self.layers = [layer[: len(rows)] for layer in self.layers]


class Packing:
    """Lays the real positions of a ragged span side by side, so that products skip the padding.

    `pack` turns (B, T, ...) into (1, N, ...) with the N real positions, `pad` turns it back. Where
    there is no padding, both hand through what they get.
    """

    def __init__(self, span: Span):
        self._flat = None
        if sum(span.counts) < span.positions.numel():
            device = span.positions.device
            flat: list[int] = []
            back = []
            for row, count in enumerate(span.counts):
                begin = row * span.width
                here = range(len(flat), len(flat) + count)
                flat.extend(range(begin, begin + count))
                back.append([*here, *[0] * (span.width - count)])  # padding: the first position
            self._flat = send(flat, device)  # (N,)
            self._back = send(back, device)  # (B, T)

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (1, N, ...)."""
        return x if self._flat is None else x.flatten(0, 1)[self._flat][None]

    def pad(self, x: Tensor) -> Tensor:
        """(1, N, ...) -> (B, T, ...)."""
        return x if self._flat is None else x[0, self._back]

    def around(self, attend: Attend) -> Attend:
        """An `attend` over packed queries, keys and values from one over (B, T)."""
        if self._flat is None:
            return attend

        def packed(layer: int, q: Tensor, kv: Tensor) -> Tensor:
            read = attend(layer, self._pad_heads(q), self._pad_heads(kv))
            return self.pack(read.movedim(-2, 1)).movedim(1, -2)

        return packed

    def _pad_heads(self, x: Tensor) -> Tensor:
        """`pad` where positions are the last axis but one."""
        return self.pad(x.movedim(-2, 1)).movedim(1, -2)
