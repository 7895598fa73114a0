"""A run: the entropy model first, then the threshold, then the model, on patches found once."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from typing import cast

import numpy as np
import torch

from .. import checkpoints, data
from ..config import BLTConfig
from ..model import BLT
from .distributed import ProcessGroup, process_group
from .folder import RunFolder
from .loop import Stage, keep_freed_memory, steps
from .losses import ModelLoss, PatcherLoss
from .options import TrainOptions
from .own_text import OwnText, OwnTextLoss, write_own_text
from .start import SAMPLE, model_to_train, settled, threshold_to_set
from .text import draw_documents, read_corpus
from .watch import (
    Report,
    Sample,
    Tracker,
    check_tracker,
    held_out_bits,
    prompts,
    write_samples,
)

ENTROPY_MODEL = "entropy model"
OWN_TEXT = "own text"
HELD_OUT_WINDOWS = 48


def train(options: TrainOptions, resume: bool = False) -> Iterator[Report]:
    """Train as `options` say: yield `Report`s while the run goes on.

    It leaves the model, the log and a state to resume from in the folder `options.out`. In several
    processes, under torchrun, all must call this; only rank 0 yields, logs and shows progress.

    resume: go on from the state in the folder, or begin where there is none.

    Raises ValueError where the folder holds a run already and `resume` is False, where the saved
    run had other options, where the text cannot be read or is too short, and where the loss is no
    longer finite; OSError for a full disk. The state saved last is then whole.
    """
    options = options.filled()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    with process_group(options.device, options.parallel) as group:
        _check_shares(options, group)
        with closing(RunFolder(options.out, group, resume)) as folder:
            run = Run(options, group, folder)
            try:
                yield from run.stages()
            finally:
                run.tracker.close()


def _check_shares(options: TrainOptions, group: ProcessGroup) -> None:
    if options.batch_size % (group.size * options.accumulate):
        raise ValueError(
            "batch_size must be a multiple of accumulate times processes,"
            f" got {options.batch_size}, {options.accumulate} and {group.size}"
        )


class Run:
    """What one training run holds, from text to finished model.

    options: with nothing left open. group: the processes that share it.
    name: of the second stage.
    folder: where it leaves things; `folder.saved` is the state that it goes on from, or None.
    ids: the text to train on, its documents joined, (N,) int16; text_key stands for it in a state.
    held_out: up to 48 windows to measure on, (W, T). prompts: for samples, from the same text.
    model: the `BLT`, on the device. tracker: where reports go beside the log.

    Nothing is written before all of it is known to be usable. Raises what `train` says.
    """

    def __init__(self, options: TrainOptions, group: ProcessGroup, folder: RunFolder):
        self.group = group
        self.folder = folder
        if self.folder.saved:
            options = options.as_saved(self.folder.saved["options"])
            options.check_resumed(self.folder.saved["options"])
        model = model_to_train(options, fresh=self.folder.saved is None)
        self.options = settled(options, model)
        self.name = "BLT-D" if self.options.block_size else "BLT"
        self.ids, held_out = self._read_text()
        self.text_key = hashlib.sha256(self.ids.data).hexdigest()[:16]
        self._check_same_text()
        windows = data.cut_windows(held_out, options.length)
        every = max(1, len(windows) // HELD_OUT_WINDOWS)
        self.held_out = windows[::every][:HELD_OUT_WINDOWS].to(group.device)
        self.prompts = prompts(windows)
        self.model = model.to(group.device).requires_grad_(True).train()
        self._check_same_shape()
        log_to = options.log_to if group.is_main else "csv"
        check_tracker(log_to)
        self.folder.open()
        self.tracker = Tracker(log_to, self.folder.path, options)

    # -- what it starts from --

    def _read_text(self) -> tuple[np.ndarray, np.ndarray]:
        """(ids to train on, ids to measure on). Raises ValueError where one is too short."""
        o = self.options
        megabytes = max(o.megabytes, o.entropy_megabytes) + o.own_text
        need = max(o.length, 1e6 * megabytes)
        ids, held_out = read_corpus(o.text, 4 * need)
        ids = draw_documents(ids, need, o.seed)
        for what, part in (("to train on", ids), ("held out to measure on", held_out)):
            if len(part) < o.length - 1:
                raise ValueError(
                    f"{o.text} has {len(part)} bytes {what}, fewer than one window of {o.length}:"
                    " choose a smaller length, or more text"
                )
        return ids, held_out

    def _check_same_text(self) -> None:
        """Raises ValueError where a saved run would go on in the middle of another text."""
        saved = self.folder.saved
        if saved is None:
            return
        # A run that was made longer draws more documents: its text is another one.
        longer = saved["options"]["megabytes"] != self.options.megabytes
        if saved["text"] not in (None, self.text_key) and not longer:
            raise ValueError(
                f"{self.options.text} is no longer the text of the saved run:"
                " resume with that, or start anew"
            )

    def _check_same_shape(self) -> None:
        """Raises ValueError where the saved state is that of another model."""
        saved = self.folder.saved
        if saved is None:
            return
        was, now = BLTConfig.from_json(saved["config"]), self.model.config
        changing = {name: getattr(was.patcher, name) for name in ("threshold", "max_patch_length")}
        now = replace(now, patcher=replace(now.patcher, **changing))
        if was != now or saved["stage"] not in (ENTROPY_MODEL, self.name, OWN_TEXT):
            raise ValueError(f"{self.folder.latest} is the state of another model")

    # -- the two stages --

    def stages(self) -> Iterator[Report]:
        """Run the stages, each from where the saved state stands; yield their reports."""
        o = self.options
        saved = self.folder.saved["stage"] if self.folder.saved else ""
        if saved in (self.name, OWN_TEXT):
            self.model.config = BLTConfig.from_json(self.folder.saved["config"])
        else:
            if o.entropy_megabytes:
                yield from self._train_entropy_model()
            self._set_threshold()
        if o.megabytes and saved != OWN_TEXT:
            yield from self._train_model(self.name)
        if o.own_text:
            yield from self._train_on_own_text()
        self._write_model()

    def _train_entropy_model(self) -> Iterator[Report]:
        """The first stage; the entropy model is small, and never sharded."""
        o = self.options
        losses = PatcherLoss(self.model.patcher)
        stage = Stage(ENTROPY_MODEL, losses, o.entropy_megabytes, o, self.group, may_shard=False)
        self._load_if_saved(stage)
        self._place_in_text(stage, next_opens=None)
        yield from stage.run(self.measure, self.save)

    def _train_model(self, name: str) -> Iterator[Report]:
        """The second stage: all but the entropy model, on patches found once."""
        o = self.options
        self.model.patcher.requires_grad_(False)
        stage = Stage(name, ModelLoss(self.model, o), o.megabytes, o, self.group)
        self._load_if_saved(stage)
        self._place_in_text(stage, self._patch_ahead())
        yield from stage.run(self.measure, self.save)

    def _train_on_own_text(self) -> Iterator[Report]:
        """The third stage: blocks are learnt from what the model itself writes."""
        o = self.options
        self.model.patcher.requires_grad_(False)
        rates = replace(o, matrix_rate=o.own_matrix_rate, other_rate=o.own_other_rate)
        losses = OwnTextLoss(self.model, o)
        stage = Stage(OWN_TEXT, losses, o.own_text, rates, self.group)
        self._load_if_saved(stage)
        self._place_in_text(stage, self._patch_ahead())
        every = steps(o.own_refresh, o)
        stage.before_step = partial(self._refresh_own_text, losses, every)
        yield from stage.run(self.measure, self.save)

    def _refresh_own_text(self, losses: OwnTextLoss, every: int, step: int) -> None:
        """Before every so many steps, and after a pause: let the model write what it learns from.

        The main process writes it into the folder, where the others, and a resumed run, read it.
        """
        if step % every and hasattr(losses, "texts"):
            return
        number = step // every
        path = self.folder.path / f"own-{number:04d}.safetensors"
        with self.folder.writing("own text"):
            model = self._full_model()
            if self.group.is_main and not path.is_file():
                seed = self.options.seed + number
                batches = data.Batches(
                    self.ids, self.options.length, every * self.options.batch_size, seed
                )
                windows = cast(torch.Tensor, batches.next())
                write_own_text(model, windows, self.options.own_greedy, seed).save(path)
            self.group.wait()
            losses.texts = OwnText.load(path)

    def _is_saved(self, stage: Stage) -> bool:
        saved = self.folder.saved
        return saved is not None and saved["stage"] == stage.name

    def _load_if_saved(self, stage: Stage) -> None:
        if self._is_saved(stage):
            stage.load(self.folder)

    def _place_in_text(self, stage: Stage, next_opens: np.ndarray | None) -> None:
        """Give a stage its batches, from the exact byte where it was saved, if it was."""
        o = self.options
        stage.batches = data.Batches(self.ids, o.length, o.batch_size, o.seed, next_opens)
        if self._is_saved(stage):
            stage.batches.resume(self.folder.saved["batches"])

    def _patch_ahead(self) -> np.ndarray:
        """Does the id after each of `ids` open a patch? (N,) bool.

        The main process finds out and leaves it in the folder, where the others, and a resumed run,
        read it.
        """
        arguments = (self.model, self.ids, self.options.length, self.folder.path)
        with self.folder.writing("the patches"):
            if self.group.is_main:
                data.patch_ahead(*arguments)
            self.group.wait()
            return data.patch_ahead(*arguments)

    @torch.no_grad()
    def _set_threshold(self) -> None:
        """Round the entropy model as it will be shipped, then set the threshold for its patches."""
        ship_dtype = getattr(torch, self.options.ship_dtype)
        for p in self.model.patcher.parameters():
            p.copy_(p.to(ship_dtype))
        batches = data.Batches(self.ids, self.options.length, SAMPLE, self.options.seed)
        threshold = threshold_to_set(self.options, self.model, batches, self.group.device)
        if threshold is not None:
            patcher = replace(self.model.config.patcher, threshold=threshold)
            self.model.config = replace(self.model.config, patcher=patcher)

    # -- what it leaves --

    def save(self, stage: Stage) -> None:
        """Save a state to resume from; its number counts the steps of both stages."""
        o = self.options
        steps_before = 0
        if stage.name != ENTROPY_MODEL and o.entropy_megabytes:
            steps_before = steps(o.entropy_megabytes, o)
        if stage.name == OWN_TEXT and o.megabytes:
            steps_before += steps(o.megabytes, o)
        progress = stage.progress() | {
            "options": asdict(o),
            "config": self.model.config.to_json(),
            "text": self.text_key,
        }
        self.folder.save(steps_before + stage.step, stage.tensors(), progress)

    def _write_model(self) -> None:
        """Write the finished model, rounded to `ship_dtype`, on the main process."""
        tensors = self.group.gather(self.model)
        if not self.group.is_main:
            return
        ship_dtype = getattr(torch, self.options.ship_dtype)
        tensors = {name: x.to(ship_dtype).contiguous() for name, x in tensors.items()}
        with self.folder.writing("the model"):
            checkpoints.save(self.folder.path, self.model.config, tensors)

    def measure(self, stage: Stage, nats: float, norm: float, sample: bool) -> Report | None:
        """A `Report`, logged, on the main process; None on the others.

        nats: the step's next-byte loss. norm: of its gradient. sample: let each decoder write?
        """
        if stage.name == ENTROPY_MODEL:
            model = None
        else:
            model = self._full_model()
        if not self.group.is_main:
            return None
        samples: tuple[Sample, ...] = ()
        if model is None:
            held_out, masked = self._entropy_model_bits(), None
        else:
            block_size = self.options.block_size or None
            held_out, masked = held_out_bits(model, self.held_out, block_size)
            samples = write_samples(model, self.prompts) if sample else ()
        report = Report(
            stage=stage.name,
            step=stage.step,
            megabytes=stage.megabytes,
            train_bits=nats / math.log(2),
            held_out_bits=held_out,
            masked_bits=masked,
            bytes_per_second=stage.megabytes * 1e6 / stage.seconds,
            gradient_norm=norm,
            samples=samples,
        )
        self.folder.log(report)
        self.tracker.log(report)
        return report

    def _full_model(self) -> BLT | None:
        """The model to measure: itself, or where it is sharded a full copy, on rank 0."""
        if self.group.size == 1 or self.group.parallel == "ddp":
            return self.model
        tensors = self.group.gather(self.model)
        if not self.group.is_main:
            return None
        model = BLT(self.model.config)
        model.load_state_dict(tensors)
        return model.to(self.group.device)

    @torch.no_grad()
    def _entropy_model_bits(self) -> float:
        """Mean bits a byte of the entropy model on the held-out windows."""
        losses = PatcherLoss(self.model.patcher)
        nats = 0.0
        for ids in self.held_out.split(16):
            _, next_byte = losses(losses.draw(ids, None, None))
            nats += next_byte.item() * len(ids)
        return nats / len(self.held_out) / math.log(2)
