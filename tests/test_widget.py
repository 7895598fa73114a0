"""The widget hosts the player, Python steers it; `explore` makes its controls from the methods'
fields and follows `stream`.
"""

import asyncio
import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from conftest import Fifth, random_model
from test_player import NODE, RECORDED

import bltlab
from bltlab import viz
from bltlab.decoding import METHODS, Autoregressive, Generation, at_least_one
from bltlab.options import option, options_of
from bltlab.sampling import RULES, format_rule
from bltlab.trace import Trace
from bltlab.viz import player

traitlets = pytest.importorskip("traitlets", reason="needs anywidget")
pytest.importorskip("anywidget", reason="needs anywidget")

from bltlab.viz import explorer  # noqa: E402
from bltlab.viz.widget import TracePlayer  # noqa: E402

ROOT = Path(__file__).parent.parent
KERNEL = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))


# -- the widget ------------------------------------------------------------------------------------


def test_the_widget_shows_as_view_png_and_text_but_not_as_html():
    pytest.importorskip("PIL")
    shown = TracePlayer([RECORDED["ar"], RECORDED["blt-d"]], "passes", step=20)
    data, metadata = shown._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    assert data["text/plain"] == repr(shown) == "TracePlayer of 2 traces"
    step_20 = viz.export.still([RECORDED["ar"], RECORDED["blt-d"]], "passes", 20)
    assert (
        data["image/png"] == step_20[0]["image/png"]
        and metadata["image/png"] == step_20[1]["image/png"]
    )
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_the_browser_gets_plain_json_and_python_keeps_traces():
    shown = TracePlayer(Generation(RECORDED["blt-dv"]))
    assert shown.traces == [RECORDED["blt-dv"]] and shown.clock == "event" and shown.step is None
    assert json.loads(json.dumps(shown.get_state()["traces"])) == [
        json.loads(json.dumps(RECORDED["blt-dv"].to_json()))
    ]
    shown.traces = [RECORDED["ar"].to_json()]
    assert shown.traces == [Trace.from_json(RECORDED["ar"].to_json())]


def test_what_the_reader_does_is_seen_by_python():
    shown, seen = TracePlayer(RECORDED["ar"]), []
    shown.observe(lambda change: seen.append((change.name, change.new)), ["step", "clock"])
    shown.set_state({"step": 7, "clock": "seconds"})  # what a message from the browser does
    assert (shown.step, shown.clock) == (7, "seconds") and sorted(seen) == [
        ("clock", "seconds"),
        ("step", 7),
    ]


def test_what_the_page_told_before_python_spoke_does_not_undo_it():
    """Under Run All, news of a player that plays waits until all cells have run."""
    shown = TracePlayer(RECORDED["ar"])
    before = shown.said
    shown.step = 24
    shown.set_state({"step": 3, "clock": "seconds", "heard": before})
    assert (shown.step, shown.clock) == (24, "event")
    shown.set_state({"step": 25, "heard": shown.said})  # the reader went on from there
    shown.set_state({"step": 26, "heard": shown.said})
    assert shown.step == 26


@pytest.mark.parametrize(
    "wrong", [dict(clock="hours"), dict(step=-1), dict(step=1.5), dict(step="3")]
)
def test_the_widget_refuses_what_the_player_cannot_show(wrong):
    with pytest.raises(traitlets.TraitError):
        TracePlayer(RECORDED["ar"], **wrong)


def test_view_is_a_widget_in_a_kernel_and_html_elsewhere(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert isinstance(bltlab.view(RECORDED["ar"]), viz.View)
    monkeypatch.setitem(sys.modules, "IPython", KERNEL)
    shown = bltlab.view([RECORDED["ar"], RECORDED["blt-d"]], clock="passes")
    assert isinstance(shown, TracePlayer) and shown.clock == "passes" and len(shown.traces) == 2
    monkeypatch.setattr(viz, "find_spec", lambda name: None)  # anywidget is not installed
    assert isinstance(bltlab.view(RECORDED["ar"]), viz.View)
    for wrong, kind in ((dict(clock="hours"), ValueError), (dict(traces="t.json"), TypeError)):
        with pytest.raises(kind):
            bltlab.view(**dict(traces=RECORDED["ar"]) | wrong)


def test_watching_a_saved_trace_needs_no_torch():
    code = f"""
import sys, types
shell = types.SimpleNamespace(kernel=None)
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell, display=None)
import importlib.util, bltlab
bltlab.viz._in_jupyter = lambda: True
del sys.modules["IPython"]
shown = bltlab.view(bltlab.Trace.load({str(ROOT / "assets/traces/ar.json")!r}))
assert type(shown).__name__ == "TracePlayer" and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


HOST = """
import { readFileSync } from "fs";
const log = [];
globalThis.bltlabPlayer = (element, traces, options) => {
  let step = options.step ?? 0;
  const state = () => ({ clock: options.clock, step, speed: 2, pinned: 5, lane: 0 });
  log.push(["draw", traces, { ...options, onState: undefined }]);
  return { state, length: options.clock === "event" ? 40 : 20, get step() { return step; },
           pause: () => log.push(["pause"]),
           update: traces => log.push(["update", traces]),
           show: to => { step = to; log.push(["show", to]); options.onState(state()); } };
};
const source = readFileSync(process.argv[2], "utf8");
const encoded = Buffer.from(source).toString("base64");
const { default: host } = await import("data:text/javascript;base64," + encoded);
const values = { traces: ["a"], clock: "event", step: 10, said: 3 }, heard = {};
const model = { get: key => values[key], set: (key, value) => { values[key] = value; },
                save_changes: () => log.push(["save", { ...values }]),
                on: (name, act) => { heard[name] = act; }, off: name => { delete heard[name]; } };
const end = host.render({ model, el: {} });
values.step = 12; heard["change:step"](); heard["change:step"]();
values.clock = "passes"; heard["change:clock"](); heard["change:clock"]();
values.traces = ["a", "b"]; heard["change:traces"]();
end();
console.log(JSON.stringify({ log, left: Object.keys(heard) }));
"""


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_host_passes_on_what_each_side_sets(tmp_path):
    (tmp_path / "host.mjs").write_text(HOST)
    done = subprocess.run(
        [NODE, tmp_path / "host.mjs", ROOT / "bltlab/viz/widget.js"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    log = json.loads(done.stdout)
    assert log["left"] == []
    assert log["log"] == [
        ["draw", ["a"], {"clock": "event", "step": 10}],
        ["show", 12],  # once: the second is no news
        ["pause"],
        ["draw", ["a"], {"clock": "passes", "speed": 2, "lane": 0, "highlight": 5, "step": 0}],
        ["show", 6],
        ["update", ["a", "b"]],
        ["pause"],
        ["save", {"traces": ["a", "b"], "clock": "passes", "step": 6, "said": 3, "heard": 3}],
    ]


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_news_that_waits_is_told_as_it_stands_when_it_goes(tmp_path):
    """Python sets the step while the page's own news still waits to be sent."""
    source = HOST.replace(
        'values.step = 12; heard["change:step"](); heard["change:step"]();',
        'shownState({ clock: "event", step: 3 }); values.step = 24; heard["change:step"]();',
    ).replace('log.push(["draw"', 'globalThis.shownState = options.onState; log.push(["draw"')
    cut = source.index("values.clock =")
    (tmp_path / "host.mjs").write_text(source[:cut] + source[source.index("end();") :])
    done = subprocess.run(
        [NODE, tmp_path / "host.mjs", ROOT / "bltlab/viz/widget.js"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    saved = [what[1]["step"] for what in json.loads(done.stdout)["log"] if what[0] == "save"]
    assert saved == [24]


def displayed(shown, monkeypatch):
    """(data, metadata) of everything that a cell shows, and the handle's updates."""
    bundles = []
    handle = SimpleNamespace(update=lambda data, **how: bundles.append((data, how["metadata"])))

    def display(data, metadata=None, raw=None, display_id=None):
        bundles.append((data, metadata))
        return handle

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    shown._ipython_display_()
    return bundles


def test_a_cell_holds_a_player_for_where_no_kernel_runs(monkeypatch):
    pytest.importorskip("PIL")
    shown = TracePlayer(RECORDED["ar"])
    widget, copy = displayed(shown, monkeypatch)
    assert set(widget[0]) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    assert set(copy[0]) == {"text/html", "image/png", "text/plain"}
    html = copy[0]["text/html"]
    assert html.startswith(f'<div class="bltlab-{shown.name}">') and "srcdoc=" in html
    assert "data:image/png;base64," in html  # where frames are taken away
    assert TracePlayer(RECORDED["ar"]).name != shown.name


def test_an_explorer_says_what_it_is_and_later_shows_what_it_decoded(explored, monkeypatch):
    bundles = displayed(explored, monkeypatch)
    assert len(bundles) == 2
    told = bundles[-1][0]["text/html"]
    assert explored.player.name in told and "press Decode" in told and "srcdoc=" not in told
    explored.decode.click()
    assert len(bundles) == 3
    assert explored.player.name in bundles[-1][0]["text/html"]
    assert "srcdoc=" in bundles[-1][0]["text/html"]


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_browsers_module_is_valid(tmp_path):
    (tmp_path / "widget.mjs").write_text(str(TracePlayer._esm), encoding="utf-8")
    done = subprocess.run(
        [NODE, "--check", tmp_path / "widget.mjs"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert player.SOURCE in str(TracePlayer._esm) and "http" not in str(TracePlayer._esm)


# -- explore ---------------------------------------------------------------------------------------


@pytest.fixture
def explored(monkeypatch):
    monkeypatch.setattr(explorer, "FRAME", 0.0)  # as often as drawing allows
    one = bltlab.explore(random_model(0), "abc", "blt-d")
    one.max_new_bytes.value = 20
    return one


def test_the_controls_of_a_method_give_that_method_back():
    for kind in METHODS.values():
        assert explorer.MethodControls(kind).method == kind()


def test_a_control_shows_its_options_limits_choices_and_help():
    for kind in METHODS.values():
        for name, one in options_of(kind).items():
            box = explorer.control(one)
            assert box.description == name.replace("_", " ") and box.tooltip == one.help
            if one.rules is not None:
                assert [name for _, name in box.options] == list(RULES)
                assert format_rule(one.default).startswith(box.value)
            elif one.choices:
                assert list(box.options) == list(one.choices) and box.value == one.default
            else:
                low = 0 if one.default is None else one.low  # 0 leaves it open
                assert (box.min, box.max, box.value) == (low, one.high, one.default or 0)


def test_the_help_beside_a_control_wraps_and_no_word_of_it_is_cut_off():
    controls = explorer.MethodControls(METHODS["blt-d"])
    for box, told in (row.children for row in controls.children):
        assert type(told).__name__ == "HTML" and told.value  # the lines of a Label never wrap
        assert (box.layout.flex, told.layout.flex) == ("0 0 auto", "1 1 0")


def in_sight(controls):
    """The names of the rules' options that are shown."""
    shown = [row.children[0] for row in controls.children if row.layout.display != "none"]
    return [key for key, box in controls.boxes.items() if isinstance(key, tuple) and box in shown]


def test_every_rule_can_be_chosen_with_its_own_options_in_sight():
    controls = explorer.MethodControls(METHODS["blt-d"])
    for name, kind in RULES.items():
        controls.boxes["unmasking"].value = name
        lows = {part: one.low for part, one in options_of(kind).items()}
        for part, low in lows.items():
            controls.boxes["unmasking", name, part].value = low
        assert controls.method.unmasking == kind(**lows)
        assert in_sight(controls) == [("unmasking", name, part) for part in lows]


@dataclass(frozen=True)
class Ramp:
    """A rule with two numbers."""

    first: float = option(0.5, "threshold of the first slot", min=0.0, max=1.0)
    last: float = option(0.9, "threshold of the last slot", min=0.0, max=1.0)

    def __call__(self, probs, masked):
        bar = torch.linspace(self.first, self.last, probs.shape[1])
        top = probs.amax(-1)
        return at_least_one(top > bar, top, masked)


@dataclass(frozen=True)
class Everything(Autoregressive):
    """A method with an option of each kind."""

    name: ClassVar[str] = "everything"
    title: ClassVar[str] = "One of each"
    whole: int = option(3, "no upper limit", min=1)
    open_whole: int | None = option(None, "may be open", kind=int, min=1, max=9)
    open_wide: int | None = option(None, "may be open, 0 is a value", kind=int, min=0)
    number: float = option(0.5, "no limits")
    open_number: float | None = option(None, "may be open", kind=float, min=0.0, max=1.0)
    flag: bool = option(True, "yes or no")
    open_flag: bool | None = option(None, "yes, no or open", kind=bool)
    word: str = option("a", "any word")
    open_word: str | None = option(None, "any word or open", kind=str)
    choice: str = option("x", "one of two", choices=("x", "y"))
    open_choice: str | None = option(None, "one of two or open", kind=str, choices=("x", "y"))
    rule: Any = option(Ramp(0.2, 0.3), "with two numbers", rules=RULES)


def test_an_option_of_any_kind_has_a_control():
    controls = explorer.MethodControls(Everything)
    assert controls.method == Everything()
    changed = dict(whole=40, open_whole=2, number=-3.5, flag=False, word="b c", choice="y")
    for name, value in changed.items():
        controls.boxes[name].value = value
    controls.boxes["open_wide"].value, controls.boxes["open_number"].value = "0", "0.25"
    controls.boxes["open_flag"].value, controls.boxes["open_word"].value = False, "d"
    ramp = f"{__name__}:Ramp"  # as text names it
    assert in_sight(controls) == [("rule", ramp, "first"), ("rule", ramp, "last")]
    controls.boxes["rule", ramp, "last"].value = 0.8
    controls.boxes["open_choice"].value = "y"
    opened = dict(open_wide=0, open_choice="y", open_number=0.25, open_flag=False, open_word="d")
    assert controls.method == Everything(**changed, **opened, rule=Ramp(0.2, 0.8))
    controls.boxes["open_number"].value = "2"
    with pytest.raises(ValueError, match="open_number must be a number in 0..1, got 2"):
        _ = controls.method
    assert explorer.MethodControls(controls.start).method == Everything()
    shown = Everything(open_whole=4, rule=RULES["topk"](3))
    assert explorer.MethodControls(shown).method == shown


def test_a_rule_that_no_control_could_show_stays_as_it_is():
    def rule(probs, masked):
        return masked

    method = METHODS["blt-d"](unmasking=rule)
    controls = explorer.MethodControls(method)
    assert controls.method == method and in_sight(controls) == []
    controls.boxes["unmasking"].value = "topk"
    assert controls.method.unmasking == RULES["topk"]()


def test_an_explorer_opens_with_a_prompt_that_suits_its_model():
    model = random_model(0)
    assert bltlab.explore(model).prompt.value == "The king sent his servants to "
    model.name = "blt-d-phrases-8"
    assert bltlab.explore(model).prompt.value == "de: Der 70. Hund schläft im Garten.\nen:"


def test_methods_of_ones_own_can_be_explored():
    one = bltlab.explore(random_model(0), "abc", methods=[Fifth(often=4), "ar", Everything])
    assert [name for _, name in one.method.options] == ["fifth", "ar", "everything"]
    assert one.method.value == "fifth" and one.options["fifth"].method == Fifth(often=4)
    one.max_new_bytes.value = 5
    one.method.value = "everything"
    one.decode.click()
    assert one.note.value == "" and one.trace.method["name"] == "everything"
    chosen = bltlab.explore(random_model(0), "abc", Fifth(often=8))
    assert chosen.method.value == "fifth" and chosen.options["fifth"].method.often == 8
    assert set(chosen.options) == {*METHODS, "fifth"}
    with pytest.raises(ValueError, match="methods must name at least one method, got none"):
        bltlab.explore(random_model(0), methods=[])
    with pytest.raises(TypeError, match="method must be a name or an object with a round"):
        bltlab.explore(random_model(0), methods=[3])


def test_a_fifth_method_needs_no_line_here(monkeypatch):
    monkeypatch.setitem(METHODS, "fifth", Fifth)
    one = bltlab.explore(random_model(0), "abc", "fifth")
    one.options["fifth"].boxes["often"].value = 7
    one.max_new_bytes.value = 9
    one.decode.click()
    assert (
        one.trace.method == dict(name="fifth", often=7, careful=True, share=0.5)
        and len(one.trace.bytes) == 9
    )


@pytest.mark.parametrize("method", METHODS)
def test_decode_shows_it_as_it_goes_and_ends_in_what_generate_writes(explored, method):
    frames = []
    explored.player.observe(lambda change: frames.append(len(change.new[0].events)), "traces")
    explored.method.value = method
    assert [name for name, box in explored.options.items() if box.layout.display != "none"] == [
        method
    ]
    explored.temperature.value, explored.seed.value = 0.9, 3
    explored.decode.click()
    same = bltlab.generate(explored.model, "abc", method, max_new_bytes=20, temperature=0.9, seed=3)
    assert (
        explored.trace.bytes == same.bytes
        and explored.player.traces == [explored.trace]
        and explored.note.value == ""
    )
    assert frames == sorted(frames) and frames[0] == 1 and frames[-1] == len(explored.trace.events)
    assert not explored.decode.disabled and explored.stop.disabled


def test_stop_keeps_the_trace_so_far(explored, monkeypatch):
    monkeypatch.setattr(
        explorer.Pace, "due", lambda pace: True
    )  # every event is drawn, however slow that is
    explored.max_new_bytes.value = 300

    async def decode_and_stop():
        explored.start()
        while len(explored.player.traces) == 0 or len(explored.player.traces[0].events) < 12:
            await asyncio.sleep(0)
        assert explored.decode.disabled and not explored.stop.disabled
        explored.stop.click()
        await explored._task

    asyncio.run(decode_and_stop())
    assert (
        explored.trace.events[-1].reason == "interrupted" and 12 <= len(explored.trace.events) < 20
    )
    assert not explored.decode.disabled and explored.stop.disabled
    explored.max_new_bytes.value = 9
    explored.decode.click()  # and the next one runs to its end
    assert len(explored.trace.bytes) == 9


def test_bad_options_are_told_and_nothing_is_lost(explored):
    explored.decode.click()
    before = explored.trace
    explored.prompt.value = "x" * 600
    explored.decode.click()
    assert (
        explored.note.value.startswith("That does not work: prompt and max_new_bytes need")
        and explored.trace is before
    )
    explored.model = random_model(0, block_size=None)
    explored.prompt.value = "abc"
    explored.decode.click()
    assert "needs a BLT-D" in explored.note.value and not explored.decode.disabled
    with pytest.raises(ValueError, match=f"method must be one of {', '.join(METHODS)}"):
        bltlab.explore(explored.model, method="fast")


def test_a_saved_trace_of_a_widget_is_the_trace(explored, tmp_path):
    explored.decode.click()
    explored.trace.save(tmp_path / "t.json")
    assert Trace.load(tmp_path / "t.json") == explored.trace
