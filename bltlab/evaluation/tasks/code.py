"""One-line functions: is what a model wrote worth the same as the reference?"""

from typing import Any

from ..expressions import Refused, value_of
from ..intervals import pass_at
from ..summary import Row
from .base import Answers, Item, Task

# What the functions are called with: their asserts.
VALUES: dict[str, list[Any]] = {
    "xs": [
        [],
        [4, -7, 12, 5, 5, 0, 9, 2, -3, 8, 6, 7, 3],
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        [-12, -5, 18, 27, 3, 3, 40, -8],
        [30, 21, 14, 11, 2],
    ],
    "s": [
        "",
        "  The Rain in Spain, 3 Times ",
        "oranges and a Stone 42 near it",
        "noon",
        "otters stir 7 tins; ten Iris roots",
    ],
    "ws": [
        [],
        ["stone", "air", "Tree", "a", "rain", "orange", "air", "otter"],
        ["in", "the", "Nine", "roses", "it", "stirs", "snow"],
        ["e", "io", "noon", "tin", "at"],
    ],
}


class Code(Task):
    """One-line functions for a sentence: those that pass their asserts (no code is run)."""

    name = "code"
    measure = "pass@1"
    text = "functions"
    has_splits = True
    paper = ("humaneval", "mbpp")
    limit = 300
    stop = ("\n",)

    def items(self, text: str) -> list[Item]:
        """The functions of a corpus. Raises ValueError for other text."""
        items = [Item(pair.prompt, pair.answer) for pair in self.pairs(text)]
        for item in items:
            _argument_of(item)
        return items

    def score(self, item: Item, answer: str) -> float:
        """1 where the answer has the value of the reference for every input."""
        pairs = zip(values_of(item, item.reference), values_of(item, answer), strict=True)
        return float(all(right is not None and right == got for right, got in pairs))

    def figures(self, answers: Answers) -> Row:
        """pass@k, answers that are the reference itself, references that pass."""
        pairs = zip(answers.asked, answers.texts, strict=True)
        same = [text.strip() == item.reference for item, text in pairs]
        passing = [self.score(item, item.reference) for item in answers.items]
        row: Row = dict(exact_percent=100 * sum(same) / len(same))
        row["references_passing"] = f"{sum(passing):.0f} of {len(passing)}"
        if answers.samples > 1:
            counts = [round(sum(scores)) for scores in answers.by_item]
            row[f"pass@{answers.samples}"] = 100 * pass_at(answers.samples, answers.samples, counts)
        return row


def _argument_of(item: Item) -> str:
    """The name of what a function takes: f(NAME)."""
    name = str(item.prompt).partition("(")[2].partition(")")[0]
    if name not in VALUES:
        raise ValueError(f"a function of the code task takes one of {', '.join(VALUES)}")
    return name


def values_of(item: Item, body: str) -> list[tuple[Any] | None]:
    """(value,) of a body for every input of its function; None where it has none."""
    name = _argument_of(item)
    found: list[tuple[Any] | None] = []
    for given in VALUES[name]:
        try:
            found.append((value_of(body, {name: given}),))
        except Refused:
            found.append(None)
    return found


def asserts_of(item: Item) -> str:
    """The same as Python, for whoever runs it elsewhere."""
    lines = []
    values = values_of(item, item.reference)
    for given, value in zip(VALUES[_argument_of(item)], values, strict=True):
        if value is not None:
            lines.append(f"assert f({given!r}) == {value[0]!r}\n")
    return "".join(lines)
