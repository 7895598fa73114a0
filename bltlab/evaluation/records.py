"""Questions as records with fields: those of a folder, and those of a set on the hub."""

import json
import lzma
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .. import hub
from ..data import quiet_datasets

Fields = dict[str, Any]


def folder_records(folder: str | Path, advice: str, split: str = "test") -> list[Fields]:
    """The records of a folder that `python -m bltlab data` made.

    Raises FileNotFoundError where they are not there, ValueError where the file is damaged; both
    end with `advice`, how to make it.
    """
    path = Path(folder) / f"{split}.jsonl.xz"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: {advice}")
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            return list(map(json.loads, lines))
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}): {advice}") from None


def hub_records(name: str, config: str | None, split: str, advice: str) -> list[Fields]:
    """The records of a split of a set on the hub, or in a folder of that name.

    Raises FileNotFoundError, with `advice`, where they do not come.
    """
    if not (Path(name).exists() or hub.is_reachable()):
        raise FileNotFoundError(f"{name} is on the hub, which cannot be reached: {advice}")
    try:
        return list(quiet_datasets().load_dataset(name, config, split=split))
    except Exception as error:  # each has its own: one sentence for all
        why = type(error).__name__
        if " gated " in str(error):
            why = "it is gated: ask for access on its page, then log in with hf auth login"
        raise FileNotFoundError(f"the hub does not give {name} ({why}): {advice}") from None


def read_as(kind: str, read: Callable[[Fields], Any], records: Iterable[Fields], text: str) -> list:
    """What `read` makes of each record. kind: what they are; text: where they are from.

    Raises ValueError, in one sentence, for a record that is another thing.
    """
    try:
        return [read(record) for record in records]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{text}: a record is no {kind} ({why})") from None
