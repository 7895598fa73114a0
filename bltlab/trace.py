"""A decoded text as a `Trace`: its events, its totals, and JSON files of them. No torch here.

What the text looked like after some of the events is its `canvas`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

from . import files, schema, vocab
from .canvas import Canvas, Cell
from .costs import NFE, measured_gb, paper_gb, ratio
from .events import EVENTS, Committed, Event, Foreseen, Prefilled, Unmasked, Verified
from .events import Drafted as Drafted  # events are known by this room's name too
from .events import Finished as Finished

MOST_BYTES = 32 << 20  # of a trace file: about 30,000 bytes of text
# What events that do not fit together raise where they are folded, added up or printed
UNFIT = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
# What stands around a byte in a terminal
MARKS = {
    "foreseen": ("/", "/"),
    "proposed": ("(", ")"),
    "replaced": ("{", "}"),
    "bonus": ("<", ">"),
    "accepted": ("[", "]"),
}
BY = {"rejected": "rejected", "dropped": "dropped by the decoder"}  # ghosts, in words


@dataclass(frozen=True)
class Totals:
    """A run in numbers, the prompt's prefill apart.

    Rates are None where nothing was guessed, verified or denoised.

    acceptance_rate: agreed guesses of all, the model's own bytes left out, in 0..1.
    foreseen_rate: guesses that the decoder's own chain agreed with, of all such, in 0..1.
    mean_acceptance_length: bytes committed a round.
    paper_gb, measured_gb: gigabytes read, by the two accountings of `costs`.
    """

    new_bytes: int
    seconds: float
    nfe: NFE
    prefill_nfe: NFE
    prefill_seconds: float
    rounds: int
    bytes_per_patch: float | None
    acceptance_rate: float | None
    mean_acceptance_length: float | None
    denoising_steps_per_block: float | None
    paper_gb: float
    measured_gb: float
    foreseen_rate: float | None = None


@dataclass(frozen=True)
class Trace:
    """One decoded row: model summary, method, settings, events. Opens and plays without weights.

    model: dict with `name` and `parameters` by part.
    method: dict with `name` and the method's options.
    settings: dict with temperature, seed and the like.
    """

    model: dict[str, Any]
    method: dict[str, Any]
    settings: dict[str, Any]
    events: tuple[Event, ...]

    def events_of(self, kind: type[Event]) -> list[Any]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def guesses(self) -> list[tuple[int, int]]:
        """(guessed, accepted) of each round that held guesses against the model."""
        return guesses_in(self.events)

    @property
    def foreseen(self) -> list[tuple[int, int]]:
        """(guessed, agreed) of each pass that held guesses against the decoder's own chain."""
        return [(len(e.drafted), e.accepted) for e in self.events_of(Foreseen)]

    @property
    def stops(self) -> list[bytes]:
        """The texts that it was to end after; in `settings` each byte of them is a character."""
        given = self.settings.get("stop") or []
        texts = given if isinstance(given, list) else [given]
        return [str(text).encode("latin-1", "replace") for text in texts]

    def canvas(self, step: int | None = None) -> Canvas:
        """The `Canvas` after the first `step` events (all by default)."""
        canvas = Canvas()
        for i, event in enumerate(self.events[:step]):
            canvas.apply(event, i)
        return canvas

    @cached_property
    def totals(self) -> Totals:
        """`Totals` of this run."""
        prompts = self.events_of(Prefilled)
        committed = self.events_of(Committed)
        start = prompts[-1] if prompts else Event()
        end = self.events[-1] if self.events else Event()
        nfe = end.nfe - start.nfe
        new_bytes = sum(len(e.ids) for e in committed)
        patches = sum(sum(e.opens) for e in committed)
        return Totals(
            new_bytes=new_bytes,
            seconds=end.seconds - start.seconds,
            nfe=nfe,
            prefill_nfe=start.nfe,
            prefill_seconds=start.seconds,
            rounds=len(committed),
            bytes_per_patch=ratio(new_bytes, patches),
            acceptance_rate=acceptance_rate(self.guesses),
            mean_acceptance_length=ratio(new_bytes, len(committed)),
            denoising_steps_per_block=self._steps_per_block(),
            paper_gb=paper_gb(nfe, self.model["parameters"]),
            measured_gb=measured_gb(
                end.weight_bytes - start.weight_bytes, end.cache_bytes - start.cache_bytes
            ),
            foreseen_rate=acceptance_rate(self.foreseen),
        )

    def _steps_per_block(self) -> float | None:
        steps = self.events_of(Unmasked)
        return ratio(len(steps), len({step.position for step in steps}))

    def to_text(self, step: int | None = None) -> str:
        """A picture for a terminal of the text after `step` events (all by default).

        Proposed bytes stand in (), accepted in [], replaced in {}, the model's own after a full
        match in <>, guesses ahead of the decoder's chain in //; masked ones show as _, those that
        were rejected by the model or dropped by the decoder on lines below.
        """
        canvas = self.canvas(step)
        lines = [f"{vocab.one_line(self.method['name'])}: {''.join(map(_marked, canvas.cells))}"]
        for ghost in canvas.ghosts:
            thrown = "".join(map(printable, ghost["ids"]))
            place = f"  step {ghost['step']}, byte {ghost['position'] - 1}"
            lines.append(f"{place}: {BY[ghost['state']]} {thrown!r}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain lists and numbers; `from_json` reads it back.

        text: the prompt and the new bytes, for who looks into a file; it is not read back.
        """
        return {
            "schema": schema.SCHEMA,
            "model": self.model,
            "method": self.method,
            "settings": self.settings,
            "text": vocab.to_text(self.prompt + self.bytes),
            "prompt": vocab.encode(self.prompt),
            "events": [_event_to_json(event) for event in self.events],
            "totals": _plain(self.totals),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The trace that `to_json` wrote.

        Raises ValueError, naming the field, where `data` is not a trace of this schema.
        """
        schema.check(data)
        events = tuple(map(_event_from_json, data["events"]))
        trace = cls(data["model"], data["method"], data["settings"], events)
        try:  # does it fold, add up and print?
            _ = trace.totals, trace.to_text()
        except UNFIT as error:
            raise ValueError(f"not a trace: its events do not fit together ({error})") from None
        return trace

    def save(self, path: str | Path) -> None:
        """Write JSON that `load` reads; the file appears whole or not at all.

        Raises ValueError, before anything is written, for a trace that `load` would refuse.
        """
        try:
            text = json.dumps(self.to_json(), separators=(",", ":")).encode("utf-8")
            _check_size(text)
            self.from_json(json.loads(text))
        except (*UNFIT, RecursionError) as error:
            raise ValueError(
                f"{path} is not written, it could not be read again: {error}"
            ) from None
        files.write(path, text)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The trace that `save` wrote.

        Raises OSError, or ValueError where the file is too large or not a trace.
        """
        with open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)
        try:
            _check_size(text)
        except ValueError as error:
            raise ValueError(f"{path} is {error}") from None
        try:
            data = json.loads(text.decode("utf-8"))
        except RecursionError:
            raise ValueError(f"{path} is not a trace: it is nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"{path} is not a trace: not JSON ({error})") from None
        try:
            return cls.from_json(data)
        except ValueError as error:
            raise ValueError(f"{path} is {error}") from None

    @property
    def prompt(self) -> bytes:
        """The prompt's bytes."""
        return b"".join(vocab.decode(event.ids) for event in self.events_of(Prefilled))

    @property
    def bytes(self) -> bytes:
        """The new bytes."""
        return b"".join(vocab.decode(event.ids) for event in self.events_of(Committed))

    def __repr__(self) -> str:
        name, n = vocab.one_line(self.method["name"]), self.totals.new_bytes
        return f"Trace({name}, {n} new bytes, {len(self.events)} events)"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        """What Jupyter shows: the player, a picture and the text.

        What draws them is imported only now.
        """
        from .viz import export

        return export.mimebundle([self], self.to_text())


def guesses_in(events: Iterable[Event]) -> list[tuple[int, int]]:
    """(guessed, accepted) of each round that held guesses against the model.

    All acceptance is counted here.

    The model's own byte is no guess. A guess counts as accepted where it and all guesses before it
    agree.

    >>> guesses_in([Verified(drafted=(70, 71), accepted=1, replacement=72)])
    [(2, 1)]
    """
    return [(len(e.drafted), e.accepted) for e in events if isinstance(e, Verified)]


def acceptance_rate(guesses: Sequence[tuple[int, int]]) -> float | None:
    """Accepted guesses of all, in 0..1; None where nothing was guessed.

    >>> acceptance_rate([(8, 8), (8, 4)]), acceptance_rate([])
    (0.75, None)
    """
    accepted = sum(accepted for _, accepted in guesses)
    guessed = sum(guessed for guessed, _ in guesses)
    return ratio(accepted, guessed)


def accepted_share(guesses: Sequence[tuple[int, int]]) -> list[float]:
    """Share of rounds, in 0..1, that accept guess 1, 2, ... of a round.

    Rounds with fewer guesses are left out of its share.

    >>> accepted_share([(2, 2), (2, 0), (1, 1)])
    [0.6666666666666666, 0.5]
    """
    reached = _at_least([guessed for guessed, _ in guesses])
    agreed = _at_least([accepted for _, accepted in guesses])
    agreed += [0] * (len(reached) - len(agreed))
    return [n / all_ for n, all_ in zip(agreed, reached, strict=True)]


def _at_least(counts: Sequence[int]) -> list[int]:
    """How many of some counts are at least 1, 2, ... up to the largest.

    >>> _at_least([2, 1, 0, 2])
    [3, 2]
    """
    of_size = Counter(counts)
    found = [of_size[n] for n in range(max(counts, default=0), 0, -1)]
    return list(accumulate(found))[::-1]


def traces_of(traces: Any) -> list[Trace]:
    """A list of `Trace` from one or several: traces, what `generate` returns, or JSON objects.

    Raises TypeError for anything else, ValueError for JSON that is not a trace.
    """
    given = traces if isinstance(traces, (list, tuple)) else [traces]
    return [_trace_of(one) for one in given]


def _trace_of(one: Any) -> Trace:
    found = getattr(one, "trace", one)
    if isinstance(found, dict):
        found = Trace.from_json(found)
    if not isinstance(found, Trace):
        raise TypeError(f"a trace, or a list of them, is needed, got {type(found).__name__}")
    return found


def printable(i: int) -> str:
    """One id as a character for terminals: ASCII as it is, other bytes as hex, MASK as _.

    >>> printable(76), printable(14), printable(260)
    ('H', '\\\\x0a', '_')
    """
    if i == vocab.MASK_ID:
        return "_"
    if i < vocab.OFFSET:
        return "<EOS>" if i == vocab.EOS_ID else f"<{i}>"
    byte = i - vocab.OFFSET
    return chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"


def _marked(cell: Cell) -> str:
    """A byte between the marks of its state.

    >>> _marked(Cell(76, "accepted")), _marked(Cell(76, "kept"))
    ('[H]', 'H')
    """
    if cell.state not in MARKS:
        return printable(cell.id)
    before, behind = tuple(MARKS[cell.state])
    return f"{before}{printable(cell.id)}{behind}"


def _check_size(text: bytes) -> None:
    if len(text) > MOST_BYTES:
        raise ValueError(f"too large for a trace: at most {MOST_BYTES >> 20} MB are read")


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as dicts and lists, counts by part as a list."""
    if isinstance(value, NFE):
        return list(value.astuple())
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _event_to_json(event: Event) -> dict[str, Any]:
    return {"type": type(event).__name__, **_plain(event)}


def _event_from_json(data: dict[str, Any]) -> Event:
    values = {name: _tuples(value) for name, value in data.items() if name != "type"}
    values["nfe"] = NFE(*data["nfe"])
    return EVENTS[data["type"]](**values)
