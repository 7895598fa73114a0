"""What text that was read costs: reading it, `prefill`, and writing after it, `context`.

Each returns rows of plain values, autoregression first.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from .. import vocab
from ..costs import cache_bytes_per_byte
from ..decoding import Autoregressive
from ..decoding.method import lookahead_of
from ..decoding.rounds import PREFILL as CHUNK
from ..evaluation.check import bytes_kept
from ..evaluation.prompts import methods_for, running_text
from ..model import BLT
from ..sampling import Pick
from ..state import DecodingState
from .flags import CONTEXT, DTYPE, METHOD, TIMING, Benchmark, Report, Row, new_bytes
from .measuring import first_like, in_turn, median_and_spread, seconds_of

LENGTHS = (256, 1024, 4096, 16384)  # bytes, where the flags leave it open


def context_ids(source: str, length: int) -> torch.Tensor:
    """Ids (1, length) of held-out text of a corpus, BOS in front."""
    return torch.tensor([vocab.encode(running_text(source, length - 1))])


def read_prompt(state: DecodingState, ids: torch.Tensor) -> None:
    """Extend a state by ids (1, T), in the chunks that `stream` reads a prompt in."""
    for chunk in ids.split(CHUNK, 1):
        state.extend(chunk)


def check_lengths(model: BLT, lengths: Sequence[int] | None, more: int = 0) -> list[int]:
    """The lengths themselves; where there are none, those of `LENGTHS` that fit the model.

    more: new bytes behind each. Raises ValueError for a length that does not fit.
    """
    longest = model.config.max_length
    if not lengths:
        return [length for length in LENGTHS if length + more <= longest]
    for length in lengths:
        if length + more > longest:
            behind = f" and {more} new bytes" if more else ""
            raise ValueError(
                f"--context {length}{behind} is above max_length, {longest} bytes for {model.name}"
            )
    return list(lengths)


class Continuation:
    """Writes n bytes, or a few more, after a context that was read once; again and again.

    A call returns seconds a byte. The state goes back to the context before each.
    """

    def __init__(self, model: BLT, method: Any, ids: torch.Tensor, n: int) -> None:
        """ids (1, T): the context."""
        self.method, self.n = method, n
        self.ids = ids.to(model.device)
        self.context = ids.shape[1]
        longest = self.context + n + lookahead_of(method)
        self.state = DecodingState(model, max_length=longest, record="")
        read_prompt(self.state, self.ids)

    def __call__(self) -> float:
        """Seconds a byte of writing once more."""
        self.state.rollback(self.context - 1)
        self.state.extend(self.ids[:, -1:])
        seconds = seconds_of(self._write)
        return seconds / (self.state.length - self.context)

    def _write(self) -> None:
        pick = Pick()
        while self.state.length < self.context + self.n:
            for _ in self.method.round(self.state, pick):
                pass


# -- prefill -------------------------------------------------------------------------------------


def prefill(arguments: argparse.Namespace, model: BLT) -> Report:
    """Bytes a second of reading a text at once, beside writing bytes one by one."""
    lengths = check_lengths(model, arguments.context)
    shortest = context_ids(arguments.prompts_from, min(lengths))
    n = 64
    writing = Continuation(model, Autoregressive(), shortest, n)
    jobs: dict[tuple[str, int], Callable[[], float]] = {("write, ar", n): lambda: n * writing()}
    for length in lengths:
        ids = context_ids(arguments.prompts_from, length).to(model.device)
        jobs["read", length] = partial(_seconds_to_read, model, ids)
    rows: list[Row] = []
    for (what, size), seconds in in_turn(jobs, arguments.repeats, "prefill").items():
        row = dict(what=what, bytes=size, bytes_per_s=size / statistics.median(seconds))
        row["speed_ratio"] = row["bytes_per_s"] / first_like(rows, row)["bytes_per_s"]
        rows.append(row | median_and_spread(seconds))
    return dict(text=arguments.prompts_from), rows


def _seconds_to_read(model: BLT, ids: torch.Tensor) -> float:
    state = DecodingState(model, max_length=ids.shape[1])
    return seconds_of(partial(read_prompt, state, ids))


PREFILL = Benchmark(
    run=prefill,
    help="reading 256 to 16k bytes at once",
    example="prefill --context 256 1024",
    flags=(*TIMING, DTYPE, CONTEXT),
)


# -- context -------------------------------------------------------------------------------------


def context(arguments: argparse.Namespace, model: BLT) -> Report:
    """Seconds and cached bytes a byte of all methods, after contexts of growing length."""
    n = arguments.max_new_bytes
    methods = methods_for(model, arguments.method)
    rows: list[Row] = []
    for length in check_lengths(model, arguments.context, n):
        ids = context_ids(arguments.prompts_from, length)
        jobs = {label: Continuation(model, method, ids, n) for label, method in methods}
        times = in_turn(jobs, arguments.repeats, f"context {length}")
        cached = cached_bytes(model, ids)
        for label, seconds in times.items():
            row = dict(method=label, context=length, **ms_per_byte(seconds))
            base = first_like(rows, row, "context")
            row["speed_ratio"] = base["ms_per_byte"] / row["ms_per_byte"]
            shortest = first_like(rows, row, "method")
            row["slower_than_shortest"] = row["ms_per_byte"] / shortest["ms_per_byte"]
            rows.append(row | cached)
    return dict(text=arguments.prompts_from, new_bytes=n), rows


def ms_per_byte(seconds: list[float]) -> Row:
    """Milliseconds a byte and their spread, from seconds a byte of several runs."""
    median = median_and_spread(seconds)
    return dict(ms_per_byte=1e3 * median["seconds"], spread=median["spread"])


def cached_bytes(model: BLT, ids: torch.Tensor) -> Row:
    """Bytes that a state keeps for each byte of text ids (1, T), in three countings.

    By the formula of `costs.cache_bytes_per_byte`, those used in its tensors, and those allocated.
    """
    state = DecodingState(model, max_length=ids.shape[1])
    read_prompt(state, ids.to(model.device))
    formula = cache_bytes_per_byte(
        model.config,
        state.length / state.rows[0].closed,
        model.dtype.itemsize,
        next(model.patcher.parameters()).element_size(),
    )
    return dict(
        cache_bytes_formula=formula,
        cache_bytes_used=bytes_kept(state) / state.length,
        cache_bytes_allocated=_allocated_bytes(state) / state.length,
    )


def _allocated_bytes(state: DecodingState) -> int:
    """Bytes of the state's caches, room for what may follow included."""
    tensors = [tensor for cache in state.caches for tensor in cache.layers]
    return sum(tensor.nbytes for tensor in tensors)


CONTEXTS = Benchmark(
    run=context,
    help="writing after 256 to 16k bytes, and the cache's bytes a byte",
    example="context --checkpoint preset:probe --context 256 4096",
    flags=(*TIMING, DTYPE, CONTEXT, METHOD, new_bytes(64)),
)
