"""01: entropy, where the next patch opens, a rule of one's own."""

import math
import random
from typing import Any

import torch

from bltlab import patching

from .comparing import Answer, compare, exercise, plain, refuse, run, say
from .samples import random_flags

# -- entropy ---------------------------------------------------------------------------------------


def _nats(logits: list[float]) -> float:
    return patching.entropy(torch.tensor(logits, dtype=torch.float64)).item()


def _overflowing(logits: list[float]) -> float:
    weights = [math.exp(v) for v in logits]
    return -sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights)


@exercise(
    "1.1",
    wrong={
        "the logarithm is to base 2: bits, not nats": lambda z: _nats(z) / math.log(2),
        "the sign is left out": lambda z: -_nats(z),
        "probabilities are summed, not p log p": lambda z: 1.0,
        "large logits overflow": _overflowing,
    },
)
def entropy(yours: Answer) -> None:
    """yours(logits) -> the entropy of their softmax, in nats."""
    draw = random.Random(0)
    cases = [([0.0, 0.0],), ([2.0, 2.0, 2.0, 2.0],), ([1.0, -1.0, 0.5],), ([1000.0, 0.0, -1000.0],)]
    for _ in range(100):
        count = draw.randint(2, 9)
        cases.append(([round(draw.gauss(0, 3), 3) for _ in range(count)],))
    compare("entropy", yours, _nats, cases, lambda logits: f"logits {say(logits)}")


# -- where the next patch opens --------------------------------------------------------------------


def _opens(surprise: list[bool], limit: int) -> list[bool]:
    positions, start = torch.arange(len(surprise))[None], torch.tensor([0])
    return patching.next_opens(torch.tensor([surprise]), positions, start, limit)[0].tolist()


@exercise(
    "1.2",
    wrong={
        "the limit is forgotten": lambda surprise, limit: surprise,
        "the limit is counted from the start of the text": lambda surprise, limit: [
            s or (t + 1) % limit == 0 for t, s in enumerate(surprise)
        ],
        "patches hold one byte more than the limit": lambda surprise, limit: _opens(
            surprise, limit + 1
        ),
        "it is said of each byte, not of the next one": lambda surprise, limit: [
            True,
            *_opens(surprise, limit)[:-1],
        ],
    },
)
def opens_next(yours: Answer) -> None:
    """yours(surprise, limit) -> after each byte, whether the next one opens a patch.

    surprise: by byte, whether the entropy after it is above the threshold.
    limit: bytes of a patch at most.
    """

    def given(surprise, limit):
        return f"surprise {say(surprise)} and a limit of {limit} bytes"

    draw = random.Random(0)
    cases = [(random_flags(draw, [True], 0.2, 24), draw.randint(1, 8)) for _ in range(200)]
    compare("opens_next", yours, _opens, cases, given)


# -- a rule of one's own ---------------------------------------------------------------------------


def _most_surprising(text: bytes) -> list[int]:
    ranks = sorted(range(len(text)), key=lambda i: -text[i])[: len(text) // 4]
    return sorted({0, *ranks})


@exercise(
    "1.3",
    wrong={
        "bytes are ranked over the whole text": _most_surprising,
        "patches are counted from the end": lambda text: sorted(
            {0, *range(len(text) % 4, len(text), 4)}
        ),
        "the middle of the text is asked for": lambda text: sorted({0, len(text) // 2}),
        "the first byte opens no patch": lambda text: list(range(1, len(text), 4)),
    },
)
def cut(yours: Answer) -> None:
    """yours(text) -> where the patches of a text in bytes start.

    Any rule is right that starts at 0, rises, and never looks ahead: the library is not asked.
    """
    draw = random.Random(0)
    count = 0
    for length in range(1, 25):
        text = bytes(draw.choices(b"the river, and a boat. \xe5\xb7\x9d\xc3\xa9\xff", k=length))
        starts = run(yours, (text,))
        _check_starts(text, starts)
        for n in range(1, len(text)):
            _check_prefix(text, n, run(yours, (text[:n],)), starts)
        count += len(text) - 1
    print(f"cut: your rule gave {count} prefixes the patches they have in the whole text")


def _check_starts(text: bytes, starts: Any) -> None:
    """Raise where patches do not start at 0, or do not rise inside the text."""
    wanted = f"starts that begin with 0 and rise, all below {len(text)}"
    if not isinstance(starts, list) or not starts or starts[0] != 0:
        refuse("cut", "patches must start at 0.", f"the text {text!r}", starts, wanted)
    if sorted(set(starts)) != starts or starts[-1] >= len(text):
        refuse("cut", "starts must rise inside the text.", f"the text {text!r}", starts, wanted)


def _check_prefix(text: bytes, n: int, alone: Any, starts: list[int]) -> None:
    """Raise where the first n bytes alone have other patches than inside the whole text."""
    kept = [start for start in starts if start < n]
    if plain(alone) != kept:
        given = f"{text[:n]!r}, the first {n} bytes of {text!r}"
        refuse("cut", "the rule looks ahead.", given, alone, f"{kept}, as in the whole text")
