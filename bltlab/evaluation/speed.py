"""The benchmark: every figure beside autoregression from the same run, only new bytes counted, run -1 as the warm-up."""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import torch
from tqdm.auto import tqdm

from .. import checkpoints, data
from ..config import BLTConfig
from ..layers import lay_out_by_column
from ..decoding import METHODS, generate, method_of
from ..model import BLT
from ..state import DecodingState


def add_bench_flags(parser):
    parser.add_argument("what", choices=("decode", "cached", "memory"),
                        help="decode: all methods on held-out prompts; cached: autoregression against recomputing the text; "
                             "memory: peak while a random checkpoint of a preset's shape is loaded (9 GB of disk for blt-1b)")
    parser.add_argument("--checkpoint", "--model", dest="model", default="blt-d-nano",
                        help="shipped name, folder, hub id, or preset:NAME for random weights")
    parser.add_argument("--prompts", type=int, default=6, help="held-out prompts (default 6)")
    parser.add_argument("--prompt-bytes", type=int, default=128, help="length of each (default 128)")
    parser.add_argument("--max-new-bytes", type=int, default=256, help="new bytes for each (default 256)")
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.0, 0.8], help="default: 0 0.8")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs, the median is reported (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1: steps of small matrices)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")


def load(name, seed=0):
    """A model by name, or "preset:NAME" with random weights and a threshold that gives 4 bytes a patch on random text."""
    if not name.startswith("preset:"):
        return BLT.from_pretrained(name)
    model = BLT(BLTConfig.preset(name.removeprefix("preset:"))).initialise(seed).eval().requires_grad_(False)
    model.name = name
    lay_out_by_column(model)
    seen = model.patch(random_text(512, seed))[1].flatten()
    model.config = replace(model.config, patcher=replace(model.config.patcher, threshold=seen.quantile(0.75).item()))
    return model


def random_text(n, seed):
    ids = torch.randint(4, 260, (1, n), generator=torch.Generator().manual_seed(seed))
    ids[0, 0] = 1
    return ids


def held_out_prompts(n, length):
    """n pieces of held-out text, each from the start of a document, spread over the corpus."""
    texts = [t for t in data.documents("plain-english", "test") if len(t) > length]
    return [t.encode()[:length] for t in texts[::max(1, len(texts) // n)][:n]]


def decode(arguments):
    """Rows of the method table: evaluations per byte, acceptance, both traffics and seconds relative to autoregression."""
    if min(arguments.prompts, arguments.max_new_bytes, arguments.repeats) < 1:
        raise ValueError("--prompts, --max-new-bytes and --repeats must be at least 1")
    torch.set_num_threads(arguments.threads)
    model = load(arguments.model, arguments.seed)
    prompts = held_out_prompts(arguments.prompts, arguments.prompt_bytes)
    names = [n for n in METHODS if model.config.block_size or "block_size" not in METHODS[n].__dataclass_fields__]
    rows = []
    for temperature in arguments.temperature:
        settings = dict(max_new_bytes=arguments.max_new_bytes, temperature=temperature, seed=arguments.seed)
        seconds = {name: [] for name in names}
        bar = tqdm(total=(arguments.repeats + 1) * len(names), desc=f"temperature {temperature:g}", leave=False)
        for repeat in range(-1, arguments.repeats):                  # methods in turn, so that drift hits all alike
            outs = {}
            for name in names:
                outs[name] = [generate(model, p, name, **settings) for p in prompts]
                if repeat >= 0:
                    seconds[name].append(sum(o.trace.totals.seconds for o in outs[name]))
                bar.update()
        bar.close()
        for name in names:
            rows.append(_row(method_of(name).fit(model), temperature, outs[name], seconds[name], rows))
    return rows


def _row(method, temperature, outs, seconds, rows):
    totals = [o.trace.totals for o in outs]
    n = sum(t.new_bytes for t in totals)
    add = lambda of: sum(of(t) for t in totals)
    mean = lambda values: statistics.mean(v) if (v := [x for x in values if x is not None]) else None
    row = dict(method=method.name, temperature=temperature, bytes=n, decoder=add(lambda t: t.nfe.decoder) / n,
               encoder=add(lambda t: t.nfe.encoder) / n, global_=add(lambda t: t.nfe.global_) / n,
               patcher=add(lambda t: t.nfe.patcher) / n, bytes_per_patch=mean(t.bytes_per_patch for t in totals),
               acceptance=mean(t.acceptance_rate for t in totals),
               bytes_per_round=mean(t.mean_acceptance_length for t in totals),
               steps_per_block=mean(t.denoising_steps_per_block for t in totals),
               paper_gb=add(lambda t: t.paper_gb), measured_gb=add(lambda t: t.measured_gb),
               seconds=statistics.median(seconds), spread=max(seconds) - min(seconds))
    base = row if method.name == "ar" else next(r for r in rows if r["method"] == "ar" and r["temperature"] == temperature)
    for name in ("paper_gb", "measured_gb", "seconds"):
        row[f"{name}_ratio"] = (row[name] / n) / (base[name] / base["bytes"])
    return row


def cached(arguments):
    """Seconds a byte of 128 new bytes after 256, autoregressive: with the decoding state, and recomputing the text."""
    torch.set_num_threads(arguments.threads)
    rows, context, n = [], 256, 128
    for name in ("preset:probe", arguments.model):
        model = load(name, arguments.seed)
        ids = random_text(context, arguments.seed) if name.startswith("preset:") else None
        if ids is None:
            ids = torch.tensor([[1, *(b + 4 for b in held_out_prompts(1, context - 1)[0])]])
        times = {"cached": [], "recomputed": []}
        for repeat in range(-1, arguments.repeats):
            state = DecodingState(model, max_length=context + n)
            state.extend(ids)
            began = time.perf_counter()
            for _ in range(n):
                state.extend(state.logits.argmax(-1)[:, None])
            done = time.perf_counter()
            text = ids
            with torch.no_grad():
                for _ in range(n):
                    text = torch.cat([text, model(text).logits[:, -1:].argmax(-1)], 1)
            if repeat >= 0:
                times["cached"].append((done - began) / n)
                times["recomputed"].append((time.perf_counter() - done) / n)
        assert text[0].tolist() == state.rows[0].ids, "the cached text is not the recomputed one"
        fast, slow = (statistics.median(times[kind]) for kind in times)
        rows.append(dict(model=name, parameters=sum(p.numel() for p in model.parameters()), cached_ms=1e3 * fast,
                         recomputed_ms=1e3 * slow, ratio=slow / fast))
    return rows


def memory(arguments):
    """Peak memory of a process that loads a random bf16 checkpoint of a preset's shape, in both layouts that are written.

    Linux only: the child's own high-water mark is read from /proc, as getrusage would count its parent's.
    """
    preset = arguments.model.removeprefix("preset:")
    config, rows = BLTConfig.preset(preset, block_size=None), []
    code = ("import sys, torch, bltlab; bltlab.BLT.from_pretrained(sys.argv[1], dtype=torch.bfloat16, device='cpu');"
            "print(next(int(l.split()[1]) * 1024 for l in open('/proc/self/status') if l.startswith('VmHWM')))")
    for layout in ("bltlab", "transformers"):
        with tempfile.TemporaryDirectory() as folder:
            disk = checkpoints.save_random(folder, config, BLT.on_meta(config).state_dict(), layout)
            done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
        rows.append(dict(preset=preset, layout=layout, disk_gb=disk / 1e9, peak_gb=int(done.stdout) / 1e9,
                         ratio=int(done.stdout) / disk))
    return rows


def table(rows):
    """Rows of dicts as an aligned text table."""
    show = lambda v: "" if v is None else v if isinstance(v, str) else f"{v:,}" if isinstance(v, int) else f"{v:.3g}"
    cells = [list(rows[0])] + [[show(v) for v in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths)) for line in cells)
