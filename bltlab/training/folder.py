"""A run's folder: states to resume from, the log, the samples.

    runs/mine/state/000400/     progress.json and the shards of torch.distributed.checkpoint
    runs/mine/state/lock        held by the run that writes here
    runs/mine/log.csv, samples.jsonl, opens-*.npy      measurements, samples, patches of the text
    runs/mine/own-*.safetensors                        texts that the model wrote to train on
    runs/mine/config.json, model.safetensors           the model, at the end

A state appears whole or not at all: it is written beside, renamed when every process is done, and
only then the one before it goes. A folder may come from elsewhere: what it says is checked before
it is used, and nothing in it is run.
"""

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException

from .. import files
from ..config import BLTConfig
from . import states
from .distributed import ProcessGroup
from .watch import Report

GROWING = ("log.csv", "samples.jsonl")
# What a state says of itself, and the type of each value; counts are whole numbers of at least 0.
PROGRESS = {
    "stage": str,
    "step": int,
    "seconds": float,
    "batches": dict,
    "options": dict,
    "config": str,
    "sizes": dict,
}
COUNTS = {"batches": ("epoch", "index"), "sizes": GROWING}


class RunFolder:
    """The folder of a run. It only looks, until `open`.

    `saved` is the progress of the latest whole state, or None. Raises ValueError where the folder
    holds a run and `resume` is False, or where the state is damaged.
    """

    def __init__(self, path: str | Path, group: ProcessGroup, resume: bool):
        self.path = Path(path)
        self.states = self.path / "state"
        self.group = group
        self.latest = latest_state(path)
        self._unlock: Callable[[], None] | None = None
        self._check_usable(resume)
        self.saved = progress_of(self.latest) if self.latest else None

    def _check_usable(self, resume: bool) -> None:
        path = self.path
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file: choose another folder")
        self._check_logs()
        has_model = (path / "config.json").exists()
        has_logs = any((path / name).exists() for name in GROWING)
        if not resume and (self.latest or has_model or has_logs):
            raise ValueError(
                f"{path} holds a run already: add --resume to go on, or choose another folder"
            )
        if not self.latest and has_model:
            raise ValueError(
                f"{path} holds a model but no state to go on from: choose another folder"
            )

    def _check_logs(self) -> None:
        """Raises ValueError where a log is something that a run does not write, such as a link."""
        for name in GROWING:
            file = self.path / name
            if file.is_symlink() or (file.exists() and not file.is_file()):
                raise ValueError(f"{file} is no file of a run: remove it, or choose another folder")

    def open(self) -> None:
        """Make the folder ready to write to, and keep other runs out of it until `close`.

        What was logged after the saved state goes, for those steps come again. So does what a
        killed process left half-written, and a state that it had no time to remove. Raises OSError
        where the folder cannot be made, or where another run is writing to it.
        """
        self.group.wait()  # all have looked: now it may change
        if self.group.is_main:
            self._make()
            self._lock()
            self._remove_leftovers()
            self._cut_logs_back()

    def _make(self) -> None:
        try:
            self.states.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"{self.path} cannot be made a folder ({error.strerror}): choose another"
            ) from None

    def _lock(self) -> None:
        """Keep other runs out; a lock goes with its process, so none is ever left behind."""
        self._unlock = files.lock(self.states / "lock")
        if self._unlock is None:
            raise OSError(f"{self.path} is in use by another run: choose another --out")
        if latest_state(self.path) != self.latest:
            self.close()
            raise OSError(f"{self.path} has just been written to by another run: try again")

    def close(self) -> None:
        """Let other runs in."""
        if self._unlock:
            self._unlock()
            self._unlock = None

    def _remove_leftovers(self) -> None:
        """Remove what a killed process left half-written, and states but the latest.

        In a folder without a whole state only half-written states go: other files may be somebody's
        own.
        """
        leftovers = [*self.states.glob("*.part")]
        if self.saved:
            leftovers += [p for p in _numbered(self.states) if p != self.latest]
            for name in (".part-*", "opens-*.part", "own-*.part"):
                leftovers += self.path.glob(name)
        for leftover in leftovers:
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()

    def _cut_logs_back(self) -> None:
        """Cut the growing files back to the sizes that they had when the state was saved."""
        for name in GROWING:
            size = _size_of(self.path / name)
            kept = self.saved["sizes"][name] if self.saved else 0
            if size > kept:
                os.truncate(self.path / name, kept)

    def save(self, count: int, tensors: dict[str, Any], progress: dict[str, Any]) -> None:
        """Write a state as number `count`, and remove the one before it. All processes call it.

        tensors: a dict of (sharded) tensors. progress: plain values.
        Raises OSError, with the state before it whole.
        """
        part = self.states / f"{count:06d}.part"
        final = self.states / f"{count:06d}"
        if final == self.latest:
            return
        with self.writing(f"the state after {count} steps", part):
            self._write_shards(part, tensors)
            if self.group.is_main:
                self._complete(part, final, progress)
            self.group.wait()
        if self.group.is_main and self.latest:
            shutil.rmtree(self.latest, ignore_errors=True)
        self.latest = final

    def _write_shards(self, part: Path, tensors: dict[str, Any]) -> None:
        """Let every process write its tensors into a new folder; returns when all have."""
        if self.group.is_main:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        self.group.wait()
        states.save(part, tensors)

    def _complete(self, part: Path, final: Path, progress: dict[str, Any]) -> None:
        """Add the progress to a state, and give it its final name, so that both last."""
        sizes = {name: _size_of(self.path / name) for name in GROWING}
        text = json.dumps(progress | {"sizes": sizes}, indent=1)
        files.write(part / "progress.json", text)
        files.sync(part / "progress.json")
        os.replace(part, final)
        files.sync(self.states)

    def load(self, tensors: dict[str, Any]) -> None:
        """Fill a dict of tensors, in place, from the latest state, however many processes wrote it.

        Raises ValueError where it is damaged.
        """
        with naming_damage(self.latest):
            states.load(self.latest, tensors)

    def log(self, report: Report) -> None:
        """Add a row to log.csv, and a line to samples.jsonl for each sample. Raises OSError."""
        with self.writing("the log"):
            self._log_numbers(report)
            self._log_samples(report)

    def _log_numbers(self, report: Report) -> None:
        names = [f.name for f in fields(Report) if f.name != "samples"]
        with (self.path / "log.csv").open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow({name: getattr(report, name) for name in names})

    def _log_samples(self, report: Report) -> None:
        where = {"step": report.step, "megabytes": report.megabytes}
        with (self.path / "samples.jsonl").open("a", newline="\n", encoding="utf-8") as file:
            for sample in report.samples:
                file.write(json.dumps(where | asdict(sample)) + "\n")

    @contextmanager
    def writing(self, what: str, part: Path | None = None) -> Iterator[None]:
        """Turn what a full disk raises, in whatever library, into one sentence, as an OSError.

        what: what is written, in words. part: a half-written folder to take away.
        """
        try:
            yield
        except (OSError, SafetensorError, CheckpointException) as error:
            why = reason(error, self.path)  # looks at the free space, so before the removal
            if part and self.group.is_main:
                shutil.rmtree(part, ignore_errors=True)
            kept = "no state was saved yet"
            if self.latest:
                kept = f"the state in {self.latest} is whole, --resume goes on from it"
            raise OSError(f"{what} could not be written in {self.path} ({why}); {kept}") from error


def latest_state(path: str | Path) -> Path | None:
    """The folder of the latest whole state of a run, or None."""
    whole = [state for state in _numbered(Path(path) / "state") if any(state.glob("*"))]
    return max(whole, key=_number_of, default=None)


def progress_of(state: Path) -> dict[str, Any]:
    """What a state says of itself: plain values. Raises ValueError where it is damaged."""
    with naming_damage(state):
        saved = json.loads((state / "progress.json").read_text(encoding="utf-8"))
        return _checked_progress(saved) | {"text": saved.get("text")}


def _checked_progress(saved: dict[str, Any]) -> dict[str, Any]:
    """The values of `PROGRESS`. Raises TypeError or KeyError where one is not what it must be."""
    for name, kind in PROGRESS.items():
        if type(saved[name]) is not kind:
            raise TypeError(f"{name} must be {kind.__name__}")
    counts = [saved["step"]]
    for name, parts in COUNTS.items():
        counts += [saved[name][part] for part in parts]
    if not all(type(count) is int and 0 <= count < 2**63 for count in counts):
        raise TypeError("step, batches and sizes must count")
    BLTConfig.from_json(saved["config"])
    return {name: saved[name] for name in PROGRESS}


def _numbered(folder: Path) -> list[Path]:
    """What is named as states are, by the steps done before."""
    return [path for path in folder.glob("*") if path.name.isascii() and path.name.isdigit()]


def _number_of(state: Path) -> int:
    return int(state.name)


def _size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


@contextmanager
def naming_damage(folder: Path) -> Iterator[None]:
    """Turn what reading a state raises into a ValueError that names its folder."""
    try:
        yield
    except (Exception, CheckpointException) as error:  # each layer below raises its own
        raise ValueError(
            f"{folder} is damaged or not a training state: {type(error).__name__}"
        ) from None


def reason(error: BaseException, folder: Path) -> str:
    """Why writing failed: the operating system's words where there are any, else the library's."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    if not getattr(error, "strerror", None) and shutil.disk_usage(folder).free < 2**20:
        return "the disk is full"  # torch's writer does not say
    return files.why(error)
