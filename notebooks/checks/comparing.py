"""How a check compares a learner's function with the library's, and how exercises are declared."""

import copy
import dis
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

Answer = Callable[..., Any]  # a learner's function, or the library's beside it
Describe = Callable[..., str]  # the arguments of a call -> "the text 'Hi'"


class Refused(AssertionError):
    """What was wrong, in a few lines; a notebook shows those and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


# -- declaring -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exercise:
    """An exercise: its number, its check, and typical wrong answers by what is wrong with them."""

    number: str
    check: Callable[[Answer], None]
    wrong: dict[str, Answer]


EXERCISES: dict[str, Exercise] = {}  # by the name of the check


def exercise(number: str, wrong: dict[str, Answer]) -> Callable:
    """Declare the check below it as that of an exercise.

    wrong: at least three typical wrong answers, each with what is wrong as the end of "That is what
    you get if ...". A check that refuses such an answer says so, and tests hold that it does.
    """

    def declare(check: Callable[[Answer], None]) -> Callable[[Answer], None]:
        name = check.__name__
        EXERCISES[name] = Exercise(number, check, wrong)

        @functools.wraps(check)
        def run(yours: Answer) -> None:
            if is_empty(yours):
                print(f"{number} {name}: not answered yet")
            else:
                check(yours)

        return run

    return declare


def is_empty(function: Any) -> bool:
    """Has a function no body but `...`, `pass` or a docstring?

    >>> def nothing(text): ...
    >>> is_empty(nothing), is_empty(lambda text: text)
    (True, False)
    """
    if not hasattr(function, "__code__"):
        return False
    steps = list(dis.get_instructions(function))
    loads = [step.argval for step in steps if "CONST" in step.opname]
    known = {"RESUME", "NOP", "RETURN_VALUE"}
    return loads == [None] and all("CONST" in s.opname or s.opname in known for s in steps)


# -- comparing -------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Tensors, arrays and tuples as lists: how a result is wrapped does not matter.

    >>> import torch
    >>> plain((torch.tensor([1, 2]), 3))
    [[1, 2], 3]
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def same(a: Any, b: Any) -> bool:
    """Are two plain values equal? Floats may differ as those of 32 bits do.

    >>> same([1, 0.1 + 0.2], [1, 0.3]), same([1], [1, 2]), same(0.1, 0.1001)
    (True, False, False)
    """
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if not (isinstance(a, float) or isinstance(b, float)):
        return a == b
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    return numbers and math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5)


def say(value: Any) -> str:
    """A value as it stands in a sentence: flags as 0 and 1, floats to 4 digits.

    >>> say([True, 1 / 3, "a"]), say(ValueError("no"))
    ("[1, 0.3333, 'a']", 'raised ValueError: no')
    """
    value = plain(value)
    if isinstance(value, Exception):
        return f"raised {type(value).__name__}: {value}"
    if isinstance(value, list):
        return f"[{', '.join(map(say, value))}]"
    if isinstance(value, bool):
        return str(int(value))
    return f"{value + 0:.4g}" if isinstance(value, float) else repr(value)


def run(yours: Answer, arguments: tuple) -> Any:
    """What the learner's function returns, or the exception that it raised. It gets copies."""
    try:
        return plain(yours(*copy.deepcopy(arguments)))
    except Exception as error:
        return error


def refuse(name: str, told: str, given: str, yours: Any, wanted: Any, because: str = "") -> None:
    """Raise `Refused`: what was given, what the learner's function said, and what was wanted.

    told: the first line. because: what is wrong, the end of "That is what you get if ...".
    """
    lines = [f"{name}: {told}"]
    for word, value in (("given", given), ("yours", say(yours)), ("wanted", wanted)):
        shown = value if isinstance(value, str) else say(value)
        lines += wrap(shown, 88, initial_indent=f"  {word:<7}", subsequent_indent=" " * 9)
    if because:
        because = f"That is what you get if {because}."
        lines += wrap(because, 88, initial_indent="  ", subsequent_indent="  ")
    raise Refused("\n".join(lines))


TRIED = 12  # cases on which a known wrong answer must give what yours gives


@dataclass(frozen=True)
class Difference:
    """A case, in words too, where the learner's result is not the one that was wanted."""

    case: tuple
    given: str
    result: Any
    wanted: Any

    def size(self) -> int:
        """How much there is to read."""
        return max(len(self.given), len(repr(plain(self.case))))


def compare(
    name: str, yours: Answer, library: Answer, cases: list[tuple], describe: Describe
) -> None:
    """Call yours and the library's with every case; the shortest that differs is shown.

    describe(*case): its arguments in words.
    """
    differing = []
    for case in cases:
        result = run(yours, case)
        wanted = plain(library(*case))
        if not same(result, wanted):
            differing.append(Difference(case, describe(*case), result, wanted))
    if not differing:
        print(f"{name}: yours agrees with the library on {len(cases)} cases")
        return
    agreed = len(cases) - len(differing)
    told = f"yours agrees on {agreed} of {len(cases)} cases. The shortest of the others:"
    differing.sort(key=Difference.size)
    shown = differing[0]
    refuse(name, told, shown.given, shown.result, shown.wanted, _bug(name, differing[:TRIED]))


def _bug(name: str, differing: list[Difference]) -> str:
    """Which of the known wrong answers gives all these results too."""
    for because, wrong in EXERCISES[name].wrong.items():
        found = [run(wrong, one.case) for one in differing]
        readable = not any(isinstance(result, Exception) for result in found)
        if readable and same(found, [one.result for one in differing]):
            return because
    return ""
