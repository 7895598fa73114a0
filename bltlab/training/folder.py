"""A run's folder: states to resume from, the log, the samples.

    runs/mine/state/000400/     progress.json and the shards of torch.distributed.checkpoint
    runs/mine/log.csv, samples.jsonl, opens-*.npy      measurements, samples, patches of the text
    runs/mine/config.json, model.safetensors           the model, at the end

A state appears whole or not at all: written beside, renamed when every process is done, and only then the one before goes.
"""

import csv
import json
import os
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError

from .watch import Report

GROWING = ("log.csv", "samples.jsonl")
PROGRESS = ("stage", "step", "seconds", "batches", "options", "config", "sizes")


class RunFolder:
    """Looks only, until `open`. `saved` is the progress of the latest whole state, or None.

    Raises ValueError where the folder holds a run and `resume` is False, or where the state is damaged.
    """

    def __init__(self, path, team, resume):
        self.path, self.team, self.states = Path(path), team, Path(path) / "state"
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{path} is a file: choose another folder")
        self.latest = latest_state(path)
        if not resume and (
            self.latest or any((self.path / name).exists() for name in ("config.json", *GROWING))
        ):
            raise ValueError(
                f"{path} holds a run already: add --resume to go on, or choose another folder"
            )
        if not self.latest and (self.path / "config.json").exists():
            raise ValueError(
                f"{path} holds a model but no state to go on from: choose another folder"
            )
        self.saved = progress_of(self.latest) if self.latest else None

    def open(self):
        """Make the folder ready to write to; what was logged after the saved state goes, for it will come again.

        What a killed process left half-written goes too, and a state that it had no time to remove.
        """
        self.team.wait()  # all have looked: now it may change
        if self.team.lead:
            try:
                self.states.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OSError(
                    f"{self.path} cannot be made a folder ({error.strerror}): choose another"
                ) from None
            left = [*self.states.glob("*.part")]
            if self.saved:  # then the folder is a run's for certain
                left += [p for p in self.states.glob("*") if p.name.isdigit() and p != self.latest]
                left += [*self.path.glob(".part-*"), *self.path.glob("opens-*.part")]
            for old in left:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            for name in GROWING:
                if (self.path / name).exists():
                    os.truncate(self.path / name, self.saved["sizes"][name] if self.saved else 0)

    def save(self, count, tensors, progress):
        """Write a state as number `count`. tensors: a dict of (sharded) tensors; progress: plain values. All processes call it.

        Raises OSError, with the state before it whole.
        """
        part, final = self.states / f"{count:06d}.part", self.states / f"{count:06d}"
        if final == self.latest:
            return
        with self.writing(f"the state after {count} steps", part):
            if self.team.lead:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
            self.team.wait()
            quietly(
                dcp.save, tensors, checkpoint_id=part
            )  # returns when all processes have written
            if self.team.lead:
                sizes = {
                    name: (self.path / name).stat().st_size if (self.path / name).exists() else 0
                    for name in GROWING
                }
                write_whole(
                    part / "progress.json", json.dumps(progress | {"sizes": sizes}, indent=1)
                )
                os.replace(part, final)
                sync(self.states)
            self.team.wait()
        if self.team.lead and self.latest:
            shutil.rmtree(self.latest, ignore_errors=True)
        self.latest = final

    def load(self, tensors):
        """Fill the tensors of a dict, in place, from the latest state, whatever number of processes wrote it."""
        with damage_named(self.latest):
            quietly(dcp.load, tensors, checkpoint_id=self.latest)

    def log(self, report):
        """A row of log.csv, and one line of samples.jsonl for each sample."""
        with self.writing("the log"):
            row = {f.name: getattr(report, f.name) for f in fields(Report) if f.name != "samples"}
            with (self.path / "log.csv").open("a", newline="", encoding="utf-8") as f:
                writer = csv.DictWriter(f, row)
                if f.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
            with (self.path / "samples.jsonl").open("a", encoding="utf-8") as f:
                for sample in report.samples:
                    f.write(
                        json.dumps(
                            {"step": report.step, "megabytes": report.megabytes} | asdict(sample)
                        )
                        + "\n"
                    )

    @contextmanager
    def writing(self, what, part=None):
        """Turn what a full disk raises, in whatever library, into one sentence; take the half-written away."""
        try:
            yield
        except (OSError, SafetensorError, dcp.api.CheckpointException) as error:
            why = reason(error, self.path)  # looks at the free space, so before the removal
            if part and self.team.lead:
                shutil.rmtree(part, ignore_errors=True)
            kept = (
                f"the state in {self.latest} is whole, --resume goes on from it"
                if self.latest
                else "no state was saved yet"
            )
            raise OSError(f"{what} could not be written in {self.path} ({why}); {kept}") from error


def reason(error, folder):
    """Why writing failed: the operating system's words where they came through, else the library's."""
    if isinstance(error, dcp.api.CheckpointException):
        error = next(iter(error.failures.values()))[0]
    cause = error
    while cause and not getattr(cause, "strerror", None):
        cause = cause.__cause__ or cause.__context__
    if cause:
        return cause.strerror
    full = shutil.disk_usage(folder).free < 2**20  # torch's writer does not say
    return "the disk is full" if full else " ".join(str(error).split())[:120]


def latest_state(path):
    """The folder of the latest whole state of a run, or None."""
    return max(
        (p for p in (Path(path) / "state").glob("*") if p.name.isdigit()),
        key=lambda p: int(p.name),
        default=None,
    )


def progress_of(state):
    """What a state says of itself: plain values. Raises ValueError where it is damaged."""
    with damage_named(state):
        saved = json.loads((state / "progress.json").read_text(encoding="utf-8"))
        return {name: saved[name] for name in PROGRESS} | {"text": saved.get("text")}


@contextmanager
def damage_named(folder):
    try:
        yield
    except (
        Exception,
        dcp.api.CheckpointException,
    ) as error:  # each layer below raises its own kinds
        raise ValueError(
            f"{folder} is damaged or not a training state: {type(error).__name__}"
        ) from None


def quietly(call, *arguments, **options):
    """torch.distributed.checkpoint warns when there is one process; it works there too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*arguments, **options)


def write_whole(path, text):
    """Text to a file that is on the disk when this returns."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())


def sync(folder):
    """Make a renaming in a folder last through a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
