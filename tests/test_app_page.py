"""The app in a real browser: what each tab shows, two visitors, hostile text, links and files."""

import json
import random
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

gr = pytest.importorskip("gradio")
sys.path.insert(0, str(Path(__file__).parent.parent / "apps"))

import demo as app  # noqa: E402
import shown  # noqa: E402
from conftest import CHROMIUM, random_model  # noqa: E402
from models import Models, Shown  # noqa: E402
from test_player import EVIL, speculative  # noqa: E402

import bltlab  # noqa: E402
from bltlab.decoding import Autoregressive  # noqa: E402
from bltlab.trace import Trace, Verified  # noqa: E402

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ODD = (
    EVIL.encode()
    + "né 京 😀 e\u0301 שלום \x00".encode()
    + b"\xff\xfe\xe4\xba {{7*7}} ${alert(1)} &lt;b&gt;"
)


@pytest.fixture(scope="module")
def model():
    return random_model(0)


@pytest.fixture(scope="module")
def models(model):
    """The models of the page: a small random one, a plain one, and those that ship."""
    plain = random_model(1, block_size=None)
    plain.name = "plain"
    return Models([model, plain])


@pytest.fixture(scope="module")
def address(models):
    """The app, served on this machine."""
    page, looks = app.build(models)
    _, address, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **looks
    )
    yield address
    page.close()


@pytest.fixture(scope="module")
def first(models):
    """What the page shows at first."""
    return models.get().traces


@pytest.fixture
def visit(browser, address):
    """Opens the app for one more visitor.

    No page may fail, open a dialog or ask anybody but this machine.
    """
    contexts, faults = [], []

    def visited(tab="watch", query="", width=1280, theme="light"):
        contexts.append(
            browser.new_context(
                viewport=dict(width=width, height=900),
                reduced_motion="reduce",
                permissions=["clipboard-read", "clipboard-write"],
            )
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        local = "127.0.0.1", None  # None: data: and blob:
        page.on(
            "request",
            lambda request: urlsplit(request.url).hostname in local or faults.append(request.url),
        )
        page.goto(f"{address}?__theme={theme}#{query}")
        page.wait_for_function("() => globalThis.bltlabPage")
        if tab != "watch":
            page.get_by_role("tab", name=tab.capitalize()).click()
        page.wait_for_function("tab => bltlabPage.viewers[tab]", arg=tab)
        return page

    yield visited
    for context in contexts:
        context.close()
    assert faults == []


def drawn(page, tab):
    """The bytes on screen, lane after lane, as they are written."""
    return page.evaluate(
        """tab => [...document.querySelectorAll(`.${tab} .host div`)].flatMap(node =>
          [...node.shadowRoot?.querySelectorAll(".bltp-bytes [role=option]") ?? []]
            .map(byte => byte.textContent))""",
        tab,
    )


def written(page, *canvases):
    """How these canvases are to be written."""
    ids = [cell.id for canvas in canvases for cell in canvas.cells]
    return page.evaluate("ids => ids.map(bltlabBase.glyph)", ids)


def field(page, label):
    return page.get_by_role("textbox", name=label, exact=True)


def decoded(page, tab="watch"):
    """Wait until the decoding that was asked for is done, and its traces."""
    page.wait_for_function(
        "([tab, run]) => bltlabPage.values[tab].run !== run && !bltlabPage.values[tab].live",
        arg=[tab, page.run_before],
    )
    return [Trace.from_json(t) for t in page.evaluate("tab => bltlabPage.values[tab].traces", tab)]


def press(page, name, tab="watch"):
    page.run_before = page.evaluate("tab => bltlabPage.values[tab]?.run", tab)
    page.get_by_role("button", name=name, exact=True).click()


def ask(page, prompt, n, method="Autoregressive"):
    """Decode `n` new bytes."""
    field(page, "prompt").fill(prompt)
    length = page.get_by_label("number input for new bytes")
    if not length.is_visible():
        page.get_by_role("button", name="length, temperature, seed, stop").click()
    slider = page.get_by_label("range slider for new bytes")
    until(
        lambda: (length.fill(str(n)), slider.input_value())[1] == str(n)
    )  # a field just opened may yet be reset
    length.press("Tab")  # where a reader leaves the field, it is taken over
    pick(page, method)


def pick(page, method):
    """Decode with a method: picking another one is enough."""
    if page.get_by_label(method, exact=True).first.is_checked():
        press(page, "Decode")
    else:
        page.run_before = page.evaluate("bltlabPage.values.watch.run")
        page.get_by_text(method, exact=True).click()


def noted(page, words):
    note = page.locator(".note p", has_text=words)
    note.wait_for()
    return note.inner_text()


def opened(page, *files):
    """Choose files to open: (name, content)."""
    page.locator(".tools input[type=file]").set_input_files(
        [
            dict(
                name=name,
                mimeType="application/json",
                buffer=content if isinstance(content, bytes) else content.encode(),
            )
            for name, content in files
        ]
    )


# -- the tabs --------------------------------------------------------------------------------------


def test_watch_plays_what_the_model_wrote_before_anybody_asks(visit, first):
    page, (*_, trace) = visit(), first
    steps = random.Random(0).choices(range(len(trace.events) + 1), k=50)
    seen = page.evaluate(
        """steps => steps.map(step => { const { watch } = bltlabPage.viewers;
          watch.show(step); return watch.canvas(); })""",
        steps,
    )
    for step, found in zip(steps, seen, strict=True):
        canvas = trace.canvas(step)
        assert found["cells"] == [vars(cell) for cell in canvas.cells]
        assert len(found["ghosts"]) == len(canvas.ghosts)
    at = next(i for i, e in enumerate(trace.events) if isinstance(e, Verified)) + 1
    page.evaluate("at => bltlabPage.viewers.watch.show(at)", at)
    assert drawn(page, "watch") == written(page, trace.canvas(at))
    verified = trace.events[at - 1]
    n = len(verified.drafted)
    assert page.get_by_text(f"{verified.accepted} of {n} guesses accepted").first.is_visible()
    assert page.get_by_text(f"{n - verified.accepted} of {n} guesses thrown away").is_visible()
    text = bltlab.vocab.to_text(trace.prompt + trace.bytes)
    shown_text = text.replace("\r\n", "\n").replace("\r", "\n")  # as a text field holds it
    assert page.locator(".hero textarea").input_value() == shown_text


def test_decode_writes_what_the_library_writes(visit, model):
    page = visit()
    ask(page, "cab", 40, "BLT-D")
    (trace,) = decoded(page)
    alone = bltlab.generate(model, "cab", "blt-d", max_new_bytes=40, temperature=0.7, seed=0)
    assert (trace.prompt, trace.method, trace.settings) == (
        b"cab",
        alone.trace.method,
        alone.trace.settings,
    )
    assert trace.bytes == alone.bytes and trace.events[-1].reason == alone.stopped
    page.evaluate("bltlabPage.viewers.watch.show(7)")
    assert drawn(page, "watch") == written(page, trace.canvas(7))
    assert page.get_by_text(trace.method["name"], exact=True).first.is_visible()


def test_a_candidate_is_taken_by_a_click_and_the_branch_stands_beside(visit, model):
    page = visit()
    ask(page, "cab", 12, "Autoregressive")
    (old,) = decoded(page)
    page.locator(".watch .bltp-bytes [role=option]").nth(6).click()  # pins it
    offered = page.locator(".watch .bltp-take")
    assert offered.nth(1).get_attribute("aria-label").startswith("take ")
    page.run_before = page.evaluate("bltlabPage.values.watch.run")
    offered.nth(1).click()
    first, new = decoded(page)
    assert first == old and new.prompt[:6] == (old.prompt + old.bytes)[:6]
    assert bltlab.branch(model, old, 6, new.prompt[6]).bytes == new.bytes
    assert page.locator(".watch .bltp-several .bltp-lane").count() == 2
    page.get_by_text("taken at byte 6").first.wait_for()
    assert page.locator(".watch .bltp-taken").count() == 1
    for kind in ("HTML", "SVG", "PNG", "GIF"):
        with page.expect_download() as found:
            page.get_by_role("button", name=kind, exact=True).click()
        assert found.value.suggested_filename == f"race.{kind.lower()}"


def test_a_pasted_text_that_is_too_long_is_cut_and_the_page_says_so(visit):
    page = visit("patches")
    box = page.get_by_placeholder("of up to 2,000 characters")
    for length, kept in ((1999, 1999), (2500, 2000)):
        page.evaluate("text => navigator.clipboard.writeText(text)", "\ufeff" + "a" * (length - 1))
        box.fill("")
        box.press("Control+V")
        assert len(box.input_value()) == kept
        page.wait_for_timeout(500)  # in which the patches are found and drawn
        said = page.get_by_text("Cut: at most 2,000 characters fit here, and that would be 2,500.")
        assert said.count() == (length > kept)


def test_race_shows_all_lanes_and_runs_two_on_one_clock(visit, first):
    page, traces = visit("race"), first
    assert page.evaluate("bltlabPage.viewers.race.state().clock") == "paper"
    page.evaluate("bltlabPage.viewers.race.set({ clock: 'passes' })")

    def at(passes, traces):
        page.evaluate("passes => bltlabPage.viewers.race.show(passes)", passes)

        def spent(t, e):
            return sum((e.nfe - t.totals.prefill_nfe).astuple()[2:])

        steps = [
            sum(
                max([spent(t, e) for e in t.events[: i + 1]]) <= passes
                for i in range(len(t.events))
            )
            for t in traces
        ]
        return written(page, *(t.canvas(step) for t, step in zip(traces, steps, strict=True)))

    expected = at(40, traces)
    assert drawn(page, "race") == expected
    for name in "BLT-S", "BLT-F", "BLT-FV", "BLT-D":
        page.get_by_label(name, exact=True).last.uncheck()
    field(page, "prompt").fill("cab")
    press(page, "Race", "race")
    two = decoded(page, "race")
    assert [t.method["name"] for t in two] == ["ar", "blt-dv"] and two[0].bytes == two[1].bytes
    expected = at(20, two)
    assert drawn(page, "race") == expected
    page.get_by_role("button", name="all numbers of this race").click()
    page.get_by_text("bytes a round").last.wait_for()
    rows = page.locator(".table:visible tr").all_inner_texts()
    assert (
        rows[1].split("\t")[:3] == ["ar", *[str(len(two[0].bytes))] * 2]
        and "(1.00×)" in rows[1]
        and rows[2].startswith("blt-dv")
    )


def test_patches_show_examples_and_then_what_is_typed(visit, model, models):
    page = visit("patches")
    first, threshold = models.get().surveys[0], "bltlabPage.viewers.patches.state().threshold"
    assert page.get_by_text(f"{len(first['bytes'])} bytes in").is_visible()
    page.get_by_placeholder("Type or paste any text").fill("abca cab é")
    page.wait_for_function("() => bltlabPage.values.patches.surveys[0].typed")
    n = len(bltlab.patchify(model, "abca cab é").spans)
    assert page.get_by_text(f"11 bytes in {n} patches").is_visible()
    assert (
        page.get_by_role("radio", name="your text").is_visible()
        and page.get_by_role("radio", name="Japanese").is_visible()
    )
    assert page.evaluate(threshold) == pytest.approx(model.config.patcher.threshold)


def test_inside_shows_an_example_and_then_what_is_typed(visit):
    page = visit("inside")
    assert page.get_by_text("Who may read whom").is_visible()
    page.get_by_role("button", name="Look inside").click()  # an empty text: what was shown
    page.get_by_placeholder("A short text").fill("cab a")
    page.get_by_placeholder("A short text").press("Enter")
    page.wait_for_function("() => bltlabPage.values.inside.typed")
    assert (
        bytes(i - 4 for i in page.evaluate("bltlabPage.values.inside.data.ids.slice(1)"))
        == b"cab a"
    )
    page.get_by_placeholder("A short text").fill("é" * 40)
    page.get_by_role("button", name="Look inside").click()
    assert "1 to 64 bytes, got 80" in noted(page, "That does not work")


def test_the_tour_turns_by_keys(visit):
    page, pages = visit("tour"), shown.tour()["pages"]
    keys = ["ArrowRight", "PageDown"] * len(pages)
    for number, (told, key) in enumerate(zip(pages, keys, strict=False), 1):
        assert (
            page.get_by_role("heading", name=told["title"]).is_visible()
            and page.get_by_text(told["text"]).is_visible()
        )
        traces = [Trace.from_json(shown.tour()["traces"][name]) for name in told["traces"]]
        state = page.evaluate("bltlabPage.viewers.tour.state()")
        assert (state["page"], state["step"], state["pinned"]) == (
            number,
            told["step"],
            told.get("highlight"),
        )
        if told["clock"] == "event":
            assert drawn(page, "tour") == written(page, traces[0].canvas(told["step"]))
        page.keyboard.press(key)
    assert (
        page.get_by_text("9 of 9").is_visible()
        and page.get_by_role("button", name="Next").is_disabled()
    )
    page.keyboard.press("ArrowLeft")
    assert (
        page.get_by_text("8 of 9").is_visible()
        and page.get_by_text("thrown away").first.is_visible()
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(visit, theme):
    page = visit(width=390, theme=theme)
    for tab in "watch", "race", "patches", "inside", "tour":
        page.get_by_role("tab", name=tab.capitalize()).click()
        page.wait_for_function("tab => bltlabPage.viewers[tab]", arg=tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab


def test_a_phone_shows_the_whole_name_of_a_model(visit):
    page = visit(width=390)
    lacking = """input => {
      const pen = document.createElement("canvas").getContext("2d");
      pen.font = getComputedStyle(input).font;
      return pen.measureText("blt-d-phrases-16").width - input.clientWidth;
    }"""
    assert page.locator(".tools .model input").evaluate(lacking) <= 0


# -- models ---------------------------------------------------------------------------------------


def test_what_a_model_cannot_do_is_greyed_with_a_reason(visit, models):
    page, plain = visit(), models.get("plain")
    assert page.locator(".methods input:disabled").count() == 0
    page.get_by_label("model", exact=True).click()
    page.get_by_role("option", name="plain").click()
    page.wait_for_function("() => bltlabPage.values.watch.traces[0].model.name === 'plain'")
    page.locator(".methods input:disabled").first.wait_for()
    greyed = page.locator(".methods input:disabled").evaluate_all("all => all.map(i => i.value)")
    assert greyed == [*plain.reasons] == ["blt-f", "blt-fv", "blt-d", "blt-dv"]
    assert page.get_by_text("needs a BLT-D (a model trained with blocks)").is_visible()
    assert page.get_by_text("BLT-S may cost more than it saves").is_visible()
    assert field(page, "prompt").input_value() == plain.prompts[0]
    press(page, "Decode")
    (trace,) = decoded(page)
    assert (trace.model["name"], trace.method["name"]) == ("plain", "blt-s")
    page.get_by_role("tab", name="Race").click()
    page.locator(".racers input:disabled").nth(3).wait_for()
    page.get_by_role("tab", name="Inside").click()
    page.get_by_role("button", name="Look inside").click()
    assert not page.get_by_text("One block, denoised").is_visible()


def test_another_decoder_decodes_at_once(visit):
    page = visit()
    pick(page, "BLT-F")
    (trace,) = decoded(page)
    assert (
        trace.method["name"] == "blt-f"
        and trace.prompt.decode() == "The king sent his servants to "
    )


# -- visitors --------------------------------------------------------------------------------------


@pytest.fixture
def rounds(monkeypatch):
    """The texts whose rounds have begun, one entry a round; each takes a fifth of a second.

    What the page decodes to measure a model's pace is left out.
    """
    begun, real = [], Autoregressive.round

    def slow(self, state, pick):
        begun.append(bytes(i - 4 for i in state.rows[0].ids[1:5]).decode())
        time.sleep(0.2)
        yield from real(self, state, pick)

    monkeypatch.setattr(Autoregressive, "round", slow)
    monkeypatch.setattr(Shown, "pace", lambda shown: 0.01)
    return begun


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_visitor_who_leaves_stops_soon_and_harms_nobody(visit, model, rounds):
    first, second = visit(), visit()
    ask(first, "abca", 400)
    until(lambda: rounds.count("abca") >= 3)
    ask(second, "cabb", 6)
    until(lambda: rounds.count("abca") >= 5)
    assert "cabb" not in rounds  # one at a time of an address
    first.close()
    (trace,) = decoded(second)
    assert rounds.count("abca") < 200  # of 400: a second or more until the server hears of it
    assert (
        trace.bytes
        == bltlab.generate(model, "cabb", max_new_bytes=6, temperature=0.7, seed=0).bytes
    )


def test_stop_stops_within_a_round_and_the_page_goes_on(visit, model, rounds):
    page = visit()
    ask(page, "abca", 400)
    until(lambda: len(rounds) >= 4)
    page.get_by_role("button", name="Stop", exact=True).click()
    clicked = len(rounds)
    assert "trace so far" in noted(page, "Stopped")
    assert len(rounds) <= clicked + 1
    (trace,) = decoded(page)
    written = len(trace.bytes)
    alone = bltlab.generate(model, "abca", max_new_bytes=written, temperature=0.7, seed=0)
    assert trace.events[-1].reason == "interrupted" and 2 <= written <= clicked + 1
    assert alone.bytes == trace.bytes and page.evaluate("bltlabPage.viewers.watch.step") == len(
        trace.events
    )
    ask(page, "cabb", 2)
    assert len(decoded(page)[0].bytes) == 2


# -- what comes from elsewhere ---------------------------------------------------------------------


def hostile():
    trace = speculative(ODD.ljust(80), (8,) * 9).to_json()
    trace["model"] |= dict(name=EVIL)
    trace["method"] |= {"note": EVIL, EVIL: "${alert(1)}"}
    return trace | dict(settings=dict(stop=[EVIL], seed=1))


INERT = """() => { const all = root => [...root.querySelectorAll("*")].flatMap(node =>
    [node, ...node.shadowRoot ? all(node.shadowRoot) : []]);
  return all(document).filter(node => node.tagName === "IMG" ||
    node.tagName === "SCRIPT" &&
      (node.getRootNode() !== document || node.closest(".view"))).length; }"""


def test_hostile_bytes_in_a_file_are_shown_as_they_are(visit):
    page, trace = visit(), Trace.from_json(hostile())
    page.run_before = page.evaluate("bltlabPage.values.watch.run")
    opened(page, (f"{EVIL[9:24]}.json", json.dumps(hostile())))
    assert decoded(page)[0] == trace
    assert drawn(page, "watch") == written(page, trace.canvas())
    assert page.locator(".hero textarea").input_value() == bltlab.vocab.to_text(
        trace.prompt + trace.bytes
    )
    opened(page, ("a.json", json.dumps(hostile())), ("b.json", json.dumps(hostile())))
    page.wait_for_function("() => bltlabPage.values.race?.traces.length === 2")
    page.get_by_role("button", name="all numbers of this race").click()
    assert page.evaluate(INERT) == 0 and page.evaluate("typeof hacked") == "undefined"
    press(page, "Copy link")
    noted(page, "Link copied")
    other = visit(query=page.url.split("#")[1])  # it asks for options that no decoder has
    assert "has no option" in noted(other, "That does not work") and other.evaluate(INERT) == 0


def test_hostile_text_in_a_prompt_stays_text(visit, model):
    page = visit()
    field(page, "prompt").fill(EVIL + "é 😀 שלום")
    pick(page, "BLT-DV")
    (trace,) = decoded(page)
    assert trace.prompt.decode() == EVIL + "é 😀 שלום" and page.evaluate(INERT) == 0
    assert drawn(page, "watch") == written(page, trace.canvas())
    query = urlencode(
        dict(tab="watch", method="ar", prompt=EVIL, **{"ar." + EVIL: EVIL, "view.clock": EVIL})
    )
    page = visit(query=query)
    assert EVIL in noted(page, "That does not work") and page.evaluate(INERT) == 0


def test_a_bad_file_is_one_sentence_and_the_page_still_works(visit):
    page, good = visit(), speculative().to_json()
    nan = json.dumps(good).replace('"prob": 0', '"prob": NaN, "x": 0', 1)
    for name, content in [
        ("schema", json.dumps(good | dict(schema="other/1"))),
        ("nan", nan),
        ("deep", "[" * 200_000),
        ("empty", ""),
        ("binary", b"\x00\xff\xfe"),
        ("events", json.dumps(good | dict(events=[1, {}]))),
        ("order", json.dumps(good | dict(events=good["events"][::-1]))),
        ("negative", json.dumps(good).replace('"position": 5', '"position": -5')),
    ]:
        opened(page, (f"{name}.json", content))
        told = noted(page, f"{name}.json")
        assert told.startswith("That does not work") and "/tmp" not in told and len(told) < 400
    opened(page, ("large.json", b'{"a": "' + b"x" * (9 << 20) + b'"}'))
    page.get_by_text("exceed the maximum allowed size").first.wait_for()
    page.run_before = page.evaluate("bltlabPage.values.watch.run")
    opened(page, ("good.json", json.dumps(good)))
    assert decoded(page)[0] == speculative()


# -- links and files -------------------------------------------------------------------------------


def view_of(page, tab="watch"):
    return page.evaluate(f"bltlabPage.viewers[{tab!r}].state()")


def test_a_link_opens_the_same_view_for_somebody_else(visit):
    page = visit()
    field(page, "prompt").fill("abca é")
    pick(page, "BLT-S")
    (trace,) = decoded(page)
    page.locator(".watch").get_by_label("clock").first.select_option("decoder")
    page.evaluate("bltlabPage.viewers.watch.show(21)")
    page.get_by_role("option", name="byte 9").first.click()
    press(page, "Copy link")
    noted(page, "Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert page.url == link
    other = visit(query=link.split("#")[1])
    other.wait_for_function("() => bltlabPage.viewers.watch.step === 21")
    assert view_of(other) == view_of(page) and view_of(page)["pinned"] == 10
    assert Trace.from_json(other.evaluate("bltlabPage.values.watch.traces[0]")).bytes == trace.bytes
    assert field(other, "prompt").input_value() == "abca é"
    page.evaluate("bltlabPage.values.watch.traces[0].settings.stop = ['\xc3\xa9']")
    assert "stop=%C3%A9&" in page.evaluate("bltlabPage.query()")
    assert drawn(other, "watch") == drawn(page, "watch")


def test_a_saved_file_dropped_on_the_page_opens_the_same_view(visit, tmp_path):
    page, other = visit(), visit()
    for tab, move in dict(
        race="race.show(33)",
        patches="patches.set({ survey: 4, threshold: 1.25 })",
        inside="inside.set({ step: 2, view: 'writing' })",
        tour="tour.set({ page: 6 })",
    ).items():
        page.get_by_role("tab", name=tab.capitalize()).click()
        page.wait_for_function("tab => bltlabPage.viewers[tab]", arg=tab)
        page.evaluate(f"bltlabPage.viewers.{move}")
        with page.expect_download() as download:
            press(page, "Save", tab)
        download.value.save_as(tmp_path / "saved.json")
        other.evaluate(
            """text => { const data = new DataTransfer();
          data.items.add(new File([text], "saved.json", { type: "application/json" }));
          const how = { dataTransfer: data, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", how)); }""",
            (tmp_path / "saved.json").read_text(),
        )
        other.wait_for_function("tab => bltlabPage.viewers[tab]", arg=tab)
        assert view_of(other, tab) == view_of(page, tab)
        assert (
            other.get_by_role("tab", name=tab.capitalize()).get_attribute("aria-selected") == "true"
        )
