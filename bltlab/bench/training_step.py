"""How fast a training step is: by part, against the machine's best product of matrices, and against a plain step."""

import time
from functools import partial

import torch
from torch import nn

from .. import data
from ..costs import training_flops
from ..diffusion import decode_blocks, diffusion_loss, next_byte_loss
from ..masks import training_mask
from ..model import BLT
from ..patching import Patches
from ..training.loop import ModelLoss
from ..training.optim import autocast, optimisers, product_dtype
from ..training.options import TrainOptions
from ..training.run import keep_freed_memory
from .measuring import in_turn, matmul_flops, median_and_spread, synchronise
from .reading import check_lengths

PARTS = ("encode", "decode", "backward", "optimiser")
PLAIN = "blt-d plain"
SHORTEST = 16  # bytes of a window, as in training


def decode_blocks_plainly(model, encoded, blocks):
    """`diffusion.decode_blocks`, as one would first write it: clean bytes and all blocks as one sequence of L = T + M * S
    under one (B, L, L) mask, eager attention over all of it. Slow, obviously right: the test's twin and the bench's."""
    T, (M, S) = encoded.ids.shape[1], blocks.ids.shape[1:]
    device = encoded.ids.device
    row, before = (
        torch.arange(len(encoded.ids), device=device)[:, None],
        (blocks.starts - 1).clamp_max(T - 1),
    )
    join = lambda clean: torch.cat(
        [clean, clean[row, before].repeat_interleave(S, 1)], 1
    )  # a block follows `before`
    window, document = model.config.decoder.window, join(encoded.document)
    masks = torch.stack([training_mask(T, starts, S, window) for starts in blocks.starts.cpu()]).to(
        device
    )
    masks = masks & (document[:, :, None] == document[:, None])  # (B, L, L)
    reads = join(encoded.patches.reads)

    def attend(layer, q, kv):
        k, v = kv.unbind(1)
        scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(
            ~masks[:, None], -torch.inf
        )  # (B, H, L, L)
        return scores.softmax(-1).to(v.dtype) @ v

    x = torch.cat(
        [
            model.decoder.inputs(encoded.ids, encoded.states),
            model.decoder.embedding(blocks.corrupted.flatten(1)),
        ],
        1,
    )
    positions = torch.cat([encoded.positions, blocks.positions.flatten(1)], 1)
    logits = model.decoder(x, positions, lambda layer: encoded.keys[layer][row, reads], attend)
    return logits[:, :T], logits[:, T:].unflatten(1, (M, S))


class Step:
    """One training step on the same windows ids (B, T) again and again, its parts timed."""

    def __init__(self, model, ids, options):
        self.model, self.ids = model, ids
        self.losses = ModelLoss(model, options)
        self.optimisers = optimisers(self.losses, options)
        with torch.no_grad():  # known ahead in training too
            self.next_opens = model.patch(ids.to(model.device))[0].next_opens.cpu()
        self.patches = int(Patches.from_rule(ids, self.next_opens).opens.sum())
        self.autocast = partial(autocast, options, model.device)
        self.generator = torch.Generator().manual_seed(options.seed)

    def run(self, decode=None):
        """{part: seconds} of one step: BLT-D's with `decode` for its pass over text and blocks, or without the blocks."""
        marks, model = [], self.model
        batch = self.losses.draw(self.ids, self.next_opens, self.generator).share(
            slice(None), model.device
        )
        patches = Patches.from_rule(batch.ids, batch.next_opens), None
        self.mark(marks)

        def marked(model, encoded, blocks):
            self.mark(marks)
            return decode(model, encoded, blocks)

        with self.autocast():
            if decode:
                loss = diffusion_loss(
                    model, batch.ids, patches=patches, blocks=batch.blocks, decode=marked
                ).total
            else:
                encoded = model.encode(batch.ids, patches)
                self.mark(marks)
                loss = next_byte_loss(model.decode(encoded), batch.ids)
        self.mark(marks)
        loss.backward()
        self.mark(marks)
        nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.mark(marks)
        return {part: end - begin for part, begin, end in zip(PARTS, marks, marks[1:])}

    @staticmethod
    def mark(marks):
        synchronise()
        marks.append(time.perf_counter())


def train(arguments, model):
    """Steps of equal bytes in windows of growing length: the next byte alone ("ar"), both losses, and these done plainly."""
    if min(check_lengths(model, arguments.context)) < SHORTEST:
        raise ValueError(
            f"--context must be at least {SHORTEST} bytes to train on, got {min(arguments.context)}"
        )
    options = TrainOptions(
        block_size=model.config.block_size or 0, seed=arguments.seed, precision=arguments.precision
    )
    peak = matmul_flops(model.device, product_dtype(options, model.device))
    keep_freed_memory()
    trained = BLT(model.config).to(model.device)
    trained.load_state_dict(model.state_dict())  # rows as training lays them out
    trained.patcher.requires_grad_(False)
    block, counts, rows = model.config.block_size, model.parameter_counts(), []
    kinds = {"ar": None} | ({"blt-d": decode_blocks, PLAIN: decode_blocks_plainly} if block else {})
    most = 2 * max(arguments.step_bytes, *arguments.context)
    stream = data.stream(data.documents(arguments.prompts_from, "train"), most)
    for length in arguments.context:
        ids = data.windows(stream, length)[: max(1, arguments.step_bytes // length)]
        step = Step(trained, ids, options)
        jobs = {kind: partial(step.run, decode) for kind, decode in kinds.items()}
        runs, base = in_turn(jobs, arguments.repeats, f"length {length}"), None
        seconds = {
            kind: median_and_spread([sum(t.values()) for t in timed])
            for kind, timed in runs.items()
        }
        for kind, timed in runs.items():
            figures = seconds[kind]
            slots = 0 if kind == "ar" else -(-(length - 1) // block) * block
            flops = len(ids) * training_flops(
                model.config, counts, length, step.patches // len(ids), slots, block or 0
            )
            row = dict(
                step=kind,
                length=length,
                windows=len(ids),
                bytes_per_s=ids.numel() / figures["seconds"],
                **figures,
            )
            row["speed_ratio"] = row["bytes_per_s"] / base["bytes_per_s"] if base else 1.0
            row["against_plain"] = (
                None if kind == "ar" else seconds[PLAIN]["seconds"] / figures["seconds"]
            )
            first = next((r for r in rows if r["step"] == kind), row)
            rows.append(
                row
                | dict(
                    against_shortest=row["bytes_per_s"] / first["bytes_per_s"],
                    mfu=flops / figures["seconds"] / peak,
                    **{
                        f"time_{part}": sum(t[part] for t in timed)
                        / sum(sum(t.values()) for t in timed)
                        for part in PARTS
                    },
                )
            )
            base = base or row
    return dict(
        step_bytes=arguments.step_bytes,
        precision=arguments.precision,
        text=arguments.prompts_from,
        peak_gflops=peak / 1e9,
    ), rows
