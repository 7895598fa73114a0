"""The measuring kit: a model by name, runs in turn with a warm-up, what the device can do at best, and figures as text.

Times are medians of runs 0, 1, ...; run -1 warms up, so that allocation and compilation are not counted. The clock waits for
the device. Only new bytes count.
"""

import platform
import statistics
import time
from collections import Counter
from dataclasses import dataclass, replace

import torch
from tqdm.auto import tqdm

from .. import vocab
from ..config import BLTConfig
from ..decoding import stream
from ..evaluation.prompts import running_text
from ..events import Prefilled
from ..layers import lay_out_by_column
from ..model import BLT, PARTS, resolve_device
from ..training.text import choose_threshold

# Models with random weights: the longest context in bytes (they have learnt none), mean patch in bytes, rows a hash table
# (a pass reads a few, however many there are, and the 500,002 of the released shapes fill 12 GB).
LONGEST, PATCH_LENGTH, MOST_ROWS = 1 << 15, 4.0, 8192


def load(name, seed=0, device="auto", dtype=torch.float32, corpus="plain-english"):
    """A model by name; "preset:NAME" has random weights, and a threshold that cuts held-out text into patches of 4 bytes.

    Raises ValueError for a device that is not there.
    """
    device = torch.device(resolve_device(device))
    present = torch.accelerator.current_accelerator(check_available=True)
    if device.type != "cpu" and device.type != getattr(present, "type", None):
        raise ValueError(f"device {device} is not available here")
    if not name.startswith("preset:"):
        return BLT.from_pretrained(name, device=device, dtype=dtype)
    config = BLTConfig.preset(name.removeprefix("preset:"), max_length=LONGEST)
    config = replace(
        config, hashes=replace(config.hashes, n_rows=min(config.hashes.n_rows, MOST_ROWS))
    )
    with device:
        model = BLT(config).initialise(seed).to(dtype).eval().requires_grad_(False)
    ids = torch.tensor([vocab.encode(running_text(corpus, 2047))])
    with torch.no_grad():
        entropies = model.patch(ids.to(model.device))[1].cpu()
    threshold = choose_threshold(config.patcher, entropies, ids, PATCH_LENGTH)
    model.name, model.config = (
        name,
        replace(config, patcher=replace(config.patcher, threshold=threshold)),
    )
    return (
        lay_out_by_column(model) if (model.device.type, dtype) == ("cpu", torch.float32) else model
    )


def describe(model):
    """What was measured and where, in plain values."""
    counts, device = model.parameter_counts(), model.device
    tables = counts.pop("tables")
    return dict(
        checkpoint=model.name,
        parameters_beside_tables=sum(counts.values()),
        in_tables=tables,
        dtype=str(model.dtype).removeprefix("torch."),
        device=device_name(device),
        threads=torch.get_num_threads() if device.type == "cpu" else None,
        torch=torch.__version__,
    )


def device_name(device):
    if device.type != "cpu":
        return torch.get_device_module(device).get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(
                line.partition(":")[2].strip() for line in f if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# -- time --------------------------------------------------------------------------------------------------------------


def synchronise():
    """Wait until the accelerator, where there is one, has done all it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def seconds_of(work):
    """Seconds that `work()` takes, to the end of what it gave the device."""
    synchronise()
    began = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - began


def in_turn(jobs, repeats, title="", warm=False):
    """{name: [results of runs 0 .. repeats - 1]} of {name: a function without arguments}; run -1, where not `warm` yet, is
    left out. The jobs take turns within a run, so that drift of the machine hits all alike.
    """
    results, runs = {name: [] for name in jobs}, range(0 if warm else -1, repeats)
    with tqdm(total=len(runs) * len(jobs), desc=title, leave=False) as bar:
        for run in runs:
            for name, job in jobs.items():
                result = job()
                if run >= 0:
                    results[name].append(result)
                bar.update()
    return results


def median_and_spread(seconds):
    """dict of the median, and of (slowest - fastest) / median.

    >>> median_and_spread([2.0, 1.0, 4.0])
    {'seconds': 2.0, 'spread': 1.5}
    """
    middle = statistics.median(seconds)
    return dict(seconds=middle, spread=(max(seconds) - min(seconds)) / middle)


def copy_bandwidth(device, repeats=5):
    """Bytes a second of copying a large tensor, read and written bytes both counted: the most that the device will move."""
    size = 1 << (28 if device.type == "cpu" else 32)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = in_turn({"copy": lambda: seconds_of(lambda: target.copy_(source))}, repeats, "copy")
    return 2 * size / statistics.median(times["copy"])


def matmul_flops(device, dtype, repeats=5):
    """FLOPs a second of one large matrix product: the most that the device will multiply."""
    n = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    out = torch.empty(n, n, device=device, dtype=dtype)
    times = in_turn(
        {"product": lambda: seconds_of(lambda: torch.mm(a, b, out=out))}, repeats, "product"
    )
    return 2 * n**3 / statistics.median(times["product"])


# -- decoding runs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """What `write` did. seconds, and seconds_by_part of them: of decoding, prefill apart; traces: one a text."""

    traces: list
    seconds: float
    seconds_by_part: dict

    @property
    def new_bytes(self):
        return sum(t.totals.new_bytes for t in self.traces)


def write(model, prompts, method, record=False, **settings):
    """Run a method from each prompt, one after the other; a prompt that is a list is one batch -> `Written`."""
    traces, seconds, parts = [], 0.0, Counter()
    for prompt in prompts:
        events = stream(model, prompt, method, record=record, **settings)
        for event in events:
            if isinstance(event, Prefilled):
                prefilled = dict(events.state.seconds_by_part)
        totals = [t.totals for t in events.traces]
        seconds += max(t.prefill_seconds + t.seconds for t in totals) - max(
            t.prefill_seconds for t in totals
        )
        parts.update({part: events.seconds_by_part[part] - prefilled[part] for part in PARTS})
        traces += events.traces
    return Written(traces, seconds, dict(parts))
