"""One run over several processes: who is who, how a module is shared, how sums are made.

    torchrun --nproc-per-node 4 -m bltlab train --parallel fsdp

The same code runs alone without torchrun, on a CPU (gloo) and on GPUs (nccl). A step's windows,
patches, blocks and corruption are drawn for the whole batch on every process, from the step's
number; each then works on its own rows, and losses are divided by the counts of the whole batch. So
a step is the same sum, however many processes share it.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from ..layers import Layer
from ..model import HashEmbedding, resolve_device
from .optim import full_tensor


class ProcessGroup:
    """The processes of one run, from where one of them stands.

    rank: its number, in 0..size-1. size: how many there are.
    device: what it computes on.
    parallel: how several share a module: "ddp" copies it, "fsdp" shards it.
    is_main: is it rank 0, which alone measures, logs and shows progress?
    """

    def __init__(self, rank: int, size: int, device: torch.device | str, parallel: str):
        self.rank = rank
        self.size = size
        self.device = torch.device(device)
        self.parallel = parallel
        self.is_main = rank == 0

    def wrap(self, module: nn.Module, may_shard: bool) -> nn.Module:
        """The module to call instead, so that its gradients are those of all processes together."""
        if self.size == 1:
            return module
        if self.parallel == "fsdp" and may_shard:
            return self._sharded(module)
        return self._replicated(module)

    def _replicated(self, module: nn.Module) -> nn.Module:
        """A whole copy on each process (DDP)."""
        device_ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=device_ids, broadcast_buffers=False)

    def _sharded(self, module: nn.Module) -> nn.Module:
        """A part of each layer on each process (FSDP2); the frozen entropy model stays whole."""
        mesh = init_device_mesh(self.device.type, (self.size,))
        frozen = {p for p in module.parameters() if not p.requires_grad}
        for part in list(module.modules()):
            is_unit = isinstance(part, (Layer, HashEmbedding))
            if is_unit and not frozen.issuperset(part.parameters()):
                fully_shard(part, mesh=mesh)
        fully_shard(module, mesh=mesh, ignored_params=frozen)
        return module

    def exchanging_gradients(self, wrapped: nn.Module, last: bool) -> AbstractContextManager:
        """The context for one pass of a step: gradients are exchanged in the last pass only."""
        if isinstance(wrapped, DistributedDataParallel):
            return nullcontext() if last else wrapped.no_sync()
        if self.size > 1:
            wrapped.set_requires_gradient_sync(last)
        return nullcontext()

    def gather(self, module: nn.Module) -> dict[str, torch.Tensor]:
        """{name: full tensor on the CPU} of a module on the main process, {} on the others.

        All processes must call it.
        """
        tensors = {}
        for name, x in module.state_dict().items():
            x = full_tensor(x)  # one at a time: the other processes drop it at once
            if self.is_main:
                tensors[name] = x.detach().cpu()
        return tensors

    def sum(self, *values: float) -> list[float]:
        """The sum of each number over all processes."""
        total = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            dist.all_reduce(total)
        return total.tolist()

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def process_group(device: str = "auto", parallel: str = "ddp") -> Iterator[ProcessGroup]:
    """The `ProcessGroup` that torchrun's environment describes, or a group of one.

    A group of torch.distributed that exists already is used and left as it is.

    device: as `resolve_device` takes it. Raises ValueError for one that is not there.
    """
    rank = int(os.environ.get("RANK", 0))
    size = int(os.environ.get("WORLD_SIZE", 1))
    device = own_device(device, size)
    starts_here = size > 1 and not dist.is_initialized()
    if starts_here:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
    try:
        yield ProcessGroup(rank, size, device, parallel)
    finally:
        if starts_here:
            dist.destroy_process_group()


def own_device(device: str, size: int) -> str:
    """The device of this process: of several on one machine, each takes its own GPU.

    Raises ValueError for a device that is not there.
    """
    found = str(resolve_device(device))
    if found == "cuda" and size > 1:
        found = str(resolve_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}"))
        torch.cuda.set_device(found)
    return found
