"""How fast the methods write: `decode`, `batch`, and what recording a trace costs, `trace`.

Each returns rows of plain values, autoregression first. Counts and answers come from the warm-up,
which records every event; timed runs record none.
"""

import argparse
import statistics
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from .. import files, viz
from ..compiled import steps_of
from ..evaluation.prompts import Prompts, held_out, methods_for
from ..evaluation.summary import agreement, check_written, summarise
from ..evaluation.words import judged, variety
from ..model import BLT, PARTS
from .flags import (
    COMPILE,
    DTYPE,
    METHOD,
    PROMPT_BYTES,
    PROMPTS,
    TEMPERATURE,
    TEMPERATURES,
    TIMING,
    Benchmark,
    Report,
    Row,
    flag,
    new_bytes,
    several,
)
from .measuring import (
    Name,
    Written,
    copy_bandwidth,
    first_like,
    in_turn,
    median_and_spread,
    write,
)

COMPILED = ", compiled"  # behind the name of a method
SHARED = 16  # texts that every batch size up to it writes after
RECORDS: dict[str, bool | str] = {"bytes": False, "events": "totals", "events, candidates": True}
Job = tuple[BLT, list, Any]  # a model; prompts, as `write` takes them; a method
Runs = tuple[Written, list[Written]]  # the recorded warm-up; the timed runs


def _settings(arguments: argparse.Namespace, prompts: Prompts, temperature: float) -> Row:
    return dict(
        max_new_bytes=arguments.max_new_bytes,
        temperature=temperature,
        seed=arguments.seed,
        stop=prompts.stop,
    )


def recorded_and_timed(
    jobs: Mapping[Name, Job], repeats: int, title: str, settings: Row
) -> dict[Name, Runs]:
    """The recorded warm-up and the timed runs of each job, by its name."""
    warm_up = tqdm(jobs.items(), desc=f"{title}, run -1", leave=False)
    settings = {"record": "totals", **settings}
    recorded = {name: write(*job, **settings) for name, job in warm_up}
    settings["record"] = False
    bare = {name: partial(write, *job, **settings) for name, job in jobs.items()}
    timed = in_turn(bare, repeats, title, warm=True)
    return {name: (recorded[name], timed[name]) for name in jobs}


def add_speed(row: Row, base: Row, written: Written, timed: list[Written]) -> None:
    """Add bytes a second to a row, relative to its base too, by the median of the timed runs.

    base: the row itself where it is the first. Raises ValueError where no byte was written.
    """
    check_written(written.new_bytes)
    seconds = median_and_spread([run.seconds for run in timed])
    row["bytes_per_s"] = written.new_bytes / seconds["seconds"]
    row["speed_ratio"] = row["bytes_per_s"] / base["bytes_per_s"]
    row.update(seconds)


# -- decode --------------------------------------------------------------------------------------


def decode(arguments: argparse.Namespace, model: BLT) -> Report:
    """All methods on held-out prompts, one text at a time.

    Time by part is the host's: on a GPU, until work is handed over. With --judge rows say how good
    the text is beside what it cost, and --figure draws that.
    """
    _check_figure(arguments)
    judge = BLT.from_pretrained(arguments.judge) if arguments.judge else None
    prompts = held_out(arguments.prompts_from, arguments.prompts, arguments.prompt_bytes)
    jobs: dict[str, Job] = {}
    for label, writer, method in _ways(arguments, model):
        jobs[label] = writer, prompts.texts, method
    copied = copy_bandwidth(model.device)
    rows: list[Row] = []
    for temperature in arguments.temperature:
        settings = _settings(arguments, prompts, temperature)
        title = f"temperature {temperature:g}"
        runs = recorded_and_timed(jobs, arguments.repeats, title, settings)
        theirs = _texts(runs["ar"][0])
        for label, (recorded, timed) in runs.items():
            row = dict(method=label, temperature=temperature, new_bytes=recorded.new_bytes)
            base = first_like(rows, row, "temperature")
            add_speed(row, base, recorded, timed)
            _add_costs(row, base, recorded)
            _add_bandwidth(row, copied)
            _add_agreement(row, _texts(recorded), theirs)
            if label.endswith(COMPILED):
                _add_gain(row, rows[-1], _texts(recorded), _texts(runs[rows[-1]["method"]][0]))
            if judge is not None:
                _add_quality(row, judge, prompts.texts, _texts(recorded))
            rows.append(row | _time_by_part(timed))
    about = dict(
        prompts=len(prompts.texts),
        prompts_from=arguments.prompts_from,
        new_bytes_asked=arguments.max_new_bytes,
        mean_prompt_bytes=statistics.mean(map(len, prompts.texts)),
        copy_gb_per_s=copied / 1e9,
        judge=arguments.judge or None,
    )
    if arguments.figure:
        figure = viz.figures.quality_against_cost(rows)
        files.write(arguments.figure, figure.to_html(include_plotlyjs=True))
    return about, rows


def _ways(
    arguments: argparse.Namespace, model: BLT, batches: bool = False
) -> list[tuple[str, BLT, Any]]:
    """(label, model, method) of all methods; with --compile each again behind itself, if it can."""
    twin = compiled_twin(arguments, model, batches)
    ways = []
    for label, method in methods_for(model, arguments.method):
        ways.append((label, model, method))
        if twin:
            ways.append((label + COMPILED, twin, method))
    return ways


def compiled_twin(arguments: argparse.Namespace, model: BLT, batches: bool = False) -> BLT | None:
    """A copy that decodes by compiled steps: they want weights laid out in another way.

    None where --compile is not asked for, or cannot be done.
    """
    if not arguments.compile:
        return None
    twin = deepcopy(model)
    twin.compile(batches)
    return twin if steps_of(twin) else None


def _add_gain(row: Row, eager: Row, ours: list[bytes], theirs: list[bytes]) -> None:
    """How much sooner compiled steps are done than the row before, and whether they agree."""
    row["against_uncompiled"] = row["bytes_per_s"] / eager["bytes_per_s"]
    row["equal_to_uncompiled"] = agreement(ours, theirs)[1]


def _check_figure(arguments: argparse.Namespace) -> None:
    """Raise ValueError, before anything is measured, for a figure that could not be made."""
    if not arguments.figure:
        return
    if not arguments.judge:
        raise ValueError("--figure shows what another model thinks of the text: give --judge too")
    if find_spec("plotly") is None:
        raise ValueError("--figure needs plotly: pip install plotly")
    if not Path(arguments.figure).resolve().parent.is_dir():
        raise ValueError(f"--figure must be a file in a folder that is there: {arguments.figure}")


def _add_quality(row: Row, judge: BLT, prompts: list[bytes], texts: list[bytes]) -> None:
    """What another model thinks of the texts, and how varied they are."""
    row["judge_bits"] = judged(judge, prompts, texts)
    row["distinct_words"], row["repeated_8_bytes"] = variety(prompts, texts)


def _texts(written: Written) -> list[bytes]:
    return [trace.bytes for trace in written.traces]


def _add_costs(row: Row, base: Row, recorded: Written) -> None:
    """Evaluations, guesses and traffic a byte; traffic relative to the base's too."""
    row.update(summarise(recorded.traces))
    for name in [name for name in row if name.endswith("_mb_per_byte")]:
        row[name.replace("_mb_per_byte", "_ratio")] = row[name] / base[name]


def _add_bandwidth(row: Row, copied: float) -> None:
    """Bytes really moved a second, and as a share of what the device copies at best."""
    moved = 1e6 * row["measured_mb_per_byte"] * row["bytes_per_s"]
    row.update(gb_per_s=moved / 1e9, share_of_copy=moved / copied)


def _add_agreement(row: Row, ours: list[bytes], theirs: list[bytes]) -> None:
    """Shares of bytes that are autoregression's."""
    until_difference, by_position = agreement(ours, theirs)
    row.update(equal_to_ar_until_difference=until_difference, equal_to_ar=by_position)


def _time_by_part(timed: list[Written]) -> Row:
    """Share of the time that each part of the model took; other: around the model."""
    whole = sum(run.seconds for run in timed)
    shares = {}
    for part in PARTS:
        seconds = sum(run.seconds_by_part[part] for run in timed)
        shares[f"time_{part.strip('_')}"] = seconds / whole
    return shares | dict(time_other=1 - sum(shares.values()))


DECODE = Benchmark(
    run=decode,
    help="all methods on held-out prompts: speed, evaluations, guesses, traffic, agreement",
    example="decode --method blt-s --method blt-d,block_size=4,unmasking=entropy:0.5"
    " --temperature 0 0.8",
    flags=(
        *TIMING,
        DTYPE,
        PROMPTS,
        PROMPT_BYTES,
        TEMPERATURES,
        METHOD,
        COMPILE,
        new_bytes(256),
        flag("--judge", "another model that says how good the text is", metavar="MODEL"),
        flag("--figure", "page for the quality of text against its cost", metavar="FILE.html"),
    ),
    tables_by="temperature",
)


# -- batch ---------------------------------------------------------------------------------------


def batch(arguments: argparse.Namespace, model: BLT) -> Report:
    """All methods on several texts at once.

    Small batches take the texts of a larger one, one after another.
    """
    most = max(arguments.batch)
    prompts = held_out(arguments.prompts_from, most, arguments.prompt_bytes)
    ways = _ways(arguments, model, batches=True)
    jobs = {}
    for size in arguments.batch:
        groups = _groups(prompts.texts, size, min(SHARED, most))
        for label, writer, method in ways:
            jobs[size, label] = writer, groups, method
    settings = _settings(arguments, prompts, arguments.temperature)
    rows: list[Row] = []
    against_first = f"against_batch_{arguments.batch[0]}"
    runs = recorded_and_timed(jobs, arguments.repeats, "batch", settings)
    for (size, label), (recorded, timed) in runs.items():
        row = dict(method=label, batch=size, new_bytes=recorded.new_bytes)
        add_speed(row, first_like(rows, row, "batch"), recorded, timed)
        row[against_first] = row["bytes_per_s"] / first_like(rows, row, "method")["bytes_per_s"]
        if label.endswith(COMPILED):
            uncompiled = runs[size, rows[-1]["method"]][0]
            _add_gain(row, rows[-1], _texts(recorded), _texts(uncompiled))
        rows.append(row)
    about = dict(
        prompts_from=arguments.prompts_from,
        temperature=arguments.temperature,
        mean_prompt_bytes=statistics.mean(map(len, prompts.texts)),
        new_bytes_asked=arguments.max_new_bytes,
    )
    return about, rows


def _groups(texts: list[bytes], size: int, shared: int) -> list[list[bytes]]:
    """Batches of `size` that together hold about the first `shared` texts; at least one batch.

    >>> _groups([b"a", b"b", b"c", b"d"], 2, 4)
    [[b'a', b'b'], [b'c', b'd']]
    """
    starts = range(0, max(shared - size, 0) + 1, size)
    return [texts[start : start + size] for start in starts]


BATCH = Benchmark(
    run=batch,
    help="all methods on 1, 4, 16 and 64 texts at once",
    example="batch --batch 1 16 --method blt-d",
    flags=(
        *TIMING,
        DTYPE,
        PROMPT_BYTES,
        TEMPERATURE,
        METHOD,
        COMPILE,
        new_bytes(256),
        several("--batch", [1, 4, 16, 64], "texts at once"),
    ),
)


# -- trace ---------------------------------------------------------------------------------------


def trace(arguments: argparse.Namespace, model: BLT) -> Report:
    """What recording costs: the bytes alone, with events, and with the candidates of each event."""
    prompts = held_out(arguments.prompts_from, arguments.prompts, arguments.prompt_bytes)
    settings = _settings(arguments, prompts, arguments.temperature)
    jobs = {}
    for label, method in methods_for(model, arguments.method):
        for kind, record in RECORDS.items():
            jobs[label, kind] = partial(write, model, prompts.texts, method, record, **settings)
    rows: list[Row] = []
    for (label, kind), timed in in_turn(jobs, arguments.repeats, "trace").items():
        events = sum(len(one.events) for one in timed[0].traces)
        row = dict(method=label, recorded=kind, events=events)
        add_speed(row, first_like(rows, row), timed[0], timed)
        bare = first_like(rows, row, "method")
        rows.append(row | dict(slower_than_bytes=row["seconds"] / bare["seconds"]))
    about = dict(
        prompts=len(prompts.texts),
        prompts_from=arguments.prompts_from,
        new_bytes_asked=arguments.max_new_bytes,
    )
    return about, rows


TRACE = Benchmark(
    run=trace,
    help="what recording a trace costs",
    example="trace --method blt-d",
    flags=(*TIMING, DTYPE, PROMPTS, PROMPT_BYTES, TEMPERATURE, METHOD, new_bytes(256)),
)
