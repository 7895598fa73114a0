"""How the code is written, held by tests: simple functions, types and words on what is public."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bltlab

ROOT = Path(__file__).parent.parent
FILES = sorted(path for folder in ("bltlab", "apps") for path in (ROOT / folder).rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def public(tree, prefix=""):
    """(name, node) of the classes, functions and methods that a user may call."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")


def untyped(function):
    """What a signature leaves without a type: names of arguments, and "return"."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    named = [argument for argument in named if argument and argument.arg not in ("self", "cls")]
    missing = [argument.arg for argument in named if argument.annotation is None]
    return missing if function.returns else [*missing, "return"]


def test_no_function_is_complex_and_no_folder_dense():
    command = [sys.executable, ".ci/measure.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_public_says_what_it_is(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the file says nothing about itself"
    found = list(public(tree))
    assert [name for name, node in found if not ast.get_docstring(node)] == []
    functions = {name: untyped(node) for name, node in found if isinstance(node, FUNCTIONS)}
    assert {name: missing for name, missing in functions.items() if missing} == {}


def test_type_checkers_see_the_names_that_are_there():
    stub = ast.parse((ROOT / "bltlab" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module]
    names = {alias.asname for node in imports for alias in node.names}
    assert names == set(bltlab.__all__)


def answers():
    """The answers of CONTRIBUTING.md: (question, the files it links, the names it gives)."""
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        question, _, answer = section.partition("\n")
        if question.endswith("?"):
            links = re.findall(r"\]\(\.\./([^)#]+)\)", answer)
            yield question, links, re.findall(r"(?<!\[)`(\w+)`", answer)


@pytest.mark.parametrize("question, links, names", answers(), ids=lambda value: str(value)[:40])
def test_an_answer_names_what_is_there(question, links, names):
    """Every file exists, and every name stands in one of the files that the answer links."""
    assert links and names
    assert [link for link in links if not (ROOT / link).is_file()] == []
    text = "\n".join((ROOT / link).read_text(encoding="utf-8") for link in links)
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_the_tests_that_robustness_names_are_there():
    text = (ROOT / ".github" / "ROBUSTNESS.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py")]
    known = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 60 and named <= known, named - known
