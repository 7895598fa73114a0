"""Files that appear whole or not at all: they are written under another name and then renamed.

A reader never sees half a file, and a full disk leaves what was there before.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def write(path: str | Path, data: bytes | str) -> None:
    """Write a file that appears whole or not at all; `str` as UTF-8, line ends as they are.

    >>> folder = Path(tempfile.mkdtemp())
    >>> write(folder / "notes.txt", "é")
    >>> (folder / "notes.txt").read_bytes(), len(list(folder.iterdir()))
    (b'\\xc3\\xa9', 1)
    """
    with replacing(path) as part:
        part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to instead of `path`, which takes its place when the block ends.

    Where the block raises, the half-written file is removed and `path` is as it was. The name,
    "NAME.PID.part", is the process's own, so several may write the same file.

    >>> path = Path(tempfile.mkdtemp()) / "numbers.bin"
    >>> with replacing(path) as part, part.open("wb") as file:
    ...     seen_early = path.exists()
    ...     _ = file.write(b"123")
    >>> seen_early, path.read_bytes(), part.exists()
    (False, b'123', False)
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def gathering(
    folder: str | Path, last: Sequence[str] = (), within: str | Path | None = None
) -> Iterator[Path]:
    """An empty folder to write files in, which all move to `folder` when the block ends.

    Each replaces an older file of its name; other files of `folder` stay. Where the block raises,
    `folder` is as it was. `folder` is made where it is missing.

    last: names of the files that move last, in this order: those that announce the others.
    within: where the files are gathered, on the same disk; in `folder` itself by default.

    >>> folder = Path(tempfile.mkdtemp())
    >>> with gathering(folder, last=["index"]) as part:
    ...     write(part / "index", "a")
    ...     write(part / "a", "data")
    ...     seen_early = (folder / "index").exists()
    >>> seen_early, sorted(file.name for file in folder.iterdir())
    (False, ['a', 'index'])
    """
    folder = Path(folder)
    within = folder if within is None else Path(within)
    within.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=within, prefix=".part-"))
    try:
        yield part
        folder.mkdir(parents=True, exist_ok=True)
        first = sorted(file.name for file in part.iterdir() if file.name not in last)
        for name in [*first, *last]:
            os.replace(part / name, folder / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sync(path: str | Path) -> None:
    """Make a file's content, or the renamings in a folder, last through a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
