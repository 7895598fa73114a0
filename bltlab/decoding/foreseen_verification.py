"""BLT-FV: BLT-S whose drafts are found by diffusion. Ours: speculation inside speculation.

    repeat:  x_0 <- the model's own next byte
             x_1..x_k <- what the decoder would write behind it, on the last latent: one pass reads
                         what is known and guessed, and unmasks the next guesses        (foresee)
             one pass of the whole model over x_0..x_k                                  (verify)
             keep x_0 and the guesses before the first that the model would not have written

The drafts, the global passes and the text are those of BLT-S; only decoder passes are fewer.
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
from .moves import verify


@dataclass(frozen=True)
class ForeseenVerification(Method):
    """A foreseen chain, verified: the bytes of autoregression at any temperature."""

    name: ClassVar[str] = "blt-fv"
    title: ClassVar[str] = "BLT-FV, foreseen chain and verification"
    draft_length: int = option(
        16, "bytes guessed beyond the model's own, the paper's k", min=1, max=64
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
    min_confidence: float = option(
        0.0,
        "drafting ends after a guess less probable than this; 0 always drafts all",
        min=0.0,
        max=1.0,
    )

    def round(self, state: DecodingState, pick: Pick) -> Iterator[Event]:
        """Foresee, then verify: 1 to `draft_length` + 1 bytes."""
        proposed = yield from foresee(
            state, pick, self.draft_length, self.block_size, self.latent, self.min_confidence
        )
        yield from verify(state, pick, proposed)

    def fit(self, model: BLT) -> "ForeseenVerification":
        """With the model's block size where none was asked for. Raises ValueError: a plain BLT."""
        return fit_block(self, model)

    @property
    def lookahead(self) -> int:
        """The model's own byte, and the guesses."""
        return self.draft_length + 1
