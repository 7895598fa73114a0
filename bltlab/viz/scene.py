"""Traces on one clock, laid out as a `Picture` at any of its ticks. No torch here.

They look as in the player, for paper and slides.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, starmap
from math import ceil
from typing import Any

from .. import vocab
from ..canvas import Canvas, Cell
from ..costs import measured_gb, paper_gb
from ..events import (
    Committed,
    Drafted,
    Event,
    Finished,
    Foreseen,
    Guessed,
    Prefilled,
    Unmasked,
    Verified,
)
from ..trace import Totals, Trace
from .colours import BLUE, INK, SOFT, STATES, THIN, mix
from .picture import (
    PITCH,
    Line,
    Part,
    Picture,
    Shape,
    Text,
    bracket,
    cell,
    character,
    clipped,
    flow,
    rectangle,
    spans,
    wide,
)

ROW, HEAD = 64, 20  # from one row of bytes to the next; room for a bracket above
GHOST, MOST_GHOSTS = 32, 4  # a row of rejected drafts, and how many of the newest are shown
GHOST_BYTE, GHOST_LEFT = 23, 132  # from one rejected byte to the next; where the first stands
MARGIN, GAP, STATS = 16, 34, 42  # around and between lanes; a row of numbers
NUMBERS = "new bytes", "patcher", "encoder", "global", "decoder passes", "acceptance", "seconds"
LEGEND = {  # names in it that are not a state's own
    "foreseen": "guessed ahead of the decoder",
    "dropped": "dropped by the decoder",
    "rejected": "rejected by the model",
    "linked": "appeared in one step",
    "broken": "broken UTF-8",
    "opens": "opens a patch",
}
TICKS = 240  # of a clock that flows, as in the player
Parameters = dict[str, int]
Reading = Callable[[Event, Parameters], float]
CLOCKS: dict[str, tuple[str, Reading | None]] = {  # the player's: what it counts, and its reading
    "event": ("events", None),
    "passes": ("decoder + global passes", lambda e, size: e.nfe.decoder + e.nfe.global_),
    "patcher": ("patcher passes", lambda e, size: e.nfe.patcher),
    "encoder": ("encoder passes", lambda e, size: e.nfe.encoder),
    "global": ("global passes", lambda e, size: e.nfe.global_),
    "decoder": ("decoder passes", lambda e, size: e.nfe.decoder),
    "paper": ("GB read, the paper's count", lambda e, size: paper_gb(e.nfe, size)),
    "measured": ("GB read, measured", lambda e, size: measured_gb(e.weight_bytes, e.cache_bytes)),
    "seconds": ("measured seconds", lambda e, size: e.seconds),
}
FLOWS = "paper", "measured", "seconds"  # no whole numbers


def clock_times(trace: Trace, clock: str) -> list[float]:
    """What a clock shows after 0, 1, ... events; it never falls.

    The prompt's prefill is apart, as in the totals.
    """
    read, size = CLOCKS[clock][1], trace.model["parameters"]
    if read is None:
        return list(range(len(trace.events) + 1))
    prompts = trace.events_of(Prefilled)
    start = read(prompts[-1], size) if prompts else 0
    times: list[float] = [0]
    for event in trace.events:
        now = read(event, size) - start
        times.append(max(now, times[-1]))
    return times


def facts_of(trace: Trace) -> list[str]:
    """A run's method and settings in words, its model last."""
    facts = trace.method | trace.settings | {"model": trace.model.get("name")}
    facts["stop"] = [vocab.to_text(stop) for stop in trace.stops]
    del facts["name"]
    words = []
    for name, value in facts.items():
        shown = clipped(value)
        if shown:
            words.append(f"{name.replace('_', ' ')} {shown}")
    return words


def linked(before: Cell, after: Cell) -> bool:
    """Did two neighbours appear in one step?"""
    if vocab.MASK_ID in (before.id, after.id) or after.state == "prompt":
        return False
    return before.step == after.step


def touched(event: Event | None) -> Iterable[int]:
    """The positions that an event is about."""
    match event:
        case Drafted():
            return (event.position,)
        case Unmasked():
            return {event.position + slot for slot in event.revealed}
        case Guessed():
            return range(event.position, event.position + len(event.block))
        case Foreseen():
            return range(event.position, event.position + event.accepted)
        case Verified():
            replaced = event.replacement is not None
            return range(event.position, event.position + event.accepted + replaced)
        case Committed():
            return range(event.position, event.position + len(event.ids))
    return ()


@dataclass(frozen=True)
class Extent:
    """What a lane must have room for.

    longest: bytes of the longest canvas.
    highest: the highest id of a byte.
    ghosts: rows of guesses thrown away.
    states: those of the legend that occur.
    """

    longest: int
    highest: int
    ghosts: int
    states: frozenset[str]

    def rows(self, columns: int) -> int:
        """Rows that the bytes take.

        A row may leave up to three cells empty, as no character is split, but only where longer
        characters occur at all.
        """
        lost = 0
        for lead in (0xC2, 0xE0, 0xF0):  # of characters of 2, 3 and 4 bytes
            if self.highest - vocab.OFFSET >= lead:
                lost += 1
        return max(1, ceil(self.longest / (columns - lost)))


def extent_of(trace: Trace) -> Extent:
    """The `Extent` of a trace at any of its steps."""
    canvas, longest, highest = Canvas(), 0, 0
    states: set[str] = set()
    for step, event in enumerate(trace.events):
        cells = canvas.apply(event, step).cells
        longest = max(longest, len(cells))
        for c in cells:
            states.add(c.state)
            if c.id < vocab.MASK_ID:
                highest = max(highest, c.id)
        if any(starmap(linked, pairwise(cells))):
            states.add("linked")
    states |= {ghost["state"] for ghost in canvas.ghosts}
    states |= {kind for _, _, kind in spans(canvas.ids, True)}
    return Extent(longest, highest, len(canvas.ghosts), frozenset(states))


class Lane:
    """One trace, `width` pixels wide and as high as its longest canvas needs.

    So all of its steps have one size.

    facts: the words beside its name.
    clock: a name in `CLOCKS`; `times` are what it shows after 0, 1, ... events.
    """

    def __init__(
        self,
        trace: Trace,
        facts: Sequence[str],
        clock: str,
        width: int,
    ) -> None:
        self.trace, self.width = trace, width
        self.columns = max(1, (width - 6) // PITCH)
        self.times = clock_times(trace, clock)
        self.header, self.head_height = self._header(facts)
        numbers = [(max(wide(key, 12), 46), key) for key in NUMBERS]
        self.numbers, numbers_height = flow(numbers, width, 14, STATS)
        self.top = self.head_height + numbers_height + 16  # of the bytes
        extent = extent_of(trace)
        self.states = extent.states
        self.rows = extent.rows(self.columns)
        ghost_rows = min(extent.ghosts, MOST_GHOSTS)
        self.height = self.top + self.rows * ROW + ghost_rows * GHOST + 16

    def _header(self, facts: Sequence[str]) -> tuple[list[Part], float]:
        name = clipped(self.trace.method["name"])
        title = Text(0, 18, name, 18, INK, "bold")
        items = [(wide(name, 18) * 1.1, (title,)), *map(_fact, facts)]
        return flow(items, self.width, 14, 24)

    def parts(self, step: int) -> Iterator[Part]:
        """What is seen after `step` events."""
        so_far = replace(self.trace, events=self.trace.events[:step])
        canvas = so_far.canvas()
        latest = so_far.events[-1] if so_far.events else None
        yield from self.header
        yield from self._numbers(so_far.totals)
        yield from self._bytes(canvas.cells, latest)
        y = self.top + self.rows * ROW
        newest = list(reversed(canvas.ghosts))[:MOST_GHOSTS]
        for ghost in newest:
            yield from self._ghost(ghost, y, ghost is newest[0])
            y += GHOST

    def _numbers(self, totals: Totals) -> Iterator[Part]:
        rate = totals.acceptance_rate
        accepted = "-" if rate is None else f"{100 * rate:.0f} %"
        seconds = f"{totals.seconds:.2f}"
        values = totals.new_bytes, *totals.nfe.astuple(), accepted, seconds
        for (x, y, key), value in zip(self.numbers, values, strict=True):
            name = Text(0, 16, key, 12, SOFT)
            number = Text(0, 36, str(value), 17)
            yield x, self.head_height + y, (name, number)

    def _bytes(self, cells: list[Cell], event: Event | None) -> Iterator[Part]:
        """The bytes in their rows, and a bracket above each longer character."""
        now = touched(event)
        ids = [c.id for c in cells]
        column, y = 0, self.top + HEAD
        for start, end, kind in spans(ids, isinstance(event, Finished)):
            size = end - start
            if column + size > self.columns:  # a character's bytes stay together
                column = 0
                y += ROW
            left = 2 + column * PITCH
            for i in range(start, end):
                shapes = self._byte(cells, i, i + 1 in now, kind == "broken")
                yield left + (i - start) * PITCH, y, shapes
            if kind == "pending" or size > 1:
                whole = kind == "whole"
                above = character(ids[start:end]) if whole else None
                yield left, y - 7, bracket(size, above)
            column += size

    def _byte(
        self,
        cells: list[Cell],
        i: int,
        now: bool,
        broken: bool,
    ) -> tuple[Shape, ...]:
        c = cells[i]
        together = i > 0 and linked(cells[i - 1], c)
        return cell(c.id, c.state, now, c.opens, broken, together)

    def _ghost(
        self,
        ghost: dict[str, Any],
        y: float,
        newest: bool,
    ) -> Iterator[Part]:
        """A row with the bytes that one round rejected, or that one pass of the decoder dropped."""
        if newest:
            yield 0, y, self._newest_ground(ghost["state"])
        ink = INK if newest else SOFT
        yield 0, y, (Text(8, 20, self._round(ghost), 13, ink),)
        ids, room = ghost["ids"], self._ghost_room()
        x: float = GHOST_LEFT
        for i in ids[:room]:
            yield x, y + 3, cell(i, ghost["state"], w=21, h=24)
            x += GHOST_BYTE
        x += 8
        where = "..." if len(ids) > room else self._where(ghost, x)
        yield x, y, (Text(0, 20, where, 13, SOFT),)

    def _newest_ground(self, state: str) -> tuple[Shape, ...]:
        """What lies under the newest row of bytes that were thrown away."""
        colour = STATES[state]
        bottom = GHOST - 2
        tint = rectangle(0, 0, self.width, bottom, mix(colour, 9))
        edge = rectangle(0, 0, 3, bottom, colour)
        return tint, edge

    def _round(self, ghost: dict[str, Any]) -> str:
        """Which round threw the bytes away, and how, in words."""
        earlier = self.trace.events[: ghost["step"]]
        rounds = sum(isinstance(event, Committed) for event in earlier)
        return f"round {rounds + 1} {ghost['state']}:"

    def _ghost_room(self) -> int:
        """How many rejected bytes fit in a row."""
        room = self.width - GHOST_LEFT - 8 - wide("...", 13)
        return int(room // GHOST_BYTE)

    def _where(self, ghost: dict[str, Any], left: float) -> str:
        """Where rejected bytes stood, how sure the drafter was; "" where there is no room."""
        words = f"at byte {ghost['position'] - 1}"
        prob = ghost["probs"][0]
        if prob is not None:
            how = "drafted" if ghost["state"] == "rejected" else "guessed"
            words += f", {how} with p = {prob:.2f}"
        return words if left + wide(words, 13) < self.width else ""


class Scene:
    """Traces on one clock, to be drawn at any tick.

    clock: one of `CLOCKS`; a tick is a step of it, as in the player.
    width: pixels; lanes stand side by side where there is room for two. Raises ValueError for an
    unknown clock, no trace or too narrow a width.
    """

    def __init__(
        self,
        traces: Sequence[Trace],
        clock: str | None = None,
        width: int | None = None,
    ) -> None:
        _check(traces, clock, width)
        several = len(traces) > 1
        self.width = width or (1160 if several else 760)
        self.clock = clock or "event"
        self.columns = 2 if several and self.width >= 1000 else 1
        facts = [facts_of(trace) for trace in traces]
        shared = _shared(facts)
        self.lanes = self._lanes(traces, facts, shared)
        self.longest = max(lane.times[-1] for lane in self.lanes)
        self.length = self._ticks()
        self.shared, shared_height = self._flow(list(map(_fact, shared)), 24)
        self.tops = self._tops(MARGIN + 34 + (shared_height if shared else 0))
        self.legend, legend_height = self._legend()
        self.height = self.tops[-1] + legend_height + MARGIN

    def _lanes(
        self,
        traces: Sequence[Trace],
        facts: list[list[str]],
        shared: list[str],
    ) -> list[Lane]:
        """A lane for each trace, with the facts that not all share."""
        inner = (self.width - 2 * MARGIN - GAP * (self.columns - 1)) // self.columns
        lanes = []
        for trace, known in zip(traces, facts, strict=True):
            own = [fact for fact in known if fact not in shared]
            lanes.append(Lane(trace, own, self.clock, inner))
        return lanes

    def _ticks(self) -> int:
        """The last tick of the clock."""
        if self.clock not in FLOWS:
            return int(self.longest)
        return TICKS if self.longest else 0

    def _tops(self, first: float) -> list[float]:
        """Where each row of lanes begins, and where the last one ends."""
        tops = [first]
        for i in range(0, len(self.lanes), self.columns):
            row = self.lanes[i : i + self.columns]
            highest = max(lane.height for lane in row)
            tops.append(tops[-1] + highest + 12)
        return tops

    def _flow(
        self, items: Sequence[tuple[float, tuple[Shape, ...]]], line: float
    ) -> tuple[list[Part], float]:
        """Shapes side by side over the whole width, as parts; and their height."""
        return flow(items, self.width - 2 * MARGIN, 14, line)

    def _legend(self) -> tuple[list[Part], float]:
        """The states that occur, each with its box; below all lanes."""
        seen = {"opens"}
        for lane in self.lanes:
            seen |= lane.states
        items = []
        for key, box in _samples().items():
            if key in seen:
                name = LEGEND.get(key, key)
                words = Text(33, 20, name, 13)
                items.append((34 + wide(name, 13), (*box, words)))
        return self._flow(items, 44)

    def steps(self, tick: int) -> list[int]:
        """How many events each lane shows at a tick."""
        due = self._value(tick) * (1 + 1e-9)
        return [bisect_right(lane.times, due) - 1 for lane in self.lanes]

    def checked(self, tick: int | None) -> int:
        """A tick, the last where it is None.

        Raises ValueError for one that the clock does not have.
        """
        tick = self.length if tick is None else tick
        if not (type(tick) is int and 0 <= tick <= self.length):
            raise ValueError(f"step must be an int in 0..{self.length} on this clock, got {tick!r}")
        return tick

    def draw(self, tick: int | None = None) -> Picture:
        """The `Picture` at a tick, the last by default.

        Raises ValueError for a tick that the clock does not have.
        """
        tick = self.checked(tick)
        parts: list[Part] = [(MARGIN, MARGIN, self._readout(tick))]
        parts += _moved(self.shared, MARGIN, MARGIN + 26)
        for i, step in enumerate(self.steps(tick)):
            lane = self.lanes[i]
            row, column = divmod(i, self.columns)
            left = MARGIN + column * (lane.width + GAP)
            parts += _moved(lane.parts(step), left, self.tops[row])
        bottom = self.tops[-1]
        parts.append((MARGIN, bottom, self._rule()))
        parts += _moved(self.legend, MARGIN + 4, bottom + 12)
        return Picture(self.width, self.height, tuple(parts), self._title(tick))

    def _rule(self) -> tuple[Shape, ...]:
        """The line above the legend."""
        right = self.width - 2 * MARGIN
        return (Line(((0, 0), (right, 0)), THIN, 1),)

    def _title(self, tick: int) -> str:
        names = ", ".join(lane.trace.method["name"] for lane in self.lanes)
        return f"bltlab trace: {clipped(names, 200)}, {self.told(tick)}"

    def _value(self, tick: int) -> float:
        """A tick in the clock's own unit."""
        if self.clock in FLOWS:
            return tick / TICKS * self.longest
        return tick

    def told(self, tick: int) -> str:
        """The clock's hands in words."""
        unit, _ = CLOCKS[self.clock]
        return f"{self._shown(tick)} of {self._shown(self.length)} {unit}"

    def _shown(self, tick: int) -> str:
        if self.clock in FLOWS:
            return f"{self._value(tick):.3g}"
        return str(tick)

    def _readout(self, tick: int) -> tuple[Shape, ...]:
        """The clock: a bar and its words."""
        words = wide(self.told(self.length), 14)
        left = max(words, 130) + 16
        right = self.width - 2 * MARGIN
        share = tick / self.length if self.length else 1
        done = left + (right - left) * share
        return (
            Text(0, 15, self.told(tick), 14),
            Line(((left, 10), (right, 10)), THIN, 5),
            Line(((left, 10), (done, 10)), BLUE, 5),
        )


def _check(
    traces: Sequence[Trace],
    clock: str | None,
    width: int | None,
) -> None:
    """Raises ValueError for what cannot be drawn."""
    if clock not in (None, *CLOCKS):
        raise ValueError(f"clock must be one of {', '.join(CLOCKS)}, got {clock!r}")
    if not traces:
        raise ValueError("a picture needs at least one trace, got none")
    if width and not (isinstance(width, int) and 320 <= width <= 4000):
        raise ValueError(f"width must be an int of 320..4000 pixels, got {width!r}")


def _shared(facts: list[list[str]]) -> list[str]:
    """The facts that several traces have in common.

    >>> _shared([["seed 0", "k 8"], ["seed 0", "k 4"]]), _shared([["seed 0"]])
    (['seed 0'], [])
    """
    first, *others = facts
    if not others:
        return []
    common = set(first).intersection(*others)
    return [fact for fact in first if fact in common]


def _samples() -> dict[str, tuple[Shape, ...]]:
    """A byte in each state, and what else the legend may name."""
    states = {name: cell(101, name) for name in STATES}
    states["masked"] = cell(vocab.MASK_ID, "masked")
    states["linked"] = cell(101, "proposed", linked=True)
    states["broken"] = cell(vocab.OFFSET + 0xFF, "prompt", broken=True)
    states["opens"] = cell(101, "prompt", opens=True)
    return states


def _fact(words: str) -> tuple[float, tuple[Shape, ...]]:
    """Words of a header, and how wide they are."""
    return wide(words, 13), (Text(0, 18, words, 13, SOFT),)


def _moved(
    parts: Iterable[Part],
    x: float,
    y: float,
) -> list[Part]:
    moved = []
    for left, top, shapes in parts:
        moved.append((x + left, y + top, shapes))
    return moved
