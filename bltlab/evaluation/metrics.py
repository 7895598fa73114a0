"""sacrebleu's scores of translations, with intervals, signatures and paired tests."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..files import sha256_of
from .summary import Row

RESAMPLES = 1000
VARIABLE = "BLTLAB_FLORES101"


def translation_metrics() -> dict[str, Any]:
    """BLEU (13a) and chrF; spBLEU too where its tokenizer is on this machine already.

    Raises ValueError where sacrebleu is not installed, or the named tokenizer is not there.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        raise ValueError("translation needs sacrebleu: pip install sacrebleu") from None
    metrics = {"bleu": BLEU(), "chrf": CHRF()}
    if no_spbleu() is None:
        metrics["spbleu"] = _spbleu(BLEU())
    for metric in metrics.values():
        _give_plain_numbers(metric)
    return metrics


def flores101_file() -> Path:
    """The tokenizer of FLORES-101: what BLTLAB_FLORES101 names, a file or its folder; else cached.

    Raises ValueError where it is named and not there.
    """
    from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
    from sacrebleu.utils import SACREBLEU_DIR

    url = SPM_MODELS["flores101"]["url"]
    name = url.rpartition("/")[2]
    named = os.environ.get(VARIABLE)
    if not named:
        return Path(SACREBLEU_DIR) / "models" / name
    path = Path(named)
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise ValueError(f"{VARIABLE} names {path}, which is not there: it is to be {url}")
    return path


def no_spbleu() -> str | None:
    """Why there is no spBLEU, in a sentence; None where there is."""
    if find_spec("sentencepiece") is None:
        return "spBLEU is left out: pip install sentencepiece"
    path = flores101_file()
    if path.is_file():
        return None
    return f"spBLEU is left out: its tokenizer is neither in {path.parent} nor named by {VARIABLE}"


def _spbleu(metric: Any) -> Any:
    """BLEU over the pieces of FLORES-101, as sacrebleu has it, fetching nothing."""
    from sacrebleu.tokenizers.tokenizer_spm import TokenizerSPM
    from sentencepiece import SentencePieceProcessor

    class Flores101(TokenizerSPM):
        def __init__(self) -> None:
            self.name = "flores101"
            self.sp = SentencePieceProcessor()
            self.sp.Load(str(flores101_file()))

    metric.tokenizer = Flores101()
    metric.tokenizer_signature = metric.tokenizer.signature()
    return metric


def _give_plain_numbers(metric: Any) -> None:
    """Scores as Python's floats: sacrebleu 2.6 fails to average numpy's with its own zeros."""
    compute = metric._compute_score_from_stats

    def plain(stats: Any) -> Any:
        found = compute(stats)
        found.score = float(found.score)
        return found

    metric._compute_score_from_stats = plain


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
    row["spbleu_signature"] = no_spbleu() or f"{row['spbleu_signature']}, {_hash()}"
    if base is not None:
        row |= _paired(metrics, texts, [text.strip() for text in base], right)
    return row


def _hash() -> str:
    """Which tokenizer it was."""
    return f"tokenizer sha256 {sha256_of(flores101_file())[:16]}"


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
