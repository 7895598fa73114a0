"""BLT-S, self-speculation (Fast BLT section 3.3): the decoder runs ahead of the model, the model keeps what it agrees with.

repeat:  x_0 <- the model's own next byte
         for i = 1..k:  x_i <- decoder on the last latent, whatever the patch rule says       (draft)
         one pass of the whole model over x_0..x_k                                            (verify)
         keep x_0 and the guesses before the first that the model would not have written
"""

from dataclasses import dataclass, field
from typing import ClassVar

from ..options import check_options
from ..state import LATENTS
from .moves import chain, verify


@dataclass(frozen=True)
class SelfSpeculation:
    """A chain, verified: the bytes of autoregression at any temperature. Needs no training."""

    name: ClassVar[str] = "blt-s"
    title: ClassVar[str] = "BLT-S, self-speculation"
    draft_length: int = field(
        default=8,
        metadata=dict(min=1, max=32, help="bytes guessed beyond the model's own, the paper's k"),
    )
    latent: str = field(
        default="closed",
        metadata=dict(
            choices=LATENTS,
            help="what drafts read: the last closed patch, or the open one re-encoded (the paper; one pass more)",
        ),
    )
    min_confidence: float = field(
        default=0.0,
        metadata=dict(
            min=0.0,
            max=1.0,
            help="drafting ends after a guess less probable than this; 0 always drafts all",
        ),
    )

    def __post_init__(self):
        check_options(self)

    def round(self, state, pick):
        proposed = yield from chain(
            state, pick, self.draft_length, self.latent, self.min_confidence
        )
        yield from verify(state, pick, proposed)

    def fit(self, model):
        return self

    @property
    def room(self):
        return self.draft_length + 1
