"""A small calculator for one-line Python bodies: it reads the syntax tree and runs no code.

It knows what the corpus `functions` is made of and a little around it: numbers, text, lists,
comprehensions, slices, comparisons, a dozen functions and the methods of text. All else is refused,
and so is what grows large, whoever wrote it: nothing is imported, called by name or looked up in
this process.

>>> value_of("sum([x for x in xs if x % 2 == 0])", {"xs": [1, 2, 3, 4]})
6
>>> value_of("__import__('os').getpid()", {})
Traceback (most recent call last):
bltlab.evaluation.expressions.Refused: __import__ is not among the functions it knows
"""

import ast
import operator
import warnings
from collections.abc import Callable
from typing import Any

STEPS = 20_000  # nodes evaluated for one value
ITEMS = 4_000  # of a list and the lists inside, or of a text
LARGEST = 10**12  # a number
POWER = 12  # the largest exponent

Names = dict[str, Any]
Table = dict[type, Callable[..., Any]]

OPERATORS: Table = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
SIGNS: Table = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
COMPARISONS: Table = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
CONSTANTS = (int, str, type(None))
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "all": all,
    "any": any,
    "bool": bool,
    "dict.fromkeys": dict.fromkeys,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "sorted": sorted,
    "str": str,
    "sum": lambda numbers: sum(map(operator.index, numbers)),  # of text and lists: a TypeError
}
KEYS: dict[str, Callable[..., Any]] = {"len": len, "abs": abs, "str": str}
OPTIONS = ("key", "default", "reverse")
METHODS: dict[type, str] = {
    str: "capitalize count endswith find isalpha isdigit islower isupper join lower lstrip replace"
    " rstrip split startswith strip swapcase title upper",
    list: "count index",
}


class Refused(ValueError):
    """An expression that the calculator does not take, in words."""


def value_of(expression: str, names: Names) -> Any:
    """The value of an expression over some names.

    Raises `Refused` for what is not Python, not known here, too large, or fails.
    """
    try:
        return _Calculator().value(_parsed(expression), names)
    except Refused:
        raise
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Refused(f"it fails: {error}") from None
    except (SyntaxError, MemoryError):  # the parser's, of what is nested too deeply
        raise Refused("it is not Python") from None


def _parsed(expression: str) -> ast.expr:
    with warnings.catch_warnings(action="ignore"):  # of what Python takes for a slip
        return ast.parse(expression.strip(), mode="eval").body


class _Calculator:
    """Evaluates nodes, and counts them."""

    def __init__(self) -> None:
        self.steps = 0

    def value(self, node: ast.expr, names: Names) -> Any:
        """The value of a node. Raises `Refused`."""
        self.steps += 1
        if self.steps > STEPS:
            raise Refused("it takes too long")
        kind = type(node).__name__
        evaluate = getattr(self, f"_{kind}", None)
        if evaluate is None:
            raise Refused(f"{kind} is not known here")
        return _checked(evaluate(node, names))

    def _Constant(self, node: ast.Constant, names: Names) -> Any:
        if not isinstance(node.value, CONSTANTS):
            raise Refused(f"{node.value!r} is not known here")
        return node.value

    def _Name(self, node: ast.Name, names: Names) -> Any:
        if node.id not in names:
            raise Refused(f"the name {node.id} is not known here")
        return names[node.id]

    def _List(self, node: ast.List, names: Names) -> list:
        return [self.value(item, names) for item in node.elts]

    def _UnaryOp(self, node: ast.UnaryOp, names: Names) -> Any:
        return _known(SIGNS, node.op)(self.value(node.operand, names))

    def _BinOp(self, node: ast.BinOp, names: Names) -> Any:
        left = self.value(node.left, names)
        right = self.value(node.right, names)
        if isinstance(node.op, ast.Mod) and isinstance(left, str):
            raise Refused("formatting is not known here")
        if isinstance(node.op, ast.Pow) and not 0 <= right <= POWER:
            raise Refused("the exponent is too large")
        if isinstance(node.op, ast.Mult):
            _check_product(left, right)
        return _known(OPERATORS, node.op)(left, right)

    def _BoolOp(self, node: ast.BoolOp, names: Names) -> Any:
        stops = isinstance(node.op, ast.Or)  # at the first value that is true
        for part in node.values:
            found = self.value(part, names)
            if bool(found) == stops:
                break
        return found

    def _Compare(self, node: ast.Compare, names: Names) -> bool:
        left = self.value(node.left, names)
        for op, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other, names)
            if not _known(COMPARISONS, op)(left, right):
                return False
            left = right
        return True

    def _IfExp(self, node: ast.IfExp, names: Names) -> Any:
        chosen = node.body if self.value(node.test, names) else node.orelse
        return self.value(chosen, names)

    def _Subscript(self, node: ast.Subscript, names: Names) -> Any:
        whole = self.value(node.value, names)
        if not isinstance(node.slice, ast.Slice):
            return whole[self.value(node.slice, names)]
        ends = (node.slice.lower, node.slice.upper, node.slice.step)
        values = [None if end is None else self.value(end, names) for end in ends]
        return whole[slice(*values)]

    def _ListComp(self, node: ast.ListComp, names: Names) -> list:
        source, *more = node.generators
        if more or not isinstance(source.target, ast.Name):
            raise Refused("a comprehension has one name and one source here")
        found = []
        for item in self.value(source.iter, names):
            inner = names | {source.target.id: item}
            if all(self.value(condition, inner) for condition in source.ifs):
                found.append(self.value(node.elt, inner))
        return found

    def _Call(self, node: ast.Call, names: Names) -> Any:
        name = ast.unparse(node.func)
        given = [self.value(argument, names) for argument in node.args]
        options = {word.arg: self._option(word, names) for word in node.keywords}
        if name in FUNCTIONS:
            return FUNCTIONS[name](*given, **options)
        if not isinstance(node.func, ast.Attribute) or options:
            raise Refused(f"{name} is not among the functions it knows")
        whole, method = self.value(node.func.value, names), node.func.attr
        if method not in METHODS.get(type(whole), "").split():
            raise Refused(f"{method} is not among the methods it knows")
        _check_growth(whole, given)
        return getattr(whole, method)(*given)

    def _option(self, word: ast.keyword, names: Names) -> Any:
        """The value of a keyword argument; a key is one of three functions."""
        if word.arg not in OPTIONS:
            raise Refused(f"the option {word.arg} is not known here")
        if word.arg == "key":
            return KEYS[ast.unparse(word.value)]
        return self.value(word.value, names)


def _known(table: Table, op: ast.AST) -> Callable:
    if type(op) not in table:
        raise Refused(f"{type(op).__name__} is not known here")
    return table[type(op)]


def _size(value: Any) -> int:
    """How much a value holds: characters of a text, items of a list and all that is in them."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, (list, dict)):
        return len(value) + sum(map(_size, value))
    return 1


def _check_product(left: Any, right: Any) -> None:
    """Raises `Refused` where a text or a list would be repeated too often."""
    for whole, times in ((left, right), (right, left)):
        if isinstance(whole, (str, list)) and _size(whole) * times > ITEMS:
            raise Refused("it grows too large")


def _check_growth(whole: Any, given: list[Any]) -> None:
    """Raises `Refused` where a method could make much of what it is given."""
    most = 1 + _size(whole)
    for argument in given:
        most *= 1 + _size(argument)
    if most > ITEMS * ITEMS:
        raise Refused("it grows too large")


def _checked(value: Any) -> Any:
    """The value. Raises `Refused` where it is too large."""
    if _size(value) > ITEMS:
        raise Refused("it grows too large")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise Refused("a number grows too large")
    return value
