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
