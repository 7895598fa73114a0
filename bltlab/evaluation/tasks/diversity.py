"""Diversity as the paper's section 6 measures it, and what that leaves out.

Text is sampled from nothing, up to 1,000 bytes, and the score is the number of different words over
the number of words, cut at white space. A misspelt word is a new one for it, so that worse text
looks richer: beside it stand the share of words that the training text knows, and the ratio among
these alone.
"""

from collections.abc import Sequence
from functools import lru_cache

from ... import data
from ...model import BLT
from ..intervals import Estimate, jackknife
from ..summary import Row
from ..words import judged, repeated, words_of
from .base import Answers, Item, Task

WORDS = 2000  # of all texts together: what is compared has as many
WORDS_OF_ONE = 50
JUDGE = "blt-nano"


class Diversity(Task):
    """Text sampled from nothing: different words over words, and how many of them are known."""

    name = "diversity"
    measure = "type-token ratio"
    percent = False
    text = "plain-english"
    limit = 32
    max_new_bytes = 1000
    temperature = 1.0

    def items(self, text: str) -> list[Item]:
        """Empty prompts: each is drawn with a seed of its own."""
        return [Item("", text)] * self.limit

    def score(self, item: Item, answer: str) -> float:
        """The ratio in the beginning of one text."""
        return type_token_ratio([answer.split()], WORDS_OF_ONE)

    def estimate(self, answers: Answers) -> Estimate:
        """The ratio in all texts together, without the words that were cut off."""
        return jackknife([text.split()[:-1] for text in answers.texts], type_token_ratio)

    def figures(self, answers: Answers) -> Row:
        """Known words, distinct runs of words, self-BLEU, repetition, and a judge's bits."""
        known = known_words(answers.items[0].reference)
        found = [words_of(text) for text in answers.texts]
        all_words = sum(found, [])
        right = [list(filter(known.__contains__, words)) for words in found]
        again = [repeated(text.encode("utf-8", "surrogateescape")) for text in answers.texts]
        return dict(
            words=sum(len(text.split()[:-1]) for text in answers.texts),
            known_percent=100 * sum(map(len, right)) / max(1, len(all_words)),
            ratio_of_known=type_token_ratio(right),
            distinct_2=distinct_runs(found, 2),
            distinct_3=distinct_runs(found, 3),
            repeated_percent=100 * sum(again) / len(again),
            self_bleu=self_bleu(answers.texts),
            judge_bits=judge_bits(answers.texts),
        )


@lru_cache(None)
def known_words(corpus: str) -> frozenset[str]:
    """The words of a corpus's training split."""
    known: set[str] = set()
    for text in data.documents(corpus, "train"):
        known.update(words_of(text))
    return frozenset(known)


def type_token_ratio(texts: Sequence[list[str]], most: int = WORDS) -> float:
    """Different words over words, in the first `most` of all texts together.

    >>> type_token_ratio([["the", "cat"], ["the", "dog"]]), type_token_ratio([["a", "a"]], most=1)
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
    """How near each text comes to the others, by BLEU: 100 where all are the same."""
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


def judge_bits(texts: Sequence[str]) -> float:
    """Bits a byte of the texts, as another model predicts them."""
    written = [text.encode("utf-8", "surrogateescape") for text in texts if text]
    return judged(_judge(), [b""] * len(written), written)


@lru_cache(None)
def _judge() -> BLT:
    return BLT.from_pretrained(JUDGE)
