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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ... import data
from ...model import BLT
from ..intervals import Estimate, mean_of
from ..prompts import Pair, pairs_of
from ..summary import Row, table


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
    text: the corpus that is asked about. paper: the tasks of the paper that it is kin to, as
    `report/paper_tables.csv` names them. runs_code: does it run what a model wrote? Then it needs
    --allow-code-execution. methods: what is compared where no method is named; without, all that a
    model can run. stop: what ends an answer.

    The others are settings; where one is given, the task that is asked has it instead.
    limit: how many items, None for all. split: of the corpus, where it has_splits; None is the test
    split, or all of a corpus without. judge: the model that says how likely the text is.
    """

    name: ClassVar[str] = ""
    measure: ClassVar[str] = "score"
    percent: ClassVar[bool] = True
    text: ClassVar[str] = ""
    paper: ClassVar[tuple[str, ...]] = ()
    runs_code: ClassVar[bool] = False
    has_splits: ClassVar[bool] = False
    methods: ClassVar[tuple[str, ...]] = ()
    stop: tuple[str, ...] = ()
    limit: int | None = 500
    split: str | None = None
    judge: str | None = None
    max_new_bytes: int = 256
    temperature: float = 0.0
    top_p: float | tuple[float, ...] = 1.0  # several: each is asked
    samples: int = 1

    @property
    def help(self) -> str:
        """The first line of what the class says about itself."""
        said = (type(self).__doc__ or "").strip()
        return said.partition("\n")[0].rstrip(".")

    def items(self, text: str) -> list[Item]:
        """All items there are. text: a corpus, folder or file, `self.text` by default."""
        raise NotImplementedError

    def split_of(self, text: str) -> str:
        """The split that is asked about."""
        return self.split or data.held_out_split(text)

    def documents(self, text: str) -> Iterator[str]:
        """The documents of a corpus that are asked about."""
        return data.documents(text, self.split_of(text))

    def pairs(self, text: str) -> list[Pair]:
        """The same as pairs. Raises ValueError where they are none."""
        return pairs_of(self.documents(text))

    def score(self, item: Item, answer: str) -> float:
        """How good one answer is, 1 for a right one."""
        raise NotImplementedError

    def estimate(self, answers: Answers) -> Estimate:
        """The score of all answers and its 95 % interval: by default the mean over items."""
        return mean_of(answers.means)

    def figures(self, answers: Answers) -> Row:
        """What else there is to say about all answers, as plain values by name."""
        return {}

    def told(self, rows: Sequence[Row]) -> str:
        """Its rows as a table to print, and how metrics were set."""
        lines: list[Row] = []
        signatures: dict[str, None] = {}
        for row in rows:
            line = {"method": row["method"], self.measure: row["score"]}
            for name, value in row["figures"].items():
                if name.endswith("_signature"):
                    signatures[value] = None
                else:
                    line[name] = value
            lines.append(line | (row.get("relative") or {}))
        return "\n".join([table(lines), *signatures])


class Reading(Task):
    """A task that a model reads and does not write: it has one row a model, whatever the method."""

    def read(self, model: BLT, items: Sequence[Item]) -> Iterable[Row]:
        """What the model makes of each item, in their order: its `score`, and numbers by name."""
        raise NotImplementedError

    def estimate_of(self, read: Sequence[Row]) -> Estimate:
        """The score of all that was read: by default the mean over items."""
        return mean_of([one["score"] for one in read])

    def figures_of(self, items: Sequence[Item], read: Sequence[Row]) -> Row:
        """What else there is to say: by default the mean of each other number."""
        names = [name for name in read[0] if name != "score"]
        return {name: mean_of([one[name] for one in read]).score for name in names}
