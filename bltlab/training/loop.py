"""A stage of training: one module, its loss and optimisers, and the loop over steps."""

import ctypes
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from ..data import Batches
from .distributed import ProcessGroup
from .folder import RunFolder, naming_damage
from .losses import Batch, ModelLoss, PatcherLoss
from .optim import autocast, full_tensor, optimisers
from .options import TrainOptions
from .schedule import learning_rate_scale
from .watch import Report


def steps(megabytes: float, options: TrainOptions) -> int:
    """How many steps read so much text: at least one."""
    return max(1, round(megabytes * 1e6 / bytes_a_step(options)))


def bytes_a_step(options: TrainOptions) -> int:
    """Bytes of text that a step reads; the BOS of each window is not text."""
    return options.batch_size * (options.length - 1)


def keep_freed_memory() -> None:
    """Tell glibc to keep the memory of large freed tensors: a fifth off a step on a CPU."""
    no_large_mmap = (-4, 0)  # M_MMAP_MAX
    never_shrink_the_heap = (-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(*no_large_mmap)
        libc.mallopt(*never_shrink_the_heap)
    except OSError:
        pass  # not glibc


class Stage:
    """One module that is trained: its optimisers, and how far it has come.

    name: "entropy model", "BLT" or "BLT-D", as reports and saved states say it.
    losses: the module with its loss, which also draws what is random of a batch.
    megabytes: text to read. group: the processes that share the work.
    may_shard: may its parameters be sharded, under "fsdp"?

    `batches` has to be set before the first step; `before_step`, where it is set, is called with
    the number of each step. `seconds` are those of the steps alone.
    """

    def __init__(
        self,
        name: str,
        losses: PatcherLoss | ModelLoss,
        megabytes: float,
        options: TrainOptions,
        group: ProcessGroup,
        may_shard: bool = True,
    ):
        self.name = name
        self.losses = losses
        self.options = options
        self.group = group
        self.wrapped = group.wrap(losses, may_shard)
        self.parameters = [p for p in losses.parameters() if p.requires_grad]
        self.optimisers = optimisers(losses, options)
        self.autocast = partial(autocast, options, group.device)
        self.total = steps(megabytes, options)
        self.step = 0  # steps done
        self.seconds = 0.0
        self.batches: Batches | None = None
        self.before_step: Callable[[int], None] | None = None

    @property
    def megabytes(self) -> float:
        """Text read so far."""
        return self.step * bytes_a_step(self.options) / 1e6

    # -- the loop --

    def run(
        self,
        measure: Callable[["Stage", float, float, bool], Report | None],
        save: Callable[["Stage"], None],
    ) -> Iterator[Report]:
        """Train to the end; yield the reports on the main process.

        measure(stage, nats, norm, sample) returns a report, or None on other processes. save(stage)
        saves a state. Both are called on every process, at the steps that the options ask.
        """
        with self._progress_bar() as bar:
            while self.step < self.total:
                if self.before_step:
                    self.before_step(self.step)
                nats, norm = self._timed_step()
                bar.update()
                report = self._measure_if_due(measure, nats, norm)
                if self._due(self.options.save_every):
                    self._check_weights()
                    save(self)
                if report:
                    bar.set_postfix_str(report.short)
                    yield report

    def _progress_bar(self) -> tqdm:
        return tqdm(
            total=self.total,
            initial=self.step,
            desc=self.name,
            unit="step",
            mininterval=1.0,
            disable=not self.group.is_main,
        )

    def _timed_step(self) -> tuple[torch.Tensor, float]:
        began = time.perf_counter()
        result = self.train_step()
        self.seconds += time.perf_counter() - began
        return result

    def _due(self, every: int) -> bool:
        """Is it time for what is done every so many steps, and after the last? Never where 0."""
        return every > 0 and (self.step % every == 0 or self.step == self.total)

    def _measure_if_due(self, measure: Callable, nats: torch.Tensor, norm: float) -> Report | None:
        sample = self._due(self.options.sample_every)
        if not (sample or self._due(self.options.report_every)):
            return None
        (all_nats,) = self.group.sum(float(nats))
        return measure(self, all_nats, norm, sample)

    # -- one step --

    def train_step(self) -> tuple[torch.Tensor, float]:
        """One step on the next batch.

        Returns (nats a byte of the next byte, this process's part of the mean; norm of the gradient
        before clipping). Raises ValueError where the loss is not finite.
        """
        batch = self._draw_batch()
        self._set_learning_rates()
        nats = self._backward(batch)
        norm = self._clip_gradients()
        self._update_parameters()
        self.step += 1
        return nats, norm

    def _draw_batch(self) -> Batch:
        """The whole step's batch. Draws depend on seed and step alone: nothing random is saved."""
        following = self.batches.next()
        ids, next_opens = following if isinstance(following, tuple) else (following, None)
        generator = torch.Generator().manual_seed(self.options.seed * 2**32 + self.step)
        return self.losses.draw(ids, next_opens, generator)

    def _set_learning_rates(self) -> None:
        o = self.options
        scale = learning_rate_scale(self.step, self.total, o.warm_up, o.decay, o.schedule)
        peaks = (o.matrix_rate, o.other_rate)[-len(self.optimisers) :]
        for optimiser, peak in zip(self.optimisers, peaks, strict=True):
            for parameters in optimiser.param_groups:
                parameters["lr"] = peak * scale

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Add up the gradients of this process's rows, over all passes; returns their nats."""
        group = self.group
        passes = self.options.accumulate
        nats = torch.zeros((), device=group.device)
        for n in range(passes):
            rows = slice(group.rank * passes + n, None, group.size * passes)
            part = batch.share(rows, group.device)
            with group.exchanging_gradients(self.wrapped, last=n == passes - 1):
                with self.autocast():
                    loss, next_byte = self.wrapped(part)
                # Gradients are averaged over processes, and the step's is their sum.
                (loss * group.size).backward()
            nats = nats + next_byte.detach()
        return nats

    def _clip_gradients(self) -> float:
        """Scale the gradient down to the norm `clip`; returns its norm before."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        return self._check_finite(norm, "the loss", self.step + 1)

    def _update_parameters(self) -> None:
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def _check_weights(self) -> None:
        """Raises ValueError where a weight is not finite: only sound weights are saved."""
        weights = [p.detach() for p in self.parameters]
        self._check_finite(nn.utils.get_total_norm(weights), "a weight", self.step)

    def _check_finite(self, norm: torch.Tensor, what: str, step: int) -> float:
        """A norm, over all processes, as a number. Raises ValueError, on all, if not finite."""
        value = float(full_tensor(norm))
        if not math.isfinite(value):
            raise ValueError(
                f"{what} of {self.name} is no longer a finite number at step {step}: lower"
                " matrix_rate and other_rate, or clip; the state saved before is whole"
            )
        return value

    # -- saving --

    def tensors(self) -> dict[str, Any]:
        """Weights and optimiser states by name, sharded where they are."""
        from torch.distributed.checkpoint.state_dict import get_state_dict  # slow to import

        weights, states = get_state_dict(self.losses, self.optimisers)
        return {"weights": weights, "optimisers": states}

    def progress(self) -> dict[str, Any]:
        """Where the stage stands, as plain values."""
        return {
            "stage": self.name,
            "step": self.step,
            "seconds": self.seconds,
            "batches": self.batches.state(),
        }

    def load(self, folder: RunFolder) -> None:
        """Take weights, optimiser states and step from a run's latest state.

        The place in the text is not taken here: `batches` are not made yet.
        """
        from torch.distributed.checkpoint.state_dict import set_state_dict  # slow to import

        tensors = self.tensors()
        folder.load(tensors)
        with naming_damage(folder.latest):
            set_state_dict(
                self.losses,
                self.optimisers,
                model_state_dict=tensors["weights"],
                optim_state_dict=tensors["optimisers"],
            )
        self.step = folder.saved["step"]
        self.seconds = folder.saved["seconds"]
