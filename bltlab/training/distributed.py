"""One run over several processes: who is who, how a module is shared, how sums are made. Alone without torchrun.

    torchrun --nproc-per-node 4 -m bltlab train --parallel fsdp

The same code runs on a CPU (gloo) and on GPUs (nccl). A step's windows, patches, blocks and corruption are drawn for the
whole batch on every process, from the step's number; each then works on its own rows, and losses are divided by the
counts of the whole batch. So a step is the same sum, however many processes share it.
"""

import os
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from ..layers import Layer
from ..model import HashEmbedding, resolve_device
from .optim import whole


class Team:
    """The processes of one run: `rank` of `size`; rank 0 is the `lead`, which alone measures, logs and shows progress."""

    def __init__(self, rank, size, device, parallel):
        self.rank, self.size, self.device, self.parallel = (
            rank,
            size,
            torch.device(device),
            parallel,
        )
        self.lead = rank == 0

    def wrap(self, module, shard):
        """The module to call so that its gradients are those of all processes together; `shard` allows to cut it in pieces."""
        if self.size == 1:
            return module
        if self.parallel == "ddp" or not shard:
            here = [self.device.index] if self.device.type == "cuda" else None
            return nn.parallel.DistributedDataParallel(
                module, device_ids=here, broadcast_buffers=False
            )
        mesh = init_device_mesh(self.device.type, (self.size,))
        frozen = {
            p for p in module.parameters() if not p.requires_grad
        }  # stay whole: the entropy model
        for part in [m for m in module.modules() if isinstance(m, (Layer, HashEmbedding))]:
            if not frozen.issuperset(part.parameters()):
                fully_shard(part, mesh=mesh)
        return fully_shard(module, mesh=mesh, ignored_params=frozen)

    def gradients(self, wrapped, last):
        """A context for one of a step's passes: gradients are exchanged in the last one only."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel):
            return nullcontext() if last else wrapped.no_sync()
        if self.size > 1:
            wrapped.set_requires_gradient_sync(last)
        return nullcontext()

    def gather(self, module):
        """{name: whole tensor on the CPU} of a module, on the lead; {} elsewhere. All processes must call it."""
        tensors = {}
        for name, x in module.state_dict().items():
            x = whole(x)  # one at a time: others drop it at once
            if self.lead:
                tensors[name] = x.detach().cpu()
        return tensors

    def sum(self, *values):
        """The sum of each number over all processes."""
        total = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            dist.all_reduce(total)
        return total.tolist()

    def wait(self):
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def team(device="auto", parallel="ddp"):
    """A `Team` from torchrun's environment, or of one; a process group that exists already is used and left as it is.

    device: "auto", "cpu" or "cuda". Raises ValueError for a GPU that is not there.
    """
    rank, size, device = (
        int(os.environ.get("RANK", 0)),
        int(os.environ.get("WORLD_SIZE", 1)),
        resolve_device(device),
    )
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, and torch finds no GPU here: use cpu or auto")
    if device == "cuda" and size > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        torch.cuda.set_device(device)
    if ours := size > 1 and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Team(rank, size, device, parallel)
    finally:
        if ours:
            dist.destroy_process_group()
