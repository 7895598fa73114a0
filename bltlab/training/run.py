"""A run: the entropy model first, then the threshold, then the BLT-D with both losses, on patches found once."""

import hashlib
import math
from dataclasses import asdict, replace

import torch

from .. import checkpoints, data
from ..config import BLTConfig
from ..model import BLT, diffuse_from
from .distributed import team
from .folder import RunFolder
from .loop import ModelLoss, PatcherLoss, Stage, keep_freed_memory, steps
from .text import choose_threshold, read, some_documents
from .watch import Report, Tracker, held_out_bits, prompts, write_samples

ENTROPY_MODEL = "entropy model"


def train(options, resume=False):
    """Train as `options` say; yields `Report`s, leaves the model, the log and a state to resume from in `options.out`.

    In several processes, under torchrun, all must call this; only rank 0 yields, logs and shows progress.
    Raises ValueError where `out` holds a run already and `resume` is False, where the saved run had other options, for a
    text that is none, and for a loss that is no number; OSError for a full disk, with the last state whole.
    """
    options = options.filled()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    with team(options.device, options.parallel) as t:
        if options.batch_size % (t.size * options.accumulate):
            raise ValueError(
                f"batch_size must be a multiple of accumulate times processes, got {options.batch_size}, "
                f"{options.accumulate} and {t.size}"
            )
        run = Run(options, t, resume)
        try:
            yield from run.stages()
        finally:
            run.tracker.close()


class Run:
    """What one training run holds: model, text, and the folder it leaves things in."""

    def __init__(self, options, team, resume):
        self.options, self.team = options, team
        self.folder = RunFolder(options.out, team, resume)
        if self.folder.saved:
            options.check_resumed(self.folder.saved["options"])
        need = max(
            options.length,
            1e6 * max(options.megabytes, 0 if options.start else options.entropy_megabytes),
        )
        ids, held_out = read(options.text, 4 * need)
        self.ids = some_documents(ids, need, options.seed)
        for what, part in (("to train on", self.ids), ("held out to measure on", held_out)):
            if len(part) < options.length - 1:
                raise ValueError(
                    f"{options.text} has {len(part)} bytes {what}, fewer than one window of {options.length}: "
                    "choose a smaller length, or more text"
                )
        self.check_text()
        held_out = data.windows(held_out, options.length)
        self.held_out = held_out[:: max(1, len(held_out) // 48)][:48].to(team.device)
        self.prompts = prompts(held_out)
        self.model = self.new_model().to(team.device).requires_grad_(True).train()
        self.folder.open()
        self.tracker = Tracker(options.log_to if team.lead else "csv", self.folder.path, options)

    def check_text(self):
        """Raises ValueError where a saved run would go on, somewhere in the middle, in another text."""
        self.text, saved = hashlib.sha256(self.ids).hexdigest()[:16], self.folder.saved
        longer = (
            saved and saved["options"]["megabytes"] != self.options.megabytes
        )  # more documents are drawn
        if saved and saved["text"] not in (None, self.text) and not longer:
            raise ValueError(
                f"{self.options.text} is no longer the text of the saved run: resume with that, or start anew"
            )

    def new_model(self):
        o = self.options
        if o.start:
            start = BLT.from_pretrained(o.start, device="cpu")
            if size := start.config.block_size:
                raise ValueError(
                    f"start must be an autoregressive BLT, {o.start} is a BLT-D with blocks of {size}"
                )
            return diffuse_from(start, o.block_size, o.seed) if o.block_size else start
        changes = {"decoder_input": o.decoder_input} if o.decoder_input else {}
        return BLT(
            BLTConfig.preset(o.preset, block_size=o.block_size or None, **changes)
        ).initialise(o.seed)

    def stages(self):
        """Run both stages, each from where the saved state stands; yields their reports on the lead."""
        o, saved, name = (
            self.options,
            self.folder.saved,
            "BLT-D" if self.options.block_size else "BLT",
        )
        if not o.start and not (saved and saved["stage"] == name):
            losses = PatcherLoss(self.model.patcher)
            yield from self.run(
                Stage(ENTROPY_MODEL, losses, o.entropy_megabytes, o, self.team, shard=False)
            )
            self.set_threshold()
        self.model.patcher.requires_grad_(False)
        if saved and saved["stage"] == name:
            self.model.config = BLTConfig.from_json(saved["config"])
        stage = Stage(name, ModelLoss(self.model, o), o.megabytes, o, self.team)
        yield from self.run(stage, patched=True)
        tensors = self.team.gather(self.model)
        if self.team.lead:
            tensors = {
                k: v.to(getattr(torch, o.ship_dtype)).contiguous() for k, v in tensors.items()
            }
            with self.folder.writing("the model"):
                checkpoints.save(self.folder.path, self.model.config, tensors)

    def run(self, stage, patched=False):
        """One stage, from where it was saved if it was. patched: its batches carry patches, found now or read again."""
        o, saved = self.options, self.folder.saved
        resumed = saved and saved["stage"] == stage.name
        if resumed:
            stage.load(self.folder)
        next_opens = self.patch_ahead() if patched else None
        stage.batches = data.Batches(self.ids, o.length, o.batch_size, o.seed, next_opens)
        if resumed:
            stage.batches.resume(saved["batches"])
        yield from stage.run(self.measure, self.save)

    def patch_ahead(self):
        """The patches of the whole text: the lead finds them and leaves them in the folder, where a resumed run finds them."""
        find = lambda: data.patch_ahead(self.model, self.ids, self.options.length, self.folder.path)
        with self.folder.writing("the patches"):
            if self.team.lead:
                find()
            self.team.wait()
            return find()

    def save(self, stage):
        o = self.options
        before = 0 if o.start or stage.name == ENTROPY_MODEL else steps(o.entropy_megabytes, o)
        self.folder.save(
            before + stage.step,
            stage.tensors(),
            stage.progress()
            | {"options": asdict(o), "config": self.model.config.to_json(), "text": self.text},
        )

    def measure(self, stage, nats, norm, sample):
        """A `Report`, logged, on the lead; None elsewhere."""
        patcher = stage.name == ENTROPY_MODEL
        model = None if patcher else self.whole_model()
        if not self.team.lead:
            return None
        if patcher:
            bits, samples = (self.patcher_bits(), None), ()
        else:
            bits = held_out_bits(model, self.held_out, self.options.block_size or None)
            samples = write_samples(model, self.prompts) if sample else ()
        report = Report(
            stage.name,
            stage.step,
            stage.megabytes,
            nats / math.log(2),
            *bits,
            stage.megabytes * 1e6 / stage.seconds,
            norm,
            samples,
        )
        self.folder.log(report)
        self.tracker.log(report)
        return report

    def whole_model(self):
        """The model to measure: itself, or a copy put together from all processes' pieces where it is sharded."""
        if self.team.size == 1 or self.team.parallel == "ddp":
            return self.model
        tensors = self.team.gather(self.model)
        if self.team.lead:
            model = BLT(self.model.config)
            model.load_state_dict(tensors)
            return model.to(self.team.device)

    @torch.no_grad()
    def patcher_bits(self):
        losses, chunks = PatcherLoss(self.model.patcher), self.held_out.split(16)
        nats = [losses(losses.draw(ids, None, None))[1].item() * len(ids) for ids in chunks]
        return sum(nats) / len(self.held_out) / math.log(2)

    @torch.no_grad()
    def set_threshold(self):
        """Round the entropy model as it will be shipped, then take the threshold given, or choose it on training text."""
        o, config = self.options, self.model.config
        for p in self.model.patcher.parameters():
            p.copy_(p.to(getattr(torch, o.ship_dtype)))
        threshold = o.threshold
        if threshold is None:
            sample = data.Batches(self.ids, o.length, 64, o.seed).next()
            entropies = torch.cat(
                [self.model.patch(ids.to(self.team.device))[1].cpu() for ids in sample.split(16)]
            )
            threshold = choose_threshold(config.patcher, entropies, sample, o.patch_length)
        self.model.config = replace(config, patcher=replace(config.patcher, threshold=threshold))
