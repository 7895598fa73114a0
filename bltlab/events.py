"""What happens while decoding, as frozen events of plain ints, floats and tuples. No torch here.

Each field says by `holds` what it may hold; `schema` checks trace files by that. A new event is a
dataclass here, a method of `canvas.Canvas` that folds it, and a case in `viz/fold.js` that does the
same in the player.
"""

from dataclasses import dataclass, field
from typing import Any

from . import vocab
from .costs import NFE

Candidates = tuple[tuple[int, float], ...]  # (id, probability) pairs, best first
REASONS = ("eos", "budget", "stop", "interrupted")  # why a text ends


def holds(kind: str, along: str | None = None, **settings: Any) -> Any:
    """A field of an event.

    kind: what it may hold, a name in `schema.KINDS`.
    along: the name of the list that it has one entry for each of.
    settings: of `dataclasses.field`, such as a default.
    """
    return field(metadata={"holds": kind, "along": along}, **settings)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events: where it happened, and the counters at that moment.

    row: of the batch.
    position: id index, BOS = 0, so the text offset is position - 1.
    nfe, weight_bytes, cache_bytes, seconds: function evaluations by part, bytes read and time since
    the start, when the primitive of the state that made the event was done.
    """

    row: int = holds("count", default=0)
    position: int = holds("count", default=0)
    nfe: NFE = holds("nfe", default=NFE())
    weight_bytes: int = holds("count", default=0)
    cache_bytes: int = holds("count", default=0)
    seconds: float = holds("number", default=0.0)


@dataclass(frozen=True, kw_only=True)
class Prefilled(Event):
    """The prompt was read.

    ids: of the prompt, BOS in front. opens[i]: whether id i opens a patch.
    entropies: nats after each id.
    """

    ids: tuple[int, ...] = holds("ids")
    opens: tuple[bool, ...] = holds("flags", along="ids")
    entropies: tuple[float, ...] = holds("numbers", along="ids")


@dataclass(frozen=True, kw_only=True)
class Drafted(Event):
    """One byte proposed by a chain.

    prob: its probability at temperature 1, None where it was not recorded or the drafter has none.
    candidates: ((id, prob), ...), best first.
    """

    id: int = holds("id")
    prob: float | None = holds("prob", default=None)
    candidates: Candidates = holds("candidates", default=())


@dataclass(frozen=True, kw_only=True)
class Unmasked(Event):
    """One denoising step.

    block: its S ids after the step, MASK where still hidden.
    revealed: the slots filled by this step.
    probs: per slot, of the id standing there (or of the best candidate where masked), None where
    not known.
    candidates: per slot.
    """

    block: tuple[int, ...] = holds("ids")
    revealed: tuple[int, ...] = holds("slots")
    probs: tuple[float | None, ...] = holds("probs", along="block", default=None)
    candidates: tuple[Candidates, ...] = holds("candidate lists", along="block", default=None)

    def __post_init__(self) -> None:
        _fill(self, len(self.block), probs=None, candidates=())


@dataclass(frozen=True, kw_only=True)
class Guessed(Event):
    """What a block says comes next, all slots at once, for the decoder's own chain to check.

    block: the ids from `position` on. probs: how sure the block is of each, None where not known.
    candidates: per slot.
    """

    block: tuple[int, ...] = holds("ids")
    probs: tuple[float | None, ...] = holds("probs", along="block", default=None)
    candidates: tuple[Candidates, ...] = holds("candidate lists", along="block", default=None)

    def __post_init__(self) -> None:
        _fill(self, len(self.block), probs=None, candidates=())


@dataclass(frozen=True, kw_only=True)
class Foreseen(Event):
    """Guesses of a block held against the decoder's own chain, before the model sees any.

    drafted: the k guesses from `position` on; the first `accepted` are what the chain writes.
    draft_probs: how sure the block was of each, None where not known.
    """

    drafted: tuple[int, ...] = holds("ids")
    accepted: int = holds("count")
    draft_probs: tuple[float | None, ...] = holds("probs", along="drafted", default=None)

    def __post_init__(self) -> None:
        _fill(self, len(self.drafted), draft_probs=None)


@dataclass(frozen=True, kw_only=True)
class Verified(Event):
    """Guessed bytes held against the model.

    drafted: the k guesses from `position` on; the first `accepted` of them agree with the model.
    replacement: the model's own id where the first rejected guess stood, None where all agree.
    draft_probs and target_probs: probability of each guess for drafter and model, None where not
    known.
    candidates: the model's, one tuple for each guess.
    """

    drafted: tuple[int, ...] = holds("ids")
    accepted: int = holds("count")
    replacement: int | None = holds("id or none")
    draft_probs: tuple[float | None, ...] = holds("probs", along="drafted", default=None)
    target_probs: tuple[float | None, ...] = holds("probs", along="drafted", default=None)
    candidates: tuple[Candidates, ...] = holds("candidate lists", along="drafted", default=None)

    def __post_init__(self) -> None:
        _fill(self, len(self.drafted), draft_probs=None, target_probs=None, candidates=())


@dataclass(frozen=True, kw_only=True)
class Committed(Event):
    """Bytes that never change again: `ids`, `opens` and `entropies` as in `Prefilled`."""

    ids: tuple[int, ...] = holds("ids")
    opens: tuple[bool, ...] = holds("flags", along="ids")
    entropies: tuple[float, ...] = holds("numbers", along="ids")

    @property
    def bytes(self) -> bytes:
        """The bytes of `ids`, without EOS."""
        return vocab.decode(self.ids)


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The end of a row. reason: one of `REASONS`."""

    reason: str = holds("reason")


EVENTS = {kind.__name__: kind for kind in Event.__subclasses__()}


def _fill(event: Event, n: int, **unknown: Any) -> None:
    """Fields left None, which say nothing of any of n bytes, get n entries that say so."""
    for name, value in unknown.items():
        if getattr(event, name) is None:
            object.__setattr__(event, name, (value,) * n)
