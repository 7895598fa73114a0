"""What benchmarks measure with: a model by name, runs in turn, and what the device can do at best.

Times are medians of runs 0, 1, ...; run -1 warms up, so that allocation and compilation are not
counted. The clock waits for the device. Only new bytes count.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm

from .. import vocab
from ..config import BLTConfig
from ..decoding import stream
from ..evaluation.machine import device_name
from ..evaluation.prompts import running_text
from ..events import Prefilled
from ..layers import lay_out_by_column
from ..model import BLT, PARTS, resolve_device
from ..trace import Trace
from ..training.text import choose_threshold
from .flags import Row

Name = TypeVar("Name", bound=Hashable)  # of a job
RANDOM = "preset:"  # in front of a preset's name: random weights
# Of a model with random weights:
LONGEST = 1 << 15  # bytes of context; it has learnt none
PATCH_LENGTH = 4.0  # bytes, on average
MOST_ROWS = 8192  # of a hash table: a pass reads few, and the 500,002 of released shapes fill 12 GB


# -- the model -----------------------------------------------------------------------------------


def load(
    name: str,
    seed: int = 0,
    device: str = "auto",
    dtype: torch.dtype = torch.float32,
    corpus: str = "plain-english",
) -> BLT:
    """A model by name; "preset:NAME" has random weights of that seed.

    "preset:NAME:8" is a BLT-D with blocks of 8 bytes. A random model's threshold cuts held-out text
    of the corpus into patches of 4 bytes. Raises ValueError for a preset or a block size that
    is none, and a device that is not there.
    """
    where = resolve_device(device)
    if not name.startswith(RANDOM):
        return BLT.from_pretrained(name, device=where, dtype=dtype)
    model = _random_model(name.removeprefix(RANDOM), seed, where, dtype)
    _choose_patches(model, corpus)
    model.name = name
    if where.type == "cpu" and dtype == torch.float32:
        lay_out_by_column(model)
    return model


def _random_model(preset: str, seed: int, device: torch.device, dtype: torch.dtype) -> BLT:
    name, colon, size = preset.partition(":")
    if colon and not size.isdecimal():
        raise ValueError(
            f"random weights are preset:NAME or preset:NAME:BLOCK_SIZE, got {preset!r}"
        )
    blocks = {"block_size": int(size)} if size else {}
    config = BLTConfig.preset(name, max_length=LONGEST, **blocks)
    hashes = replace(config.hashes, n_rows=min(config.hashes.n_rows, MOST_ROWS))
    with device:
        model = BLT(replace(config, hashes=hashes)).initialise(seed)
    return model.to(dtype).eval().requires_grad_(False)


def _choose_patches(model: BLT, corpus: str) -> None:
    """Set the threshold that cuts held-out text into patches of `PATCH_LENGTH` bytes."""
    ids = torch.tensor([vocab.encode(running_text(corpus, 2047))])
    with torch.no_grad():
        _, entropies = model.patch(ids)
    patcher = model.config.patcher
    threshold = choose_threshold(patcher, entropies, ids, PATCH_LENGTH)
    model.config = replace(model.config, patcher=replace(patcher, threshold=threshold))


def describe(model: BLT) -> Row:
    """What was measured and where, as plain values."""
    counts = model.parameter_counts()
    tables = counts.pop("tables")
    on_cpu = model.device.type == "cpu"
    return dict(
        checkpoint=model.name,
        parameters_beside_tables=sum(counts.values()),
        in_tables=tables,
        dtype=str(model.dtype).removeprefix("torch."),
        device=device_name(model.device),
        threads=torch.get_num_threads() if on_cpu else None,
        torch=torch.__version__,
    )


# -- time ----------------------------------------------------------------------------------------


def synchronise() -> None:
    """Wait until the accelerator, where there is one, has done all it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def seconds_of(work: Callable[[], Any]) -> float:
    """Seconds that `work()` takes, to the end of what it gave the device."""
    synchronise()
    began = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - began


def in_turn(
    jobs: Mapping[Name, Callable[[], Any]], repeats: int, title: str = "", warm: bool = False
) -> dict[Name, list[Any]]:
    """The results of each job in runs 0 .. repeats - 1, by the job's name.

    Run -1 warms up and is left out; there is none where the jobs are `warm` already. The jobs take
    turns within a run, so that drift of the machine meets all alike.
    """
    results: dict[Name, list[Any]] = {name: [] for name in jobs}
    runs = range(0 if warm else -1, repeats)
    with tqdm(total=len(runs) * len(jobs), desc=title, leave=False) as bar:
        for run in runs:
            for name, job in jobs.items():
                result = job()
                if run >= 0:
                    results[name].append(result)
                bar.update()
    return results


def median_and_spread(seconds: list[float]) -> Row:
    """The median of some times, and (slowest - fastest) / median.

    >>> median_and_spread([2.0, 1.0, 4.0])
    {'seconds': 2.0, 'spread': 1.5}
    """
    middle = statistics.median(seconds)
    return dict(seconds=middle, spread=(max(seconds) - min(seconds)) / middle)


def first_like(rows: Iterable[Row], row: Row, *names: str) -> Row:
    """What a row is held against: the first of the rows with the same values of these names.

    The row itself where there is none, so that its ratios are 1.

    >>> rows = [dict(method="ar", length=8), dict(method="blt-d", length=8)]
    >>> first_like(rows, dict(method="blt-s", length=8), "length")
    {'method': 'ar', 'length': 8}
    """
    for other in rows:
        if all(other[name] == row[name] for name in names):
            return other
    return row


COPIED = 1 << 28  # bytes: more than a cache holds, and room for two on a small device


def copy_bandwidth(device: torch.device, repeats: int = 5) -> float:
    """Bytes a second of copying a large tensor: the most that the device will move.

    Bytes read and bytes written both count.
    """
    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times_over = 1 if device.type == "cpu" else 8  # where one takes no longer than its launch

    def copy() -> None:
        for _ in range(times_over):
            target.copy_(source)

    times = in_turn({"copy": partial(seconds_of, copy)}, repeats, "copy")["copy"]
    return 2 * COPIED * times_over / statistics.median(times)


def matmul_flops(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOPs a second of one large matrix product: the most that the device will multiply."""
    n = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    out = torch.empty(n, n, device=device, dtype=dtype)
    product = partial(seconds_of, partial(torch.mm, a, b, out=out))
    times = in_turn({"product": product}, repeats, "product")["product"]
    return 2 * n**3 / statistics.median(times)


# -- decoding runs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """What `write` did: traces, one a text; the seconds of decoding, in all and by part.

    Prefill is left out of the seconds.
    """

    traces: list[Trace]
    seconds: float
    seconds_by_part: dict[str, float]

    @property
    def new_bytes(self) -> int:
        """Bytes written, over all texts."""
        return sum(trace.totals.new_bytes for trace in self.traces)


def write(
    model: BLT,
    prompts: Iterable[bytes | list[bytes]],
    method: Any,
    record: bool | str = False,
    **settings: Any,
) -> Written:
    """Run a method from each prompt, one after the other; a prompt that is a list is one batch.

    record and settings: those of `stream`.
    """
    traces: list[Trace] = []
    seconds = 0.0
    by_part: Counter[str] = Counter()
    for prompt in prompts:
        events = stream(model, prompt, method, record=record, **settings)
        for event in events:
            if isinstance(event, Prefilled):
                prefilled = events.seconds_by_part
        seconds += _decoding_seconds(events.traces)
        done = events.seconds_by_part
        by_part.update({part: done[part] - prefilled[part] for part in PARTS})
        traces += events.traces
    return Written(traces, seconds, dict(by_part))


def _decoding_seconds(traces: list[Trace]) -> float:
    """Seconds of a batch, as long as its slowest row, without those of reading the prompts."""
    totals = [trace.totals for trace in traces]
    prefill = max(t.prefill_seconds for t in totals)
    return max(t.prefill_seconds + t.seconds for t in totals) - prefill
