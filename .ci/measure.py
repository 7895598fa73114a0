"""How dense the code is: `python .ci/measure.py [FOLDER ...] [--most 10]`.

For each folder with Python files: lines of code (no blank lines, comments or docstrings), syntax
nodes a line, comprehensions inside comprehensions for 100 lines, functions above the complexity
cap, annotated arguments. Then the most complex functions. Give two checkouts' folders to compare
them.

Complexity counts as radon does: one, and one more for each branch, loop, handler, case, condition
inside an expression, `and`/`or`, assertion and comprehension.
"""

import argparse
import ast
import io
import tokenize
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

CAP = 10
BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp, ast.Assert, ast.match_case)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (*FUNCTIONS, ast.ClassDef, ast.Module)


@dataclass
class Folder:
    """What was counted in one folder."""

    lines: int = 0
    nodes: int = 0
    nested: int = 0
    arguments: int = 0
    annotated: int = 0
    functions: list[tuple[int, str]] = field(default_factory=list)  # (complexity, "file.py: name")


def without_docstrings(tree: ast.Module) -> tuple[ast.Module, set[int]]:
    """The tree without docstrings, and the lines that they stood on."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            docstring = node.body.pop(0)
            lines.update(range(docstring.lineno, docstring.end_lineno + 1))
    return tree, lines


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code, not only a comment."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def complexity(function: ast.AST) -> int:
    """Cyclomatic complexity of a function; the functions inside it count for themselves."""
    count, waiting = 1, list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            continue
        count += isinstance(node, BRANCHES)
        if isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        if isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        waiting.extend(ast.iter_child_nodes(node))
    return count


def nested_comprehensions(tree: ast.Module) -> int:
    """How many comprehensions stand inside another one."""
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            inside = [inner for inner in ast.walk(node) if isinstance(inner, COMPREHENSIONS)]
            count += len(inside) > 1
    return count


def arguments_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """The arguments of a function that could carry a type: `self` and `cls` left out."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    found = [*named, *(extra for extra in (given.vararg, given.kwarg) if extra)]
    return [argument for argument in found if argument.arg not in ("self", "cls")]


def measure(path: Path, folder: Folder) -> None:
    """Add one file to the counts of its folder."""
    source = path.read_text(encoding="utf-8")
    tree, docstrings = without_docstrings(ast.parse(source))
    folder.lines += len(code_lines(source) - docstrings)
    folder.nodes += sum(1 for _ in ast.walk(tree))
    folder.nested += nested_comprehensions(tree)
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            arguments = arguments_of(node)
            folder.arguments += len(arguments)
            folder.annotated += sum(argument.annotation is not None for argument in arguments)
            folder.functions.append((complexity(node), f"{path}: {node.name}"))


def measured(roots: list[Path]) -> dict[str, Folder]:
    """Counts by folder, for all Python files below the roots."""
    folders: dict[str, Folder] = defaultdict(Folder)
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            measure(path, folders[str(path.parent)])
    return folders


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("roots", nargs="*", type=Path, default=[Path("bltlab"), Path("apps")])
    options.add_argument("--most", type=int, default=10, help="how many functions to list")
    options.add_argument("--check", action="store_true", help=f"exit 1 above {CAP}, of both kinds")
    arguments = options.parse_args()
    folders = measured(arguments.roots)
    print(f"{'folder':28}  lines  nodes/line  nested/100  above {CAP}  annotated")
    dense = []
    for name, folder in folders.items():
        above = sum(value > CAP for value, _ in folder.functions)
        per_line = folder.nodes / max(1, folder.lines)
        dense += [name] if per_line > CAP else []
        print(
            f"{name:28} {folder.lines:6,} {per_line:11.2f}"
            f" {100 * folder.nested / max(1, folder.lines):11.2f} {above:9}"
            f"  {folder.annotated} of {folder.arguments}"
        )
    functions = sorted((f for folder in folders.values() for f in folder.functions), reverse=True)
    print("\nmost complex functions")
    for value, name in functions[: arguments.most]:
        print(f"{value:4}  {name}")
    if arguments.check and (dense or (functions and functions[0][0] > CAP)):
        raise SystemExit(f"denser than {CAP} nodes a line, or more complex than {CAP}")


if __name__ == "__main__":
    main()
