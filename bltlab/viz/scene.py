"""Traces on one clock, laid out as a `Picture` at any of its ticks: what the player shows, for paper and slides. No torch."""

from dataclasses import replace
from itertools import accumulate, pairwise

from .. import vocab
from ..costs import measured_gb, paper_gb
from .picture import (
    BLUE,
    COLOURS,
    INK,
    PITCH,
    RED,
    SOFT,
    THIN,
    Area,
    Line,
    Picture,
    Text,
    bracket,
    cell,
    character,
    clipped,
    flow,
    mix,
    spans,
    wide,
)

ROW, HEAD = 64, 20  # from one row of bytes to the next; room for a bracket above
GHOST, MOST_GHOSTS = 32, 4  # a row of rejected drafts, and how many of the newest are shown
MARGIN, GAP, STATS = 16, 34, 42  # around and between lanes; a row of numbers
NUMBERS = "new bytes", "patcher", "encoder", "global", "decoder passes", "acceptance", "seconds"
TICKS = 240  # of a clock that flows, as in the player
CLOCKS = {  # the player's: what it counts, and what it reads off an event
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


def facts_of(trace):
    """A run's method and settings in words, its model last."""
    facts = (
        {k: v for k, v in trace.method.items() if k != "name"}
        | trace.settings
        | {"model": trace.model.get("name")}
    )
    return [
        f"{key.replace('_', ' ')} {clipped(value)}"
        for key, value in facts.items()
        if clipped(value)
    ]


class Lane:
    """One trace, `width` pixels wide: as high as its longest canvas needs, so that all steps have one size.

    facts: the words beside its name.
    """

    def __init__(self, trace, facts, clock, width):
        self.trace, self.width, self.columns = trace, width, max(1, (width - 6) // PITCH)
        self.times = list(clock_times(trace, clock))
        self.header, self.head_height = self._header(facts)
        self.numbers, height = flow(
            [(max(wide(key, 12), 46), key) for key in NUMBERS], width, 14, STATS
        )
        self.top = self.head_height + height + 16  # of the bytes
        canvas, longest, highest, self.states = trace.canvas(0), 0, 0, set()
        for step, event in enumerate(trace.events):
            cells = canvas.apply(event, step).cells
            longest, highest = (
                max(longest, len(cells)),
                max([highest, *(c.id for c in cells if c.id < vocab.MASK_ID)]),
            )
            self.states |= {c.state for c in cells} | {
                "linked" for pair in pairwise(cells) if linked(*pair)
            }
        self.states |= {"rejected"} if canvas.ghosts else set()
        self.states |= {kind for _, _, kind in spans([c.id for c in canvas.cells], True)}
        lost = sum(
            highest - vocab.OFFSET >= lead for lead in (0xC2, 0xE0, 0xF0)
        )  # cells that a row may leave empty,
        self.rows = max(1, -(-longest // (self.columns - lost)))  # as no character is split
        self.ghost_rows = min(len(canvas.ghosts), MOST_GHOSTS)
        self.height = self.top + self.rows * ROW + self.ghost_rows * GHOST + 16

    def _header(self, facts):
        name = clipped(self.trace.method["name"])
        items = [(wide(name, 18) * 1.1, Text(0, 18, name, 18, INK, "bold"))]
        items += [(wide(word, 13), Text(0, 18, word, 13, SOFT)) for word in facts]
        placed, height = flow(items, self.width, 14, 24)
        return [(x, y, (text,)) for x, y, (_, text) in placed], height

    def parts(self, step):
        """What is seen after `step` events."""
        trace = self.trace
        canvas, totals = trace.canvas(step), replace(trace, events=trace.events[:step]).totals
        event = trace.events[step - 1] if step else None
        yield from self.header
        yield from self._stats(totals)
        yield from self._bytes(canvas.cells, self.top, event)
        y = self.top + self.rows * ROW
        for row, ghost in enumerate(canvas.ghosts[: -MOST_GHOSTS - 1 : -1]):
            yield from self._ghost(ghost, y + row * GHOST, row)

    def _stats(self, totals):
        accepted = (
            "-" if totals.acceptance_rate is None else f"{100 * totals.acceptance_rate:.0f} %"
        )
        values = totals.new_bytes, *totals.nfe.astuple(), accepted, f"{totals.seconds:.2f}"
        for (x, y, (_, key)), value in zip(self.numbers, values):
            yield x, self.head_height + y, (Text(0, 16, key, 12, SOFT), Text(0, 36, str(value), 17))

    def _bytes(self, cells, y, event):
        now, finished, column, y = touched(event), type(event).__name__ == "Finished", 0, y + HEAD
        for start, end, kind in spans([c.id for c in cells], finished):
            if column + end - start > self.columns:  # a character's bytes stay together
                column, y = 0, y + ROW
            for i in range(start, end):
                c = cells[i]
                yield (
                    2 + (column + i - start) * PITCH,
                    y,
                    cell(
                        c.id,
                        c.state,
                        i + 1 in now,
                        c.opens,
                        kind == "broken",
                        i > 0 and linked(cells[i - 1], c),
                    ),
                )
            if kind == "pending" or end - start > 1:
                text = character([c.id for c in cells[start:end]]) if kind == "whole" else None
                yield 2 + column * PITCH, y - 7, bracket(end - start, text)
            column += end - start

    def _ghost(self, ghost, y, row):
        rounds = sum(type(e).__name__ == "Committed" for e in self.trace.events[: ghost["step"]])
        words, ids = f"round {rounds + 1} rejected:", ghost["ids"]
        if not row:  # the newest
            yield (
                0,
                y,
                (
                    Area(
                        ((0, 0), (self.width, 0), (self.width, GHOST - 2), (0, GHOST - 2)),
                        mix(RED, 9),
                    ),
                    Area(((0, 0), (3, 0), (3, GHOST - 2), (0, GHOST - 2)), RED),
                ),
            )
        where, prob = f"at byte {ghost['position'] - 1}", ghost["probs"][0]
        if prob is not None:
            where += f", drafted with p = {prob:.2f}"
        left, room = 132, int((self.width - 132 - 8 - wide("...", 13)) // 23)
        yield 0, y, (Text(8, 20, words, 13, INK if not row else SOFT),)
        for k, i in enumerate(ids[:room]):
            yield left + 23 * k, y + 3, cell(i, "rejected", w=21, h=24)
        left += 23 * min(len(ids), room) + 8
        words = "..." if len(ids) > room else where if left + wide(where, 13) < self.width else ""
        yield left, y, (Text(0, 20, words, 13, SOFT),)


def linked(before, cell):
    """Did two neighbours appear in one step?"""
    return (
        before.step == cell.step
        and cell.state != "prompt"
        and vocab.MASK_ID not in (before.id, cell.id)
    )


def touched(event):
    """The positions that an event is about."""
    if event is None or type(event).__name__ in ("Prefilled", "Finished"):
        return ()
    if type(event).__name__ == "Unmasked":
        return {event.position + slot for slot in event.revealed}
    if type(event).__name__ == "Verified":
        return range(
            event.position, event.position + event.accepted + (event.replacement is not None)
        )
    return range(event.position, event.position + len(getattr(event, "ids", (0,))))


def clock_times(trace, clock):
    """What a clock shows after 0, 1, ... events; it never falls. The prompt's prefill is apart, as in the totals."""
    read, size = CLOCKS[clock][1], trace.model["parameters"]
    if read is None:
        return range(len(trace.events) + 1)
    start = next(
        (read(e, size) for e in reversed(trace.events) if type(e).__name__ == "Prefilled"), 0
    )
    return accumulate([0, *(read(e, size) - start for e in trace.events)], max)


class Scene:
    """Traces on one clock, to be drawn at any tick. Raises ValueError for an unknown clock, no trace or too narrow a width.

    clock: one of `CLOCKS`; a tick is a step of it, as in the player. width: pixels; lanes stand side by side where
    there is room for two.
    """

    def __init__(self, traces, clock=None, width=None):
        if clock not in (None, *CLOCKS):
            raise ValueError(f"clock must be one of {', '.join(CLOCKS)}, got {clock!r}")
        if not traces:
            raise ValueError("a picture needs at least one trace, got none")
        self.width = width or (1160 if len(traces) > 1 else 760)
        if not (isinstance(self.width, int) and 320 <= self.width <= 4000):
            raise ValueError(f"width must be an int of 320..4000 pixels, got {width!r}")
        self.clock = clock or "event"
        self.columns = 2 if len(traces) > 1 and self.width >= 1000 else 1
        inner = (self.width - 2 * MARGIN - GAP * (self.columns - 1)) // self.columns
        facts = [facts_of(trace) for trace in traces]
        shared = [
            fact for fact in facts[0] if len(facts) > 1 and all(fact in other for other in facts)
        ]
        self.shared, top = self._flow(
            [(wide(fact, 13), (Text(0, 18, fact, 13, SOFT),)) for fact in shared], 24
        )
        self.lanes = [
            Lane(trace, [fact for fact in own if fact not in shared], self.clock, inner)
            for trace, own in zip(traces, facts)
        ]
        self.longest = max(lane.times[-1] for lane in self.lanes)
        self.length = TICKS * bool(self.longest) if self.clock in FLOWS else self.longest
        rows = [self.lanes[i : i + self.columns] for i in range(0, len(self.lanes), self.columns)]
        heights = [max(lane.height for lane in row) + 12 for row in rows]
        self.tops = list(accumulate([MARGIN + 34 + top * bool(shared), *heights]))
        self.legend, legend_height = self._legend()
        self.height = self.tops[-1] + legend_height + MARGIN

    def _flow(self, items, line):
        """Items (width, shapes) side by side over the whole width, as parts; and their height."""
        placed, height = flow(items, self.width - 2 * MARGIN, 14, line)
        return [(x, y, shapes) for x, y, (_, shapes) in placed], height

    def _legend(self):
        """The states that occur, each with its box; below all lanes."""
        seen = set().union(*(lane.states for lane in self.lanes))
        boxes = [
            (name, cell(vocab.MASK_ID if name == "masked" else 101, name))
            for name in COLOURS
            if name in seen
        ]
        boxes += (
            [("appeared in one step", cell(101, "proposed", linked=True))]
            if "linked" in seen
            else []
        )
        boxes += (
            [("broken UTF-8", cell(vocab.OFFSET + 0xFF, "prompt", broken=True))]
            if "broken" in seen
            else []
        )
        boxes += [("opens a patch", cell(101, "prompt", opens=True))]
        return self._flow(
            [(34 + wide(name, 13), (*box, Text(33, 20, name, 13))) for name, box in boxes], 44
        )

    def steps(self, tick):
        """How many events each lane shows at a tick."""
        due = self._value(tick) * (1 + 1e-9)
        return [max(n for n, time in enumerate(lane.times) if time <= due) for lane in self.lanes]

    def checked(self, tick):
        """A tick, the last where it is None. Raises ValueError for one that the clock does not have."""
        tick = self.length if tick is None else tick
        if not (type(tick) is int and 0 <= tick <= self.length):
            raise ValueError(f"step must be an int in 0..{self.length} on this clock, got {tick!r}")
        return tick

    def draw(self, tick=None):
        """The `Picture` at a tick, the last by default. Raises ValueError for a tick that the clock does not have."""
        tick = self.checked(tick)
        parts = [(MARGIN, MARGIN, self._readout(tick))]
        parts += [(MARGIN + x, MARGIN + 26 + y, shapes) for x, y, shapes in self.shared]
        for i, (lane, step) in enumerate(zip(self.lanes, self.steps(tick))):
            left = MARGIN + i % self.columns * (lane.width + GAP)
            parts += [
                (left + x, self.tops[i // self.columns] + y, shapes)
                for x, y, shapes in lane.parts(step)
            ]
        parts.append(
            (MARGIN, self.tops[-1], (Line(((0, 0), (self.width - 2 * MARGIN, 0)), THIN, 1),))
        )
        parts += [(MARGIN + 4 + x, self.tops[-1] + 12 + y, shapes) for x, y, shapes in self.legend]
        names = ", ".join(lane.trace.method["name"] for lane in self.lanes)
        return Picture(
            self.width,
            self.height,
            tuple(parts),
            f"bltlab trace: {clipped(names, 200)}, {self.told(tick)}",
        )

    def _value(self, tick):
        """A tick in the clock's own unit."""
        return tick / TICKS * self.longest if self.clock in FLOWS else tick

    def told(self, tick):
        """The clock's hands in words."""
        now, end = (
            f"{self._value(n):.3g}" if self.clock in FLOWS else n for n in (tick, self.length)
        )
        return f"{now} of {end} {CLOCKS[self.clock][0]}"

    def _readout(self, tick):
        """The clock: a bar and its words."""
        text = self.told(tick)
        left = max(wide(self.told(self.length), 14), 130) + 16
        right = self.width - 2 * MARGIN
        done = left + (right - left) * (tick / self.length if self.length else 1)
        return (
            Text(0, 15, text, 14),
            Line(((left, 10), (right, 10)), THIN, 5),
            Line(((left, 10), (done, 10)), BLUE, 5),
        )
