"""Traces as files: SVG, PNG and animated GIF.

One layout (`scene`), two pens: `svg` writes text, `Pillow` draws pixels.

Pillow is loaded when pixels are asked for. A character that no font here has is written as its code
point, above its bytes in hex: no empty boxes. An SVG is drawn with the fonts of whoever opens it,
so it keeps the character itself; pointing at one names its code point.
"""

import base64
import subprocess
from collections.abc import Iterator, Sequence
from functools import lru_cache
from html import escape
from io import BytesIO
from itertools import pairwise
from math import ceil, dist, floor
from typing import Any

from ..trace import Trace
from . import player
from .colours import GROUND, palette
from .picture import Area, Box, Line, Picture, Point, Shape, Text
from .scene import Scene

FONTS = dict(sans="DejaVuSans", bold="DejaVuSans-Bold", mono="DejaVuSansMono")
FONTS |= {"mono-bold": "DejaVuSansMono-Bold", "mono-italic": "DejaVuSansMono-Oblique"}
OTHERS = "NotoSans-Regular", "NotoSansMono-Regular", "Arial Unicode", "Arial", "Helvetica"
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}  # in Pillow's words
SHARP = 4  # shapes are drawn this many times larger, then made smaller
FRAME, HOLD = 0.1, 2.0  # seconds of a GIF's frame, and of its last one
MOST_PIXELS = 60_000_000  # of a picture: about 3,000 bytes of text
THROUGH = 127  # the palette's index of what shows the frame before

Place = tuple[float, float, float, float]  # left, top, right, bottom


# -- the pen that writes text ----------------------------------------------------------------------


def xml(text: str) -> str:
    """Text that may stand in XML 1.0: markup escaped, what XML cannot hold as U+FFFD.

    >>> xml("<a & b>\\0")
    '&lt;a &amp; b&gt;\\ufffd'
    """
    text = "".join(c if _is_xml(c) else "\ufffd" for c in text)
    return escape(text, quote=False).replace('"', "&quot;")


def _is_xml(c: str) -> bool:
    """May a character stand in XML 1.0?"""
    return c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"


def svg(picture: Picture) -> str:
    """A `Picture` as the text of an SVG file.

    It names no outside file; a reader without DejaVu uses a font of their own. It is as wide as its
    place, so that a cell of a notebook does not cut it, and at most as wide as the picture.
    """
    width, height = picture.width, picture.height
    size = f'width="100%" viewBox="0 0 {width} {height}" style="max-width: {width}px"'
    body = "\n".join(_svg_part(*part) for part in picture.parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{xml(picture.title)}</title>
<style>text {{ font-family: "DejaVu Sans", Verdana, system-ui, sans-serif; white-space: pre; }}
.mono {{ font-family: "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; }}</style>
<rect width="100%" height="100%" fill="{GROUND}"/>
{body}
</svg>
"""


def _svg_part(
    x: float,
    y: float,
    shapes: tuple[Shape, ...],
) -> str:
    return f'<g transform="translate({x:g} {y:g})">{"".join(map(svg_shape, shapes))}</g>'


@lru_cache(maxsize=4096)
def svg_shape(shape: Shape) -> str:
    """A shape as an SVG element."""
    match shape:
        case Box():
            return _svg_box(shape)
        case Line(points):
            return f'<polyline points="{_points(points)}" fill="none"{_svg_stroke(shape)}/>'
        case Area(points, fill):
            return f'<polygon points="{_points(points)}" fill="{fill}"/>'
        case Text():
            return _svg_text(shape)


def _svg_box(box: Box) -> str:
    x, y, w, h, fill, *_ = box
    place = f'x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{box.radius}"'
    return f'<rect {place} fill="{fill or "none"}"{_svg_stroke(box)}/>'


def _svg_stroke(shape: Box | Line) -> str:
    if not shape.stroke:
        return ""
    stroke = f' stroke="{shape.stroke}" stroke-width="{shape.width:g}"'
    if shape.dash:
        stroke += f' stroke-dasharray="{shape.dash[0]:g} {shape.dash[1]:g}"'
    return stroke


def _svg_text(text: Text) -> str:
    x, y, words, size, fill, face, anchor = text
    place = f'x="{x:g}" y="{y:g}" font-size="{size:g}"'
    look = f'fill="{fill}" text-anchor="{anchor}"{_svg_font(face)}'
    inside = xml(words) + _code_points(words)
    return f"<text {place} {look}>{inside}</text>"


def _svg_font(name: str) -> str:
    """The attributes of a font.

    >>> _svg_font("mono-bold")
    ' class="mono" font-weight="bold"'
    """
    found = ' class="mono"' if name.startswith("mono") else ""
    if name.endswith("bold"):
        found += ' font-weight="bold"'
    if name.endswith("italic"):
        found += ' font-style="italic"'
    return found


def _code_points(text: str) -> str:
    """What pointing at a character beyond ASCII tells."""
    if text.isascii() or len(text) > 2:
        return ""
    return f"<title>{' '.join(f'U+{ord(c):04X}' for c in text)}</title>"


def _points(points: tuple[Point, ...]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


# -- fonts -----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def font(
    path: str | None,
    size: float,
    shaped: bool = True,
) -> Any:
    """A font at a size in pixels, None where there is no such font.

    path: of the file, or its name where the system knows it; None is the font that comes with
    Pillow.
    """
    from PIL import ImageFont

    engine = None if shaped else ImageFont.Layout.BASIC
    try:
        if path is None:
            return ImageFont.load_default(size)
        return ImageFont.truetype(path, size, layout_engine=engine)
    except (OSError, ValueError):  # missing, or a bitmap font that lacks this size
        return None


@lru_cache(maxsize=4096)
def has(path: str | None, char: str) -> bool:
    """Does a font have a character?

    If not, it draws the same as for a code point that nobody has.
    """
    face = font(path, 24, shaped=False)
    if face is None:
        return False
    drawn, missing = face.getmask(char), face.getmask("\U0010fffe")
    return bool(drawn.getbbox()) and (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


@lru_cache(maxsize=1024)
def found(char: str) -> tuple[str, ...]:
    """Font files that claim to have a character, DejaVu and Noto first.

    There are none where fontconfig is not installed.
    """
    command = ["fc-list", f":charset={ord(char):x}", "file"]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = asked.stdout.decode("utf-8", "replace").split("\n")
    paths = [line.rstrip(": \r") for line in lines if line]
    return tuple(sorted(paths, key=_rank))


def _rank(path: str) -> tuple[bool, bool, bool, str]:
    """What fonts are sorted by: DejaVu, then Noto, then others, upright ones first."""
    slanted = "Bold" in path or "Italic" in path
    return "DejaVu" not in path, "Noto" not in path, slanted, path


@lru_cache(maxsize=8192)
def written(text: str, kind: str) -> tuple[str, str | None]:
    """(what to write, path of the font): the first font that has every character.

    kind: a name in `FONTS`. Where there is no such font, a character alone is written as its code
    point, and one among others as "?".
    """
    ours = _fonts_for(kind)
    characters = [c for c in text if c != " "]
    for path in ours:
        if _has_all(path, characters):
            return text, path
    lacking = [c for c in characters if not has(ours[0], c)]
    for path in found(lacking[0]):
        if _has_all(path, characters):
            return text, path
    return _spelled(text, lacking), ours[0]


def _fonts_for(kind: str) -> list[str | None]:
    """The fonts of this machine to try first; the last one, None, comes with Pillow."""
    ours: list[str | None] = []
    for name in (FONTS[kind], FONTS["sans"], *OTHERS):
        file = f"{name}.ttf"
        if font(file, 24):
            ours.append(file)
    return [*ours, None]


def _has_all(path: str | None, characters: Sequence[str]) -> bool:
    return all(has(path, c) for c in characters)


def _spelled(text: str, lacking: Sequence[str]) -> str:
    """A text without the characters that no font has.

    >>> _spelled("\\u25cc\\u0301", "\\u0301"), _spelled("to \\u0301", "\\u0301")
    ('U+0301', 'to ?')
    """
    alone = text.removeprefix("\u25cc")
    if len(alone) == 1:
        return f"U+{ord(alone):04X}"
    return "".join("?" if c in lacking else c for c in text)


# -- the pen that draws pixels ---------------------------------------------------------------------


class Pillow:
    """Draws a `Picture` as an image, `scale` pixels to a CSS pixel.

    Raises ImportError where Pillow is not installed.
    """

    def __init__(self, scale: float = 1) -> None:
        try:
            from PIL import Image, ImageDraw
        except ImportError:
            raise ImportError(
                "PNG and GIF need Pillow (pip install pillow); SVG and HTML do not"
            ) from None
        self.Image, self.ImageDraw, self.scale = Image, ImageDraw, scale
        self.tile = lru_cache(maxsize=8192)(self._tile)
        self.palette = Image.new("P", (1, 1))
        self.palette.putpalette(b"".join(bytes.fromhex(colour[1:]) for colour in palette()))

    def __call__(self, picture: Picture) -> Any:
        """The picture as an image with a palette.

        Raises ValueError for one of more than `MOST_PIXELS`.
        """
        width = round(picture.width * self.scale)
        height = round(picture.height * self.scale)
        if width * height > MOST_PIXELS:
            raise ValueError(
                f"a picture of {width} x {height} pixels is too large:"
                " save the trace as SVG or HTML"
            )
        image = self.Image.new("RGBA", (width, height), GROUND)
        for x, y, shapes in picture.parts:
            tile, left, top = self.tile(shapes)
            left += round(x * self.scale)
            top += round(y * self.scale)
            image.alpha_composite(tile, (max(0, left), max(0, top)))
        plain = image.convert("RGB")
        return plain.quantize(palette=self.palette, dither=self.Image.Dither.NONE)

    def _tile(self, shapes: tuple[Shape, ...]) -> tuple[Any, int, int]:
        """The image of some shapes, and where its corner lies from their origin, in pixels."""
        texts = [shape for shape in shapes if isinstance(shape, Text)]
        solid = [shape for shape in shapes if not isinstance(shape, Text)]
        left, top, right, bottom = self._bounds(solid, texts)
        size = right - left, bottom - top
        if solid:
            tile = self._solid(solid, size, left, top)
        else:
            tile = self.Image.new("RGBA", size)
        for text in texts:
            tile.alpha_composite(self._ink(text, size, left, top))
        return tile, left, top

    def _bounds(
        self,
        solid: Sequence[Box | Line | Area],
        texts: Sequence[Text],
    ) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of shapes in whole pixels, with one to spare."""
        places: list[Sequence[float]] = [(0, 0, 1, 1)]
        for shape in solid:
            places.append([length * self.scale for length in _extent(shape)])
        places += map(self._text_extent, texts)
        lefts, tops, rights, bottoms = zip(*places, strict=True)
        return (
            floor(min(lefts)) - 1,
            floor(min(tops)) - 1,
            ceil(max(rights)) + 1,
            ceil(max(bottoms)) + 1,
        )

    def _solid(
        self,
        shapes: Sequence[Box | Line | Area],
        size: tuple[int, int],
        left: int,
        top: int,
    ) -> Any:
        """The image of shapes that are no text, drawn large and made smaller."""
        large = self.Image.new("RGBA", (size[0] * SHARP, size[1] * SHARP))
        pen = self.ImageDraw.Draw(large)
        for shape in shapes:
            self._shape(pen, shape, left, top)
        return large.reduce(SHARP)

    def _setting(self, text: Text) -> tuple[tuple[float, float], str, Any, str]:
        """Where and how a text is drawn, in Pillow's words: place, text, font, anchor."""
        shown, path = written(text.text, text.font)
        size = text.size
        if len(shown) > len(text.text):  # a code point
            size = min(size, 11)
        place = text.x * self.scale, text.y * self.scale
        face = font(path, size * self.scale)
        return place, shown, face, ANCHORS[text.anchor]

    def _text_extent(self, text: Text) -> Place:
        pen = self.ImageDraw.Draw(self.Image.new("L", (1, 1)))
        return pen.textbbox(*self._setting(text))

    def _ink(
        self,
        text: Text,
        size: tuple[int, int],
        left: int,
        top: int,
    ) -> Any:
        """A layer with a text on it."""
        (x, y), shown, face, anchor = self._setting(text)
        ink = self.Image.new("L", size)
        self.ImageDraw.Draw(ink).text((x - left, y - top), shown, 255, face, anchor)
        layer = self.Image.new("RGBA", size, text.fill)
        layer.putalpha(ink)
        return layer

    def _shape(
        self,
        pen: Any,
        shape: Box | Line | Area,
        left: int,
        top: int,
    ) -> None:
        """Draw a shape that is no text."""
        k = self.scale * SHARP

        def put(points: Sequence[Point]) -> list[Point]:
            """Where points lie on the large image."""
            return [(x * k - left * SHARP, y * k - top * SHARP) for x, y in points]

        if isinstance(shape, Area):
            pen.polygon(put(shape.points), shape.fill)
            return
        width = round(shape.width * k)
        if isinstance(shape, Line):
            for dash in _dashes(shape.points, shape.dash):
                pen.line(put(dash), shape.stroke, width, "curve")
            return
        edge = None if shape.dash else shape.stroke
        half = shape.width / 2 if edge else 0  # Pillow draws a frame inside its box
        corners = put(_corners(shape, half))
        radius = (shape.radius + half) * k
        pen.rounded_rectangle(corners, radius, shape.fill, edge, width)
        if shape.dash:
            for dash in _dashes(_outline(shape), shape.dash):
                pen.line(put(dash), shape.stroke, width)


def _corners(box: Box, half: float) -> tuple[Point, Point]:
    """The upper left and the lower right corner of a box that is wider on each side."""
    left, top = box.x, box.y
    right, bottom = left + box.w, top + box.h
    return (left - half, top - half), (right + half, bottom + half)


def _outline(box: Box) -> tuple[Point, ...]:
    """The corners of a box, around and back."""
    (left, top), (right, bottom) = _corners(box, 0)
    return (
        (left, top),
        (right, top),
        (right, bottom),
        (left, bottom),
        (left, top),
    )


def _extent(shape: Box | Line | Area) -> Place:
    """(left, top, right, bottom) of a shape, its stroke included."""
    points = _corners(shape, 0) if isinstance(shape, Box) else shape.points
    stroked = not isinstance(shape, Area) and shape.stroke
    half = shape.width / 2 if stroked else 0
    xs, ys = zip(*points, strict=True)
    return (
        min(xs) - half,
        min(ys) - half,
        max(xs) + half,
        max(ys) + half,
    )


def _dashes(points: Sequence[Point], dash: tuple[float, float] | None) -> Iterator[Sequence[Point]]:
    """A line cut into its dashes; itself where it has none.

    >>> list(_dashes(((0, 0), (10, 0)), (4, 3)))
    [((0.0, 0.0), (4.0, 0.0)), ((7.0, 0.0), (10.0, 0.0))]
    """
    if not dash:
        yield points
        return
    on, off = dash
    for begin, end in pairwise(points):
        length = dist(begin, end)
        start = 0.0
        while start < length:
            stop = min(start + on, length)
            yield _at(begin, end, start, length), _at(begin, end, stop, length)
            start += on + off


def _at(begin: Point, end: Point, distance: float, length: float) -> Point:
    """The point so far along a line of `length` from one point to another."""
    (x0, y0), (x1, y1) = begin, end
    x = x0 + (x1 - x0) * distance / length
    y = y0 + (y1 - y0) * distance / length
    return x, y


# -- files -----------------------------------------------------------------------------------------


def png(picture: Picture, scale: float = 2) -> bytes:
    """A `Picture` as the bytes of a PNG file. Raises ImportError where Pillow is not installed."""
    file = BytesIO()
    Pillow(scale)(picture).save(file, "PNG")
    return file.getvalue()


def gif(scene: Scene, seconds: float = 10.0) -> bytes:
    """A `Scene` as the bytes of an animated GIF: the clock runs evenly, then the end stands still.

    seconds: that the clock runs. Raises ValueError for a number of seconds out of range,
    ImportError where Pillow is not installed.
    """
    if not (isinstance(seconds, (int, float)) and 0 < seconds <= 600):
        raise ValueError(f"seconds must be a number above 0 and at most 600, got {seconds!r}")
    pen, ticks = Pillow(), _ticks(scene, seconds)
    from tqdm.auto import tqdm

    before, frames = None, []
    for tick in tqdm(ticks, "drawing", unit="frame", delay=2, leave=False):
        now = pen(scene.draw(tick))
        frames.append(now if before is None else _changes(pen, before, now))
        before = now
    file = BytesIO()
    frames[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[round(1000 * shown) for shown in ticks.values()],
        loop=0,
        optimize=False,
        transparency=THROUGH,
        disposal=1,
    )
    return file.getvalue()


def _ticks(scene: Scene, seconds: float) -> dict[int, float]:
    """The ticks that a film shows, each with its seconds.

    Frames that look alike are one that stands longer.
    """
    ticks: dict[int, float] = {}
    last = max(1, round(seconds / FRAME))
    for n in range(last + 1):
        tick = round(n / last * scene.length)
        ticks[tick] = ticks.get(tick, 0) + FRAME
    ticks[scene.length] += HOLD
    return ticks


def _changes(
    pen: Pillow,
    before: Any,
    now: Any,
) -> Any:
    """A frame that holds only what changed; all else shows through."""
    from PIL import ImageChops

    difference = ImageChops.difference(_indices(pen, before), _indices(pen, now))
    frame = now.copy()
    frame.paste(THROUGH, mask=difference.point([255] + [0] * 255))
    return frame


def _indices(pen: Pillow, image: Any) -> Any:
    """The palette's indices of an image, as grey."""
    return pen.Image.frombytes("L", image.size, image.tobytes())


# -- notebooks -------------------------------------------------------------------------------------

HTML = """<div style="display:flow-root">
<img alt="{title}" src="data:image/png;base64,{image}" style="{style}">
<div style="position:relative">{player}</div>
</div>"""
IMAGE = "float:left;width:{width}px;max-width:100%;margin-right:-100%"


def mimebundle(
    traces: Sequence[Trace],
    text: str,
    clock: str | None = None,
) -> tuple[dict[str, str], dict[str, Any]]:
    """What Jupyter shows of traces, as (data, metadata): the player, a picture and `text`.

    A notebook that is not trusted loses the player's iframe, so the picture lies below it in the
    HTML.
    """
    lanes = [trace.to_json() for trace in traces]
    data, metadata = still(traces, clock)
    if not data:
        return {"text/plain": text, "text/html": player.to_iframe(lanes, clock=clock)}, {}
    size = metadata["image/png"]
    html = HTML.format(
        image=data["image/png"],
        style=IMAGE.format(width=size["width"]),
        title=escape(f"the end of the trace: {text[:200]}"),
        player=player.to_iframe(lanes, max(size["height"], 640), clock),
    )
    return data | {"text/plain": text, "text/html": html}, metadata


def many_traces(traces: Sequence[Trace]) -> str:
    """How many traces, in words."""
    return f"{len(traces)} trace" if len(traces) == 1 else f"{len(traces)} traces"


def still(
    traces: Sequence[Trace],
    clock: str | None = None,
    step: int | None = None,
) -> tuple[dict[str, str], dict[str, Any]]:
    """The PNG alone, as (data, metadata).

    Both are empty where Pillow is missing or the traces are too many or too long.
    """
    try:
        scene = Scene(traces, clock)
        picture = scene.draw(step if step is None else min(step, scene.length))
        image = base64.b64encode(png(picture)).decode()
    except (ImportError, ValueError):
        return {}, {}
    return {"image/png": image}, {"image/png": {"width": picture.width, "height": picture.height}}
