"""Diversity as the paper's section 6 measures it, and what that leaves out.

Text is sampled from nothing, up to 1,000 bytes, and the score is the number of different words over
the number of words, cut at white space. A misspelt word is a new one for it, so that worse text
looks richer: beside it stand the share of words that the training text knows, and the ratio among
these alone.
"""

from collections.abc import Sequence
from functools import lru_cache

from ...model import BLT
from ..intervals import Estimate, jackknife
from ..summary import Row
from ..words import judged, repeated, words_of
from .base import Answers, Item, Task
from .words import known_words

WORDS = 50  # for each text, counted in all together: what is compared has as many
GAMMAS = (0.5, 0.8, 1.0, 1.2, 4.0)  # the paper's, and one beyond


class Diversity(Task):
    """Text sampled from nothing: different words over words, and how many of them are known."""

    name = "diversity"
    measure = "type-token ratio"
    percent = False
    text = "plain-english"
    limit = 32
    judge = "blt-nano"
    max_new_bytes = 1000
    temperature = 1.0

    def items(self, text: str) -> list[Item]:
        """Empty prompts, each drawn with a seed of its own. Raises OSError without a judge."""
        _judge(self.judge)
        return [Item("", text)] * self.limit

    def score(self, item: Item, answer: str) -> float:
        """The ratio in the beginning of one text."""
        return type_token_ratio([answer.split()], WORDS)

    def estimate(self, answers: Answers) -> Estimate:
        """The ratio in all texts together, without the words that were cut off."""
        most = WORDS * len(answers.texts)
        texts = [text.split()[:-1] for text in answers.texts]
        found = jackknife(texts, lambda some: type_token_ratio(some, most))
        return Estimate(found.score, max(0.0, found.low), min(1.0, found.high))

    def figures(self, answers: Answers) -> Row:
        """Known words, distinct runs of words, self-BLEU, repetition, and a judge's bits."""
        known = known_words(answers.items[0].reference)
        found = [words_of(text) for text in answers.texts]
        all_words = sum(found, [])
        right = [list(filter(known.__contains__, words)) for words in found]
        again = [repeated(text.encode("utf-8", "surrogateescape")) for text in answers.texts]
        words = sum(len(text.split()[:-1]) for text in answers.texts)
        return dict(
            words=words,
            words_counted=min(words, WORDS * len(answers.texts)),
            known_percent=100 * sum(map(len, right)) / max(1, len(all_words)),
            ratio_of_known=type_token_ratio(right, WORDS * len(answers.texts)),
            distinct_2=distinct_runs(found, 2),
            distinct_3=distinct_runs(found, 3),
            repeated_percent=100 * sum(again) / len(again),
            self_bleu=self_bleu(answers.texts),
            judge_bits=judge_bits(answers.texts, self.judge),
        )


class DiversitySweep(Diversity):
    """The same with BLT-D over gamma and top-p, against decoder passes: section 6 of the paper."""

    name = "diversity-sweep"
    methods = tuple(f"blt-d,unmasking=entropy:{gamma:g}" for gamma in GAMMAS)
    top_p = (0.8, 0.9, 0.95, 1.0)


def type_token_ratio(texts: Sequence[list[str]], most: int) -> float:
    """Different words over words, in the first `most` of all texts together.

    >>> type_token_ratio([["the", "cat"], ["the", "dog"]], 4), type_token_ratio([["a", "a"]], 1)
    (0.75, 1.0)
    """
    words = sum(texts, [])[:most]
    return len(set(words)) / max(1, len(words))


def distinct_runs(texts: Sequence[list[str]], length: int) -> float:
    """Different runs of `length` words over all such runs.

    >>> distinct_runs([["a", "b", "a", "b"]], 2)
    0.6666666666666666
    """
    runs = []
    for words in texts:
        ends = range(length, len(words) + 1)
        runs += [tuple(words[end - length : end]) for end in ends]
    return len(set(runs)) / max(1, len(runs))


def self_bleu(texts: Sequence[str]) -> float | None:
    """How near each text comes to the others, by BLEU: 100 where all are the same.

    None for one text alone, and without sacrebleu.

    >>> self_bleu(["a text"])
    """
    if len(texts) < 2:
        return None
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        return None
    metric = BLEU(effective_order=True)
    scores = []
    for i, text in enumerate(texts):
        others = [*texts[:i], *texts[i + 1 :]]
        scores.append(metric.sentence_score(text, others).score)
    return sum(scores) / len(scores)


def judge_bits(texts: Sequence[str], judge: str) -> float:
    """Bits a byte of the texts, as another model predicts them."""
    written = [text.encode("utf-8", "surrogateescape") for text in texts if text]
    return judged(_judge(judge), [b""] * len(written), written)


@lru_cache(None)
def _judge(name: str) -> BLT:
    return BLT.from_pretrained(name)
