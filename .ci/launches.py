"""What a GPU would be asked to do: waits and launches of each method, on a pretend one.

    python .ci/launches.py --checkpoint blt-d-phrases-8 --batch 1 --temperature 0 --rounds 4

A line for each method: bytes and decoder passes a round; waits (copies to the host, and results of
unknown size) and copies to the device that nobody waits for, a round; launches a byte, in all and
by part; views a byte, which launch nothing. No seconds: tests/pretend_device.py says what is real.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from pretend_device import PretendDevice  # noqa: E402

import bltlab  # noqa: E402
from bltlab.decoding import METHODS, fitted  # noqa: E402
from bltlab.sampling import Pick  # noqa: E402
from bltlab.state import DecodingState  # noqa: E402

PROMPTS = ("In the beginning of the world ", "The byte ", "A long way from here ", "To the river ")
PARTS = ("patcher", "encoder", "global", "decoder", "other")


def counted(gpu: PretendDevice, model: bltlab.BLT, spec: str, asked: argparse.Namespace) -> str:
    """The line of one method."""
    method = fitted(spec, model)
    state = DecodingState(model, asked.batch, 1024, asked.record)
    pick = Pick(asked.temperature, seeds=tuple(range(asked.batch)))
    state.extend([bltlab.encode(PROMPTS[n % len(PROMPTS)]) for n in range(asked.batch)])
    list(method.round(state, pick))  # the first round differs: nothing is pending
    gpu.seen.clear()
    before, passes = sum(state.lengths), state.nfe.decoder
    for _ in range(asked.rounds):
        list(method.round(state, pick))
    written, rounds = sum(state.lengths) - before, asked.rounds
    parts = gpu.count("kernel", by="part")
    by_part = " ".join(f"{parts.get(part, 0) / written:7.1f}" for part in PARTS)
    return (
        f"{spec:24} {written / rounds:6.1f} {(state.nfe.decoder - passes) / rounds:6.1f}"
        f" {gpu.count('waits') / rounds:6.1f} {gpu.count('input') / rounds:6.1f}"
        f" {gpu.count('kernel') / written:8.1f} {by_part} {gpu.count('view') / written:7.1f}"
    )


def main() -> None:
    """Count, and print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="blt-d-nano")
    parser.add_argument("--method", nargs="+", default=list(METHODS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--record", default="", choices=("", "totals", "all"))
    asked = parser.parse_args()
    names = " ".join(f"{part:>7}" for part in PARTS)
    print(f"{'method':24}  bytes passes  waits inputs launches {names}   views")
    with PretendDevice() as gpu:
        model = bltlab.BLT.from_pretrained(asked.checkpoint, device="pretend")
        for spec in asked.method:
            print(counted(gpu, model, spec, asked), flush=True)


if __name__ == "__main__":
    main()
