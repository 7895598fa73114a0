"""Translation as a test of decoding: how many answers are exact, how near the others are, and what they cost."""

import time
from dataclasses import dataclass

from tqdm.auto import tqdm

from ..decoding import generate, method_of
from .figures import figures
from .prompts import evenly, methods_for

COSTS = ("decoder_per_byte", "global_per_byte", "bytes_per_patch", "acceptance", "steps_per_block")


@dataclass(frozen=True)
class Translation:
    """What `translate` found. answers: the model's, in the order of the pairs; exact: share of them that are right.

    bleu, chrf: corpus scores of 0..100; signatures: how sacrebleu was set for each. costs: `figures` of the lines that were
    decoded alone. seconds: of the whole set, in batches.
    """

    answers: list
    exact: float
    bleu: float
    chrf: float
    signatures: tuple
    costs: dict
    seconds: float


def translate(model, pairs, method="ar", *, batch_size=32, alone=16, max_new_bytes=256):
    """Greedy answers to `Pair`s, in batches of lines of like length -> `Translation`.

    In a batch all rows share each pass, so evaluations are counted on `alone` lines that are decoded one by one; guesses
    are counted on all. An answer ends with its line. Raises ValueError where there are no pairs or sacrebleu is missing.
    """
    if not pairs:
        raise ValueError("translate needs at least one pair")
    bleu, chrf = metrics()
    method = method_of(method).fit(model)
    settings = dict(max_new_bytes=max_new_bytes, stop="\n", record="totals")
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].prompt.encode()))
    found, began = {}, time.perf_counter()
    for at in tqdm(range(0, len(order), batch_size), desc=method.name, unit="batch", leave=False):
        rows = order[at : at + batch_size]
        found |= zip(rows, generate(model, [pairs[i].prompt for i in rows], method, **settings))
    seconds = time.perf_counter() - began
    answers, right = (
        [found[i].text.strip() for i in range(len(pairs))],
        [pair.answer.strip() for pair in pairs],
    )
    scores = [metric.corpus_score(answers, [right]).score for metric in (bleu, chrf)]
    one_by_one = [
        generate(model, pair.prompt, method, **settings).trace for pair in evenly(pairs, alone)
    ]
    guesses = figures([found[i].trace for i in range(len(pairs))])
    costs = figures(one_by_one) | {
        name: guesses[name] for name in ("acceptance", "accepted_per_round")
    }
    exact = sum(a == b for a, b in zip(answers, right)) / len(pairs)
    return Translation(
        answers, exact, *scores, tuple(str(m.get_signature()) for m in (bleu, chrf)), costs, seconds
    )


def metrics():
    """sacrebleu's BLEU and chrF. Raises ValueError where it is not installed."""
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        raise ValueError("translation needs sacrebleu: pip install sacrebleu") from None
    return BLEU(), CHRF()


def compare_methods(model, pairs, methods=(), **options):
    """(rows, signatures): every method's `Translation` as a row of plain values, autoregression first.

    Traffic is the paper's, projected on its 1B shape, relative to autoregression's.
    """
    rows, base = [], None
    for label, method in methods_for(model, methods):
        found = translate(model, pairs, method, **options)
        base = base or found
        rows.append(
            dict(
                method=label,
                exact_percent=100 * found.exact,
                bleu=found.bleu,
                chrf=found.chrf,
                **{name: found.costs[name] for name in COSTS},
                traffic_1b_ratio=found.costs["projected_1b_mb_per_byte"]
                / base.costs["projected_1b_mb_per_byte"],
                seconds=found.seconds,
            )
        )
    return rows, found.signatures
