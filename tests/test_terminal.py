"""Live play in a terminal: whatever is guessed on the way, the text alone is left."""

import os
import re
import subprocess
import sys

import pytest
from conftest import random_model

import bltlab
from bltlab.decoding import METHODS
from bltlab.viz.terminal import STYLES, Live, play


def screen(written):
    """The lines that a terminal shows: moves to the left and erasures done, colours left out."""
    lines, at = [""], 0
    for piece in re.findall(r"\x1b\[(?:\d+D|K|[\d;]*m)|\n|[^\x1b\n]", written):
        if piece == "\n":
            lines.append("")
            at = 0
        elif piece.endswith("D") and piece.startswith("\x1b"):
            at -= int(piece[2:-1])
        elif piece == "\x1b[K":
            lines[-1] = lines[-1][:at]
        elif not piece.startswith("\x1b"):
            lines[-1] = lines[-1][:at] + piece + lines[-1][at + 1 :]
            at += 1
        assert at >= 0
    return lines


@pytest.fixture(scope="module")
def model():
    return random_model(0)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_left_is_the_text(model, method):
    trace = bltlab.generate(model, "abca", method, max_new_bytes=60).trace
    written, seen, width = [], set(), 40
    live = Live(written.append, width)
    for event in trace.events:
        live.show(event)
        assert live._drawn <= width - 1 - live._column
        seen |= set(re.findall(r"\x1b\[([\d;]+)m", "".join(written)))
    live.close()
    expected = bltlab.vocab.visible(trace.bytes, kept="\n")
    assert screen("".join(written)) == [*expected.split("\n"), ""]
    if method != "ar":
        assert seen & {STYLES["masked"], STYLES["proposed"], STYLES["foreseen"]}


def test_escapes_of_a_model_do_not_reach_the_terminal():
    written = []
    live = Live(written.append, 40)
    live._print("a\x1b[2J\x07\rb")
    assert written == [r"a\x1b[2J\x07\x0db"]


def test_play_waits_only_where_several_bytes_are_seen_and_ends_at_an_interrupt(model, monkeypatch):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    events = bltlab.stream(model, "abca", "blt-dv", max_new_bytes=20)
    play(events, lambda text: None, 40)
    assert max(waited) == 0.25 and min(waited) == 0
    (trace,) = events.traces
    assert 0 < len(trace.bytes) <= 20 and len(waited) == len(trace.events)

    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", stop)
    events = bltlab.stream(model, "abca", "ar", max_new_bytes=20)
    play(events, lambda text: None, 40)
    assert events.traces[0].events[-1].reason == "interrupted"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_generate_plays_in_a_terminal_and_prints_plain_text_elsewhere(tmp_path):
    random_model(0).float().save_pretrained(tmp_path / "mine")
    command = [sys.executable, "-m", "bltlab", "generate", "abca", "--method", "blt-dv"]
    command += ["--checkpoint", str(tmp_path / "mine"), "--max-new-bytes", "12"]
    ours, theirs = os.openpty()
    subprocess.run(command, stdout=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    plain = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"\x1b[" in shown and b"\x1b[3;33m" in shown and b"\x1b[3;33m" not in plain
