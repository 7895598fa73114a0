"""What a method must have, and how it is found: by name, as an object, or in a file of your own."""

import inspect
import re
import warnings
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from typing import Any, ClassVar

from ..events import Event
from ..model import BLT
from ..options import build, check_options, load_class, options_of, plain_options
from ..sampling import Pick
from ..state import DecodingState

# By name: those of this folder, and those that were registered.
METHODS: dict[str, type[Any]] = {}


class Method:
    """A way to decode: a frozen dataclass whose fields are its options, with one `round`.

    A method has a `name` (small letters, digits and -), a `title`, `round`, `lookahead` and `fit`.
    This base class gives the last two; a class with all five need not inherit from it.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_options(self)

    def round(self, state: DecodingState, pick: Pick) -> Iterator[Event]:
        """Propose and commit at least one byte in every row: moves, one after another.

        A generator: `yield from` a move passes its events on, and gives what it proposed. It runs
        in inference mode; what learns in it steps out by `torch.inference_mode(False)`.
        """
        raise NotImplementedError

    def fit(self, model: BLT) -> "Method":
        """The method with what the model decides filled in.

        Raises ValueError if it cannot run it.
        """
        return self

    @property
    def lookahead(self) -> int:
        """Bytes that a round may write past the frontier: what the caches keep room for."""
        return 1

    @property
    def room(self) -> int:
        """The former name of `lookahead`."""
        return self.lookahead


def register(kind: type[Any]) -> type[Any]:
    """Make a method known by its name, everywhere; returns the class, so it serves as a decorator.

    Raises TypeError or ValueError, in one sentence, where it lacks what a method must have or its
    name is taken.
    """
    check_kind(kind)
    known = METHODS.get(kind.name)
    if known is not None and _home(known) != _home(kind):
        raise ValueError(
            f"the name {kind.name!r} is taken by {_home(known)}: give {_home(kind)} another"
        )
    METHODS[kind.name] = kind
    return kind


def _home(kind: type[Any]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def check_kind(kind: type[Any]) -> None:
    """Raise TypeError, in one sentence, for a class that cannot be a method."""
    label = f"method {getattr(kind, '__name__', kind)}"
    if not isinstance(kind, type):
        raise TypeError(f"a method must be a class, got {type(kind).__name__}")
    turn = getattr(kind, "round", None)
    if turn is None or turn is Method.round:
        raise TypeError(f"{label} needs round(state, pick), a generator of moves")
    if not _takes_two(turn):
        raise TypeError(
            f"{label} needs round(self, state, pick), got round{inspect.signature(turn)}"
        )
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise TypeError(f"{label} needs a name of small letters, digits and -, got {name!r}")
    if not is_dataclass(kind):
        raise TypeError(f"{label} must be a dataclass: its fields are its options")
    options_of(kind)


def _takes_two(turn: Any) -> bool:
    """Can `round` be called with a state and a pick?"""
    try:
        inspect.signature(turn).bind(None, None, None)
    except TypeError:
        return False
    return True


def method_of(spec: Any) -> Any:
    """A method from itself, its name, or "name,option=value"; "module:Class" is one of your own.

    >>> method_of("blt-d,block_size=4,unmasking=entropy:0.5")
    BlockDiffusion(block_size=4, unmasking=EntropyBound(gamma=0.5), latent='closed')

    Raises ValueError or TypeError, in one sentence, with what is accepted.
    """
    if not isinstance(spec, str):
        if isinstance(spec, type) or not hasattr(spec, "round"):
            raise TypeError(
                f"method must be a name or an object with a round, got {type(spec).__name__}"
            )
        check_kind(type(spec))
        return spec
    name, *given = spec.split(",")
    kind = _kind_of(name)
    return build(kind, dict(map(_key_and_value, given)), f"method {kind.name!r}", load=True)


def _kind_of(name: str) -> type[Any]:
    """The class by its name, or from "module:Class", which becomes known by its name."""
    if ":" in name:
        return register(load_class(name))
    if name not in METHODS:
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, or module:Class for one of your own,"
            f" got {name!r}"
        )
    return METHODS[name]


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"an option is written option=value, got {text!r}")
    return key.strip().replace("-", "_"), value


def fitted(method: Any, model: BLT) -> Any:
    """The method ready to run with a model. Raises ValueError if it cannot, or TypeError."""
    method = method_of(method)
    method = method.fit(model) if hasattr(method, "fit") else method
    lookahead_of(method)
    return method


def fit_block(method: Any, model: BLT) -> Any:
    """A method of blocks with the model's own block size where none was asked for.

    Warns above the trained size. Raises ValueError for a plain BLT.
    """
    trained = model.config.block_size
    if trained is None:
        raise ValueError(
            f"method {method.name!r} needs a BLT-D (a model trained with blocks), got a plain BLT"
        )
    if method.block_size is not None and method.block_size > trained:
        warnings.warn(
            f"block_size {method.block_size} is above the {trained} this model was trained with:"
            " expect worse text",
            stacklevel=5,
        )
    return replace(method, block_size=method.block_size or trained)


def lookahead_of(method: Any) -> int:
    """Bytes that a round of a method may write past the frontier. Raises TypeError for none."""
    found = getattr(method, "lookahead", getattr(method, "room", None))
    if type(found) is not int or found < 1:
        raise TypeError(
            f"method {method.name!r} must say how many bytes a round may write past the frontier:"
            f" lookahead, an int of at least 1, got {found!r}"
        )
    return found


def why_not(method: Any, model: BLT) -> str | None:
    """One sentence why a model cannot run a method; None if it can."""
    try:
        fitted(method, model)
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def header_of(method: Any) -> dict[str, Any]:
    """A method's name and options as plain JSON: what a trace carries."""
    return {"name": method.name, **plain_options(method)}


def method_from_header(header: dict[str, Any]) -> Any:
    """The method that `header_of` described.

    Raises ValueError or TypeError where its name is not known here, or an option does not fit: a
    file from elsewhere loads no code.
    """
    options = {name: value for name, value in header.items() if name != "name"}
    name = str(header.get("name"))
    if name not in METHODS:
        raise ValueError(
            f"method {name!r} is not known here: register it, or give --method module:Class"
        )
    return build(METHODS[name], options, f"method {name!r}")
