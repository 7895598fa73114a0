"""Translation as a test of decoding: exact answers, how near the others are, what they cost.

A corpus of pairs stands in for FLORES-101, which the paper translates.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from .. import vocab
from ..decoding import Generation, fitted, generate
from ..model import BLT
from .metrics import translation_metrics
from .prompts import Pair, evenly, methods_for, pairs_of
from .summary import Row, summarise, table
from .task import Request, Task

COSTS = ("decoder_per_byte", "global_per_byte", "bytes_per_patch", "acceptance", "steps_per_block")


@dataclass(frozen=True)
class Translation:
    """What `translate` found.

    answers: the model's, in the order of the pairs; exact: share of them that are right. bleu,
    chrf: corpus scores of 0..100; signatures: how sacrebleu was set for each. costs: `summarise` of
    the lines that were decoded alone. seconds: of the whole set, in batches.
    """

    answers: list[str]
    exact: float
    bleu: float
    chrf: float
    signatures: tuple[str, ...]
    costs: Row
    seconds: float


def translate(
    model: BLT,
    pairs: Sequence[Pair],
    method: Any = "ar",
    *,
    batch_size: int = 32,
    alone: int = 16,
    max_new_bytes: int = 256,
) -> Translation:
    """Greedy answers to pairs and their scores, from batches of lines of like length.

    In a batch all rows share each pass, so evaluations are counted on `alone` lines that are
    decoded one by one; guesses are counted on all. An answer ends with its line. Raises ValueError
    where there are no pairs or sacrebleu is missing.
    """
    if not pairs:
        raise ValueError("translate needs at least one pair")
    known = translation_metrics()
    metrics = [known[name] for name in ("bleu", "chrf")]
    method = fitted(method, model)
    settings: dict[str, Any] = dict(max_new_bytes=max_new_bytes, stop="\n", record="totals")
    began = time.perf_counter()
    outs = _in_batches(model, [pair.prompt for pair in pairs], method, batch_size, settings)
    seconds = time.perf_counter() - began
    some = [generate(model, pair.prompt, method, **settings) for pair in evenly(pairs, alone)]
    answers = [out.text.strip() for out in outs]
    right = [pair.answer.strip() for pair in pairs]
    bleu, chrf = (metric.corpus_score(answers, [right]).score for metric in metrics)
    return Translation(
        answers=answers,
        exact=sum(a == b for a, b in zip(answers, right, strict=True)) / len(pairs),
        bleu=bleu,
        chrf=chrf,
        signatures=tuple(str(metric.get_signature()) for metric in metrics),
        costs=_costs(some, outs),
        seconds=seconds,
    )


def _in_batches(
    model: BLT, prompts: list[str], method: Any, batch_size: int, settings: dict[str, Any]
) -> list[Generation]:
    """Generations in the order of the prompts; lines of like length share a batch."""
    order = sorted(range(len(prompts)), key=lambda i: len(vocab.to_bytes(prompts[i])))
    batches = range(0, len(order), batch_size)
    found: dict[int, Generation] = {}
    for at in tqdm(batches, desc=method.name, unit="batch", leave=False):
        rows = order[at : at + batch_size]
        outs = generate(model, [prompts[i] for i in rows], method, **settings)
        found.update(zip(rows, outs, strict=True))
    return [found[i] for i in range(len(prompts))]


def _costs(alone: list[Generation], batched: list[Generation]) -> Row:
    """`summarise` of the lines decoded alone, with the guesses of all lines."""
    guesses = summarise([out.trace for out in batched])
    costs = summarise([out.trace for out in alone])
    for name in ("acceptance", "accepted_per_round", "foreseen"):
        costs[name] = guesses[name]
    return costs


def compare_methods(
    model: BLT, pairs: Sequence[Pair], methods: Sequence[str] = (), **options: Any
) -> tuple[list[Row], tuple[str, ...]]:
    """(rows, signatures): the `Translation` of each method as plain values, autoregression first.

    Traffic is the paper's, projected on its 1B shape, relative to autoregression's. options: of
    `translate`.
    """
    found = {
        label: translate(model, pairs, method, **options)
        for label, method in methods_for(model, methods)
    }
    base = found["ar"].costs["projected_1b_mb_per_byte"]
    rows = [_row(label, translation, base) for label, translation in found.items()]
    return rows, found["ar"].signatures


def _row(label: str, found: Translation, base: float) -> Row:
    costs = {name: found.costs[name] for name in COSTS}
    return dict(
        method=label,
        exact_percent=100 * found.exact,
        bleu=found.bleu,
        chrf=found.chrf,
        **costs,
        traffic_1b_ratio=found.costs["projected_1b_mb_per_byte"] / base,
        seconds=found.seconds,
    )


def report(model: BLT, request: Request) -> str:
    """A table with a row for each method, and how sacrebleu was set."""
    rows, signatures = compare_methods(model, pairs_of(request.texts()), request.methods)
    return "\n".join([table(rows), *signatures])


TASK = Task("exact answers, BLEU and chrF on a corpus of pairs", report)
