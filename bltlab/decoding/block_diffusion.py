"""BLT-D, block diffusion (Fast BLT section 3.1, Algorithm 1): B bytes in a few parallel steps.

repeat:  block <- B masks
         while masks are left:  p <- decoder(prefix, block), bidirectional inside the block
                                reveal the bytes that the unmasking rule is sure of, at least one
         extend the text by the block     (entropy model, encoder, global transformer: once a block)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ..events import Event
from ..model import BLT
from ..options import option
from ..sampling import Pick
from ..state import LATENTS, DecodingState
from ..unmasking import RULES, Confidence
from .method import Method, fit_block
from .moves import trust, unmask


@dataclass(frozen=True)
class BlockDiffusion(Method):
    """Unmask, trusted: the fastest, and not the bytes of autoregression."""

    name: ClassVar[str] = "blt-d"
    title: ClassVar[str] = "BLT-D, block diffusion"
    block_size: int | None = option(
        None,
        "bytes of a block, the paper's B; none is the size the model was trained with",
        kind=int,
        min=1,
        max=64,
    )
    unmasking: Any = option(
        Confidence(0.7),
        "which bytes a step reveals: confidence:0.7, entropy:0.5, topk:2 or onestep",
        rules=RULES,
    )
    latent: str = option(
        "closed",
        "what a block reads: the last closed patch, or the open one as if it closed here",
        choices=LATENTS,
    )

    def round(self, state: DecodingState, pick: Pick) -> Iterator[Event]:
        """Fill a block and commit it."""
        proposed = yield from unmask(
            state, pick, self.unmasking, self.block_size, latent=self.latent
        )
        yield from trust(state, proposed, logits=False, open_latent=self.latent == "open")

    def fit(self, model: BLT) -> "BlockDiffusion":
        """With the model's block size where none was asked for. Raises ValueError: a plain BLT."""
        return fit_block(self, model)

    @property
    def lookahead(self) -> int:
        """The block."""
        return self.block_size
