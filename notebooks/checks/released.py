"""10: which of several caches is wrong."""

from collections.abc import Callable
from functools import lru_cache

import bltlab
from bltlab.sampling import allowed_logits

from .comparing import Answer, exercise, plain, refuse
from .samples import small_model

Writer = Callable[[list[int], int], list[int]]


@lru_cache
def _text(ids: tuple[int, ...], n: int) -> tuple[int, ...]:
    """n greedy ids behind some."""
    state, new = bltlab.DecodingState(small_model(), max_length=256), []
    state.extend(list(ids))
    for _ in range(n):
        new.append(allowed_logits(state.logits).argmax(-1).item())
        state.extend(new[-1:])
    return tuple(new)


def _again(ids: list[int], n: int) -> list[int]:
    return list(_text(tuple(ids), n))


def _late(ids: list[int], n: int) -> list[int]:
    """Right for 12 bytes; then the newest byte is forgotten."""
    new = _again(ids, min(n, 12))
    return new + _again([*ids, *new[:-1]], n - len(new)) if n > 12 else new


def _short_prompts_only(ids: list[int], n: int) -> list[int]:
    """The first bytes of a long prompt are lost."""
    return _again(ids if len(ids) <= 16 else [ids[0], *ids[9:]], n)


def _even_prompts_only(ids: list[int], n: int) -> list[int]:
    """The last byte of every third prompt is not read."""
    return _again(ids if len(ids) % 3 else ids[:-1], n)


WRITERS: dict[str, Writer] = {
    "blue": _again,
    "green": _late,
    "orange": _short_prompts_only,
    "red": _even_prompts_only,
    "white": lambda ids, n: _again(ids, n),
}
WRONG = ["green", "orange", "red"]


def _differing(writers: dict[str, Writer], again: Writer, texts: list[str], n: int) -> list[str]:
    prompts = [bltlab.encode(text) for text in texts]
    return sorted(
        name
        for name, write in writers.items()
        if any(write(list(ids), n) != again(list(ids), n) for ids in prompts)
    )


@exercise(
    "10.1",
    wrong={
        "one prompt is tried": lambda writers, again: _differing(writers, again, ["river"], 24),
        "few bytes are written": lambda writers, again: _differing(
            writers, again, ["river"[:k] * 5 for k in range(1, 5)], 8
        ),
        "short prompts are tried only": lambda writers, again: _differing(
            writers, again, ["", "a", "at", "sea"], 24
        ),
        "none is believed": lambda writers, again: sorted(writers),
    },
)
def wrong_writers(yours: Answer) -> None:
    """yours(writers, again) -> the sorted names of the writers whose cache is wrong."""
    try:
        found = plain(yours(dict(WRITERS), _again))
    except Exception as error:
        found = error
    if found != WRONG:
        given = f"writers {', '.join(WRITERS)}"
        blamed = isinstance(found, list) and set(found) > set(WRONG)
        told = "yours blames a sound cache." if blamed else "those are not the wrong ones."
        refuse("wrong_writers", told, given, found, f"{len(WRONG)} names, sorted")
    print(f"wrong_writers: yours finds {len(WRONG)} of {len(WRITERS)} writers, the wrong ones")
