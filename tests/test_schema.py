"""Hostile or broken trace files: each gives one clear sentence, and every trace that bltlab writes
is taken.
"""

import copy
import json
import time
from dataclasses import fields, replace

import pytest
from conftest import random_model
from test_player import TRACES

import bltlab
from bltlab import schema, trace
from bltlab.__main__ import main
from bltlab.trace import EVENTS, Trace, accepted_share


@pytest.fixture
def good():
    """A fresh trace object: Prefilled, then rounds of 9 Drafted, Verified, Committed."""
    return copy.deepcopy(TRACES["speculative"].to_json())


def refused(data):
    with pytest.raises(ValueError) as error:
        Trace.from_json(data)
    told = str(error.value)
    assert told.startswith("not a trace: ") and "\n" not in told and 10 < len(told) < 250, told
    return told


def test_the_schema_is_that_of_the_events():
    assert set(schema.FIELDS) == set(schema.ALONG) == set(EVENTS)
    for kind, names in schema.FIELDS.items():
        assert set(names) == {f.name for f in fields(EVENTS[kind])}
        lists = {"numbers", "flags", "probs", "candidate lists"}  # they have one entry for each id
        along = {f.name for f in fields(EVENTS[kind]) if f.metadata["holds"] in lists}
        assert set(schema.ALONG[kind]) == along and set(schema.ALONG[kind].values()) <= set(names)


def unsaved(trace, path):
    """What `save` says of a trace that could not be read again; nothing is written."""
    with pytest.raises(ValueError) as error:
        trace.save(path)
    told = str(error.value)
    assert told.startswith(f"{path} is not written, it could not be read again: ")
    assert "\n" not in told and list(path.parent.iterdir()) == []
    return told


FINE = TRACES["speculative"]
NAN, DEEP = float("nan"), []
DEEP.append(DEEP)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(events=()), "at least one event"),
        (dict(events=FINE.events[1:]), "the first must read the prompt"),
        (dict(events=(FINE.events[0], replace(FINE.events[1], prob=NAN))), "prob out of range"),
        (dict(events=(FINE.events[0], replace(FINE.events[1], position=900))), "leaves a hole"),
        (dict(events=(FINE.events[0], replace(FINE.events[1], prob=b"1"))), "bytes"),
        (dict(settings={"stop": {1, 2}}), "set"),
        (dict(settings={"stop": {"a": 1}}), "settings.stop must be"),
        (dict(settings={"stop": DEEP}), "ircular"),
        (dict(settings={"note": "x" * (33 << 20)}), "too large for a trace: at most 32 MB"),
        (dict(method={}), "name"),
        (dict(model={"name": "tiny"}), "parameters"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, change, words):
    assert words in unsaved(replace(FINE, **change), tmp_path / "t.json")


@pytest.mark.parametrize("name", [n for n, t in TRACES.items() if t.events])
def test_what_is_saved_is_loaded(tmp_path, name):
    trace = TRACES[name]
    if name.startswith("interrupted"):  # made by hand: its last counter falls
        assert "a counter falls" in unsaved(trace, tmp_path / "t.json")
    else:
        trace.save(tmp_path / "t.json")
        assert Trace.load(tmp_path / "t.json") == trace


@pytest.mark.parametrize(
    "one", [t for name, t in TRACES.items() if "interrupted" not in name and t.events], ids=repr
)
def test_what_is_written_is_read(one):
    data = json.loads(json.dumps(one.to_json()))
    assert Trace.from_json(data) == one
    assert data["text"] == (one.prompt + one.bytes).decode("utf-8", "replace")


@pytest.mark.parametrize(
    "method",
    [
        "ar",
        "blt-s",
        "blt-d",
        "blt-dv",
        "blt-f",
        "blt-fv",
        bltlab.DiffusionVerification(own_byte="none"),
    ],
    ids=str,
)
def test_what_a_model_writes_is_read_wherever_it_stopped(method):
    events = bltlab.stream(
        random_model(0), ["abc", b"\xff\x00"], method, max_new_bytes=20, temperature=1.0
    )
    for _ in events:
        for one in events.traces:
            assert not one.events or Trace.from_json(json.loads(json.dumps(one.to_json()))) == one


WRONG = {
    "NaN": (float("nan"), "finite"),
    "infinity": (float("inf"), "finite"),
    "a text": ("1", "finite"),
    "an object": ({}, "finite"),
    "huge": (10**400, "finite"),
    "a flag": (True, "finite"),
}


@pytest.mark.parametrize("value, words", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(
    "place",
    [
        lambda e, v: e[1].update(prob=v),
        lambda e, v: e[0]["entropies"].__setitem__(0, v),
        lambda e, v: e[3].update(seconds=v),
        lambda e, v: e[1]["candidates"][0].__setitem__(1, v),
        lambda e, v: e[10]["draft_probs"].__setitem__(2, v),
        lambda e, v: e[10]["candidates"][1][0].__setitem__(1, v),
    ],
    ids=["prob", "entropies", "seconds", "pair", "probs", "slots"],
)
def test_a_number_must_be_a_finite_number(good, place, value, words):
    place(good["events"], value)
    assert words in refused(good)


def test_a_run_may_be_recorded_without_probabilities_but_not_without_entropies(good):
    good["events"][1]["prob"], good["events"][10]["draft_probs"][2] = None, None
    assert Trace.from_json(good).to_json()["events"][1]["prob"] is None
    good["events"][0]["entropies"][0] = None
    assert "entropies out of range" in refused(good)


@pytest.mark.parametrize("value", [-1, 261, 2**70, 1.0, "a", None, True, [5]])
def test_an_id_must_be_one(good, value):
    good["events"][4]["id"] = value
    assert "event 4 (Drafted) has id out of range, it must be an id in 0..260" in refused(good)


@pytest.mark.parametrize("name", ["position", "row", "weight_bytes", "cache_bytes"])
@pytest.mark.parametrize("value", [-1, 2**63, 0.5, None, "0", False, []])
def test_a_count_is_a_whole_number_that_fits(good, name, value):
    good["events"][2][name] = value
    assert f"has {name} out of range, it must be a whole number of at least 0" in refused(good)


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda d: d.update(schema="bltlab.trace/2"),
            "schema must be 'bltlab.trace/1', got 'bltlab.trace/2'",
        ),
        (lambda d: d.update(schema=deep(200)), "schema must be"),
        (lambda d: d.update(schema="x" * 10**6), "schema must be"),
        (lambda d: d.update(model=None), "'model' must be an object"),
        (lambda d: d.update(method="ar"), "'method' must be an object"),
        (lambda d: d["method"].update(name=3), "method must have a name"),
        (lambda d: d["model"].update(name=[]), "name must be a text"),
        (lambda d: d["model"]["parameters"].update(encoder=-1), "must count encoder"),
        (lambda d: d["model"].update(parameters=[1, 2, 3]), "must count encoder"),
        (
            lambda d: d["settings"].update(temperature=float("nan")),
            "settings.temperature must be a finite number",
        ),
        (lambda d: d["settings"].update(stop=deep(5000)), "settings.stop must be"),
        (lambda d: d["method"].update(more={"a": 1}), "method.more must be"),
        (
            lambda d: d["events"][3].update(candidates=deep(5000)),
            "event 3 (Drafted) has candidates out of range",
        ),
        (lambda d: d["events"].insert(0, deep(5000)), "event 0 has no known type"),
        (lambda d: d["events"][1].update(type=["Drafted"]), "event 1 has no known type"),
        (lambda d: d["events"][1].pop("prob"), "must have exactly the fields"),
        (
            lambda d: d["events"][1].update(nfe=[1, 2, 3]),
            "nfe out of range, it must be four whole numbers",
        ),
        (lambda d: d["events"][10].update(accepted=9), "accepts 9 of 8"),
        (lambda d: d["events"][10].update(replacement=None), "name the replacement"),
        (lambda d: d["events"][-1].update(reason="tired"), "one of eos, budget, stop, interrupted"),
    ],
)
def test_a_wrong_field_is_named(good, change, words):
    change(good)
    assert words in refused(good)


def test_a_slot_outside_the_block_is_refused():
    data = copy.deepcopy(TRACES["block diffusion"].to_json())
    data["events"][1]["revealed"] = [8]
    assert "event 1 (Unmasked) reveals a slot outside its block of 8" in refused(data)


def swap(events, i, j):
    events[i], events[j] = events[j], events[i]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda e: e.pop(0), "event 0, Drafted: the first must read the prompt"),
        (lambda e: swap(e, 0, 11), "event 0, Committed: the first must read the prompt"),
        (lambda e: e.insert(5, e[0]), "event 5, Prefilled: only the first reads a prompt"),
        (lambda e: e[0].update(position=1), "a prompt starts with BOS at position 0"),
        (
            lambda e: e.insert(12, e[11]),
            "event 12, Committed: the text ends before position 5, not before 4",
        ),  # overlapping
        (lambda e: e.pop(11), "event 21, Committed: the text ends before position 4, not before 5"),
        (
            lambda e: e[11].update(position=7),
            "event 11, Committed: the text ends before position 4, not before 7",
        ),
        (lambda e: e[12].update(position=4), "event 12, Drafted: position 4 is committed already"),
        (lambda e: e[12].update(position=900), "leaves a hole"),
        (lambda e: e.append(e[-1]), "nothing comes after the end"),
        (lambda e: e.insert(3, e[-1]), "event 3, Finished"),
        (lambda e: e[4].update(row=1), "event 4, Drafted: all must be of one row"),
        (lambda e: e[4].update(seconds=0.0), "event 4, Drafted: a counter falls"),
        (lambda e: e[4].update(nfe=[0, 0, 0, 0]), "a counter falls"),
        (lambda e: e[4].update(weight_bytes=5), "event 5, Drafted: a counter falls"),
    ],
)
def test_events_out_of_order_are_refused(good, change, words):
    change(good["events"])
    assert "do not fit together" in (told := refused(good)) and words in told


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    path = tmp_path / "huge.json"
    with open(path, "wb") as file:
        file.truncate(100 << 20)  # 100 MB that take no room on the disk
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(
        ValueError, match=r"huge.json is too large for a trace: at most 32 MB are read"
    ):
        Trace.load(path)


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "schema must be"),
        (b"9" * 5000, "not JSON"),
        (b'{"schema": NaN}', "schema must be"),
        (b"null", "schema must be"),
    ],
)
def test_a_file_that_is_no_trace_is_named(tmp_path, text, words):
    path = tmp_path / "t.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=words) as error:
        Trace.load(path)
    assert str(error.value).startswith(f"{path} is not a trace: ") and "\n" not in str(error.value)


def test_the_limit_has_room_for_long_texts():
    text = TRACES["speculative"]
    assert (
        20_000 * len(json.dumps(text.to_json())) / len(text.prompt + text.bytes) / 2
        < trace.MOST_BYTES
    )


def test_an_interrupt_before_the_prompt_was_read_can_be_saved(tmp_path):
    end = bltlab.Finished(position=1, reason="interrupted")
    one = Trace(TRACES["block diffusion"].model, {"name": "ar"}, {}, (end,))
    one.save(tmp_path / "t.json")
    assert Trace.load(tmp_path / "t.json") == one


ESCAPES = "\x1b]0;title\x07\x1b[31m\x00\u202e\n"


def test_names_of_a_foreign_trace_do_not_reach_the_terminal_as_they_are(good, tmp_path, capsys):
    good["method"]["name"] = good["model"]["name"] = "ar" + ESCAPES
    path = tmp_path / "foreign.json"
    path.write_text(json.dumps(good))
    assert main(["view", str(path)]) is None
    trace = Trace.load(path)
    for said in (capsys.readouterr().out, trace.to_text(), repr(trace)):
        assert (
            said.replace("\n", "").isprintable() and r"ar\x1b]0;title\x07\x1b[31m\x00\u202e" in said
        )
    good["settings"]["kind" + ESCAPES] = {}
    path.write_text(json.dumps(good))
    assert main(["view", str(path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.isprintable() and r"settings.kind\x1b]0" in said
    assert main(["view", "no\x1b[31mfile"]) == 2
    assert capsys.readouterr().err.rstrip("\n").isprintable()


def a_block(n):
    return dict(type="Unmasked", block=[101] * n, revealed=list(range(n)), probs=[0.5] * n)


def a_check(n):
    probs = dict(draft_probs=[0.5] * n, target_probs=[0.5] * n)
    return dict(type="Verified", drafted=[101] * n, accepted=n, replacement=None, **probs)


@pytest.mark.parametrize("make, others", [(a_block, 1), (a_check, 5000)])
def test_a_crafted_trace_is_read_in_time_linear_in_its_length(make, others):
    """One event of 30,000 bytes, all revealed, and small ones: each byte looked for among all."""
    stamp = dict(row=0, nfe=[0] * 4, weight_bytes=0, cache_bytes=0, seconds=0.0)
    prompt = dict(type="Prefilled", position=0, ids=[1], opens=[True], entropies=[1.0])
    sizes = [30_000, *[1] * others]
    events = [dict(make(n), position=1, candidates=[[]] * n) for n in sizes]
    parameters = dict(encoder=1, global_=1, decoder=1)
    data = dict(schema="bltlab.trace/1", method=dict(name="x"), settings={})
    data |= dict(model=dict(parameters=parameters), events=[e | stamp for e in (prompt, *events)])
    began = time.process_time()
    shares = accepted_share(Trace.from_json(data).guesses)
    assert time.process_time() - began < 3
    assert set(shares) == ({1.0} if make is a_check else set())
