"""Does a model decode what it was trained to? `python -m bltlab check MODEL`.

Training reads whole texts at once, decoding reads them byte by byte through caches, and four ways
of decoding promise the same bytes. A mistake in between shows as slightly worse text, and may cost
months. Each check compares two ways to the same numbers on held-out text; in float64, the default,
a difference is a mistake and not rounding.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tqdm.auto import tqdm

from .. import vocab
from ..costs import cache_bytes_per_byte
from ..decoding import METHODS, Proposal, chain, foresee, generate, why_not
from ..diffusion import Blocks, decode_blocks
from ..model import BLT
from ..sampling import Pick
from ..state import DecodingState
from .prompts import held_out

EXACT = 1e-8  # what float64 sums of another order may differ by
ROUNDED = 5e-2  # what logits in fewer bits may
LOSSLESS = ("blt-s", "blt-dv", "blt-fv")


@dataclass(frozen=True)
class Finding:
    """What one check found. difference: the largest one, in `unit`; allowed: what may be; cases."""

    name: str
    cases: int
    difference: float
    allowed: float
    unit: str

    @property
    def holds(self) -> bool:
        """Is the difference one that may be?"""
        return self.difference <= self.allowed

    def row(self) -> dict[str, Any]:
        """One line of the table."""
        return {
            "check": self.name,
            "cases": self.cases,
            "largest difference": f"{self.difference:.2g} {self.unit}",
            "allowed": f"{self.allowed:.2g}",
            "": "holds" if self.holds else "DIFFERS",
        }


def findings(
    model: BLT, source: str = "plain-english", texts: int = 6, seed: int = 0
) -> Iterator[Finding]:
    """Yield what each check found, with a progress bar.

    source: the corpus whose held-out text is read. texts: how many prompts. Raises ValueError where
    the corpus has too little text.
    """
    prompts = held_out(source, texts, 96).texts
    ids = [torch.tensor([vocab.encode(text)], device=model.device) for text in prompts]
    draw = random.Random(seed)
    checks: list[Callable[[], Finding]] = [
        partial(_one_pass_is_many, model, ids, draw),
        partial(_prefixes_keep_their_patches, model, ids, draw),
        partial(_caches_hold_what_the_formula_says, model, ids),
        partial(_methods_write_the_same, model, prompts, 0.0, seed),
        partial(_methods_write_the_same, model, prompts, 0.9, seed),
    ]
    if model.config.block_size:
        checks.insert(1, partial(_blocks_are_those_of_training, model, ids, draw))
        checks.append(partial(_foreseen_chains_are_chains, model, prompts, seed))
    for check in tqdm(checks, desc="check", leave=False):
        yield check()


def _allowed(model: BLT) -> float:
    return EXACT if model.dtype == torch.float64 else ROUNDED


def _logits(name: str, model: BLT, differences: list[float]) -> Finding:
    return Finding(name, len(differences), max(differences), _allowed(model), "in logits")


@torch.no_grad()
def _one_pass_is_many(model: BLT, ids: list[torch.Tensor], draw: random.Random) -> Finding:
    """One forward of the whole text, against a state that is extended in random chunks."""
    differences = []
    for text in ids:
        whole, state, at = model(text).logits, DecodingState(model), 0
        while at < text.shape[1]:
            n = draw.randint(1, 9)
            read = state.extend(text[:, at : at + n])
            differences.append(_largest(read, whole[:, at : at + n]))
            at += n
    return _logits("text at once == byte by byte", model, differences)


@torch.no_grad()
def _blocks_are_those_of_training(
    model: BLT, ids: list[torch.Tensor], draw: random.Random
) -> Finding:
    """Logits of a block in the training pass, where the text goes on, against those in decoding."""
    size, differences = model.config.block_size, []
    for text in ids:
        encoded = model.encode(text)
        for _ in range(4):
            start = draw.randint(2, text.shape[1] - size)
            block = text[:, start : start + size]
            masked = torch.rand(block.shape, generator=torch.Generator().manual_seed(start)) < 0.7
            masked = masked.to(model.device)
            blocks = Blocks(
                torch.tensor([[start]], device=model.device),
                block[:, None],
                masked[:, None],
                torch.ones(1, 1, device=model.device),
            )
            trained = decode_blocks(model, encoded, blocks)[1][:, 0]
            state = DecodingState(model)
            state.extend(text[:, :start])
            decoded = state.denoise(block.masked_fill(masked, vocab.MASK_ID))
            differences.append(_largest(decoded, trained))
    return _logits("a block in training == in decoding", model, differences)


@torch.no_grad()
def _prefixes_keep_their_patches(
    model: BLT, ids: list[torch.Tensor], draw: random.Random
) -> Finding:
    """Where patches begin in a text, against where they begin in its prefixes."""
    wrong = cases = 0
    for text in ids:
        whole = model.patch(text)[0]
        for _ in range(6):
            n = draw.randint(2, text.shape[1])
            part = model.patch(text[:, :n])[0]
            wrong += int((part.opens[0] != whole.opens[0, :n]).sum())
            wrong += int(part.next_opens[0, -1] != whole.next_opens[0, n - 1])
            cases += 1
    return Finding("patches of a prefix == of the text", cases, wrong, 0, "places")


def _caches_hold_what_the_formula_says(model: BLT, ids: list[torch.Tensor]) -> Finding:
    """Bytes that a state keeps, against `costs.cache_bytes_per_byte`."""
    most = 0.0
    for text in ids:
        state = DecodingState(model)
        state.extend(text)
        bytes_per_patch = text.shape[1] / state.rows[0].closed
        width, patcher = model.dtype.itemsize, model.patcher.output.weight.itemsize
        formula = cache_bytes_per_byte(model.config, bytes_per_patch, width, patcher)
        most = max(most, abs(bytes_kept(state) / text.shape[1] / formula - 1))
    return Finding("bytes in the caches == the formula", len(ids), most, 1e-9, "of all")


def bytes_kept(state: DecodingState) -> int:
    """Bytes of all that a state of one row keeps, the ids left out."""
    (kept,) = state.snapshot()
    parts = [kept["states"], kept["keys"], kept["latents"]]
    for layers in kept["kv"].values():
        parts.extend(layers)
    return sum(part.nbytes for part in parts)


def _methods_write_the_same(
    model: BLT, prompts: list[bytes], temperature: float, seed: int
) -> Finding:
    """Autoregression against every method that promises its bytes."""
    settings: dict[str, Any] = dict(max_new_bytes=48, temperature=temperature, seed=seed)
    settings["record"] = False
    wrong = cases = 0
    wanted = [generate(model, prompt, **settings).bytes for prompt in prompts]
    for name in LOSSLESS:
        if name in METHODS and why_not(name, model) is None:
            for prompt, text in zip(prompts, wanted, strict=True):
                wrong += generate(model, prompt, name, **settings).bytes != text
                cases += 1
    name = f"S, DV, FV == autoregression, T = {temperature:g}"
    return Finding(name, cases, wrong, 0, "texts")


def _foreseen_chains_are_chains(model: BLT, prompts: list[bytes], seed: int) -> Finding:
    """What `foresee` proposes, against what `chain` does."""
    wrong = 0
    for prompt in prompts:
        proposed = []
        for move in (
            partial(chain, draft_length=16),
            partial(foresee, draft_length=16, block_size=model.config.block_size),
        ):
            state = DecodingState(model, record="")
            state.extend(vocab.encode(prompt))
            proposed.append(_returned(move(state, Pick(0.9, seeds=(seed,)))))
        wrong += not torch.equal(proposed[0].ids, proposed[1].ids)
    return Finding("a foreseen chain == the chain", len(prompts), wrong, 0, "proposals")


def _returned(move: Any) -> Proposal:
    """What a move proposes, its events thrown away."""
    while True:
        try:
            next(move)
        except StopIteration as stop:
            return stop.value


def _largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())
