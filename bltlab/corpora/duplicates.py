"""Texts that stand twice in a corpus, word for word or nearly, and above all in both splits."""

import re

from tqdm.auto import tqdm

from ..data import SPLITS
from .recipe import Record

SHINGLE = 8  # words


def without_duplicates(records: list[Record], near: str) -> tuple[list[Record], dict[str, int]]:
    """(records left, {what was found: how many}).

    Each text stays once, and a test text is never in train. Then near duplicates across the splits
    are "removed", or only "counted", as `near` says. "asked" are questions: all of them stay.
    """
    if near == "asked":
        return records, {}
    kept = _first_of_each(records)
    in_train, in_test = near_duplicates(kept, near)
    counts = {
        "exact duplicates removed": len(records) - len(kept),
        f"near duplicates of test {near} in train": len(in_train),
        f"near duplicates of train {near} in test": len(in_test),
    }
    removed = {*in_train, *in_test} if near == "removed" else set()
    left = {id(r) for i, r in enumerate(kept) if i not in removed}
    return [r for r in records if id(r) in left], counts


def _first_of_each(records: list[Record]) -> list[Record]:
    """Each text once, test before train, so that a test text stays there."""
    kept, seen = [], set()
    for split in reversed(SPLITS):
        for r in records:
            if r["split"] == split and r["text"] not in seen:
                seen.add(r["text"])
                kept.append(r)
    return kept


def near_duplicates(records: list[Record], near: str) -> tuple[list[int], list[int]]:
    """Indices of (train records that test records repeat, test records that train records repeat).

    To repeat is to have half of the other's shingles, or more, found somewhere on one's own side.
    Where near duplicates are "removed", the train records of the first list count no more for the
    second.
    """
    tests = {i: shingles(r["text"]) for i, r in enumerate(records) if r["split"] == "test"}
    held_out = set().union(*tests.values())
    shared = set()  # of the held-out shingles, those that train records hold
    in_train = []
    bar = tqdm(records, desc="near duplicates", unit="text", mininterval=0.5, leave=False)
    for i, r in enumerate(bar):
        if i in tests:
            continue
        own = shingles(r["text"])
        common = own & held_out
        repeated = 2 * len(common) >= len(own)
        if repeated:
            in_train.append(i)
        if near == "counted" or not repeated:
            shared |= common
    in_test = [i for i, own in tests.items() if 2 * len(own & shared) >= len(own)]
    return in_train, in_test


def shingles(text: str) -> set[int]:
    """Hashes of every 8 words in a row, or one of all words where there are fewer.

    Case and punctuation are dropped, and numbers masked.

    >>> shingles("On May 3, rain.") == shingles("on may 12: Rain")
    True
    """
    words = ["0" if word.isdigit() else word for word in re.findall(r"\w+", text.lower())]
    runs = range(max(1, len(words) - SHINGLE + 1))
    return {hash(tuple(words[i : i + SHINGLE])) for i in runs}
