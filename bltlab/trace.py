"""What happened while decoding: events, the `Trace` that holds them, and the canvas they fold into. No torch here.

A byte's life:  masked -> proposed -> kept                       (trusted)
                          proposed -> accepted | rejected        (verified; `replaced` stands where a rejected byte stood,
                                                                  `bonus` is the model's own byte after a full match)
"""

import json
from dataclasses import dataclass, field, fields
from functools import cached_property

from . import files, schema, vocab
from .costs import NFE, measured_gb, paper_gb, ratio
from .events import (
    EVENTS,
    Committed,
    Drafted,
    Event,
    Finished,
    Prefilled,
    Unmasked,
    Verified,
)
from .viz import export

MOST_BYTES = 32 << 20  # of a trace file: about 30,000 bytes of text


@dataclass
class Cell:
    """One byte on the canvas. state: prompt, masked, proposed, accepted, replaced, bonus or kept."""

    id: int
    state: str
    prob: float | None = None
    step: int = 0
    opens: bool | None = None


@dataclass
class Canvas:
    """The text as it stands after some events, with the rejected drafts as ghosts."""

    cells: list = field(default_factory=list)
    ghosts: list = field(default_factory=list)  # {"step", "position", "ids", "probs"}
    _bonus_at: int | None = None

    def apply(self, event, step):
        """Fold one event in; `step` is its index in the trace."""
        match event:
            case Prefilled():
                self.cells = [
                    Cell(i, "prompt", None, step, o) for i, o in zip(event.ids[1:], event.opens[1:])
                ]
            case Drafted():
                known = self._at(event.position)
                state = "bonus" if event.position == self._bonus_at else "proposed"
                if known is None or known.state != "replaced":
                    self._put(event.position, Cell(event.id, state, event.prob, step))
                elif known.prob is None:
                    known.prob = event.prob
            case Unmasked():
                for slot, (i, prob) in enumerate(zip(event.block, event.probs)):
                    if i == vocab.MASK_ID:
                        self._put(event.position + slot, Cell(i, "masked", prob, step))
                    elif slot in event.revealed:
                        self._put(event.position + slot, Cell(i, "proposed", prob, step))
            case Verified():
                end = event.position + event.accepted
                for position in range(event.position, end):
                    self._at(position).state = "accepted"
                rejected = event.drafted[event.accepted :]
                del self.cells[end - 1 :]
                self._bonus_at = None if rejected else end
                if rejected:
                    self.ghosts.append(
                        dict(
                            step=step,
                            position=end,
                            ids=tuple(rejected),
                            probs=tuple(event.draft_probs[event.accepted :]),
                        )
                    )
                    prob = dict(event.candidates[event.accepted]).get(event.replacement)
                    self._put(end, Cell(event.replacement, "replaced", prob, step))
            case Committed():
                for offset, (i, opens) in enumerate(zip(event.ids, event.opens)):
                    cell = self._at(event.position + offset)
                    if cell is None or cell.id != i:
                        state = "bonus" if event.position + offset == self._bonus_at else "kept"
                        self._put(event.position + offset, cell := Cell(i, state, None, step))
                    cell.opens = opens
                    if cell.state == "proposed":
                        cell.state = "kept"
                end = event.position + len(event.ids)
                replaced = self._at(end)
                del self.cells[end if replaced and replaced.state == "replaced" else end - 1 :]
            case Finished():
                del self.cells[event.position - 1 :]
        return self

    def _at(self, position):
        return self.cells[position - 1] if position <= len(self.cells) else None

    def _put(self, position, cell):
        if not 1 <= position <= len(self.cells) + 1:
            raise ValueError(
                f"position {position} leaves a hole in a text of {len(self.cells)} bytes"
            )
        self.cells[position - 1 : position] = [cell]  # overwrite, or append at the end

    @property
    def ids(self):
        return [cell.id for cell in self.cells]


@dataclass(frozen=True)
class Totals:
    """A run in numbers, the prompt's prefill apart. Rates are None where nothing was guessed, verified or denoised."""

    new_bytes: int
    seconds: float
    nfe: NFE
    prefill_nfe: NFE
    prefill_seconds: float
    rounds: int
    bytes_per_patch: float | None
    acceptance_rate: float | None  # agreed / guessed, the model's own byte excluded
    mean_acceptance_length: float | None  # bytes committed a round
    denoising_steps_per_block: float | None
    paper_gb: float
    measured_gb: float


@dataclass(frozen=True)
class Trace:
    """One decoded row: model summary, method, settings, events. Opens and plays without weights.

    model: dict with `name` and `parameters` by part; method: dict with `name` and the method's fields;
    settings: temperature, seed and the like.
    """

    model: dict
    method: dict
    settings: dict
    events: tuple

    @property
    def prompt(self):
        """The prompt's bytes."""
        return b"".join(vocab.decode(e.ids) for e in self.events if isinstance(e, Prefilled))

    @property
    def bytes(self):
        """The new bytes."""
        return b"".join(vocab.decode(e.ids) for e in self.events if isinstance(e, Committed))

    def canvas(self, step=None):
        """The `Canvas` after the first `step` events (all by default)."""
        canvas = Canvas()
        for i, event in enumerate(self.events[:step]):
            canvas.apply(event, i)
        return canvas

    @cached_property
    def totals(self):
        """`Totals` of this run."""
        kinds = {kind: [e for e in self.events if isinstance(e, kind)] for kind in EVENTS.values()}
        start = kinds[Prefilled][-1] if kinds[Prefilled] else Event()
        end = self.events[-1] if self.events else Event()
        committed, verified, unmasked = kinds[Committed], kinds[Verified], kinds[Unmasked]
        new_bytes = sum(len(e.ids) for e in committed)
        nfe = end.nfe - start.nfe
        return Totals(
            new_bytes=new_bytes,
            seconds=end.seconds - start.seconds,
            nfe=nfe,
            prefill_nfe=start.nfe,
            prefill_seconds=start.seconds,
            rounds=len(committed),
            bytes_per_patch=ratio(new_bytes, sum(sum(e.opens) for e in committed)),
            acceptance_rate=ratio(
                sum(e.accepted for e in verified), sum(len(e.drafted) for e in verified)
            ),
            mean_acceptance_length=ratio(new_bytes, len(committed)),
            denoising_steps_per_block=ratio(len(unmasked), len({e.position for e in unmasked})),
            paper_gb=paper_gb(nfe, self.model["parameters"]),
            measured_gb=measured_gb(
                end.weight_bytes - start.weight_bytes, end.cache_bytes - start.cache_bytes
            ),
        )

    def to_text(self, step=None):
        """A terminal's picture: proposed bytes in (), replaced in {}, masked as _, rejected drafts on lines below."""
        marks = dict(proposed="()", replaced="{}", bonus="<>", accepted="[]")
        canvas = self.canvas(step)
        shown = "".join(
            marks.get(c.state, ("", ""))[0] + printable(c.id) + marks.get(c.state, ("", ""))[-1:]
            if c.state in marks
            else printable(c.id)
            for c in canvas.cells
        )
        ghosts = [
            f"  step {g['step']}, byte {g['position'] - 1}: rejected {''.join(map(printable, g['ids']))!r}"
            for g in canvas.ghosts
        ]
        return "\n".join([f"{self.method['name']}: {shown}", *ghosts])

    def to_json(self):
        """A dict of plain lists and numbers; `from_json` reads it back."""
        return {
            "schema": schema.SCHEMA,
            "model": self.model,
            "method": self.method,
            "settings": self.settings,
            "prompt": vocab.encode(self.prompt),
            "events": [_event_to_json(e) for e in self.events],
            "totals": _plain(self.totals),
        }

    @classmethod
    def from_json(cls, data):
        """Raises ValueError, naming the field, where `data` is not a trace of this schema."""
        schema.check(data)
        events = tuple(map(_event_from_json, data["events"]))
        trace = cls(data["model"], data["method"], data["settings"], events)
        try:  # does it fold, add up and print?
            trace.totals, trace.to_text()
        except (
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise ValueError(f"not a trace: its events do not fit together ({error})") from None
        return trace

    def save(self, path):
        """Write JSON; the file appears whole or not at all."""
        files.write(path, json.dumps(self.to_json(), separators=(",", ":")).encode("utf-8"))

    @classmethod
    def load(cls, path):
        """Read a saved trace. Raises OSError, or ValueError where the file is too large or not a trace."""
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(
                f"{path} is too large for a trace: at most {MOST_BYTES >> 20} MB are read"
            )
        try:
            data = json.loads(data.decode("utf-8"))
        except RecursionError:
            raise ValueError(f"{path} is not a trace: it is nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"{path} is not a trace: not JSON ({error})") from None
        try:
            return cls.from_json(data)
        except ValueError as error:
            raise ValueError(f"{path} is {error}") from None

    def __repr__(self):
        return f"Trace({self.method['name']}, {self.totals.new_bytes} new bytes, {len(self.events)} events)"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return export.mimebundle([self], self.to_text())


def traces_of(traces):
    """A list of `Trace` from one or several: traces, what `generate` returns, or JSON objects. Raises TypeError."""
    found = [
        getattr(t, "trace", t) for t in (traces if isinstance(traces, (list, tuple)) else [traces])
    ]
    found = [Trace.from_json(t) if isinstance(t, dict) else t for t in found]
    for t in found:
        if not isinstance(t, Trace):
            raise TypeError(f"a trace, or a list of them, is needed, got {type(t).__name__}")
    return found


def printable(i):
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


def _plain(value):
    """Dataclasses and tuples to dicts and lists."""
    if isinstance(value, NFE):
        return list(value.astuple())
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _event_to_json(event):
    return {"type": type(event).__name__, **_plain(event)}


def _event_from_json(data):
    values = {name: _tuples(value) for name, value in data.items() if name != "type"}
    return EVENTS[data["type"]](**values | {"nfe": NFE(*data["nfe"])})
