"""Where a text ends is decided in one place: budget, EOS, stop strings, interrupts."""

import pytest
from conftest import random_model

import bltlab
from bltlab import vocab
from bltlab.decoding import METHODS
from bltlab.trace import Committed, Finished, Prefilled, Trace

ALL = [*METHODS.values()]


@pytest.fixture(scope="module")
def model():
    return random_model(11)


def with_eos_instead_of(model, byte):
    rows = model.decoder.output.weight
    rows[vocab.EOS_ID], rows[byte + vocab.OFFSET] = (
        rows[byte + vocab.OFFSET].clone(),
        rows[vocab.EOS_ID].clone(),
    )
    return model


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("n", [0, 1, 5, 13])
def test_the_budget_is_exact(model, method, n):
    out = bltlab.generate(model, "abc", method(), max_new_bytes=n)
    assert len(out.bytes) == n and out.stopped == "budget"
    if n == 0:
        assert [type(e) for e in out.trace.events] == [Prefilled, Finished]


@pytest.mark.parametrize("method", ALL)
def test_eos_ends_the_text_and_is_not_in_it(method):
    whole = bltlab.generate(random_model(11), "abc", method(), max_new_bytes=30).bytes
    out = bltlab.generate(
        with_eos_instead_of(random_model(11), whole[10]), "abc", method(), max_new_bytes=30
    )
    if method in (bltlab.Autoregressive, bltlab.SelfSpeculation, bltlab.DiffusionVerification):
        assert out.bytes == whole[: whole.index(whole[10])]
    assert out.stopped == "eos" and len(out.bytes) < 30
    assert out.trace.events[-1].position == len("abc") + 1 + len(out.bytes)
    assert all(vocab.EOS_ID not in e.ids for e in out.trace.events if isinstance(e, Committed))


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL)
def test_a_stop_string_stays_in_the_text_and_may_span_rounds(model, method):
    whole = bltlab.generate(model, "abc", method(), max_new_bytes=40).bytes
    for at in range(len(whole) - 3):
        stop = whole[at : at + 3]
        end = whole.find(stop) + 3
        out = bltlab.generate(model, "abc", method(), max_new_bytes=40, stop=[b"never there", stop])
        assert out.bytes == whole[:end] and out.stopped == "stop"


def test_a_stop_string_is_looked_for_in_new_bytes_only(model):
    whole = bltlab.generate(model, "abcabc", max_new_bytes=12).bytes
    assert bltlab.generate(model, "abcabc", max_new_bytes=12, stop="abc").bytes == whole
    crossing = b"c" + whole[:1]
    assert crossing in b"abcabc" + whole and crossing not in whole
    assert bltlab.generate(model, "abcabc", max_new_bytes=12, stop=[crossing]).bytes == whole


@pytest.mark.parametrize("method", ALL)
def test_of_ends_that_fall_together_a_stop_string_is_the_reason(model, method):
    whole = bltlab.generate(model, "abc", method(), max_new_bytes=30).bytes
    ends = [n for n in (3, 5, 8, 13) if whole.find(whole[n - 3 : n]) == n - 3]
    for n in ends:
        stop = whole[n - 3 : n]
        out = bltlab.generate(model, "abc", method(), max_new_bytes=n, stop=stop)
        assert out.bytes == whole[:n] and out.stopped == "stop"
    assert ends


def test_a_stop_string_before_an_eos_is_the_reason_in_every_method():
    whole = bltlab.generate(random_model(11), "abc", max_new_bytes=30).bytes
    for at in (6, 9, 12, 15):
        text = whole[: whole.index(whole[at])]
        ended = with_eos_instead_of(random_model(11), whole[at])
        for method in ("ar", "blt-s", "blt-dv"):
            out = bltlab.generate(ended, "abc", method, max_new_bytes=30, stop=text[-3:])
            assert out.bytes == text and out.stopped == "stop", method


@pytest.mark.parametrize("method", ALL)
def test_the_state_is_rolled_back_to_the_cut(model, method):
    stream = bltlab.stream(model, "abc", method(), max_new_bytes=13)
    for _ in stream:
        pass
    assert stream.state.rows[0].ids == vocab.encode(b"abc" + stream.traces[0].bytes)


@pytest.mark.parametrize("method", ALL)
def test_events_fold_into_the_text(model, method):
    out = bltlab.generate(model, "né", method(), max_new_bytes=21, temperature=0.9, seed=3)
    assert vocab.decode(out.trace.canvas().ids) == "né".encode() + out.bytes
    for step in range(len(out.trace.events)):  # at no step is a committed byte changed
        done = b"".join(
            vocab.decode(e.ids)
            for e in out.trace.events[:step]
            if isinstance(e, (Prefilled, Committed))
        )
        assert vocab.decode(out.trace.canvas(step).ids)[: len(done)] == done


def test_an_interrupt_keeps_the_trace_so_far(model):
    stream = bltlab.stream(model, ["abc", "de"], "blt-d", max_new_bytes=400)
    for n, _ in enumerate(stream):
        if n == 50:
            break
    stream.close()
    for trace in stream.traces:
        assert trace.events[-1].reason == "interrupted" and len(trace.bytes) > 0
        assert trace.events[-1].position == 1 + len(trace.prompt) + len(trace.bytes)
        assert Trace.from_json(trace.to_json()).bytes == trace.bytes
        assert vocab.decode(trace.canvas().ids) == trace.prompt + trace.bytes


def test_a_keyboard_interrupt_inside_generate_keeps_the_trace(model, monkeypatch):
    real, calls = bltlab.Autoregressive.round, []

    def interrupted(self, state, pick):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        yield from real(self, state, pick)

    monkeypatch.setattr(bltlab.Autoregressive, "round", interrupted)
    out = bltlab.generate(model, "abc", max_new_bytes=20)
    assert out.stopped == "interrupted" and len(out.bytes) == 5


def test_an_interrupt_while_the_prompt_is_read(model, monkeypatch):
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("bltlab.state.DecodingState.extend", interrupted)
    out = bltlab.generate(model, "abc", max_new_bytes=20)
    assert (
        out.stopped == "interrupted" and out.bytes == b"" and Trace.from_json(out.trace.to_json())
    )


@pytest.mark.parametrize("method", ALL)
def test_the_empty_prompt_is_bos_alone(model, method):
    out = bltlab.generate(model, "", method(), max_new_bytes=10)
    assert len(out.bytes) == 10 and out.trace.prompt == b""


def test_a_batch_is_a_list_and_a_text_is_not(model):
    one, many = (
        bltlab.generate(model, "ab", max_new_bytes=3),
        bltlab.generate(model, ["ab"], max_new_bytes=3),
    )
    assert one.bytes == many[0].bytes and str(one) == one.text
