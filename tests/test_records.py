"""How much is told about a run changes nothing of it; ended rows cost nothing; a clock a part."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from conftest import random_model

import bltlab
from bltlab import cache
from bltlab.decoding import METHODS, Autoregressive, Stream, moves, rounds
from bltlab.state import DecodingState
from bltlab.trace import Committed, Drafted, Finished, Prefilled, Trace, Unmasked, Verified

PROMPTS = ["abcabc", "k", "hhhhhhhhhhhhhhhhhhhhhhhhhhhhh"]


def counted(trace):
    return replace(trace.totals, seconds=0, prefill_seconds=0)


@dataclass(frozen=True)
class Untold(Autoregressive):
    """Guesses without a word: no event tells of them before they are verified."""

    name: ClassVar[str] = "untold"
    room: ClassVar[int] = 4
    lookahead: ClassVar[int] = 4

    def round(self, state, pick):
        own = pick(state.logits[:, None], moves.ahead(state, 0, 1))
        guesses = torch.cat([own, own, own, own], 1)
        yield from moves.verify(state, pick, moves.Proposal(guesses, None, own=1))


@pytest.mark.parametrize("record", [True, "totals", False])
def test_a_drafter_that_announces_nothing_writes_a_trace_like_any_other(tmp_path, record):
    model = random_model(2)
    out = bltlab.generate(model, "abcabc", Untold(), max_new_bytes=30, record=record)
    assert out.bytes == bltlab.generate(model, "abcabc", max_new_bytes=30).bytes
    out.trace.save(tmp_path / "t.json")
    assert Trace.load(tmp_path / "t.json") == out.trace
    assert out.trace.canvas().ids == [i + 4 for i in b"abcabc" + out.bytes]
    assert len(out.trace.guesses) == (len(out.trace.events_of(Verified)) if record else 0)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_recorded_changes_neither_bytes_nor_counts(method, temperature):
    model = random_model(3)
    whole, counts, nothing = (
        bltlab.generate(
            model, PROMPTS, method, max_new_bytes=30, temperature=temperature, record=record
        )
        for record in (True, "totals", False)
    )
    for a, b, c in zip(whole, counts, nothing, strict=False):
        assert a.bytes == b.bytes == c.bytes
        assert counted(a.trace) == counted(b.trace)
        assert counted(a.trace).nfe == counted(c.trace).nfe
        assert [type(e) for e in a.trace.events] == [type(e) for e in b.trace.events]
        assert {type(e) for e in c.trace.events} == {Prefilled, Committed, Finished}
        assert Trace.from_json(b.trace.to_json()).canvas().ids == a.trace.canvas().ids


def test_candidates_are_kept_only_where_asked_for():
    model = random_model(4)
    for method in METHODS:
        for record, n in ((True, 5), ("totals", 0)):
            for event in bltlab.stream(model, "abc", method, max_new_bytes=20, record=record):
                shown = {
                    Drafted: lambda e: [e.candidates],
                    Unmasked: lambda e: e.candidates,
                    Verified: lambda e: e.candidates,
                }
                for candidates in shown.get(type(event), lambda e: [])(event):
                    assert len(candidates) == n
    with pytest.raises(ValueError, match="record must be True, 'totals' or False"):
        bltlab.stream(model, "abc", record="some")


def test_an_unsure_drafter_ends_its_draft_and_the_text_stays_the_same():
    model = random_model(5)

    def sure(confidence):
        return bltlab.generate(
            model, "abcabc", bltlab.SelfSpeculation(8, min_confidence=confidence), max_new_bytes=60
        )

    drafts = {
        c: [len(e.drafted) for e in sure(c).trace.events if isinstance(e, Verified)]
        for c in (0.0, 0.05, 1.0)
    }
    assert (
        set(drafts[0.0]) == {8}
        and set(drafts[1.0]) == {1}
        and 1 < sum(drafts[0.05]) / len(drafts[0.05]) < 8
    )
    assert (
        sure(0.0).bytes
        == sure(0.05).bytes
        == sure(1.0).bytes
        == bltlab.generate(model, "abcabc", max_new_bytes=60).bytes
    )
    guesses = [e for e in sure(0.05).trace.events if isinstance(e, Verified)]
    assert all(p >= 0.05 for e in guesses for p in e.draft_probs[:-1])
    for wrong in (-0.1, 1.5, "0.5"):
        with pytest.raises(ValueError, match="min_confidence must be a number in 0..1"):
            bltlab.SelfSpeculation(min_confidence=wrong)


def test_the_parts_of_the_time_add_up_to_less_than_the_whole():
    model = random_model(6)
    for method in METHODS:
        events = bltlab.stream(model, "abcabc", method, max_new_bytes=40)
        assert isinstance(events, Stream) and events.seconds_by_part == {}
        for _ in events:
            pass
        parts = events.seconds_by_part
        assert (
            set(parts) == {"patcher", "encoder", "global_", "decoder"} and min(parts.values()) > 0
        )
        assert sum(parts.values()) <= events.state.clock.read()


def test_a_row_that_has_ended_costs_nothing():
    model = random_model(7)
    alone = bltlab.generate(model, "abcabc", max_new_bytes=40)
    events = bltlab.stream(model, ["abcabc", "abcabcabc"], max_new_bytes=40, stop=[alone.bytes[:3]])
    for event in events:
        if isinstance(event, Finished) and event.row == 0:
            break
    sizes = {e.row: events.state.batch_size for e in events}
    assert event.position == 1 + 6 + 3 and set(sizes) <= {1} and events.state.batch_size == 1


def test_only_rows_that_close_a_patch_run_the_global_transformer(monkeypatch):
    model, widths = random_model(8), []
    forward = model.global_.forward
    monkeypatch.setattr(
        model.global_,
        "forward",
        lambda pooled, *rest: (widths.append(len(pooled)), forward(pooled, *rest))[1],
    )
    together = bltlab.generate(model, PROMPTS, max_new_bytes=40)
    assert min(widths) == 1 and max(widths) == 3
    assert [o.bytes for o in together] == [
        bltlab.generate(model, p, max_new_bytes=40).bytes for p in PROMPTS
    ]


def test_a_prompt_read_in_pieces_and_rows_of_very_unequal_length_write_what_each_writes_alone(
    monkeypatch,
):
    model = random_model(9)
    prompts = ["a", "".join("abcdefgh"[(i * i + i // 7) % 8] for i in range(300)), "hgf" * 30]
    whole = [bltlab.generate(model, p, "blt-dv", max_new_bytes=20).bytes for p in prompts]
    monkeypatch.setattr(rounds, "PREFILL", 64)
    assert [o.bytes for o in bltlab.generate(model, prompts, "blt-dv", max_new_bytes=20)] == whole


@pytest.mark.parametrize("failing", range(6))
def test_where_no_memory_is_left_the_text_stays_as_it_was(monkeypatch, failing):
    model = random_model(10)
    state, same = DecodingState(model), DecodingState(model)
    for s in (state, same):
        s.extend([1, *b"abcabcabc"])
    calls, pad = [], cache.F.pad

    def out_of_memory(x, grow):
        calls.append(1)
        if len(calls) > 2 * failing:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return pad(x, grow)

    monkeypatch.setattr(cache.F, "pad", out_of_memory)
    with pytest.raises(
        MemoryError,
        match="no memory for a cache of .* positions in 1 rows .*: shorten the text or the batch",
    ):
        state.extend([100 + i % 9 for i in range(200)])
    monkeypatch.undo()
    assert state.length == 10
    assert torch.equal(state.extend(list(b"abc")), same.extend(list(b"abc")))
