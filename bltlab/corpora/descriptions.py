"""What Debian says of its packages, in English and in the words of its translators.

The lists are those of the machine's own Debian, so later releases have more.
"""

import re
from collections.abc import Iterator

from .packages import AptList, Archive

LISTS = {
    "en": AptList.of("en", "62f59c3cdca9786e4f7adf9002f9f5729a684adcb4667e58e448dec9b5a46c7f"),
    "fr": AptList.of("fr", "1b5ce81d2dac68fb27997899d9e092b8281f984baa658c22139d8f2640aec6cc"),
    "de": AptList.of("de", "adac331fc51f9a00c1b4120b4ac87423be2b1f1615d4f288c7cbc2d5258c0650"),
}
STANZA = re.compile(
    r"^Package: (\S+)\nDescription-md5: (\w+)\nDescription-\w+: ?(.*)\n((?: .*\n?)*)", re.MULTILINE
)
BREAK = re.compile(r"^ \.\n", re.MULTILINE)
AS_IT_STANDS = re.compile(r"^ [\s*-]", re.MULTILINE)  # a line of a list or a table
KINDS = {"lib", "python", "ruby", "node", "golang", "github", "com", "perl", "php", "fonts", "gir"}

Parts = list[str]  # of a description: its title, its paragraphs


def translated(archives: dict[str, Archive], language: str) -> Iterator[tuple[str, str, str]]:
    """Yield (place, text, its English) of each title, and of each paragraph where none is missing.

    The place is "package/number"; a list has neither text.
    """
    english = {md5: parts for _, md5, parts in _stanzas(archives["en"])}
    for package, md5, parts in _stanzas(archives[language]):
        originals = english.get(md5, [])
        if len(parts) != len(originals):
            parts, originals = parts[:1], originals[:1]
        for number, both in enumerate(zip(parts, originals, strict=False)):
            yield f"{package}/{number}", *both


def _stanzas(archive: Archive) -> Iterator[tuple[str, str, Parts]]:
    for package, md5, title, body in STANZA.findall(archive.text()):
        yield package, md5, [title, *map(_running, BREAK.split(body))]


def _running(paragraph: str) -> str:
    """Its lines as one; nothing where they must stand as they are."""
    return "" if AS_IT_STANDS.search(paragraph) else " ".join(paragraph.split())


def stem_of(package: str) -> str:
    """The word that packages of one program share.

    >>> stem_of("libqapt3-runtime"), stem_of("python3-qapt"), stem_of("libc6")
    ('qapt', 'qapt', 'c')
    """
    words = re.findall("[a-z]+", package.removeprefix("lib"))
    return next((word for word in words if word not in KINDS), package)
