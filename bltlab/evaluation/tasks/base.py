"""What a task of `python -m bltlab evaluate TASK,...` is.

A new one is a file in this folder with one class, and no other file is touched: its name is then
known to the command line, the rows and the report. `--help` shows the class's first line.

    from .base import Answers, Item, Task

    class Backwards(Task):
        '''Words written backwards.'''

        name = "backwards"
        measure = "exact"
        stop = ("\\n",)

        def items(self, text):
            return [Item(f"{word}:", word[::-1]) for word in ("stone", "air", "orange")]

        def score(self, item, answer):
            return float(answer.strip() == item.reference)

A file of one's own anywhere does as well: `evaluate backwards:Backwards --model ...`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...model import BLT
from ..intervals import Estimate, mean_of
from ..summary import Row


@dataclass(frozen=True)
class Item:
    """One question: what a model reads, and what is right, in whatever form its task takes."""

    prompt: str | bytes
    reference: Any = None


@dataclass(frozen=True)
class Answers:
    """What one method wrote: for each item `samples` texts in a row, and a score for each text.

    base: what autoregression wrote for the same items, None where this is it.
    """

    items: Sequence[Item]
    texts: Sequence[str]
    scores: Sequence[float]
    samples: int = 1
    base: Sequence[str] | None = None

    @property
    def by_item(self) -> list[Sequence[float]]:
        """The scores of each item."""
        starts = range(0, len(self.scores), self.samples)
        return [self.scores[at : at + self.samples] for at in starts]

    @property
    def means(self) -> list[float]:
        """The mean score of each item: what is drawn again for an interval."""
        return [sum(scores) / len(scores) for scores in self.by_item]

    @property
    def asked(self) -> list[Item]:
        """The item of each text."""
        return [self.items[i // self.samples] for i in range(len(self.texts))]


class Task:
    """One way to ask how good a model is.

    name: as the command line has it. measure: what the score is called; percent: is it a share?
    text: the corpus that is asked about. limit: how many items unless more are asked for.
    paper: the tasks of the paper that it is kin to, as `report/paper_tables.csv` names them.
    runs_code: does it run what a model wrote? Then it needs --allow-code-execution.
    The others are settings of decoding, where none is given.
    """

    name: ClassVar[str] = ""
    measure: ClassVar[str] = "score"
    percent: ClassVar[bool] = True
    text: ClassVar[str] = ""
    limit: ClassVar[int] = 500
    paper: ClassVar[tuple[str, ...]] = ()
    runs_code: ClassVar[bool] = False
    stop: ClassVar[tuple[str, ...]] = ()
    max_new_bytes: ClassVar[int] = 256
    temperature: ClassVar[float] = 0.0
    samples: ClassVar[int] = 1

    @property
    def help(self) -> str:
        """The first line of what the class says about itself."""
        said = (type(self).__doc__ or "").strip()
        return said.partition("\n")[0].rstrip(".")

    def items(self, text: str) -> list[Item]:
        """All items there are. text: a corpus, folder or file, `self.text` by default."""
        raise NotImplementedError

    def score(self, item: Item, answer: str) -> float:
        """How good one answer is, 1 for a right one."""
        raise NotImplementedError

    def estimate(self, answers: Answers) -> Estimate:
        """The score of all answers and its 95 % interval: by default the mean over items."""
        return mean_of(answers.means)

    def figures(self, answers: Answers) -> Row:
        """What else there is to say about all answers, as plain values by name."""
        return {}


class Reading(Task):
    """A task that a model reads and does not write: it has one row a model, whatever the method."""

    def read(self, model: BLT, item: Item) -> Row:
        """What the model makes of one item: its `score`, and other numbers by name."""
        raise NotImplementedError
