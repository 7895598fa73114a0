"""What is said where the memory of the machine is not enough, whichever library runs out of it."""

from collections.abc import Iterator
from contextlib import contextmanager

SENTENCE = "the memory of this machine is not enough: choose smaller sizes, or a smaller model"


def is_short(error: BaseException) -> bool:
    """Is an error one of too little memory? torch raises RuntimeError for it.

    >>> is_short(MemoryError()), is_short(RuntimeError("can't allocate memory: you tried"))
    (True, True)
    >>> is_short(RuntimeError("shapes differ"))
    False
    """
    text = str(error)
    return (
        isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text
    )


@contextmanager
def needed() -> Iterator[None]:
    """Around what may need much, also as a decorator: MemoryError says it in one sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_short(error):
            raise
        raise MemoryError(SENTENCE) from error
