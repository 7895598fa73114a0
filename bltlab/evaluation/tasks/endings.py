"""The true ending among four: likelihood where tiny models are not at chance."""

import re
from collections.abc import Sequence

from ..prompts import PAIR, Pair, pairs_of
from .base import Item
from .choices import Choices, Choosing

SENTENCE = re.compile(r"[^.!?]+[.!?]")
FEWEST, MOST = 12, 40  # words of a sentence
OTHERS = 3  # wrong endings


class Endings(Choosing):
    """The true ending of a held-out sentence or pair among four that are alike (chance: 25)."""

    name = "endings"
    text = "plain-english"
    has_splits = True

    def items(self, text: str) -> list[Item]:
        """Beginnings and endings. Raises ValueError where there are too few of them."""
        items = []
        for group in groups_of(list(self.documents(text))):
            known = list(dict.fromkeys(pair.answer for pair in group))
            places = {ending: at for at, ending in enumerate(known)}
            if len(known) > OTHERS:
                for pair in group:
                    wrong = neighbours(known, places[pair.answer])
                    items.append(Item(pair.prompt, Choices((pair.answer, *wrong))))
        if not items:
            raise ValueError(f"endings needs more than {OTHERS} to choose from, {text} has fewer")
        return items


def groups_of(texts: Sequence[str]) -> list[list[Pair]]:
    """Pairs among which wrong endings are looked for, sorted so that what is alike stands together.

    A corpus of pairs is one group, in the order of the alphabet; of other text a document is one,
    its endings by their length.
    """
    if all(map(PAIR.fullmatch, texts)):
        return [sorted(pairs_of(texts), key=lambda pair: pair.answer)]
    return [sorted(halves(text), key=lambda pair: len(pair.answer)) for text in texts]


def halves(text: str) -> list[Pair]:
    """The two halves of each sentence of middling length."""
    pairs = []
    for sentence in SENTENCE.findall(text):
        words = sentence.split()
        half = len(words) // 2
        if FEWEST <= len(words) <= MOST:
            pairs.append(Pair(" ".join(words[:half]), " ".join(words[half:])))
    return pairs


def neighbours(known: Sequence[str], at: int) -> list[str]:
    """The endings around one in a sorted list, without it.

    >>> neighbours(["a", "ab", "ac", "b", "c"], 1)
    ['a', 'ac', 'b']
    """
    first = min(max(0, at - 1), len(known) - OTHERS - 1)
    around = known[first : first + OTHERS + 1]
    return [ending for ending in around if ending != known[at]]
