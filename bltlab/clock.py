"""Seconds spent decoding, in all and by part; a viewer's time does not count."""

import time
from dataclasses import dataclass
from functools import wraps


@dataclass
class Clock:
    """A stopwatch that can be stopped and started again."""

    total: float = 0.0
    since: float | None = None

    def start(self):
        self.since = time.perf_counter()

    def stop(self):
        self.total, self.since = self.read(), None

    def read(self):
        return self.total + (time.perf_counter() - self.since if self.since is not None else 0.0)


def timed(part):
    """A method whose seconds go to `self.seconds_by_part[part]`: the host's, on a GPU until the work is handed over."""

    def wrap(method):
        @wraps(method)
        def run(self, *args, **kwargs):
            began = time.perf_counter()
            result = method(self, *args, **kwargs)
            self.seconds_by_part[part] += time.perf_counter() - began
            return result

        return run

    return wrap


class Pace:
    """When to draw what goes on: every `seconds`, less often where drawing is slow.

    >>> pace = Pace(60.0)
    >>> pace.due(), pace.drawn(), pace.due()
    (True, None, False)
    """

    def __init__(self, seconds):
        self.seconds, self.began, self.next = seconds, 0.0, 0.0

    def due(self):
        self.began = time.monotonic()
        return self.began >= self.next

    def drawn(self):
        """The picture is there: at least as long again is for the work."""
        done = time.monotonic()
        self.next = done + max(self.seconds, 2 * (done - self.began))
