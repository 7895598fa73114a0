"""A stage of training: one module, its loss, and the loop over steps."""

import ctypes
import math
import time
from collections import namedtuple
from dataclasses import dataclass, replace

import torch
from torch import nn
from tqdm.auto import tqdm

from ..diffusion import (
    Blocks,
    corrupt,
    diffusion_loss,
    lay_out,
    loss_counts,
    next_byte_loss,
    next_targets,
)
from ..layers import over_text
from ..model import documents
from ..patching import Patches
from .optim import autocast, optimisers, rate_at, whole

Layout = namedtuple("Layout", "document patches")  # what `lay_out` reads of an `Encoded`


@dataclass(frozen=True)
class Batch:
    """What a step reads, all draws made. ids (B, T); next_opens (B, T) bool, does the id after each open a patch; blocks:
    `Blocks`; counts: what the losses are divided by. `share` takes some rows; the counts stay those of the whole step."""

    ids: torch.Tensor
    next_opens: torch.Tensor | None
    blocks: Blocks | None
    counts: tuple

    def share(self, rows, device):
        cut = lambda x: x[rows].to(device)
        b = self.blocks
        return replace(
            self,
            ids=cut(self.ids),
            next_opens=None if self.next_opens is None else cut(self.next_opens),
            blocks=b and Blocks(cut(b.starts), cut(b.ids), cut(b.masked), cut(b.t)),
        )


class PatcherLoss(nn.Module):
    """The entropy model and its loss."""

    def __init__(self, patcher):
        super().__init__()
        self.patcher = patcher

    def draw(self, ids, next_opens, generator):
        return Batch(ids, None, None, ((next_targets(ids) >= 0).sum().item(),))

    def forward(self, batch):
        """(what to minimise, next-byte nats) of a `Batch`: its rows' part of the step's means."""
        positions = torch.arange(batch.ids.shape[1], device=batch.ids.device).expand_as(batch.ids)
        logits = self.patcher(
            batch.ids, positions, over_text(documents(batch.ids), self.patcher.config.window)
        )
        loss = next_byte_loss(logits, batch.ids, "sum") / batch.counts[0]
        return loss, loss


class ModelLoss(nn.Module):
    """The model on known patches, and its losses: both for a BLT-D, the next byte's alone for a plain BLT."""

    def __init__(self, model, options):
        super().__init__()
        self.model, self.options = model, options

    def draw(self, ids, next_opens, generator):
        o, blocks = self.options, None
        if o.block_size:
            layout = Layout(documents(ids), Patches.from_rule(ids, next_opens))
            blocks = corrupt(
                *lay_out(layout, ids, o.block_size, o.block_starts, generator),
                o.fully_masked,
                generator,
            )
            counts = tuple(n.item() for n in loss_counts(ids, blocks, o.weighting))
        else:
            counts = ((next_targets(ids) >= 0).sum().item(),)
        return Batch(ids, next_opens, blocks, counts)

    def forward(self, batch):
        """(what to minimise, next-byte nats) of a `Batch`: its rows' part of the step's means."""
        patches = (
            Patches.from_rule(batch.ids, batch.next_opens),
            None,
        )  # no pass of the entropy model
        if not batch.blocks:
            loss = (
                next_byte_loss(self.model(batch.ids, patches).logits, batch.ids, "sum")
                / batch.counts[0]
            )
            return loss, loss
        loss = diffusion_loss(
            self.model,
            batch.ids,
            weight=self.options.masked_weight,
            weighting=self.options.weighting,
            patches=patches,
            blocks=batch.blocks,
            counts=batch.counts,
        )
        return loss.total, loss.next_byte


def steps(megabytes, options):
    """How many steps read so much text."""
    return max(1, round(megabytes * 1e6 / bytes_a_step(options)))


def bytes_a_step(options):
    return options.batch_size * (options.length - 1)


def keep_freed_memory():
    """Tell glibc not to hand large freed tensors back to the kernel at each step: a fifth off a CPU step."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mmap for large blocks
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: never shrink the heap
    except OSError:
        pass  # not glibc


class Stage:
    """One module, its optimisers and how far it has come."""

    def __init__(self, name, losses, megabytes, options, team, shard=True):
        self.name, self.losses, self.options, self.team = name, losses, options, team
        self.wrapped = team.wrap(losses, shard)
        self.parameters = [p for p in losses.parameters() if p.requires_grad]
        self.optimisers = optimisers(losses, options)
        self.total = steps(megabytes, options)
        self.step, self.seconds, self.batches = 0, 0.0, None
        self.autocast = lambda: autocast(options, team.device)

    @property
    def megabytes(self):
        return self.step * bytes_a_step(self.options) / 1e6

    def tensors(self):
        """Weights and optimiser states by name, sharded where they are."""
        from torch.distributed.checkpoint.state_dict import get_state_dict  # slow to import

        weights, states = get_state_dict(self.losses, self.optimisers)
        return {"weights": weights, "optimisers": states}

    def progress(self):
        """Where the stage stands, as plain values."""
        return {
            "stage": self.name,
            "step": self.step,
            "seconds": self.seconds,
            "batches": self.batches.state(),
        }

    def load(self, folder):
        """Take weights, optimiser states and position from a run's latest state; the position in the text comes later."""
        from torch.distributed.checkpoint.state_dict import set_state_dict  # slow to import

        tensors = self.tensors()
        folder.load(tensors)
        set_state_dict(
            self.losses,
            self.optimisers,
            model_state_dict=tensors["weights"],
            optim_state_dict=tensors["optimisers"],
        )
        self.step, self.seconds = folder.saved["step"], folder.saved["seconds"]

    def train_step(self):
        """One step on a batch of `batches`: (next-byte nats of this process's rows, norm of the gradient).

        Draws depend on seed and step alone, so that nothing random needs to be saved.
        """
        o, team = self.options, self.team
        got = self.batches.next()
        ids, next_opens = got if isinstance(got, tuple) else (got, None)
        batch = self.losses.draw(
            ids, next_opens, torch.Generator().manual_seed(o.seed * 2**32 + self.step)
        )
        for optimiser, peak in zip(self.optimisers, (o.matrix_rate, o.other_rate)):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate_at(self.step, self.total, o.warm_up, o.decay)
        nats = 0.0
        for n in range(o.accumulate):
            part = batch.share(
                slice(team.rank * o.accumulate + n, None, team.size * o.accumulate), team.device
            )
            with team.gradients(self.wrapped, last=n == o.accumulate - 1):
                with self.autocast():
                    loss, next_byte = self.wrapped(part)
                (loss * team.size).backward()  # gradients are averaged over processes
            nats = nats + next_byte.detach()
        norm = self.check_finite(
            nn.utils.clip_grad_norm_(self.parameters, o.clip), "the loss", self.step + 1
        )
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return nats, norm

    def check_finite(self, norm, what, step):
        """A norm over all processes' pieces as a number. Raises ValueError, on all of them, where it is none: a state is saved
        of sound weights only."""
        norm = whole(norm).item()
        if not math.isfinite(norm):
            raise ValueError(
                f"{what} of {self.name} is no longer a finite number at step {step}: lower matrix_rate and "
                f"other_rate, or clip; the state saved before is whole"
            )
        return norm

    def run(self, measure, save):
        """Train to the end; yields what `measure(stage, nats, norm)` makes of the steps that it wants to see."""
        o, due = (
            self.options,
            lambda every: every and (self.step % every == 0 or self.step == self.total),
        )
        with tqdm(
            total=self.total,
            initial=self.step,
            desc=self.name,
            unit="step",
            mininterval=1.0,
            disable=not self.team.lead,
        ) as bar:
            while self.step < self.total:
                began = time.perf_counter()
                nats, norm = self.train_step()
                self.seconds += time.perf_counter() - began
                bar.update()
                report = None
                if due(o.report_every) or due(o.sample_every):
                    nats = self.team.sum(float(nats))[0]
                    report = measure(self, nats, norm, due(o.sample_every))
                if due(o.save_every):
                    self.check_finite(
                        nn.utils.get_total_norm([p.detach() for p in self.parameters]),
                        "a weight",
                        self.step,
                    )
                    save(self)
                if report:
                    masked_bits = f", masked {report.masked_bits:.3f}" if report.masked_bits else ""
                    bar.set_postfix_str(
                        f"{report.held_out_bits:.3f} bits/byte{masked_bits}, "
                        f"gradient {norm:.2f}, {report.bytes_per_second:,.0f} bytes/s"
                    )
                    yield report
