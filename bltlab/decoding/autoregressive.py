"""Autoregressive decoding: byte by byte, the baseline of everything else.

repeat:  x <- the model's own next byte          (decoder)
         extend the text by x                    (entropy model, encoder; global transformer once a patch)
"""

from dataclasses import dataclass
from typing import ClassVar

from .moves import chain, trust


@dataclass(frozen=True)
class Autoregressive:
    """A chain of one, trusted."""

    name: ClassVar[str] = "ar"
    title: ClassVar[str] = "Autoregressive"

    def round(self, state, pick):
        proposed = yield from chain(state, pick)
        yield from trust(state, proposed)

    def fit(self, model):
        return self

    @property
    def room(self):
        """Bytes a round may write past the frontier."""
        return 1
