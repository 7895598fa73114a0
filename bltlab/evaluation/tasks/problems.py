"""HumanEval and MBPP: programs that a model wrote, run in the sandbox.

The problems are those of the hub; a folder that `python -m bltlab data NAME` made holds the same.
"""

from functools import lru_cache
from typing import ClassVar

from .. import sandbox
from ..intervals import pass_at
from ..records import Fields, folder_records, hub_records, read_as
from ..summary import Row
from .base import Answers, Item, Task

DONE = "\n[DONE]"
HUB_SPLITS = {"train": "prompt", "test": "test"}  # as the hub calls them


@lru_cache(None)
def passes(program: str) -> bool:
    """Does a program run to its end? Each is run once."""
    return sandbox.run(program).passed


class Problems(Task):
    """What both share: a prompt, an answer up to where it stops, and the asserts behind it.

    hub, config: where the hub has them. examples: the ids of what stands before each problem.
    """

    measure = "pass@1"
    runs_code = True
    recipe: ClassVar[str] = ""  # of `data`
    hub: ClassVar[str] = ""
    config: ClassVar[str | None] = None
    examples: ClassVar[tuple[str, ...]] = ()
    repeats_prompt: ClassVar[bool] = True  # does the answer go on with the prompt's code?

    def items(self, text: str) -> list[Item]:
        """The problems in a folder, or on the hub where text is its name for them."""
        sandbox.prepare()
        before = self._told_before(text) if self.examples else ""
        problems = read_as(self._kind, _problem, self._records(text, "test"), text)
        return [Item(before + prompt, reference) for prompt, reference in problems]

    def asked(self, record: Fields) -> Fields:
        """A record of the hub as an id, a prompt, a solution, and the check of an answer."""
        raise NotImplementedError

    @property
    def _kind(self) -> str:
        return f"problem of {self.recipe}"

    @property
    def _from_package(self) -> str:
        return f"python -m bltlab data {self.recipe}"

    def _records(self, text: str, split: str) -> list[Fields]:
        if text == self.hub:
            found = hub_records(text, self.config, HUB_SPLITS[split], self._from_package)
            return read_as(self._kind, self.asked, found, text)
        advice = f"{self._from_package}, or evaluate {self.name}:{self.hub} with the hub"
        return folder_records(text, advice, split)

    def _told_before(self, text: str) -> str:
        """The examples with their solutions. Raises ValueError where one is missing."""
        told = dict(read_as(self._kind, _example, self._records(text, "train"), text))
        if not {*self.examples} <= {*told}:
            needed = len(self.examples)
            raise ValueError(f"{text} has not all {needed} examples: {self._from_package}")
        return "".join(told[id] for id in self.examples)

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


def _example(record: Fields) -> tuple[str, str]:
    """Its id, and a problem with its solution, as it stands before another one."""
    return record["id"], f"{record['prompt']}{record['solution']}{DONE}\n"


def _problem(record: Fields) -> tuple[str, Row]:
    """Its prompt, and what an answer is judged by."""
    return record["prompt"], dict(solution=record["solution"], check=record["check"])


class HumanEval(Problems):
    """HumanEval, 0-shot: functions for a docstring, run in the sandbox."""

    name = recipe = "humaneval"
    text = "corpora/humaneval"
    hub = "openai/openai_humaneval"
    limit = 164
    paper = ("humaneval",)
    max_new_bytes = 512
    stop = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\nassert")

    def asked(self, record: Fields) -> Fields:
        """A signature with its docstring, to be gone on with."""
        return dict(
            id=record["task_id"],
            prompt=record["prompt"],
            solution=record["canonical_solution"],
            check=f"\n{record['test']}\ncheck({record['entry_point']})\n",
        )


class MBPP(Problems):
    """MBPP, 3-shot: functions for a sentence and its asserts, run in the sandbox."""

    name = recipe = "mbpp"
    text = "corpora/mbpp"
    hub = "google-research-datasets/mbpp"
    config = "full"
    examples: ClassVar[tuple[str, ...]] = ("mbpp/2", "mbpp/3", "mbpp/4")
    paper = ("mbpp",)
    repeats_prompt = False
    stop = (DONE, "\nassert", "\nprint", "\nYou are")

    def asked(self, record: Fields) -> Fields:
        """A task in words and its asserts, as its authors asked it."""
        tests = "\n".join(record["test_list"])
        check = f"\n{record['test_setup_code']}\n{tests}\n"
        return dict(
            id=f"mbpp/{record['task_id']}",
            prompt=(
                f"You are an expert Python programmer, and here is your task: {record['text']} Your"
                f" code should pass these tests:\n\n{tests}\n[BEGIN]\n"
            ),
            solution=record["code"].replace("\r\n", "\n"),
            check=check.replace("\r\n", "\n"),
        )


class MBPP0(MBPP):
    """MBPP, 0-shot, for models that the examples leave no room."""

    name = "mbpp-0"
    examples = ()
