"""The command line: `python -m bltlab train|generate|bench|view`. Flags are made from dataclass fields."""

import argparse
import sys
from dataclasses import fields


def add_flags(parser, kind):
    """One flag per field of a dataclass: name, type, default, help and choices from the field."""
    for f in fields(kind):
        choices = f.metadata.get("choices")
        parser.add_argument(f"--{f.name.replace('_', '-')}", type=type(f.default), default=f.default, choices=choices,
                            metavar=None if choices else type(f.default).__name__.upper(),
                            help=f"{f.metadata['help']} (default {f.default})")


def from_flags(kind, arguments):
    """An instance of the dataclass from parsed flags. Raises ValueError for a value outside its field's range."""
    for f in fields(kind):
        value, low, high = getattr(arguments, f.name), f.metadata.get("min"), f.metadata.get("max")
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"{f.name} must be {f'at least {low}' if high is None else f'in {low}..{high}'}, got {value}")
    return kind(**{f.name: getattr(arguments, f.name) for f in fields(kind)})


def run_train(arguments):
    from .training import TrainOptions, train
    for report in train(from_flags(TrainOptions, arguments), resume=arguments.resume):
        masked = "" if report.masked_bits is None else f", masked {report.masked_bits:.3f}"
        print(f"{report.stage}, step {report.step}, {report.megabytes:.2f} MB: held-out {report.held_out_bits:.3f} bits/byte"
              f"{masked}, {report.bytes_per_second:.0f} bytes/s", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m bltlab", description="A workbench for fast byte-level language models.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("train", help="train a BLT or BLT-D on text")
    verb.add_argument("--resume", action="store_true", help="go on with the run in --out")
    from .training import TrainOptions
    add_flags(verb, TrainOptions)
    verb.set_defaults(run=run_train)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except (ValueError, TypeError, FileNotFoundError) as error:
        print(f"bltlab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
