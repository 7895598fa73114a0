"""What happens while decoding, as frozen events of plain ints, floats and tuples. No torch here."""

from dataclasses import dataclass

from . import vocab
from .costs import NFE


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events: where it happened, and the counters when the primitive that made it was done.

    position: id index, BOS = 0, so the text offset is position - 1. nfe, weight_bytes, cache_bytes, seconds: cumulative.
    """

    row: int = 0
    position: int = 0
    nfe: NFE = NFE()
    weight_bytes: int = 0
    cache_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Prefilled(Event):
    """The prompt was read. ids with BOS; opens[i]: does id i open a patch; entropies in nats after each id."""

    ids: tuple
    opens: tuple
    entropies: tuple


@dataclass(frozen=True, kw_only=True)
class Drafted(Event):
    """One byte proposed by a chain. prob: its probability at temperature 1; candidates: ((id, prob), ...), best first."""

    id: int
    prob: float
    candidates: tuple


@dataclass(frozen=True, kw_only=True)
class Unmasked(Event):
    """One denoising step. block: its ids after the step, MASK where still hidden; revealed: slots filled by this step.

    probs: per slot, of the id standing there (or of the best candidate where masked); candidates: per slot.
    """

    block: tuple
    revealed: tuple
    probs: tuple
    candidates: tuple


@dataclass(frozen=True, kw_only=True)
class Verified(Event):
    """Guessed bytes held against the model. drafted: the guesses from `position` on; the first `accepted` of them agree.

    replacement: the model's own id where the first rejected guess stood, None where all agree. draft_probs and
    target_probs: probability of each guess for drafter and model; candidates: the model's, one tuple per guess.
    """

    drafted: tuple
    accepted: int
    replacement: int | None
    draft_probs: tuple
    target_probs: tuple
    candidates: tuple


@dataclass(frozen=True, kw_only=True)
class Committed(Event):
    """Bytes that never change again, with opens and entropies as in `Prefilled`."""

    ids: tuple
    opens: tuple
    entropies: tuple

    @property
    def bytes(self):
        return vocab.decode(self.ids)


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The end of a row. reason: "eos", "budget", "stop" or "interrupted"."""

    reason: str


EVENTS = {
    kind.__name__: kind for kind in (Prefilled, Drafted, Unmasked, Verified, Committed, Finished)
}
