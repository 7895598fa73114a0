"""The text as it stands after some events of a trace. No torch here.

A byte's life:

    masked   -> proposed -> kept                     (trusted)
                proposed -> accepted | rejected      (verified)
    foreseen -> proposed | dropped                   (guessed ahead of the decoder's own chain)

`replaced` stands where a rejected byte stood, `bonus` is the model's own byte after a full match.

`viz/fold.js` folds events in the same way in the player; a test holds the two together.
"""

from dataclasses import dataclass, field
from typing import Any, Self

from . import vocab
from .events import (
    Committed,
    Drafted,
    Event,
    Finished,
    Foreseen,
    Guessed,
    Prefilled,
    Unmasked,
    Verified,
)

MOST_UNTOLD = 64  # bytes between the text and an event's position that no event told of


@dataclass
class Cell:
    """One byte on the canvas.

    state: prompt, masked, foreseen, proposed, accepted, replaced, bonus or kept.
    prob: of the byte when it was written, or None.
    step: index of the event that wrote it.
    opens: whether it opens a patch, None while not known.
    """

    id: int
    state: str
    prob: float | None = None
    step: int = 0
    opens: bool | None = None


@dataclass
class Canvas:
    """The text as it stands after some events.

    cells: one for each byte, without BOS, so that position p is cells[p - 1].
    ghosts: guesses thrown away, each a dict of step (of the event), position, ids, probs and state:
    "rejected" by the model, or "dropped" by the decoder before the model saw them.

    >>> canvas = Canvas().apply(Prefilled(ids=(1, 76), opens=(True, True), entropies=(2.0, 1.0)), 0)
    >>> canvas.apply(Drafted(position=2, id=109, prob=0.5), 1).cells[-1]
    Cell(id=109, state='proposed', prob=0.5, step=1, opens=None)
    """

    cells: list[Cell] = field(default_factory=list)
    ghosts: list[dict[str, Any]] = field(default_factory=list)
    _bonus_at: int | None = None  # where the model's own byte after a full match will stand

    @property
    def ids(self) -> list[int]:
        """The ids that stand on the canvas, MASK where a byte is hidden."""
        return [cell.id for cell in self.cells]

    def apply(self, event: Event, step: int) -> Self:
        """The canvas itself, with one more event folded in; `step` is its index in the trace.

        Raises ValueError where the event's bytes would leave a hole in the text.
        """
        match event:
            case Prefilled():
                self._read(event, step)
            case Drafted():
                self._draft(event, step)
            case Unmasked():
                self._unmask(event, step)
            case Guessed():
                self._guess(event, step)
            case Foreseen():
                self._foresee(event, step)
            case Verified():
                self._verify(event, step)
            case Committed():
                self._commit(event, step)
            case Finished():
                self._cut(event.position)
        return self

    def _read(self, event: Prefilled, step: int) -> None:
        """The prompt, without BOS."""
        self.cells = []
        for i, opens in zip(event.ids[1:], event.opens[1:], strict=True):
            self.cells.append(Cell(i, "prompt", None, step, opens))

    def _draft(self, event: Drafted, step: int) -> None:
        """A drafted byte; where the model already wrote one itself, only how probable that is.

        One that was foreseen keeps the step in which it appeared.
        """
        known = self._at(event.position)
        if known is not None and known.state == "foreseen" and known.id == event.id:
            known.state, known.prob = "proposed", event.prob
        elif known is None or known.state != "replaced":
            state = "bonus" if event.position == self._bonus_at else "proposed"
            self._put(event.position, Cell(event.id, state, event.prob, step))
        elif known.prob is None:
            known.prob = event.prob

    def _unmask(self, event: Unmasked, step: int) -> None:
        """The slots that are masked or were revealed just now; the others stay as they are."""
        revealed = set(event.revealed)
        for slot, (i, prob) in enumerate(zip(event.block, event.probs, strict=True)):
            position = event.position + slot
            if i == vocab.MASK_ID:
                self._put(position, Cell(i, "masked", prob, step))
            elif slot in revealed:
                self._put(position, Cell(i, "proposed", prob, step))

    def _guess(self, event: Guessed, step: int) -> None:
        for slot, (i, prob) in enumerate(zip(event.block, event.probs, strict=True)):
            self._put(event.position + slot, Cell(i, "foreseen", prob, step))

    def _foresee(self, event: Foreseen, step: int) -> None:
        """Agreed guesses stay, the others leave a ghost; the decoder's own byte comes next."""
        end = event.position + event.accepted
        for slot in range(event.accepted):
            cell = Cell(event.drafted[slot], "foreseen", event.draft_probs[slot], step)
            self._accept(event.position + slot, cell)
        self._cut(end)
        self._throw_away(event, "dropped", step)

    def _throw_away(
        self,
        event: Foreseen | Verified,
        state: str,
        step: int,
    ) -> None:
        """The guesses behind the agreed ones leave a ghost."""
        n = event.accepted
        ids, probs = event.drafted[n:], event.draft_probs[n:]
        if ids:
            ghost = dict(step=step, position=event.position + n, ids=ids, probs=probs, state=state)
            self.ghosts.append(ghost)

    def _verify(self, event: Verified, step: int) -> None:
        """Agreed guesses are accepted, the others leave a ghost and the model's own byte."""
        end = event.position + event.accepted
        for slot in range(event.accepted):
            prob = event.draft_probs[slot]
            cell = Cell(event.drafted[slot], "accepted", prob, step)
            self._accept(event.position + slot, cell)
        self._cut(end)
        self._throw_away(event, "rejected", step)
        rejected = event.accepted < len(event.drafted)
        self._bonus_at = None if rejected else end
        if rejected:
            candidates = dict(event.candidates[event.accepted])
            prob = candidates.get(event.replacement)
            self._put(end, Cell(event.replacement, "replaced", prob, step))

    def _accept(self, position: int, accepted: Cell) -> None:
        """The guess there is agreed to; where no event told of it, it is written now."""
        known = self._at(position)
        if known is None or known.id != accepted.id:
            self._put(position, accepted)
        else:
            known.state = accepted.state

    def _commit(self, event: Committed, step: int) -> None:
        """Bytes that stay. Behind them only a byte stays with which the model replaced a guess."""
        end = event.position
        for i, opens in zip(event.ids, event.opens, strict=True):
            self._keep(end, i, opens, step)
            end += 1
        behind = self._at(end)
        if behind and behind.state == "replaced":
            end += 1
        self._cut(end)

    def _keep(
        self,
        position: int,
        i: int,
        opens: bool,
        step: int,
    ) -> None:
        cell = self._at(position)
        if cell is None or cell.id != i:
            cell = Cell(i, "bonus" if position == self._bonus_at else "kept", None, step)
            self._put(position, cell)
        cell.opens = opens
        if cell.state in ("proposed", "foreseen"):
            cell.state = "kept"

    def _at(self, position: int) -> Cell | None:
        return self.cells[position - 1] if position <= len(self.cells) else None

    def _put(self, position: int, cell: Cell) -> None:
        """Overwrite a byte, or append one; bytes in between that no event told of are masked."""
        untold = position - 1 - len(self.cells)
        if position < 1 or untold > MOST_UNTOLD:
            raise ValueError(
                f"position {position} leaves a hole in a text of {len(self.cells)} bytes"
            )
        for _ in range(untold):
            self.cells.append(Cell(vocab.MASK_ID, "masked", None, cell.step))
        self.cells[position - 1 : position] = [cell]

    def _cut(self, position: int) -> None:
        """Forget what stands at a position and behind it."""
        del self.cells[position - 1 :]
