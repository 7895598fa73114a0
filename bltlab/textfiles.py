"""Any file as a text of bytes, and the files of a folder that are text.

    read("notes.txt")           its bytes, without a byte order mark
    read("log.XZ"), read("-")   unpacked; standard input
    below("project")            its files, hidden ones left out, in order
    text_and_other(files)       those that are text, those that are not

A byte model needs no encoding: Latin-1 is read as it is. In UTF-16 and UTF-32 every other byte says
nothing, so those are refused with a word on how to convert them.
"""

import bz2
import gzip
import lzma
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

STDIN = "-"
BOM = b"\xef\xbb\xbf"  # of UTF-8
WIDE_BOMS = {  # the longer ones first: one of UTF-16 begins one of UTF-32
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
LOOKED_AT = 65_536  # bytes at the start of a file that say what it is
NAMED = 5  # files that a sentence names, before it counts the rest


class Unreadable(ValueError):
    """A file that is damaged, packed in an unknown way, or in an encoding of wide characters."""


def _open_zst(path: Path) -> Any:
    """A .zst file, by the standard library (Python 3.14) or the zstandard package."""
    try:
        from compression import zstd
    except ImportError:
        try:
            import zstandard as zstd
        except ImportError:
            raise Unreadable(
                f"{path} needs Python 3.14, or the zstandard package: pip install zstandard"
            ) from None
    return zstd.open(path, "rb")


OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
    ".zst": _open_zst,
}


def kind_of(path: str | Path) -> str:
    """The ending of a file's name in small letters, that of a compression left out.

    >>> kind_of("A.JSONL.XZ"), kind_of("a.md"), kind_of("Makefile")
    ('.jsonl', '.md', '')
    """
    path = Path(path)
    if path.suffix.lower() in OPENERS:
        path = path.with_suffix("")
    return path.suffix.lower()


def given_text(text: str | None, file: str | None, what: str) -> str | bytes:
    """A text from the command line: as it is written there, of a file, or for "-" standard input.

    Raises ValueError where there is none or two, and what `read` raises. what: its name there.
    """
    if (text is None) == (file is None):
        raise ValueError(f"give either the {what}, - for standard input, or --file PATH")
    if file is not None:
        return read(file)
    return read(STDIN) if text == STDIN else text


def read(path: str | Path) -> bytes:
    """All bytes of a file, unpacked, without a byte order mark; "-" is standard input.

    Raises FileNotFoundError where there is none, and `Unreadable`, in one sentence, where it is
    damaged, and for UTF-16 and UTF-32.
    """
    if str(path) == STDIN:
        return _checked(sys.stdin.buffer.read(), "standard input")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is no file")
    return _checked(_unpacked(Path(path)), str(path))


def head(path: str | Path) -> bytes:
    """The first bytes of a file, unpacked. Raises `Unreadable` where it is damaged."""
    return _unpacked(Path(path), LOOKED_AT)


def _unpacked(path: Path, most: int = -1) -> bytes:
    opener = OPENERS.get(path.suffix.lower(), lambda path: path.open("rb"))
    try:
        with opener(path) as file:
            return file.read(most)
    except Unreadable:
        raise
    except Exception as error:  # each format raises its own
        raise Unreadable(f"{path} cannot be read: {error}") from None


def _checked(data: bytes, name: str) -> bytes:
    """The bytes without a byte order mark. Raises `Unreadable` for UTF-16 and UTF-32."""
    encoding = wide_encoding(data)
    if encoding:
        raise Unreadable(
            f"{name} is {encoding} text, a byte model reads UTF-8: save it as UTF-8 in an editor,"
            f" or run iconv -f {encoding} -t UTF-8"
        )
    return data.removeprefix(BOM)


def wide_encoding(data: bytes) -> str | None:
    """ "UTF-16" or "UTF-32" for text in one of them, by its mark or by its zeros; else None.

    >>> wide_encoding("Hi".encode("utf-16")), wide_encoding("no mark".encode("utf-16-le"))
    ('UTF-16', 'UTF-16')
    >>> wide_encoding("né".encode("latin-1"))
    """
    for mark, encoding in WIDE_BOMS.items():
        if data.startswith(mark):
            return encoding
    start = data[:LOOKED_AT]
    even, odd = (part.count(0) / max(1, len(part)) for part in (start[::2], start[1::2]))
    fewer, more = sorted((even, odd))
    return "UTF-16" if more > 0.7 and fewer < 0.05 else None


# -- folders ---------------------------------------------------------------------------------------


def below(folder: str | Path) -> list[Path]:
    """All files in a folder and the folders in it, hidden ones left out, in order."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                found.append(Path(root, name))
    return [path for path in found if path.is_file()]


def text_and_other(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """(files of text, other files): one with a zero byte, or that cannot be read, is no text."""
    every = list(files)
    text = [path for path in every if _is_text(path)]
    return text, [path for path in every if path not in text]


def _is_text(path: Path) -> bool:
    try:
        return b"\0" not in head(path)
    except Unreadable:
        return False


def in_words(files: Iterable[Path], folder: str | Path) -> str:
    """Some files by their names below a folder, and how many more there are.

    >>> in_words([Path("a/b.png"), Path("a/c/d.png")], "a")
    'b.png, c/d.png'
    """
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (", ".join(names[:NAMED]) or "hidden files") + more
