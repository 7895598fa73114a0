"""What a recipe is, and the records that it yields."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..data import split_of
from .packages import Archive, Package

# {"id": where the text is from, "split": "train" or "test", "text": the text}, and what a task asks
Record = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """What to fetch, and how to read it.

    records(archives, seed) yields the `Record`s; archives: the fetched packages.
    packages: those to fetch. Texts that are generated need none.
    near: are near duplicates across the splits "removed", or, where lines share their frames by
    design, only "counted"? Or are they questions, all to be "asked", whatever stands twice?
    """

    records: Callable[[dict[Package, Archive], int], Iterator[Record]]
    packages: tuple[Package, ...] = ()
    near: str = "removed"


def record(id: str, text: str, split: str | None = None) -> Record:
    """A record of a cleaned text; its split is by the text's hash where none is given."""
    text = clean(text)
    return {"id": id, "split": split or split_of(text), "text": text}


def clean(text: str) -> str:
    """A text as one line; opening quotes as some texts write them, a backtick, become apostrophes.

    >>> clean("  He said `so be\\n it'.")
    "He said 'so be it'."
    """
    return " ".join(text.replace("`", "'").split())
