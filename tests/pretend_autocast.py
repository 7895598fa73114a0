"""Autocast on the pretend device: operations take the dtypes of CUDA's lists, not of the CPU's.

Importing it is enough: `torch.autocast("pretend", torch.bfloat16)` follows them from then on.
"""

import torch
from pretend_device import NAME, PretendTensor, aten
from torch.utils._pytree import tree_flatten, tree_unflatten

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
    is_number = isinstance(x, PretendTensor) and x.is_floating_point()
    return is_number and x.dtype != torch.float64


def _cast(op, rule):
    autocast = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def run(*args, **kwargs):
        with torch._C._ExcludeDispatchKeyGuard(autocast):
            if rule == "fp32 result":
                wide = _fits(args[0]) and args[0].itemsize < 4 and kwargs.get("dtype") is None
                return op(*args, **kwargs | ({"dtype": torch.float32} if wide else {}))
            dtype = torch.get_autocast_dtype(NAME) if rule == "lower" else torch.float32
            flat, shape = tree_flatten((args, kwargs))
            if rule != "widest" or any(_fits(x) and x.dtype == dtype for x in flat):
                flat = [x.to(dtype) if _fits(x) else x for x in flat]
            args, kwargs = tree_unflatten(flat, shape)
            return op(*args, **kwargs)

    return run


_others, _listed = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
_others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
for _rule, _names in CASTS.items():
    for _name in _names.split():
        _packet, _, _overload = _name.partition(".")
        _op = getattr(getattr(aten, _packet), _overload or "default")
        _listed.impl(_name, _cast(_op, _rule), "AutocastPrivateUse1")
