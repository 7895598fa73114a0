"""What is left to the limit: microseconds of each part for one byte, eager, compiled and by hand.

    python .ci/limit.py --checkpoint blt-d-phrases-8 --text phrases

By hand: limit.cpp, compiled here and not shipped, as the yardstick of what this processor does
without any framework; it reads the whole text first, and must find what the library finds. Bounds:
the time that a pass's weights and caches take at the speed of memory, of the last cache and of the
second, and its arithmetic at what one core does at best, all measured here. Then what other forms
of the weights give by hand: their time, and how far they move what is written.

Seconds of the thread, the best of many and in turn, so that a busy machine does least harm.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from ctypes import c_float, c_int, c_long, c_void_p
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import bltlab  # noqa: E402
from bltlab import vocab  # noqa: E402
from bltlab.evaluation.prompts import running_text  # noqa: E402
from bltlab.layers import CrossAttention, RMSNorm, Stack, rotary_radians  # noqa: E402
from bltlab.model import BLT  # noqa: E402
from bltlab.state import DecodingState  # noqa: E402

LENGTH = 300  # bytes of text
BLOCK = 8
A_BLOCK = f"decoder, {BLOCK}"  # a pass of so many positions
BYTE = "a byte"  # of autoregression: its parts in turn
TURN = {
    "patcher": 9,
    "encoder": 9,
    "global": 2,
    "decoder": 9,
}  # as in the first table of RESULTS.md
LEVELS = {"memory": 1 << 28, "last cache": 1 << 22, "second cache": 1 << 19}  # bytes read there
PANEL, MOST = 32, 8  # as in limit.cpp: columns of a panel, positions of a pass
KINDS = ("float32", "float16", "bfloat16", "int8", "int8 by int8")

Work = Callable[[], object]


@dataclass(frozen=True)
class Form:
    """How weights are held.

    kind: their numbers. folded: norms are multiplied into the matrices behind them. gated: silu is
    taken in the product that makes gate and up.
    """

    kind: str = "float32"
    folded: bool = False
    gated: bool = False

    def __str__(self) -> str:
        told = [self.kind]
        told += ["norms folded"] if self.folded else []
        told += ["silu fused"] if self.gated else []
        return ", ".join(told)


FORMS = (
    Form(),
    Form(folded=True),
    Form(gated=True),
    Form("float16"),
    Form("bfloat16"),
    Form("int8"),
    Form("int8 by int8"),
    Form("int8 by int8", folded=True, gated=True),
)


# -- by hand: what limit.cpp is given --------------------------------------------------------------


def structure(*fields: tuple[type, str]) -> type[ctypes.Structure]:
    """A struct of limit.cpp: each type, and the names that have it."""
    listed = [(name, kind) for kind, names in fields for name in names.split()]
    return type("Struct", (ctypes.Structure,), {"_fields_": listed})


MATRIX = structure(
    (c_void_p, "numbers scales sums norm"),
    (c_int, "inputs outputs stride kind normed gated"),
)
LAYER = structure(
    (MATRIX, "qkv out gate_up down query read"),
    (c_void_p, "keys values"),
)
STACK = structure(
    (c_void_p, "layers radians"),
    (MATRIX, "output"),
    (c_int, "n_layers dim heads hidden slots window latents"),
    (c_float, "residual eps"),
)
HASHES = structure(
    (c_void_p, "bytes table powers"),
    (c_int, "sizes reach rows"),
)
PATCH = structure(
    (MATRIX, "queries key_value query read projection vectors"),
    (c_void_p, "keys"),
    (c_int, "n_layers latents heads"),
    (c_float, "residual eps"),
)


def in_panels(columns: Tensor, rows: int = 1) -> Tensor:
    """Columns (in, out) as panels of `PANEL` columns, each (in / rows, PANEL, rows)."""
    padded = F.pad(columns, (0, -columns.shape[1] % PANEL))
    parts = padded.unflatten(0, (-1, rows)).unflatten(-1, (-1, PANEL))  # (in / r, r, panels, 32)
    return parts.permute(2, 0, 3, 1).contiguous()


class ByHand:
    """The parts of a model in C++, one form of weights, and what they found of a text."""

    def __init__(self, library: ctypes.CDLL, model: BLT, form: Form, state: DecodingState):
        self.library, self.model, self.form = library, model, form
        self.row = state.rows[0]
        self.held: list[object] = []  # C++ knows only where they are
        config, decoder = model.config, model.decoder
        length = self.row.length + BLOCK
        reach = model.encoder.hashes.reach
        self.ids = torch.tensor([0] * (reach - 1) + self.row.ids)
        self.entropies = torch.zeros(length)
        self.states = torch.zeros(length, config.encoder.dim)
        width = 2 * config.decoder.n_layers * config.keys_per_patch * config.decoder.dim
        self.latents = torch.zeros(self.row.closed, width)
        self.logits = torch.zeros(length, vocab.VOCAB_SIZE)
        self.guessed = torch.zeros(vocab.VOCAB_SIZE)  # the entropy model's logits

        patcher = model.patcher
        patcher_output = self.matrix(patcher.output, patcher.norm)
        output = self.matrix(decoder.output, decoder.norm)
        self.stacks = {
            "patcher": self.stack(patcher.stack, patcher_output),
            "encoder": self.stack(model.encoder.stack, MATRIX()),
            "global": self.stack(model.global_.stack, MATRIX()),
            "decoder": self.stack(decoder.stack, output, decoder.cross),
        }
        self.hashes = self.hash_tables()
        self.patch = self.pooling()

    def keep(self, thing: object) -> int:
        """Where a tensor or an array lies; it stays there."""
        self.held.append(thing)
        return thing.data_ptr() if torch.is_tensor(thing) else ctypes.addressof(thing)

    def matrix(self, linear: nn.Linear, norm: RMSNorm | None = None, gated: bool = False) -> MATRIX:
        """A matrix as this form holds it, with the norm in front of it."""
        columns = linear.weight.t()  # (in, out)
        found = MATRIX(inputs=columns.shape[0], outputs=columns.shape[1], stride=columns.shape[0])
        found.kind = KINDS.index(self.form.kind)
        if norm is not None:
            found.normed = True
            if self.form.folded:
                columns = columns * norm.weight[:, None]
            else:
                found.norm = self.keep(norm.weight)
        if gated:
            found.gated = True
            columns = columns.unflatten(1, (2, -1, PANEL // 2)).transpose(1, 2).flatten(1)
        if "int8" in self.form.kind:
            scales = columns.abs().amax(0) / 127
            columns = (columns / scales).round()
            found.scales = self.keep(in_panels(scales[None]))
            found.sums = self.keep(in_panels(128 * columns.sum(0)[None]))
        dtype = torch.int8 if "int8" in self.form.kind else getattr(torch, self.form.kind)
        rows = 4 if self.form.kind == "int8 by int8" else 1
        found.numbers = self.keep(in_panels(columns, rows).to(dtype))
        return found

    def stack(self, stack: Stack, output: MATRIX, cross: Iterable[CrossAttention] = ()) -> STACK:
        """A stack with empty caches; output: the norm and matrix behind it, if any."""
        config, cross = stack.config, list(cross)
        head = config.dim // config.n_heads
        slots = -(-self.logits.shape[0] // PANEL) * PANEL
        layers = (LAYER * config.n_layers)()
        for n, (target, layer) in enumerate(zip(layers, stack.layers, strict=True)):
            attention, feed_forward = layer.attention, layer.feed_forward
            target.qkv = self.matrix(attention.qkv, layer.attention_norm)
            target.out = self.matrix(attention.out)
            gate_up = feed_forward.gate_up
            target.gate_up = self.matrix(gate_up, layer.feed_forward_norm, self.form.gated)
            target.down = self.matrix(feed_forward.down)
            if cross:
                target.query = self.matrix(cross[n].query, cross[n].query_norm)
                target.read = self.matrix(cross[n].out)
            target.keys = self.keep(torch.zeros(config.n_heads, slots, head))
            padded = -(-head // PANEL) * PANEL
            target.values = self.keep(torch.zeros(config.n_heads, slots, padded))
        radians = rotary_radians(head, config.rope_theta, torch.float32, self.model.device)
        window = config.window or slots
        sizes = [config.n_layers, config.dim, config.n_heads, config.hidden_dim, slots, window]
        latents = self.model.config.keys_per_patch if cross else 0
        residual = cross[0].residual if cross else 0
        pointers = self.keep(layers), self.keep(radians)
        return STACK(*pointers, output, *sizes, latents, residual, config.norm_eps)

    def hash_tables(self) -> HASHES:
        """What the encoder looks bytes and n-grams up in."""
        encoder = self.model.encoder
        hashes = encoder.hashes
        pointers = self.keep(encoder.embedding.weight), self.keep(hashes.table.weight)
        powers = self.keep(hashes.powers.t().contiguous())
        sizes = len(hashes.config.sizes), hashes.reach, hashes.config.n_rows
        return HASHES(*pointers, powers, *sizes)

    def pooling(self) -> PATCH:
        """What stands around the global transformer: pooling, and the decoder's keys."""
        model = self.model
        encoder, decoder, pool = model.encoder, model.decoder, model.encoder.cross
        projection = model.global_.projection
        keys = (MATRIX * len(decoder.cross))()
        for n, cross in enumerate(decoder.cross):
            keys[n] = self.matrix(cross.key_value, cross.key_norm)
        matrices = [
            self.matrix(encoder.query_projection),
            self.matrix(pool.key_value, pool.key_norm),
            self.matrix(pool.query, pool.query_norm),
            self.matrix(pool.out),
            self.matrix(projection) if isinstance(projection, nn.Linear) else MATRIX(),
            self.matrix(decoder.latent_projection),
        ]
        sizes = len(keys), model.config.keys_per_patch, pool.n_heads
        eps = model.config.encoder.norm_eps
        return PATCH(*matrices, self.keep(keys), *sizes, pool.residual, eps)

    # -- passes: each a function of no arguments -----------------------------------------------

    def call(self, part: str, *arguments: object) -> Work:
        """A part of limit.cpp with its arguments; tensors and structs go as addresses."""
        told = []
        for one in arguments:
            is_struct = isinstance(one, ctypes.Structure)
            one = one.data_ptr() if torch.is_tensor(one) else one
            told.append(ctypes.byref(one) if is_struct else one)
        return partial(getattr(self.library, part), ctypes.byref(self.stacks[part]), *told)

    def patcher(self, at: int) -> Work:
        """The entropy after a byte."""
        table = self.model.patcher.embedding.weight
        return self.call("patcher", table, self.row.ids[at], at, self.guessed, self.entropies[at:])

    def encoder(self, at: int) -> Work:
        """The state of a byte."""
        return self.call("encoder", self.hashes, self.ids[at:], at, self.states[at:])

    def global_(self, patch: int) -> Work:
        """What the decoder reads of a patch."""
        begin, end = self.row.starts[patch : patch + 2]
        assert end - begin <= MOST, f"a patch of {end - begin} bytes"
        states = self.states[begin:]
        return self.call("global", self.patch, states, end - begin, patch, self.latents[patch:])

    def decoder(self, at: int) -> Work:
        """Logits after a byte."""
        latent = self.latents[self.row.reads[at] :]
        return self.call("decoder", self.states[at:], 1, at, 0, latent, self.logits[at:])

    def block(self, inputs: Tensor) -> Work:
        """Logits of a block behind the text."""
        at = self.row.length
        latent, logits = self.latents[-1:], self.logits[at:]
        return self.call("decoder", self.keep(inputs), BLOCK, at, 1, latent, logits)

    def read(self, block: Tensor) -> None:
        """All parts over the text, byte by byte; then the decoder over a block (1, S, D)."""
        patch = 0
        for at in range(self.row.length):
            self.patcher(at)()
            self.encoder(at)()
            if at + 1 == self.row.starts[patch + 1]:
                self.global_(patch)()
                patch = min(patch + 1, self.row.closed - 1)
            self.decoder(at)()
        self.block(block)()

    def parts(self, block: Tensor) -> dict[str, Work]:
        """The same passes as `parts_of` gives."""
        at = self.row.length - 1
        return {
            "patcher": self.patcher(at),
            "encoder": self.encoder(at),
            "global": self.global_(self.row.closed - 1),
            "decoder": self.decoder(at),
            A_BLOCK: self.block(block),
        }


def compiled_library(folder: str, level: str = "-O3") -> ctypes.CDLL:
    """limit.cpp, compiled for this processor."""
    flags = ["-std=c++17", level, "-march=native", "-ffast-math", "-shared", "-fPIC"]
    source = Path(__file__).with_suffix(".cpp")
    command = ["g++", *flags, str(source), "-o", f"{folder}/limit.so"]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(f"{folder}/limit.so")
    pointer = c_void_p
    library.patcher.argtypes = [pointer, pointer, c_long, c_int, pointer, pointer]
    library.encoder.argtypes = [pointer, pointer, pointer, c_int, pointer]
    getattr(library, "global").argtypes = [pointer, pointer, pointer, c_int, c_int, pointer]
    library.decoder.argtypes = [pointer, pointer, c_int, c_int, c_int, pointer, pointer]
    library.read_all.argtypes = [pointer, c_long, c_int]
    library.multiply_add.argtypes = [c_long, c_float, c_float]
    return library


# -- the library's own passes ----------------------------------------------------------------------


def parts_of(state: DecodingState) -> dict[str, Work]:
    """One pass of each part over the last byte, or the last closed patch, of a text."""
    passes, row = state._passes, state.rows[0]
    span = passes.span([row.length - 1], [1])
    ids = torch.tensor([row.ids[-1:]])
    row.decoded = row.length - 1
    part = state._pending_part()
    block = state._block_part(torch.full((1, BLOCK), vocab.MASK_ID), "closed", None)
    edges = row.starts[-2:]
    return {
        "patcher": lambda: passes.find_patches(ids, span),
        "encoder": lambda: passes.encode(ids, span),
        "global": lambda: passes.close_patches([0], [row.closed - 1], [edges]),
        "decoder": lambda: passes.decode(part),
        A_BLOCK: lambda: passes.decode_block([block], BLOCK),
    }


def touched(state: DecodingState, work: Work, positions: int) -> tuple[float, float]:
    """Megabytes of weights and caches that a pass reads, and its operations in millions."""
    passes = state._passes
    weights, caches = passes.weight_bytes, passes.cache_bytes
    with FlopCounterMode(display=False) as counter:  # it leaves attention out
        work()
    weights, caches = passes.weight_bytes - weights, passes.cache_bytes - caches
    of_attention = 2 * positions * caches / 4  # a cached number is multiplied and added
    return (weights + caches) / 1e6, (counter.get_total_flops() + of_attention) / 1e6


# -- what is measured ------------------------------------------------------------------------------


def microseconds(works: dict[str, Work], rounds: int, repeats: int = 1) -> dict[str, float]:
    """The best of some runs of each in turn, in microseconds of the thread."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            for _ in range(repeats):
                began = time.thread_time()
                work()
                best[name] = min(best[name], 1e6 * (time.thread_time() - began))
    return best


def times_of(ways: dict[str, dict[str, Work]]) -> dict[str, dict[str, float]]:
    """For each way microseconds of each part; and of all in turn, for one byte."""
    passes = {f"{way}/{part}": work for way in ways for part, work in ways[way].items()}
    best = microseconds(passes, rounds=40, repeats=8)
    turns = {f"{way}/{BYTE}": partial(in_turn, parts) for way, parts in ways.items()}
    for name, time_of_turn in microseconds(turns, rounds=20, repeats=4).items():
        best[name] = time_of_turn / TURN["decoder"]
    found: dict[str, dict[str, float]] = {way: {} for way in ways}
    for name, value in best.items():
        way, _, part = name.partition("/")
        found[way][part] = value
    return found


def in_turn(parts: dict[str, Work]) -> None:
    """The passes of a few bytes: none finds its weights in the caches nearest to the core."""
    for at in range(TURN["decoder"]):
        for part, count in TURN.items():
            if at < count:
                parts[part]()


def speeds_of(library: ctypes.CDLL) -> dict[str, float]:
    """Megabytes a microsecond from each level of memory, and million operations of arithmetic."""
    speeds = {}
    for level, size in LEVELS.items():
        numbers = torch.ones(size // 4)
        times = max(1, (1 << 23) // size)  # a call that is too short times the clock
        read = partial(library.read_all, numbers.data_ptr(), len(numbers), times)
        best = microseconds({level: read}, 5 if size > 1 << 25 else 300)[level]
        speeds[level] = size * times / 1e6 / best
    times = 20_000
    multiply = partial(library.multiply_add, times, 0.5, 0.5)
    best = microseconds({"": multiply}, 300)[""]
    speeds["arithmetic"] = 512 * times / 1e6 / best
    return speeds


def sizes_of(state: DecodingState, parts: dict[str, Work]) -> dict[str, tuple[float, float]]:
    """What each part touches, and all of them for one byte."""
    sizes = {}
    for part, work in parts.items():
        sizes[part] = touched(state, work, BLOCK if part == A_BLOCK else 1)
    megabytes = operations = 0.0
    for part, count in TURN.items():
        megabytes += sizes[part][0] * count / TURN["decoder"]
        operations += sizes[part][1] * count / TURN["decoder"]
    return sizes | {BYTE: (megabytes, operations)}


def read_by_hand(library: ctypes.CDLL, state: DecodingState) -> dict[Form, ByHand]:
    """The model by hand in every form that this processor can multiply; each has read the text."""
    hands = {}
    for form in FORMS:
        if form.kind != KINDS[-1] or library.multiplies_bytes():
            hands[form] = ByHand(library, state.model, form, state)
            hands[form].read(block_of(state.model))
    return hands


def check(hand: ByHand, logits: Tensor, block: Tensor) -> None:
    """That by hand the same is found: logits (T, V) of the text and (S, V) of a block behind it."""
    length = hand.row.length
    entropies = torch.tensor(hand.row.entropies)
    assert (hand.entropies[:length] - entropies).abs().max() < 1e-3, "other entropies by hand"
    assert (hand.logits[:length] - logits).abs().max() < 1e-3, "other logits by hand"
    assert (hand.logits[length:] - block).abs().max() < 1e-3, "other logits of a block by hand"


# -- what is printed -------------------------------------------------------------------------------


def print_bounds(
    times: dict[str, dict[str, float]],
    sizes: dict[str, tuple[float, float]],
    speeds: dict[str, float],
) -> None:
    """A line for each part: microseconds in three ways, and what they are bounded by."""
    print(" | ".join(f"{name} {1000 * speed:.0f}" for name, speed in speeds.items()), end=" ")
    print("GB/s, GFLOP/s\n")
    names = [*times, *speeds]
    print(f"{'part':12}" + "".join(f"{name:>13}" for name in [*names, "MB", "MFLOP", "bound"]))
    for part, (megabytes, operations) in sizes.items():
        line = [way[part] for way in times.values()]
        line += [megabytes / speeds[level] for level in LEVELS]
        line += [operations / speeds["arithmetic"], megabytes, operations]
        line.append(bound(megabytes, operations, speeds))
        print(f"{part:12}" + "".join(f"{value:13.1f}" for value in line))
    whole = bound(*sizes[BYTE], speeds)
    told = [f"{way} {found[BYTE] / whole:.1f}" for way, found in times.items()]
    print(f"\n{BYTE}, times its bound: {', '.join(told)}")


def bound(megabytes: float, operations: float, speeds: dict[str, float]) -> float:
    """Microseconds below which a pass cannot come whose weights lie in the last cache."""
    return max(megabytes / speeds["last cache"], operations / speeds["arithmetic"])


def print_forms(hands: dict[Form, ByHand], logits: Tensor, threshold: float) -> None:
    """A line for each form of the weights: microseconds, and how far it moves what is written."""
    block = block_of(hands[Form()].model)
    times = times_of({str(form): hand.parts(block) for form, hand in hands.items()})
    parts = ["patcher", "decoder", A_BLOCK, BYTE]
    moves = ["logits", "same byte", "nats", "boundaries"]
    print(f"\n{'weights':40}" + "".join(f"{name:>12}" for name in parts + moves))
    length = len(logits)
    nats = torch.tensor(hands[Form()].row.entropies)
    for form, hand in hands.items():
        found = hand.logits[:length]
        same = (found.argmax(-1) == logits.argmax(-1)).float().mean()
        entropies = hand.entropies[:length]
        moved = (entropies > threshold) != (nats > threshold)
        line = "".join(f"{times[str(form)][part]:12.1f}" for part in parts)
        line += f"{(found - logits).abs().max():12.1g}{same:12.1%}"
        line += f"{(entropies - nats).abs().max():12.1g}{moved.sum():12}"
        print(f"{form!s:40}{line}")


def block_of(model: BLT) -> Tensor:
    """What a block of MASKs enters the decoder with: (1, S, D)."""
    return model.decoder.embedding(torch.full((1, BLOCK), vocab.MASK_ID))


@torch.inference_mode()
def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="blt-d-phrases-8")
    parser.add_argument("--text", default="phrases", help="the corpus of the text")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = BLT.from_pretrained(asked.checkpoint, device="cpu")
    compiled = deepcopy(model)
    compiled.compile()
    ids = bltlab.encode(running_text(asked.text, LENGTH))
    state, compiled_state = DecodingState(model), DecodingState(compiled)
    logits = state.extend(ids)[0]
    compiled_state.extend(ids)
    parts = parts_of(state)
    with tempfile.TemporaryDirectory() as folder:
        library = compiled_library(folder)
        hands = read_by_hand(library, state)
        plain = hands[Form()]
        check(plain, logits, parts[A_BLOCK]()[0])
        ways = {"eager": parts, "compiled": parts_of(compiled_state)}
        ways["by hand"] = plain.parts(block_of(model))
        print_bounds(times_of(ways), sizes_of(state, parts), speeds_of(library))
        print_forms(hands, logits, model.config.patcher.threshold)


if __name__ == "__main__":
    main()
