"""The headline: what was saved, weighed by what a pass reads, as of the last commit."""

import json
import sys
from pathlib import Path

import pytest
from conftest import random_model

sys.path.insert(0, str(Path(__file__).parent.parent / ".ci"))

import headlines
from headlines import answer

import bltlab
from bltlab import checkpoints
from bltlab.costs import paper_gb
from bltlab.trace import Committed, Trace
from bltlab.viz.scene import TICKS

ASSETS = checkpoints.assets()
TOUR = json.loads((ASSETS / "tour" / "pages.json").read_text(encoding="utf-8"))


def trace_of(*path):
    return Trace.load(ASSETS.joinpath(*path))


def bills(lanes):
    """For each (trace, autoregression or None, pace or None, events): bills, paper and seconds."""
    return headlines.bills([headlines.Lane(*lane) for lane in lanes])


pytestmark = pytest.mark.skipif(headlines.NODE is None, reason="no node on this machine")
TRACES = {name: trace_of("tour", f"{name}.json") for name in ("ar", "blt-s", "blt-d", "blt-dv")}


@pytest.mark.parametrize("name", ["blt-s", "blt-dv"])
def test_a_draft_under_way_changes_no_headline(name):
    """Between two commits the bill stays what it was; at one it is what had been spent by then."""
    trace, ends = TRACES[name], []
    (found,) = bills([(trace, None, None, [*range(len(trace.events) + 1)])])
    start, expected, spent = trace.totals.prefill_nfe, 0, 0.0
    for at, (paper, _) in enumerate(found):
        event = trace.events[at - 1] if at else None
        if isinstance(event, Committed):
            expected += len(event.ids)
            spent = paper_gb(event.nfe - start, trace.model["parameters"])
            ends.append(at)
        assert (paper["bytes"], paper["used"]) == (expected, pytest.approx(spent)), at
    assert len(ends) > 3


def test_at_the_end_it_is_what_the_totals_say():
    ar = TRACES["ar"].totals
    for name in ("blt-s", "blt-d", "blt-dv"):
        trace = TRACES[name]
        own, n = trace.totals, len(trace.events)
        alone, beside = bills(
            [
                (trace, None, ar.seconds / ar.new_bytes, [n]),
                (trace, TRACES["ar"], None, [n]),
            ]
        )
        for ((paper, seconds),), estimated in ((alone, True), (beside, False)):
            assert paper["used"] == pytest.approx(own.paper_gb)
            assert seconds["used"] == pytest.approx(own.seconds, rel=0.02)
            assert paper["estimated"] == seconds["estimated"] == estimated
            if trace.bytes == TRACES["ar"].bytes:
                assert paper["rival"] == pytest.approx(ar.paper_gb)
                assert seconds["rival"] == pytest.approx(ar.seconds, rel=0.02)
        if own.new_bytes == ar.new_bytes:
            ((paper, _),) = beside
            assert paper["said"][0] == f"{round(100 * (1 - own.paper_gb / ar.paper_gb))} % saved"


def test_seconds_that_nobody_measured_are_not_told():
    ((_, seconds),) = bills([(TRACES["blt-s"], None, None, [60])])[0]
    assert seconds["rival"] is None and seconds["said"] == ["", 0]


def test_before_a_byte_is_kept_the_headline_says_why():
    script = """console.log(JSON.stringify([given.trace, given.none].map(({ events }) =>
      [...events, 0].map((_, i) => js.beginning(events, i - 1)))));"""
    trace = TRACES["blt-s"].to_json()
    nothing = bltlab.generate(random_model(0), "abc", max_new_bytes=0).trace.to_json()
    found, ended = answer(script, trace=trace, none=nothing)
    later = "What they cost shows once some are kept."
    assert found[:3] == [
        ["play, or step forward", later],
        ["the prompt has been read", later],
        ["the first are on their way", later],
    ]
    assert ended[-1] == ["the budget is used up", "Nothing was written, so nothing was saved."]


def test_a_few_bytes_are_too_few_for_a_verdict_until_the_text_ends():
    trace = TRACES["ar"]
    at = [i + 1 for i, event in enumerate(trace.events) if isinstance(event, Committed)]
    (found,) = bills([(trace, None, 1.0, [*at, len(trace.events)])])
    for number, (paper, seconds) in enumerate(found, 1):
        early = number < 8
        assert (paper["early"], seconds["early"]) == (early, early)
        assert (seconds["said"] == ["", 0]) == early
    short = bltlab.generate(random_model(0), "abc", max_new_bytes=3).trace
    (((paper, _),),) = bills([(short, None, None, [len(short.events)])])
    assert paper["bytes"] == 3 and paper["said"] == ["no saving", 0]


def test_seconds_that_were_not_measured_beside_are_told_in_tens():
    trace, n = TRACES["blt-d"], len(TRACES["blt-d"].events)
    pace = trace.totals.seconds / trace.totals.new_bytes
    expected = {
        0.5: "about 100 % more",
        0.97: "no saving",
        1.06: "about 10 % saved",
        4: "about 80 % saved",
    }
    found = bills([(trace, None, pace * times, [n]) for times in expected])
    assert [seconds["said"][0] for ((_, seconds),) in found] == [*expected.values()]


def test_a_branch_is_known_by_the_byte_that_was_taken():
    model = random_model(0)
    old = bltlab.generate(model, "abc", max_new_bytes=9).trace
    other = 4 + (old.bytes[5] + 1) % 256
    branch = bltlab.branch(model, old, 8, other - 4).trace
    script = """console.log(JSON.stringify(given.pairs.map(pair => js.branchedAt(...pair))));"""
    pairs = [(old, branch), (old, old), (branch, old)]
    pairs = [[one.to_json() for one in pair] for pair in pairs]
    assert answer(script, pairs=pairs) == [9, 0, 0]


def test_no_page_says_the_opposite_of_what_was_measured_and_the_table_tells_it():
    rows = headlines.rows()
    assert len(rows) == 5 + 8 + 5
    for row in rows:
        for sign, ratio in ((row.main, row.traffic), (row.time, row.seconds)):
            assert ratio is None or sign * (1 - ratio) > -0.05, row
    results = headlines.RESULTS.read_text(encoding="utf-8")
    assert headlines.table() in results, "make it again: python .ci/record.py headlines"


@pytest.mark.parametrize("page", TOUR, ids=lambda page: page["title"])
def test_no_page_of_the_tour_rests_where_a_saving_is_not_seen_yet(page):
    """Where lanes save, the headline says so: a page that rests in a draft would not."""
    flows = page["clock"] != "event"
    lanes = []
    for name in page["traces"]:
        trace = trace_of("tour", f"{name}.json")
        ar = TRACES["ar"] if len(page["traces"]) > 1 else None
        lanes.append((trace, ar, None, [len(trace.events) if flows else page["step"]]))
    if flows:
        assert page["step"] >= TICKS, "a race rests where every lane is done"
    for (trace, *_), ((paper, _),) in zip(lanes, bills(lanes), strict=True):
        if trace.method["name"] != "ar" and paper["bytes"] and not paper["early"]:
            assert paper["said"][1] > 0, (trace.method["name"], paper)
