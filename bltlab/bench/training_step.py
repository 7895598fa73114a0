"""How fast a training step is: by part, beside a plain one, and as a share of the best product."""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from .. import data, training
from ..costs import training_flops
from ..diffusion import Blocks, decode_blocks, diffusion_loss, next_byte_loss
from ..masks import same_document, training_mask
from ..model import BLT
from ..patching import Patches
from ..training.losses import ModelLoss
from ..training.optim import autocast, optimisers, product_dtype
from ..training.options import TrainOptions
from .flags import TIMING, Benchmark, Report, Row, count, flag, several
from .measuring import first_like, in_turn, matmul_flops, median_and_spread, synchronise
from .reading import check_lengths

PARTS = ("encode", "decode", "backward", "optimiser")
NEXT_BYTE, BOTH, PLAIN = "ar", "blt-d", "blt-d plain"
SHORTEST = 16  # bytes of a window, as in training


# -- the plain form ------------------------------------------------------------------------------


def decode_blocks_plainly(
    model: BLT, encoded: Any, blocks: Blocks
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, T, V) of the clean bytes and (B, M, S, V) of the blocks, as one first writes it.

    The same as `diffusion.decode_blocks`: clean bytes and all blocks are one sequence of
    L = T + M * S under one mask (B, L, L), with eager attention over all of it. Slow and obviously
    right: what the test and the benchmark hold the fast form against.
    """
    length = encoded.ids.shape[1]
    size = blocks.ids.shape[1:]
    row = torch.arange(len(encoded.ids), device=encoded.ids.device)[:, None]
    states = model.decoder.inputs(encoded.ids, encoded.states)
    masked = model.decoder.embedding(blocks.corrupted.flatten(1))
    reads = _with_blocks(encoded.patches.reads, blocks)
    positions = torch.cat([encoded.positions, blocks.positions.flatten(1)], 1)
    logits = model.decoder(
        torch.cat([states, masked], 1),
        positions,
        lambda layer: encoded.keys[layer][row, reads],
        partial(_attend_plainly, _plain_mask(model, encoded, blocks)),
    )
    return logits[:, :length], logits[:, length:].unflatten(1, size)


def _with_blocks(clean: torch.Tensor, blocks: Blocks) -> torch.Tensor:
    """(B, T) of the clean bytes -> (B, L): each slot of a block has what the byte before it has."""
    before = (blocks.starts - 1).clamp_max(clean.shape[1] - 1)
    return torch.cat([clean, clean.gather(1, before).repeat_interleave(blocks.size, 1)], 1)


def _plain_mask(model: BLT, encoded: Any, blocks: Blocks) -> torch.Tensor:
    """(B, L, L): who may read whom, in the same document only."""
    length, window = encoded.ids.shape[1], model.config.decoder.window
    masks = [training_mask(length, s, blocks.size, window) for s in blocks.starts.cpu()]
    document = _with_blocks(encoded.document, blocks)
    inside = same_document(document[:, :, None], document[:, None])
    return torch.stack(masks).to(inside.device) & inside


def _attend_plainly(
    mask: torch.Tensor, layer: int, q: torch.Tensor, kv: torch.Tensor
) -> torch.Tensor:
    """Attention of q (B, H, L, head) to kv (B, 2, H, L, head), with all scores at once."""
    k, v = kv.unbind(1)
    scores = (q @ k.mT) * q.shape[-1] ** -0.5  # (B, H, L, L)
    weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
    return weights.to(v.dtype) @ v


# -- one step, its parts timed -------------------------------------------------------------------


class Stopwatch:
    """Seconds between marks; a mark waits for the device."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def mark(self) -> None:
        """One part ends here and the next begins."""
        synchronise()
        self.marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Seconds of each part, in order."""
        return [end - begin for begin, end in zip(self.marks, self.marks[1:], strict=False)]


class Step:
    """One training step on the same windows ids (B, T) again and again, its parts timed."""

    def __init__(self, model: BLT, ids: torch.Tensor, options: TrainOptions) -> None:
        self.model, self.ids = model, ids
        self.losses = ModelLoss(model, options)
        self.optimisers = optimisers(self.losses, options)
        with torch.no_grad():  # known ahead in training too
            self.next_opens = model.patch(ids.to(model.device))[0].next_opens.cpu()
        self.patches = int(Patches.from_rule(ids, self.next_opens).opens.sum())
        self.autocast = partial(autocast, options, model.device)
        self.generator = torch.Generator().manual_seed(options.seed)

    def run(self, decode: Callable | None = None) -> dict[str, float]:
        """Seconds of each part of one step.

        decode: the pass over text and blocks of a BLT-D; None trains on the next byte alone.
        """
        drawn = self.losses.draw(self.ids, self.next_opens, self.generator)
        batch = drawn.share(slice(None), self.model.device)
        patches = Patches.from_rule(batch.ids, batch.next_opens), None
        watch = Stopwatch()
        watch.mark()
        with self.autocast():
            if decode is None:
                loss = self._next_byte_loss(batch, patches, watch)
            else:
                loss = self._both_losses(batch, patches, decode, watch)
        watch.mark()
        loss.backward()
        watch.mark()
        self._update()
        watch.mark()
        return dict(zip(PARTS, watch.seconds(), strict=True))

    def _next_byte_loss(self, batch: Any, patches: tuple, watch: Stopwatch) -> torch.Tensor:
        encoded = self.model.encode(batch.ids, patches)
        watch.mark()
        return next_byte_loss(self.model.decode(encoded), batch.ids)

    def _both_losses(
        self, batch: Any, patches: tuple, decode: Callable, watch: Stopwatch
    ) -> torch.Tensor:
        def marked(model: BLT, encoded: Any, blocks: Blocks) -> tuple[torch.Tensor, torch.Tensor]:
            watch.mark()
            return decode(model, encoded, blocks)

        return diffusion_loss(
            self.model, batch.ids, patches=patches, blocks=batch.blocks, decode=marked
        ).total

    def _update(self) -> None:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        nn.utils.clip_grad_norm_(trained, 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)


# -- the benchmark -------------------------------------------------------------------------------


def train(arguments: argparse.Namespace, model: BLT) -> Report:
    """Steps of equal bytes in windows of growing length.

    On the next byte alone ("ar"), with both losses, and with these done plainly.
    """
    shortest = min(check_lengths(model, arguments.context))
    if shortest < SHORTEST:
        raise ValueError(f"--context must be at least {SHORTEST} bytes to train on, got {shortest}")
    options = TrainOptions(
        block_size=model.config.block_size or 0,
        seed=arguments.seed,
        precision=arguments.precision,
    ).filled()
    peak = matmul_flops(model.device, product_dtype(options, model.device))
    training.keep_freed_memory()
    trained = _trainable_copy(model)
    most = 2 * max(arguments.step_bytes, *arguments.context)
    stream = data.stream(data.documents(arguments.prompts_from, "train"), most)
    rows: list[Row] = []
    for length in arguments.context:
        ids = data.windows(stream, length)[: max(1, arguments.step_bytes // length)]
        step = Step(trained, ids, options)
        jobs = {kind: partial(step.run, decode) for kind, decode in _kinds(model).items()}
        runs = in_turn(jobs, arguments.repeats, f"length {length}")
        _add_rows(rows, step, runs, peak)
    about = dict(
        step_bytes=arguments.step_bytes,
        precision=arguments.precision,
        text=arguments.prompts_from,
        peak_gflops=peak / 1e9,
    )
    return about, rows


def _kinds(model: BLT) -> dict[str, Callable | None]:
    """By name, how each kind of step decodes its blocks; a plain BLT has none."""
    if not model.config.block_size:
        return {NEXT_BYTE: None}
    return {NEXT_BYTE: None, BOTH: decode_blocks, PLAIN: decode_blocks_plainly}


def _trainable_copy(model: BLT) -> BLT:
    """The same weights in rows as training lays them out; the entropy model stays as it is."""
    trained = BLT(model.config).to(model.device)
    trained.load_state_dict(model.state_dict())
    trained.patcher.requires_grad_(False)
    return trained


def _add_rows(
    rows: list[Row], step: Step, runs: Mapping[str, list[dict[str, float]]], peak: float
) -> None:
    """Add a row for each kind of step on windows of one length. peak: FLOPs a second at best."""
    windows, length = step.ids.shape
    times = {}
    for kind, timed in runs.items():
        times[kind] = median_and_spread([sum(parts.values()) for parts in timed])
    for kind, timed in runs.items():
        seconds = times[kind]["seconds"]
        row = dict(step=kind, length=length, windows=windows)
        row |= dict(bytes_per_s=step.ids.numel() / seconds, **times[kind])
        base, shortest = first_like(rows, row, "length"), first_like(rows, row, "step")
        row["speed_ratio"] = row["bytes_per_s"] / base["bytes_per_s"]
        row["against_plain"] = None if kind == NEXT_BYTE else times[PLAIN]["seconds"] / seconds
        row["against_shortest"] = row["bytes_per_s"] / shortest["bytes_per_s"]
        row["mfu"] = _flops(step, with_blocks=kind != NEXT_BYTE) / seconds / peak
        rows.append(row | _time_by_part(timed))


def _flops(step: Step, with_blocks: bool) -> float:
    """Floating-point operations of one step that training cannot do without."""
    windows, length = step.ids.shape
    config = step.model.config
    block = config.block_size or 0
    blocks = -(-(length - 1) // block) if with_blocks else 0  # side by side, the last one whole
    return windows * training_flops(
        config,
        step.model.parameter_counts(),
        length,
        step.patches // windows,
        blocks * block,
        block,
    )


def _time_by_part(timed: list[dict[str, float]]) -> Row:
    """Share of the time that each part of the step took, over all runs."""
    whole = sum(sum(seconds.values()) for seconds in timed)
    shares = {}
    for part in PARTS:
        shares[f"time_{part}"] = sum(seconds[part] for seconds in timed) / whole
    return shares


TRAIN = Benchmark(
    run=train,
    help="one training step by part, beside a plainly written one, as windows grow",
    example="train --context 256 512 --precision bf16",
    flags=(
        *TIMING,
        flag(
            "--precision",
            "of products, as in training",
            default="fp32",
            choices=("fp32", "bf16"),
        ),
        count("--step-bytes", 4096, "bytes a step, whatever the window"),
        several("--context", [256, 512, 1024], "bytes of a window"),
    ),
    checkpoint="preset:nano",
)
