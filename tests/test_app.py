"""The app: controls come from options, decoding streams and stops, links bring a view back."""

import base64
import doctest
import importlib.util
import json
import re
import sys
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar
from urllib.parse import urlencode

import pytest

gr = pytest.importorskip("gradio")
sys.path.insert(0, str(Path(__file__).parent.parent / "apps"))

import controls  # noqa: E402
import demo as app  # noqa: E402
import exports  # noqa: E402
import links  # noqa: E402
import session  # noqa: E402
import shown  # noqa: E402
from api import Endpoints  # noqa: E402
from conftest import Fifth, random_model  # noqa: E402
from controls import Key  # noqa: E402
from models import Models  # noqa: E402

import bltlab  # noqa: E402
from bltlab import vocab  # noqa: E402
from bltlab.decoding import METHODS, Stream, register  # noqa: E402
from bltlab.options import load_class, option, options_of, plain_options  # noqa: E402
from bltlab.trace import Finished, Trace, Unmasked  # noqa: E402
from bltlab.unmasking import RULES, format_rule  # noqa: E402

SETTINGS = dict(
    max_new_bytes=24, temperature=0.7, top_k=0, top_p=1.0, seed=0, stop="", no_repeat_ngram_bytes=0
)
MODULES = sorted(path.stem for path in Path(app.__file__).parent.glob("*.py"))
VISITOR = SimpleNamespace(session_hash="one")
REFUSED = "That does not work: "


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_its_docstrings_hold(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.fixture(scope="module")
def demo():
    return demo_of(random_model(0))


def demo_of(*models):
    """What the page and the API ask, with these models."""
    return session.Demo(models_of(*models))


def models_of(*models):
    return Models([*models])


@pytest.fixture
def every_event(monkeypatch):
    monkeypatch.setattr(session, "FRAME", 0.0)


def values(**changes):
    """What all controls hold at first, in the page's order; some replaced: unmasking_topk_k=3."""
    with gr.Blocks():
        boxes = [box for kind in METHODS.values() for box in controls.method_controls(kind)]
    names = ["_".join(filter(None, key[1:])) for key in controls.keys()]  # noqa: SIM118
    return [changes.get(name, box.value) for name, box in zip(names, boxes, strict=True)]


def decode(demo, method, prompt="abc", changed=None, **settings):
    """All that the page is told: [{component: value}]."""
    models = demo.models.first if isinstance(method, str) else [demo.models.first]
    held = [*(SETTINGS | settings).values(), *values(**changed or {})]
    return list(demo.decode(VISITOR, prompt, method, models, *held))


def trace_of(what, lane=0, tab="watch"):
    return Trace.from_json(json.loads(json.dumps(what[tab]["traces"][lane])))


# -- controls --------------------------------------------------------------------------------------


def test_the_controls_of_a_method_give_that_method_back():
    for name, kind in METHODS.items():
        assert controls.build_method(name, controls.gathered(name, values())) == kind()


def test_a_control_shows_its_fields_limits_choices_and_help():
    for kind in METHODS.values():
        for one in options_of(kind).values():
            with gr.Blocks():
                box = controls.control(one, one.default)
            if one.rules is not None:
                assert [name for _, name in box.choices] == list(RULES)
                assert format_rule(one.default).startswith(box.value)
            elif one.choices:
                assert [c for _, c in box.choices] == list(one.choices)
                assert box.value == one.default
            else:
                low = 0 if one.default is None else one.low  # 0 leaves it open
                assert (box.minimum, box.maximum, box.value) == (low, one.high, one.default or 0)
            assert box.info.removesuffix(" (0)") in one.help
            assert box.preprocess(box.value) == box.value


@dataclass(frozen=True)
class Wave:
    """A rule with two options."""

    name: ClassVar[str] = "wave"
    height: float = option(0.5, "how high", min=0.0, max=1.0)
    often: int | None = option(None, "how often; none is always", kind=int, min=0)

    def __call__(self, probs, masked):
        return masked


@dataclass(frozen=True)
class Every(Fifth):
    """A method with an option of every kind."""

    name: ClassVar[str] = "every"
    whole: int = option(3, "a whole number", min=0, max=9)
    open_slider: int | None = option(None, "0 stands for none", kind=int, min=1, max=9)
    open_whole: int | None = option(None, "0 is a value", kind=int, min=0, max=9)
    open_number: float | None = option(None, "a number or none", kind=float)
    open_flag: bool | None = option(None, "yes, no or none", kind=bool)
    words: str = option("12", "any text")
    choice: str = option("a", "one of two", choices=("a", "b"))
    rule: object = option(Wave(0.25), "another: wave", rules={"wave": Wave, **RULES})


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(whole=0, open_slider=9, open_whole=0, open_number=0.0, open_flag=False),
        dict(words="", choice="b", open_flag=True, rule="wave:0.75:4", often=1, careful=False),
        dict(rule="topk:5", open_number=-1.5, share=1),
        dict(rule="wave:0.5", words="é:=,"),
    ],
)
def test_options_of_every_kind_go_to_their_controls_and_back_and_through_a_link(
    monkeypatch, options
):
    monkeypatch.setitem(METHODS, "every", Every)
    method = controls.build_method("every", options)
    start = dict(zip(controls.keys(), values(), strict=True))
    filled = controls.filled("every", options)
    held = [filled.get(key, {}).get("value", start[key]) for key in start]
    assert controls.build_method("every", controls.gathered("every", held)) == method
    wave = method.rule.name == "wave"
    assert filled["every", "rule", "wave", "often"]["visible"] == wave
    said = {f"every.{name}": value for name, value in plain_options(method).items()}
    for key, value in said.items():  # as JavaScript writes them
        said[key] = json.dumps(value) if value is None or type(value) is bool else value
    link = links.read_link(urlencode(dict(method="every") | said))
    assert controls.build_method("every", link.options["every"]) == method


@pytest.mark.parametrize(
    "text", ["os:_wrap_close:1", "conftest:Fifth", "/tmp/x.py:Rule", "antigravity:A", "wave", ""]
)
def test_a_text_from_elsewhere_names_only_rules_that_are_offered(text, monkeypatch):
    def refuse(where):
        raise RuntimeError(f"{where} is loaded")

    monkeypatch.setattr("bltlab.options.load_class", refuse)
    with pytest.raises(ValueError, match="unmasking must be"):
        controls.build_method("blt-d", dict(unmasking=text))


def test_every_rule_can_be_chosen_with_its_parameter():
    for rule, kind in RULES.items():
        parameter = {f"unmasking_{rule}_{one.name}": one.low for one in options_of(kind).values()}
        method = controls.build_method(
            "blt-d", controls.gathered("blt-d", values(unmasking=rule, **parameter))
        )
        assert method.unmasking == kind(*parameter.values())


@pytest.mark.parametrize(
    "options",
    [{}, dict(unmasking="topk:3", block_size=4), dict(unmasking="onestep", latent="open")],
)
def test_options_fill_the_controls_that_give_them_back(options):
    filled = controls.filled("blt-d", options)
    start = dict(zip(controls.keys(), values(), strict=True))
    held = [filled.get(key, {}).get("value", start[key]) for key in start]
    assert controls.build_method(
        "blt-d", controls.gathered("blt-d", held)
    ) == controls.build_method("blt-d", options)
    rule = options.get("unmasking", "confidence:0.7").split(":")[0]
    assert {key.rule: update["visible"] for key, update in filled.items() if key.rule} == {
        name: name == rule for name in RULES if options_of(RULES[name])
    }


def test_a_fifth_method_needs_no_line_in_the_app(demo, monkeypatch):
    monkeypatch.setitem(METHODS, "fifth", Fifth)
    page, _ = app.build(models_of(random_model(0)))
    labels = {getattr(block, "label", None): block for block in page.blocks.values()}
    assert isinstance(labels["often"], gr.Number) and isinstance(labels["careful"], gr.Checkbox)
    assert isinstance(labels["share"], gr.Slider)
    assert trace_of(decode(demo, "fifth", changed=dict(often=7))[-1]).method["often"] == 7
    link = links.read_link("method=fifth&fifth.often=5&fifth.careful=false")
    assert link.options == {"fifth": dict(often=5, careful=False)}


# -- decoding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_decoding_streams_and_ends_with_the_whole_trace(demo, method, every_event):
    updates = decode(demo, method)
    assert len(updates) > 5 and len({u["watch"]["run"] for u in updates}) == 1
    assert [u["watch"]["live"] for u in updates] == [True] * (len(updates) - 1) + [False]
    last, trace = updates[-1], trace_of(updates[-1])
    end, n = trace.events[-1], trace.totals.new_bytes
    assert isinstance(end, Finished) and trace.method["name"] == method
    assert n == 24 if method != "blt-f" else 0 < n <= 24  # it writes its own text
    assert last["text"].startswith("abc") and last["note"]["text"] == ""
    rows = {name: (run, each) for name, run, each in last["totals"]["rows"]}
    assert rows["ended by"] == (end.reason, "") and rows["new bytes"] == (str(n), "")
    assert end.reason == "budget" or method == "blt-f"
    rate = trace.totals.foreseen_rate
    assert (rate is None) == (method not in ("blt-f", "blt-fv"))
    told = "–" if rate is None else f"{100 * rate:.0f} %"
    assert rows["foreseen right"] == (told, "")
    assert rows["decoder passes"][0] == str(trace.totals.nfe.decoder)
    assert {
        "patcher passes",
        "global passes",
        "memory traffic, paper (eq. 8)",
        "memory traffic, measured",
    } <= set(rows)


def test_a_race_decodes_one_after_the_other_and_compares(demo, every_event):
    updates = decode(demo, ["ar", "blt-s", "blt-d"])
    lanes = [len(u["race"]["traces"]) for u in updates]
    assert lanes == sorted(lanes) and set(lanes) == {1, 2, 3}  # a lane appears when its turn comes
    assert [u["race"]["live"] for u in updates] == [True] * (len(updates) - 1) + [False]
    traces = [trace_of(updates[-1], lane, "race") for lane in range(3)]
    assert [t.method["name"] for t in traces] == ["ar", "blt-s", "blt-d"]
    assert traces[0].bytes == traces[1].bytes == trace_of(decode(demo, "ar")[-1]).bytes
    table = updates[-1]["table"]
    assert [row[0] for row in table["rows"]] == ["ar", "blt-s", "blt-d"] and "(1.00×)" in table[
        "rows"
    ][0][6]
    for wrong in [], [*METHODS, "ar"]:
        assert "1 to 6 decoders" in decode(demo, wrong)[-1]["note"]["text"]


@pytest.mark.parametrize(
    "method, changed, settings, words",
    [
        ("blt-d", dict(unmasking="confidence", unmasking_confidence_threshold=1.5), {}, "0..1"),
        ("blt-d", dict(unmasking="topk", unmasking_topk_k=None), {}, "topk:2"),
        ("blt-s", dict(draft_length=0), {}, "an int in 1..64"),
        ("blt-dv", dict(block_size=-3), {}, "block_size"),
        ("blt-dv", {}, dict(temperature=-1), "temperature must be 0.0 to 2.0"),
        ("ar", {}, dict(max_new_bytes=600), "max_length"),
        ("ar", {}, dict(max_new_bytes=None), "max_new_bytes"),
        ("ar", {}, dict(max_new_bytes=5000), "max_new_bytes must be 1 to 1024"),
        ("none", {}, {}, "one of ar"),
        ("ar", {}, dict(prompt="x" * 2001), "at most 2,000 characters"),
    ],
)
def test_bad_options_are_told_in_the_page(demo, method, changed, settings, words):
    prompt = settings.pop("prompt", "abc")
    *_, last = decode(demo, method, prompt, changed, **settings)
    assert set(last) == {"note"} and last["note"]["kind"] == "error"  # the page keeps what it shows
    assert last["note"]["text"].startswith(REFUSED) and words in last["note"]["text"]


def test_a_block_above_the_trained_size_runs_with_a_note(demo):
    last = decode(demo, "blt-d", changed=dict(block_size=12))[-1]
    assert (
        last["note"]["text"].startswith("Note: ")
        and "12" in last["note"]["text"]
        and len(trace_of(last).bytes) == 24
    )


def test_a_plain_blt_or_none_at_all_is_told():
    demo = demo_of(random_model(0, block_size=None))
    assert "plain BLT" in decode(demo, "blt-d")[-1]["note"]["text"]
    assert len(trace_of(decode(demo, "ar")[-1]).bytes) == 24
    with pytest.raises(FileNotFoundError, match="no-such-model is no model folder"):
        models_of("no-such-model")


@pytest.mark.parametrize("method, tab", [("blt-dv", "watch"), (["blt-dv", "ar"], "race")])
def test_stop_ends_within_the_round_under_way_and_keeps_the_trace(
    demo, every_event, monkeypatch, method, tab
):
    closed = []
    real = Stream.close
    monkeypatch.setattr(Stream, "close", lambda self: (closed.append(1), real(self))[1])
    demo.ready(VISITOR)
    running = demo.decode(
        VISITOR,
        "abc",
        method,
        demo.models.first if tab == "watch" else [demo.models.first],
        *(SETTINGS | dict(max_new_bytes=400)).values(),
        *values(),
    )
    next(running)
    demo.halt(SimpleNamespace(session_hash="another"))  # stops nobody
    before = trace_of([next(running) for _ in range(5)][-1], tab=tab).events
    demo.halt(VISITOR)
    *_, last, note = running
    trace = trace_of(last, tab=tab)
    assert closed and len(last[tab]["traces"]) == 1 and not last[tab]["live"]
    assert (
        trace.events[: len(before)] == before and len(trace.events) <= len(before) + 2
    )  # one more event, and the end
    assert trace.events[-1].reason == "interrupted" and "Stopped" in note["note"]["text"]
    assert (
        bytes(i - 4 for i in trace.canvas().ids) == trace.prompt + trace.bytes
    )  # drafts on the way are gone
    assert not demo.running


def test_a_decoding_stopped_while_it_waits_never_runs(demo):
    demo.ready(VISITOR)
    demo.halt(VISITOR)
    *_, last, note = decode(demo, "ar")
    assert trace_of(last).bytes == b"" and "Stopped" in note["note"]["text"]
    assert len(trace_of(decode(demo, "ar")[-1]).bytes) == 24  # and the next one does


def test_a_page_that_goes_away_closes_the_stream(demo, every_event, monkeypatch):
    closed = threading.Event()
    monkeypatch.setattr(Stream, "close", lambda self: closed.set())
    running = demo.decode(VISITOR, "abc", "ar", demo.models.first, *SETTINGS.values(), *values())
    next(running)
    running.close()
    assert closed.is_set() and not demo.running


def test_who_waits_is_told_how_many_are_before_and_when_it_is_their_turn(demo, monkeypatch):
    visitors = [SimpleNamespace(session_hash=name) for name in "abc"]
    assert [demo.ready(v)["timer"].active for v in visitors] == [True, True, True]
    first, second, third = visitors
    demo._now = {"a"}

    def told(visitor):
        what = demo.waiting(visitor)
        return what["note"]["text"] if "note" in what else what["timer"].active

    assert told(first) is False
    assert told(second).startswith("1 decoding is before yours: it begins in about ")
    assert told(third).startswith("2 decodings are before yours")
    demo.leave(second)  # who leaves the queue is no longer before anybody
    assert told(third).startswith("1 decoding is before yours")
    line, demo.line = demo.line, lambda: ["a client of the API", "another", "c"]
    assert told(third).startswith("3 decodings are before yours")
    monkeypatch.setattr(session.time, "monotonic", lambda: 100.0)
    demo._met["c"] = (80.0, 7)  # twenty seconds ago seven were before
    assert told(third) == "3 decodings are before yours: it begins in about 15 s."
    demo.line = list
    assert demo.waiting(third) == {}
    demo.line, demo._now = line, {"c"}
    assert told(third) is False
    demo._now = set()
    demo.leave(first)
    demo.leave(third)
    assert not demo.running and not demo._clicks and not demo._met


def test_of_two_clicks_of_one_visitor_only_the_later_decodes(demo):
    demo.ready(VISITOR)
    demo.ready(VISITOR)
    assert decode(demo, "ar") == []
    (*_, last) = decode(demo, "blt-s")
    assert trace_of(last).method["name"] == "blt-s" and trace_of(last).totals.new_bytes == 24
    assert not demo.running and not demo._clicks


def test_two_models_race_with_the_decoders_that_each_has():
    plain, other, third = random_model(0, block_size=None), random_model(1), random_model(2)
    plain.name, other.name = "plain", "other"
    third.config = replace(third.config, block_size=4)
    demo = demo_of(plain, other, third)
    held = [*SETTINGS.values(), *values()]
    methods = ["ar", "blt-d"]
    *_, last = demo.decode(VISITOR, "abc", methods, ["plain", "other"], *held)
    lanes = [(t["model"]["name"], t["method"]["name"]) for t in last["race"]["traces"]]
    assert lanes == [("plain", "ar"), ("other", "ar"), ("other", "blt-d")]
    assert [row[0] for row in last["table"]["rows"]] == ["ar, plain", "ar, other", "blt-d, other"]
    assert [row[6].endswith("(1.00×)") for row in last["table"]["rows"]] == [True, True, False]
    query = "tab=race&method=ar,ar,blt-d&model=plain,other,other&prompt=abc&max_new_bytes=24"
    *_, again = demo.resume(VISITOR, demo.followed(query)["pending"])
    traces = again["race"]["traces"]
    assert [(t["model"]["name"], t["method"]["name"]) for t in traces] == lanes
    *_, last = demo.decode(VISITOR, "abc", ["blt-d"], ["other", "blt"], *held)
    traces = [trace_of(last, lane, "race") for lane in range(2)]
    assert [t.method["block_size"] for t in traces] == [8, 4]  # each model its own
    options = links.link_of(traces, "race").options["blt-d"]
    assert "block_size" not in options and options["latent"] == "closed"
    *_, refused = demo.decode(VISITOR, "abc", ["blt-d"], ["plain"], *held)
    assert "needs a BLT-D" in refused["note"]["text"]
    *_, refused = demo.decode(VISITOR, "abc", "ar", "/etc", *held)
    assert "model must be one of plain, other, blt, " in refused["note"]["text"]


# -- links and files -------------------------------------------------------------------------------


def test_a_link_brings_the_same_bytes_and_the_same_view_back(demo):
    first = trace_of(decode(demo, "blt-d", "Größe & 大", dict(block_size=4), seed=3)[-1])
    query = (
        "tab=watch&prompt=Gr%C3%B6%C3%9Fe+%26+%E5%A4%A7&method=blt-d&max_new_bytes=24&temperature=0.7&seed=3"
        "&blt-d.block_size=4&blt-d.unmasking=confidence:0.7&view.clock=passes&view.step=9&view.pinned=12"
    )
    what = demo.followed(query)
    assert (
        what["prompt"] == "Größe & 大" and what["method"] == "blt-d" and what["seed"]["value"] == 3
    )
    assert what[Key("blt-d", "block_size")]["value"] == 4 and what["tabs"].selected == "watch"
    *_, last = demo.resume(VISITOR, json.loads(json.dumps(what["pending"])))
    assert trace_of(last).bytes == first.bytes
    assert last["watch"]["view"] == dict(clock="passes", step=9, pinned=12)
    *_, note = demo.resume(
        VISITOR, demo.followed("tab=watch&method=ar&prompt=ab&model=other")["pending"]
    )
    assert "made with other; this page runs blt" in note["note"]["text"]


def test_texts_to_stop_after_come_back_as_they_were_written():
    trace = bltlab.generate(random_model(0), "ab", max_new_bytes=2, stop=["é", "b"]).trace
    assert links.link_of([trace], "watch").settings["stop"] == "é"
    link, _ = links.branch_link(dict(trace=trace.to_json(), at=3, byte=98))
    assert link.settings["stop"] == ["é".encode(), b"b"]


def test_a_link_to_what_the_page_shows_decodes_nothing(demo, monkeypatch):
    model = demo.models.get()
    assert [trace.method["name"] for trace in model.traces] == model.methods == [*METHODS]
    assert {trace.model["name"] for trace in model.traces} == {model.name}
    monkeypatch.setattr(session.bltlab, "stream", None)
    for trace in model.traces:
        name, prompt = trace.method["name"], trace.prompt.decode()
        settings = {k: v for k, v in trace.settings.items() if k != "stop"}
        options = {f"{name}.{k}": v for k, v in trace.method.items() if k != "name"}
        query = dict(tab="watch", method=name, prompt=prompt) | settings | options
        query = {k: "null" if v is None else v for k, v in query.items()}
        what = demo.followed(urlencode(query | {"view.step": 5}))
        assert what["pending"] is None and what["watch"]["view"] == dict(step=5)
        assert trace_of(what) == trace
    assert demo.followed("tab=tour&view.page=4")["tour"]["view"] == dict(page=4)
    assert demo.followed("tab=race&view.step=3")["race"]["view"] == dict(step=3)
    assert demo.followed("") == {}


@pytest.mark.parametrize(
    "query, words",
    [
        ("tab=nowhere", "one of watch, race"),
        ("method=other", "one of ar"),
        ("seed=x", "seed must be a number"),
        ("a=b", "'a'"),
        ("method=blt-d&blt-d.block_size=9000", "in 1..64"),
        ("method=blt-d&blt-d.unmasking=<img>", "unmasking must be a rule"),
        ("max_new_bytes=1000000", "1 to 1024"),
        ("method=blt-d&blt-d.__class__=1", "no option"),
        ("method=ar,blt-s", "one decoder"),
        ("temperature=NaN", "temperature"),
        ("prompt=" + "x" * 3000, "characters"),
        ("x" * 30_000, "too long"),
        ("&".join(f"view.{i}=1" for i in range(300)), ""),
        ("max_new_bytes=true", "number"),
        ("seed=" + "9" * 5000, "seed"),
    ],
)
def test_a_bad_link_is_told_in_one_sentence(demo, query, words):
    what = demo.followed(query)
    assert (
        set(what) == {"note"}
        and what["note"]["text"].startswith(REFUSED)
        and words in what["note"]["text"]
    )


def test_a_saved_trace_opens_and_fills_the_controls(demo, tmp_path):
    trace = decode(demo, "blt-s", changed=dict(draft_length=5))[-1]["watch"]["traces"][0]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(trace | dict(link="tab=watch&view.step=7")))
    what = demo.opened([path])
    assert (
        what["watch"]["traces"] == [trace]
        and what["watch"]["view"] == dict(step=7)
        and what["note"]["text"] == ""
    )
    assert (
        what["method"] == "blt-s"
        and what[Key("blt-s", "draft_length")]["value"] == 5
        and what["prompt"] == "abc"
    )
    assert Trace.load(path).to_json() == trace  # a saved view is still a trace


def test_several_traces_open_as_a_race_and_a_saved_race_as_itself(demo, tmp_path):
    traces = decode(demo, ["ar", "blt-d"])[-1]["race"]["traces"]
    paths = [tmp_path / f"{i}.json" for i in range(2)]
    for path, trace in zip(paths, traces, strict=True):
        path.write_text(json.dumps(trace))
    what = demo.opened(paths)
    assert (
        what["race"]["traces"] == traces
        and what["tabs"].selected == "race"
        and what["racers"] == ["ar", "blt-d"]
    )
    paths[0].write_text(
        json.dumps(dict(schema=shown.VIEW, link="tab=race&view.clock=seconds", traces=traces))
    )
    what = demo.opened(paths[:1])
    assert what["race"]["traces"] == traces and what["race"]["view"] == dict(clock="seconds")
    assert "at most 6" in demo.opened(paths * 3)["note"]["text"]


def test_a_file_that_is_none_is_told_in_one_sentence(demo, tmp_path):
    trace = decode(demo, "blt-s")[-1]["watch"]["traces"][0]
    huge = json.loads(json.dumps(trace))
    huge["model"]["parameters"]["encoder"] = 10**400
    path = tmp_path / "t.json"

    def view(traces):
        return json.dumps(dict(schema=shown.VIEW, traces=traces))

    for content in (
        "",
        "{}",
        "no json",
        "[" * 100_000,
        '{"a":' * 100_000,
        json.dumps(trace | {"events": []}),
        "\x00",
        "NaN",
        json.dumps(huge),
        view(7),
        view([7]),
        json.dumps(trace).replace('"prob": ', '"prob": NaN, "x": '),
        json.dumps(trace | dict(schema="bltlab.trace/9")),
    ):
        path.write_text(content)
        what = demo.opened([path])
        assert set(what) == {"note"} and what["note"]["text"].startswith(REFUSED), content[:60]
        assert str(tmp_path) not in what["note"]["text"] and "\n" not in what["note"]["text"]
    path.write_bytes(b"\xff\xfe\x00broken")
    assert demo.opened([path])["note"]["text"].startswith(REFUSED)
    path.write_text(
        json.dumps(trace | dict(method=dict(name="elsewhere", anything="<b>"), link="tab=<b>"))
    )
    what = demo.opened([path])  # an unknown method and a bad link: the trace is shown
    assert what["watch"]["traces"][0]["method"]["name"] == "elsewhere" and "method" not in what
    assert what["note"]["text"].startswith("Shown without controls: ")
    assert "'elsewhere'" in what["note"]["text"]


def test_patches_and_inside_show_what_ships_and_then_what_was_typed(demo):
    first = shown.surveys(demo.models.get())
    assert first["surveys"] and shown.insides(demo.models.get())["data"]
    *_, what = demo.survey("abca abc")
    mine, *others = what["patches"]["surveys"]
    assert bytes(mine["bytes"]) == b"abca abc" and mine["typed"] and others == first["surveys"]
    assert [*demo.survey("")][-1]["patches"] == first
    *_, what = demo.look("abca abc")
    assert bytes(i - 4 for i in what["inside"]["data"]["ids"][1:]) == b"abca abc"
    assert [*demo.look("x" * 99)][-1]["note"]["text"].startswith(REFUSED)


# -- somebody's own method -------------------------------------------------------------------------

OWN = """\"\"\"How it works: as BLT-D, under a rule of this file.\"\"\"

from dataclasses import dataclass
from typing import ClassVar

from bltlab.decoding import BlockDiffusion
from bltlab.options import check_options, option
from bltlab.unmasking import Confidence


@dataclass(frozen=True)
class Falling:
    \"\"\"Reveal what is surer than `floor`, `most` slots a step.\"\"\"

    name: ClassVar[str] = "falling"
    floor: float = option(0.5, "probability to exceed", min=0.0, max=1.0)
    most: int = option(3, "slots a step", min=1, max=8)

    def __post_init__(self):
        check_options(self)

    def __call__(self, probs, masked):
        sure = probs.amax(-1).masked_fill(~masked, -1)
        surest = sure.sort(dim=1, descending=True).indices[:, : self.most]
        return masked.new_zeros(masked.shape).scatter(1, surest, True) & masked


@dataclass(frozen=True)
class Mine(BlockDiffusion):
    \"\"\"Blocks of my own.\"\"\"

    name: ClassVar[str] = "mine"
    title: ClassVar[str] = "Mine, from a file"
    unmasking: object = option(
        Falling(0.25), "which bytes", rules={"falling": Falling, "confidence": Confidence}
    )
    label: str = option("none", "a text")


@dataclass(frozen=True)
class Taken(Mine):
    name: ClassVar[str] = "blt-d"


@dataclass(frozen=True)
class Roundless:
    name: ClassVar[str] = "roundless"
"""


@pytest.fixture
def own(tmp_path):
    """A file with a method outside the repository; what it registers is forgotten afterwards."""
    before = dict(METHODS)
    path = tmp_path / "own_methods.py"
    path.write_text(OWN)
    yield path
    METHODS.clear()
    METHODS.update(before)
    sys.modules.pop(path.stem, None)


@pytest.fixture
def page_of(monkeypatch):
    """What `main` would launch, without launching it: (page, looks)."""

    def opened(*arguments):
        launched = []
        monkeypatch.setattr(gr.Blocks, "launch", lambda page, **more: launched.append(page))
        monkeypatch.setattr(app, "Models", lambda names, place: models_of(random_model(0)))
        app.main([*arguments])
        monkeypatch.undo()
        return launched[0]

    return opened


def test_a_method_of_ones_own_file_has_its_controls_and_decodes(demo, own, page_of):
    page = page_of("--method", f"{own}:Mine")
    labels = {getattr(block, "label", None): block for block in page.blocks.values()}
    assert ("Mine", "mine") in labels["decoder"].choices
    assert ("Mine", "mine") in labels["decoders"].choices
    assert {"floor", "most", "label", "how Mine works"} <= set(labels)
    assert (labels["floor"].value, labels["most"].value) == (0.25, 3)
    assert any(
        "under a rule of this file" in str(b.value)
        for b in page.blocks.values()
        if hasattr(b, "value")
    )
    changed = dict(unmasking_falling_most=2, label="12")
    trace = trace_of(decode(demo, "mine", changed=changed)[-1])
    assert trace.method["unmasking"] == "falling:0.25:2" and trace.method["label"] == "12"
    steps = [e for e in trace.events if isinstance(e, Unmasked)]
    assert steps and max(len(e.revealed) for e in steps) == 2
    race = decode(demo, ["ar", "mine"], changed=dict(unmasking="confidence"))[-1]["race"]
    assert [t["method"]["name"] for t in race["traces"]] == ["ar", "mine"]
    assert race["traces"][1]["method"]["unmasking"] == "confidence:0.7"


def test_a_trace_of_ones_own_method_fills_its_controls_where_it_is_known(demo, own, tmp_path):
    register(load_class(f"{own}:Mine"))
    changed = dict(unmasking_falling_floor=0.75, unmasking_falling_most=5, block_size=4)
    trace = decode(demo, "mine", changed=changed)[-1]["watch"]["traces"][0]
    query = "tab=watch&method=mine&mine.unmasking=falling:0.75:5&mine.block_size=4&prompt=abc"
    (tmp_path / "t.json").write_text(json.dumps(trace | dict(link=query + "&view.step=3")))
    for what in demo.opened([tmp_path / "t.json"]), demo.followed(query):
        assert what["method"] == "mine" and what["prompt"] == "abc"
        assert what[Key("mine", "block_size")]["value"] == 4
        assert what[Key("mine", "unmasking", "falling", "floor")]["value"] == 0.75
        assert what[Key("mine", "unmasking", "falling", "most")]["value"] == 5
        assert not what[Key("mine", "unmasking", "confidence", "threshold")]["visible"]
    del METHODS["mine"]
    what = demo.opened([tmp_path / "t.json"])
    assert what["watch"]["traces"] == [trace] and what["watch"]["view"] == dict(step=3)
    assert "method" not in what and not any(isinstance(name, Key) for name in what)
    assert what["note"]["text"].startswith("Shown without controls: method must be one of ar")
    assert "got 'mine'" in demo.followed(query)["note"]["text"]


def test_a_method_of_ones_own_file_answers_through_the_api(own, page_of):
    from gradio_client import Client

    page = page_of("--method", f"{own}:Mine")
    _, address, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **app.looks()
    )
    try:
        client = Client(address, verbose=False)
        options = {"unmasking": "falling:0.5:2", "label": "x"}
        trace = client.predict("abc", "mine", options, max_new_bytes=9, api_name="/decode")
        assert trace["method"]["unmasking"] == "falling:0.5:2" and trace["method"]["label"] == "x"
        race = client.predict("abc", ["mine", "ar"], max_new_bytes=9, api_name="/race")
        assert [t["method"]["name"] for t in race] == ["mine", "ar"]
        race = client.predict("abc", max_new_bytes=9, api_name="/race")
        assert [t["method"]["name"] for t in race] == [*METHODS][:6]
        for method, given, words in [
            ("mine", {"unmasking": "falling:0.5:9"}, "most must be an int in 1..8"),
            (f"{own}:Taken", {}, "one of ar"),
            ("mine", {"unmasking": f"{own}:Falling"}, "unmasking must be"),
        ]:
            with pytest.raises(Exception, match=words):
                client.predict("abc", method, given, api_name="/decode")
    finally:
        page.close()


@pytest.mark.parametrize(
    "name, words",
    [
        ("nowhere.at.all:Method", "nowhere.at.all cannot be imported"),
        ("{own}:Missing", "has no class Missing"),
        ("{own}:Roundless", "needs round"),
        ("{own}:Taken", "'blt-d' is taken"),
        ("blt-d", "module:Class"),
    ],
)
def test_a_method_that_cannot_be_used_is_one_sentence_and_exit_code_2(own, name, words, capsys):
    with pytest.raises(SystemExit) as left:
        app.main(["--method", name.format(own=own)])
    *_, told = capsys.readouterr().err.splitlines()
    assert left.value.code == 2 and words in told and "Traceback" not in told


@pytest.mark.parametrize("given", [b"abc", b"\xef\xbb\xbfa\xff\xe5", bytes(range(256))])
def test_the_api_takes_bytes(demo, given):
    api = Endpoints(demo)
    *_, trace = api.decode([*given], max_new_bytes=2)
    assert Trace.from_json(trace).prompt == given
    *_, race = api.race([*given], ["ar"], max_new_bytes=2)
    assert Trace.from_json(race[0]).prompt == given
    assert bytes(api.patches([*given])["bytes"]) == given


@pytest.mark.parametrize(
    "given", [[256], [-1], [True], ["a"], [1.0], {"a": 1}, None, 7, [1] * 2001, "a" * 2001]
)
def test_the_api_refuses_what_is_no_text_in_one_sentence(demo, given):
    api = Endpoints(demo)
    for ask in (api.decode, api.race, api.patches, api.inside):
        with pytest.raises(gr.Error, match="a text m"):
            list(ask(given))


def test_the_api_decodes_with_a_model_of_the_page_and_no_other():
    first, other = random_model(0, block_size=None), random_model(1)
    first.name, other.name = "first", "other"
    api = Endpoints(demo_of(first, other))
    for name, model in [(None, first), ("other", other)]:
        *_, trace = api.decode("abc", max_new_bytes=9, model=name)
        assert Trace.from_json(trace).bytes == bltlab.generate(model, "abc", max_new_bytes=9).bytes
        *_, race = api.race("abc", max_new_bytes=2, model=name)
        made = {(t["model"]["name"], t["method"]["name"]) for t in race}
        able = list(METHODS) if model is other else ["ar", "blt-s"]
        assert made == {(model.name, method) for method in able}
        seen = api.inside("abc abc", model=name)
        assert seen["block_size"] == model.config.block_size
        told = bltlab.patchify(model, "abc abc").entropies[:7]
        assert api.patches("abc abc", model=name)["entropies"] == pytest.approx(told)
    for name, words in [("/etc", "model must be one of first, other, blt-"), (5, "must be a text")]:
        for ask in (api.decode, api.race, api.patches, api.inside):
            with pytest.raises(gr.Error, match=words):
                list(ask("abc", model=name))


# -- a byte by hand, and files to keep -------------------------------------------------------------


def test_a_byte_taken_by_hand_goes_on_beside_the_old_trace(demo):
    old = decode(demo, "blt-s", temperature=0.0)[-1]["watch"]["traces"][0]
    updates = list(demo.branch(VISITOR, dict(trace=old, at=9, byte=104)))
    last = [update for update in updates if "watch" in update][-1]
    first, new = map(Trace.from_json, last["watch"]["traces"])
    assert first == Trace.from_json(old) and not last["watch"]["live"]
    text = first.prompt + first.bytes
    assert new.prompt == text[:9] + b"h" and new.method == first.method
    assert len(new.prompt) + new.settings["max_new_bytes"] == 3 + 24
    assert last["text"].startswith(shown.bltlab.vocab.to_text(new.prompt))
    assert VISITOR.session_hash not in demo.running


@pytest.mark.parametrize(
    "choice", [None, {}, dict(trace=7), dict(trace={"schema": 1}), dict(at=500), dict(byte=300)]
)
def test_a_byte_that_cannot_be_taken_is_one_note(demo, choice):
    trace = decode(demo, "ar", max_new_bytes=3)[-1]["watch"]["traces"][0]
    if choice and "trace" not in choice:
        choice = dict(trace=trace, at=4, byte=104) | choice
    (told,) = demo.branch(VISITOR, choice)
    assert set(told) == {"note"} and told["note"]["text"].startswith(REFUSED)
    assert VISITOR.session_hash not in demo.running


def test_what_is_shown_is_kept_as_a_page_a_picture_or_an_animation(demo):
    pytest.importorskip("PIL")
    trace = decode(demo, "blt-d", max_new_bytes=6)[-1]["watch"]["traces"][0]
    view = dict(traces=[trace], clock="passes", step=2)
    begins = dict(html=b"<!doctype html>", svg=b"<svg", png=b"\x89PNG", gif=b"GIF89a")
    for kind, begin in begins.items():
        told = exports.taken(kind, view)
        assert told["file"]["name"] == f"blt-d.{kind}"
        assert base64.b64decode(told["file"]["data"]).startswith(begin)
    assert exports.exported("svg", view | dict(traces=[trace] * 2))["name"] == "race.svg"


@pytest.mark.parametrize(
    "kind, changed, words",
    [
        ("pdf", {}, "kind must be one of html, svg, png, gif"),
        ("svg", dict(traces=[]), "no decoding on this tab"),
        ("svg", dict(traces=[1]), "a trace, or a list of them"),
        ("svg", dict(clock="hours"), "clock must be one of"),
        ("svg", dict(step=10**9), "step must be an int"),
        ("html", dict(many=7), "at most 6 traces"),
    ],
)
def test_what_cannot_be_drawn_is_one_note(demo, kind, changed, words):
    trace = decode(demo, "ar", max_new_bytes=3)[-1]["watch"]["traces"][0]
    view = dict(traces=[trace] * changed.pop("many", 1), clock="event", step=1) | changed
    told = exports.taken(kind, view)
    assert set(told) == {"note"} and words in told["note"]["text"]


def test_nothing_is_decoded_while_another_model_fills_the_page(demo):
    """What stands in the page then is the other model's: its decoder, its prompt."""
    name = demo.models.names[0]
    first, *_, last = demo.choose(name, "")
    for button in ("run", "race_run"):
        assert not first[button]["interactive"] and last[button]["interactive"]
    assert last["model"] == name
    (_, refused) = demo.choose("of nobody", "")
    assert refused["run"]["interactive"] and refused["note"]


# -- the tour --------------------------------------------------------------------------------------


def recorder():
    """.ci/record.py, which makes the pages of the tour."""
    where = Path(__file__).parent.parent / ".ci" / "record.py"
    spec = importlib.util.spec_from_file_location("recorder", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_page_of_the_tour_shows_what_it_says():
    pages, traces, pace = shown.tour().values()
    folded = {name: Trace.from_json(trace) for name, trace in traces.items()}
    assert recorder().pages(folded) == pages  # its words were looked up in these very traces
    sentences = [page["text"].count(".") + page["text"].count("?") for page in pages]
    assert len(pages) == 9 and min(sentences) >= 1 and max(sentences) <= 7
    told = [page["text"] for page in pages]
    at = [(folded[page["traces"][0]], page["step"], page.get("highlight")) for page in pages]
    events = [trace.events[step - 1] for trace, step, _ in at[:-1]]
    cells = [trace.canvas(step).cells[place - 1] for trace, step, place in at[:-1]]

    assert bytes(i - 4 for i in at[0][0].canvas(1).ids[9:12]).decode() == "大" and at[0][2] == 10
    assert cells[1].state == "kept" and len(events[1].ids) == 1
    nats, threshold = map(float, re.findall(r"\d+\.\d+", told[2]))
    committed = [e for e in at[2][0].events[: at[2][1] - 1] if hasattr(e, "entropies")]
    assert cells[2].opens and nats == pytest.approx(committed[-1].entropies[-1], abs=0.051)
    assert nats > threshold == pytest.approx(at[2][0].model["threshold"], abs=0.0051)
    word = re.search("“(.+)”", told[2])[1].replace("␣", " ")
    before = vocab.decode([c.id for c in at[2][0].canvas(at[2][1]).cells[: at[2][2] - 1]])
    assert before.endswith(word.encode())
    for page in (3, 4):
        revealed = bytes(events[page].block[slot] - 4 for slot in events[page].revealed)
        assert f"(“{revealed.decode()}”)".replace(" ", "␣") in told[page]
        assert cells[page].state == "proposed"
    assert len(events[4].revealed) > 1
    checked = at[5][0].events[at[5][1] - 2]
    assert checked.accepted == len(checked.drafted) == 8 and cells[5].state == "accepted"
    assert 0 < events[6].accepted < len(events[6].drafted)
    own = bytes([events[7].replacement - 4]).decode().replace(" ", "␣")
    assert f"own “{own}”" in told[7] and cells[7].state == "replaced"
    assert pace.keys() == traces.keys() and 0 < pace["ar"] == pace["blt-d"] < 1  # seconds a byte
    last = {name: folded[name] for name in pages[8]["traces"]}
    same, _, others = told[8].partition("write the very bytes")
    for name, trace in last.items():
        exact = trace.bytes == last["ar"].bytes
        assert name == "ar" or re.search(rf"{name.upper()}\b", same if exact else others)


# -- the page and its API --------------------------------------------------------------------------


def test_the_page_is_served_on_this_machine_and_through_its_api():
    from gradio_client import Client

    page, looks = app.build(models_of(random_model(0)))
    _, address, share = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **looks
    )
    try:
        assert address.startswith("http://127.0.0.1") and not share
        client = Client(address, verbose=False)
        names = list(client.view_api(return_format="dict", print_info=False)["named_endpoints"])
        assert names == ["/decode", "/race", "/patches", "/inside"]
        trace = client.predict(
            "abc", "blt-d", {"unmasking": "topk:2"}, max_new_bytes=24, api_name="/decode"
        )
        assert len(Trace.from_json(trace).bytes) == 24 and trace["method"]["unmasking"] == "topk:2"
        race = client.predict(
            "abc",
            ["ar", "blt-s"],
            {"blt-s": {"draft_length": 3}},
            max_new_bytes=24,
            api_name="/race",
        )
        assert [Trace.from_json(t).bytes for t in race] == [Trace.from_json(race[0]).bytes] * 2
        assert bytes(client.predict("abc abc", api_name="/patches")["bytes"]) == b"abc abc"
        assert client.predict("abc abc", api_name="/inside")["schema"] == "bltlab.inside/1"
        for arguments, words in [
            (("abc", "other"), "one of ar, blt-s"),
            (("x" * 3000, "ar"), "characters"),
            (("abc", "ar", {}, 5000), "1 to 1024"),
            (("abc", "blt-d", {"x": 1}), "no option x"),
        ]:
            with pytest.raises(Exception, match=words):
                client.predict(*arguments, api_name="/decode")
    finally:
        page.close()


def test_a_link_keeps_what_asdict_and_json_do_to_it():
    link = links.read_link(
        "tab=race&method=ar,blt-s&blt-s.draft_length=3&view.hit=[1,2]&view.x=true&stop=12&top_k=4"
    )
    assert links.Link(**json.loads(json.dumps(asdict(link)))) == link
    assert link.view == dict(hit=[1, 2], x=True) and link.settings == dict(stop="12", top_k=4)
