"""What text that was read costs: `prefill`, `context`, transformers' Blt beside ours (`compare`), memory to load a model.

Each returns rows of plain values.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial

import torch

from .. import checkpoints, vocab
from ..config import BLTConfig
from ..costs import cache_bytes_per_byte
from ..decoding import PREFILL, Autoregressive
from ..evaluation.prompts import methods_for, running_text
from ..model import BLT
from ..sampling import Pick
from ..state import DecodingState
from .measuring import in_turn, median_and_spread, seconds_of, synchronise
from .random_checkpoint import save_random

SPECIALS = [i for i in range(vocab.OFFSET) if i != vocab.EOS_ID]


def context_ids(source, length):
    """Ids (1, length) of held-out text, BOS in front."""
    return torch.tensor([vocab.encode(running_text(source, length - 1))])


def read(state, ids):
    """Extend a state by ids (1, T), in the pieces that `stream` reads a prompt in."""
    for piece in ids.split(PREFILL, 1):
        state.extend(piece)


def check_lengths(model, lengths, more=0):
    """The lengths that fit the model where none were given. Raises ValueError for one that does not."""
    longest = model.config.max_length
    for length in lengths or ():
        if length + more > longest:
            raise ValueError(
                f"--context {length}{f' and {more} new bytes' if more else ''} is above max_length, "
                f"{longest} bytes for {model.name}"
            )
    return lengths or [n for n in (256, 1024, 4096, 16384) if n + more <= longest]


def prefill(arguments, model):
    """Bytes a second of reading a text at once, beside writing bytes one by one."""
    lengths, n = check_lengths(model, arguments.context), 64
    writing = written_after(
        model, Autoregressive(), context_ids(arguments.prompts_from, min(lengths)), n
    )

    def timed(ids):
        state = DecodingState(model, max_length=ids.shape[1])
        return seconds_of(lambda: read(state, ids))

    jobs = {("write, ar", n): lambda: n * writing()}
    jobs |= {
        ("read", n): partial(timed, context_ids(arguments.prompts_from, n).to(model.device))
        for n in lengths
    }
    rows = []
    for (what, size), seconds in in_turn(jobs, arguments.repeats, "prefill").items():
        row = dict(what=what, bytes=size, bytes_per_s=size / statistics.median(seconds))
        rows.append(
            row
            | dict(speed_ratio=row["bytes_per_s"] / (rows or [row])[0]["bytes_per_s"])
            | median_and_spread(seconds)
        )
    return dict(text=arguments.prompts_from), rows


def written_after(model, method, ids, n):
    """A function that writes n bytes or a few more after ids (1, T), read once -> seconds a byte. The state goes back after."""
    context, pick = ids.shape[1], Pick()
    state = DecodingState(model, max_length=context + n + method.room, record="")
    read(state, ids.to(model.device))

    def write():
        state.rollback(context - 1)
        state.extend(ids[:, -1:].to(model.device))
        synchronise()
        began = time.perf_counter()
        while state.length < context + n:
            for _ in method.round(state, pick):
                pass
        synchronise()
        return (time.perf_counter() - began) / (state.length - context)

    write.state = state
    return write


def context(arguments, model):
    """Seconds and cached bytes a byte after 256 to 16k bytes of context."""
    n, rows, first = arguments.max_new_bytes, [], {}
    for length in check_lengths(model, arguments.context, n):
        ids = context_ids(arguments.prompts_from, length)
        jobs = {
            label: written_after(model, method, ids, n)
            for label, method in methods_for(model, arguments.method)
        }
        times, base = in_turn(jobs, arguments.repeats, f"context {length}"), None
        formula, used, allocated = cached_bytes(model, ids)
        for label, seconds in times.items():
            figures = median_and_spread(seconds)
            row = dict(
                method=label,
                context=length,
                ms_per_byte=1e3 * figures["seconds"],
                spread=figures["spread"],
            )
            row["speed_ratio"] = base["ms_per_byte"] / row["ms_per_byte"] if base else 1.0
            first.setdefault(label, row)
            rows.append(
                row
                | dict(
                    slower_than_shortest=row["ms_per_byte"] / first[label]["ms_per_byte"],
                    cache_bytes_formula=formula,
                    cache_bytes_used=used,
                    cache_bytes_allocated=allocated,
                )
            )
            base = base or row
    return dict(text=arguments.prompts_from, new_bytes=n), rows


def cached_bytes(model, ids):
    """Bytes a state keeps for each byte of text: by `costs.cache_bytes_per_byte`, counted in its tensors, and reserved."""
    state = DecodingState(model, max_length=ids.shape[1])
    read(state, ids.to(model.device))
    size = lambda x: (
        x.nbytes if torch.is_tensor(x) else sum(map(size, x)) if isinstance(x, list) else 0
    )
    (kept,) = state.snapshot()
    used = sum(size(kept[name]) for name in ("states", "keys", "latents")) + sum(
        map(size, kept["kv"].values())
    )
    reserved = sum(size(cache.layers) for cache in state.caches)
    bytes_per_patch = state.length / state.rows[0].closed
    formula = cache_bytes_per_byte(
        model.config,
        bytes_per_patch,
        model.dtype.itemsize,
        next(model.patcher.parameters()).element_size(),
    )
    return formula, used / state.length, reserved / state.length


# -- beside transformers -----------------------------------------------------------------------------------------------


def plain_twin(model):
    """The model as transformers can hold it: a plain BLT with the same weights, without the length limit of a patch."""
    config = replace(
        model.config, block_size=None, patcher=replace(model.config.patcher, max_patch_length=None)
    )
    checkpoints.to_transformers_config(config)  # raises ValueError for what a Blt there cannot be
    twin = BLT(config).to(model.device, model.dtype).eval().requires_grad_(False)
    twin.load_state_dict(
        {name: p for name, p in model.state_dict().items() if name in twin.state_dict()}
    )
    twin.name = model.name
    return twin


def compare(arguments, model):
    """Greedy autoregression on the same weights in one process: cached, recomputing the text, and transformers' Blt.

    transformers 5.23 decodes correctly with use_cache=False only. Raises ValueError where the bytes are not the same.
    """
    try:
        import transformers
    except ImportError:
        raise ValueError("compare needs transformers: pip install transformers") from None
    n, rows = arguments.max_new_bytes, []
    more = max(n, 64)  # the cached way is too quick to be timed on few
    lengths = check_lengths(model, arguments.context or [256, 1024], more)
    twin = plain_twin(model)
    with tempfile.TemporaryDirectory() as folder:
        twin.save_pretrained(folder, layout="transformers")
        theirs = (
            transformers.BltForCausalLM.from_pretrained(folder, dtype=model.dtype)
            .to(model.device)
            .eval()
        )
        ours = BLT.from_pretrained(folder, device=model.device, dtype=model.dtype)
    for length in lengths:
        ids = context_ids(arguments.prompts_from, length).to(model.device)
        jobs = {
            "bltlab, ar": written_after(ours, Autoregressive(), ids, more),
            "bltlab, recomputed": lambda: seconds_of(partial(recompute, ours, ids, n)) / n,
            "transformers": lambda: seconds_of(partial(theirs_greedy, theirs, ids, n)) / n,
        }
        texts = [recompute(ours, ids, n), theirs_greedy(theirs, ids, n)]
        jobs["bltlab, ar"]()
        texts.append(
            torch.tensor([jobs["bltlab, ar"].state.rows[0].ids[: length + n]], device=ids.device)
        )
        if not all(torch.equal(texts[0], text) for text in texts):
            raise ValueError(f"after {length} bytes the three ways do not write the same {n} bytes")
        base = None
        for way, seconds in in_turn(jobs, arguments.repeats, f"context {length}").items():
            figures = median_and_spread(seconds)
            row = dict(
                way=way,
                context=length,
                new_bytes=n if base else more,
                ms_per_byte=1e3 * figures["seconds"],
                spread=figures["spread"],
            )
            rows.append(
                row | dict(slower_than_ar=row["ms_per_byte"] / base["ms_per_byte"] if base else 1.0)
            )
            base = base or row
    return dict(
        text=arguments.prompts_from,
        transformers=transformers.__version__,
        same_bytes="yes, checked first",
    ), rows


@torch.inference_mode()
def recompute(model, ids, n):
    """ids (1, T) and n greedy bytes, each by a forward over the whole text."""
    for _ in range(n):
        logits = (
            model(ids)
            .logits[:, -1]
            .index_fill(-1, torch.tensor(SPECIALS, device=ids.device), -torch.inf)
        )
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    return ids


def theirs_greedy(theirs, ids, n):
    """The same by transformers' own `generate`."""
    return theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=n,
        min_new_tokens=n,
        do_sample=False,
        use_cache=False,
        suppress_tokens=SPECIALS,
        eos_token_id=None,
        pad_token_id=0,
    )


# -- memory ------------------------------------------------------------------------------------------------------------


def memory(arguments, model=None):
    """Peak memory of a process that loads a random bf16 checkpoint of a preset's shape, in both layouts that are written.

    Linux only: the child's own high-water mark is read from /proc, as getrusage would count its parent's.
    """
    preset = arguments.model.removeprefix("preset:")
    config, rows = BLTConfig.preset(preset, block_size=None), []
    code = (
        "import sys, torch, bltlab; bltlab.BLT.from_pretrained(sys.argv[1], dtype=torch.bfloat16, device='cpu');"
        "print(next(int(l.split()[1]) * 1024 for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    for layout in ("bltlab", "transformers"):
        with tempfile.TemporaryDirectory() as folder:
            disk = save_random(folder, config, BLT.on_meta(config).state_dict(), layout)
            done = subprocess.run(
                [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
            )
        rows.append(
            dict(
                preset=preset,
                layout=layout,
                disk_gb=disk / 1e9,
                peak_gb=int(done.stdout) / 1e9,
                ratio=int(done.stdout) / disk,
            )
        )
    return {}, rows
