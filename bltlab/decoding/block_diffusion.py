"""BLT-D, block diffusion (Fast BLT section 3.2): B bytes in a few parallel steps, trusted as they come.

repeat:  block <- B masks
         while masks are left:  p <- decoder(prefix, block), bidirectional inside the block
                                reveal the bytes that the unmasking rule is sure of, at least one
         extend the text by the block              (entropy model, encoder, global transformer: once a block)
"""

from dataclasses import dataclass, field
from typing import ClassVar

from ..options import check_options
from ..state import LATENTS
from ..unmasking import Confidence
from .moves import fit_block, trust, unmask


@dataclass(frozen=True)
class BlockDiffusion:
    """Unmask, trusted: the fastest, and not the bytes of autoregression."""

    name: ClassVar[str] = "blt-d"
    title: ClassVar[str] = "BLT-D, block diffusion"
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
        default=Confidence(0.7),
        metadata=dict(
            rule=True,
            help="which bytes a step reveals: confidence:0.7, entropy:0.5, topk:2 or onestep",
        ),
    )
    latent: str = field(
        default="closed",
        metadata=dict(
            choices=LATENTS,
            help="what a block reads: the last closed patch, or the open one as if it closed here",
        ),
    )

    def __post_init__(self):
        check_options(self)

    def round(self, state, pick):
        proposed = yield from unmask(
            state, pick, self.unmasking, self.block_size, latent=self.latent
        )
        yield from trust(state, proposed, logits=False, open_latent=self.latent == "open")

    def fit(self, model):
        return fit_block(self, model)

    @property
    def room(self):
        return self.block_size
