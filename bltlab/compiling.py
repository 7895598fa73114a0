"""Packages: the parts of a step compiled by AOTInductor, built once and kept in a folder.

A package is for one kind of pass:

    one     one text, one byte (or one patch)
    row     one text, several
    each    several texts, one byte of each
    rows    several texts, several of each

It holds no weights: it reads those of the model that it is loaded for. Other processes build
packages, as many at once as there are processors.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from . import files
from .cache import Cache
from .config import BLTConfig
from .layers import FEW, lay_out_by_row
from .model import BLT
from .passes import CachedModel
from .steps import STEPS, TOGETHER, product

OF_ONE = ("one", "row")  # kinds of passes over one text: of one byte, of several
OF_SEVERAL = ("each", "rows")  # over several texts
MOST = FEW  # bytes of a row in a compiled pass; what is longer is no overhead
TEXTS = TOGETHER + 1  # of an example: two loops of a product. Packages take any number from two on
CONFIGS = {
    "aot_inductor.package_constants_in_so": False,
    "realize_reads_threshold": 0,  # no norm inside the loops of a product
    "memory_planning": True,  # one allocation in place of one for each result
}
SOURCES = (  # rooms that the packages are made of
    "compiling",
    "steps",
    "layers",
    "masks",
    "model",
    "patching",
    "cache",
    "passes",
)

Call = Callable[[list[Tensor]], list[Tensor]]
Name = tuple[str, str]  # part and kind


class Package(NamedTuple):
    """A step that can be called with a list of tensors, and the weights that it reads."""

    run: Call
    weights: dict[str, Tensor]


Steps = dict[Name, Package]


def uncompiled(model: BLT) -> Steps:
    """The same steps run by torch, one operation after another: to test them without a compiler."""
    steps: Steps = {}
    for part, step in STEPS.items():
        package = Package(partial(_run, step(model)), {})
        steps |= {(part, kind): package for kind in OF_ONE + OF_SEVERAL}
    return steps


def _run(step: Any, tensors: list[Tensor]) -> list[Tensor]:
    return [step(*tensors)]


def caches_of(passes: CachedModel, part: str) -> list[Cache]:
    """The caches that a step takes, those of its layers last."""
    beside: dict[str, list[Cache]] = {
        "patcher": [],
        "encoder": [passes.ids, passes.states],
        "global_": [passes.states, passes.latents, passes.keys],
        "decoder": [passes.keys],
    }
    return [*beside[part], passes.kv[part]]


# -- kept in a folder ----------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where packages are kept."""
    return files.cache_folder() / "steps"


def packages_of(model: BLT, kinds: Sequence[str]) -> Steps:
    """The steps of a model for some kinds of passes."""
    return kept(model, all_of(kinds))


def all_of(kinds: Sequence[str]) -> list[Name]:
    """The names of the packages of some kinds."""
    return [(part, kind) for part in STEPS for kind in kinds]


def missing(model: BLT, names: Sequence[Name]) -> list[Name]:
    """Those of some packages that are not kept yet."""
    return [name for name in names if not _path(model, name).is_file()]


def kept(model: BLT, names: Sequence[Name]) -> Steps:
    """Some packages of a model, built where they are not kept yet.

    From then on its matrices are stored by row: packages read them so.
    """
    to_build = missing(model, names)
    if to_build:
        _build_all(model, to_build)
    opened = {name: _opened(model, name) for name in names}
    lay_out_by_row(model)
    return {name: _over_weights(model, name, package) for name, package in opened.items()}


def _over_weights(model: BLT, name: Name, package: Any) -> Package:
    """An opened package over the model's own weights."""
    step = STEPS[name[0]](model)
    weights = dict(step.named_parameters()) | dict(step.named_buffers())
    needed = {key: weights[key].detach() for key in package.get_constant_fqns()}
    package.load_constants(needed, check_full_update=True, user_managed=True)
    return Package(package.loader.run, needed)


def _opened(model: BLT, name: Name) -> Any:
    """A package as torch opens it; a damaged one is built again."""
    path = str(_path(model, name))
    try:
        return torch._inductor.aoti_load_package(path)
    except Exception:  # torch has none of its own
        _build_all(model, [name])
        return torch._inductor.aoti_load_package(path)


def _path(model: BLT, name: Name) -> Path:
    """Where a package is kept: under a name made of all that it depends on."""
    patcher = replace(model.config.patcher, threshold=0.0)  # the rule is applied outside
    config = replace(model.config, patcher=patcher)
    facts = [
        *name,
        config.to_json(),
        str(model.dtype),
        *_surroundings(),
    ]
    told = json.dumps(facts).encode()
    return cache_folder() / f"{hashlib.sha256(told).hexdigest()[:32]}.pt2"


@lru_cache
def _surroundings() -> list[str]:
    """What packages of every model depend on; it stays the same in a process."""
    facts = [torch.__version__, _processor()]
    for room in SOURCES:
        source = import_module(f"bltlab.{room}").__file__
        facts.append(Path(source).read_text(encoding="utf-8"))
    return facts


def _processor() -> str:
    """The processor and what it can do."""
    facts = [platform.machine(), platform.processor()]
    told = Path("/proc/cpuinfo")
    if told.is_file():
        lines = set(told.read_text(encoding="utf-8").split("\n"))
        facts += sorted(filter(re.compile("model name|flags|Features").match, lines))
    return "\n".join(facts)


# -- building ------------------------------------------------------------------------------------


def _build_all(model: BLT, names: Sequence[Name]) -> None:
    """Build packages, the largest first, in as many processes as there are processors.

    Raises RuntimeError, with what a process said, where one fails; then nothing else is begun.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    orders: SimpleQueue[str] = SimpleQueue()
    for name in reversed(names):
        orders.put(_order(model, name))
    n_workers = min(_processors(), len(names))
    bar = tqdm(total=len(names), desc="compiling", leave=False)
    with bar, ThreadPoolExecutor(n_workers) as pool:
        workers = [pool.submit(_build_apart, orders, bar) for _ in range(n_workers)]
        try:
            for worker in as_completed(workers):
                worker.result()
        finally:  # after a failure or an interrupt: what is not begun stays undone
            with suppress(Empty):
                while True:
                    orders.get_nowait()


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _order(model: BLT, name: Name) -> str:
    """What another process is told to build, for a model of this shape, as a line."""
    order = dict(
        name=name,
        config=model.config.to_json(),
        dtype=str(model.dtype).removeprefix("torch."),
        path=str(_path(model, name)),
    )
    return json.dumps(order)


def _build_apart(orders: SimpleQueue[str], bar: tqdm) -> None:
    """Have a process of its own build what is ordered, one after another."""
    task = f"from {__name__} import build_ordered; build_ordered()"
    command = [sys.executable, "-P", "-c", task]  # -P: no modules of the folder it runs in
    pipes: dict[str, Any] = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with TemporaryFile("w+", errors="replace") as said:
        with subprocess.Popen(command, stderr=said, env=_environment(), **pipes) as builder:
            with suppress(Empty, OSError):  # OSError: it has ended
                while builder.poll() is None:
                    builder.stdin.write(orders.get_nowait() + "\n")
                    builder.stdin.flush()
                    done = builder.stdout.readline()
                    bar.update(1 if done else 0)
            builder.communicate()
        if builder.returncode:
            said.seek(0)
            raise RuntimeError(said.read().strip() or f"exit code {builder.returncode}")


def _environment() -> dict[str, str]:
    """The environment of a process that finds this package where it lies."""
    here = str(Path(__file__).parent.parent)
    given = os.environ.get("PYTHONPATH")
    paths = [here, given] if given else [here]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def build_ordered() -> None:
    """Build what the lines of stdin order, and answer each with a line: what a builder runs."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        path = Path(order["path"])
        with TemporaryDirectory(dir=path.parent) as folder, redirect_stdout(sys.stderr):
            made = Path(folder) / path.name
            build(_like_ordered(order), tuple(order["name"]), made)
            os.replace(made, path)
        print("built", flush=True)


def _like_ordered(order: dict[str, Any]) -> BLT:
    """A model of the shape that was ordered. Nobody fills its weights: they take no memory."""
    model = BLT.on_meta(BLTConfig.from_json(order["config"]))
    model.to(getattr(torch, order["dtype"]))
    model.to_empty(device="cpu")
    model.encoder.hashes.compute_buffers()
    return model.eval().requires_grad_(False)


def build(model: BLT, name: Name, path: Path) -> None:
    """Compile a step to a file, whose name ends with .pt2."""
    part, kind = name
    step = STEPS[part](model)
    texts = 1 if kind in OF_ONE else TEXTS
    held = caches_of(CachedModel(model, texts), part)
    tensors = _example(model, part, kind, held)
    sizes = _free_sizes(part, kind, held)
    compile_to = partial(torch._inductor.aoti_compile_and_package, package_path=str(path))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(step, tensors, dynamic_shapes=sizes)
        program = program.run_decompositions({torch.ops.aten.linear.default: product})
        compile_to(program, inductor_configs=CONFIGS)


def _example(model: BLT, part: str, kind: str, held: list[Cache]) -> tuple[Tensor, ...]:
    """Arguments of a step: numbers do not matter, sizes do."""
    texts = 1 if kind in OF_ONE else TEXTS
    length = 1 if kind in ("one", "each") else TOGETHER + 1
    if part == "decoder":
        width = model.config.decoder.dim
        first = torch.zeros(texts, length, width, dtype=model.dtype)
    elif part == "global_":
        first = torch.zeros(2, texts, 11, dtype=torch.long)
    else:
        first = torch.zeros(texts, length, dtype=torch.long)
    planes = planes_of(part, kind in OF_SEVERAL)
    at = torch.zeros(planes, texts, length, dtype=torch.long)
    reach = torch.empty(1).expand(9, 7)
    layers = [layer for cache in held for layer in cache.layers]
    return (first, at, reach, *layers)


def planes_of(part: str, several: bool) -> int:
    """How many numbers a step's `at` holds of each position: see `bltlab.steps`."""
    if part == "decoder":
        return 5
    return 3 if part == "global_" and several else 2


def _free_sizes(part: str, kind: str, held: list[Cache]) -> tuple[Any, ...]:
    """For each argument of `_example` the axes whose size may be another one in each call."""
    free = torch.export.Dim.DYNAMIC
    rows: dict[int, Any] = {}
    if kind in OF_SEVERAL:  # in the global part some texts of a batch may take part
        name = "batch" if part == "global_" else "texts"
        rows[0] = torch.export.Dim(name, min=2)
    of_caches = [rows | {cache.axis: free} for cache in held]
    *beside, of_kv = of_caches
    layers = len(held[-1].layers)  # the step takes them as one argument
    of_first, of_at = _free_places(part, kind)
    of_reach = {0: free, 1: free}
    return (of_first, of_at, of_reach, *beside, (of_kv,) * layers)


def _free_places(part: str, kind: str) -> tuple[dict[int, Any], dict[int, Any]]:
    """The free axes of a step's first argument, and of `at`."""
    of_first: dict[int, Any] = {}
    of_at: dict[int, Any] = {}
    if kind in OF_SEVERAL:
        of_first[0] = of_at[1] = torch.export.Dim("texts", min=2)
    if kind in ("row", "rows"):
        of_first[1] = of_at[2] = torch.export.Dim("length", min=2, max=MOST)
    if part == "global_":  # its first argument is (2, texts, bytes)
        of_first = {axis + 1: size for axis, size in of_first.items() if axis == 0}
        of_first[2] = torch.export.Dim("bytes", min=2)
    return of_first, of_at
