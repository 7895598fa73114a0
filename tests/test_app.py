"""The app: controls come from the methods' fields, decoding streams and stops, bad options are told in the page."""

import json
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import pytest

gr = pytest.importorskip("gradio")
sys.path.insert(0, str(Path(__file__).parent.parent / "apps"))

import controls  # noqa: E402
import demo as app  # noqa: E402
from bltlab.decoding import METHODS, Autoregressive  # noqa: E402
from bltlab.sampling import RULES, format_rule  # noqa: E402
from bltlab.trace import Finished, Trace  # noqa: E402

from conftest import random_model  # noqa: E402

SETTINGS = dict(max_new_bytes=24, temperature=0.7, top_k=0, top_p=1.0, seed=0, stop="")


@pytest.fixture(scope="module")
def demo():
    demo = app.Demo("unused")
    demo._model = random_model(0)
    return demo


@pytest.fixture
def every_event(monkeypatch):
    monkeypatch.setattr(app, "FRAME", 0.0)


def values(**changes):
    """What all controls hold at first, in the page's order, some replaced by field name or (field name, rule)."""
    with gr.Blocks():
        boxes = [box for kind in METHODS.values() for box in controls.method_controls(kind)]
    return [changes.get(f"{name}_{part}" if part else name, box.value)
            for (_, name, part), box in zip(controls.keys(), boxes, strict=True)]


def decode(demo, method, prompt="abc", changed={}, **settings):
    return list(demo.decode(prompt, method, *(SETTINGS | settings).values(), *values(**changed)))


# -- controls ----------------------------------------------------------------------------------------------------------

def test_the_controls_of_a_method_give_that_method_back():
    for name, kind in METHODS.items():
        assert controls.build_method(name, controls.gathered(name, values())) == kind()


def test_a_control_shows_its_fields_limits_choices_and_help():
    for kind in METHODS.values():
        for f in fields(kind):
            with gr.Blocks():
                box = controls.control(f)
            if f.metadata.get("rule"):
                assert [name for _, name in box.choices] == list(RULES) and format_rule(f.default).startswith(box.value)
            elif "choices" in f.metadata:
                assert [c for _, c in box.choices] == list(f.metadata["choices"]) and box.value == f.default
            else:
                low = 0 if f.default is None else f.metadata["min"]                      # 0 leaves it open
                assert (box.minimum, box.maximum, box.value) == (low, f.metadata["max"], f.default or 0)
            assert box.info.removesuffix(" (0)") in f.metadata["help"]
            assert box.preprocess(box.value) == box.value


def test_every_rule_can_be_chosen_with_its_parameter():
    for rule, kind in RULES.items():
        parameter = {f"unmasking_{rule}": f.metadata["min"] for f in fields(kind)}
        method = controls.build_method("blt-d", controls.gathered("blt-d", values(unmasking=rule, **parameter)))
        assert method.unmasking == kind(*parameter.values())


def test_a_fifth_method_needs_no_line_in_the_app(demo, monkeypatch):
    @dataclass(frozen=True)
    class Fifth(Autoregressive):
        """A method that the app has never heard of."""
        name: ClassVar[str] = "fifth"
        title: ClassVar[str] = "A fifth method"
        often: int = field(default=3, metadata=dict(min=1, help="no upper limit"))
        careful: bool = field(default=True, metadata=dict(help="yes or no"))
        share: float = field(default=0.5, metadata=dict(min=0.0, max=1.0, help="a fraction"))

    monkeypatch.setitem(METHODS, "fifth", Fifth)
    page, _ = app.build()
    labels = {getattr(block, "label", None): block for block in page.blocks.values()}
    assert isinstance(labels["often"], gr.Number) and isinstance(labels["careful"], gr.Checkbox)
    assert isinstance(labels["share"], gr.Slider)
    assert Trace.from_json(decode(demo, "fifth", changed=dict(often=7))[-1][0][0]).method["often"] == 7


# -- decoding ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", METHODS)
def test_decoding_streams_and_ends_with_the_whole_trace(demo, method, every_event):
    updates = decode(demo, method)
    assert len(updates) > 5
    lanes, text, totals, note = updates[-1]
    trace = Trace.from_json(json.loads(json.dumps(lanes[0])))
    assert isinstance(trace.events[-1], Finished) and len(trace.bytes) == 24 and trace.method["name"] == method
    assert text.startswith("abc") and "| ended by | budget |" in totals and note == ""
    assert all(words in totals for words in ("patcher", "global", "paper (eq. 8)", "measured", "bytes per patch"))


@pytest.mark.parametrize("method, changed, settings, words", [
    ("blt-d", dict(unmasking="confidence", unmasking_confidence=1.5), {}, "0..1"),
    ("blt-d", dict(unmasking="topk", unmasking_topk=None), {}, "topk:2"), ("blt-s", dict(draft_length=0), {}, "at least 1"),
    ("blt-dv", dict(block_size=-3), {}, "block_size"), ("blt-dv", {}, dict(temperature=-1), "at least 0"),
    ("ar", {}, dict(max_new_bytes=600), "max_length"), ("ar", {}, dict(max_new_bytes=None), "max_new_bytes"),
    ("none", {}, {}, "one of ar"),
])
def test_bad_options_are_told_in_the_page(demo, method, changed, settings, words):
    *_, (lanes, text, totals, note) = decode(demo, method, changed=changed, **settings)
    assert note.startswith("That does not work: ") and words in note
    assert all(x == gr.skip() for x in (lanes, text, totals))                            # the page keeps what it shows


def test_a_block_above_the_trained_size_runs_with_a_note(demo):
    lanes, *_, note = decode(demo, "blt-d", changed=dict(block_size=12))[-1]
    assert "12" in note and note.startswith("Note: ") and len(Trace.from_json(lanes[0]).bytes) == 24


def test_a_plain_blt_or_none_at_all_is_told():
    demo = app.Demo("unused")
    demo._model = random_model(0, block_size=None)
    assert "plain BLT" in decode(demo, "blt-d")[-1][3]
    assert len(Trace.from_json(decode(demo, "ar")[-1][0][0]).bytes) == 24
    loading, missing = decode(app.Demo("no-such-model"), "ar")
    assert "Loading" in loading[3] and "no-such-model" in missing[3]


def test_stopping_closes_the_stream_and_keeps_the_trace(demo, every_event, monkeypatch):
    closed = []
    real = app.bltlab.decoding.Stream.close
    monkeypatch.setattr(app.bltlab.decoding.Stream, "close", lambda self: (closed.append(1), real(self))[1])
    running = demo.decode("abc", "blt-dv", *(SETTINGS | dict(max_new_bytes=400)).values(), *values())
    lanes = [next(running) for _ in range(12)][-1][0]
    running.close()
    assert closed
    kept, text, totals, note = app.stopped(lanes)
    trace = Trace.from_json(kept[0])
    assert trace.events[:-1] == Trace.from_json(lanes[0]).events and trace.events[-1].reason == "interrupted"
    assert bytes(i - 4 for i in trace.canvas().ids) == trace.prompt + trace.bytes        # drafts on the way are gone
    assert "interrupted" in totals and "Stopped" in note
    assert app.stopped(kept) == app.stopped(None) == app.noted("")                       # nothing runs: nothing changes


def test_a_saved_trace_opens_and_a_bad_file_is_told(demo, tmp_path):
    lanes = decode(demo, "blt-s")[-1][0]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(lanes[0]))
    assert app.opened(path)[0] == lanes
    huge = json.loads(json.dumps(lanes[0]))
    huge["model"]["parameters"]["encoder"] = 10 ** 400
    for content in ("{}", "no json", "[" * 100_000, json.dumps(lanes[0] | {"events": []}), json.dumps(huge)):
        path.write_text(content)
        *kept, note = app.opened(path)
        assert note.startswith("That does not work: ") and str(tmp_path) not in note and kept == [gr.skip()] * 3


def test_the_page_is_served_on_this_machine_and_through_its_api(monkeypatch):
    from gradio_client import Client
    monkeypatch.setattr(app.Demo, "model", random_model(0))
    page, looks = app.build()
    _, address, share = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False, **looks)
    try:
        assert address.startswith("http://127.0.0.1") and not share
        client = Client(address, verbose=False)
        assert list(client.view_api(return_format="dict", print_info=False)["named_endpoints"]) == ["/decode"]
        trace = client.predict("abc", "blt-d", {"unmasking": "topk:2"}, max_new_bytes=24, api_name="/decode")
        assert len(Trace.from_json(trace).bytes) == 24 and trace["method"]["unmasking"] == "topk:2"
        with pytest.raises(Exception, match="one of ar, blt-s"):
            client.predict("abc", "other", api_name="/decode")
    finally:
        page.close()
