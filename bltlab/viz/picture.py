"""What a still picture is made of: shapes with places, for whoever holds a pen.

A `Picture` is a list of parts (x, y, shapes). Shapes lie relative to their part, so that one cell
is drawn once and put down many times. Lengths are CSS pixels, y grows downwards, colours are
"#rrggbb". No torch, no imaging library.
"""

import codecs
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from .. import vocab
from .colours import INK, RED, SOFT, STATES, THIN, mix, palette  # noqa: F401

CELL, HIGH, PITCH = 25, 31, 29  # a byte's box, and from one byte to the next
COLOURS = STATES

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle with round corners. dash: lengths on and off, None for a whole line."""

    x: float
    y: float
    w: float
    h: float
    fill: str | None = None
    stroke: str | None = None
    width: float = 1
    dash: tuple[float, float] | None = None
    radius: float = 4


class Line(NamedTuple):
    """A line through some points."""

    points: tuple[Point, ...]
    stroke: str = INK
    width: float = 1
    dash: tuple[float, float] | None = None


class Area(NamedTuple):
    """A filled polygon."""

    points: tuple[Point, ...]
    fill: str


class Text(NamedTuple):
    """Words.

    y: of their baseline. font: sans, bold, mono, mono-bold or mono-italic. anchor: start, middle or
    end.
    """

    x: float
    y: float
    text: str
    size: float
    fill: str = INK
    font: str = "sans"
    anchor: str = "start"


Shape = Box | Line | Area | Text
Part = tuple[float, float, tuple[Shape, ...]]  # x, y, shapes


@dataclass(frozen=True)
class Picture:
    """What to draw: size in pixels, the parts, and one sentence for who cannot see it."""

    width: float
    height: float
    parts: tuple[Part, ...]
    title: str


def rectangle(
    left: float,
    top: float,
    right: float,
    bottom: float,
    fill: str,
) -> Area:
    """A filled rectangle."""
    return Area(((left, top), (right, top), (right, bottom), (left, bottom)), fill)


# -- bytes and characters --------------------------------------------------------------------------

Span = tuple[int, int, str]  # start, end, kind


def spans(ids: Sequence[int], finished: bool) -> list[Span]:
    """Spans (start, end, kind) that cover ids.

    kind: a "whole" character, "pending" (it may still become one), "broken" or "special".
    finished: no byte follows the last one.

    >>> spans([72, 199, 260], finished=False)
    [(0, 1, 'whole'), (1, 2, 'pending'), (2, 3, 'special')]
    """
    found, start = [], 0
    while start < len(ids):
        end = _end_of_bytes(ids, start)
        if end == start:
            found.append((start, start + 1, "special"))
            start += 1
        else:
            found += _characters(ids, start, end, finished)
            start = end
    return found


def is_byte(i: int) -> bool:
    """Is an id a byte, neither special nor MASK?"""
    return vocab.OFFSET <= i < vocab.VOCAB_SIZE


def _end_of_bytes(ids: Sequence[int], start: int) -> int:
    """Where the run of bytes that begins at `start` ends."""
    end = start
    while end < len(ids) and is_byte(ids[end]):
        end += 1
    return end


def _characters(
    ids: Sequence[int],
    start: int,
    end: int,
    finished: bool,
) -> Iterator[Span]:
    """The characters of a run of bytes."""
    data = vocab.decode(ids[start:end])
    tail = len(data)
    more_may_come = not finished if end == len(ids) else ids[end] == vocab.MASK_ID
    if more_may_come:
        tail -= _unfinished(data)
    inner = 0  # bytes whose lead may still come
    if start > 0 and ids[start - 1] == vocab.MASK_ID:
        inner = _continuations(data)
    for a, b, valid in vocab.characters(data[:tail]):
        kind = "whole" if valid else "pending" if a < inner else "broken"
        yield start + a, start + b, kind
    if tail < len(data):
        yield start + tail, end, "pending"


def _unfinished(data: bytes) -> int:
    """How many bytes at the end begin a character that is not whole yet.

    >>> _unfinished("né".encode()[:-1]), _unfinished("né".encode())
    (1, 0)
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    tail = decoder.getstate()[0]
    surrogate = tail[:1] == b"\xed" and tail[1:] >= b"\xa0"  # which Python tells one byte later
    return 0 if surrogate else len(tail)


def _continuations(data: bytes) -> int:
    """How many of the first three bytes, from the first on, only continue a character."""
    count = 0
    while count < min(3, len(data)) and 0x80 <= data[count] < 0xC0:
        count += 1
    return count


def is_hex(i: int) -> bool:
    """Is an id shown as a hexadecimal number?"""
    return i < vocab.OFFSET + 32 or vocab.OFFSET + 127 <= i < vocab.MASK_ID


def glyph(i: int) -> str:
    """What stands in the box of an id: ASCII, else hex, nothing for MASK and space.

    >>> glyph(76), glyph(14), glyph(2)
    ('H', '0A', 'EOS')
    """
    if i in (vocab.MASK_ID, vocab.OFFSET + 32):
        return ""
    if i < vocab.OFFSET:
        return "EOS" if i == vocab.EOS_ID else f"<{i}>"
    byte = i - vocab.OFFSET
    return f"{byte:02X}" if is_hex(i) else chr(byte)


def character(ids: Sequence[int]) -> str:
    """What stands above the bytes of a whole character: itself, else its code point.

    >>> character([199, 173]), character([198, 164])
    ('é', 'U+00A0')
    """
    text = vocab.decode(ids).decode("utf-8")
    group = unicodedata.category(text)[0]
    if (group in "CZ" and text != " ") or text == "\ufffd":
        return f"U+{ord(text):04X}"
    return f"\u25cc{text}" if group == "M" else text


# -- one byte --------------------------------------------------------------------------------------

THROWN = "rejected", "dropped"
DOTS = (1.5, 2)
DASHES = {"masked": DOTS, "foreseen": DOTS, "proposed": (4, 3), "dropped": DOTS}  # of a state's box
# Of a frame, where it is not the state's colour
FRAMES = {"prompt": None, "masked": SOFT, "kept": None, "rejected": THIN, "dropped": SOFT}
FEET = {"accepted": 4, "kept": 2}  # height of the bar at a box's foot
FONTS = {"foreseen": "mono-italic", "proposed": "mono-italic", "replaced": "mono-bold"}


@lru_cache(maxsize=4096)
def cell(
    i: int,
    state: str,
    now: bool = False,
    opens: bool | None = None,
    broken: bool = False,
    linked: bool = False,
    w: float = CELL,
    h: float = HIGH,
) -> tuple[Shape, ...]:
    """The shapes of one byte.

    Its state is shown by a colour and a second cue; a rail lies below, a bar where it opens a
    patch.

    now: the latest event is about it. opens: None while not known. broken: it is not UTF-8.
    linked: it appeared in one step with the byte before it. w, h: size of its box.
    """
    shapes: list[Shape] = []
    if linked:
        shapes.append(rectangle(-4, h / 2 - 2.5, 0, h / 2 + 2.5, STATES[state]))
    shapes += _box(state, _fill(state, now), w, h)
    shapes += _second_cue(state, w, h)
    shapes += label(i, state, w, h)
    shapes += _stroke(state, w, h)
    if broken:
        shapes.append(Box(-2, -2, w + 4, h + 4, None, RED, 2, (5, 3)))
    if opens is not None:
        shapes += _rail(state, opens, w, h)
    return tuple(shapes)


def _stroke(state: str, w: float, h: float) -> list[Shape]:
    """What strikes out a byte that was thrown away: level by the model, aslant by the decoder."""
    if state not in THROWN:
        return []
    y = h / 2 + 1
    ends = ((3, y), (w - 3, y)) if state == "rejected" else ((3, h - 3), (w - 3, 3))
    return [Line(ends, STATES[state], 1.5)]


def _rail(state: str, opens: bool, w: float, h: float) -> list[Shape]:
    """The rail below a byte of a known patch, and a bar where it opens the patch."""
    left = 0 if opens else -2
    shapes: list[Shape] = [Line(((left, h + 6), (w + 2, h + 6)), SOFT, 2)]
    if opens:
        ink = SOFT if state == "prompt" else INK
        shapes.append(Line(((-2, -4), (-2, h + 7)), ink, 2))
    return shapes


def _fill(state: str, now: bool) -> str | None:
    if state in ("prompt", *THROWN):
        return None
    if state == "masked":
        return mix(STATES[state], 4)
    return mix(STATES[state], 42 if now else 15)


def _box(
    state: str,
    fill: str | None,
    w: float,
    h: float,
) -> list[Shape]:
    """The frame of a byte: double for a bonus, thick with a turned corner for a replacement."""
    colour = STATES[state]
    right = w - 1
    if state == "bonus":
        inner = Box(3, 3, w - 6, h - 6, None, colour, 1.2, None, 2)
        return [Box(0.5, 0.5, w - 1, h - 1, fill, colour, 1.2), inner]
    if state == "replaced":
        corner = Area(((right - 8, 1), (right, 1), (right, 9)), colour)
        return [Box(1, 1, w - 2, h - 2, fill, colour, 2), corner]
    edge = FRAMES.get(state, colour)
    if fill or edge:
        return [Box(0.5, 0.5, w - 1, h - 1, fill, edge, 1, DASHES.get(state))]
    return []


def _second_cue(
    state: str,
    w: float,
    h: float,
) -> list[Shape]:
    """What lies on the box: hatching where masked, a bar at the head of foreseen bytes,

    and at the foot of accepted and kept ones.
    """
    if state == "foreseen":
        return [rectangle(1, 1, w - 1, 4, STATES[state])]
    if state == "masked":
        return [_hatch(k, w, h) for k in range(8, int(w + h), 7)]
    if state in FEET:
        return [rectangle(1, h - FEET[state], w - 1, h, STATES[state])]
    return []


def _hatch(
    k: float,
    w: float,
    h: float,
) -> Line:
    """The k-th of the lines across a masked byte's box, clipped to it."""
    lower = max(1, k - h + 1), min(h - 1, k - 1)
    upper = min(w - 1, k - 1), max(1, k - w + 1)
    return Line((lower, upper), THIN, 1.5)


def label(
    i: int,
    state: str,
    w: float,
    h: float,
) -> list[Shape]:
    """The byte itself in its box; a space is drawn, so that it needs no font."""
    colour = SOFT if state in ("prompt", *THROWN) else INK
    if i == vocab.OFFSET + 32:
        y = h / 2 + 6
        left, right = w / 2 - 4, w / 2 + 4
        points = (left, y - 3), (left, y), (right, y), (right, y - 3)
        return [Line(points, colour, 1.3)]
    text = glyph(i)
    if not text:
        return []
    size = (11 if is_hex(i) else 17) * (h / HIGH) ** 0.5
    baseline = h / 2 + 0.36 * size
    font = FONTS.get(state, "mono")
    return [Text(w / 2, baseline, text, size, colour, font, "middle")]


@lru_cache(maxsize=1024)
def bracket(n: int, text: str | None) -> tuple[Shape, ...]:
    """A bracket above the `n` bytes of a character, and the character.

    The bracket is open to the right where the character is not whole.

    text: the character, None where it is not whole.
    """
    left, right = 3, n * PITCH - PITCH + CELL - 3
    points = ((left, 4), (left, 0), (right, 0))
    if text is None:
        line, shown = Line(points, INK, 1.5, (3, 2)), "..."
    else:
        line, shown = Line((*points, (right, 4)), INK, 1.5), text
    size = 15 if len(shown) < 3 else 11
    middle = (left + right) / 2
    return line, Text(middle, -4, shown, size, INK, "sans", "middle")


# -- lines of words --------------------------------------------------------------------------------


def wide(text: str, size: float) -> float:
    """About how many pixels a text takes. Fonts differ, so this is on the wide side."""
    return size * sum(map(_ems, text))


def _ems(c: str) -> float:
    """About how wide a character is, as a share of the font's size."""
    if c in "mwMW" or unicodedata.east_asian_width(c) in "WF":
        return 1.0
    return 0.37 if c in " fijlrtI.,:;'!|()-" else 0.64


def flow(
    items: Iterable[tuple[float, Any]],
    width: float,
    gap: float,
    line: float,
) -> tuple[list[tuple[float, float, Any]], float]:
    """Places for things side by side in lines of `width`: [(x, y, thing)], and the height.

    items: (width, thing) each. gap: between two. line: from one line to the next.

    >>> flow([(30, "a"), (30, "b"), (30, "c")], 70, 5, 20)
    ([(0, 0, 'a'), (35, 0, 'b'), (0, 20, 'c')], 40)
    """
    placed: list[tuple[float, float, Any]] = []
    x: float = 0
    y: float = 0
    for own_width, thing in items:
        if x and x + own_width > width:
            x, y = 0, y + line
        placed.append((x, y, thing))
        x += own_width + gap
    return placed, y + line


def clipped(value: Any, most: int = 60) -> str:
    """A setting in words, of at most so many characters.

    >>> clipped([0.5, "ab\\n"]), clipped("abcdefgh", 6)
    ('0.5, abU+000A', 'abc...')
    """
    words = _in_words(value, most)
    text = "".join(map(_visible, words))
    if len(text) <= most:
        return text
    return text[: most - 3] + "..."


def _visible(c: str) -> str:
    """A character, or its code point where it cannot be seen."""
    return c if c.isprintable() else f"U+{ord(c):04X}"


def _in_words(value: Any, most: int) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(clipped, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)[: most + 1]
