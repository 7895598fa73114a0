"""How fast a model is: the benchmarks of `python -m bltlab bench`, their flags and their reports.

Autoregression stands first in each, measured in the same run: the 1.00 of every ratio. flags.py
says what a benchmark is; a new one is a function in a file beside it and its name here.
"""

import argparse
import json
import textwrap

import torch

from ..evaluation.summary import format_value, table
from . import beside_transformers, loading, reading, speed, training_step
from .flags import Benchmark, Report
from .measuring import describe, load

BENCHES: dict[str, Benchmark] = {
    "decode": speed.DECODE,
    "batch": speed.BATCH,
    "prefill": reading.PREFILL,
    "context": reading.CONTEXTS,
    "train": training_step.TRAIN,
    "compare": beside_transformers.COMPARE,
    "trace": speed.TRACE,
    "memory": loading.MEMORY,
}


def add_bench_flags(parser: argparse.ArgumentParser) -> None:
    """Add a sub-command for each benchmark, with the flags that it reads."""
    verbs = parser.add_subparsers(dest="what", required=True)
    for name, bench in BENCHES.items():
        verb = verbs.add_parser(
            name, help=bench.help, description=bench.help, example=f"bench {bench.example}"
        )
        verb.add_argument(
            "--checkpoint",
            "--model",
            dest="model",
            default=bench.checkpoint,
            help="shipped name, folder, hub id, or preset:NAME[:BLOCK_SIZE] for random"
            f" weights (default {bench.checkpoint})",
        )
        verb.add_argument("--seed", type=int, default=0, help="of weights and draws (default 0)")
        verb.add_argument("--json", action="store_true", help="settings and rows as JSON")
        for flag, settings in bench.flags:
            verb.add_argument(flag, **settings)


def run_bench(arguments: argparse.Namespace) -> None:
    """Run the benchmark that the flags name, and print its report."""
    bench = BENCHES[arguments.what]
    about, rows = _report_of(bench, arguments)
    if arguments.json:
        print(json.dumps(dict(bench=arguments.what, about=about, rows=rows), indent=1))
    else:
        print(_as_text(bench, about, rows))


def _report_of(bench: Benchmark, arguments: argparse.Namespace) -> Report:
    if not bench.loads:
        return bench.run(arguments, None)
    torch.set_num_threads(arguments.threads)
    model = load(
        arguments.model,
        arguments.seed,
        arguments.device,
        getattr(torch, getattr(arguments, "dtype", "float32")),
        arguments.prompts_from,
    )
    about, rows = bench.run(arguments, model)
    run = dict(repeats=arguments.repeats, seed=arguments.seed)
    return describe(model) | run | about, rows


def _as_text(bench: Benchmark, about: dict, rows: list[dict]) -> str:
    """What was measured and how, as a paragraph; then the rows as one table or several."""
    known = {name: value for name, value in about.items() if value is not None}
    told = [f"{name.replace('_', ' ')} {format_value(value)}" for name, value in known.items()]
    blocks = [textwrap.fill(", ".join(told), 120)] if told else []
    if bench.tables_by is None:
        return "\n\n".join([*blocks, table(rows)])
    for value in dict.fromkeys(row[bench.tables_by] for row in rows):
        some = [row for row in rows if row[bench.tables_by] == value]
        blocks.append(table(some, across=True))
    return "\n\n".join(blocks)
