"""What is seen of a run while it trains: held-out bits of both losses, and what each decoder writes."""

import importlib
import math
from dataclasses import asdict, dataclass

import torch

from .. import vocab
from ..decoding import generate
from ..diffusion import diffusion_loss, next_byte_loss

METHODS = ("ar", "blt-s", "blt-d", "blt-dv")


@dataclass(frozen=True)
class Sample:
    """What one decoder writes after a held-out prompt, sampled at temperature 0.7. Rates are over all prompts, None where
    a decoder has none: share of guesses that the model agreed with, bytes committed a round, denoising steps a block."""

    method: str
    prompt: str
    text: str
    acceptance_rate: float | None
    mean_acceptance_length: float | None
    denoising_steps_per_block: float | None

    def __str__(self):
        notes = [
            (self.acceptance_rate, "{:.0%} of guesses agreed"),
            (self.mean_acceptance_length, "{:.1f} bytes a round"),
            (self.denoising_steps_per_block, "{:.1f} steps a block"),
        ]
        said = ", ".join(text.format(value) for value, text in notes if value is not None)
        return f"  {self.method:<6} {self.text!r}" + (f"  [{said}]" if said else "")


@dataclass(frozen=True)
class Report:
    """One measurement. Bits are per byte, on held-out text but for `train_bits`; masked_bits is None for the entropy model
    and a plain BLT; gradient_norm is that before clipping; samples: one `Sample` a decoder, every `sample_every` steps."""

    stage: str
    step: int
    megabytes: float
    train_bits: float
    held_out_bits: float
    masked_bits: float | None
    bytes_per_second: float
    gradient_norm: float
    samples: tuple = ()

    def __str__(self):
        masked = "" if self.masked_bits is None else f", masked {self.masked_bits:.3f}"
        head = (
            f"{self.stage}, step {self.step}, {self.megabytes:.2f} MB: "
            f"held-out {self.held_out_bits:.3f} bits/byte{masked}, {self.bytes_per_second:,.0f} bytes/s, "
            f"gradient {self.gradient_norm:.2f}"
        )
        prompt = [f"  after  {self.samples[0].prompt!r}"] if self.samples else []
        return "\n".join([head, *prompt, *map(str, self.samples)])


def held_out_bits(model, ids, block_size=None, batch_size=16):
    """Mean bits a byte of both losses over windows (N, T), with a fixed seed: (next byte, masked byte or None)."""
    generator, sums, n = torch.Generator().manual_seed(1), [0.0, 0.0], 0
    with torch.no_grad():
        for chunk in ids.split(batch_size):
            if block_size:
                loss = diffusion_loss(model, chunk, block_size, generator)
                values = loss.next_byte, loss.masked_byte
            else:
                values = next_byte_loss(model(chunk).logits, chunk), torch.zeros(())
            sums = [s + len(chunk) * v.item() / math.log(2) for s, v in zip(sums, values)]
            n += len(chunk)
    return sums[0] / n, (sums[1] / n if block_size else None)


def prompts(ids, count=4, longest=60, seed=0):
    """Whole words from the beginnings of held-out windows (N, T): the same for the same windows and seed."""
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    texts = [vocab.decode(ids[i, : longest + 1].tolist()) for i in order[:count]]
    return [text[text.find(b" ") + 1 : text.rfind(b" ") + 1] or text for text in texts]


def write_samples(model, prompts, new_bytes=80, temperature=0.7):
    """One `Sample` for each decoder that the model has: the text after the first prompt, the rates over all prompts."""
    samples, mean = [], lambda values: sum(values) / len(values) if values else None
    for method in METHODS[: None if model.config.block_size else 2]:
        written = generate(model, prompts, method, max_new_bytes=new_bytes, temperature=temperature)
        rate = lambda name: mean(
            [x for g in written if (x := getattr(g.trace.totals, name)) is not None]
        )
        samples.append(
            Sample(
                method,
                vocab.to_text(prompts[0]),
                written[0].text,
                rate("acceptance_rate"),
                rate("mean_acceptance_length") if method in ("blt-s", "blt-dv") else None,
                rate("denoising_steps_per_block"),
            )
        )
    return tuple(samples)


class Tracker:
    """Sends each report to an optional tracker as well: "trackio" or "tensorboard"; "csv" is none.

    Raises ValueError where its package is missing.
    """

    def __init__(self, kind, folder, options):
        self.kind, self._log, self.close = kind, None, lambda: None
        try:
            if kind == "trackio":
                tracker = importlib.import_module("trackio")
                tracker.init(
                    project="bltlab", name=folder.name, config=asdict(options), resume="allow"
                )
                self._log, self.close = (
                    lambda values, step: tracker.log(values, step=step),
                    tracker.finish,
                )
            elif kind == "tensorboard":
                writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(
                    folder / "tensorboard"
                )
                self._log = lambda values, step: [
                    writer.add_scalar(name, v, step) for name, v in values.items()
                ]
                self.close = writer.close
        except ImportError:
            raise ValueError(
                f"log_to {kind!r} needs the package {kind}: pip install {kind}"
            ) from None

    def log(self, report):
        if self._log:
            self._log(
                {
                    f"{report.stage}/{name}": value
                    for name, value in asdict(report).items()
                    if isinstance(value, float)
                },
                report.step,
            )
