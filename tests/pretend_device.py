"""A GPU for machines without one: tensors on "pretend:0", which lie on the CPU, by CUDA's rules.

    with PretendDevice() as gpu:
        model = bltlab.BLT.from_pretrained("blt-d-nano", device="pretend")
        bltlab.generate(model, "The byte ", "blt-d", max_new_bytes=32)
    print(gpu.table("waits"))

What CUDA refuses raises: an operation on tensors of both devices (but for numbers without axes,
indices and copies), a CPU generator, numpy(). Each operation is counted as one of KINDS, with the
line that asked for it; what is copied to the device without waiting is "input". Its autocast is in
pretend_autocast.py. Not pretended: kernels that one device lacks, rounding, streams, memory in all.
"""

import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

import bltlab

NAME, CPU, aten = "pretend", torch.device("cpu"), torch.ops.aten
ROOT = str(Path(bltlab.__file__).parent)  # whose lines are named
WAITS = ("to host", "to device", "size")  # copies both ways; results of a size not known before
KINDS = ("kernel", "view", "input", *WAITS)  # a view launches nothing; the host waits in WAITS
PARTS = {"find_patches": "patcher", "encode": "encoder", "close_patches": "global"}
PARTS |= dict.fromkeys(("decode", "decode_block"), "decoder")
COPIES = ("copy_", "_to_copy", "to", "copy")
PUTS = ("index_put_", "index_put", "_index_put_impl_", "_unsafe_index_put")
INDEXING = ("index", "_unsafe_index", *PUTS)
ATOMIC = ("scatter_add", "scatter_add_", "index_add", "index_add_")
EMPTY = ("empty", "empty_like", "empty_strided", "new_empty")
READS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose")
SIZED = ("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount")


class _Module(_DummyBackendModule):
    """What `torch.get_device_module("pretend")` answers: all work is done when it is asked for."""

    _stream = SimpleNamespace(synchronize=lambda: None, wait_stream=lambda other: None)
    current_stream = staticmethod(lambda device=None: _Module._stream)
    stream = staticmethod(lambda stream: nullcontext())
    synchronize = staticmethod(lambda device=None: None)
    get_device_name = staticmethod(lambda device=None: "a pretend device")
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])


_setup_privateuseone_for_python_backend(NAME, _Module())  # once a process, for good
DEVICE = torch.device(NAME, 0)


class PretendTensor(torch.Tensor):
    """Axes, dtype and device of a tensor on the device; its numbers are in `held`, on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        held = held.resolve_conj().resolve_neg()  # below, torch no longer looks at these marks
        x = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=DEVICE
        )
        x.held = held
        return x

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} on a pretend tensor outside `with PretendDevice()`")

    def tolist(self):
        return self.cpu().tolist()  # torch refuses it for subclasses


class PretendDevice(TorchDispatchMode):
    """Within it, device="pretend" works, and operations are counted.

    lacks: dtypes that the device cannot hold, such as torch.float64 on "mps". memory: bytes that a
    tensor may take. in_order: refuse what CUDA adds up in any order, whole numbers excepted.
    """

    def __init__(self):
        super().__init__()
        self.seen, self.lacks, self.memory, self.in_order = Counter(), set(), float("inf"), False

    def __enter__(self):
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=NAME) shows its copy
        return super().__enter__()

    def __exit__(self, *error):
        torch._C._set_only_lift_cpu_tensors(self._before)
        return super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name == "_has_compatible_shallow_copy_type":  # Module.to asks: it makes new parameters
            return False
        flat, shape = tree_flatten((args, kwargs or {}))
        ours = [x for x in flat if isinstance(x, PretendTensor)]
        host = [x for x in flat if _on_cpu(x)]
        on_device = _lands_on_device(func, name, flat, ours)
        if ours and host:
            _check(func, name, args, flat, host)
        if on_device and any(isinstance(x, torch.Generator) for x in flat):
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
        held_args, held_kwargs = tree_unflatten(list(map(_held, flat)), shape)
        result = func(*held_args, **held_kwargs)
        if on_device:
            for x in filter(_is_tensor, tree_flatten(result)[0]):
                self._check_result(x, name)
        if ours or on_device:
            part, line = _where()
            kinds = _kinds(func, name, args, result, ours, host, on_device)
            free = held_kwargs.get("non_blocking") and kinds == ["to device"]
            for kind in ["input"] if free else kinds:
                self.seen[kind, part, line, name] += 1
        return _wrapped(result, ours, on_device)

    def _check_result(self, x, name):
        if x.dtype in self.lacks:
            raise TypeError(f"the device has no {x.dtype}")
        if x.nbytes > self.memory:
            raise torch.OutOfMemoryError(f"no memory for {x.nbytes} bytes")
        if self.in_order and name in ATOMIC and x.is_floating_point():
            raise RuntimeError(f"{name} does not have a deterministic implementation")

    def count(self, *kinds, by=None):
        """How many operations of some kinds ("waits": those the host waits for; none: all).

        by "kind", "part", "line" or "name": a Counter of these.
        """
        found = Counter()
        for key, n in self.seen.items():
            if key[0] in _asked(kinds):
                found[by and key[("kind", "part", "line", "name").index(by)]] += n
        return found if by else found[None]

    def table(self, *kinds, most=15):
        """The lines with most operations of some kinds, as text."""
        rows = [row for row in self.seen.most_common() if row[0][0] in _asked(kinds)]
        return "\n".join(f"{n:6}  {'  '.join(map(str, key))}" for key, n in rows[:most])


def _asked(kinds):
    return WAITS if kinds == ("waits",) else kinds or KINDS


def _is_tensor(x):
    return isinstance(x, torch.Tensor)


def _on_cpu(x):
    return _is_tensor(x) and not isinstance(x, PretendTensor)


def _held(x):
    return x.held if isinstance(x, PretendTensor) else CPU if isinstance(x, torch.device) else x


def _lands_on_device(func, name, flat, ours):
    asked = [x.type == NAME for x in flat if isinstance(x, torch.device)]
    if asked:
        return asked[-1]
    like = flat[1:2] if func is aten.to.other else flat[:1] if name == "copy_" else ours
    return any(isinstance(x, PretendTensor) for x in like)


def _wrapped(result, ours, on_device):
    known = {id(x.held): x for x in ours}  # what works in place returns what it was given
    if not on_device:
        return result.clone() if id(result) in known else result
    normal = any(not x.is_inference() for x in ours)  # so are their views, in inference mode too
    with torch.inference_mode(torch.is_inference_mode_enabled() and not normal):
        return tree_map_only(
            torch.Tensor, lambda x: known[id(x)] if id(x) in known else PretendTensor(x), result
        )


def _where():
    """(part, line) from the stack."""
    frame, part, line = sys._getframe(2), None, None
    while frame and not (part and line):
        code = frame.f_code
        if ROOT in code.co_filename:
            part = part or PARTS.get(code.co_name.lstrip("_"))
            line = line or f"{Path(code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return part or ("other" if line else "backward"), line or "backward"


def _check(func, name, args, flat, host):
    """Raise as CUDA does where tensors of both devices meet."""
    first = isinstance(flat[0], PretendTensor)
    if name in INDEXING:  # indices may lie on the CPU; they are copied
        fine = first and all(x.ndim == 0 for x in host if not any(x is i for i in args[1]))
    else:  # so may operands without axes
        in_place = func._schema.is_mutable and not first
        without_axes = all(x.ndim == 0 for x in host)
        fine = torch.Tag.pointwise in func.tags and without_axes and not in_place
    if not (fine or name in COPIES or func is aten.set_.source_Tensor):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices,"
            f" {DEVICE} and cpu! ({func})"
        )


def _kinds(func, name, args, result, ours, host, on_device):
    """What an operation counts as, and one more for each index that is copied or counted first."""
    if name in COPIES and (bool(ours) != on_device or (name == "copy_" and host)):
        return ["to device" if on_device else "to host"]
    if name in READS:
        return ["to host"]
    found = ["size"] if name in SIZED or func is aten.repeat_interleave.Tensor else []
    if name in INDEXING:
        indices = [x for x in args[1] if x is not None]
        fills = name in PUTS and args[2].numel() == 1 and _on_cpu(args[2])  # by masked_fill
        found += ["to device"] * sum(map(_on_cpu, indices))
        found += ["size"] * sum(x.dtype in (torch.bool, torch.uint8) and not fills for x in indices)
    new = {_storage(x) for x in tree_flatten(result)[0] if isinstance(x, torch.Tensor)}
    is_view = not func._schema.is_mutable and new <= {_storage(x.held) for x in ours}
    launches_none = is_view or name in EMPTY
    return [*found, "view" if new and launches_none else "kernel"]


def _storage(x):
    return x.untyped_storage()._cdata
