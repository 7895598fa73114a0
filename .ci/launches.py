"""What a GPU would be asked to do: waits and launches of each method, on a pretend one.

    python .ci/launches.py --checkpoint blt-d-phrases-8 --batch 1 --temperature 0 --rounds 4
    python .ci/launches.py --project

A line for each method: bytes and decoder passes a round; waits (copies to the host, and results of
unknown size) and copies to the device that nobody waits for, a round; launches a byte, in all and
by part; views a byte, which launch nothing. No seconds: tests/pretend_device.py says what is real.

--project: the fast-blt-1b shape, from thin models of few layers: launches do not depend on width,
and grow by the layer. The formulas are printed, and held against a third depth.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from pretend_device import DEVICE, WAITS, PretendDevice  # noqa: E402

import bltlab  # noqa: E402
from bltlab.config import BLTConfig  # noqa: E402
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
    by_part = " ".join(f"{gpu.count('kernel', part=part) / written:7.1f}" for part in PARTS)
    return (
        f"{spec:24} {written / rounds:6.1f} {(state.nfe.decoder - passes) / rounds:6.1f}"
        f" {gpu.count(*WAITS) / rounds:6.1f} {gpu.count('input') / rounds:6.1f}"
        f" {gpu.count('kernel') / written:8.1f} {by_part} {gpu.count('view') / written:7.1f}"
    )


# -- the 1B shape, projected -----------------------------------------------------------------------

SHAPE = "fast-blt-1b"
BANDWIDTH = 3.35 / 4.8  # an H100's against an H200's
EAGER, NODE, WAIT = 6.5, 2.3, 15.0  # microseconds of a launch, a node of a CUDA graph, a wait
THIN = dict(dim=32, n_heads=2, hidden_dim=32)


@dataclass(frozen=True)
class Round:
    """What a round takes as the paper measured it on HumanEval.

    bound: bytes a second by memory traffic alone, on an H200.
    """

    spec: str
    bytes: float
    decoder: float
    global_: float
    waits: float
    bound: int


ROUNDS = (
    Round("ar", 1, 1, 0.41, 1, 2880),
    Round("blt-s,draft_length=8", 8.7, 9, 1, 2, 6800),
    Round("blt-d,block_size=8", 8, 1.68, 1, 2.68, 11190),
    Round("blt-d,block_size=16", 16, 2.56, 1, 3.56, 20420),
    Round("blt-dv,block_size=8", 8.4, 2, 1, 2, 11340),
    Round("blt-dv,block_size=16", 13.6, 2, 1, 2, 17970),
)
NFE_OF = {"patcher": "patcher", "encoder": "encoder", "global": "global_", "decoder": "decoder"}


def thin_model(layers: int, decoder_layers: int) -> bltlab.BLT:
    """The shape with few layers and little width; patches of 4 bytes, whatever the text."""
    shape = BLTConfig.preset(SHAPE)
    patcher = dict(threshold=1e9, max_patch_length=4, n_layers=layers)
    config = replace(
        shape,
        patcher=replace(shape.patcher, **THIN | patcher),
        encoder=replace(shape.encoder, **THIN, n_layers=layers),
        global_=replace(shape.global_, **THIN | dict(dim=64), n_layers=layers),
        decoder=replace(shape.decoder, **THIN, n_layers=decoder_layers),
        hashes=replace(shape.hashes, n_rows=64),
        block_size=16,
    )
    model = bltlab.BLT(config).initialise(0).to(torch.bfloat16)
    return model.to(DEVICE).eval().requires_grad_(False)


def launches_a_pass(gpu: PretendDevice, spec: str, depths: tuple[int, int]) -> dict[str, float]:
    """Launches of one pass of each part, and of what stands around a decoder pass."""
    model = thin_model(*depths)
    method, state, pick = fitted(spec, model), DecodingState(model, 1, 1024, ""), Pick()
    state.extend(bltlab.encode("The byte "))
    list(method.round(state, pick))
    gpu.seen.clear()
    before = state.nfe
    for _ in range(2):
        list(method.round(state, pick))
    spent = state.nfe - before
    found = {
        part: gpu.count("kernel", part=part) / max(1, getattr(spent, name))
        for part, name in NFE_OF.items()
    }
    return found | {"other": gpu.count("kernel", part="other") / spent.decoder}


def formulas(gpu: PretendDevice, spec: str) -> dict[str, tuple[float, float, float]]:
    """For each part (a, b, c): a + b * its layers + c * the decoder's layers, launches a pass."""
    found = {}
    base, deeper, deeper_decoder, third = (
        launches_a_pass(gpu, spec, depths) for depths in ((1, 1), (2, 1), (1, 2), (3, 3))
    )
    for part, n in base.items():
        b, c = deeper[part] - n, deeper_decoder[part] - n
        found[part] = n - b - c, b, c
        expected = n + 2 * b + 2 * c
        if abs(expected - third[part]) > 0.05 * expected:
            print(f"{spec}, {part}: {third[part]:.1f} at 3 layers, {expected:.1f} by the formula")
    return found


def projected(gpu: PretendDevice, wanted: Round) -> str:
    """The line of one method."""
    shape = BLTConfig.preset(SHAPE)
    layers = dict(
        patcher=shape.patcher.n_layers,
        encoder=shape.encoder.n_layers,
        decoder=shape.decoder.n_layers,
        other=0,
    )
    layers["global"] = shape.global_.n_layers
    passes = dict(patcher=1, encoder=1, decoder=wanted.decoder, other=wanted.decoder)
    passes["global"] = wanted.global_
    launches, told = 0.0, []
    for part, (a, b, c) in formulas(gpu, wanted.spec).items():
        launches += passes[part] * (a + b * layers[part] + c * shape.decoder.n_layers)
        told.append(f"{part} {a:.0f}+{b:.0f}L+{c:.0f}D")
    bound = 1e6 / (wanted.bound * BANDWIDTH)
    columns = [f"{wanted.spec:22} {launches / wanted.bytes:6.0f} {bound:6.0f}"]
    for each in (EAGER, NODE):
        spent = (launches * each + wanted.waits * WAIT) / wanted.bytes
        time = spent + bound
        columns.append(f"{time:7.0f} {1e6 / time:6.0f} {bound / time:6.1%}")
    return "  ".join([*columns, ", ".join(told)])


def main() -> None:
    """Count, and print a line for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="blt-d-nano")
    parser.add_argument("--method", nargs="+", default=list(METHODS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--record", default="", choices=("", "totals", "all"))
    parser.add_argument("--project", action="store_true", help=f"the {SHAPE} shape instead")
    asked = parser.parse_args()
    if asked.project:
        print(
            "a PROJECTION onto one H100, no measurement: bandwidth's time and the launches', added"
        )
        print("method                 launches  bound  us a byte, bytes/s, share: eager; graphs")
        with PretendDevice() as gpu:
            for wanted in ROUNDS:
                print(projected(gpu, wanted), flush=True)
        return
    names = " ".join(f"{part:>7}" for part in PARTS)
    print(f"{'method':24}  bytes passes  waits inputs launches {names}   views")
    with PretendDevice() as gpu:
        model = bltlab.BLT.from_pretrained(asked.checkpoint, device="pretend")
        for spec in asked.method:
            print(counted(gpu, model, spec, asked), flush=True)


if __name__ == "__main__":
    main()
