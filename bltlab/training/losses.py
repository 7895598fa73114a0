"""What a training step reads and minimises: a loss for the entropy model, one for the model."""

from collections import namedtuple
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

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
from ..model import BLT, document_numbers
from ..patching import EntropyModel, Patches
from .options import TrainOptions

# The two fields that `lay_out` reads of an encoded text: known here without encoding it.
Layout = namedtuple("Layout", "document patches")


@dataclass(frozen=True)
class Batch:
    """What one step reads, all random draws made.

    ids: (B, T), each row a window of text from BOS on.
    next_opens: (B, T) bool, does the id after each open a patch; None for the entropy model.
    blocks: the corrupted blocks of a BLT-D, else None.
    counts: by how much each loss is divided, over the whole step: (targets of the next byte,), and
    block bytes behind it where there are blocks.
    own: a batch of text that the model wrote itself, learnt from beside the real one; else None.
    """

    ids: torch.Tensor
    next_opens: torch.Tensor | None
    blocks: Blocks | None
    counts: tuple[int, ...]
    own: "Batch | None" = None

    def share(self, rows: slice, device: torch.device) -> "Batch":
        """The batch with some of its rows only, on a device: what one process works on in one pass.

        The counts stay those of the whole step, so that the losses of all shares add up to the
        step's loss, however it was divided.
        """

        def cut(x: torch.Tensor) -> torch.Tensor:
            return x[rows].to(device)

        blocks = self.blocks
        if blocks is not None:
            blocks = Blocks(cut(blocks.starts), cut(blocks.ids), cut(blocks.masked), cut(blocks.t))
        next_opens = None if self.next_opens is None else cut(self.next_opens)
        own = None if self.own is None else self.own.share(rows, device)
        return replace(self, ids=cut(self.ids), next_opens=next_opens, blocks=blocks, own=own)


def count_targets(ids: torch.Tensor) -> int:
    """How many ids of (B, T) are predicted: EOS in, PAD and the BOS of a further document out."""
    return int((next_targets(ids) >= 0).sum())


class PatcherLoss(nn.Module):
    """The entropy model and its loss: the next byte's."""

    def __init__(self, patcher: EntropyModel):
        super().__init__()
        self.patcher = patcher

    def draw(
        self,
        ids: torch.Tensor,
        next_opens: torch.Tensor | None,
        generator: torch.Generator | None,
    ) -> Batch:
        """A `Batch` of ids (B, T); there is nothing to draw."""
        return Batch(ids, None, None, (count_targets(ids),))

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(what to minimise, nats of the next byte): these rows' part of the step's means."""
        ids = batch.ids
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        attend = over_text(document_numbers(ids), self.patcher.config.window)
        logits = self.patcher(ids, positions, attend)
        loss = next_byte_loss(logits, ids, "sum") / batch.counts[0]
        return loss, loss


class ModelLoss(nn.Module):
    """The model on known patches, and its loss.

    A BLT-D minimises the sum of two losses, of the next byte and of masked bytes (section 3.2.3);
    a plain BLT minimises that of the next byte.
    """

    def __init__(self, model: BLT, options: TrainOptions):
        super().__init__()
        self.model = model
        self.options = options

    def draw(
        self, ids: torch.Tensor, next_opens: torch.Tensor, generator: torch.Generator
    ) -> Batch:
        """A `Batch` of ids and next_opens (B, T), its blocks laid out and corrupted at random."""
        o = self.options
        if not o.block_size:
            return Batch(ids, next_opens, None, (count_targets(ids),))
        layout: Any = Layout(document_numbers(ids), Patches.from_rule(ids, next_opens))
        starts, clean = lay_out(layout, ids, o.block_size, o.block_starts, generator)
        blocks = corrupt(starts, clean, o.fully_masked, generator, o.masking_rates)
        targets, block_bytes = loss_counts(ids, blocks, o.weighting)
        return Batch(ids, next_opens, blocks, (int(targets), int(block_bytes)))

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(what to minimise, nats of the next byte): these rows' part of the step's means."""
        # Known patches, so that no step runs the entropy model.
        patches = Patches.from_rule(batch.ids, batch.next_opens), None
        if batch.blocks is None:
            logits = self.model(batch.ids, patches).logits
            loss = next_byte_loss(logits, batch.ids, "sum") / batch.counts[0]
            return loss, loss
        weight = self.options.masked_weight
        if self.options.losses == "sums":
            targets, block_bytes = batch.counts
            weight *= block_bytes / targets
        both = diffusion_loss(
            self.model,
            batch.ids,
            weight=weight,
            weighting=self.options.weighting,
            slot_decay=self.options.slot_decay,
            patches=patches,
            blocks=batch.blocks,
            counts=batch.counts,  # type: ignore[arg-type]
        )
        return both.total, both.next_byte
