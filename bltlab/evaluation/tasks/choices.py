"""Which of several endings does a model find likeliest? The public sets, and what they share.

Prompts are those of lm-eval at 0 shots. The questions are those of the hub, in its words for them:
a folder that `python -m bltlab data NAME` made holds the same records.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from ... import vocab
from ...model import BLT
from ..likelihood import likelihoods
from ..records import folder_records, hub_records, read_as
from ..summary import Row
from .base import Item, Reading

SIDE_BY_SIDE = 8  # contexts read at once
LETTERS = "ABCD"


@dataclass(frozen=True)
class Choices:
    """Endings of one context; right: the number of the true one."""

    endings: tuple[str, ...]
    right: int = 0

    def __post_init__(self) -> None:
        if self.right not in range(len(self.endings)):
            raise ValueError(f"number {self.right} is right, of {len(self.endings)} endings")


class Choosing(Reading):
    """What such tasks share: each ending is read behind its context and a space."""

    measure = "accuracy"

    def score(self, item: Item, answer: str) -> float:
        """1 for the true ending."""
        return float(answer == item.reference.endings[item.reference.right])

    def read(self, model: BLT, items: Sequence[Item]) -> Iterator[Row]:
        """Yield what `chosen` says of each item."""
        asked = []
        for item in items:
            asked += [(item.prompt, f" {ending}") for ending in item.reference.endings]
        found = iter(likelihoods(model, asked, SIDE_BY_SIDE))
        for item in items:
            read = islice(found, len(item.reference.endings))
            yield chosen(item.reference, [one.nats for one in read])


def chosen(choices: Choices, nats: Sequence[float]) -> Row:
    """Is the true ending the likeliest? nats: of each, the space before it included.

    score: by nats a byte. acc, acc_norm: in all, and by the character without the space, as lm-eval
    has them. true_bits_a_byte: of the true ending.
    """
    bytes_of = [len(vocab.to_bytes(f" {ending}")) for ending in choices.endings]
    characters = [max(1, len(ending)) for ending in choices.endings]
    a_byte = [cost / size for cost, size in zip(nats, bytes_of, strict=True)]
    a_character = [cost / size for cost, size in zip(nats, characters, strict=True)]

    def is_right(costs: Sequence[float]) -> float:
        return float(costs.index(min(costs)) == choices.right)

    return dict(
        score=is_right(a_byte),
        acc_percent=100 * is_right(nats),
        acc_norm_percent=100 * is_right(a_character),
        chance_percent=100 / len(nats),
        true_bits_a_byte=a_byte[choices.right] / math.log(2),
    )


class PublicSet(Choosing):
    """A set of questions that others ask as well.

    hub, config, hub_split: where the hub has it. All are asked where no limit is given.
    """

    hub: ClassVar[str]
    config: ClassVar[str | None] = None
    hub_split: ClassVar[str] = "test"
    limit = None

    def items(self, text: str) -> list[Item]:
        """All questions of a folder, or of the hub where text is its name for the set."""
        if text == self.hub:
            records = hub_records(self.hub, self.config, self.hub_split, self._from_package)
        else:
            advice = f"{self._from_package}, or evaluate {self.name}:{self.hub} with the hub"
            records = folder_records(text, advice)
        return read_as(f"question of {self.name}", self.question, records, text)

    @property
    def _from_package(self) -> str:
        return f"python -m bltlab data {self.name}"

    def question(self, record: dict[str, Any]) -> Item:
        """A record of the hub as a context with its endings."""
        raise NotImplementedError


class ArcEasy(PublicSet):
    """ARC, the easy questions of school science (chance: 25)."""

    name = "arc-easy"
    text = "corpora/arc-easy"
    hub = "allenai/ai2_arc"
    config = "ARC-Easy"

    def question(self, record: dict[str, Any]) -> Item:
        """Three to five answers; the right one is named by its label."""
        endings = record["choices"]
        right = endings["label"].index(record["answerKey"])
        prompt = f"Question: {record['question']}\nAnswer:"
        return Item(prompt, Choices(tuple(endings["text"]), right))


class ArcChallenge(ArcEasy):
    """ARC, the hard questions of school science (chance: 25)."""

    name = "arc-challenge"
    text = "corpora/arc-challenge"
    config = "ARC-Challenge"


class Piqa(PublicSet):
    """PIQA: which of two ways reaches a goal (chance: 50)."""

    name = "piqa"
    text = "corpora/piqa"
    hub = "baber/piqa"
    hub_split = "validation"

    def question(self, record: dict[str, Any]) -> Item:
        """Two ways."""
        ways = record["sol1"], record["sol2"]
        prompt = f"Question: {record['goal']}\nAnswer:"
        return Item(prompt, Choices(ways, int(record["label"])))


class HellaSwag(PublicSet):
    """HellaSwag: how a scene goes on (chance: 25)."""

    name = "hellaswag"
    text = "corpora/hellaswag"
    hub = "Rowan/hellaswag"
    hub_split = "validation"

    def question(self, record: dict[str, Any]) -> Item:
        """Four ways to go on; the marks of how-to pages are left out."""
        begun = f"{record['ctx_a']} {record['ctx_b'].capitalize()}"
        prompt = without_marks(f"{record['activity_label']}: {begun}")
        endings = tuple(map(without_marks, record["endings"]))
        return Item(prompt, Choices(endings, int(record["label"])))


class Mmlu(PublicSet):
    """MMLU: four answers by their letters, 57 subjects (chance: 25)."""

    name = "mmlu"
    text = "corpora/mmlu"
    hub = "cais/mmlu"
    config = "all"

    def question(self, record: dict[str, Any]) -> Item:
        """The answers stand in the prompt, a letter before each."""
        subject = record["subject"].replace("_", " ")
        answers = zip(LETTERS, record["choices"], strict=True)
        lines = [
            f"The following are multiple choice questions (with answers) about {subject}.\n",
            record["question"].strip(),
            *(f"{letter}. {answer}" for letter, answer in answers),
            "Answer:",
        ]
        return Item("\n".join(lines), Choices(tuple(LETTERS), int(record["answer"])))


def without_marks(text: str) -> str:
    """A text of HellaSwag without what stands in square brackets, as everybody asks it.

    >>> without_marks("How to rest: [header] Lie down [title] Sleep. [step] Slowly.")
    'How to rest: Lie down. Sleep. Slowly.'
    """
    told = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", told).replace("  ", " ")
