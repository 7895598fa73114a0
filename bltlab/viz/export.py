"""Traces as files: SVG, PNG and animated GIF. One layout (`picture`), two pens: `svg` writes text, `Pillow` draws pixels.

Pillow is loaded when pixels are asked for. A character that no font here has is written as its code point, above its
bytes in hex: no empty boxes. An SVG is drawn with the fonts of whoever opens it, so it keeps the character itself; pointing
at one names its code point.
"""

import base64
import subprocess
from functools import lru_cache
from html import escape
from io import BytesIO
from math import ceil, floor

from . import player
from .picture import GROUND, Area, Box, Line, Text, palette
from .scene import Scene

FONTS = dict(sans="DejaVuSans", bold="DejaVuSans-Bold", mono="DejaVuSansMono")
FONTS |= {"mono-bold": "DejaVuSansMono-Bold", "mono-italic": "DejaVuSansMono-Oblique"}
OTHERS = "NotoSans-Regular", "NotoSansMono-Regular", "Arial Unicode", "Arial", "Helvetica"
SHARP = 4  # shapes are drawn this many times larger, then made smaller
FRAME, HOLD = 0.1, 2.0  # seconds of a GIF's frame, and of its last one
MOST_PIXELS = 60_000_000  # of a picture: about 3,000 bytes of text
THROUGH = 127  # the palette's index of what shows the frame before


# -- the pen that writes text --------------------------------------------------------------------------------------------


def xml(text):
    """Text that may stand in XML 1.0: markup escaped, what XML cannot hold as U+FFFD.

    >>> xml("<a & b>\\0")
    '&lt;a &amp; b&gt;\\ufffd'
    """
    legal = lambda c: (
        c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff"
    )
    text = "".join(c if legal(c) else "\ufffd" for c in text)
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )


def svg(picture):
    """A `Picture` as the text of an SVG file. It names no outside file; a reader without DejaVu uses a font of their own."""
    size = f'width="{picture.width}" height="{picture.height}" viewBox="0 0 {picture.width} {picture.height}"'
    body = "\n".join(
        f'<g transform="translate({x:g} {y:g})">{"".join(map(svg_shape, shapes))}</g>'
        for x, y, shapes in picture.parts
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{xml(picture.title)}</title>
<style>text {{ font-family: "DejaVu Sans", Verdana, system-ui, sans-serif; white-space: pre; }}
.mono {{ font-family: "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; }}</style>
<rect width="100%" height="100%" fill="{GROUND}"/>
{body}
</svg>
"""


@lru_cache(maxsize=4096)
def svg_shape(shape):
    stroke = (
        ""
        if isinstance(shape, (Area, Text)) or not shape.stroke
        else f' stroke="{shape.stroke}" stroke-width="{shape.width:g}"'
        + (f' stroke-dasharray="{shape.dash[0]:g} {shape.dash[1]:g}"' if shape.dash else "")
    )
    match shape:
        case Box(x, y, w, h, fill):
            return (
                f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{shape.radius}" fill="{fill or "none"}"'
                f"{stroke}/>"
            )
        case Line(points):
            return f'<polyline points="{_points(points)}" fill="none"{stroke}/>'
        case Area(points, fill):
            return f'<polygon points="{_points(points)}" fill="{fill}"/>'
        case Text(x, y, text, size, fill, font, anchor):
            kind = ' class="mono"' * font.startswith("mono")
            kind += ' font-weight="bold"' * font.endswith(
                "bold"
            ) + ' font-style="italic"' * font.endswith("italic")
            points = (
                ""
                if text.isascii() or len(text) > 2
                else f"<title>{' '.join(f'U+{ord(c):04X}' for c in text)}</title>"
            )
            return (
                f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"{kind}>'
                f"{xml(text)}{points}</text>"
            )


def _points(points):
    return " ".join(f"{x:g},{y:g}" for x, y in points)


# -- the pen that draws pixels -------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def font(path, size, shaped=True):
    """A font at a size in pixels; None is the one that comes with Pillow. None where there is no such font."""
    from PIL import ImageFont

    engine = None if shaped else ImageFont.Layout.BASIC
    try:
        return (
            ImageFont.truetype(path, size, layout_engine=engine)
            if path
            else ImageFont.load_default(size)
        )
    except (OSError, ValueError):  # missing, or a bitmap font that lacks this size
        return None


@lru_cache(maxsize=4096)
def has(path, char):
    """Does a font have a character? It has not where it draws what it draws for a code point that nobody has."""
    face = font(path, 24, shaped=False)
    if face is None:
        return False
    drawn, missing = face.getmask(char), face.getmask("\U0010fffe")
    return bool(drawn.getbbox()) and (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


@lru_cache(maxsize=1024)
def found(char):
    """Font files that claim to have a character, DejaVu and Noto first; none where fontconfig is not installed."""
    try:
        asked = subprocess.run(
            ["fc-list", f":charset={ord(char):x}", "file"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    paths = [
        line.rstrip(": \r") for line in asked.stdout.decode("utf-8", "replace").split("\n") if line
    ]
    rank = lambda path: (
        "DejaVu" not in path,
        "Noto" not in path,
        "Bold" in path or "Italic" in path,
        path,
    )
    return tuple(sorted(paths, key=rank))


@lru_cache(maxsize=8192)
def written(text, kind):
    """(what to write, with which font): the first font that has every character.

    Where there is none, a character alone is written as its code point, and one among others as "?".
    """
    ours = [
        f"{name}.ttf" for name in (FONTS[kind], FONTS["sans"], *OTHERS) if font(f"{name}.ttf", 24)
    ] + [None]
    marks = [c for c in text if c != " "]
    for path in ours:
        if all(has(path, c) for c in marks):
            return text, path
    lacking = [c for c in marks if not has(ours[0], c)]
    for path in found(lacking[0]):
        if all(has(path, c) for c in marks):
            return text, path
    alone = text.removeprefix("\u25cc")
    return (
        f"U+{ord(alone):04X}"
        if len(alone) == 1
        else "".join("?" if c in lacking else c for c in text)
    ), ours[0]


class Pillow:
    """Draws a `Picture` as an image, `scale` pixels to a CSS pixel. Raises ImportError where Pillow is not installed."""

    def __init__(self, scale=1):
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

    def __call__(self, picture):
        """Raises ValueError for a picture of more than `MOST_PIXELS`."""
        size = round(picture.width * self.scale), round(picture.height * self.scale)
        if size[0] * size[1] > MOST_PIXELS:
            raise ValueError(
                f"a picture of {size[0]} x {size[1]} pixels is too large: save the trace as SVG or HTML"
            )
        image = self.Image.new("RGBA", size, GROUND)
        for x, y, shapes in picture.parts:
            tile, left, top = self.tile(shapes)
            image.alpha_composite(
                tile, (max(0, round(x * self.scale) + left), max(0, round(y * self.scale) + top))
            )
        return image.convert("RGB").quantize(palette=self.palette, dither=0)

    def _tile(self, shapes):
        """The image of some shapes, and where its corner lies from their origin, in pixels."""
        texts = [self._text(shape) for shape in shapes if isinstance(shape, Text)]
        boxes = [_extent(shape) for shape in shapes if not isinstance(shape, Text)]
        boxes = (
            [[n * self.scale for n in box] for box in boxes]
            + [box for *_, box in texts]
            + [(0, 0, 1, 1)]
        )
        left, top = (floor(min(box[i] for box in boxes)) - 1 for i in (0, 1))
        right, bottom = (ceil(max(box[i] for box in boxes)) + 1 for i in (2, 3))
        tile = self.Image.new("RGBA", (right - left, bottom - top))
        if len(boxes) > len(texts) + 1:
            large = self.Image.new("RGBA", (tile.width * SHARP, tile.height * SHARP))
            pen = self.ImageDraw.Draw(large)
            for shape in shapes:
                if not isinstance(shape, Text):
                    self._shape(pen, shape, left, top)
            tile = large.reduce(SHARP)
        for shown, face, place, colour, anchor, _ in texts:
            ink = self.Image.new("L", tile.size)
            self.ImageDraw.Draw(ink).text(
                (place[0] - left, place[1] - top), shown, 255, face, anchor
            )
            layer = self.Image.new("RGBA", tile.size, colour)
            layer.putalpha(ink)
            tile.alpha_composite(layer)
        return tile, left, top

    def _text(self, shape):
        shown, path = written(shape.text, shape.font)
        size = (
            shape.size if len(shown) <= len(shape.text) else min(shape.size, 11)
        )  # a code point is long
        face, anchor = (
            font(path, size * self.scale),
            {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor],
        )
        place = shape.x * self.scale, shape.y * self.scale
        box = self.ImageDraw.Draw(self.Image.new("L", (1, 1))).textbbox(place, shown, face, anchor)
        return shown, face, place, shape.fill, anchor, box

    def _shape(self, pen, shape, left, top):
        k = self.scale * SHARP
        put = lambda points: [(x * k - left * SHARP, y * k - top * SHARP) for x, y in points]
        match shape:
            case Area(points, fill):
                pen.polygon(put(points), fill)
            case Line(points, stroke, width, dash):
                for piece in _pieces(points, dash):
                    pen.line(put(piece), stroke, round(width * k), "curve")
            case Box(x, y, w, h, fill, stroke, width, dash, radius):
                half = 0 if dash or not stroke else width / 2  # Pillow draws a frame inside its box
                corners = put(((x - half, y - half), (x + w + half, y + h + half)))
                pen.rounded_rectangle(
                    corners, (radius + half) * k, fill, None if dash else stroke, round(width * k)
                )
                for piece in (
                    _pieces(((x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)), dash)
                    if dash
                    else ()
                ):
                    pen.line(put(piece), stroke, round(width * k))


def _extent(shape):
    """(left, top, right, bottom) of a shape, its stroke included."""
    if isinstance(shape, Box):
        half = shape.width / 2 if shape.stroke else 0
        return shape.x - half, shape.y - half, shape.x + shape.w + half, shape.y + shape.h + half
    xs, ys = zip(*shape.points)
    half = 0 if isinstance(shape, Area) else shape.width / 2
    return min(xs) - half, min(ys) - half, max(xs) + half, max(ys) + half


def _pieces(points, dash):
    """A line cut into its dashes; itself where it has none."""
    if not dash:
        yield points
        return
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        at = lambda d: (x0 + (x1 - x0) * d / length, y0 + (y1 - y0) * d / length)
        start = 0.0
        while start < length:
            yield at(start), at(min(start + dash[0], length))
            start += sum(dash)


# -- files ---------------------------------------------------------------------------------------------------------------


def png(picture, scale=2):
    """A `Picture` as the bytes of a PNG file. Raises ImportError where Pillow is not installed."""
    file = BytesIO()
    Pillow(scale)(picture).save(file, "PNG")
    return file.getvalue()


def gif(scene, seconds=10.0):
    """A `Scene` as the bytes of an animated GIF: the clock runs evenly for `seconds`, then the end stands still."""
    if not (isinstance(seconds, (int, float)) and 0 < seconds <= 600):
        raise ValueError(f"seconds must be a number above 0 and at most 600, got {seconds!r}")
    pen, ticks, last = Pillow(), {}, max(1, round(seconds / FRAME))
    from PIL import ImageChops
    from tqdm.auto import tqdm

    for n in range(last + 1):  # frames that look alike are one that stands longer
        tick = round(n / last * scene.length)
        ticks[tick] = ticks.get(tick, 0) + FRAME
    ticks[scene.length] += HOLD
    before, frames, file = None, [], BytesIO()
    for tick in tqdm(ticks, "drawing", unit="frame", delay=2, leave=False):
        now = frame = pen(scene.draw(tick))
        if before:  # only what changed is stored, all else shows through
            same = ImageChops.difference(_indices(pen, before), _indices(pen, now)).point(
                lambda d: 255 * (not d)
            )
            frame = now.copy()
            frame.paste(THROUGH, mask=same)
        frames.append(frame)
        before = now
    frames[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[round(1000 * s) for s in ticks.values()],
        loop=0,
        optimize=False,
        transparency=THROUGH,
        disposal=1,
    )
    return file.getvalue()


def _indices(pen, image):
    """The palette's indices of an image, as grey."""
    return pen.Image.frombytes("L", image.size, image.tobytes())


# -- notebooks -----------------------------------------------------------------------------------------------------------

HTML = """<div style="display:flow-root">
<img alt="{title}" src="data:image/png;base64,{image}" style="float:left;width:{width}px;max-width:100%;margin-right:-100%">
<div style="position:relative">{player}</div>
</div>"""


def mimebundle(traces, text, clock=None):
    """What Jupyter shows of traces, as (data, metadata): the player as HTML, a picture as PNG, `text`.

    A notebook that is not trusted loses the player's iframe, so the picture lies below it in the HTML.
    """
    lanes, (data, metadata) = [t.to_json() for t in traces], still(traces, clock)
    if not data:
        return {"text/plain": text, "text/html": player.to_iframe(lanes, clock=clock)}, {}
    size = metadata["image/png"]
    html = HTML.format(
        image=data["image/png"],
        width=size["width"],
        title=escape(f"the end of the trace: {text[:200]}"),
        player=player.to_iframe(lanes, max(size["height"], 640), clock),
    )
    return data | {"text/plain": text, "text/html": html}, metadata


def still(traces, clock=None, step=None):
    """The PNG alone, as (data, metadata); both are empty where Pillow is missing or the traces are too many or too long."""
    try:
        scene = Scene(traces, clock)
        picture = scene.draw(step if step is None else min(step, scene.length))
        image = base64.b64encode(png(picture)).decode()
    except (ImportError, ValueError):
        return {}, {}
    return {"image/png": image}, {"image/png": {"width": picture.width, "height": picture.height}}
