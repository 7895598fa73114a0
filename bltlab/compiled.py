"""Compiled decoding: the steps of `bltlab.steps` as packages, behind `CachedModel`'s functions.

`model.compile()` has them built once, with a C++ compiler (`bltlab.compiling`); from then on they
are loaded. They read the model's own weights, which are laid out by row for them. A pass of no kind
that was compiled (over a long prompt, say) runs as without `compile`, over the same caches.
"""

import os
import shutil
import warnings
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .cache import Span
from .clock import timed
from .compiling import (
    MOST,
    OF_ONE,
    OF_SEVERAL,
    Call,
    Steps,
    all_of,
    caches_of,
    missing,
    packages_of,
)
from .model import BLT
from .passes import CachedModel, Part, joined_reads, patch_numbers
from .patching import opens_by_rule
from .steps import STEPS

DTYPES = (torch.float32, torch.float64)

_steps: WeakKeyDictionary[BLT, tuple[Steps, list[int]]] = WeakKeyDictionary()


# -- what users ask for --------------------------------------------------------------------------


def compile_model(model: BLT, batches: bool = False) -> bool:
    """Have a model decode by compiled steps from now on; returns whether it will.

    batches: several texts at once too. Where steps cannot be had, a warning says why in one
    sentence, and the model runs as before.
    """
    kinds = OF_ONE + OF_SEVERAL if batches else OF_ONE
    reason = why_not(model, kinds)
    if reason is None:
        try:
            use(model, packages_of(model, kinds))
            return True
        except Exception as error:  # whatever torch or the compiler have to say
            told = str(error).strip().split("\n")[-1]
            reason = f"compiling failed with {type(error).__name__}: {told:.200}"
    warnings.warn(f"{reason}; decoding goes on uncompiled", stacklevel=3)
    return False


def why_not(model: BLT, kinds: Sequence[str] = OF_ONE) -> str | None:
    """One sentence why a model cannot be compiled here; None if it can, or is already."""
    if model.device.type != "cpu":
        return f"steps are compiled for the CPU, this model is on {model.device}"
    if model.dtype not in DTYPES:
        dtype = str(model.dtype).removeprefix("torch.")
        return f"steps are compiled for float32 and float64, this model is {dtype}"
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None and missing(model, all_of(kinds)):
        return f"compiling needs a C++ compiler, and {compiler} is not installed"
    return None


def use(model: BLT, steps: Steps | None) -> None:
    """Let new states of a model use these steps; None: none."""
    if steps is None:
        _steps.pop(model, None)
    else:
        _steps[model] = steps, _addresses(model)


def steps_of(model: BLT) -> Steps | None:
    """The steps that states of a model use, if any: not once it was moved or cast."""
    steps, addresses = _steps.get(model, (None, None))
    return steps if steps and addresses == _addresses(model) else None


def _addresses(model: BLT) -> list[int]:
    """Where the weights are: packages read them there."""
    return [weight.data_ptr() for weight in model.parameters()]


# -- passes --------------------------------------------------------------------------------------


def passes_of(model: BLT, batch_size: int) -> CachedModel:
    """The passes of a new state: by compiled steps where the model has them."""
    return CompiledModel(model, batch_size) if steps_of(model) else CachedModel(model, batch_size)


class Plan(NamedTuple):
    """How a pass runs: a part's compiled step; the first slot that it reads, and how many, of how
    many rows; how many positions of each row there are.
    """

    part: str
    run: Call
    low: int
    slots: int
    rows: int
    width: int


class CompiledModel(CachedModel):
    """A `CachedModel` whose passes are compiled steps where there is one for their kind."""

    def __init__(self, model: BLT, batch_size: int):
        super().__init__(model, batch_size)
        self._steps = steps_of(model)
        self._held = {part: caches_of(self, part) for part in STEPS}
        self._windows = {part: getattr(model.config, part).window for part in STEPS}
        self._shape = torch.empty(1)  # expanded, it carries sizes
        self._last_span: Span | None = None

    def _plan(self, part: str, spans: Sequence[Span]) -> Plan | None:
        """How the positions of some spans run through a part, all in one pass.

        None: by no compiled step. The very first position does not: sizes of 1 would be another
        graph.
        """
        width = 0
        end = 0
        for span in spans:
            width += span.width
            end = max(end, span.end)
        kinds = OF_ONE if self.batch_size == 1 else OF_SEVERAL
        kind = kinds[width > 1]
        package = self._steps.get((part, kind))
        low = self._lowest(spans[0], self._windows[part])
        slots = end - low
        if package is None or width > MOST or slots == 1:
            return None
        return Plan(
            part,
            package.run,
            low,
            slots,
            rows=len(spans[0].first),
            width=width,
        )

    def _run(self, plan: Plan, first: Tensor, at: Tensor) -> Tensor:
        """What a step gives. first: its first argument; at (n, B, T): as in `bltlab.steps`."""
        self.cache_bytes += self.kv[plan.part].slot_bytes * plan.slots * plan.rows
        reach = self._shape.expand(plan.low + 2, plan.slots)
        layers = [layer for cache in self._held[plan.part] for layer in cache.layers]
        return plan.run([first.contiguous(), at, reach, *layers])[0]  # a graph reads in order

    def _at(self, plan: Plan, span: Span) -> Tensor:
        """(2, B, T): positions of bytes, and the slots that are written.

        Where no row is padded they are the same for entropy model and encoder.
        """
        if span is not self._last_span or not span.even:
            self._last_span = span
            self._last_at = torch.tensor(places([span], self.kv[plan.part].capacity))
        return self._last_at

    def find_patches(self, ids: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        """As in `CachedModel`."""
        plan = self._plan("patcher", [span])
        if plan is None:
            return super().find_patches(ids, span)
        return self._find_patches(plan, ids, span)

    @timed("patcher")
    def _find_patches(self, plan: Plan, ids: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        self.kv["patcher"].reserve(span.end)
        nats = self._run(plan, ids, self._at(plan, span))
        self._count("patcher", "patcher")
        return nats, opens_by_rule(self.model.config.patcher, ids, nats)

    def encode(self, ids: Tensor, span: Span) -> Tensor:
        """As in `CachedModel`."""
        plan = self._plan("encoder", [span])
        if plan is None:
            return super().encode(ids, span)
        return self._encode(plan, ids, span)

    @timed("encoder")
    def _encode(self, plan: Plan, ids: Tensor, span: Span) -> Tensor:
        for cache in (self.ids, self.states, self.kv["encoder"]):
            cache.reserve(span.end)
        self._count("encoder", "encoder")
        return self._run(plan, ids, self._at(plan, span))

    def close_patches(self, rows: list[int], first: list[int], edges: list[list[int]]) -> None:
        """As in `CachedModel`."""
        counts = [len(ends) - 1 for ends in edges]
        patches = self.span(first, counts)
        plan = self._plan("global_", [patches])
        n_bytes = max(ends[-1] - ends[0] for ends in edges)
        if plan is None or n_bytes > MOST:
            super().close_patches(rows, first, edges)
        else:
            self._close_patches(plan, rows, patches, edges)

    @timed("global_")
    def _close_patches(
        self, plan: Plan, rows: list[int], patches: Span, edges: list[list[int]]
    ) -> None:
        for cache in (self.latents, self.keys, self.kv["global_"]):
            cache.reserve(patches.end)
        at = places([patches], self.latents.capacity)
        if self.batch_size > 1:
            at.append([[row] * patches.width for row in rows])
        held = _bytes_of(edges, plan.width)
        if len(rows) == 1 < self.batch_size:  # sizes of 1 would be another graph: done twice
            at = [plane * 2 for plane in at]
            held = [plane * 2 for plane in held]
        self._run(plan, torch.tensor(held), torch.tensor(at))
        self._count("global_", "global_", "pool", "keys")

    def decode(self, part: Part) -> Tensor:
        """As in `CachedModel`."""
        plan = self._plan("decoder", [part.span])
        if plan is None:
            return super().decode(part)
        return self._decode(plan, [part], 0)

    def decode_block(self, parts: list[Part], block_size: int) -> Tensor:
        """As in `CachedModel`."""
        plan = self._plan("decoder", [part.span for part in parts])
        if plan is None or parts[-1].span.only is not None:
            return super().decode_block(parts, block_size)
        return self._decode(plan, parts, block_size)

    @timed("decoder")
    def _decode(self, plan: Plan, parts: list[Part], block_size: int) -> Tensor:
        inputs = parts[0].inputs
        if len(parts) > 1:
            inputs = torch.cat([part.inputs for part in parts], 1)
        spans = [part.span for part in parts]
        cache = self.kv["decoder"]
        cache.reserve(plan.low + plan.slots)
        at = places(spans, cache.capacity)
        reads = []
        begins = []
        ends = []
        for row, begin in zip(joined_reads(parts), spans[-1].first, strict=True):
            reads.append(row if len(row) == plan.width else row * plan.width)
            begins.append([begin] * plan.width)
            ends.append([begin + block_size] * plan.width)
        at += [reads, begins, ends]
        self._count("decoder", "decoder")
        self.cache_bytes += self.keys.slot_bytes * plan.width * plan.rows
        return self._run(plan, inputs, torch.tensor(at))


def places(spans: Sequence[Span], spare: int) -> list[list[list[int]]]:
    """The positions of some spans, side by side in each row, and the slots that are written.

    A row with fewer repeats its last position, and is written to `spare` there.

    >>> places([Span([4, 7], [2, 1], torch.device("cpu"))], spare=64)
    [[[4, 5], [7, 7]], [[4, 5], [7, 64]]]
    """
    positions: list[list[int]] = []
    slots: list[list[int]] = []
    for row in range(len(spans[0].first)):
        here: list[int] = []
        written: list[int] = []
        for span in spans:
            begin = span.first[row]
            count = span.counts[row]
            end = begin + count
            last = max(end - 1, 0)
            behind = span.width - count
            here += range(begin, end)
            written += range(begin, end)
            here += [last] * behind
            written += [spare] * behind
        positions.append(here)
        slots.append(written)
    return [positions, slots]


def _bytes_of(edges: list[list[int]], patches: int) -> list[list[list[int]]]:
    """The positions of each row's bytes, and the number of each one's patch.

    Behind the end of a row stand bytes of no patch, which is number `patches`.
    """
    longest = max(ends[-1] - ends[0] for ends in edges)
    width = max(longest, 2)  # a size of 1 would be another graph
    positions = []
    numbers = []
    for ends in edges:
        begin = ends[0]
        end = ends[-1]
        behind = width - (end - begin)
        positions.append([*range(begin, end), *[begin] * behind])
        numbers.append(patch_numbers(ends) + [patches] * behind)
    return [positions, numbers]
