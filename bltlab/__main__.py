"""The command line: `python -m bltlab generate|patch|train|evaluate|bench|view|convert`.

Flags are made from dataclass fields.
"""

import argparse
import json
import sys
from dataclasses import fields


def add_flags(parser, *kinds):
    """One flag per field of the dataclasses, a shared name once: type, default, help and choices from the field."""
    for f in {f.name: f for kind in kinds for f in fields(kind)}.values():
        choices, rule = f.metadata.get("choices"), f.metadata.get("rule")
        value_type = str if rule else f.metadata.get("kind", type(f.default))
        parser.add_argument(f"--{f.name.replace('_', '-')}", type=value_type, default=None, choices=choices,
                            metavar=None if choices else "RULE" if rule else value_type.__name__.upper(),
                            help=f.metadata["help"] + ("" if rule else f" (default {f.default})"))


def from_flags(kind, arguments, among=()):
    """An instance of the dataclass from the flags that were given; `among`: all kinds that share the parser.

    Raises ValueError for a value outside its field's range, and for a flag that belongs to another kind.
    """
    given, own = {}, {f.name for f in fields(kind)}
    for name in {f.name for other in among for f in fields(other)} - own:
        if getattr(arguments, name) is not None:
            raise ValueError(f"method {kind.name!r} has no option {name}; it has {', '.join(sorted(own)) or 'none'}")
    for f in fields(kind):
        value, low, high = getattr(arguments, f.name, None), f.metadata.get("min"), f.metadata.get("max")
        if value is None:
            continue
        if f.metadata.get("rule"):
            from .sampling import parse_rule
            value = parse_rule(value)
        elif (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"{f.name} must be {f'at least {low}' if high is None else f'in {low}..{high}'}, got {value}")
        given[f.name] = value
    return kind(**given)


def run_train(arguments):
    from .training import TrainOptions, train
    for r in train(from_flags(TrainOptions, arguments), resume=arguments.resume):
        masked = "" if r.masked_bits is None else f", masked {r.masked_bits:.3f}"
        print(f"{r.stage}, step {r.step}, {r.megabytes:.2f} MB: held-out {r.held_out_bits:.3f} bits/byte{masked}, "
              f"{r.bytes_per_second:.0f} bytes/s", flush=True)


def run_generate(arguments):
    from . import BLT, stream
    from .decoding import METHODS
    from .trace import Committed
    from .vocab import StreamingText, decode
    model = BLT.from_pretrained(arguments.model)
    method = from_flags(METHODS[arguments.method], arguments, METHODS.values())
    events = stream(model, arguments.prompt, method, max_new_bytes=arguments.max_new_bytes, stop=arguments.stop,
                    temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p, seed=arguments.seed)
    text = StreamingText()
    try:
        for event in events:
            if isinstance(event, Committed):
                print(text.feed(decode(event.ids)), end="", flush=True)
    except KeyboardInterrupt:
        pass
    events.close()
    trace, = events.traces
    t = trace.totals
    print(text.close())
    print(f"[{trace.method['name']}: {t.new_bytes} bytes in {t.seconds:.2f} s; passes: patcher {t.nfe.patcher}, encoder "
          f"{t.nfe.encoder}, global {t.nfe.global_}, decoder {t.nfe.decoder}]", file=sys.stderr)
    if arguments.trace:
        trace.save(arguments.trace)


def run_patch(arguments):
    from . import BLT, patchify
    patches = patchify(BLT.from_pretrained(arguments.model), arguments.text)
    print(" | ".join(piece.decode("utf-8", "backslashreplace") for piece in patches))
    n, count = len(patches.text), len(patches.spans)
    print(f"{n} bytes, {count} patches, {n / max(1, count):.2f} bytes each")


def run_evaluate(arguments):
    from tqdm.auto import tqdm

    from . import BLT, score
    from .data import documents
    model, bits, size = BLT.from_pretrained(arguments.model), 0.0, 0
    for text in tqdm(list(documents(arguments.text, arguments.split)), unit="text"):
        n = len(text.encode())
        bits, size = bits + n * score(model, text), size + n
    print(f"{bits / size:.4f} bits a byte on {size:,} bytes ({arguments.text}, {arguments.split})")


def run_view(arguments):
    from .trace import Trace
    from .viz import to_html
    traces = [Trace.load(path) for path in arguments.traces]
    if arguments.html:
        to_html(traces, arguments.html, clock=arguments.clock)
        print(f"wrote {arguments.html}")
    else:
        print("\n".join(trace.to_text() for trace in traces))


def run_convert(arguments):
    import torch

    from . import BLT
    dtype = getattr(torch, arguments.dtype) if arguments.dtype else None
    model = BLT.from_pretrained(arguments.model, device="cpu", dtype=dtype)
    model.save_pretrained(arguments.out, layout=arguments.layout)
    print(f"wrote {arguments.out}")


def run_bench(arguments):
    from .evaluation import speed
    rows = getattr(speed, arguments.what)(arguments)
    print(json.dumps(rows, indent=1) if arguments.json else speed.table(rows))


class Parser(argparse.ArgumentParser):
    """One line and exit code 2 on bad input; `example` stands at the end of --help."""

    def __init__(self, *args, example=None, **kwargs):
        super().__init__(*args, epilog=example and f"example: python -m bltlab {example}", **kwargs)

    def error(self, message):
        self.exit(2, f"bltlab: {message}; see {self.prog} --help\n")


def parser():
    """The whole command line."""
    top = Parser(prog="python -m bltlab", description="A workbench for fast byte-level language models.")
    verbs = top.add_subparsers(dest="verb", required=True)

    verb = verbs.add_parser("generate", help="write text",
                           example='generate --checkpoint blt-d-nano --method blt-dv "In the beginning"')
    verb.add_argument("prompt")
    verb.add_argument("--checkpoint", "--model", dest="model", default="blt-d-nano", help="shipped name, folder or hub id")
    from .decoding import METHODS
    verb.add_argument("--method", default="blt-d", choices=tuple(METHODS), help="default blt-d")
    verb.add_argument("--max-new-bytes", type=int, default=200)
    verb.add_argument("--temperature", type=float, default=0.8)
    verb.add_argument("--top-k", type=int, default=0)
    verb.add_argument("--top-p", type=float, default=1.0)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--stop", action="append", default=[], help="end after this text; may be given several times")
    verb.add_argument("--trace", help="write the trace to this file")
    add_flags(verb, *METHODS.values())
    verb.set_defaults(run=run_generate)

    verb = verbs.add_parser("patch", help="show where patches begin", example='patch "In the beginning"')
    verb.add_argument("text")
    verb.add_argument("--checkpoint", "--model", dest="model", default="blt-d-nano", help="shipped name, folder or hub id")
    verb.set_defaults(run=run_patch)

    verb = verbs.add_parser("evaluate", help="bits per byte of a corpus, read autoregressively",
                           example="evaluate plain-english")
    verb.add_argument("text", nargs="?", default="plain-english", help="shipped corpus, file, folder or hub id")
    verb.add_argument("--split", default="test", choices=("train", "test"))
    verb.add_argument("--checkpoint", "--model", dest="model", default="blt-d-nano", help="shipped name, folder or hub id")
    verb.set_defaults(run=run_evaluate)

    verb = verbs.add_parser("train", help="train a BLT or BLT-D on text", example="train --out runs/mine --megabytes 5")
    verb.add_argument("--resume", action="store_true", help="go on with the run in --out")
    from .training import TrainOptions
    add_flags(verb, TrainOptions)
    verb.set_defaults(run=run_train)

    verb = verbs.add_parser("view", help="show saved traces in the terminal, or as one HTML file",
                           example="view t.json --html t.html")
    verb.add_argument("traces", nargs="+")
    verb.add_argument("--html", help="write this file instead")
    verb.add_argument("--clock", choices=("event", "passes", "decoder", "global", "seconds"))
    verb.set_defaults(run=run_view)

    verb = verbs.add_parser("convert", help="write a model in our layout, or in transformers'",
                           example="convert facebook/blt-1b blt-1b --layout bltlab")
    verb.add_argument("model", help="folder in our, transformers' or the original layout, shipped name or hub id")
    verb.add_argument("out", help="folder to write")
    verb.add_argument("--layout", default="bltlab", choices=("bltlab", "transformers"))
    verb.add_argument("--dtype", choices=("float32", "bfloat16", "float16", "float64"), help="default: as stored")
    verb.set_defaults(run=run_convert)

    from .evaluation.speed import add_bench_flags
    verb = verbs.add_parser("bench", help="measure decoding", example="bench decode --max-new-bytes 256")
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
