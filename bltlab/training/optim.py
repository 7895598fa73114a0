"""Muon for matrices, AdamW for the rest, and the rate over a run. Parameters may be sharded over processes (FSDP2)."""

import torch


def orthogonalise(x, steps=5):
    """Newton-Schulz iteration of matrices (N, rows, columns) towards the nearest orthogonal ones, in their own dtype.

    It bears bf16, as torch.optim.Muon always has it: four times as fast as fp32 on a CPU with bf16 products, tens of times
    slower on one without.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def whole(x):
    """A sharded tensor (DTensor) as one plain tensor on every process; a plain one as it is."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def shard_like(x, p):
    """This process's part of a whole tensor, cut as `p` is cut; no process talks to another."""
    if not hasattr(p, "full_tensor"):
        return x
    from torch.distributed.tensor import distribute_tensor  # slow to import

    return distribute_tensor(x, p.device_mesh, p.placements, src_data_rank=None)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024). `parts` > 1 marks fused projections, treated as that many matrices.

    Momentum stays sharded as its parameter is. A matrix cannot be orthogonalised in pieces, so each update is gathered,
    and every process works on the whole and keeps its own rows.
    """

    def __init__(self, params, lr, momentum=0.95, dtype=torch.float32):
        super().__init__(params, dict(lr=lr, momentum=momentum))
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = whole(p.grad.lerp(buffer, group["momentum"]))  # Nesterov
                parts = getattr(p, "parts", 1)
                by_shape.setdefault((p.shape[0] // parts, p.shape[1]), []).append(
                    (p, update.chunk(parts))
                )
            for shape, entries in by_shape.items():
                stacked = orthogonalise(
                    torch.stack([u for _, updates in entries for u in updates]).to(self.dtype)
                ).float()
                scale, done = 0.2 * max(shape) ** 0.5, 0
                for p, updates in entries:
                    update = stacked[done : done + len(updates)].flatten(0, 1)
                    p.add_(shard_like(update, p), alpha=-group["lr"] * scale)
                    done += len(updates)


def product_dtype(options, device):
    """What a run multiplies in: the dtype of its autocast and of Muon's iteration."""
    bf16 = options.precision == "bf16" or options.precision == "auto" and device.type == "cuda"
    return torch.bfloat16 if bf16 else torch.float32


def autocast(options, device):
    """The context that a step's forward pass runs in."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=product_dtype(options, device) == torch.bfloat16
    )


def optimisers(module, options):
    """[Muon over the layers' matrices, AdamW over all else that is trained]."""
    matrices, others = [], []
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        inner = p.ndim == 2 and not any(word in name for word in ("embedding", "table", "output"))
        if inner:
            p.parts = (
                3
                if "qkv" in name
                else 2
                if name.endswith(("gate_up.weight", "key_value.weight"))
                else 1
            )
        (matrices if inner else others).append(p)
    return [
        Muon(matrices, options.matrix_rate, dtype=product_dtype(options, matrices[0].device)),
        torch.optim.AdamW(
            others, options.other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        ),
    ]


def rate_at(step, total, warm_up=40, decay=0.6):
    """Share of the peak rate: linear warm-up, constant, linear to 2 % over the last share `decay` of the run.

    >>> [round(rate_at(s, 1000), 2) for s in (0, 39, 400, 1000)]
    [0.03, 1.0, 1.0, 0.02]
    """
    rise = min(1.0, (step + 1) / max(1, min(warm_up, total // 10)))
    left = 1 - step / max(1, total)
    return rise * (1.0 if left >= decay else 0.02 + 0.98 * max(0.0, left) / decay)
