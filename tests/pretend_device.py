"""A GPU for machines without one: tensors on "pretend:0", which lie on the CPU, by CUDA's rules.

    with PretendDevice() as gpu:
        model = bltlab.BLT.from_pretrained("blt-d-nano", device="pretend")
        bltlab.generate(model, "The byte ", "blt-d", max_new_bytes=32)
    print(gpu.table(*WAITS))

What CUDA refuses raises: an operation on tensors of both devices (but for numbers without axes,
indices and copies), a CPU generator, numpy(). Autocast goes by CUDA's lists. Operations are counted
with the line that asked for them: each is a "kernel", a "view" that launches nothing, an "input"
copied to the device without waiting, or one of WAITS. Not pretended: kernels that one device lacks,
rounding, streams, memory in all.
"""

import sys
from collections import Counter
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

import bltlab

NAME, CPU, aten = "pretend", torch.device("cpu"), torch.ops.aten
ROOT = str(Path(bltlab.__file__).parent)  # whose lines are named
WAITS = ("to host", "to device", "size")  # copies both ways; results of a size not known before
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
torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=NAME) shows its copy
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
        return self.cpu().tolist()  # torch refuses it for subclasses, and the next

    def __format__(self, spec):
        return format(self.cpu(), spec)


class PretendDevice(TorchDispatchMode):
    """Within it, device="pretend" works, and operations are counted.

    lacks: dtypes that the device cannot hold, such as torch.float64 on "mps". memory: bytes that a
    tensor may take. in_order: refuse what CUDA adds up in any order, whole numbers excepted.
    """

    def __init__(self):
        super().__init__()
        self.seen, self.lacks, self.memory, self.in_order = Counter(), set(), float("inf"), False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        if name == "_has_compatible_shallow_copy_type":  # Module.to asks: it makes new parameters
            return False
        flat = _leaves([*args, *kwargs.values()])
        ours = [x for x in flat if isinstance(x, PretendTensor)]
        on_device = _lands_on_device(func, name, flat, ours)
        if not ours and not on_device:
            return func(*args, **kwargs)
        host = [x for x in flat if _on_cpu(x)]
        _check(func, name, args, kwargs, flat, ours, host, on_device)
        held = {key: _mapped(_held, x) for key, x in kwargs.items()}
        result = func(*_mapped(_held, args), **held)
        made = [x for x in _leaves(result) if isinstance(x, torch.Tensor)]
        for x in made if on_device else ():
            self._check_result(x, name)
        kinds = _kinds(func, name, args, made, ours, host, on_device)
        if kwargs.get("non_blocking") and kinds == ["to device"]:
            kinds = ["input"]
        part, line = _where()
        for kind in kinds:
            self.seen[kind, part, line, name] += 1
        return _wrapped(result, ours, on_device)

    def _check_result(self, x, name):
        if x.dtype in self.lacks:
            raise TypeError(f"the device has no {x.dtype}")
        if x.nbytes > self.memory:
            raise torch.OutOfMemoryError(f"no memory for {x.nbytes} bytes")
        if self.in_order and name in ATOMIC and x.is_floating_point():
            raise RuntimeError(f"{name} does not have a deterministic implementation")

    def count(self, *kinds, part=None):
        """How many operations there were of some kinds (and of a part of the model)."""
        rows = self.seen.items()
        return sum(n for key, n in rows if key[0] in kinds and part in (None, key[1]))

    def table(self, *kinds):
        """The lines with most operations of some kinds, as text."""
        rows = [row for row in self.seen.most_common() if row[0][0] in kinds]
        return "\n".join(f"{n:6}  {'  '.join(map(str, key))}" for key, n in rows[:15])


def _mapped(change, x):
    """`change(x)`; of a list or tuple, that of all it holds."""
    return type(x)(_mapped(change, y) for y in x) if isinstance(x, (list, tuple)) else change(x)


def _leaves(x):
    """`x`; of a list or tuple, all it holds."""
    found = []
    _mapped(found.append, x)
    return found


def _on_cpu(x):
    return isinstance(x, torch.Tensor) and not isinstance(x, PretendTensor)


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

    def wrap(x):
        is_known = not isinstance(x, torch.Tensor) or id(x) in known
        return known.get(id(x), x) if is_known else PretendTensor(x)

    with torch._C._InferenceMode(False):  # views of normal tensors are normal there, too
        return _mapped(wrap, result)


@cache
def _place(file, function):
    """(part, short name of the file) of a function of bltlab's."""
    if not file.startswith(ROOT):
        return None, None
    return PARTS.get(function.lstrip("_")), Path(file).name


def _where():
    """(part, line) from the stack."""
    frame, part, line = sys._getframe(2), None, None
    while frame and not (part and line):
        named, file = _place(frame.f_code.co_filename, frame.f_code.co_name)
        part = part or named
        line = line or (file and f"{file}:{frame.f_lineno}")
        frame = frame.f_back
    return part or ("other" if line else "backward"), line or "backward"


def _check(func, name, args, kwargs, flat, ours, host, on_device):
    """Raise as CUDA does where tensors of both devices meet, and for a generator of the CPU's."""
    if on_device and kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
    if not (ours and host) or name in COPIES or func is aten.set_.source_Tensor:
        return
    first = isinstance(flat[0], PretendTensor)
    if name in INDEXING:  # indices may lie on the CPU; they are copied
        fine = first and all(x.ndim == 0 for x in host if not any(x is i for i in args[1]))
    else:  # so may operands without axes
        in_place = func._schema.is_mutable and not first
        without_axes = all(x.ndim == 0 for x in host)
        fine = torch.Tag.pointwise in func.tags and without_axes and not in_place
    if not fine:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices,"
            f" {DEVICE} and cpu! ({func})"
        )


def _kinds(func, name, args, made, ours, host, on_device):
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
    given = {x.held.untyped_storage()._cdata for x in ours}
    new = {x.untyped_storage()._cdata for x in made}
    is_view = not func._schema.is_mutable and new and new <= given
    return [*found, "view" if is_view or name in EMPTY else "kernel"]


# -- autocast: the dtypes of CUDA's lists, not of the CPU's ----------------------------------------

AUTOCAST = torch._C.DispatchKey.AutocastPrivateUse1
CASTS = {
    "lower": "addmm addmv addr matmul mm mv linalg_vecdot linear addbmm baddbmm bmm"
    " scaled_dot_product_attention",
    "fp32": "exp expm1 log log10 log2 log1p reciprocal rsqrt pow.Tensor_Scalar pow.Tensor_Tensor"
    " pow.Scalar softplus layer_norm rms_norm logsumexp nll_loss mse_loss kl_div"
    " binary_cross_entropy_with_logits",
    "fp32 result": "prod prod.dim_int softmax.int log_softmax.int cumprod cumsum"
    " linalg_vector_norm sum sum.dim_IntList",
    "widest": "addcdiv addcmul atan2 dot vdot index_put tensordot scatter_add",
}


def _fits(x):
    return isinstance(x, PretendTensor) and x.is_floating_point() and x.dtype != torch.float64


def _autocast(op, rule, *args, **kwargs):
    """Run an operation by a rule of CASTS."""
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(AUTOCAST)):
        if rule == "fp32 result":
            wide = _fits(args[0]) and args[0].itemsize < 4 and kwargs.get("dtype") is None
            return op(*args, **kwargs | ({"dtype": torch.float32} if wide else {}))
        dtype = torch.get_autocast_dtype(NAME) if rule == "lower" else torch.float32
        if rule != "widest" or any(_fits(x) and x.dtype == dtype for x in _leaves(args)):
            args = _mapped(lambda x: x.to(dtype) if _fits(x) else x, args)
        return op(*args, **kwargs)


_others, _listed = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
_others.fallback(torch.library.fallthrough_kernel, AUTOCAST.name)
for _rule, _names in CASTS.items():
    for _name in _names.split():
        _packet, _, _overload = _name.partition(".")
        _op = getattr(getattr(aten, _packet), _overload or "default")
        _listed.impl(_name, partial(_autocast, _op, _rule), AUTOCAST.name)
