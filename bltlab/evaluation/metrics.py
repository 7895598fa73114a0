"""sacrebleu's scores of translations, with intervals, signatures and paired tests."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .summary import Row

RESAMPLES = 1000


def translation_metrics() -> dict[str, Any]:
    """BLEU (13a) and chrF; spBLEU too where its tokenizer is on this machine already.

    Raises ValueError where sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        raise ValueError("translation needs sacrebleu: pip install sacrebleu") from None
    metrics = {"bleu": BLEU(), "chrf": CHRF()}
    if has_flores101():
        metrics["spbleu"] = BLEU(tokenize="flores101")
    for metric in metrics.values():
        _give_plain_numbers(metric)
    return metrics


def _give_plain_numbers(metric: Any) -> None:
    """Scores as Python's floats: sacrebleu 2.6 fails to average numpy's with its own zeros."""
    compute = metric._compute_score_from_stats

    def plain(stats: Any) -> Any:
        found = compute(stats)
        found.score = float(found.score)
        return found

    metric._compute_score_from_stats = plain


def has_flores101() -> bool:
    """Can sacrebleu cut text as the paper does, without fetching anything?"""
    if find_spec("sentencepiece") is None:
        return False
    from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
    from sacrebleu.utils import SACREBLEU_DIR

    name = SPM_MODELS["flores101"]["url"].rpartition("/")[2]
    return (Path(SACREBLEU_DIR) / "models" / name).is_file()


def translation_figures(
    texts: Sequence[str], right: Sequence[str], base: Sequence[str] | None
) -> Row:
    """Scores, the ends of their intervals, p against `base` by paired bootstrap, and signatures."""
    row: Row = {}
    metrics = translation_metrics()
    texts = [text.strip() for text in texts]
    for name, metric in metrics.items():
        found = metric.corpus_score(texts, [right], n_bootstrap=RESAMPLES)
        row[name] = float(found.score)
        row[f"{name}_low"] = max(0.0, float(found._mean - found._ci))
        row[f"{name}_high"] = min(100.0, float(found._mean + found._ci))
        row[f"{name}_signature"] = str(metric.get_signature())
    if base is not None:
        row |= _paired(metrics, texts, [text.strip() for text in base], right)
    return row


def _paired(
    metrics: dict[str, Any], texts: list[str], base: list[str], right: Sequence[str]
) -> Row:
    """{name_p: the chance that two equal methods differ so much}."""
    from sacrebleu.significance import PairedTest

    systems: list[Any] = [("autoregression", base), ("this", texts)]
    if texts == base:
        return {f"{name}_p": 1.0 for name in metrics}
    row: Row = {}
    for name, metric in metrics.items():
        test = PairedTest(systems, {name: metric}, [right], test_type="bs", n_samples=RESAMPLES)
        (scores,) = [found for title, found in test()[1].items() if title != "System"]
        theirs, ours = scores
        same = theirs.score == ours.score  # sacrebleu gives the smallest p there
        row[f"{name}_p"] = 1.0 if same else float(ours.p_value)
    return row
