"""The player in a real page: what it draws is the canvas, hostile text stays inert, and keys, pins
and live traces work.
"""

import json
import random
from dataclasses import replace

import pytest
from test_player import EVIL, RECORDED, TRACES, evil, same_canvas, speculative

from bltlab.trace import Trace
from bltlab.viz import player
from bltlab.viz.scene import facts_of

ODD = speculative(
    "In \ufeffné 京 😀 e\u0301 שלום \x00\x01 ".encode() + b"\xff\xfe\xe4\xba ok.",
    (8, 3, 8, 0, 5, 8, 2, 8),
)
PAGES = {
    "odd": ODD,
    "remasked": TRACES["remasked"],
    "own byte none": TRACES["own byte none"],
    "foreseen": TRACES["foreseen and verified"],
} | RECORDED
DRAWN = """const drawn = () =>
  [...document.querySelectorAll(".bltp-bytes [role=option]")].map(node =>
  [node.textContent, node.className.split(" ").map(name => name.slice(5))]);"""


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens traces in a page of their own, as an exported file; the page must not fail, nor ask the
    network for anything.
    """
    contexts, faults = [], []

    def opened(traces, clock=None, moving=False, width=1280, **options):
        path = tmp_path / "page.html"
        traces = [t if isinstance(t, dict) else t.to_json() for t in traces]
        path.write_text(player.to_page(traces, clock=clock), encoding="utf-8")
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": 800},
                reduced_motion="no-preference" if moving else "reduce",
                **options,
            )
        )
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on(
            "request", lambda request: request.url.startswith("file:") or faults.append(request.url)
        )
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def glyphs(browser):
    """How each id is written."""
    page = browser.new_page()
    page.add_script_tag(content=player.BASE)
    yield page.evaluate("Array.from({ length: 261 }, (_, id) => bltlabBase.glyph(id))")
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_after_any_fifty_jumps_the_page_shows_pythons_canvas(open_page, glyphs, name):
    trace, page = PAGES[name], open_page([PAGES[name]])
    steps = random.Random(name).choices(range(len(trace.events) + 1), k=50)
    seen = page.evaluate(
        f"""steps => {{ {DRAWN} return steps.map(step => {{
          viewer.show(step);
          const ghosts = document.querySelectorAll(".bltp-ghost");
          return [drawn(), viewer.canvas(), ghosts.length]; }}) }}""",
        steps,
    )
    for step, (drawn, found, n_ghosts) in zip(steps, seen, strict=True):
        canvas = trace.canvas(step)
        assert [text for text, _ in drawn] == [glyphs[cell.id] for cell in canvas.cells], (
            f"step {step}"
        )
        assert all(
            cell.state in names and ("opens" in names) == bool(cell.opens)
            for cell, (_, names) in zip(canvas.cells, drawn, strict=True)
        ), f"step {step}"
        assert same_canvas(found, canvas) and n_ghosts == len(canvas.ghosts), f"step {step}"


def test_what_the_decoder_dropped_looks_unlike_what_the_model_rejected(open_page):
    trace = PAGES["foreseen"]
    page = open_page([trace])
    for ghost, row in zip(
        reversed(trace.canvas().ghosts), page.locator(".bltp-ghost").all(), strict=True
    ):
        who = {"rejected": "model", "dropped": "decoder"}[ghost["state"]]
        assert row.locator(".bltp-who-threw").inner_text() == who
        assert row.locator(f".bltp-word .bltp-{ghost['state']}").count() == len(ghost["ids"])
    checks = [trace.guesses, trace.foreseen]
    kept = [sum(agreed for _, agreed in pairs) for pairs in checks]
    seen = [sum(guessed for guessed, _ in pairs) for pairs in checks]
    assert page.locator(".bltp-waste").inner_text() == (
        f"✗ {seen[0] - kept[0]} of {seen[0]} guesses thrown away, "
        f"{seen[1] - kept[1]} of {seen[1]} guesses dropped by the decoder"
    )


@pytest.mark.parametrize("name", PAGES)
def test_what_is_drawn_does_not_depend_on_how_one_came_there(open_page, name):
    """Step by step, and by jumps: the bytes look as in a player that was opened at that step."""
    n = len(PAGES[name].events)
    steps = [*range(min(n, 60) + 1), *random.Random(name).choices(range(n + 1), k=20)]
    page = open_page([PAGES[name]])
    differ = page.evaluate(
        """([trace, steps]) => {
      const host = document.body.appendChild(document.createElement("div"));
      const look = root => root.querySelector(".bltp-lane").cloneNode(true);
      return steps.filter(step => {
        viewer.show(step);
        bltlabPlayer(host, [trace], { step });
        return !look(document.getElementById("viewer")).isEqualNode(look(host)) }) }""",
        [PAGES[name].to_json(), steps],
    )
    assert differ == []


def test_another_run_leaves_nothing_of_the_one_before(open_page):
    page = open_page([RECORDED["blt-dv"]])
    assert (
        page.evaluate(
            """traces => {
      const host = document.body.appendChild(document.createElement("div"));
      const look = root => root.querySelector(".bltp-lane").cloneNode(true);
      return traces.map(trace => {
        viewer.update([trace]);
        viewer.show(8);
        bltlabPlayer(host, [trace], { step: 8 });
        return look(document.getElementById("viewer")).isEqualNode(look(host)) }) }""",
            [
                TRACES[name].to_json()
                for name in ("speculative", "own byte before", "block diffusion", "speculative")
            ],
        )
        == [True] * 4
    )


def test_multibyte_characters_are_bracketed_and_broken_ones_marked(open_page):
    page = open_page([ODD])
    over = page.locator(".bltp-bytes .bltp-whole .bltp-over").all_text_contents()
    assert over == ["U+FEFF", "é", "京", "😀", "\u25cc\u0301", "ש", "ל", "ו", "ם"]
    assert page.locator(".bltp-bytes .bltp-broken").all_text_contents() == ["FF", "FE", "E4", "BA"]
    seen = page.evaluate(
        """n => Array.from({ length: n }, (_, step) => { viewer.show(step);
      return document.querySelectorAll(".bltp-bytes .bltp-pending").length })""",
        len(ODD.events),
    )
    assert max(seen) == 1 and seen[-1] == 0  # at most the last one may still become a character


def test_hostile_text_is_shown_and_does_nothing(open_page):
    trace = evil()
    for event in trace["events"]:
        if event["type"] == "Drafted":
            event["candidates"] = [[EVIL, EVIL], [event["id"], 0.5]]
    page = open_page([trace, trace])
    for step in (0, 20, 10_000):
        page.evaluate(f"viewer.show({step})")
    page.locator(".bltp-bytes [role=option]").nth(8).click()
    assert page.locator("#viewer img, #viewer script, #viewer iframe").count() == 0
    text = page.locator("#viewer").text_content()
    assert text.count(EVIL) >= 5
    assert EVIL.replace(" ", "␣") in page.locator(".bltp-grid").first.text_content()


def test_keys_walk_through_time_and_over_bytes(open_page):
    page = open_page([RECORDED["blt-dv"]])

    def state():
        return page.evaluate("viewer.state()")

    def press(*keys):
        return [page.keyboard.press(key) for key in keys]

    page.locator(".bltp-player").focus()
    press("Home")
    assert state() == {"clock": "event", "step": 0, "speed": 1, "pinned": None, "lane": 0}
    press("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowUp", "ArrowUp", "ArrowDown")
    assert state()["step"] == 2
    press("End")
    assert state()["step"] == len(RECORDED["blt-dv"].events)
    press(" ")
    assert page.locator(".bltp-controls button").first.text_content() == "Pause"
    press(" ")
    page.evaluate("viewer.show(40)")
    assert page.locator(".bltp-bytes [tabindex='0']").count() == 1  # the bytes are one tab stop
    page.locator(".bltp-bytes [tabindex='0']").focus()
    press("ArrowRight", "ArrowRight", "Enter")
    assert state()["pinned"] == 3 and state()["step"] == 40
    assert page.evaluate("document.activeElement.ariaSelected") == "true"
    press("Escape")
    assert state()["pinned"] is None


def test_a_pinned_byte_tells_every_step_that_touched_it(open_page, glyphs):
    trace = RECORDED["blt-dv"]
    touched = [
        [
            i
            for i, e in enumerate(trace.events)
            if 0
            <= position - e.position
            < len(getattr(e, "ids", getattr(e, "block", getattr(e, "drafted", (0,)))))
            and type(e).__name__ != "Finished"
        ]
        for position in range(1, len(trace.canvas().cells) + 1)
    ]
    position = 1 + max(range(len(touched)), key=lambda n: len(touched[n]))
    touching = touched[position - 1]
    page = open_page([trace])
    page.locator(".bltp-bytes [role=option]").nth(position - 1).click()
    rows = page.locator(".bltp-past")
    assert rows.locator("button").all_text_contents() == [f"step {i + 1}" for i in touching]
    assert len(touching) > 3
    for row, i in enumerate(touching):
        rows.nth(row).locator("button").click()
        cells = trace.canvas(i + 1).cells
        stands = rows.nth(row).locator(".bltp-word").first.locator(".bltp-cell:not(.bltp-rejected)")
        assert (
            page.evaluate("viewer.step") == i + 1
            and rows.nth(row).get_attribute("aria-current") == "step"
        )
        assert stands.all_text_contents() == (
            [glyphs[cells[position - 1].id]] if position <= len(cells) else []
        )


def test_a_state_opens_the_same_view_again(open_page):
    lanes = [RECORDED[name].to_json() for name in ("ar", "blt-s", "blt-d", "blt-dv")]
    page = open_page(lanes, clock="measured")
    page.locator(".bltp-lane").nth(2).locator("[role=option]").nth(30).click()
    page.evaluate("viewer.show(101)")
    state = page.evaluate("viewer.state()")
    assert state == {"clock": "measured", "step": 101, "speed": 1, "pinned": 31, "lane": 2}
    again = page.evaluate(
        """([lanes, state]) => {
      const old = lanes.map((_, i) => viewer.canvas(101, i));
      const seen = document.querySelector(".bltp-readout").textContent;
      viewerHost = document.body.appendChild(document.createElement("div"));
      const next = bltlabPlayer(viewerHost, lanes,
                                { ...state, highlight: state.pinned });
      const now = lanes.map((_, i) => next.canvas(undefined, i));
      return [next.state(), JSON.stringify(now) === JSON.stringify(old),
              viewerHost.querySelector(".bltp-readout").textContent === seen,
              viewerHost.querySelectorAll("[aria-selected=true]").length] }""",
        [lanes, state],
    )
    assert again == [state, True, True, 1]


def test_every_clock_can_be_chosen_and_is_named_on_the_page(open_page):
    page = open_page(RECORDED.values(), clock="passes")
    labels = page.locator(".bltp-controls select").first.locator("option").all_text_contents()
    assert len(labels) == len(player.CLOCKS)
    for clock, label in zip(player.CLOCKS, labels, strict=True):
        page.locator(".bltp-controls select").first.select_option(clock)
        assert label in page.locator(".bltp-readout").text_content()
        assert page.evaluate("viewer.state().clock") == clock
        page.evaluate("viewer.show(viewer.length)")
        lanes = range(len(RECORDED))
        assert [page.evaluate(f"viewer.canvas(undefined, {i}).cells.length") for i in lanes] == [
            len(trace.canvas().cells) for trace in RECORDED.values()
        ]


def test_the_race_names_the_winner_on_the_chosen_clock(open_page):
    page = open_page(RECORDED.values(), clock="global")
    page.evaluate("viewer.show(viewer.length)")
    told = dict(zip(RECORDED, page.locator(".bltp-run .bltp-far").all_text_contents(), strict=True))
    passes = {name: trace.totals.nfe.global_ for name, trace in RECORDED.items()}
    for name, text in told.items():
        place = ["1st", "2nd", "3rd", "4th", "5th", "6th"][
            sum(n < passes[name] for n in passes.values())
        ]
        assert text == f"{RECORDED[name].totals.new_bytes} bytes, {place} at {passes[name]}"


def test_the_headline_holds_numbers_of_the_trace(open_page):
    page, totals = open_page([RECORDED["blt-d"]]), RECORDED["blt-d"].totals
    said = page.locator(".bltp-headline").text_content()
    assert said.startswith(f"{totals.new_bytes} bytes in {totals.paper_gb:#.3g} GB by the")
    assert "(estimated): " in said and said.count("% saved") == 1
    assert "seconds" in said and page.locator(".bltp-headline em").last.text_content() == ""


def test_a_text_to_stop_after_is_shown_as_it_was_written(open_page):
    recorded = RECORDED["ar"]
    trace = replace(recorded, settings=recorded.settings | dict(stop=["\xc3\xa9", "\xff"]))
    assert 'stop ["é","\ufffd"]' in open_page([trace]).locator(".bltp-head").text_content()
    assert "stop é, \ufffd" in facts_of(trace)


def test_a_button_is_called_what_it_says_and_a_bar_says_why_it_is_empty(open_page):
    page = open_page([RECORDED["blt-d"]])
    for name in "Replay", "Pause":
        button = page.get_by_role("button", name=name, exact=True)
        assert button.text_content() == name
        button.click()
    assert page.locator(".bltp-rival-run .bltp-far").text_content().endswith("bytes")
    page.locator(".bltp-controls select").first.select_option("seconds")
    assert page.locator(".bltp-rival-run .bltp-far").text_content() == "not run, so not measured"


def growing(trace, n):
    return Trace(trace.model, trace.method, trace.settings, trace.events[:n]).to_json()


@pytest.mark.parametrize("name", ["odd", "foreseen", "blt-dv"])
def test_a_live_trace_grows_in_place(open_page, name):
    trace = PAGES[name]
    page, n = open_page([growing(trace, 1)]), len(trace.events)
    page.evaluate(
        "trace => { whole = trace; cut = n => ({ ...whole, events: whole.events.slice(0, n) }) }",
        trace.to_json(),
    )
    for events in [*range(2, 20), *range(20, n + 1, 7), n]:
        page.evaluate(f"viewer.update([cut({events})])")
        assert page.evaluate("viewer.step") == events
        assert page.evaluate("viewer.canvas().cells") == [
            vars(cell) for cell in trace.canvas(events).cells
        ]
        assert page.locator(".bltp-bytes [role=option]").count() == len(trace.canvas(events).cells)


def test_an_update_keeps_clock_speed_pinned_byte_and_a_step_gone_back_to(open_page):
    trace = RECORDED["blt-dv"]
    page = open_page([growing(trace, 50)], clock="passes")
    page.locator(".bltp-controls select").nth(1).select_option("4")
    page.locator(".bltp-bytes [role=option]").nth(24).click()
    page.evaluate("viewer.show(9)")
    before = page.evaluate("viewer.state()")
    page.evaluate("traces => viewer.update(traces)", [growing(trace, 90)])
    assert (
        page.evaluate("viewer.state()")
        == before
        == {"clock": "passes", "step": 9, "speed": 4, "pinned": 25, "lane": 0}
    )
    page.evaluate(
        "traces => viewer.update(traces)", [growing(RECORDED["ar"], 30)]
    )  # another run, still under way
    assert page.evaluate(
        "[viewer.step === viewer.length, viewer.state().clock, viewer.state().pinned]"
    ) == [True, "passes", 25]
    page.evaluate("viewer.update([])")
    assert page.evaluate("[viewer.length, document.querySelectorAll('.bltp-lane').length]") == [
        0,
        0,
    ]


def long_trace():
    """About 1,100 bytes, some of several bytes a character."""
    return speculative("The king sent his servants, née 京. " * 30, (8, 3, 8, 0, 5, 8, 2, 8) * 30)


def test_the_newest_byte_stays_in_view_and_the_page_does_not_scroll(open_page):
    page = open_page([long_trace()], width=900)
    page.evaluate("document.body.style.paddingBottom = '2000px'; scrollTo(0, 40)")
    inside = """() => { const grid = document.querySelector(".bltp-grid");
      const box = grid.getBoundingClientRect();
      const byte = [...grid.querySelectorAll("[role=option]")].at(-1).getBoundingClientRect();
      return [byte.top >= box.top && byte.bottom <= box.bottom, scrollY, box.height < 400] }"""
    for step in (5, 300, 600, 299, 10_000):
        page.evaluate(f"viewer.show({step})")
        assert page.evaluate(inside) == [True, 40, True], step


def test_a_recorded_run_moves_by_itself_unless_motion_is_unwelcome(open_page):
    still = open_page([RECORDED["blt-d"]])
    still.wait_for_timeout(300)
    assert still.evaluate("viewer.step === viewer.length")
    moving = open_page([RECORDED["blt-d"]], moving=True)
    moving.wait_for_function("viewer.step > 3", timeout=10_000)
    assert (
        moving.locator("[role=status]").text_content() == ""
    )  # a screen reader is told at rest only
    moving.evaluate("viewer.pause()")
    moving.wait_for_function(
        "document.querySelector('[role=status]').textContent !== ''", timeout=5_000
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1600])
def test_nothing_is_wider_than_the_screen(open_page, width, scheme):
    for traces in ([ODD], RECORDED.values()):
        page = open_page(traces, width=width, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_a_host_is_told(open_page):
    page = open_page([RECORDED["ar"]])
    told = page.evaluate(
        """trace => { const steps = [], states = [];
      const p = bltlabPlayer(document.body.appendChild(document.createElement("div")), [trace],
        { step: 5, clock: "passes", speed: 2, highlight: 20,
          onStep: s => steps.push(s), onState: s => states.push(s) });
      p.show(7); p.show(7);
      return [steps, states.at(-1), p.state(), states.length] }""",
        RECORDED["ar"].to_json(),
    )
    state = {"clock": "passes", "step": 7, "speed": 2, "pinned": 20, "lane": 0}
    assert told[0] == [5, 7, 7] and told[1] == told[2] == state and told[3] == 3


def test_a_host_can_set_what_it_was_told(open_page):
    page = open_page(RECORDED.values())
    for state in (
        {"clock": "paper", "step": 77, "speed": 0.5, "pinned": 40, "lane": 3},
        {"clock": "decoder", "step": 12, "speed": 8, "pinned": None, "lane": 0},
    ):
        assert (
            page.evaluate("state => { viewer.set(state); return viewer.state() }", state) == state
        )
    page.evaluate("viewer.set({ clock: 'no such clock', pinned: 9 })")
    assert page.evaluate("viewer.state()") == {
        "clock": "decoder",
        "step": 12,
        "speed": 8,
        "pinned": 9,
        "lane": 0,
    }


def test_playing_rests_where_it_was_told_to(open_page):
    page = open_page([RECORDED["blt-s"]])
    page.evaluate("viewer.show(2)")
    button = "document.querySelector('.bltp-main-button').ariaLabel"
    started = "viewer.play({ to: 5, rate: 20, done: () => { globalThis.rests = true; } })"
    assert page.evaluate(f"() => {{ {started}; return {button}; }}") == "Pause"
    page.wait_for_function("() => globalThis.rests")
    assert (
        page.evaluate("viewer.step") == 5 and page.get_by_role("button", name="Play").is_visible()
    )


def test_a_candidate_is_taken_by_a_click_where_the_page_can_go_on_from_it(open_page):
    page = open_page([RECORDED["blt-s"]])
    assert page.locator(".bltp-take").count() == 0  # an exported file has no model
    page.evaluate(
        """() => { globalThis.taken = [];
      globalThis.viewer2 = bltlabPlayer(document.getElementById("viewer"), [viewer.traces ?? TRACE],
        { step: 9, onBranch: choice => taken.push(choice) }); }""".replace(
            "viewer.traces ?? TRACE", json.dumps(RECORDED["blt-s"].to_json())
        )
    )
    prompt = len(RECORDED["blt-s"].prompt)
    page.locator(".bltp-bytes [role=option]").nth(prompt).click()
    offered = page.locator(".bltp-panel .bltp-take")
    assert offered.count() > 1
    named = offered.nth(1).get_attribute("aria-label")
    offered.nth(1).click()
    (choice,) = page.evaluate("taken")
    assert choice["lane"] == 0 and choice["at"] == prompt and 0 <= choice["byte"] < 256
    assert named == f"take '{chr(choice['byte'])}' here and go on from it"
