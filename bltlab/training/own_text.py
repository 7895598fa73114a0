"""Blocks learnt from what the model itself writes.

A decoder that fills a block has to foresee what the model would write, not what the corpus says: on
the corpus a hidden byte is learnt as the average over all continuations, on the model's own text
there is one continuation. So the model writes texts from training prompts; the masked loss is taken
on those, past the prompt only; and the next-byte loss on real text beside it, so that the model
stays what it is. This is distillation on the student's own output, as drafters and few-step
diffusion models are trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from tqdm.auto import tqdm

from .. import files, vocab
from ..decoding import generate
from ..diffusion import Blocks, corrupt, diffusion_loss, lay_out, loss_counts, next_byte_loss
from ..events import Committed, Prefilled
from ..model import BLT, document_numbers
from ..patching import Patches
from .losses import Batch, Layout, ModelLoss, count_targets

PROMPT_BYTES = (24, 96)  # shortest and longest prompt
TEMPERATURE = 0.8  # of texts that are not greedy
TOGETHER = 64  # texts written at once


@dataclass(frozen=True)
class OwnText:
    """Texts that a model wrote, BOS in front, -1 behind their ends.

    ids (N, T); next_opens (N, T) bool, does the id after each open a patch; prompts (N,): how many
    ids of each are its prompt, BOS included.
    """

    ids: torch.Tensor
    next_opens: torch.Tensor
    prompts: torch.Tensor

    def rows(self, rows: torch.Tensor) -> "OwnText":
        """Some of the texts."""
        return OwnText(self.ids[rows], self.next_opens[rows], self.prompts[rows])

    def save(self, path: Path) -> None:
        """Write them as safetensors, whole or not at all."""
        parts = {"ids": self.ids, "next_opens": self.next_opens, "prompts": self.prompts}
        files.write(path, save({name: x.contiguous() for name, x in parts.items()}))

    @classmethod
    def load(cls, path: Path) -> "OwnText":
        """Read what `save` wrote. Raises ValueError where it is damaged."""
        try:
            return cls(**load_file(path))
        except (SafetensorError, OSError, TypeError):
            raise ValueError(f"{path} is damaged: remove it, and it is written again") from None


def write_own_text(
    model: BLT, windows: torch.Tensor, greedy: float, seed: int, method: Any = "blt-s"
) -> OwnText:
    """N texts of T ids, begun as windows (N, T) of training text and continued by the model.

    A text ends early where the model ends it. greedy: the share that is written greedily; the
    others are sampled. method: any that writes the bytes of autoregression.
    """
    generator = torch.Generator().manual_seed(seed)
    shortest, longest = PROMPT_BYTES
    lengths = torch.randint(shortest, longest + 1, (len(windows),), generator=generator)
    lengths = lengths.clamp_max(windows.shape[1] // 2)  # (N,): of the prompts, without BOS
    texts = OwnText(  # nothing is written yet
        ids=torch.full_like(windows, vocab.PAD_ID),
        next_opens=torch.zeros_like(windows, dtype=torch.bool),
        prompts=1 + lengths,
    )
    n_greedy = round(greedy * len(windows))
    was_training = model.training
    model.eval()
    try:
        for rows, temperature in _groups(n_greedy, len(windows)):
            prompts = [_text_of(windows[row, 1 : 1 + lengths[row]].tolist()) for row in rows]
            _write(model, texts, rows, prompts, temperature, seed, method)
    finally:
        model.train(was_training)
    return texts


def _groups(n_greedy: int, count: int) -> Iterator[tuple[list[int], float]]:
    """(numbers of texts to write together, their temperature), with a progress bar."""
    groups = []
    for begin, end, temperature in ((0, n_greedy, 0.0), (n_greedy, count, TEMPERATURE)):
        for first in range(begin, end, TOGETHER):
            groups.append((list(range(first, min(first + TOGETHER, end))), temperature))
    yield from tqdm(groups, desc="own text", unit="batch", leave=False)


def _write(
    model: BLT,
    texts: OwnText,
    rows: list[int],
    prompts: list[bytes],
    temperature: float,
    seed: int,
    method: Any,
) -> None:
    """Go on with the prompts, and put what was written into these rows of `texts`."""
    width = texts.ids.shape[1]
    lengths = [1 + len(prompt) for prompt in prompts]
    room = model.config.max_length - max(lengths)  # short prompts may then not fill their window
    written = generate(
        model,
        prompts,
        method,
        max_new_bytes=min(width - min(lengths), room),
        temperature=temperature,
        seed=[seed + row for row in rows],
        record=False,
    )
    for row, length, generation in zip(rows, lengths, written, strict=True):
        ids, opens = _read(generation.trace.events)
        n = min(len(ids), width)
        texts.prompts[row] = length
        texts.ids[row, :n] = torch.tensor(ids[:n])
        texts.next_opens[row, : n - 1] = torch.tensor(opens[1:n])


def _text_of(ids: list[int]) -> bytes:
    """A prompt from the beginning of a window: one document's bytes, the last that it reaches.

    >>> _text_of([76, vocab.EOS_ID, vocab.BOS_ID, 109, 110])
    b'ij'
    """
    documents = [vocab.decode(part) for part in _split(ids)]
    return next((text for text in reversed(documents) if text), b"")


def _split(ids: list[int]) -> list[list[int]]:
    """Ids cut before each BOS."""
    parts: list[list[int]] = [[]]
    for i in ids:
        if i == vocab.BOS_ID:
            parts.append([])
        parts[-1].append(i)
    return parts


def _read(events: Any) -> tuple[list[int], list[bool]]:
    """All ids of a trace, BOS in front, and whether each opens a patch."""
    ids: list[int] = []
    opens: list[bool] = []
    for event in events:
        if isinstance(event, (Prefilled, Committed)):
            ids.extend(event.ids)
            opens.extend(event.opens)
    return ids, opens


class OwnTextLoss(ModelLoss):
    """The masked loss on own text past its prompts, and the next byte's on real text.

    `texts` have to be set before the first step.
    """

    texts: OwnText

    def draw(
        self, ids: torch.Tensor, next_opens: torch.Tensor, generator: torch.Generator
    ) -> Batch:
        """Real ids and next_opens (B, T), and as many own texts, their blocks corrupted."""
        chosen = torch.randint(len(self.texts.ids), (len(ids),), generator=generator)
        own = self._corrupted(self.texts.rows(chosen), generator)
        return Batch(ids, next_opens, None, (count_targets(ids),), own)

    def _corrupted(self, texts: OwnText, generator: torch.Generator) -> Batch:
        o = self.options
        layout: Any = Layout(
            document_numbers(texts.ids), Patches.from_rule(texts.ids, texts.next_opens)
        )
        starts, clean = lay_out(layout, texts.ids, o.block_size, o.block_starts, generator)
        blocks = corrupt(starts, clean, o.own_fully_masked, generator)
        written = blocks.positions >= texts.prompts[:, None, None]
        blocks = Blocks(starts, clean, blocks.masked & written, blocks.t)
        targets, masked = loss_counts(texts.ids, blocks, "mean")
        return Batch(texts.ids, texts.next_opens, blocks, (int(targets), int(masked)))

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(what to minimise, nats of the next byte): these rows' part of the step's means."""
        own, patches = batch.own, Patches.from_rule(batch.ids, batch.next_opens)
        logits = self.model(batch.ids, (patches, None)).logits
        next_byte = next_byte_loss(logits, batch.ids, "sum") / batch.counts[0]
        masked = diffusion_loss(
            self.model,
            own.ids,
            weighting="mean",
            slot_decay=self.options.slot_decay,
            patches=(Patches.from_rule(own.ids, own.next_opens), None),
            blocks=own.blocks,
            counts=own.counts,  # type: ignore[arg-type]
        ).masked_byte
        return masked + self.options.own_next_weight * next_byte, next_byte
