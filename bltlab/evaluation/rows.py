"""The file of rows: one JSON object a line, each appended whole as it is finished.

A row carries the `key` of everything that determines it, so a run that was killed goes on where it
stopped, and a run with more models, tasks or methods adds only what is new. A last line that was
half written is passed over.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import textfiles
from .summary import Row

SCHEMA = "bltlab.row/1"
NEEDED = ("key", "task", "model", "method")


def key_text(key: Mapping[str, Any]) -> str:
    """A key as one text, the same for equal keys."""
    return json.dumps(key, sort_keys=True)


class RowFile:
    """The rows of one file, by key; without one, they are held here alone.

    The file need not be there yet. Raises OSError, in one sentence, where it could not be written.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = None if path is None else Path(path)
        self.rows: dict[str, Row] = {}
        if self.path:
            self._check()
        if self.path and self.path.exists():
            text = textfiles.read(self.path).decode("utf-8", "replace")
            for line in text.splitlines():
                self._take(line)

    def _check(self) -> None:
        above = next(place for place in self.path.absolute().parents if place.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            raise OSError(f"{self.path} cannot be written: {above} is no folder to write to")

    def _take(self, line: str) -> None:
        """Keep a line's row. A line that is none, as one that was cut off, is left out."""
        try:
            row = json.loads(line)
        except ValueError:
            return
        if isinstance(row, dict) and row.get("schema") == SCHEMA and all(map(row.get, NEEDED)):
            self.rows[key_text(row["key"])] = row

    def get(self, key: Mapping[str, Any]) -> Row | None:
        """The row of a key, None where there is none yet."""
        return self.rows.get(key_text(key))

    def hold(self, row: Row) -> None:
        """Add a row here alone: another process writes it."""
        self.rows[key_text(row["key"])] = json.loads(json.dumps(row))

    def append(self, row: Row) -> None:
        """Add a row, to the file in one write that lasts. Raises OSError in one sentence."""
        if self.path:
            self._write(json.dumps(row) + "\n")
        self.hold(row)

    def _write(self, line: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+", buffering=0) as file:
                file.write((self._mend(file) + line).encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(f"{self.path} could not be written: {error.strerror}") from None

    def _mend(self, file: Any) -> str:
        """A line end, where the last line was left without one."""
        if file.seek(0, os.SEEK_END) == 0:
            return ""
        file.seek(-1, os.SEEK_END)
        return "" if file.read(1) == b"\n" else "\n"


def read_rows(path: str | Path) -> list[Row]:
    """All rows of a file. Raises ValueError where it has none, FileNotFoundError without it."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is no file: it is the file that evaluate writes rows to")
    rows = list(RowFile(path).rows.values())
    if not rows:
        raise ValueError(f"{path} has no row that evaluate wrote")
    return rows
