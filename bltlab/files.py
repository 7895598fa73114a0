"""Files that appear whole or not at all: they are written under another name and then renamed.

A reader never sees half a file, and a full disk leaves what was there before.
"""

import hashlib
import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import Any

ON_WINDOWS = os.name == "nt"
SETTLED = 1.0  # seconds after which a folder that changed last is left alone


def write(path: str | Path, data: bytes | str) -> None:
    """Write a file that appears whole or not at all; `str` as UTF-8, line ends as they are.

    Raises OSError, in one sentence that names the file, where it cannot be written.

    >>> folder = Path(tempfile.mkdtemp())
    >>> write(folder / "notes.txt", "é")
    >>> (folder / "notes.txt").read_bytes(), len(list(folder.iterdir()))
    (b'\\xc3\\xa9', 1)
    """
    data = data.encode("utf-8") if isinstance(data, str) else data
    try:
        with replacing(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise type(error)(f"{path} could not be written: {why(error)}") from None


def cache_folder() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/bltlab, else ~/.cache/bltlab."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bltlab"


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to instead of `path`, which takes its place when the block ends.

    Where the block raises, the half-written file is removed and `path` is as it was. The name,
    "NAME.PID.part", is the process's own, so several may write the same file. A link stays one:
    the file that it names is replaced. What is no file, such as /dev/null or a pipe, is written to
    as it is. Raises IsADirectoryError for a folder.

    >>> path = Path(tempfile.mkdtemp()) / "numbers.bin"
    >>> with replacing(path) as part, part.open("wb") as file:
    ...     seen_early = path.exists()
    ...     _ = file.write(b"123")
    >>> seen_early, path.read_bytes(), part.exists()
    (False, b'123', False)
    """
    if Path(path).is_dir():
        raise IsADirectoryError("it is a folder, not a file")
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def gathering(
    folder: str | Path,
    last: Sequence[str] = (),
    within: str | Path | None = None,
    instead_of: Iterable[str] = (),
) -> Iterator[Path]:
    """An empty folder to write files in, which all move to `folder` when the block ends.

    Each replaces an older file of its name; other files of `folder` stay. Where the block raises,
    `folder` is as it was. It is made where it is missing. `being_changed` is True while files move.

    last: names of the files that move last, in this order: those that announce the others.
    instead_of: names of older files that go in the end, but for those that were written anew.
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
    missing = [path for path in (within, *within.parents) if not path.exists()]
    within.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=within, prefix=".part-"))
    moving = part.with_name(f"{part.name}.moving")
    try:
        yield part
        folder.mkdir(parents=True, exist_ok=True)
        written = {file.name for file in part.iterdir()}
        part.rename(moving)
        for name in [*sorted(written - {*last}), *(name for name in last if name in written)]:
            os.replace(moving / name, folder / name)
        for name in {*instead_of} - written:
            (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(moving, ignore_errors=True)
        for path in missing:
            with suppress(OSError):  # it is not empty: all went well
                path.rmdir()


def being_changed(folder: str | Path) -> bool:
    """Are files moving into a folder right now, by `gathering` in this or another process?

    What a killed process left behind does not count.
    """
    now = time.time()
    moving = Path(folder).glob(".part-*.moving")
    return any(0 <= now - _changed(part) < SETTLED for part in moving)


def _changed(path: Path) -> float:
    """When a folder last gained or lost a file; long ago where it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def is_plain_name(name: Any) -> bool:
    """Is it the name of a file that lies in a folder itself, on any system?

    >>> is_plain_name("a.txt"), is_plain_name("../a.txt"), is_plain_name("C:a.txt")
    (True, False, False)
    """
    if not isinstance(name, str) or not name.isprintable():
        return False
    return name not in ("", ".", "..") and PureWindowsPath(name).name == name


def why(error: BaseException) -> str:
    """Why writing failed: the operating system's words where there are any, else the library's."""
    cause: BaseException | None = error
    while cause:
        words = getattr(cause, "strerror", None)
        if words:
            return words
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:120]


def sync(path: str | Path) -> None:
    """Make a file's content, or the renamings in a folder, last through a loss of power.

    Windows opens no folder, and needs no such thing for its renamings.
    """
    is_folder = Path(path).is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    except PermissionError:
        if is_folder:
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(path: str | Path) -> Callable[[], None] | None:
    """Take a file that one process may hold at a time; returns how to let go of it.

    None where another holds it. The operating system lets go when the process ends, however it
    does. Where a disk knows no locks, nothing is held.

    >>> path = Path(tempfile.mkdtemp()) / "lock"
    >>> let_go = lock(path)
    >>> lock(path) is None
    True
    >>> let_go()
    >>> lock(path) is None
    False
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _hold(handle)
    except (PermissionError, BlockingIOError):
        os.close(handle)
        return None
    except OSError:  # such as some network disks
        pass
    return lambda: os.close(handle)


def _hold(handle: int) -> None:
    """Lock an open file. Raises PermissionError or BlockingIOError where another holds it."""
    if ON_WINDOWS:
        windows = importlib.import_module("msvcrt")
        windows.locking(handle, windows.LK_NBLCK, 1)
    else:
        unix = importlib.import_module("fcntl")
        unix.flock(handle, unix.LOCK_EX | unix.LOCK_NB)
