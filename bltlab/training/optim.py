"""The optimisers: Muon for matrices, AdamW for the rest. Parameters may be sharded (FSDP2)."""

from typing import cast

import torch
from torch import nn

from .options import TrainOptions


def orthogonalise(x: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest orthogonal matrices, roughly: singular values near 1, by Newton-Schulz iteration.

    x: (N, rows, columns); the result has its shape and dtype.

    The iteration works in bf16 too, as torch.optim.Muon always runs it: four times as fast as fp32
    on a CPU with bf16 products, tens of times slower on one without.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def full_tensor(x: torch.Tensor) -> torch.Tensor:
    """A sharded tensor (DTensor) as one plain tensor on every process; a plain one as it is."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def shard_like(x: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """This process's part of a full tensor, cut as `parameter` is; no process talks to another."""
    if not hasattr(parameter, "full_tensor"):
        return x
    from torch.distributed.tensor import DTensor, distribute_tensor  # slow to import

    like = cast(DTensor, parameter)
    return distribute_tensor(x, like.device_mesh, like.placements, src_data_rank=None)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), for parameters that are matrices.

    A parameter with an attribute `parts` above 1 is a fused projection, treated as that many
    matrices. Momentum stays sharded as its parameter is. A shard of a matrix cannot be
    orthogonalised by itself, so each update is gathered, and every process works on the full
    matrix and keeps its own rows.

    lr: the root mean square of an update's elements is about 0.2 lr, as AdamW's is.
    dtype: in which the iteration multiplies.
    """

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(params, dict(lr=lr, momentum=momentum))
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; matrices of one shape together."""
        for options in self.param_groups:
            for shape, updates in self._updates_by_shape(options).items():
                scale = 0.2 * max(shape) ** 0.5
                self._apply(updates, options["lr"] * scale)

    def _updates_by_shape(self, options: dict) -> dict[tuple[int, int], list]:
        """{(rows, columns): [(parameter, its matrices of momentum)]}, momentum being Nesterov's."""
        by_shape: dict[tuple[int, int], list] = {}
        for p in options["params"]:
            if p.grad is None:
                continue
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
            average = self.state[p]["momentum"]
            average.lerp_(p.grad, 1 - options["momentum"])
            update = full_tensor(p.grad.lerp(average, options["momentum"]))
            matrices = update.chunk(getattr(p, "parts", 1))
            rows, columns = matrices[0].shape
            by_shape.setdefault((rows, columns), []).append((p, matrices))
        return by_shape

    def _apply(self, updates: list, rate: float) -> None:
        """Orthogonalise the matrices of one shape in one call, and take the step."""
        stacked = torch.stack([matrix for _, matrices in updates for matrix in matrices])
        stacked = orthogonalise(stacked.to(self.dtype)).float()
        shares = stacked.split([len(matrices) for _, matrices in updates])
        for (p, _), share in zip(updates, shares, strict=True):
            p.add_(shard_like(share.flatten(0, 1), p), alpha=-rate)


def product_dtype(options: TrainOptions, device: torch.device) -> torch.dtype:
    """What a run multiplies in: the dtype of its autocast and of Muon's iteration."""
    bf16_by_default = options.precision == "auto" and device.type == "cuda"
    return torch.bfloat16 if options.precision == "bf16" or bf16_by_default else torch.float32


def autocast(options: TrainOptions, device: torch.device) -> torch.autocast:
    """The context that a step's forward pass runs in."""
    in_bf16 = product_dtype(options, device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bf16)


def optimisers(module: nn.Module, options: TrainOptions) -> list[torch.optim.Optimizer]:
    """[Muon over the layers' matrices, AdamW over all else that is trained], or AdamW alone.

    Alone it is the paper's (A.2). Marks fused projections for Muon.
    """
    if options.optimiser == "adamw":
        trained = [p for p in module.parameters() if p.requires_grad]
        return [
            torch.optim.AdamW(
                trained, options.other_rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True
            )
        ]
    matrices, others = [], []
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        if is_inner_matrix(name, p):
            p.parts = fused_parts(name)  # type: ignore[attr-defined]
            matrices.append(p)
        else:
            others.append(p)
    dtype = product_dtype(options, matrices[0].device)
    muon = Muon(matrices, options.matrix_rate, dtype=dtype)
    adamw = torch.optim.AdamW(
        others, options.other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    return [muon, adamw]


def is_inner_matrix(name: str, parameter: torch.Tensor) -> bool:
    """Is it a matrix inside a layer, not one that ids are looked up in or that gives logits?"""
    outer = any(word in name for word in ("embedding", "table", "output"))
    return parameter.ndim == 2 and not outer


def fused_parts(name: str) -> int:
    """How many projections a matrix holds, one below the other.

    >>> fused_parts("layers.0.attention.qkv.weight"), fused_parts("layers.0.gate_up.weight")
    (3, 2)
    """
    if "qkv" in name:
        return 3
    if name.endswith(("gate_up.weight", "key_value.weight")):
        return 2
    return 1
