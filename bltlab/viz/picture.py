"""What a still picture is made of: shapes with places, for whoever holds a pen. Colours and second cues are the player's.

A `Picture` is a list of parts (x, y, shapes). Shapes lie relative to their part, so that one cell is drawn once and put
down many times. Lengths are CSS pixels, y grows downwards, colours are "#rrggbb". No torch, no imaging library.
"""

import codecs
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .. import vocab

GROUND, INK = "#ffffff", "#111111"
ORANGE, GREEN, BLUE, RED, PINK = "#e69f00", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
COLOURS = dict(
    prompt=INK,
    masked=INK,
    proposed=ORANGE,
    accepted=GREEN,
    replaced=RED,
    bonus=PINK,
    kept=BLUE,
    rejected=INK,
)
CELL, HIGH, PITCH = 25, 31, 29  # a byte's box, and from one byte to the next


class Box(NamedTuple):
    x: float
    y: float
    w: float
    h: float
    fill: str = None
    stroke: str = None
    width: float = 1
    dash: tuple = None  # on, off
    radius: float = 4


class Line(NamedTuple):
    points: tuple
    stroke: str = INK
    width: float = 1
    dash: tuple = None


class Area(NamedTuple):
    points: tuple
    fill: str


class Text(NamedTuple):
    x: float
    y: float  # of the baseline
    text: str
    size: float
    fill: str = INK
    font: str = "sans"  # sans, bold, mono, mono-bold, mono-italic
    anchor: str = "start"  # start, middle, end


@dataclass(frozen=True)
class Picture:
    """What to draw: size in pixels, parts ((x, y, shapes), ...), and one sentence for who cannot see it."""

    width: int
    height: int
    parts: tuple
    title: str


def mix(colour, percent, ground=GROUND):
    """`percent` of a colour on a ground.

    >>> mix("#000000", 50)
    '#808080'
    """
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(b + (a - b) * percent / 100):02x}" for a, b in pairs)


SOFT, THIN = mix(INK, 65), mix(INK, 14)


def palette():
    """Every colour of a picture, and the shades between those that touch: about 120, so that a file needs no more."""
    tints = [(c, mix(c, n)) for c in (ORANGE, GREEN, RED, PINK, BLUE) for n in (15, 42)]
    tints += [(RED, mix(RED, 9)), (INK, mix(INK, 4))]
    shades = [
        mix(c, n)
        for c in (INK, SOFT, THIN, ORANGE, GREEN, RED, PINK, BLUE)
        for n in (25, 50, 75, 100)
    ]
    shades += [
        mix(c, n, tint)
        for own, tint in tints
        for c, n in ((INK, 25), (INK, 50), (INK, 75), (own, 50), (INK, 0))
    ]
    return tuple(dict.fromkeys([GROUND, *shades]))


# -- bytes and characters ----------------------------------------------------------------------------------------------


def spans(ids, finished):
    """Covers ids with (start, end, kind): a "whole" character, "pending" (it may still become one), "broken", "special".

    >>> spans([72, 199, 260], finished=False)
    [(0, 1, 'whole'), (1, 2, 'pending'), (2, 3, 'special')]
    """
    found, i, is_byte = [], 0, lambda i: vocab.OFFSET <= i < vocab.VOCAB_SIZE
    while i < len(ids):
        end = next((j for j in range(i, len(ids)) if not is_byte(ids[j])), len(ids))
        if end == i:
            found.append((i, i + 1, "special"))
            i += 1
            continue
        data, decoder = vocab.decode(ids[i:end]), codecs.getincrementaldecoder("utf-8")("replace")
        decoder.decode(data)
        open_end = ids[end] == vocab.MASK_ID if end < len(ids) else not finished
        tail = (
            len(data) - len(decoder.getstate()[0]) if open_end else len(data)
        )  # where a character is under way
        inner = 0  # continuation bytes behind a MASK: their lead may still come
        while (
            i
            and ids[i - 1] == vocab.MASK_ID
            and inner < min(3, len(data))
            and 0x80 <= data[inner] < 0xC0
        ):
            inner += 1
        found += [
            (i + a, i + b, "whole" if valid else "pending" if a < inner else "broken")
            for a, b, valid in vocab.characters(data[:tail])
        ]
        found += [(i + tail, end, "pending")] if tail < len(data) else []
        i = end
    return found


def is_hex(i):
    return i < vocab.OFFSET + 32 or vocab.OFFSET + 127 <= i < vocab.MASK_ID


def glyph(i):
    """What stands in the box of an id: ASCII as it is, other bytes in hex, nothing for MASK."""
    if i == vocab.MASK_ID or i == vocab.OFFSET + 32:
        return ""
    if i < vocab.OFFSET:
        return "EOS" if i == vocab.EOS_ID else f"<{i}>"
    return f"{i - vocab.OFFSET:02X}" if is_hex(i) else chr(i - vocab.OFFSET)


def character(ids):
    """What stands above the bytes of a whole character: itself, or its code point where it has no picture.

    >>> character([199, 173]), character([198, 164])
    ('é', 'U+00A0')
    """
    text = vocab.decode(ids).decode("utf-8")
    kind = unicodedata.category(text)
    return (
        f"U+{ord(text):04X}"
        if kind[0] in "CZ" and text != " " or text == "\ufffd"
        else "\u25cc" * (kind[0] == "M") + text
    )


# -- one byte ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def cell(i, state, now=False, opens=None, broken=False, linked=False, w=CELL, h=HIGH):
    """The shapes of one byte: a colour and a second cue for its state, a rail below it, a bar where it opens a patch.

    now: the latest event is about it; linked: it appeared in one step with the byte before it.
    """
    colour, shapes, right = COLOURS[state], [], w - 1
    edge = dict(prompt=None, masked=SOFT, kept=None, rejected=THIN).get(state, colour)
    fill = (
        None
        if state in ("prompt", "rejected")
        else mix(colour, 4 if state == "masked" else 42 if now else 15)
    )
    dash = dict(masked=(1.5, 2), proposed=(4, 3)).get(state)
    if linked:
        shapes.append(
            Area(((-4, h / 2 - 2.5), (0, h / 2 - 2.5), (0, h / 2 + 2.5), (-4, h / 2 + 2.5)), colour)
        )
    if state == "bonus":  # a double frame
        shapes += [
            Box(0.5, 0.5, w - 1, h - 1, fill, colour, 1.2),
            Box(3, 3, w - 6, h - 6, None, colour, 1.2, None, 2),
        ]
    elif state == "replaced":  # a thick frame and a turned corner
        shapes += [
            Box(1, 1, w - 2, h - 2, fill, colour, 2),
            Area(((right - 8, 1), (right, 1), (right, 9)), colour),
        ]
    elif fill or edge:
        shapes.append(Box(0.5, 0.5, w - 1, h - 1, fill, edge, 1, dash))
    if state == "masked":  # hatched
        shapes += [
            Line(
                ((max(1, k - h + 1), min(h - 1, k - 1)), (min(w - 1, k - 1), max(1, k - w + 1))),
                THIN,
                1.5,
            )
            for k in range(8, w + h, 7)
        ]
    if state in ("accepted", "kept"):  # a bar at its foot
        bar = 4 if state == "accepted" else 2
        shapes.append(Area(((1, h - bar), (right, h - bar), (right, h), (1, h)), colour))
    shapes += label(i, state, w, h)
    if state == "rejected":  # struck out
        shapes.append(Line(((3, h / 2 + 1), (w - 3, h / 2 + 1)), RED, 1.5))
    if broken:
        shapes.append(Box(-2, -2, w + 4, h + 4, None, RED, 2, (5, 3)))
    if opens is not None:
        shapes.append(Line(((0 if opens else -2, h + 6), (w + 2, h + 6)), SOFT, 2))
    if opens:
        shapes.append(Line(((-2, -4), (-2, h + 7)), SOFT if state == "prompt" else INK, 2))
    return tuple(shapes)


def label(i, state, w, h):
    """The byte itself in its box; a space is drawn, so that it needs no font."""
    colour = SOFT if state in ("prompt", "rejected") else INK
    if i == vocab.OFFSET + 32:
        y = h / 2 + 6
        return [
            Line(
                ((w / 2 - 4, y - 3), (w / 2 - 4, y), (w / 2 + 4, y), (w / 2 + 4, y - 3)),
                colour,
                1.3,
            )
        ]
    text, size = glyph(i), (11 if is_hex(i) else 17) * (h / HIGH) ** 0.5
    font = {"proposed": "mono-italic", "replaced": "mono-bold"}.get(state, "mono")
    return [Text(w / 2, h / 2 + 0.36 * size, text, size, colour, font, "middle")] if text else []


@lru_cache(maxsize=1024)
def bracket(n, text):
    """Above the `n` bytes of a character: a bracket, open to the right where the character is not whole (text is None)."""
    left, right = 3, n * PITCH - PITCH + CELL - 3
    points = ((left, 4), (left, 0), (right, 0)) + (((right, 4),) if text is not None else ())
    shown = text if text is not None else "..."
    return (
        Line(points, INK, 1.5, None if text is not None else (3, 2)),
        Text((left + right) / 2, -4, shown, 15 if len(shown) < 3 else 11, INK, "sans", "middle"),
    )


# -- lines of words ----------------------------------------------------------------------------------------------------


def wide(text, size):
    """About how many pixels a text takes. Fonts differ, so this is on the wide side."""
    return size * sum(
        1.0
        if c in "mwMW" or unicodedata.east_asian_width(c) in "WF"
        else 0.37
        if c in " fijlrtI.,:;'!|()-"
        else 0.64
        for c in text
    )


def flow(items, width, gap, line):
    """Places for items (width, ...) that wrap: [(x, y, item)], and the height."""
    placed, x, y = [], 0, 0
    for item in items:
        if x and x + item[0] > width:
            x, y = 0, y + line
        placed.append((x, y, item))
        x += item[0] + gap
    return placed, y + line


def clipped(value, most=60):
    """A setting in words."""
    text = (
        ", ".join(map(clipped, value))
        if isinstance(value, (list, tuple))
        else f"{value:g}"
        if isinstance(value, float)
        else ""
        if value is None
        else str(value)[: most + 1]
    )
    text = "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in text)
    return text if len(text) <= most else text[: most - 3] + "..."
