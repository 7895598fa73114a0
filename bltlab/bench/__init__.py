"""`python -m bltlab bench`: which benchmarks there are, their flags, and their figures as text or JSON.

Autoregression stands first in each, measured in the same run: the 1.00 of every ratio.
"""

import argparse
import json
import textwrap
from importlib import import_module

# name: (what runs, imported when it does; its help; default checkpoint; an example)
BENCHES = {
    "decode": (
        "speed.decode",
        "all methods on held-out prompts: speed, evaluations, guesses, traffic, agreement",
        "blt-d-nano",
        "decode --method blt-s --method blt-d,block_size=4,unmasking=entropy:0.5 --temperature 0 0.8",
    ),
    "batch": (
        "speed.batch",
        "all methods on 1, 4, 16 and 64 texts at once",
        "blt-d-nano",
        "batch --batch 1 16 --method blt-d",
    ),
    "prefill": (
        "reading.prefill",
        "reading 256 to 16k bytes at once",
        "blt-d-nano",
        "prefill --context 256 1024",
    ),
    "context": (
        "reading.context",
        "writing after 256 to 16k bytes, and the cache's bytes a byte",
        "blt-d-nano",
        "context --checkpoint preset:probe --context 256 4096",
    ),
    "train": (
        "training_step.train",
        "one training step by part, beside a plainly written one, as windows grow",
        "preset:nano",
        "train --context 256 512 --precision bf16",
    ),
    "compare": (
        "reading.compare",
        "autoregression beside transformers' Blt on the same weights",
        "preset:probe",
        "compare --context 256 1024",
    ),
    "trace": ("speed.trace", "what recording a trace costs", "blt-d-nano", "trace --method blt-d"),
    "memory": (
        "reading.memory",
        "peak while a random checkpoint of a preset's shape is loaded (9 GB of disk for blt-1b)",
        "preset:blt-1b",
        "memory --checkpoint preset:nano",
    ),
}
WRITERS = ("decode", "batch", "trace")


def at_least_one(text):
    """A flag's int of 1 or more."""
    if not text.lstrip("+-").isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an int of at least 1, got {text}")
    return int(text)


def warmth(text):
    """A flag's temperature."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text}")
    return value


def add_bench_flags(parser):
    """One sub-command for each benchmark, with the flags it reads."""
    benches = parser.add_subparsers(dest="what", required=True)
    for name, (_, help, checkpoint, example) in BENCHES.items():
        bench = benches.add_parser(name, help=help, description=help, example=f"bench {example}")
        flag = bench.add_argument
        flag(
            "--checkpoint",
            "--model",
            dest="model",
            default=checkpoint,
            help=f"shipped name, folder, hub id, or preset:NAME for random weights (default {checkpoint})",
        )
        flag("--seed", type=int, default=0)
        flag("--json", action="store_true", help="settings and rows as JSON")
        if name == "memory":
            continue
        flag(
            "--repeats",
            type=at_least_one,
            default=3,
            help="timed runs after a warm-up; the median is reported (default 3)",
        )
        flag(
            "--threads",
            type=at_least_one,
            default=1,
            help="CPU threads (default 1: steps of small matrices)",
        )
        flag(
            "--device",
            default="auto",
            choices=("auto", "cpu", "cuda", "mps", "xpu"),
            help="default: the GPU if there is one",
        )
        if name == "train":
            flag(
                "--precision",
                default="fp32",
                choices=("fp32", "bf16"),
                help="of products, as in training (default fp32)",
            )
            flag(
                "--step-bytes",
                type=at_least_one,
                default=4096,
                help="bytes a step, whatever the window (default 4096)",
            )
        else:
            flag(
                "--dtype",
                default="float32",
                choices=("float32", "bfloat16", "float16", "float64"),
                help="default float32",
            )
        flag(
            "--prompts-from",
            default="plain-english",
            metavar="CORPUS",
            help="whose text to read; in a corpus of pairs an answer ends with its line (default plain-english)",
        )
        if name in WRITERS:
            if name != "batch":
                flag("--prompts", type=at_least_one, default=6, help="held-out prompts (default 6)")
            flag(
                "--prompt-bytes",
                type=at_least_one,
                default=128,
                help="length of each (default 128)",
            )
            several = dict(nargs="+", default=[0.0]) if name == "decode" else dict(default=0.0)
            flag("--temperature", type=warmth, help="default 0", **several)
        else:
            flag(
                "--context",
                type=at_least_one,
                nargs="+",
                default=[256, 512, 1024] if name == "train" else None,
                help=f"bytes read (default: {'256, 512, 1024' if name == 'train' else '256 to 16384, what fits'})",
            )
        if name in (*WRITERS, "context"):
            flag(
                "--method",
                action="append",
                default=[],
                metavar="NAME[,OPTION=VALUE...]",
                help="several may be given, ar is always there (default: all)",
            )
        if name in (*WRITERS, "context", "compare"):
            few = {"compare": 8, "context": 64}.get(name, 256)
            flag(
                "--max-new-bytes",
                type=at_least_one,
                default=few,
                help=f"new bytes after each (default {few})",
            )
        if name == "batch":
            flag(
                "--batch",
                type=at_least_one,
                nargs="+",
                default=[1, 4, 16, 64],
                help="texts at once (default 1 4 16 64)",
            )


def run_bench(arguments):
    """Measure, and print."""
    import torch

    from ..evaluation.figures import shown, table
    from .measuring import describe, load

    module, _, name = BENCHES[arguments.what][0].partition(".")
    run = getattr(import_module(f".{module}", __package__), name)
    if arguments.what == "memory":
        about, rows = run(arguments)
    else:
        torch.set_num_threads(arguments.threads)
        dtype = getattr(torch, getattr(arguments, "dtype", "float32"))
        model = load(
            arguments.model, arguments.seed, arguments.device, dtype, arguments.prompts_from
        )
        about, rows = run(arguments, model)
        about = describe(model) | dict(repeats=arguments.repeats, seed=arguments.seed) | about
    if arguments.json:
        print(json.dumps(dict(bench=arguments.what, about=about, rows=rows), indent=1))
        return
    known = ", ".join(
        f"{name.replace('_', ' ')} {shown(value)}"
        for name, value in about.items()
        if value is not None
    )
    blocks = [textwrap.fill(known, 120)] if known else []
    if arguments.what == "decode":  # many figures of few methods: a column each
        blocks += [
            table([row for row in rows if row["temperature"] == t], across=True)
            for t in arguments.temperature
        ]
    else:
        blocks.append(table(rows))
    print("\n\n".join(blocks))
