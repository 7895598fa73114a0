"""Translation: exact answers, and how near the others come, by sacrebleu.

spBLEU, which the paper prints, needs sentencepiece and its tokenizer's file: where it lies, the
variable BLTLAB_FLORES101 says, unless sacrebleu has it already. Nothing is fetched.
"""

from typing import ClassVar

from .. import metrics
from ..summary import Row
from .base import Answers, Item, Task


class Translation(Task):
    """Pairs of lines, French or German and English: exact answers, BLEU, spBLEU and chrF."""

    name = "translation"
    measure = "exact"
    text = "phrases"
    has_splits = True
    paper: ClassVar[tuple[str, ...]] = ("translation fr-en", "translation de-en")
    stop = ("\n",)

    def items(self, text: str) -> list[Item]:
        """The pairs of a corpus. Raises ValueError where they could not be scored."""
        metrics.translation_metrics()
        return [Item(pair.prompt, pair.answer) for pair in self.pairs(text)]

    def score(self, item: Item, answer: str) -> float:
        """1 for the very line."""
        return float(answer.strip() == item.reference.strip())

    def figures(self, answers: Answers) -> Row:
        """sacrebleu's scores with their intervals, and p against autoregression."""
        right = [item.reference.strip() for item in answers.asked]
        return metrics.translation_figures(answers.texts, right, answers.base)
