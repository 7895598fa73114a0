"""Autoregressive decoding: byte by byte, the baseline of everything else.

repeat:  x <- the model's own next byte     (decoder)
         extend the text by x               (entropy model, encoder; global part once a patch)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..events import Event
from ..sampling import Pick
from ..state import DecodingState
from .method import Method
from .moves import chain, trust


@dataclass(frozen=True)
class Autoregressive(Method):
    """A chain of one, trusted."""

    name: ClassVar[str] = "ar"
    title: ClassVar[str] = "Autoregressive"

    def round(self, state: DecodingState, pick: Pick) -> Iterator[Event]:
        """One byte."""
        proposed = yield from chain(state, pick)
        yield from trust(state, proposed)
