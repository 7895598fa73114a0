"""BLT-F, the foreseen chain, trusted. Ours: a chain that is itself speculated on, by diffusion.

    repeat:  x_0 <- the model's own next byte
             x_1..x_k <- what the decoder would write behind it, on the last latent: one pass reads
                         what is known and guessed, and unmasks the next guesses        (foresee)
             extend the text by x_0..x_k      (entropy model, encoder, global transformer: once)

The bytes are those of a chain of the same length. One global pass for k + 1 bytes, whatever they
hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..events import Event
from ..model import BLT
from ..options import option
from ..sampling import Pick
from ..state import LATENTS, DecodingState
from .foresee import foresee
from .method import Method, fit_block
from .moves import trust


@dataclass(frozen=True)
class ForeseenChain(Method):
    """A foreseen chain, trusted: the bytes of a chain, not of autoregression."""

    name: ClassVar[str] = "blt-f"
    title: ClassVar[str] = "BLT-F, foreseen chain"
    draft_length: int = option(
        15, "bytes written beyond the model's own before it reads again", min=1, max=64
    )
    block_size: int | None = option(
        None,
        "bytes that a pass guesses, B; none is the size the model was trained with",
        kind=int,
        min=1,
        max=64,
    )
    latent: str = option(
        "closed", "what the chain reads: the last closed patch, or the open one", choices=LATENTS
    )

    def round(self, state: DecodingState, pick: Pick) -> Iterator[Event]:
        """`draft_length` + 1 bytes."""
        proposed = yield from foresee(state, pick, self.draft_length, self.block_size, self.latent)
        yield from trust(state, proposed, logits=False, open_latent=self.latent == "open")

    def fit(self, model: BLT) -> "ForeseenChain":
        """With the model's block size where none was asked for. Raises ValueError: a plain BLT."""
        return fit_block(self, model)

    @property
    def lookahead(self) -> int:
        """The model's own byte, and the chain."""
        return self.draft_length + 1
