"""Compiled decoding: the parts of a step as AOTInductor packages, behind `CachedModel`'s functions.

`model.compile()` builds them once, with a C++ compiler, and keeps them in a folder of the user's
(`cache_folder`); from then on they are loaded. Weights stay those of the model: no copy is made.
A package is for one kind of pass:

    one     one text, one byte (or one patch)
    row     one text, several

A pass of no such kind (a long prompt, a batch) runs as without `compile`, over the same caches.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from tqdm.auto import tqdm

from . import files
from .cache import Cache, Span
from .clock import timed
from .layers import FEW
from .model import BLT
from .passes import CachedModel, Part, joined_reads, patch_numbers
from .patching import opens_by_rule
from .steps import STEPS, product

KINDS = ("one", "row")
MOST = FEW  # bytes of a compiled pass; what is longer is no overhead
DTYPES = (torch.float32, torch.float64)
SOURCES = (
    "compiled",
    "steps",
    "layers",
    "masks",
    "model",
    "patching",
)  # rooms that the packages are made of

Call = Callable[[list[Tensor]], list[Tensor]]


class Package(NamedTuple):
    """A step that can be called with a list of tensors, and the weights that it reads."""

    run: Call
    weights: dict[str, Tensor]


Steps = dict[tuple[str, str], Package]  # by part and kind

_steps: WeakKeyDictionary[BLT, tuple[Steps, list[int]]] = WeakKeyDictionary()


# -- what users ask for --------------------------------------------------------------------------


def compile_model(model: BLT) -> bool:
    """Have a model decode by compiled steps from now on; returns whether it will.

    Where they cannot be had, a warning says why in one sentence, and the model runs as before.
    """
    reason = why_not(model)
    if reason is None:
        try:
            use(model, _packages(model))
            return True
        except Exception as error:  # whatever torch or the compiler have to say
            told = str(error).strip().split("\n")[-1]
            reason = f"compiling failed with {type(error).__name__}: {told:.200}"
    warnings.warn(f"{reason}; decoding goes on uncompiled", stacklevel=3)
    return False


def why_not(model: BLT) -> str | None:
    """One sentence why a model cannot be compiled here; None if it can."""
    if model.device.type != "cpu":
        return f"steps are compiled for the CPU, this model is on {model.device}"
    if model.dtype not in DTYPES:
        dtype = str(model.dtype).removeprefix("torch.")
        return f"steps are compiled for float32 and float64, this model is {dtype}"
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        return f"compiling needs a C++ compiler, and {compiler} is not installed"
    return None


def use(model: BLT, steps: Steps | None) -> None:
    """Let new states of a model use these steps; None: none."""
    if steps is None:
        _steps.pop(model, None)
    else:
        _steps[model] = steps, _addresses(model)


def steps_of(model: BLT) -> Steps | None:
    """The steps that states of a model use, if any: not once it was moved or cast."""
    steps, addresses = _steps.get(model, (None, None))
    return steps if steps and addresses == _addresses(model) else None


def _addresses(model: BLT) -> list[int]:
    """Where the weights are: packages read them there."""
    return [weight.data_ptr() for weight in model.parameters()]


def uncompiled(model: BLT) -> Steps:
    """The same steps run by torch, one operation after another: to test them without a compiler."""
    steps: Steps = {}
    for part, step in STEPS.items():
        package = Package(partial(_run, step(model)), {})
        steps |= {(part, kind): package for kind in KINDS}
    return steps


def _run(step: Any, tensors: list[Tensor]) -> list[Tensor]:
    return [step(*tensors)]


# -- packages ------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where packages are kept."""
    return files.cache_folder() / "steps"


def _packages(model: BLT) -> Steps:
    """All steps of a model, built where they are not kept yet."""
    steps: Steps = {}
    wanted = [(part, kind) for part in STEPS for kind in KINDS]
    with tqdm(wanted, desc="compiling", leave=False) as bar:
        for part, kind in bar:
            bar.set_postfix_str(f"{part.strip('_')}, {kind}")
            steps[part, kind] = _package(model, part, kind)
    return steps


def _package(model: BLT, part: str, kind: str) -> Package:
    """One step, built if it must be, over the model's own weights."""
    step = STEPS[part](model)
    path = cache_folder() / f"{_key(model, part, kind)}.pt2"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as unfinished:
            _build(model, step, part, kind, unfinished)
    package = torch._inductor.aoti_load_package(str(path))
    weights = dict(step.named_parameters()) | dict(step.named_buffers())
    needed = {name: weights[name].detach() for name in package.get_constant_fqns()}
    package.load_constants(needed, check_full_update=True, user_managed=True)
    return Package(package.loader.run, needed)


def _build(model: BLT, step: torch.nn.Module, part: str, kind: str, path: Path) -> None:
    """Compile a step to a file."""
    held = caches_of(CachedModel(model, 1), part)
    tensors = _example(model, part, kind, held)
    sizes = _free_sizes(part, kind, held)
    made = f"{path}.pt2"  # the only ending that torch takes
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(step, tensors, dynamic_shapes=sizes, strict=False)
        if kind == "one":
            linear = torch.ops.aten.linear.default
            program = program.run_decompositions({linear: product})
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=made,
            inductor_configs={"aot_inductor.package_constants_in_so": False},
        )
    os.replace(made, path)


def _example(model: BLT, part: str, kind: str, held: list[Cache]) -> tuple[Tensor, ...]:
    """Arguments of a step: numbers do not matter, sizes do."""
    length = 1 if kind == "one" else 3
    if part == "decoder":
        width = model.config.decoder.dim
        first = torch.zeros(1, length, width, dtype=model.dtype)
    elif part == "global_":
        first = torch.zeros(2, 1, 5, dtype=torch.long)
    else:
        first = torch.zeros(1, length, dtype=torch.long)
    numbers = 5 if part == "decoder" else 2
    at = torch.zeros(numbers, 1, length, dtype=torch.long)
    reach = torch.empty(1).expand(9, 7)
    layers = [layer for cache in held for layer in cache.layers]
    return (first, at, reach, *layers)


def _free_sizes(part: str, kind: str, held: list[Cache]) -> tuple[Any, ...]:
    """For each argument of `_example` the axes whose size may be another one in each call."""
    free = torch.export.Dim.DYNAMIC
    of_first: dict[int, Any] = {}
    of_at: dict[int, Any] = {}
    if kind == "row":
        length = torch.export.Dim("length", min=2, max=MOST)
        of_first = {1: length}
        of_at = {2: length}
    if part == "global_":
        of_first = {2: free}
    beside = [{cache.axis: free} for cache in held[:-1]]  # of one layer each
    kv = held[-1]
    of_kv = ({kv.axis: free},) * len(kv.layers)  # the step takes them as one argument
    return (of_first, of_at, {0: free, 1: free}, *beside, of_kv)


def _key(model: BLT, part: str, kind: str) -> str:
    """What a package depends on, as a file name."""
    patcher = replace(model.config.patcher, threshold=0.0)  # the rule is applied outside
    config = replace(model.config, patcher=patcher)
    facts = [
        part,
        kind,
        config.to_json(),
        str(model.dtype),
        str(model.decoder.output.weight.stride()),
        torch.__version__,
        _processor(),
    ]
    for room in SOURCES:
        source = import_module(f"bltlab.{room}").__file__
        facts.append(Path(source).read_text(encoding="utf-8"))
    told = json.dumps(facts).encode()
    return hashlib.sha256(told).hexdigest()[:32]


def _processor() -> str:
    """The processor and what it can do."""
    facts = [platform.machine(), platform.processor()]
    told = Path("/proc/cpuinfo")
    if told.is_file():
        lines = set(told.read_text(encoding="utf-8").split("\n"))
        facts += sorted(filter(re.compile("model name|flags|Features").match, lines))
    return "\n".join(facts)


# -- passes --------------------------------------------------------------------------------------


def caches_of(passes: CachedModel, part: str) -> list[Cache]:
    """The caches that a step takes, those of its layers last."""
    beside: dict[str, list[Cache]] = {
        "patcher": [],
        "encoder": [passes.ids, passes.states],
        "global_": [passes.states, passes.latents, passes.keys],
        "decoder": [passes.keys],
    }
    return [*beside[part], passes.kv[part]]


def passes_of(model: BLT, batch_size: int) -> CachedModel:
    """The passes of a new state: by compiled steps where the model has them."""
    return CompiledModel(model, batch_size) if steps_of(model) else CachedModel(model, batch_size)


class Plan(NamedTuple):
    """How a pass runs: a part's compiled step; the first slot that it reads, and how many."""

    part: str
    run: Call
    low: int
    slots: int


class CompiledModel(CachedModel):
    """A `CachedModel` whose passes are compiled steps where there is one for their kind."""

    def __init__(self, model: BLT, batch_size: int):
        super().__init__(model, batch_size)
        self._steps = steps_of(model)
        self._held = {part: caches_of(self, part) for part in STEPS}
        self._shape = torch.empty(1)  # expanded, it carries sizes
        self._last_span: Span | None = None

    def _plan(self, part: str, first: int, end: int) -> Plan | None:
        """How positions first .. end - 1 run through a part; None: by no compiled step.

        The very first position does not: sizes of 1 would be another graph.
        """
        window = getattr(self.model.config, part).window
        low = 0 if window is None else max(0, first - window + 1)
        slots = end - low
        if self.batch_size > 1 or end - first > MOST or slots == 1:
            return None
        kind = "one" if end - first == 1 else "row"
        package = self._steps[part, kind]
        return Plan(part, package.run, low, slots)

    def _run(self, plan: Plan, first: Tensor, at: Tensor) -> Tensor:
        """What a step gives. first: its first argument; at (n, 1, T): as in `bltlab.steps`."""
        self.cache_bytes += self.kv[plan.part].slot_bytes * plan.slots
        reach = self._shape.expand(plan.low + 2, plan.slots)
        layers = [layer for cache in self._held[plan.part] for layer in cache.layers]
        (found,) = plan.run([first, at, reach, *layers])
        return found

    def _at(self, span: Span) -> Tensor:
        """(2, 1, T): positions, and the slots that are written; in a batch of one the same."""
        if span is not self._last_span:
            self._last_span = span
            positions = list(range(span.first[0], span.end))
            self._last_at = torch.tensor([[positions], [positions]])
        return self._last_at

    def find_patches(self, ids: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        """As in `CachedModel`."""
        plan = self._plan("patcher", span.first[0], span.end)
        if plan is None:
            return super().find_patches(ids, span)
        return self._find_patches(plan, ids, span)

    @timed("patcher")
    def _find_patches(self, plan: Plan, ids: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        self.kv["patcher"].reserve(span.end)
        nats = self._run(plan, ids, self._at(span))
        self._count("patcher", "patcher")
        return nats, opens_by_rule(self.model.config.patcher, ids, nats)

    def encode(self, ids: Tensor, span: Span) -> Tensor:
        """As in `CachedModel`."""
        plan = self._plan("encoder", span.first[0], span.end)
        if plan is None:
            return super().encode(ids, span)
        return self._encode(plan, ids, span)

    @timed("encoder")
    def _encode(self, plan: Plan, ids: Tensor, span: Span) -> Tensor:
        for cache in (self.ids, self.states, self.kv["encoder"]):
            cache.reserve(span.end)
        self._count("encoder", "encoder")
        return self._run(plan, ids, self._at(span))

    def close_patches(self, rows: list[int], first: list[int], edges: list[list[int]]) -> None:
        """As in `CachedModel`."""
        end = first[0] + len(edges[0]) - 1
        plan = self._plan("global_", first[0], end)
        n_bytes = edges[0][-1] - edges[0][0]
        if plan is None or n_bytes > MOST:
            super().close_patches(rows, first, edges)
        else:
            self._close_patches(plan, list(range(first[0], end)), edges[0])

    @timed("global_")
    def _close_patches(self, plan: Plan, patches: list[int], edges: list[int]) -> None:
        for cache in (self.latents, self.keys, self.kv["global_"]):
            cache.reserve(patches[-1] + 1)
        positions = list(range(edges[0], edges[-1]))
        numbers = patch_numbers(edges)
        if len(positions) == 1:  # sizes of 1 would be another graph: a second byte, of no patch
            positions = positions * 2
            numbers = [0, 1]
        held = torch.tensor([[positions], [numbers]])
        self._run(plan, held, torch.tensor([[patches], [patches]]))
        self._count("global_", "global_", "pool", "keys")

    def decode(self, part: Part) -> Tensor:
        """As in `CachedModel`."""
        plan = self._plan("decoder", part.span.first[0], part.span.end)
        if plan is None:
            return super().decode(part)
        return self._decode(plan, [part], 0)

    def decode_block(self, parts: list[Part], block_size: int) -> Tensor:
        """As in `CachedModel`."""
        plan = self._plan("decoder", parts[0].span.first[0], parts[-1].span.end)
        if plan is None:
            return super().decode_block(parts, block_size)
        return self._decode(plan, parts, block_size)

    @timed("decoder")
    def _decode(self, plan: Plan, parts: list[Part], block_size: int) -> Tensor:
        inputs = parts[0].inputs
        if len(parts) > 1:
            inputs = torch.cat([part.inputs for part in parts], 1)
        positions: list[int] = []
        for part in parts:
            positions += range(part.span.first[0], part.span.end)
        last = parts[-1].span
        self.kv["decoder"].reserve(last.end)
        n = len(positions)
        (reads,) = joined_reads(parts)
        if len(reads) < n:
            reads = reads * n
        begin = last.first[0]
        block = [[begin] * n, [begin + block_size] * n]
        at = torch.tensor([positions, positions, reads, *block])[:, None]
        self._count("decoder", "decoder")
        self.cache_bytes += self.keys.slot_bytes * n
        return self._run(plan, inputs, at)
