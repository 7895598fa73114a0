"""Seconds spent decoding, in all and by part; the time of whoever watches does not count."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps


@dataclass
class Clock:
    """A stopwatch that can be stopped and started again.

    total: seconds until it was last stopped; since: when it was started, None while it stands.

    >>> clock = Clock()
    >>> clock.read()
    0.0
    >>> clock.start()
    >>> clock.stop()
    >>> clock.read() == clock.total > 0
    True
    """

    total: float = 0.0
    since: float | None = None

    def start(self) -> None:
        """Let it run on."""
        self.since = time.perf_counter()

    def stop(self) -> None:
        """Let it stand, with the seconds so far."""
        self.total = self.read()
        self.since = None

    def read(self) -> float:
        """Seconds so far, whether it runs or stands."""
        if self.since is None:
            return self.total
        return self.total + time.perf_counter() - self.since


def timed(part: str) -> Callable[[Callable], Callable]:
    """A decorator for methods: their seconds are added to `self.seconds_by_part[part]`.

    They are the host's seconds: on a GPU, those until the work is handed over.
    """

    def decorate(method: Callable) -> Callable:
        @wraps(method)
        def run(self, *args, **kwargs):
            began = time.perf_counter()
            result = method(self, *args, **kwargs)
            self.seconds_by_part[part] += time.perf_counter() - began
            return result

        return run

    return decorate


class Pace:
    """When to draw again: every `seconds`, and less often where drawing itself is slow.

    >>> pace = Pace(60.0)
    >>> pace.due()
    True
    >>> pace.drawn()
    >>> pace.due()
    False
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.began = 0.0  # when the drawing under way began
        self.next = 0.0  # when the next one may begin

    def due(self) -> bool:
        """Is it time to draw? If so, draw now and call `drawn`."""
        self.began = time.monotonic()
        return self.began >= self.next

    def drawn(self) -> None:
        """The picture is there. At least as long as it took is now left for the work."""
        done = time.monotonic()
        self.next = done + max(self.seconds, 2 * (done - self.began))
