"""Another byte by hand: the text goes on from it, in Python and in a notebook."""

import asyncio

import pytest
from conftest import random_model

import bltlab
from bltlab import vocab
from bltlab.decoding import METHODS, branch_of

MODEL = random_model(0)
SETTINGS = dict(max_new_bytes=24, temperature=0.8, seed=3, top_k=40, stop=["@@"])


def written(method):
    return bltlab.generate(MODEL, "abc ", method, **SETTINGS)


@pytest.mark.parametrize("method", METHODS)
def test_a_branch_goes_on_from_the_byte_that_was_taken(method):
    out = written(method)
    text = out.trace.prompt + out.bytes
    for at in (2, 4, len(text) // 2, len(text)):
        other = bltlab.branch(MODEL, out, at, b"\xff")
        assert other.trace.prompt == text[:at] + b"\xff"
        assert other.trace.method == out.trace.method
        rest = dict(max_new_bytes=max(27 - at, 0))  # 4 and 24 bytes in all
        assert other.trace.settings == out.trace.settings | rest
        again = bltlab.generate(MODEL, text[:at] + b"\xff", method, **SETTINGS | rest)
        assert other.bytes == again.bytes


@pytest.mark.parametrize("at", [4, 9, 20])
def test_the_byte_that_stands_there_leads_to_the_same_text(at):
    out = written("ar")
    text = out.trace.prompt + out.bytes
    same = bltlab.branch(MODEL, out.trace, at, text[at])
    assert same.trace.prompt + same.bytes == text


def test_method_and_settings_may_be_others():
    out = written("ar")
    other = bltlab.branch(MODEL, out, 5, "x", "blt-s", max_new_bytes=3, temperature=0)
    assert other.trace.method["name"] == "blt-s" and len(other.bytes) == 3


@pytest.mark.parametrize(
    "at, byte, error, words",
    [
        (40, 1, ValueError, "offset in 0"),
        (-1, 1, ValueError, "offset in 0"),
        (1.0, 1, ValueError, "offset in 0"),
        (4, 256, ValueError, "0..255"),
        (4, "é", ValueError, "one byte"),
        (4, b"", ValueError, "one byte"),
        (4, None, TypeError, "str or bytes"),
    ],
)
def test_what_is_no_byte_of_the_text_is_refused(at, byte, error, words):
    with pytest.raises(error, match=words):
        branch_of(written("ar"), at, byte)


def test_a_branch_ends_after_the_same_texts_whatever_their_bytes():
    stops = ["é", b"\xff"]
    out = bltlab.generate(MODEL, "abc ", max_new_bytes=4, stop=stops)
    other = bltlab.branch(MODEL, bltlab.Trace.from_json(out.trace.to_json()), 5, 1)
    assert out.trace.stops == other.trace.stops == ["é".encode(), b"\xff"]
    assert other.trace.settings["stop"] == out.trace.settings["stop"]


def test_a_trace_is_needed():
    with pytest.raises(TypeError, match="a trace"):
        bltlab.branch(MODEL, "text", 0, 1)
    with pytest.raises(ValueError, match="a branch goes on from one trace, got 2"):
        bltlab.branch(MODEL, [written("ar")] * 2, 0, 1)


# -- in a notebook ---------------------------------------------------------------------------------


def clicked(player, at, byte, lane=0):
    """What a click on a candidate sends."""
    player.set_state({"wanted": dict(lane=lane, at=at, byte=byte, when=1)})


def test_a_click_in_a_widget_shows_the_branch_beside_the_old_lane(monkeypatch):
    pytest.importorskip("anywidget")
    monkeypatch.setattr("bltlab.viz._in_jupyter", lambda: True)
    out = written("ar")
    assert not bltlab.view(out).branches  # without a model nothing can be taken
    shown = bltlab.view(out, model=MODEL)
    assert shown.branches
    clicked(shown, 9, 104)
    old, new = shown.traces
    assert old == out.trace and new.bytes == bltlab.branch(MODEL, out, 9, 104).bytes
    clicked(shown, 12, 105, lane=1)  # and a branch of the branch
    assert shown.traces[0] is new and shown.traces[1].prompt[-1:] == b"i"


def test_a_click_in_an_explorer_decodes_beside_the_old_lane():
    pytest.importorskip("ipywidgets")
    explored = bltlab.explore(MODEL, "abc", "blt-d", methods=["blt-d,block_size=3", "ar"])
    explored.max_new_bytes.value = 20
    explored.decode.click()
    old = explored.trace

    async def click():
        clicked(explored.player, 8, 104)
        clicked(explored.player, 9, 104)  # while that runs, another one is not heard
        await explored._task

    asyncio.run(click())
    assert explored.player.traces == [old, explored.trace]
    text = old.prompt + old.bytes
    assert explored.trace.prompt == text[:8] + b"h" and explored.trace.method == old.method
    clicked(explored.player, 500, 104)
    assert "offset" in explored.note.value and vocab.to_text(old.prompt) == "abc"
