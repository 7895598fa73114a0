"""Pictures: one layout and two pens that agree, the player's colours and second cues, any bytes,
files whole or not at all.
"""

import base64
import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import random_model
from test_player import MODEL, NODE, RECORDED, TRACES, Tags, Writer

import bltlab
from bltlab import vocab
from bltlab.__main__ import main
from bltlab.costs import NFE
from bltlab.decoding import METHODS
from bltlab.trace import Committed, Drafted, Finished, Prefilled, Trace
from bltlab.viz import colours, export, player
from bltlab.viz.colours import STATES, palette
from bltlab.viz.picture import Box, Picture, Text, cell, character, spans
from bltlab.viz.scene import CLOCKS, FLOWS, Scene

FOUND = export.found
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = {name: trace for name, trace in TRACES.items() if not name.startswith("interrupted")}
EVIL = (
    bytes(range(256))
    + "</script><!-- &amp; ]]> é 京 \u05e2\u0627 e\u0301 \U0001f600 \u200d".encode()
    + b"\xf0\x9f\x98"
)


@pytest.fixture(autouse=True)
def one_font(monkeypatch):
    """Pixels are drawn with the font that comes with Pillow, whatever fonts the machine has."""
    monkeypatch.setattr(export, "found", lambda char: ())
    monkeypatch.setattr(export, "FONTS", dict.fromkeys(export.FONTS, "no such font"))
    monkeypatch.setattr(export, "OTHERS", ())
    export.written.cache_clear()
    yield
    export.written.cache_clear()


def written(data, name="ar", **settings):
    """A trace whose prompt and new bytes are `data`."""
    run = Writer(data[:9], data)
    run.draft(run.ids(10, 1), 10)
    run.commit(len(data))
    return replace(run.trace(name, "budget"), settings=settings)


# -- layout ----------------------------------------------------------------------------------------

JS = """
const { source, traces, ids } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const { CLOCKS, totals, spans, character } =
  new Function(`${source}; return { ...bltlabBase, ...bltlabFold }`)();
console.log(JSON.stringify({
  labels: Object.fromEntries(Object.entries(CLOCKS).map(([name, { label }]) => [name, label])),
  flows: Object.keys(CLOCKS).filter(name => CLOCKS[name].flows),
  times: traces.map(trace => Object.fromEntries(Object.entries(CLOCKS).map(([name, { read }]) =>
    [name, totals(trace).map((sum, n) => read(sum, trace.model.parameters, n))]))),
  spans: ids.map(list => [true, false].map(finished => spans(list, finished))),
  words: ids.map(list => spans(list, true).filter(span => span[2] === "whole").map(([a, b]) =>
    character(list.slice(a, b)))),
}));
"""
R = random.Random(1)
PIECES = [260, 2, 101, 36, 132, 173, 195, 199, 228, 231, 234, 237, 240, 244, 248, 249, 163, 164]
IDS = [R.choices(PIECES, k=R.randrange(12)) for _ in range(400)] + [vocab.encode(EVIL, bos=False)]


@pytest.fixture(scope="module")
def js():
    if NODE is None:
        pytest.skip("needs node")
    given = dict(
        source=player.SOURCE,
        traces=[t.to_json() for t in [*DRAWN.values(), *RECORDED.values()]],
        ids=IDS,
    )
    done = subprocess.run(
        [NODE, "-e", JS], input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_characters_are_found_as_the_player_finds_them(js):
    for ids, both, words in zip(IDS, js["spans"], js["words"], strict=True):
        for finished, found in zip((True, False), both, strict=True):
            assert [list(span) for span in spans(ids, finished)] == found, (ids, finished)
        assert [character(ids[a:b]) for a, b, kind in spans(ids, True) if kind == "whole"] == words


def test_the_clocks_are_the_players(js):
    assert list(CLOCKS) == list(player.CLOCKS) and list(FLOWS) == js["flows"]
    assert {name: label for name, (label, _) in CLOCKS.items()} == js["labels"]
    for trace, times in zip([*DRAWN.values(), *RECORDED.values()], js["times"], strict=True):
        for clock in CLOCKS:
            assert list(Scene([trace], clock).lanes[0].times) == pytest.approx(
                times[clock], rel=1e-9
            )


def test_a_race_shows_each_lane_as_far_as_the_clock_says():
    ar, dv = RECORDED["ar"], RECORDED["blt-dv"]
    scene = Scene([ar, dv], "passes")
    for tick in (0, 1, scene.length // 2, scene.length):
        for trace, step in zip((ar, dv), scene.steps(tick), strict=True):
            start = trace.totals.prefill_nfe
            passes = [
                e.nfe.decoder + e.nfe.global_ - start.decoder - start.global_ for e in trace.events
            ]
            assert step == sum(max(passes[: n + 1]) <= tick for n in range(len(passes)))
    assert scene.steps(scene.length) == [len(ar.events), len(dv.events)]
    half = Scene([ar, dv], "seconds")
    for trace, step in zip((ar, dv), half.steps(120), strict=True):
        middle = half.longest / 2 + trace.events[0].seconds
        assert trace.events[step - 1].seconds <= middle * 1.001
        assert step == len(trace.events) or trace.events[step].seconds >= middle * 0.999


def test_each_state_has_a_cue_beside_its_colour():
    def grey(shape):
        fields = {f: "x" for f in ("fill", "stroke") if getattr(shape, f, None)}
        return shape._replace(**fields)

    drawn = {state: tuple(map(grey, cell(101, state))) for state in STATES if state != "masked"}
    drawn["masked"] = tuple(map(grey, cell(vocab.MASK_ID, "masked")))
    assert len(set(drawn.values())) == len(STATES) == 10


def test_a_state_has_one_colour_in_pictures_and_pages(monkeypatch):
    for state, colour in STATES.items():
        shown = colours.ON_ANY_GROUND.get(colour, colour)
        assert f"--{state}: {shown};" in player.SOURCE
    rules = player.SOURCE.split("const CSS")[1]
    for state in ("proposed", "accepted", "replaced", "bonus", "kept", "rejected"):
        assert f"var(--{state})" in rules
    for other in (*STATES.values(), *colours.HUES.values()):  # named once: none is left in a script
        for path in Path(colours.__file__).parent.glob("*.js"):
            assert other not in path.read_text(encoding="utf-8").lower(), (path, other)
    monkeypatch.setitem(STATES, "rejected", "#123456")
    assert "#123456" in export.svg(Picture(9, 9, ((0, 0, cell(102, "rejected", w=9)),), ""))
    assert "--rejected: #123456;" in colours.css() and "#123456" in palette()


def test_the_colours_of_a_picture_are_in_its_palette():
    used = {
        getattr(shape, f, None)
        for name in ("blt-dv", "blt-d", "blt-s")
        for step in (5, 30, 50)
        for _, _, shapes in Scene([RECORDED[name]]).draw(step).parts
        for shape in shapes
        for f in ("fill", "stroke")
    }
    assert used - {None} <= set(palette()) and len(palette()) < export.THROUGH


@pytest.mark.parametrize("name", [n for n, t in DRAWN.items() if t.events] + ["wide"])
@pytest.mark.parametrize("width", [320, 760])
def test_every_byte_lies_inside_the_picture_and_no_two_lie_on_each_other(name, width):
    trace = written(("é京\U0001f600 " * 30).encode()) if name == "wide" else DRAWN[name]
    scene = Scene([trace], width=width)
    for step in range(0, len(trace.events) + 1, max(1, len(trace.events) // 12)):
        parts = scene.draw(step).parts

        def boxed(shapes):
            return any(isinstance(s, Box) and s.w >= 24 for s in shapes)

        places = [(x, y) for x, y, shapes in parts if y < scene.tops[-1] and boxed(shapes)]
        assert len(places) == len(set(places))
        for x, y, shapes in parts:
            assert all(
                x + s.x + s.w <= width and y + s.y + s.h <= scene.height
                for s in shapes
                if isinstance(s, Box)
            )
        cells = trace.canvas(step).cells
        looks = {
            cell(c.id, c.state, *now, broken, linked)
            for c in cells
            for now in ((False, c.opens), (True, c.opens))
            for broken in (False, True)
            for linked in (False, True)
        }
        assert sum(shapes in looks for _, _, shapes in parts) >= len(cells)


# -- the pen that writes ---------------------------------------------------------------------------


def test_svg_is_xml_for_any_bytes_and_holds_them_as_text():
    trace = written(EVIL, "</svg><script>\0\ud800", stop=["\x00\uffff", "]]>", "é"])
    text = export.svg(Scene([trace]).draw())
    root = ElementTree.fromstring(text)
    assert root.tag == SVG + "svg" and {e.tag.removeprefix(SVG) for e in root.iter()} <= {
        "svg",
        "title",
        "style",
        "rect",
        "g",
        "polyline",
        "polygon",
        "text",
    }
    words = [e.text for e in root.iter(SVG + "text")]
    for hexed in ("00", "0A", "7F", "FF", "C3"):
        assert hexed in words
    for char in ("é", "京", "\u05e2", "\U0001f600", "\u25cc\u0301", "U+200D", "broken UTF-8"):
        assert char in words
    assert "U+4EAC" in {
        e.text for e in root.iter(SVG + "title")
    }  # where no font has it, pointing at it still names it
    assert (
        "".join(w for w in words if len(w) == 1 and w.isascii() and w.isalpha()).count("script")
        >= 1
    )


@pytest.mark.parametrize("seed", range(20))
def test_svg_is_xml_for_random_bytes(seed):
    ElementTree.fromstring(export.svg(Scene([written(random.Random(seed).randbytes(120))]).draw()))


def test_svg_names_no_other_file():
    text = export.svg(Scene([RECORDED["blt-dv"]]).draw())
    assert re.search(r'<svg [^>]*width="100%" viewBox="0 0 760 \d+" style="max-width: 760px"', text)
    assert text.count("http") == 1 and 'xmlns="http://www.w3.org/2000/svg"' in text
    assert not any(
        word in text for word in ("href", "url(", "@import", "<script", "<image", "foreignObject")
    )


# -- the pen that draws ----------------------------------------------------------------------------


def pixels(data):
    Image = pytest.importorskip("PIL.Image")
    return Image.open(BytesIO(data))


@pytest.mark.parametrize("name, step", [("blt-dv", 44), ("blt-d", 40), ("blt-s", 60)])
def test_both_pens_put_the_same_colours_in_the_same_places(name, step):
    picture = Scene([RECORDED[name]]).draw(step)
    image = pixels(export.png(picture, scale=2)).convert("RGB")
    assert image.size == (2 * picture.width, 2 * picture.height)
    checked = 0
    for group in ElementTree.fromstring(export.svg(picture)).iter(SVG + "g"):
        x, y = map(float, group.get("transform")[10:-1].split())
        rect = group.find(SVG + "rect")
        if rect is not None and rect.get("fill") != "none":
            at = [
                2 * (x + float(rect.get("x")) + 4),
                2 * (y + float(rect.get("y")) + 13),
            ]  # clear of glyph and frame
            seen = [
                image.getpixel((round(at[0]) + dx, round(at[1]) + dy))
                for dx in range(-2, 3)
                for dy in range(-2, 3)
            ]
            assert tuple(bytes.fromhex(rect.get("fill")[1:])) in seen
            checked += 1
    assert checked > 30


def test_a_character_that_no_font_has_is_its_code_point():
    pytest.importorskip("PIL")
    assert not export.has(None, "\u0378") and export.has(None, "A")  # nobody has U+0378
    assert export.written("\u0378", "sans")[0] == "U+0378"
    assert export.written("\u25cc\u0378", "sans")[0] == "U+0378"
    assert export.written("name \u0378", "sans")[0] == "name ?"
    assert export.written("name", "sans")[0] == "name"


def test_any_bytes_can_be_drawn_even_where_there_are_no_fonts():
    pytest.importorskip("PIL")
    assert pixels(export.png(Scene([written(EVIL, "\0\ud800</svg>")]).draw(), 1)).size[0] == 760


FC_LIST = """/fonts/Zed.ttf:
/fonts/NotoSans-Bold.ttf:
/fonts/NotoSans.ttf:
/fonts/DejaVuSans.ttf:
"""


def test_a_character_is_looked_for_in_the_machines_fonts(monkeypatch):
    answer = subprocess.CompletedProcess([], 0, FC_LIST.encode())
    monkeypatch.setattr(export.subprocess, "run", lambda *args, **settings: answer)
    FOUND.cache_clear()
    names = [path.removeprefix("/fonts/") for path in FOUND("\u0378")]
    FOUND.cache_clear()
    assert names == ["DejaVuSans.ttf", "NotoSans.ttf", "NotoSans-Bold.ttf", "Zed.ttf"]
    monkeypatch.setattr(export, "found", lambda char: ("/fonts/Zed.ttf",))
    monkeypatch.setattr(export, "has", lambda path, char: path == "/fonts/Zed.ttf" or char < "\x80")
    export.written.cache_clear()
    assert export.written("\u0378", "sans") == ("\u0378", "/fonts/Zed.ttf")


def test_a_gif_shows_the_clocks_pictures_at_their_times():
    pytest.importorskip("PIL")
    scene = Scene([RECORDED["ar"], RECORDED["blt-dv"]], "passes", 700)
    film = pixels(export.gif(scene, seconds=3.0))
    pen, at, shown = export.Pillow(), 0, []
    for n in range(film.n_frames):
        film.seek(n)
        shown.append((at, film.convert("RGB")))
        at += film.info["duration"]
    assert at == 3000 + 100 + 2000 and film.info["loop"] == 0
    for n in (
        0,
        len(shown) // 3,
        len(shown) - 1,
    ):  # what is stored as a difference is the whole picture
        time, image = shown[n]
        expected = pen(scene.draw(round(min(time / 3000, 1) * scene.length))).convert("RGB")
        assert list(image.tobytes()) == list(expected.tobytes())


@pytest.mark.slow
def test_a_gif_of_200_bytes_is_small():
    pytest.importorskip("PIL")
    text = ("In the beginning was the word. " * 9)[:206].encode()
    run = Writer(text[:6], text)
    while run.position <= len(text):
        run.draft(run.ids(run.position, 1), run.position)
        guesses = run.guesses(run.position + 1, 8, run.position % 9)
        run.draft(guesses, run.position + 1)
        run.commit(1 + run.verify(guesses, run.position + 1))
    alone = Writer(text[:6], text)
    while alone.position <= len(text):
        alone.draft(alone.ids(alone.position, 1), alone.position)
        alone.commit(1, NFE(1, 1, 0, 0))
    traces = [alone.trace("ar", "budget"), run.trace("blt-s", "budget")]
    assert len(traces[0].bytes) == 200 and len(export.gif(Scene(traces, "passes"))) < 1_500_000


# -- files and bundles -----------------------------------------------------------------------------


def test_files_come_from_traces_generations_and_json(tmp_path):
    pytest.importorskip("PIL")
    trace = RECORDED["blt-d"]
    for kind, magic in (
        ("svg", b"<svg"),
        ("png", b"\x89PNG"),
        ("html", b"<!doctype html>"),
        ("gif", b"GIF89a"),
    ):
        to_file, more = (
            getattr(bltlab.viz, f"to_{kind}"),
            dict(seconds=0.2) if kind == "gif" else {},
        )
        written = []
        for given in (trace, [trace], trace.to_json(), bltlab.decoding.Generation(trace)):
            to_file(given, tmp_path / "out", **more)
            written.append((tmp_path / "out").read_bytes())
        assert written[0].startswith(magic) and len(set(written)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


LAST = len(RECORDED["blt-d"].events)


@pytest.mark.parametrize(
    "wrong, kind, words",
    [
        (dict(step=999), ValueError, rf"step must be an int in 0\.\.{LAST} on this clock, got 999"),
        (dict(step=-1), ValueError, f"0..{LAST}"),
        (dict(step=1.0), ValueError, "step must be an int"),
        (dict(clock="hours"), ValueError, "clock must be one of event, passes"),
        (dict(width=10), ValueError, "width must be an int of 320..4000"),
        (dict(traces=[]), ValueError, "at least one trace"),
        (dict(traces=7), TypeError, "a trace, or a list of them, is needed, got int"),
    ],
)
def test_bad_input_is_told_and_the_file_stays_as_it_was(tmp_path, wrong, kind, words):
    path = tmp_path / "kept.svg"
    path.write_text("kept")
    for to_file in (bltlab.viz.to_svg, bltlab.viz.to_png):
        with pytest.raises(kind, match=words) as error:
            to_file(**dict(traces=RECORDED["blt-d"], path=path) | wrong)
        assert "\n" not in str(error.value)
    assert path.read_text() == "kept" and len(list(tmp_path.iterdir())) == 1


def test_a_gif_needs_a_length():
    with pytest.raises(ValueError, match="seconds must be a number above 0"):
        bltlab.viz.to_gif(RECORDED["ar"], "nowhere.gif", seconds=0)


def test_a_picture_that_would_fill_the_memory_is_refused():
    pytest.importorskip("PIL")
    trace = written(b"x" * 40_000)
    with pytest.raises(ValueError, match="too large: save the trace as SVG or HTML"):
        export.png(Scene([trace]).draw())
    assert set(trace._repr_mimebundle_()[0]) == {"text/plain", "text/html"}


def test_a_trace_shows_as_picture_under_player_as_png_and_as_text():
    pytest.importorskip("PIL")
    trace = written(EVIL, '"><img src=x onerror=alert(1)>')
    for shown, traces in (
        (trace, [trace]),
        (bltlab.viz.View([trace, trace], "passes"), [trace, trace]),
    ):
        data, metadata = shown._repr_mimebundle_()
        assert set(data) == {"text/plain", "text/html", "image/png"}
        tags = Tags(data["text/html"])
        assert tags.tags == ["div", "img", "div", "iframe"]
        words = data["text/html"].replace(data["image/png"], "")  # base64 may spell anything
        assert "http" not in words.lower()
        image, frame = tags.attributes[1], tags.attributes[3]
        assert image["src"] == f"data:image/png;base64,{data['image/png']}"
        assert frame["sandbox"] == "allow-scripts"
        lanes = json.dumps([t.to_json() for t in traces], separators=(",", ":")).replace(
            "<", "\\u003c"
        )
        assert lanes in frame["srcdoc"]  # the parser has unescaped it
        picture = pixels(base64.b64decode(data["image/png"]))
        assert picture.size == tuple(
            2 * metadata["image/png"][side] for side in ("width", "height")
        )
    assert len(RECORDED["blt-dv"]._repr_mimebundle_()[0]["image/png"]) < 100_000


def test_without_pillow_there_is_a_player_an_svg_and_a_clear_word(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "PIL", None)
    data, _ = RECORDED["ar"]._repr_mimebundle_()
    assert set(data) == {"text/plain", "text/html"}
    bltlab.viz.to_svg(RECORDED["ar"], tmp_path / "t.svg")
    with pytest.raises(ImportError, match="need Pillow"):
        bltlab.viz.to_png(RECORDED["ar"], tmp_path / "t.png")
    RECORDED["ar"].save(tmp_path / "t.json")
    assert main(["view", str(tmp_path / "t.json"), "--png", str(tmp_path / "t.png")]) == 2
    assert (
        capsys.readouterr().err
        == "bltlab: PNG and GIF need Pillow (pip install pillow); SVG and HTML do not\n"
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_run_recorded_without_probabilities_is_shown_as_any_other(tmp_path, method):
    settings = dict(max_new_bytes=24, temperature=0.9, record="totals")
    trace = bltlab.generate(random_model(0), "abcabc", method, **settings).trace
    shown_everywhere(trace, tmp_path)


@pytest.mark.parametrize("name", ["untold", "untold behind an own byte"])
def test_a_drafter_that_tells_nothing_is_shown_as_any_other(tmp_path, name):
    shown_everywhere(TRACES[name], tmp_path)


def shown_everywhere(trace, folder):
    """Each way to show a trace works, at each of its steps."""
    pytest.importorskip("PIL")
    figures = pytest.importorskip("bltlab.viz.figures")
    assert set(trace._repr_mimebundle_()[0]) == {"text/plain", "text/html", "image/png"}
    assert figures.race([trace]).data and figures.acceptance_by_position({"a": [trace]}).to_json()
    for step in range(len(trace.events) + 1):
        bltlab.viz.to_svg(trace, folder / "t.svg", step)
        assert "None" not in (folder / "t.svg").read_text() + trace.to_text(step)
    bltlab.viz.to_png(trace, folder / "t.png")
    bltlab.viz.to_gif(trace, folder / "t.gif", seconds=0.3)
    bltlab.viz.to_html(trace, folder / "t.html")
    trace.save(folder / "t.json")
    assert Trace.load(folder / "t.json") == trace


def test_traces_without_bytes_can_be_drawn():
    for events in (
        (),
        (Finished(position=1, reason="interrupted"),),
        (Prefilled(ids=(1,), opens=(True,), entropies=(0.5,)), Finished(position=1, reason="eos")),
    ):
        scene = Scene([Trace(MODEL, {"name": "ar"}, {}, events)])
        for clock in CLOCKS:
            ElementTree.fromstring(export.svg(Scene([scene.lanes[0].trace], clock).draw()))


def test_an_open_character_and_a_hidden_one_are_bracketed():
    ids = tuple(vocab.encode("é".encode()[:1]))
    events = (
        Prefilled(ids=ids, opens=(True, True), entropies=(0.1, 0.1)),
        Drafted(position=2, id=101, prob=1.0, candidates=()),
        Committed(position=2, ids=(101,), opens=(False,), entropies=(0.1,)),
    )
    dots = [
        [
            s.text
            for _, _, shapes in Scene([Trace(MODEL, {"name": "ar"}, {}, events)]).draw(n).parts
            for s in shapes
            if isinstance(s, Text)
        ].count("...")
        for n in (1, 2)
    ]
    broken = [
        any(isinstance(s, Box) and s.dash == (5, 3) for s in cell(199, "prompt", broken=b))
        for b in (False, True)
    ]
    assert dots == [1, 0] and broken == [False, True]


def test_view_writes_each_kind_and_counts_steps_on_the_clock(tmp_path, capsys):
    pytest.importorskip("PIL")
    paths = [str(tmp_path / f"{name}.json") for name in ("ar", "blt-dv")]
    for path, name in zip(paths, ("ar", "blt-dv"), strict=True):
        RECORDED[name].save(path)
    files = {kind: str(tmp_path / f"out.{kind}") for kind in ("html", "svg", "png")}
    flags = [word for kind, path in files.items() for word in (f"--{kind}", path)]
    assert main(["view", *paths, "--clock", "passes", "--step", "20", *flags]) is None
    assert capsys.readouterr().out == "".join(f"wrote {path}\n" for path in files.values())
    told = ElementTree.parse(files["svg"]).find(SVG + "title").text
    assert told.startswith("bltlab trace: ar, blt-dv, 20 of ") and told.endswith(
        "decoder + global passes"
    )
    assert main(["view", *paths, "--clock", "passes", "--step", "20"]) is None
    ar, dv = Scene(list(map(Trace.load, paths)), "passes").steps(20)
    assert (
        capsys.readouterr().out
        == RECORDED["ar"].to_text(ar) + "\n" + RECORDED["blt-dv"].to_text(dv) + "\n"
    )
    assert (
        main(["view", paths[0], "--step", "999"]) == 2
        and "step must be an int in 0..194" in capsys.readouterr().err
    )
