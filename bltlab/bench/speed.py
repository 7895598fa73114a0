"""How fast the methods write: `decode`, `batch`, and what recording a trace costs, `trace`.

Each returns rows of plain values, autoregression first. Counts and answers come from the warm-up, which records every event;
timed runs record none.
"""

import statistics
from functools import partial

from tqdm.auto import tqdm

from ..evaluation.figures import agreement, check_written, figures
from ..evaluation.prompts import held_out, methods_for
from ..model import PARTS
from .measuring import copy_bandwidth, in_turn, median_and_spread, write

SHARED = 16  # texts that every batch size up to it writes after
RECORDS = {"bytes": False, "events": "totals", "events, candidates": True}


def settings_of(arguments, prompts, temperature):
    return dict(
        max_new_bytes=arguments.max_new_bytes,
        temperature=temperature,
        seed=arguments.seed,
        stop=prompts.stop,
    )


def measure(model, runs, repeats, title, **settings):
    """{name: (`Written` of a recorded warm-up, list of `Written` of timed runs)} of {name: (prompts, method)}."""
    recorded = {
        name: write(model, *run, "totals", **settings)
        for name, run in tqdm(runs.items(), desc=f"{title}, run -1", leave=False)
    }
    jobs = {name: partial(write, model, *run, **settings) for name, run in runs.items()}
    timed = in_turn(jobs, repeats, title, warm=True)
    return {name: (recorded[name], timed[name]) for name in runs}


def rate(written, timed, base):
    """Bytes a second, and relative to those of `base` (a row, or None for the row that others are held against)."""
    check_written(written.new_bytes)
    seconds = median_and_spread([w.seconds for w in timed])
    speed = written.new_bytes / seconds["seconds"]
    return (
        dict(bytes_per_s=speed, speed_ratio=speed / base["bytes_per_s"] if base else 1.0) | seconds
    )


def decode(arguments, model):
    """All methods on held-out prompts, one text at a time.

    Time by part is the host's: on a GPU, until work is handed over.
    """
    prompts = held_out(arguments.prompts_from, arguments.prompts, arguments.prompt_bytes)
    methods, copied, rows = methods_for(model, arguments.method), copy_bandwidth(model.device), []
    for temperature in arguments.temperature:
        settings, base = settings_of(arguments, prompts, temperature), None
        runs = measure(
            model,
            {label: (prompts.texts, method) for label, method in methods},
            arguments.repeats,
            f"temperature {temperature:g}",
            **settings,
        )
        answers = {
            label: [t.bytes for t in recorded.traces] for label, (recorded, _) in runs.items()
        }
        for label, _ in methods:
            rows.append(
                _decode_row(
                    label,
                    temperature,
                    *runs[label],
                    agreement(answers[label], answers["ar"]),
                    copied,
                    base,
                )
            )
            base = base or rows[-1]
    return dict(
        prompts=len(prompts.texts),
        prompts_from=arguments.prompts_from,
        new_bytes_asked=arguments.max_new_bytes,
        mean_prompt_bytes=statistics.mean(map(len, prompts.texts)),
        copy_gb_per_s=copied / 1e9,
    ), rows


def _decode_row(label, temperature, recorded, timed, agreed, copied, base):
    row = dict(method=label, temperature=temperature, new_bytes=recorded.new_bytes)
    row |= rate(recorded, timed, base) | figures(recorded.traces)
    for name in [name for name in row if name.endswith("_mb_per_byte")]:
        row[name.replace("_mb_per_byte", "_ratio")] = row[name] / base[name] if base else 1.0
    moved = 1e6 * row["measured_mb_per_byte"] * row["bytes_per_s"]
    whole = sum(w.seconds for w in timed)
    parts = {
        f"time_{part.strip('_')}": sum(w.seconds_by_part[part] for w in timed) / whole
        for part in PARTS
    }
    return row | dict(
        gb_per_s=moved / 1e9,
        share_of_copy=moved / copied,
        equal_to_ar_until_difference=agreed[0],
        equal_to_ar=agreed[1],
        **parts,
        time_other=1 - sum(parts.values()),
    )


def batch(arguments, model):
    """All methods on 1, 4, 16 and 64 texts at once; small batches take the texts of a larger one, one after another."""
    most = max(arguments.batch)
    prompts, shared = (
        held_out(arguments.prompts_from, most, arguments.prompt_bytes),
        min(SHARED, most),
    )
    groups = {
        size: [prompts.texts[at : at + size] for at in range(0, max(shared - size, 0) + 1, size)]
        for size in arguments.batch
    }
    runs = {
        (size, label): (texts, method)
        for size, texts in groups.items()
        for label, method in methods_for(model, arguments.method)
    }
    rows, first = [], {}
    settings = settings_of(arguments, prompts, arguments.temperature)
    for (size, label), (recorded, timed) in measure(
        model, runs, arguments.repeats, "batch", **settings
    ).items():
        base = next((row for row in rows if row["batch"] == size), None)
        row = dict(
            method=label, batch=size, new_bytes=recorded.new_bytes, **rate(recorded, timed, base)
        )
        alone = first.setdefault(label, row)["bytes_per_s"]
        rows.append(row | {f"against_batch_{arguments.batch[0]}": row["bytes_per_s"] / alone})
    return dict(
        prompts_from=arguments.prompts_from,
        temperature=arguments.temperature,
        mean_prompt_bytes=statistics.mean(map(len, prompts.texts)),
        new_bytes_asked=arguments.max_new_bytes,
    ), rows


def trace(arguments, model):
    """What recording costs: the same runs with the bytes alone, with events, and with each event's candidates."""
    prompts = held_out(arguments.prompts_from, arguments.prompts, arguments.prompt_bytes)
    settings, rows = settings_of(arguments, prompts, arguments.temperature), []
    jobs = {
        (label, kind): partial(write, model, prompts.texts, method, record, **settings)
        for label, method in methods_for(model, arguments.method)
        for kind, record in RECORDS.items()
    }
    for (label, kind), timed in in_turn(jobs, arguments.repeats, "trace").items():
        row = dict(
            method=label,
            recorded=kind,
            events=sum(len(t.events) for t in timed[0].traces),
            **rate(timed[0], timed, rows[0] if rows else None),
        )
        bare = (
            row
            if kind == "bytes"
            else next(r for r in rows if (r["method"], r["recorded"]) == (label, "bytes"))
        )
        rows.append(row | dict(slower_than_bytes=row["seconds"] / bare["seconds"]))
    return dict(
        prompts=len(prompts.texts),
        prompts_from=arguments.prompts_from,
        new_bytes_asked=arguments.max_new_bytes,
    ), rows
