"""A decoding in a terminal, as it happens: what is guessed stands behind the text until it is kept
or thrown away.
"""

import shutil
import time
import unicodedata
from collections.abc import Callable
from typing import Any

from .. import vocab
from ..canvas import Canvas
from ..events import Committed, Drafted, Event, Foreseen, Guessed, Prefilled, Unmasked, Verified

# How a byte looks in each state: the codes of a terminal's colours
STYLES = {
    "masked": "2",
    "foreseen": "3;36",
    "proposed": "3;33",
    "accepted": "32",
    "replaced": "1;31",
    "bonus": "35",
    "kept": "34",
    "rejected": "9;31",
    "dropped": "9;36",
}
SECONDS = {Drafted: 0.02, Unmasked: 0.15, Guessed: 0.1, Foreseen: 0.1, Verified: 0.25}
HIDDEN = "\N{MIDDLE DOT}"  # a byte that is no character of its own


class Live:
    """Draws the events of one decoding, one after the other, in the last line of the text.

    write: takes what is to be printed. width: columns, by default those of the terminal.
    """

    def __init__(self, write: Callable[[str], Any], width: int | None = None) -> None:
        self.write = write
        self.width = width or shutil.get_terminal_size().columns
        self._canvas, self._step = Canvas(), 0
        self._text = vocab.StreamingText("surrogateescape")
        self._kept = 0  # bytes of the text that stay, prompt included
        self._column = 0  # where the text ends
        self._drawn = 0  # columns behind it that are not the text's

    def show(self, event: Event) -> float:
        """Draw what an event did; the seconds to look at it."""
        self._canvas.apply(event, self._step)
        self._erase()
        if isinstance(event, Prefilled):
            self._kept = len(self._canvas.cells)
        if isinstance(event, Committed):
            self._kept += len(event.ids)
            self._print(self._text.feed(vocab.decode(event.ids)))
        self._draw(self._guesses())
        self._step += 1
        return SECONDS.get(type(event), 0.0)

    def close(self) -> None:
        """Leave the text alone, and a line of its own for what follows."""
        self._erase()
        self._print(self._text.close())
        self.write("\n")

    def _print(self, text: str) -> None:
        """The next piece of the text. What does not print shows as hex."""
        shown = vocab.visible(vocab.to_bytes(text), kept="\n")
        self.write(shown)
        last = shown.rpartition("\n")[2]
        begin = 0 if "\n" in shown else self._column
        wide = sum(unicodedata.east_asian_width(c) in "WF" for c in last)  # two columns each
        self._column = (begin + len(last) + wide) % self.width

    def _guesses(self) -> list[tuple[int, str]]:
        """(id, state) of what stands behind the text, and of what was thrown away just now."""
        found = [(cell.id, cell.state) for cell in self._canvas.cells[self._kept :]]
        for ghost in self._canvas.ghosts[-1:]:
            if ghost["step"] == self._step:
                found += [(i, ghost["state"]) for i in ghost["ids"]]
        return found

    def _draw(self, guesses: list[tuple[int, str]]) -> None:
        """Guesses, as far as the line has room."""
        shown = guesses[: max(self.width - self._column - 1, 0)]
        for i, state in shown:
            self.write(f"\x1b[{STYLES.get(state, '0')}m{_glyph(i)}\x1b[0m")
        self._drawn = len(shown)

    def _erase(self) -> None:
        if self._drawn:
            self.write(f"\x1b[{self._drawn}D\x1b[K")
        self._drawn = 0


def _glyph(i: int) -> str:
    """One column for one byte.

    >>> _glyph(vocab.MASK_ID), _glyph(76), _glyph(14)
    ('_', 'H', '·')
    """
    if i == vocab.MASK_ID:
        return "_"
    byte = i - vocab.OFFSET
    return chr(byte) if 32 <= byte < 127 else HIDDEN


def play(events: Any, write: Callable[[str], Any], width: int | None = None) -> None:
    """Draw a decoding until its end or an interrupt, slowly enough to be seen.

    The decoding's own clock stands still meanwhile.
    """
    live = Live(write, width)
    try:
        for event in events:
            time.sleep(live.show(event))
    except KeyboardInterrupt:
        pass
    events.close()
    live.close()
