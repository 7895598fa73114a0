"""Whether a model writes words: those in text sampled after held-out prompts."""

import statistics
from collections.abc import Sequence
from functools import lru_cache

from ... import data, vocab
from ..intervals import Estimate, jackknife
from ..prompts import held_out
from ..summary import Row
from ..words import repeated, whole_words, words_of
from .base import Answers, Item, Task

PROMPT, WRITTEN = 64, 128  # bytes


@lru_cache(None)
def known_words(corpus: str) -> frozenset[str]:
    """The words of a corpus's training split."""
    known: set[str] = set()
    for text in data.documents(corpus, "train"):
        known.update(words_of(text))
    return frozenset(known)


class Words(Task):
    """Share of the words in sampled text that the training split holds."""

    name = "words"
    measure = "known words"
    text = "plain-english"
    limit = 32
    max_new_bytes = WRITTEN
    temperature = 0.8

    def items(self, text: str) -> list[Item]:
        """Prompts, each with (the corpus, how the held-out text goes on)."""
        longer = held_out(text, self.limit or 10**9, PROMPT + WRITTEN, or_fewer=True).texts
        return [Item(whole[:PROMPT], (text, vocab.to_text(whole[PROMPT:]))) for whole in longer]

    def score(self, item: Item, answer: str) -> float:
        """The share in one text."""
        return share_known([self._words(item, answer)], item.reference[0])

    def _words(self, item: Item, answer: str) -> list[str]:
        """The whole words of an answer: the last may be cut off."""
        written = vocab.to_bytes(answer)
        return whole_words(vocab.to_bytes(item.prompt), written, len(written) >= self.max_new_bytes)

    def _written(self, answers: Answers) -> list[list[str]]:
        pairs = zip(answers.asked, answers.texts, strict=True)
        return [self._words(item, text) for item, text in pairs]

    def estimate(self, answers: Answers) -> Estimate:
        """The share in all texts together."""
        corpus = answers.items[0].reference[0]
        return jackknife(self._written(answers), lambda texts: share_known(texts, corpus))

    def figures(self, answers: Answers) -> Row:
        """Words, different ones, repetition; and what the held-out text itself would get."""
        corpus = answers.items[0].reference[0]
        found = sum(self._written(answers), [])
        itself = [words_of(item.reference[1])[1:-1] for item in answers.items]
        again = statistics.mean(repeated(vocab.to_bytes(text)) for text in answers.texts)
        return dict(
            words=len(found),
            different_words=len(set(found)) / max(1, len(found)),
            repeated_percent=100 * again,
            text_itself_percent=100 * share_known(itself, corpus),
        )


def share_known(texts: Sequence[list[str]], corpus: str) -> float:
    """The share of words in some texts that a corpus's training split holds."""
    known = known_words(corpus)
    words = sum(texts, [])
    return sum(word in known for word in words) / max(1, len(words))
