"""The patches viewer cuts as the library cuts, its line moves by hand and keyboard, and no byte of
a text becomes markup.
"""

import html
import json
import random
import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import UNSAFE, Tags

import bltlab
from bltlab import inspection, vocab
from bltlab.patching import TextPatches, next_opens, surprising
from bltlab.viz import patches

VIEWS = Path(__file__).parent.parent / "assets" / "views"
SURVEYS = json.loads((VIEWS / "patches.json").read_text(encoding="utf-8"))
NODE = shutil.which("node")
RULE = """
const { rule } = require(process.argv[1]);
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(([survey, options]) => rule(survey, options))));
"""
EVIL = b"</script><img src=x onerror=alert(1)><!--\x00\xff\xc3\xe5\xb7"


def library_opens(text, nats, patcher, threshold, stride, limit):
    """Which bytes open a patch, by bltlab.patching: nats[i] is the entropy before byte i."""
    config = replace(
        bltlab.BLTConfig.preset("tiny").patcher,
        threshold=threshold,
        rule=patcher,
        max_patch_length=stride if patcher == "stride" else limit,
    )
    ids = torch.tensor([vocab.encode(text)])
    surprise = surprising(config, ids, torch.tensor([[*nats, 0.0]], dtype=torch.float64))
    positions, start = torch.arange(ids.shape[1])[None], torch.tensor([0])
    return next_opens(surprise, positions, start, config.max_patch_length)[0, :-1].tolist()


def survey(text, name="text", threshold=1.5, limit=8, seed=0):
    draw = random.Random(seed)
    return dict(
        name=name,
        bytes=list(text),
        entropies=[draw.random() * 4 for _ in text],
        threshold=threshold,
        max_patch_length=limit,
    )


def lengths(opens):
    starts = [i for i, open_ in enumerate(opens) if open_] + [len(opens)]
    return [b - a for a, b in pairwise(starts)]


# -- the rule --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("viewer") / "patches.js"
    path.write_text(patches.SOURCE, encoding="utf-8")
    return path


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_browser_cuts_as_the_library_does(source):
    draw, cases, wanted = random.Random(1), [], []
    for case in range(400):
        text = bytes(
            draw.choices(b"azAZ09 .,-_@[`{/:\x00\x7f\x80\xc3\xa9\xff\n", k=draw.randint(0, 60))
        )
        made = survey(text, seed=case)
        some = draw.choice(
            [draw.random() * 4, *made["entropies"][:1]]
        )  # at times an entropy: `>` is strict
        for patcher in ("entropy", "stride", "space"):
            options = dict(
                patcher=patcher,
                threshold=some,
                stride=draw.randint(1, 9),
                max_patch_length=draw.choice([None, 1, 2, 3, 5, 8]),
            )
            cases.append((made, options))
            wanted.append(
                library_opens(
                    text,
                    made["entropies"],
                    patcher,
                    some,
                    options["stride"],
                    options["max_patch_length"],
                )
            )
    done = subprocess.run(
        [NODE, "-e", RULE, source],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for (made, options), ours, theirs in zip(cases, wanted, json.loads(done.stdout), strict=True):
        assert ours == theirs, (bytes(made["bytes"]), options)
        assert not ours or ours[0]  # the first byte always opens one


@pytest.fixture(scope="module")
def model():
    return bltlab.BLT.from_pretrained("blt-d-nano", device="cpu")


@pytest.mark.parametrize("name", [s["name"] for s in SURVEYS])
def test_recorded_surveys_are_what_the_shipped_model_says(model, name):
    recorded = next(s for s in SURVEYS if s["name"] == name)
    text = bytes(recorded["bytes"])
    fresh = inspection.survey(model, text, name)
    assert {k: v for k, v in fresh.items() if k != "entropies"} == {
        k: v for k, v in recorded.items() if k != "entropies"
    }
    assert fresh["entropies"] == pytest.approx(recorded["entropies"], abs=1e-3)
    opens = library_opens(
        text,
        recorded["entropies"],
        "entropy",
        recorded["threshold"],
        None,
        recorded["max_patch_length"],
    )
    assert lengths(opens) == bltlab.patchify(model, text).lengths[1:]


def test_the_recorded_texts_span_scripts_and_code():
    assert [s["name"] for s in SURVEYS] == [
        "English",
        "French",
        "German",
        "Greek",
        "Japanese",
        "Arabic",
        "Emoji",
        "Python",
    ]
    assert (VIEWS / "patches.json").stat().st_size < 60_000 and (
        VIEWS / "inside.json"
    ).stat().st_size < 60_000


def test_a_survey_holds_the_entropy_before_each_byte():
    found = patches.survey(TextPatches(b"ab", [1, 2], [0, 1], [3.0, 0.5, 2.0], True), "two", 1.3, 8)
    assert found == dict(
        name="two", bytes=[97, 98], entropies=[3.0, 0.5], threshold=1.3, max_patch_length=8
    )


def test_an_odd_survey_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="at least one text"):
        patches.to_page([])
    with pytest.raises(
        ValueError, match="'text' must have one entropy for each of its 2 bytes, got 1"
    ):
        patches.to_page([survey(b"ab") | dict(entropies=[1.0])])


def test_views_are_recorded_again_byte_for_byte(model, tmp_path):
    for name in ("patches.json", "inside.json"):
        shutil.copy(VIEWS / name, tmp_path)
    inspection.record(model, tmp_path)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    inspection.record(model, tmp_path)
    assert first == {
        p.name: p.read_bytes() for p in tmp_path.iterdir()
    }  # nothing else lies there either


# -- the page --------------------------------------------------------------------------------------


def test_bytes_that_look_like_markup_stay_inert():
    name = EVIL[:38].decode()
    page = patches.to_page([survey(EVIL, name=name)], title=name)
    assert Tags(page).tags.count("script") == 2 and "img" not in Tags(page).tags
    assert len(re.findall("</script", page, re.I)) == 2 and "<!--<" not in page
    assert "onerror" not in page.replace(html.escape(name), "").replace(
        json.dumps(name).replace("<", "\\u003c"), ""
    )


def test_the_page_draws_text_nodes_only_and_fetches_nothing():
    assert not re.search(UNSAFE, patches.SOURCE)
    assert (
        "http" not in patches.to_page(SURVEYS).lower()
        and "http" not in patches.to_iframe(SURVEYS).lower()
    )
    assert len(patches.SOURCE) < 50_000


def test_the_iframe_is_sandboxed_holds_the_page_and_shows_itself():
    frame = patches.to_iframe(SURVEYS, height=321)
    parsed = Tags(frame)
    assert parsed.tags == ["iframe"] and parsed.attributes[0]["sandbox"] == "allow-scripts"
    assert (
        parsed.attributes[0]["srcdoc"] == patches.to_page(SURVEYS)
        and "height:321px" in parsed.attributes[0]["style"]
    )
    assert frame._repr_html_() == frame


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture
def show(open_file):
    viewport = dict(width=1280, height=900)
    return lambda data, **options: open_file(
        patches.to_page(data), **{"viewport": viewport, **options}
    )


def on_screen(page):
    """The numbers and patches that a reader sees."""
    return page.evaluate("""() => ({
        stats: [...document.querySelectorAll(".bltp-tally dd")].map(node => node.textContent),
        opens: [...document.querySelectorAll(".bltp-column")].map(node =>
           !node.classList.contains("bltp-inside")),
        bins: [...document.querySelectorAll(".bltp-bin")].map(bin => bin.firstChild.textContent),
        value: document.querySelector(".bltp-value").textContent })""")


def test_a_drag_to_a_threshold_recuts_the_text(show):
    page, english = show(SURVEYS), SURVEYS[0]
    text, nats = bytes(english["bytes"]), english["entropies"]
    line = page.locator(".bltp-line").first
    for wanted in (3.0, 0.6):
        box, at = line.bounding_box(), page.evaluate("viewer.state().threshold")
        x, y = box["x"] + 200, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 5, y + (at - wanted) / 6 * 104, steps=4)  # 104 pixels are 6 nats
        page.mouse.up()
        page.wait_for_function(
            "wanted => Math.abs(viewer.state().threshold - wanted) < 0.03", arg=wanted
        )
        threshold = page.evaluate("viewer.state().threshold")
        opens = library_opens(text, nats, "entropy", threshold, None, english["max_patch_length"])
        found, sizes = on_screen(page), lengths(opens)
        assert found["opens"] == opens
        assert found["stats"] == [
            str(len(sizes)),
            f"{len(text) / len(sizes):.2f}",
            str(max(sizes)),
            str(len(text)),
        ]
        assert (
            found["bins"] == [str(sizes.count(n) or "") for n in range(1, 9)]
            and found["value"] == f"{threshold:.2f} nats"
        )
    assert page.locator(".bltp-line").count() == page.locator(".bltp-row").count() == 3


def test_the_line_is_a_slider_for_the_keyboard(show):
    page = show(SURVEYS)
    slider = page.get_by_role("slider", name="patch threshold in nats")
    page.evaluate("viewer.set({ threshold: 2 })")
    for key, wanted in [
        ("ArrowUp", 2.05),
        ("PageUp", 2.55),
        ("ArrowDown", 2.5),
        ("PageDown", 2.0),
        ("End", 6),
        ("Home", 0),
    ]:
        slider.press(key)
        assert page.evaluate("viewer.state().threshold") == pytest.approx(wanted)
        assert slider.get_attribute("aria-valuenow") == f"{wanted:.2f}"
    assert (
        slider.get_attribute("aria-valuetext") == "0.00 nats, 85 patches"
    )  # above 0 nats every byte opens one
    page.get_by_role("button", name="set the threshold to the model's").click()
    assert page.evaluate("viewer.state().threshold") == SURVEYS[0]["threshold"]


def test_a_finger_drags_the_line_and_only_the_line(show):
    page = show(SURVEYS, viewport=dict(width=390, height=844), has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    session, box = (
        page.context.new_cdp_session(page),
        page.locator(".bltp-line").first.bounding_box(),
    )
    x, y = box["x"] + 150, box["y"] + 14

    def touch(kind, *at):
        return session.send(
            "Input.dispatchTouchEvent",
            dict(type=kind, touchPoints=[dict(x=at[0], y=at[1])] if at else []),
        )

    for start, done in [
        (y, "viewer.state().threshold > before + 0.5"),
        (y + 45, "scrollY > 0"),
    ]:  # the line stays put
        assert page.evaluate("scrollY") == 0
        before = page.evaluate("globalThis.before = viewer.state().threshold")
        touch("touchStart", x, start)
        for step in range(1, 9):
            touch("touchMove", x, start - 5 * step)
        touch("touchEnd")
        page.wait_for_function(done)
    assert page.evaluate("viewer.state().threshold") == before


def test_other_patchers_stand_beside_it_and_can_be_shown(show):
    page, english = show(SURVEYS), SURVEYS[0]
    text, nats = bytes(english["bytes"]), english["entropies"]
    for patcher, name in [
        ("stride", "every"),
        ("space", "after spaces"),
        ("entropy", "by entropy"),
    ]:
        page.get_by_role("radio", name=name, exact=True).click()
        opens = library_opens(text, nats, patcher, english["threshold"], 4, 8)
        assert (
            on_screen(page)["opens"] == opens and page.evaluate("viewer.state().patcher") == patcher
        )
        sizes = lengths(opens)
        assert (
            page.get_by_text(
                f"{len(sizes)} patches, mean {len(text) / len(sizes):.2f}, longest {max(sizes)}"
            ).count()
            == 1
        )
    page.get_by_label("stride").select_option("6")
    assert page.get_by_text(f"{-(-len(text) // 6)} patches, mean").count() == 1
    page.get_by_label("a patch is full at").select_option("3")
    assert max(lengths(on_screen(page)["opens"])) == 3


def test_a_byte_says_why_it_opens_a_patch(show):
    page = show(SURVEYS)
    cells, said = page.locator(".bltp-text .bltp-cell"), page.locator(".bltp-words")
    sizes = lengths(on_screen(page)["opens"])
    assert said.text_content() == (
        f"{sum(sizes)} bytes in {len(sizes)} patches: the global transformer runs once every "
        f"{sum(sizes) / len(sizes):.2f} bytes."
    )
    cells.first.focus()
    assert (
        "the first byte always opens a patch. It opens patch 1, \u201cAnd \u201d, 4 bytes."
        in said.text_content()
    )
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert said.text_content().startswith("byte 5, 'e': ")
    assert "not above the threshold. It belongs to patch 2" in said.text_content()
    cells.nth(4).hover()
    assert "above the threshold. It opens patch 2, \u201che \u201d, 3 bytes." in said.text_content()
    page.evaluate("viewer.set({ threshold: 6 })")
    page.mouse.move(2, 2)
    cells.nth(8).focus()
    assert "the patch before it is full with 8 bytes. It opens patch 2" in said.text_content()


def test_state_can_be_set_and_texts_replaced(show):
    page = show(SURVEYS)
    page.evaluate(
        "viewer.set({ survey: 4, threshold: 2.5, max_patch_length: 5, patcher: 'entropy' })"
    )
    assert page.evaluate("viewer.state()") == dict(
        survey=4, threshold=2.5, max_patch_length=5, patcher="entropy", stride=4, byte=None
    )
    assert page.get_by_role("radio", name="Japanese").get_attribute("aria-checked") == "true"
    assert (
        page.get_by_label("a patch is full at").input_value() == "5"
    )  # a limit that the list lacks joins it
    page.evaluate("surveys => viewer.update(surveys)", [survey(b"only one"), survey(b"")])
    assert (
        page.evaluate("viewer.state()")["threshold"] == 2.5
        and page.evaluate("viewer.state()")["survey"] == 1
    )
    assert page.locator(".bltp-words").text_content() == "There is no byte to cut."
    page.evaluate("viewer.set({ survey: 0 })")
    assert page.locator(".bltp-column").count() == 8


def test_hostile_bytes_are_shown_as_what_they_are(show):
    page = show([survey(EVIL, name="<b>name</b>"), survey(b"a")], color_scheme="dark")
    assert page.locator("img, b:has-text('name')").count() == 0
    glyphs = page.locator(".bltp-text .bltp-cell").all_text_contents()
    assert glyphs == [chr(b) if 32 < b < 127 else "\u2423" if b == 32 else f"{b:02X}" for b in EVIL]
    assert page.locator(".bltp-text .bltp-broken").count() == 4  # FF, C3 and the tail E5 B7
    assert page.get_by_role("radio", name="<b>name</b>").count() == 1


@pytest.mark.parametrize("width", [390, 1600])
def test_it_fits_its_width(show, width):
    page = show(SURVEYS, viewport=dict(width=width, height=900))
    assert page.evaluate("document.documentElement.scrollWidth") == width
    rows = page.evaluate(
        "[...document.querySelectorAll('.bltp-row')].map(row => row.scrollWidth - row.clientWidth)"
    )
    assert max(rows) <= 0
