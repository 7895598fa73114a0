"""Who runs next: several visitors share one model, a pass at a time each."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from bltlab.decoding import Stream


class Turns:
    """A lock that goes to whoever asked first: who gives it back does not get it at once.

    >>> turns = Turns()
    >>> with turns:
    ...     print("my turn")
    my turn
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._line: deque[threading.Event] = deque()  # whose turn it is, and who waits

    def __enter__(self) -> None:
        mine = threading.Event()
        with self._guard:
            self._line.append(mine)
            if self._line[0] is mine:
                mine.set()
        mine.wait()

    def __exit__(self, *raised: object) -> None:
        with self._guard:
            self._line.popleft()
            if self._line:
                self._line[0].set()


def in_turn(events: Stream, turns: Turns) -> Iterator[Any]:
    """The events of a decoding; each is computed in a turn of its own."""
    while True:
        with turns:
            event = next(events, None)
        if event is None:
            return
        yield event
