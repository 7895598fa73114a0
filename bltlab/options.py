"""What an option is: a dataclass field with its help and its limits, described once and checked in
one place.

A method, a rule and a training run are dataclasses whose fields are options. The command line makes
flags of them, the app and the notebook make controls, traces and links carry their values:

    @dataclass(frozen=True)
    class Lookup:
        length: int = option(4, "bytes to look up", min=1, max=64)

    options_of(Lookup)["length"].parse("8")      # 8, checked
    build(Lookup, {"length": "8"})               # Lookup(length=8)
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType
from typing import Any

KINDS = {int: "an int", float: "a number", bool: "true or false", str: "a text"}
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def option(default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field that is an option.

    limits: `min` and `max` of a number, both included; `choices`, a tuple of texts; `kind`, the
    type of an option whose default is None, which then stands for "left open"; `rules`, the named
    small dataclasses of which the value is one, or an object of another class that can be called.
    """
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class Option:
    """One field of a dataclass as a person meets it.

    kind: int, float, bool or str; None for a rule.
    """

    name: str
    kind: type | None
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple = ()
    rules: dict[str, type] | None = None

    @property
    def may_be_open(self) -> bool:
        """May the value be None, so that the model or the preset decides?"""
        return self.default is None

    @property
    def is_choice(self) -> bool:
        """Is one of a few words chosen? A yes or no that may be left open has three."""
        return bool(self.choices) or (self.kind is bool and self.may_be_open)

    @property
    def opens_at_zero(self) -> bool:
        """Does 0 on a slider stand for None? So it is where 0 itself is out of range."""
        bounded = self.low is not None and self.high is not None
        return self.may_be_open and self.kind is int and bounded and self.low > 0

    @property
    def offered(self) -> dict[str, type]:
        """The rules that a control offers, by name; the class of the default is among them."""
        rules = dict(self.rules or {})
        own = type(self.default)
        if self.rules is not None and is_dataclass(own) and own not in rules.values():
            rules[home_of(own)] = own
        return rules

    def name_of_rule(self, rule: Any) -> str | None:
        """The name that `offered` has for the class of a rule, None if it is not among them."""
        for name, kind in self.offered.items():
            if type(rule) is kind:
                return name
        return None

    @property
    def accepted(self) -> str:
        """What the value may be, in words: "an int in 1..32"."""
        if self.rules is not None:
            return "a rule such as " + ", ".join(
                map(format_rule_of, map(_sample, self.rules.items()))
            )
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        return KINDS[self.kind] + _range_in_words(self.low, self.high)

    def check(self, value: Any) -> Any:
        """The value, a number as Python's own.

        Raises ValueError or TypeError, in one sentence, where it is not accepted.
        """
        value = plain_number(value)
        if value is None and self.may_be_open:
            return value
        if self.rules is not None:
            if isinstance(value, type) or not callable(value):
                raise TypeError(f"{self.name} must be a rule such as {self.default}, got {value!r}")
            return value
        if not self._fits(value):
            raise ValueError(f"{self.name} must be {self.accepted}, got {value!r:.80}")
        return value

    def _fits(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.kind is float and type(value) is int:
            return self._in_range(value)
        return type(value) is self.kind and self._in_range(value)

    def _in_range(self, value: Any) -> bool:
        if self.kind in (bool, str):
            return True
        above = self.low is None or value >= self.low
        below = self.high is None or value <= self.high
        return is_finite(value) and above and below

    def parse(self, text: Any, load: bool = False) -> Any:
        """A value from text, as a flag, a link or a trace has it; other values are only checked.

        load: may the text name a class in a file, which is then run? For what the user typed only.

        >>> Option("threshold", float, 0.7, "", 0, 1).parse("0.9")
        0.9

        Raises ValueError or TypeError where it is not accepted.
        """
        if not isinstance(text, str) or (self.kind is str and not self.choices):
            return self.check(text)
        if self.may_be_open and text.lower() in ("", "none"):
            return None
        if self.rules is not None:
            return parse_rule_of(text, self.rules if load else self.offered, self.name, load)
        return self.check(self._converted(text))

    def _converted(self, text: str) -> Any:
        try:
            if self.kind is bool:
                return WORDS[text.lower()]
            return self.kind(text)
        except (ValueError, KeyError):
            return text

    def plain(self, value: Any) -> Any:
        """The value as JSON holds it: a rule as its text. `parse` reads it back."""
        return format_rule_of(value) if self.rules is not None else value


def is_finite(value: Any) -> bool:
    """Is it a number that a float can hold?

    >>> is_finite(1), is_finite(float("inf")), is_finite(10**400), is_finite("1")
    (True, False, False, False)
    """
    try:
        return isfinite(value)
    except (TypeError, OverflowError):
        return False


def plain_number(value: Any) -> Any:
    """A number as Python's own int or float, numpy's too; anything else, and a bool, as it is.

    >>> plain_number(True), plain_number("3"), plain_number(3)
    (True, '3', 3)
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _range_in_words(low: float | None, high: float | None) -> str:
    """
    >>> _range_in_words(1, None), _range_in_words(0.0, 1.0), _range_in_words(0, 2**31 - 1)
    (' of at least 1', ' in 0..1', ' in 0..2147483647')
    """
    if low is None:
        return "" if high is None else f" of at most {high:.12g}"
    return f" of at least {low:.12g}" if high is None else f" in {low:.12g}..{high:.12g}"


def _sample(entry: tuple[str, type]) -> Any:
    """A rule of this name with its defaults."""
    return entry[1]()


def options_of(kind: Any) -> dict[str, Option]:
    """The options of a dataclass, or of an object of one, by name and in order.

    Raises TypeError for a class that is no dataclass and for a field that no flag could carry.
    """
    if not is_dataclass(kind):
        raise TypeError(f"{_name_of(kind)} must be a dataclass: its fields are its options")
    owner = kind if isinstance(kind, type) else type(kind)
    return {f.name: _option_of(f, owner) for f in fields(kind) if f.init}


def _option_of(f: Field, owner: type) -> Option:
    told = f.metadata
    default = f.default_factory() if f.default_factory is not MISSING else f.default
    if default is MISSING:
        raise TypeError(f"option {f.name} of {owner.__name__} needs a default")
    rules = told.get("rules")
    kind = None if rules is not None else told.get("kind", type(default))
    if rules is None and kind not in KINDS:
        raise TypeError(
            f"option {f.name} of {owner.__name__} must be an int, a float, a bool, a text or a"
            f" rule, got {kind.__name__}"
        )
    return Option(
        name=f.name,
        kind=kind,
        default=default,
        help=told.get("help", ""),
        low=told.get("min"),
        high=told.get("max"),
        choices=tuple(told.get("choices", ())),
        rules=rules,
    )


def check_options(holder: Any) -> None:
    """Check all options of an object; for `__post_init__`.

    Raises ValueError or TypeError in one sentence.
    """
    for name, one in options_of(holder).items():
        object.__setattr__(holder, name, one.check(getattr(holder, name)))  # it may be frozen


def build(kind: type, given: Mapping[str, Any], title: str = "", load: bool = False) -> Any:
    """An object of the dataclass from options by name, as values or as text.

    load: may text name a class in a file of the user's own, which is then run?
    Raises ValueError, naming what there is, for an option that it does not have or a value out of
    range.
    """
    known = options_of(kind)
    for name in given:
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise ValueError(f"{title or kind.__name__} has no option {name}; it has {has}")
    values = {name: known[name].parse(value, load) for name, value in given.items()}
    return kind(**values)


def plain_options(holder: Any) -> dict[str, Any]:
    """The options of an object as JSON holds them; `build` reads them back."""
    return {name: one.plain(getattr(holder, name)) for name, one in options_of(holder).items()}


# -- rules: small dataclasses that are written as one word, "confidence:0.7" -----------------------


def parse_rule_of(
    text: str, rules: dict[str, type], what: str = "a rule", load: bool = False
) -> Any:
    """A rule from "name", "name:value:value" or "name:field=value"; also "module:Class:value".

    rules: the classes that have a short name. load: import a class that was not used before, and
    add it to them. Raises ValueError with the accepted forms.
    """
    try:
        kind, values = _rule_kind(text, rules, load)
        return build(kind, _named(kind, values))
    except (ValueError, TypeError) as error:
        known = ", ".join(format_rule_of(_sample(entry)) for entry in rules.items())
        raise ValueError(f"{what} must be one of {known}, got {text!r}: {error}") from None


def _rule_kind(text: str, rules: dict[str, type], load: bool) -> tuple[type, list[str]]:
    """The class that a rule's text names, and the values behind it. Raises ValueError for none."""
    drive, rest = _drive_apart(text)
    name, *values = rest.split(":")
    name = drive + name
    if name in rules:
        return rules[name], values
    where = f"{name}:{values[0]}" if values else name
    if where not in rules:
        if not values or not load:
            raise ValueError(f"there is none named {where!r}")
        kind = load_class(where)
        rules[where] = rules[home_of(kind)] = kind
    return rules[where], values[1:]


def _drive_apart(text: str) -> tuple[str, str]:
    """(drive, rest) of a text that may begin with a path of Windows.

    The colon behind a drive does not stand between values.

    >>> _drive_apart("C:/rules.py:Mine:0.5"), _drive_apart("topk:2")
    (('C:', '/rules.py:Mine:0.5'), ('', 'topk:2'))
    """
    has_drive = re.match(r"[A-Za-z]:[\\/]", text)
    return (text[:2], text[2:]) if has_drive else ("", text)


def _named(kind: type, values: list[str]) -> dict[str, str]:
    """Values in the order of the fields, or "field=value", as a dict by name."""
    names = list(options_of(kind))
    if len(values) > len(names):
        raise ValueError(f"it has {len(names)} options, got {len(values)} values")
    given = {}
    for position, value in enumerate(values):
        name, equals, rest = value.partition("=")
        given[name if equals else names[position]] = rest if equals else value
    return given


def format_rule_of(rule: Any) -> str:
    """The text that `parse_rule_of` reads.

    A rule's class says its short name as `name`; another one goes by "module:Class". What is no
    dataclass shows as its repr.
    """
    if not is_dataclass(rule):
        return repr(rule)
    kind = type(rule)
    name = getattr(kind, "name", None) or home_of(kind)
    values = [str(getattr(rule, f.name)) for f in fields(rule)]
    return ":".join([name, *values])


# -- classes of somebody's own ---------------------------------------------------------------------


def home_of(kind: type) -> str:
    """Where a class comes from, "module:Class", as `load_class` takes it."""
    return f"{kind.__module__}:{kind.__qualname__}"


def load_class(where: str) -> type:
    """A class from "module:Class" or "file.py:Class", looked for in the working directory too.

    Raises ValueError, in one sentence, where there is no such module or class, or where importing
    it fails.
    """
    place, _, name = where.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError(f"a class is named module:Class or file.py:Class, got {where!r}")
    found = getattr(_load_module(place), name, None)
    if not isinstance(found, type):
        raise ValueError(f"{place} has no class {name}")
    return found


def _load_module(place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _load_file(Path(place))
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(place)
    except Exception as error:  # whatever stands in somebody's file
        first = str(error).partition("\n")[0]
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {first}") from None


def _load_file(path: Path) -> ModuleType:
    """A module from a file, under the file's name; the same file is run once."""
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _name_of(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else type(kind).__name__
