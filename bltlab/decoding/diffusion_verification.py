"""BLT-DV (Fast BLT section 5.2): a block drafted by diffusion, verified by the same weights.

    repeat:  x_0 <- the model's own next byte   (own_byte="before"; the paper has none)
             x_1..x_B <- B masks, denoised by the unmasking rule, in one step by default     (draft)
             one pass of the whole model over x_0..x_B                                      (verify)
             keep x_0 and the guesses before the first that the model would not have written

Both forms take two decoder passes a round with one denoising step. In the paper's form the byte
that the model wants behind the agreed prefix is committed at once, by an encoder pass of its own;
the decoder reads it together with the next round's block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..events import Event
from ..model import BLT
from ..options import option
from ..sampling import Pick
from ..state import LATENTS, DecodingState
from ..unmasking import RULES, OneStep
from .method import Method, fit_block
from .moves import chain, unmask, verify

OWN_BYTES = ("before", "none")


@dataclass(frozen=True)
class DiffusionVerification(Method):
    """Unmask, verified: the bytes of autoregression at any temperature."""

    name: ClassVar[str] = "blt-dv"
    title: ClassVar[str] = "BLT-DV, diffusion and verification"
    block_size: int | None = option(
        None,
        "bytes of a block, the paper's B; none is the size the model was trained with",
        kind=int,
        min=1,
        max=64,
    )
    unmasking: Any = option(
        OneStep(),
        "which bytes a step reveals: confidence:0.7, entropy:0.5, topk:2 or onestep",
        rules=RULES,
    )
    own_byte: str = option(
        "before",
        "the model's own next byte: in front of the block, or not used (the paper; one encoder pass"
        " more)",
        choices=OWN_BYTES,
    )
    latent: str = option(
        "closed",
        "what a block reads: the last closed patch, or the open one re-encoded (the paper; a pass"
        " more)",
        choices=LATENTS,
    )

    def round(self, state: DecodingState, pick: Pick) -> Iterator[Event]:
        """Fill a block, then verify: 1 to `block_size` + 1 bytes."""
        own = (yield from chain(state, pick)) if self.own_byte == "before" else None
        proposed = yield from unmask(state, pick, self.unmasking, self.block_size, own, self.latent)
        yield from verify(state, pick, proposed)

    def fit(self, model: BLT) -> "DiffusionVerification":
        """With the model's block size where none was asked for. Raises ValueError: a plain BLT."""
        return fit_block(self, model)

    @property
    def lookahead(self) -> int:
        """The model's own byte, and the block."""
        return self.block_size + 1
