"""`compare`: greedy autoregression beside transformers' Blt, on the same weights in one process.

Checked with transformers 5.23, whose Blt decodes correctly with use_cache=False only.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from .. import checkpoints, vocab
from ..decoding import Autoregressive
from ..model import BLT
from .flags import COMPILE, DTYPE, TIMING, Benchmark, Report, Row, new_bytes, several
from .measuring import first_like, in_turn, seconds_of
from .reading import Continuation, check_lengths, context_ids, ms_per_byte
from .speed import COMPILED, compiled_twin

CACHED, RECOMPUTED, THEIRS = "bltlab, ar", "bltlab, recomputed", "transformers"
SPECIALS = [i for i in range(vocab.OFFSET) if i != vocab.EOS_ID]
FEW = 64  # bytes; the cached way is too quick to be timed on fewer


def compare(arguments: argparse.Namespace, model: BLT) -> Report:
    """Cached, recomputing the text for each byte, and transformers' Blt, after growing contexts.

    With --compile also cached by compiled steps. Raises ValueError where transformers is missing,
    or cannot hold the model, or where they do not write the same bytes.
    """
    try:
        import transformers
    except ImportError:
        raise ValueError("compare needs transformers: pip install transformers") from None
    n = arguments.max_new_bytes
    more = max(n, FEW)
    lengths = check_lengths(model, arguments.context, more)
    ours, theirs = _same_weights(model, transformers)
    twin = compiled_twin(arguments, ours)
    rows: list[Row] = []
    for length in lengths:
        ids = context_ids(arguments.prompts_from, length).to(model.device)
        cached = {CACHED: Continuation(ours, Autoregressive(), ids, more)}
        if twin:
            cached[CACHED + COMPILED] = Continuation(twin, Autoregressive(), ids, more)
        check_same_bytes(ours, theirs, cached.values(), ids, n)
        jobs: dict[str, Callable[[], float]] = {
            **cached,
            RECOMPUTED: partial(_seconds_a_byte, recompute, ours, ids, n),
            THEIRS: partial(_seconds_a_byte, theirs_greedy, theirs, ids, n),
        }
        times = in_turn(jobs, arguments.repeats, f"context {length}")
        for way, seconds in times.items():
            written = more if way in cached else n
            row = dict(way=way, context=length, new_bytes=written, **ms_per_byte(seconds))
            base = first_like(rows, row, "context")
            rows.append(row | dict(slower_than_ar=row["ms_per_byte"] / base["ms_per_byte"]))
    about = dict(
        text=arguments.prompts_from,
        transformers=transformers.__version__,
        same_bytes="yes, checked first",
    )
    return about, rows


def _same_weights(model: BLT, transformers: Any) -> tuple[BLT, Any]:
    """The model's plain twin as ours and as transformers' Blt, both from one saved folder."""
    with tempfile.TemporaryDirectory() as folder:
        plain_twin(model).save_pretrained(folder, layout="transformers")
        theirs = transformers.BltForCausalLM.from_pretrained(folder, dtype=model.dtype)
        ours = BLT.from_pretrained(folder, device=model.device, dtype=model.dtype)
    return ours, theirs.to(model.device).eval()


def plain_twin(model: BLT) -> BLT:
    """The model as transformers can hold it: a plain BLT without the length limit of a patch.

    It has the same weights. Raises ValueError for what a Blt there cannot be.
    """
    patcher = replace(model.config.patcher, max_patch_length=None)
    config = replace(model.config, block_size=None, patcher=patcher)
    checkpoints.to_transformers_config(config)  # refuses what cannot be written
    twin = BLT(config).to(model.device, model.dtype).eval().requires_grad_(False)
    kept = set(twin.state_dict())
    twin.load_state_dict({name: p for name, p in model.state_dict().items() if name in kept})
    twin.name = model.name
    return twin


def check_same_bytes(
    ours: BLT, theirs: Any, cached: Iterable[Continuation], ids: torch.Tensor, n: int
) -> None:
    """Raises ValueError where the ways do not all write the same n bytes after ids (1, T)."""
    length = ids.shape[1]
    found = [theirs_greedy(theirs, ids, n)[0].tolist()]
    for writing in cached:
        writing()
        found.append(writing.state.rows[0].ids[: length + n])
    expected = recompute(ours, ids, n)[0].tolist()
    if any(one != expected for one in found):
        raise ValueError(f"after {length} bytes the ways do not all write the same {n} bytes")


def _seconds_a_byte(write: Any, model: Any, ids: torch.Tensor, n: int) -> float:
    return seconds_of(partial(write, model, ids, n)) / n


@torch.inference_mode()
def recompute(model: BLT, ids: torch.Tensor, n: int) -> torch.Tensor:
    """Ids (1, T + n): those given and n greedy bytes, each by a forward over the whole text."""
    specials = torch.tensor(SPECIALS, device=ids.device)
    for _ in range(n):
        logits = model(ids).logits[:, -1].index_fill(-1, specials, -torch.inf)
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    return ids


def theirs_greedy(theirs: Any, ids: torch.Tensor, n: int) -> torch.Tensor:
    """Ids (1, T + n), as `recompute` returns them, by the `generate` of transformers' Blt."""
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


COMPARE = Benchmark(
    run=compare,
    help="autoregression beside transformers' Blt on the same weights",
    example="compare --context 256 1024",
    flags=(*TIMING, DTYPE, COMPILE, several("--context", [256, 1024], "bytes read"), new_bytes(8)),
    checkpoint="preset:probe",
)
