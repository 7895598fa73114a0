"""Files are written whole or not at all, through links and to what is no file; also on Windows."""

import ast
import os
import resource
import stat
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import random_model

import bltlab
from bltlab import files

ROOT = Path(__file__).parent.parent


def test_a_device_is_written_to_and_stays_one():
    for device in ("/dev/null", "/dev/full"):
        before = os.stat(device).st_rdev
        if device == "/dev/null":
            files.write(device, "text")
        else:
            with pytest.raises(OSError, match="No space left"):
                files.write(device, "text")
        assert stat.S_ISCHR(os.stat(device).st_mode) and os.stat(device).st_rdev == before


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    files.write(pipe, "text")
    reader.join(10)
    assert heard == [b"text"] and stat.S_ISFIFO(os.stat(pipe).st_mode)


@pytest.mark.parametrize("target", ["file", "folder/file", "missing"])
def test_a_link_stays_one_and_what_it_names_is_replaced(tmp_path, target):
    (tmp_path / "folder").mkdir()
    if target != "missing":
        (tmp_path / target).write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    files.write(link, "new")
    assert link.is_symlink() and (tmp_path / target).read_text() == "new"
    assert not list(tmp_path.rglob("*.part"))


def test_permissions_stay(tmp_path):
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o600)
    files.write(path, "new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match="could not be written: it is a folder"):
        files.write(tmp_path, "text")


@pytest.mark.parametrize("name", ["missing/file", "file/file", "a" * 300])
def test_a_file_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="could not be written") as error:
        files.write(tmp_path / name, "new")
    said = str(error.value)
    assert said.startswith(str(tmp_path / name)) and "\n" not in said and ".part" not in said
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_a_full_disk_leaves_no_part_and_no_folder(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="t.json could not be written: File too large"):
            files.write(tmp_path / "t.json", "x" * 5000)
        with pytest.raises(OSError), files.gathering(tmp_path / "a" / "b") as part:
            files.write(part / "t.json", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_what_users_write_goes_through_here(tmp_path):
    trace = bltlab.generate(random_model(0), "ab", max_new_bytes=2).trace
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    for write in (trace.save, lambda path: bltlab.viz.to_html(trace, path)):
        write("/dev/null")
        write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and "<html" in (tmp_path / "file").read_text("utf-8")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


# -- Windows, as far as it can be played here -----------------------------------------------------


def test_where_no_folder_opens_none_is_synced(tmp_path, monkeypatch):
    """Windows opens no folder, and syncs only what is open for writing."""
    (tmp_path / "file").write_text("text")
    opened = {}
    really_open, really_sync = os.open, os.fsync

    def open_as_windows(path, flags, *mode):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied")
        handle = really_open(path, flags, *mode)
        opened[handle] = flags
        return handle

    def sync_as_windows(handle):
        if not opened[handle] & os.O_RDWR:
            raise OSError(9, "Bad file descriptor")
        really_sync(handle)

    monkeypatch.setattr(os, "open", open_as_windows)
    monkeypatch.setattr(os, "fsync", sync_as_windows)
    files.sync(tmp_path)
    files.sync(tmp_path / "file")
    assert len(opened) == 1


def test_the_lock_of_windows(tmp_path, monkeypatch):
    held = set()

    def locking(handle, mode, size):
        assert (mode, size) == (2, 1)
        if held:
            raise PermissionError(13, "Permission denied")
        held.add(handle)

    fake = SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setattr(files.importlib, "import_module", {"msvcrt": fake}.__getitem__)
    monkeypatch.setattr(files, "ON_WINDOWS", True)
    let_go = files.lock(tmp_path / "lock")
    assert files.lock(tmp_path / "lock") is None
    held.clear()
    let_go()
    assert files.lock(tmp_path / "lock") is not None


def test_where_a_disk_knows_no_locks_runs_go_on(tmp_path, monkeypatch):
    def flock(handle, mode):
        raise OSError(95, "Operation not supported")

    fake = SimpleNamespace(LOCK_EX=2, LOCK_NB=4, flock=flock)
    monkeypatch.setattr(files.importlib, "import_module", {"fcntl": fake}.__getitem__)
    assert files.lock(tmp_path / "lock") is not None


READERS = ("open", "read_text", "write_text")


def is_text_without_encoding(call):
    """Does a call read or write text in the encoding of the machine, another one on each?"""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg for keyword in call.keywords}
    words = [one.value for one in call.args if isinstance(one, ast.Constant)]
    if name in ("run", "Popen", "check_output"):
        return "text" in given and "encoding" not in given
    if name not in READERS or "encoding" in given:
        return False
    binary = any(word in ("rb", "wb", "ab", "ab+") for word in words)
    value = getattr(call.func, "value", None)
    home = getattr(value, "id", getattr(value, "attr", ""))
    others = ("os", "tarfile", "self", "zipfile", "Image", "folder")
    return not (binary or "utf-8" in words or home in others)


def test_text_is_read_and_written_as_utf_8_on_every_machine():
    for path in [*(ROOT / "bltlab").rglob("*.py"), *(ROOT / "apps").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        wrong = [call.lineno for call in calls if is_text_without_encoding(call)]
        assert not wrong, (path, wrong)
