"""The app: controls come from the methods' fields, decoding streams and stops, bad options are told in the page."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest

gr = pytest.importorskip("gradio")
sys.path.insert(0, str(Path(__file__).parent.parent / "apps"))

import demo as app  # noqa: E402
from bltlab.decoding import METHODS  # noqa: E402
from bltlab.trace import Finished, Trace  # noqa: E402

from conftest import random_model  # noqa: E402

SETTINGS = dict(max_new_bytes=24, temperature=0.7, top_k=0, top_p=1.0, seed=0, stop="")


@pytest.fixture(scope="module")
def demo():
    demo = app.Demo("unused")
    demo._model = random_model(0)
    return demo


def values(**changes):
    """The defaults of all controls, in the page's order, some replaced."""
    return [changes.get(f.name, app.format_rule(f.default) if f.metadata.get("rule") else f.default)
            for kind in METHODS.values() for f in fields(kind)]


def decode(demo, method, prompt="abc", controls=(), **changes):
    return list(demo.decode(prompt, method, *(SETTINGS | changes).values(), *(controls or values())))


@pytest.mark.parametrize("method", METHODS)
def test_decoding_ends_with_the_whole_trace(demo, method, monkeypatch):
    monkeypatch.setattr(app, "FRAME", 0.0)
    updates = decode(demo, method)
    assert len(updates) > 5                              # it streams
    lanes, text, totals, message = updates[-1]
    trace = Trace.from_json(lanes[0])
    assert isinstance(trace.events[-1], Finished) and len(trace.bytes) == 24 and trace.method["name"] == method
    assert text.startswith("abc") and dict(totals)["ended by"] == "budget" and not message["visible"]
    assert json.dumps(lanes)


def test_every_field_of_every_method_has_a_control():
    for kind in METHODS.values():
        for f in fields(kind):
            with gr.Blocks():
                control = app.control(f)
            assert control.value == (app.format_rule(f.default) if f.metadata.get("rule") else f.default)
            assert f.metadata["help"] in control.info


@pytest.mark.parametrize("method, controls, changes, words", [
    ("blt-d", dict(unmasking="confidence:1.5"), {}, "0..1"), ("blt-d", dict(unmasking="best"), {}, "confidence:0.7"),
    ("ar", {}, dict(max_new_bytes=600), "max_length"), ("blt-s", dict(draft_length=0), {}, "at least 1"),
    ("blt-dv", dict(block_size=-3), {}, "block_size"), ("blt-dv", {}, dict(temperature=-1), "at least 0"),
])
def test_bad_options_are_told_in_the_page(demo, method, controls, changes, words):
    *_, (lanes, text, totals, message) = decode(demo, method, controls=values(**controls), **changes)
    assert message["visible"] and words in message["value"]
    assert all(x == gr.skip() for x in (lanes, text, totals))                            # the page keeps what it shows


def test_a_plain_blt_is_told_apart():
    demo = app.Demo("unused")
    demo._model = random_model(0, block_size=None)
    assert "plain BLT" in decode(demo, "blt-d")[-1][3]["value"]
    assert len(Trace.from_json(decode(demo, "ar")[-1][0][0]).bytes) == 24


def test_stopping_closes_the_stream(demo, monkeypatch):
    monkeypatch.setattr(app, "FRAME", 0.0)
    closed = []
    real = app.bltlab.decoding.Stream.close
    monkeypatch.setattr(app.bltlab.decoding.Stream, "close", lambda self: (closed.append(1), real(self))[1])
    running = demo.decode("abc", "ar", *(SETTINGS | dict(max_new_bytes=400)).values(), *values())
    lanes = [next(running) for _ in range(10)][-1][0]
    running.close()
    assert closed and 0 < len(Trace.from_json(lanes[0]).bytes) < 400


def test_a_trace_is_saved_and_opened(demo, tmp_path):
    lanes = decode(demo, "blt-s")[-1][0]
    path = app.saved(lanes)
    assert app.opened(path)[0] == lanes
    (tmp_path / "bad.json").write_text("{}")
    message = app.opened(tmp_path / "bad.json")[3]
    assert message["visible"] and "bad.json" in message["value"] and str(tmp_path) not in message["value"]
    with pytest.raises(gr.Error):
        app.saved([])


def test_the_page_is_served_on_this_machine_and_through_its_api(monkeypatch):
    from gradio_client import Client
    monkeypatch.setattr(app.Demo, "model", random_model(0))
    page, looks = app.build()
    _, address, share = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False, **looks)
    try:
        assert address.startswith("http://127.0.0.1") and not share
        client = Client(address, verbose=False)
        assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/decode"]
        lanes, text, totals, _ = client.predict("abc", "blt-s", *SETTINGS.values(), *values(), api_name="/decode")
        assert len(Trace.from_json(lanes[0]).bytes) == 24
    finally:
        page.close()
