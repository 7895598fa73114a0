"""HumanEval and MBPP: programs that a model wrote, run in the sandbox."""

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

from .. import sandbox
from ..intervals import pass_at
from ..records import Fields, folder_records, read_as
from ..summary import Row
from .base import Answers, Item, Task

DONE = "\n[DONE]"


@lru_cache(None)
def passes(program: str) -> bool:
    """Does a program run to its end? Each is run once."""
    return sandbox.run(program).passed


class Problems(Task):
    """What both share: a prompt, an answer up to where it stops, and the asserts behind it."""

    measure = "pass@1"
    runs_code = True
    recipe: ClassVar[str] = ""  # of `data`
    repeats_prompt: ClassVar[bool] = True  # does the answer go on with the prompt's code?
    shots: ClassVar[int] = 0

    def items(self, text: str) -> list[Item]:
        """The problems in a folder that `python -m bltlab data` made."""
        sandbox.prepare()
        advice = f"python -m bltlab data {self.recipe}"
        examples: list[str] = []
        if self.shots:
            examples = self._read(_example, folder_records(text, advice, "train"), text)
        examples = examples[: self.shots]
        if len(examples) < self.shots:
            raise ValueError(f"{text} has no {self.shots} examples: {advice}")
        before = "".join(examples)
        problems = self._read(_problem, folder_records(text, advice), text)
        return [Item(before + prompt, reference) for prompt, reference in problems]

    def _read(self, read: Callable, records: list[Fields], text: str) -> list:
        return read_as(f"problem of {self.recipe}", read, records, text)

    def program(self, item: Item, answer: str) -> str:
        """The answer without the text that stopped it, and what judges it."""
        ends = [answer.find(stop) for stop in self.stop if stop in answer]
        answer = answer[: min(ends, default=len(answer))]
        before = str(item.prompt) if self.repeats_prompt else ""
        return before + answer + item.reference["check"]

    def score(self, item: Item, answer: str) -> float:
        """1 where all asserts hold."""
        return float(passes(self.program(item, answer)))

    def figures(self, answers: Answers) -> Row:
        """pass@k, and how many of the references pass on this machine."""
        right = [self.score(item, item.reference["solution"]) for item in answers.items]
        row: Row = dict(references_passing=f"{sum(right):.0f} of {len(right)}")
        if answers.samples > 1:
            counts = [round(sum(scores)) for scores in answers.by_item]
            row[f"pass@{answers.samples}"] = 100 * pass_at(answers.samples, answers.samples, counts)
        return row


def _example(record: Fields) -> str:
    """A problem with its solution, as it stands before another one."""
    return f"{record['prompt']}{record['solution']}{DONE}\n"


def _problem(record: Fields) -> tuple[str, Row]:
    """Its prompt, and what an answer is judged by."""
    return record["prompt"], dict(solution=record["solution"], check=record["check"])


class HumanEval(Problems):
    """HumanEval, 0-shot: functions for a docstring, run in the sandbox."""

    name = recipe = "humaneval"
    text = "corpora/humaneval"
    limit = 164
    paper = ("humaneval",)
    max_new_bytes = 512
    stop = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\nassert")


class MBPP(Problems):
    """MBPP, 3-shot: functions for a sentence and its asserts, run in the sandbox."""

    name = recipe = "mbpp"
    text = "corpora/mbpp"
    paper = ("mbpp",)
    repeats_prompt = False
    shots = 3
    stop = (DONE, "\nassert", "\nprint", "\nYou are")


class MBPP0(MBPP):
    """MBPP, 0-shot, for models that the examples leave no room."""

    name = "mbpp-0"
    shots = 0
