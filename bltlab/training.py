"""Training on one machine: the entropy model first, then the threshold, then BLT-D with both losses.

`train` is a generator of `Report`s, so the command line, a notebook and a test watch the same loop.
"""

import csv
import ctypes
import math
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from . import checkpoints, data
from .config import PRESETS, BLTConfig
from .diffusion import STARTS, WEIGHTINGS, diffusion_loss, next_byte_loss
from .layers import masked, text_mask
from .model import BLT, diffuse_from, documents, resolve_device
from .patching import entropy, next_opens, surprising


def option(default, help, **limits):
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class TrainOptions:
    """Everything a run depends on; each field is a flag of `python -m bltlab train`."""
    out: str = option("runs/nano", "folder for the model, the log and the state to resume from")
    text: str = option("plain-english", "shipped corpus, file, folder or hub id")
    preset: str = option("nano", "shape of the model", choices=tuple(PRESETS))
    start: str = option("", "an autoregressive BLT to start from (its shape, patches and weights), instead of --preset")
    block_size: int = option(8, "bytes of a diffusion block; 0 trains a plain BLT", min=0, max=64)
    entropy_megabytes: float = option(4.0, "text that the entropy model is trained on, in MB", min=0.001)
    megabytes: float = option(15.0, "text that the model is trained on, in MB", min=0.001)
    patch_length: float = option(4.0, "mean patch to choose the threshold for, in bytes", min=1.0, max=8.0)
    length: int = option(512, "window in bytes, BOS included", min=16)
    batch_size: int = option(8, "windows a step", min=1)
    matrix_rate: float = option(3e-3, "Muon's learning rate, for matrices")
    other_rate: float = option(2e-3, "AdamW's learning rate, for embeddings, tables, norms and outputs")
    masked_weight: float = option(1.0, "weight of the masked loss", min=0.0)
    block_starts: str = option("anywhere", "where training blocks begin", choices=STARTS)
    fully_masked: float = option(0.3, "share of blocks with every byte masked", min=0.0, max=1.0)
    weighting: str = option("inverse_t", "how masked bytes are weighted", choices=WEIGHTINGS)
    seed: int = option(0, "seed of weights, order and corruption")
    report_every: int = option(100, "steps between measurements on held-out text", min=1)
    save_every: int = option(200, "steps between saved states", min=1)
    precision: str = option("fp32", "bf16 pays where the processor multiplies in it", choices=("fp32", "bf16"))
    threads: int = option(0, "CPU threads, 0 for torch's own choice", min=0)
    device: str = option("auto", "cpu, cuda or auto")


@dataclass(frozen=True)
class Report:
    """One measurement. Bits are per byte on held-out text; masked_bits is None for the entropy model and a plain BLT."""
    stage: str
    step: int
    megabytes: float
    train_bits: float
    held_out_bits: float
    masked_bits: float | None
    bytes_per_second: float
    gradient_norm: float


# -- optimiser ---------------------------------------------------------------------------------------------------------

def orthogonalise(x, steps=5):
    """Newton-Schulz iteration of matrices (N, rows, columns) towards the nearest orthogonal ones, in fp32.

    torch.optim.Muon runs it in bf16, which is tens of times slower on most CPUs.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024). `parts` > 1 marks fused projections, treated as that many matrices."""

    def __init__(self, params, lr, momentum=0.95):
        super().__init__(params, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"])                          # Nesterov
                parts = getattr(p, "parts", 1)
                by_shape.setdefault((p.shape[0] // parts, p.shape[1]), []).append((p, update.chunk(parts)))
            for shape, entries in by_shape.items():
                stacked = orthogonalise(torch.stack([u for _, updates in entries for u in updates]))
                scale, done = 0.2 * max(shape) ** 0.5, 0
                for p, updates in entries:
                    p.add_(stacked[done:done + len(updates)].flatten(0, 1), alpha=-group["lr"] * scale)
                    done += len(updates)


def optimisers(module, options):
    """[Muon over the layers' matrices, AdamW over all else]."""
    matrices, others = [], []
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        inner = p.ndim == 2 and not any(word in name for word in ("embedding", "table", "output"))
        if inner:
            p.parts = 3 if "qkv" in name else 2 if name.endswith(("gate_up.weight", "key_value.weight")) else 1
        (matrices if inner else others).append(p)
    return [Muon(matrices, options.matrix_rate),
            torch.optim.AdamW(others, options.other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)]


def rate_at(step, total, warm_up=40):
    """Share of the peak rate: linear warm-up, constant to 40 % of the run, linear to 2 %.

    >>> [round(rate_at(s, 1000), 2) for s in (0, 39, 400, 1000)]
    [0.03, 1.0, 1.0, 0.02]
    """
    rise = min(1.0, (step + 1) / min(warm_up, max(1, total // 10)))
    fall = 1 - max(0.0, step / max(1, total) - 0.4) / 0.6 * 0.98
    return rise * fall


# -- the loop ----------------------------------------------------------------------------------------------------------

def keep_freed_memory():
    """Tell glibc not to hand large freed tensors back to the kernel at each step: a fifth off a CPU step."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)                                          # M_MMAP_MAX: no mmap for large blocks
        libc.mallopt(-1, 2 ** 31 - 1)                                # M_TRIM_THRESHOLD: never shrink the heap
    except OSError:
        pass                                                         # not glibc


class Stage:
    """One module, its loss and how far it has come; saved and resumed as one."""

    def __init__(self, name, module, loss, evaluate, megabytes, batches, options):
        self.name, self.module, self.loss, self.evaluate = name, module, loss, evaluate
        self.batches, self.options = batches, options
        self.optimisers = optimisers(module, options)
        self.step, self.seconds = 0, 0.0
        self.bytes_a_step = options.batch_size * (options.length - 1)
        self.total = max(1, round(megabytes * 1e6 / self.bytes_a_step))
        self.generator = torch.Generator().manual_seed(options.seed)

    def state(self):
        return {"module": self.module.state_dict(), "optimisers": [o.state_dict() for o in self.optimisers],
                "step": self.step, "seconds": self.seconds, "batches": self.batches.state(),
                "generator": self.generator.get_state()}

    def resume(self, state):
        self.module.load_state_dict(state["module"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        self.batches.resume(state["batches"])
        self.generator.set_state(state["generator"])

    def run(self, save, device):
        """Train to the end; yield a `Report` every `report_every` steps and at the last."""
        bar = tqdm(total=self.total, initial=self.step, desc=self.name, unit="step", mininterval=1.0)
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        while self.step < self.total:
            began = time.perf_counter()
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group.setdefault("peak", group["lr"])
                    group["lr"] = group["peak"] * rate_at(self.step, self.total)
            with torch.autocast(device, torch.bfloat16, enabled=self.options.precision == "bf16"):
                loss, next_byte = self.loss(self.batches.next().to(device), self.generator)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimiser in self.optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            self.step += 1
            self.seconds += time.perf_counter() - began
            bar.update()
            if not math.isfinite(loss.item()):
                raise RuntimeError(f"the loss of {self.name} is {loss.item()} at step {self.step}: lower the learning rates")
            if self.step % self.options.save_every == 0 or self.step == self.total:
                save()
            if self.step % self.options.report_every == 0 or self.step == self.total:
                held_out, hidden = self.evaluate()
                bar.set_postfix_str(f"held-out {held_out:.3f} bits/byte" + (f", masked {hidden:.3f}" if hidden else ""))
                yield Report(self.name, self.step, self.step * self.bytes_a_step / 1e6, next_byte.item() / math.log(2),
                             held_out, hidden, self.step * self.bytes_a_step / self.seconds, float(norm))
        bar.close()


def choose_threshold(config, entropies, ids, patch_length):
    """Threshold in nats that gives a mean patch of `patch_length` bytes on ids, entropies (N, T); midway in a gap."""
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    low, high = 0.0, float(entropies.max())
    for _ in range(40):
        middle = (low + high) / 2
        surprise = surprising(replace(config, threshold=middle), ids, entropies)
        opens = next_opens(surprise, positions, torch.zeros(len(ids), dtype=torch.long), config.max_patch_length)
        low, high = (middle, high) if opens.numel() / opens.sum().item() < patch_length else (low, middle)
    below = entropies[entropies <= middle].max().item()
    above = entropies[entropies > middle].min().item()
    return (below + above) / 2


def held_out_bits(model, ids, block_size=None, batch_size=16):
    """Mean bits a byte of both losses over windows (N, T), with a fixed seed: (next byte, masked byte or None)."""
    generator, sums, n = torch.Generator().manual_seed(1), [0.0, 0.0], 0
    with torch.no_grad():
        for chunk in ids.split(batch_size):
            if block_size:
                loss = diffusion_loss(model, chunk, block_size, generator)
                values = loss.next_byte, loss.masked_byte
            else:
                values = next_byte_loss(model(chunk).logits, chunk), torch.zeros(())
            sums = [s + len(chunk) * v.item() / math.log(2) for s, v in zip(sums, values)]
            n += len(chunk)
    return sums[0] / n, (sums[1] / n if block_size else None)


class Run:
    """What one training run holds: model, text, stages, and the files it leaves in `options.out`."""

    def __init__(self, options, saved):
        self.options, self.saved, self.out = options, saved, Path(options.out)
        self.device = resolve_device(options.device)
        self.train_ids = data.stream(data.documents(options.text, "train"))
        held_out = data.windows(data.stream(data.documents(options.text, "test")), options.length)
        self.held_out = held_out[::max(1, len(held_out) // 48)][:48].to(self.device)
        if options.start:
            start = BLT.from_pretrained(options.start, device=self.device)
            model = diffuse_from(start, options.block_size, options.seed) if options.block_size else start
        else:
            config = BLTConfig.preset(options.preset, block_size=options.block_size or None)
            model = BLT(config).initialise(options.seed)
        self.model = model.to(self.device).requires_grad_(True).train()
        self.stages = {}
        self.out.mkdir(parents=True, exist_ok=True)

    def stage(self, name, module, loss, evaluate, megabytes):
        """Run one stage, from where it was saved if it was; yields its reports."""
        o = self.options
        batches = data.Batches(self.train_ids, o.length, o.batch_size, o.seed)
        stage = self.stages[name] = Stage(name, module, loss, evaluate, megabytes, batches, o)
        if self.saved and name in self.saved["stages"]:
            stage.resume(self.saved["stages"][name])
        for report in stage.run(self.save, self.device):
            self.log(report)
            yield report

    def save(self):
        checkpoints.save_state(self.out / "state.pt", {
            "options": asdict(self.options), "config": self.model.config.to_json(),
            "stages": {name: stage.state() for name, stage in self.stages.items()}})

    def log(self, report):
        path = self.out / "log.csv"
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, [x.name for x in fields(Report)])
            if fresh:
                writer.writeheader()
            writer.writerow(asdict(report))

    # -- the entropy model and its threshold ---------------------------------------------------------------------------

    def patcher_logits(self, ids):
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        mask = text_mask(documents(ids), self.model.config.patcher.window)
        return self.model.patcher(ids, positions, masked(mask))

    def patcher_loss(self, ids, generator=None):
        loss = next_byte_loss(self.patcher_logits(ids), ids)
        return loss, loss

    @torch.no_grad()
    def patcher_bits(self):
        return self.patcher_loss(self.held_out)[0].item() / math.log(2), None

    @torch.no_grad()
    def set_threshold(self):
        """Round the entropy model as it will be shipped, then choose the threshold on training text."""
        for p in self.model.patcher.parameters():
            p.copy_(p.half())
        sample = data.windows(self.train_ids, self.options.length)[:64].to(self.device)
        entropies = entropy(self.patcher_logits(sample))
        config = self.model.config
        threshold = choose_threshold(config.patcher, entropies.cpu(), sample.cpu(), self.options.patch_length)
        self.model.config = replace(config, patcher=replace(config.patcher, threshold=threshold))

    # -- the model -----------------------------------------------------------------------------------------------------

    def model_loss(self, ids, generator):
        o = self.options
        if not o.block_size:
            loss = next_byte_loss(self.model(ids).logits, ids)
            return loss, loss
        loss = diffusion_loss(self.model, ids, o.block_size, generator, weight=o.masked_weight,
                              block_starts=o.block_starts, fully_masked=o.fully_masked, weighting=o.weighting)
        return loss.total, loss.next_byte

    def model_bits(self):
        return held_out_bits(self.model, self.held_out, self.options.block_size or None)


def train(options, resume=False):
    """Train as `options` say; yields `Report`s, leaves model, `log.csv` and `state.pt` in `options.out`.

    Raises ValueError where `out` holds a run already and `resume` is False, or where the saved run had other options.
    """
    run = Run(options, _saved(options, resume))
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    if not options.start:
        yield from run.stage("entropy model", run.model.patcher, run.patcher_loss, run.patcher_bits, options.entropy_megabytes)
        run.set_threshold()
    run.model.patcher.requires_grad_(False)
    name = "BLT-D" if options.block_size else "BLT"
    yield from run.stage(name, run.model, run.model_loss, run.model_bits, options.megabytes)
    run.model.save_pretrained(run.out, torch.float16)


def _saved(options, resume):
    """The saved state to go on from, or None. How long to train, what to show and where to run may change."""
    path = Path(options.out) / "state.pt"
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{options.out} holds a run already: add --resume to go on, or choose another folder")
    saved = checkpoints.load_state(path)
    free = ("megabytes", "report_every", "save_every", "threads", "device", "out")
    for f in fields(options):
        before = saved["options"].get(f.name, f.default)
        if f.name not in free and before != getattr(options, f.name):
            raise ValueError(f"{f.name} was {before} in the saved run, got {getattr(options, f.name)}")
    return saved
