"""00: ids, and reading a lane."""

import random

import bltlab
from bltlab.events import Committed, Prefilled

from .comparing import Answer, compare, exercise
from .samples import traces

# -- ids -------------------------------------------------------------------------------------------


@exercise(
    "0.1",
    wrong={
        "BOS is left out": lambda text: [b + 4 for b in text.encode()],
        "characters are taken, not bytes": lambda text: [1] + [ord(c) + 4 for c in text],
        "the 4 special ids are forgotten": lambda text: [1, *text.encode()],
    },
)
def encode(yours: Answer) -> None:
    """yours(text) -> its ids: BOS, then each UTF-8 byte + 4."""
    texts = ["Hi", "", "né", "川は冷たい。", "a\x00b\n"]
    texts += ["".join(random.Random(seed).choices("aé川🙂 ", k=9)) for seed in range(40)]
    cases = [(text,) for text in texts]
    compare("encode", yours, bltlab.encode, cases, lambda text: f"the text {text!r}")


# -- what a trace says -----------------------------------------------------------------------------


@exercise(
    "0.2",
    wrong={
        "only what is committed is shown": lambda trace, step: [
            i for e in trace.events[:step] if isinstance(e, (Prefilled, Committed)) for i in e.ids
        ][1:],
        "the end of the trace is shown": lambda trace, step: trace.canvas().ids,
        "one event too many is read": lambda trace, step: trace.canvas(step + 1).ids,
    },
)
def on_screen(yours: Answer) -> None:
    """yours(trace, step) -> the ids on screen after the first `step` events."""

    def library(trace, step):
        return trace.canvas(step).ids

    def given(trace, step):
        names = [type(event).__name__ for event in trace.events[:step]]
        return f"{trace.method['name']} after {step} events: {', '.join(names) or 'none'}"

    draw = random.Random(0)
    cases = []
    for trace in traces():
        last = len(trace.events)
        cases += [(trace, step) for step in (0, 1, 2, last, *draw.sample(range(last + 1), 4))]
    compare("on_screen", yours, library, cases, given)
