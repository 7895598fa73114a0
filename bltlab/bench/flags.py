"""What a benchmark is, and the flags that several of them share.

A new one is a function and `NAME = Benchmark(...)` in a file of this folder, and its name in
`BENCHES` of `__init__.py`.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..evaluation.summary import Row

Report = tuple[Row, list[Row]]  # what was measured and how; the rows of a table
Flag = tuple[str, dict[str, Any]]  # a name and how argparse reads it


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of `python -m bltlab bench`.

    run: (arguments, model) -> `Report`, from the parsed flags. flags: those that it reads, beside
    --checkpoint, --seed and --json. loads: False for one that gets no model, as loading is what it
    measures. tables_by: a name of the rows; there is one table for each of its values, on its side.
    """

    run: Callable[[argparse.Namespace, Any], Report]
    help: str
    example: str
    flags: tuple[Flag, ...] = ()
    checkpoint: str = "blt-d-nano"
    loads: bool = True
    tables_by: str | None = None


def at_least_one(text: str) -> int:
    """A flag's int of 1 or more."""
    if not text.lstrip("+-").isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an int of at least 1, got {text}")
    return int(text)


def temperature(text: str) -> float:
    """A flag's temperature, a finite number of 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text}")
    return value


def flag(name: str, help: str, **settings: Any) -> Flag:
    """A flag; settings: argparse's. The default is said in its help, where it has one."""
    default = settings.get("default")
    told = "" if default in (None, []) else f" (default {_in_words(default)})"
    return name, {"help": help + told, **settings}


def _in_words(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, list) else str(default)


def count(name: str, default: int, help: str) -> Flag:
    """A flag for an int of at least 1."""
    return flag(name, help, type=at_least_one, default=default)


def several(name: str, default: list | None, help: str, type: Callable = at_least_one) -> Flag:
    """A flag that takes one value or more, ints of at least 1 unless `type` says otherwise."""
    return flag(name, help, type=type, nargs="+", default=default)


DTYPE = flag(
    "--dtype",
    "of weights and caches",
    default="float32",
    choices=("float32", "bfloat16", "float16", "float64"),
)
TEXT = flag(
    "--prompts-from",
    "whose text to read; in a corpus of pairs an answer ends with its line",
    default="plain-english",
    metavar="CORPUS",
)
TIMING = (
    count("--repeats", 3, "timed runs after a warm-up; the median is reported"),
    count("--threads", 1, "CPU threads; one suits steps of small matrices"),
    flag(
        "--device",
        "where to run; auto is the GPU if there is one",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps", "xpu"),
    ),
    TEXT,
)
COMPILE = flag(
    "--compile",
    "decode by compiled steps: the same bytes sooner; the first time takes minutes and a C++"
    " compiler, then they are kept",
    action="store_true",
)
PROMPTS = count("--prompts", 6, "held-out prompts")
PROMPT_BYTES = count("--prompt-bytes", 128, "length of each prompt")
TEMPERATURE = flag("--temperature", "of sampling; 0 is greedy", type=temperature, default=0.0)
TEMPERATURES = several("--temperature", [0.0], "of sampling; 0 is greedy", temperature)
CONTEXT = several("--context", None, "bytes read (default: 256 to 16384, what fits)")
METHOD = flag(
    "--method",
    "several may be given, ar is always there (default: all that the model can run)",
    action="append",
    default=[],
    metavar="NAME[,OPTION=VALUE...]",
)


def new_bytes(default: int) -> Flag:
    """How many bytes to write after each text."""
    return count("--max-new-bytes", default, "new bytes after each")
