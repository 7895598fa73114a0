"""BLT-S, self-speculation (Fast BLT section 5.1): the decoder runs ahead of the model.

repeat:  x_0 <- the model's own next byte
         for i = 1..k:  x_i <- decoder on the last latent, whatever the patch rule says     (draft)
         one pass of the whole model over x_0..x_k                                          (verify)
         keep x_0 and the guesses before the first that the model would not have written
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..events import Event
from ..options import option
from ..sampling import Pick
from ..state import LATENTS, DecodingState
from .method import Method
from .moves import chain, verify


@dataclass(frozen=True)
class SelfSpeculation(Method):
    """A chain, verified: the bytes of autoregression at any temperature. Needs no training."""

    name: ClassVar[str] = "blt-s"
    title: ClassVar[str] = "BLT-S, self-speculation"
    draft_length: int = option(
        8, "bytes guessed beyond the model's own, the paper's k", min=1, max=64
    )
    latent: str = option(
        "closed",
        "what drafts read: the last closed patch, or the open one re-encoded (the paper; one pass"
        " more)",
        choices=LATENTS,
    )
    min_confidence: float = option(
        0.0,
        "drafting ends after a guess less probable than this; 0 always drafts all",
        min=0.0,
        max=1.0,
    )

    def round(self, state: DecodingState, pick: Pick) -> Iterator[Event]:
        """Draft, then verify: 1 to `draft_length` + 1 bytes."""
        proposed = yield from chain(
            state, pick, self.draft_length, self.latent, self.min_confidence
        )
        yield from verify(state, pick, proposed)

    @property
    def lookahead(self) -> int:
        """The model's own byte, and the guesses."""
        return self.draft_length + 1
