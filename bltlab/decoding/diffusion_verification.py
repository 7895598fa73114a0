"""BLT-DV (Fast BLT section 3.4): a block is drafted by diffusion and verified by the same weights read causally.

repeat:  x_0 <- the model's own next byte          (own_byte="before"; "none" is the paper's all-masked block)
         x_1..x_B <- B masks, denoised by the unmasking rule, in one step by default           (draft)
         one pass of the whole model over x_0..x_B                                            (verify)
         keep x_0 and the guesses before the first that the model would not have written
"""

from dataclasses import dataclass, field
from typing import ClassVar

from ..options import check_options
from ..state import LATENTS
from ..unmasking import OneStep
from .moves import chain, fit_block, unmask, verify

OWN_BYTES = ("before", "none")


@dataclass(frozen=True)
class DiffusionVerification:
    """Unmask, verified: the bytes of autoregression at any temperature."""

    name: ClassVar[str] = "blt-dv"
    title: ClassVar[str] = "BLT-DV, diffusion and verification"
    block_size: int | None = field(
        default=None,
        metadata=dict(
            kind=int,
            min=1,
            max=64,
            help="bytes of a block; none is the size the model was trained with",
        ),
    )
    unmasking: object = field(
        default=OneStep(),
        metadata=dict(
            rule=True,
            help="which bytes a step reveals: confidence:0.7, entropy:0.5, topk:2 or onestep",
        ),
    )
    own_byte: str = field(
        default="before",
        metadata=dict(
            choices=OWN_BYTES,
            help="the model's own next byte: in front of the block, or not used (the paper; one pass more)",
        ),
    )
    latent: str = field(
        default="closed",
        metadata=dict(
            choices=LATENTS,
            help="what a block reads: the last closed patch, or the open one re-encoded (the paper; a pass more)",
        ),
    )

    def __post_init__(self):
        check_options(self)

    def round(self, state, pick):
        own = (yield from chain(state, pick)) if self.own_byte == "before" else None
        proposed = yield from unmask(state, pick, self.unmasking, self.block_size, own, self.latent)
        yield from verify(state, pick, proposed)

    def fit(self, model):
        return fit_block(self, model)

    @property
    def room(self):
        return self.block_size + 1
