"""What is measured of a run while it trains: held-out bits, and what each decoder writes."""

import importlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .. import vocab
from ..decoding import METHODS, generate, why_not
from ..diffusion import diffusion_loss, next_byte_loss
from ..model import BLT
from .options import TrainOptions


@dataclass(frozen=True)
class Sample:
    """What one decoder writes after a held-out prompt, sampled at temperature 0.7.

    method: a name in `METHODS`. prompt, text: before and after.
    Rates are means over all prompts, None where a decoder has none:
    acceptance_rate: share of guesses that the model agreed with.
    mean_acceptance_length: bytes committed a round.
    denoising_steps_per_block: decoder passes a block.
    foreseen_rate: share of guesses that the decoder agreed with, before the model saw any.
    """

    method: str
    prompt: str
    text: str
    acceptance_rate: float | None
    mean_acceptance_length: float | None
    denoising_steps_per_block: float | None
    foreseen_rate: float | None = None

    def __str__(self) -> str:
        notes = []
        if self.acceptance_rate is not None:
            notes.append(f"{self.acceptance_rate:.0%} of guesses agreed")
        if self.foreseen_rate is not None:
            notes.append(f"{self.foreseen_rate:.0%} foreseen")
        if self.mean_acceptance_length is not None:
            notes.append(f"{self.mean_acceptance_length:.1f} bytes a round")
        if self.denoising_steps_per_block is not None:
            notes.append(f"{self.denoising_steps_per_block:.1f} steps a block")
        text = f"  {self.method:<6} {self.text!r}"
        return f"{text}  [{', '.join(notes)}]" if notes else text


@dataclass(frozen=True)
class Report:
    """One measurement of a run.

    stage: "entropy model", "BLT" or "BLT-D". step: steps done in it. megabytes: text read in it.
    train_bits: of the next byte, on the step's own batch. held_out_bits: on held-out text, a byte.
    masked_bits: of masked bytes, a byte; None for the entropy model and a plain BLT.
    bytes_per_second: text read, over the steps alone. gradient_norm: before clipping.
    samples: one `Sample` a decoder, every `sample_every` steps.
    """

    stage: str
    step: int
    megabytes: float
    train_bits: float
    held_out_bits: float
    masked_bits: float | None
    bytes_per_second: float
    gradient_norm: float
    samples: tuple[Sample, ...] = ()

    @property
    def short(self) -> str:
        """The measurement in a few words, for a progress bar."""
        masked = f", masked {self.masked_bits:.3f}" if self.masked_bits else ""
        return (
            f"{self.held_out_bits:.3f} bits/byte{masked}, gradient {self.gradient_norm:.2f},"
            f" {self.bytes_per_second:,.0f} bytes/s"
        )

    def __str__(self) -> str:
        masked = "" if self.masked_bits is None else f", masked {self.masked_bits:.3f}"
        lines = [
            f"{self.stage}, step {self.step}, {self.megabytes:.2f} MB:"
            f" held-out {self.held_out_bits:.3f} bits/byte{masked},"
            f" {self.bytes_per_second:,.0f} bytes/s, gradient {self.gradient_norm:.2f}"
        ]
        if self.samples:
            lines.append(f"  after  {self.samples[0].prompt!r}")
        lines += [str(sample) for sample in self.samples]
        return "\n".join(lines)


@torch.no_grad()
def held_out_bits(
    model: BLT, ids: torch.Tensor, block_size: int | None = None, batch_size: int = 16
) -> tuple[float, float | None]:
    """Mean bits a byte of both losses over windows (N, T), with a fixed seed: (next, masked byte).

    block_size: bytes of a block to mask; None for a plain BLT, where there is no second loss.
    """
    generator = torch.Generator().manual_seed(1)
    next_bits, masked_bits = 0.0, 0.0
    for rows in ids.split(batch_size):
        if block_size:
            loss = diffusion_loss(model, rows, block_size, generator)
            next_byte = loss.next_byte
            masked_bits += len(rows) * loss.masked_byte.item() / math.log(2)
        else:
            next_byte = next_byte_loss(model(rows).logits, rows)
        next_bits += len(rows) * next_byte.item() / math.log(2)
    return next_bits / len(ids), (masked_bits / len(ids) if block_size else None)


def prompts(ids: torch.Tensor, count: int = 4, longest: int = 60, seed: int = 0) -> list[bytes]:
    """Whole words from the beginnings of some held-out windows (N, T).

    They are the same for the same windows and seed. count: how many. longest: bytes of each.
    """
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    texts = [vocab.decode(ids[i, : longest + 1].tolist()) for i in order[:count]]
    return [_whole_words(text) for text in texts]


def _whole_words(text: bytes) -> bytes:
    """A text without the words at its ends, which may be cut; all of it where nothing else is left.

    >>> _whole_words(b"inning God created the hea")
    b'God created the '
    """
    return text[text.find(b" ") + 1 : text.rfind(b" ") + 1] or text


def write_samples(
    model: BLT, prompts: list[bytes], new_bytes: int = 80, temperature: float = 0.7
) -> tuple[Sample, ...]:
    """One `Sample` for each decoder that the model has.

    It shows the text after the first prompt, and rates over all prompts.
    """
    methods = [name for name in METHODS if why_not(name, model) is None]
    samples = []
    for method in methods:
        written = generate(model, prompts, method, max_new_bytes=new_bytes, temperature=temperature)
        totals = [generation.trace.totals for generation in written]
        acceptance_rate = _mean_of("acceptance_rate", totals)
        verifies = acceptance_rate is not None
        sample = Sample(
            method=method,
            prompt=vocab.to_text(prompts[0]),
            text=written[0].text,
            acceptance_rate=acceptance_rate,
            mean_acceptance_length=(
                _mean_of("mean_acceptance_length", totals) if verifies else None
            ),
            denoising_steps_per_block=_mean_of("denoising_steps_per_block", totals),
            foreseen_rate=_mean_of("foreseen_rate", totals),
        )
        samples.append(sample)
    return tuple(samples)


def _mean_of(name: str, totals: list) -> float | None:
    """The mean of one of the totals over those texts that have it, or None."""
    values = [getattr(total, name) for total in totals]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


TRACKERS = {"trackio": "trackio", "tensorboard": "torch.utils.tensorboard"}  # and their modules


def check_tracker(kind: str) -> None:
    """Raises ValueError where the package of a tracker is missing; "csv" is none."""
    if kind not in TRACKERS:
        return
    try:
        importlib.import_module(TRACKERS[kind])
    except ImportError:
        raise ValueError(f"log_to {kind!r} needs the package {kind}: pip install {kind}") from None


class Tracker:
    """Sends each report to a tracker as well: "trackio" or "tensorboard"; with "csv" to none.

    folder: the run's; its name is the tracker's. The package is there, says `check_tracker`.
    """

    def __init__(self, kind: str, folder: Path, options: TrainOptions):
        self._send: Callable[[dict[str, float], int], Any] | None = None
        self._finish: Callable[[], Any] | None = None
        if kind == "trackio":
            self._start_trackio(folder, options)
        elif kind == "tensorboard":
            self._start_tensorboard(folder)

    def _start_trackio(self, folder: Path, options: TrainOptions) -> None:
        trackio = importlib.import_module(TRACKERS["trackio"])
        trackio.init(project="bltlab", name=folder.name, config=asdict(options), resume="allow")

        def send(values: dict[str, float], step: int) -> None:
            trackio.log(values, step=step)

        self._send = send
        self._finish = trackio.finish

    def _start_tensorboard(self, folder: Path) -> None:
        tensorboard = importlib.import_module(TRACKERS["tensorboard"])
        writer = tensorboard.SummaryWriter(folder / "tensorboard")

        def send(values: dict[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        self._send = send
        self._finish = writer.close

    def log(self, report: Report) -> None:
        """Send the numbers of a report, named "STAGE/NUMBER"."""
        if self._send is None:
            return
        values = {
            f"{report.stage}/{name}": value
            for name, value in asdict(report).items()
            if isinstance(value, float)
        }
        self._send(values, report.step)

    def close(self) -> None:
        """End the tracker's run."""
        if self._finish is not None:
            self._finish()
