"""The player folds a trace as Python's Canvas does, and whatever bytes a trace holds stay inert in
the page it makes.
"""

import ast
import html
import json
import random
import re
import shutil
import subprocess
import unicodedata
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import UNSAFE, Tags

from bltlab import vocab
from bltlab.costs import NFE
from bltlab.decoding import METHODS
from bltlab.events import (
    EVENTS,
    Committed,
    Drafted,
    Finished,
    Foreseen,
    Guessed,
    Prefilled,
    Unmasked,
    Verified,
)
from bltlab.trace import Trace
from bltlab.viz import picture, player
from bltlab.viz.colours import STATES
from bltlab.viz.export import svg_shape

MODEL = {"name": "tiny", "parameters": {"encoder": 10, "global_": 100, "decoder": 20}}
NONE = NFE()  # evaluations
NODE = shutil.which("node")
FOLD = """
const { source, traces, recorded, bytes } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const js = new Function(`${source}; return { ...bltlabBase, ...bltlabFold }`)();
const clocks = trace => Object.fromEntries(Object.entries(js.CLOCKS).map(([name, { read }]) =>
  [name, js.totals(trace).map((sum, n) => read(sum, trace.model.parameters, n))]));
console.log(JSON.stringify({
  folds: traces.map(t =>
    Array.from({ length: t.events.length + 1 }, (_, step) => js.fold(t, step))),
  totals: traces.map(t => js.totals(t)), clocks: traces.map(clocks),
  recorded: recorded.map(({ trace, steps }) => ({
    folds: steps.map(step => js.fold(trace, step)), clocks: clocks(trace),
    alone: js.alone(trace).map(({ nfe }) => nfe), sums: js.totals(trace),
    grown: js.totals(trace, js.totals({ events: trace.events.slice(0, steps[0]) })) })),
  spans: bytes.map(ids => js.spans(ids, true)), open: bytes.map(ids => js.spans(ids)),
  parts: bytes.map(ids => js.spans(ids, true).map(([start]) => js.spans(ids, true, start))),
  sentences: traces.map(t => t.events.map((_, i) => js.sentence(t.events, i))) }));
"""


class Writer:
    """Writes the events of a made-up run that ends in `text`; every wrong guess is '#'."""

    def __init__(self, prompt, text):
        self.text, self.position, self.events = vocab.to_bytes(text), len(prompt) + 1, []
        ids = tuple(vocab.encode(prompt))
        self.nfe = NFE()
        self.add(
            Prefilled,
            NFE(len(ids), len(ids), 3, 1),
            position=0,
            ids=ids,
            opens=self.opens(0, len(ids)),
            entropies=(0.5,) * len(ids),
        )

    def add(self, kind, nfe=NONE, **fields):
        self.nfe = self.nfe + nfe
        fields = {"position": self.position} | fields
        self.events.append(kind(nfe=self.nfe, seconds=0.25 * len(self.events), **fields))

    def opens(self, start, n):
        return tuple(position < 2 or position % 4 == 0 for position in range(start, start + n))

    def ids(self, start, n):
        """The model's ids from a position on, EOS after the text."""
        return tuple(
            [b + vocab.OFFSET for b in self.text[start - 1 : start - 1 + n]] + [vocab.EOS_ID] * n
        )[:n]

    def guesses(self, start, n, right):
        return self.ids(start, right) + (ord("#") + vocab.OFFSET,) * (n - right)

    def draft(self, ids, start):
        for offset, i in enumerate(ids):
            self.add(
                Drafted,
                NFE(decoder=1),
                position=start + offset,
                id=i,
                prob=0.5,
                candidates=((i, 0.5), (40, 0.25)),
            )

    def denoise(self, ids, start, steps):
        """Reveals `ids` in steps, right to left, as many a step as fit."""
        block, each = [vocab.MASK_ID] * len(ids), -(-len(ids) // steps)
        while vocab.MASK_ID in block:
            revealed = [slot for slot, i in enumerate(block) if i == vocab.MASK_ID][-each:]
            for slot in revealed:
                block[slot] = ids[slot]
            self.add(
                Unmasked,
                NFE(decoder=1),
                position=start,
                block=tuple(block),
                revealed=tuple(revealed),
                probs=(0.75,) * len(ids),
                candidates=tuple(((i, 0.75),) for i in ids),
            )

    def foresee(self, start, n, right):
        """Guesses `n` ids ahead of the decoder, of which it agrees with `right`."""
        ids = self.guesses(start, n, right)
        probs = tuple(0.9 - 0.1 * slot for slot in range(n))
        candidates = tuple(((i, p),) for i, p in zip(ids, probs, strict=True))
        self.add(Guessed, position=start, block=ids, probs=probs, candidates=candidates)
        self.add(
            Foreseen,
            NFE(decoder=1),
            position=start,
            drafted=ids,
            accepted=right,
            draft_probs=probs,
        )
        self.draft(self.ids(start, right + 1), start)

    def verify(self, drafted, start):
        target = self.ids(start, len(drafted))
        accepted = next(
            (k for k, (a, b) in enumerate(zip(drafted, target, strict=True)) if a != b),
            len(drafted),
        )
        replacement = target[accepted] if accepted < len(drafted) else None
        self.add(
            Verified,
            NFE(8, 8, 2, 1),
            position=start,
            drafted=drafted,
            accepted=accepted,
            replacement=replacement,
            draft_probs=(0.5,) * len(drafted),
            target_probs=(0.25,) * len(drafted),
            candidates=tuple(
                ((40, 0.5), (i, 0.25)) if slot % 2 else ((40, 0.5),)
                for slot, i in enumerate(target)
            ),
        )
        return accepted

    def commit(self, n, nfe=NONE):
        n = min(n, len(self.text) + 1 - self.position)
        self.add(
            Committed,
            nfe,
            ids=self.ids(self.position, n),
            opens=self.opens(self.position, n),
            entropies=(1.0,) * n,
        )
        self.position += n

    def trace(self, name, reason):
        self.add(Finished, reason=reason)
        return Trace(MODEL, {"name": name}, {"temperature": 0.0}, tuple(self.events))


TEXT = "In 京 the café's byte is née 😀."


def autoregressive():
    run = Writer(b"In ", TEXT)
    while run.position <= len(run.text):
        run.draft(run.ids(run.position, 1), run.position)
        run.commit(1, NFE(1, 1, 0, 0))
    return run.trace("ar", "budget")


def speculative(text=TEXT, rights=(0, 8, 3, 8, 8, 5, 1, 8, 0), reason="budget"):
    """Own byte, eight guesses of which `rights` are right, and at the end a cut inside a block."""
    run = Writer(b"In ", text)
    for right in rights:
        if run.position <= len(run.text):
            run.draft(run.ids(run.position, 1), run.position)
            guesses = run.guesses(run.position + 1, 8, right)
            run.draft(guesses, run.position + 1)
            run.commit(1 + run.verify(guesses, run.position + 1))
    return run.trace("blt-s", reason)


def foreseen(verified):
    """Own byte, seven more that were guessed ahead four at a time; eight bytes a round."""
    run = Writer(b"In ", TEXT)
    for rights in ((4, 1), (0, 4, 0), (2, 3), (4, 1), (1, 0, 1, 0)):
        if run.position <= len(run.text):
            run.draft(run.ids(run.position, 1), run.position)
            start = run.position + 1
            for right in rights:
                run.foresee(start, 4, right)
                start += right + 1
            drafted = run.guesses(run.position + 1, 7, 7 if rights[0] else 5)
            if verified:
                run.commit(1 + run.verify(drafted, run.position + 1))
            else:
                run.commit(8, NFE(8, 8, 2, 0))
    return run.trace("blt-fv" if verified else "blt-f", "budget")


def block_diffusion():
    """Blocks of 8 in 1 to 8 steps; the last one is cut by the budget."""
    run = Writer(b"In ", TEXT)
    for steps in (3, 1, 8, 2, 8):
        if run.position <= len(run.text):
            run.denoise(run.ids(run.position, 8), run.position, steps)
            run.commit(8, NFE(8, 1, 1, 0))
    return run.trace("blt-d", "budget")


def diffusion_verification(own_byte):
    run = Writer(b"In ", TEXT)
    for right, steps in [(2, 1), (8, 1), (0, 3), (7, 2), (8, 8), (8, 1)]:
        if run.position <= len(run.text):
            start = run.position + own_byte
            if own_byte:
                run.draft(run.ids(run.position, 1), run.position)
            guesses = run.guesses(start, 8, right)
            run.denoise(guesses, start, steps)
            run.commit(
                1 + run.verify(guesses, start)
            )  # without an own byte, the replacement or bonus is committed too
    return run.trace("blt-dv", "budget")


def interrupted(trace, at):
    """The same run broken off after `at` events, with whatever was proposed thrown away."""
    committed = sum(len(e.ids) for e in trace.events[:at] if isinstance(e, (Prefilled, Committed)))
    end = Finished(position=committed, reason="interrupted", nfe=trace.events[at - 1].nfe)
    return Trace(trace.model, trace.method, trace.settings, trace.events[:at] + (end,))


def untold(own_byte):
    """Guesses that no event told of, without probabilities; maybe a byte in front of them."""
    run = Writer(b"In ", TEXT)
    for right in (2, 8, 0, 5):
        start = run.position + own_byte
        run.verify(run.guesses(start, 8, right), start)
        unknown = dict(draft_probs=None, target_probs=None, candidates=None)
        run.events[-1] = replace(run.events[-1], **unknown)
        run.commit(own_byte + right if own_byte else right + 1)
    return run.trace("lookup", "budget")


def remasked():
    """A slot that is revealed, masked again and filled otherwise."""
    run, a, b, mask = Writer(b"In ", TEXT), 101, 102, vocab.MASK_ID
    for block, revealed in [((a, mask), (0,)), ((mask, b), (1,)), ((b, b), (0,))]:
        run.add(Unmasked, block=block, revealed=revealed, probs=(0.5, 0.5), candidates=((), ()))
    run.commit(2)  # and Committed has the last word on both
    return run.trace("blt-d", "stop")


TRACES = {
    "autoregressive": autoregressive(),
    "speculative": speculative(),
    "eos accepted": speculative("In the end", (8, 8), "eos"),
    "eos replaces a guess": speculative("In the end.", (7, 8), "eos"),
    "foreseen chain": foreseen(False),
    "foreseen and verified": foreseen(True),
    "interrupted while foreseeing": interrupted(foreseen(True), 3),
    "block diffusion": block_diffusion(),
    "own byte before": diffusion_verification(True),
    "own byte none": diffusion_verification(False),
    "interrupted while drafting": interrupted(speculative(), 15),
    "interrupted after verify": interrupted(speculative(), 11),
    "untold": untold(0),
    "untold behind an own byte": untold(1),
    "remasked": remasked(),
    "empty": Writer(b"", "").trace("ar", "budget"),
    "empty guess": Trace(
        MODEL,
        {"name": "blt-s"},
        {},
        (
            Prefilled(ids=(1, 70), opens=(True, True), entropies=(0.1, 0.2)),
            Drafted(position=2, id=71, prob=1.0, candidates=()),
            Verified(
                position=3,
                drafted=(),
                accepted=0,
                replacement=None,
                draft_probs=(),
                target_probs=(),
                candidates=(),
            ),
            Committed(position=2, ids=(71,), opens=(False,), entropies=(0.1,)),
            Finished(position=3, reason="stop"),
        ),
    ),
    "no events": Trace(MODEL, {"name": "ar"}, {}, ()),
}
RANDOM = random.Random(0)
BYTES = [
    bytes(
        RANDOM.choice(b"a\x80\xa9\xbf\xc1\xc3\xe0\xed\xe6\xf0\xf4\xf5\x9f\xa0")
        for _ in range(RANDOM.randrange(12))
    )
    for _ in range(400)
] + [TEXT.encode()]


RECORDED = {
    path.stem: Trace.load(path)
    for path in sorted((Path(__file__).parent.parent / "assets/traces").glob("*.json"))
}
STEPS = {
    name: random.Random(name).sample(range(len(trace.events) + 1), 50)
    for name, trace in RECORDED.items()
}


@pytest.fixture(scope="module")
def node():
    if NODE is None:
        pytest.skip("needs node")
    given = json.dumps(
        {
            "source": player.SOURCE,
            "traces": [t.to_json() for t in TRACES.values()],
            "recorded": [
                {"trace": t.to_json(), "steps": STEPS[name]} for name, t in RECORDED.items()
            ],
            "bytes": [vocab.encode(b, bos=False) for b in BYTES],
        }
    )
    done = subprocess.run(
        [NODE, "-e", FOLD], input=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def recorded(node):
    return dict(zip(RECORDED, node["recorded"], strict=True))


def same_canvas(found, canvas):
    """Is the player's canvas, as JSON, Python's?"""
    return found["cells"] == [vars(cell) for cell in canvas.cells] and found[
        "ghosts"
    ] == json.loads(json.dumps(canvas.ghosts))


@pytest.mark.parametrize("name", TRACES)
def test_player_agrees_with_python(node, name):
    trace, folds = TRACES[name], node["folds"][list(TRACES).index(name)]
    assert len(folds) == len(trace.events) + 1
    for step, found in enumerate(folds):
        assert same_canvas(found, trace.canvas(step)), f"step {step}"


@pytest.mark.parametrize("name", RECORDED)
def test_player_agrees_with_python_at_fifty_steps_of_a_recorded_run(recorded, name):
    for step, found in zip(STEPS[name], recorded[name]["folds"], strict=True):
        assert same_canvas(found, RECORDED[name].canvas(step)), f"step {step}"


def test_every_method_has_a_recorded_run():
    assert {trace.method["name"] for trace in RECORDED.values()} == set(METHODS)


def test_guesses_that_nobody_told_of_appear_when_they_are_checked():
    trace = TRACES["untold behind an own byte"]
    states = [cell.state for cell in trace.canvas(2).cells]
    assert states == ["prompt"] * 3 + ["masked", "accepted", "accepted", "replaced"]
    assert [cell.state for cell in trace.canvas(3).cells][3:] == ["kept"] + states[4:]
    assert trace.canvas().ghosts[0]["probs"] == (None,) * 6


def test_guesses_ahead_of_the_decoder_are_told_apart_from_those_the_model_checks():
    """Prefilled, own byte, four guesses, the decoder agrees with all; then with one of four."""
    trace = TRACES["foreseen and verified"]

    def states(step):
        return [cell.state for cell in trace.canvas(step).cells][3:]

    assert states(3) == ["proposed"] + ["foreseen"] * 4 == states(4)
    assert states(6) == ["proposed"] * 3 + ["foreseen"] * 2
    assert states(9) == ["proposed"] * 6 and len({c.step for c in trace.canvas(9).cells[4:8]}) == 1
    assert states(11) == ["proposed"] * 6 + ["foreseen"] and states(13) == ["proposed"] * 8
    assert states(14) == ["proposed"] + ["accepted"] * 7
    ghosts = trace.canvas().ghosts
    assert {ghost["state"] for ghost in ghosts} == {"dropped", "rejected"}
    (first, *_) = ghosts
    assert (first["state"], first["position"], len(first["ids"])) == ("dropped", 11, 3)
    text = trace.to_text()
    assert "dropped by the decoder '###'" in text and "rejected '##'" in text
    assert "/" in trace.to_text(3) and "/" not in trace.to_text(9).split(":", 1)[1]
    agreed = [(e.accepted, len(e.drafted)) for e in trace.events_of(Foreseen)]
    assert trace.foreseen == [(n, k) for k, n in agreed]
    assert trace.totals.foreseen_rate == sum(k for k, _ in agreed) / sum(n for _, n in agreed)
    checks = [(e.accepted, len(e.drafted)) for e in trace.events_of(Verified)]
    assert trace.totals.acceptance_rate == sum(k for k, _ in checks) / sum(n for _, n in checks)
    trusted = TRACES["foreseen chain"].totals
    assert trusted.acceptance_rate is None and trusted.denoising_steps_per_block is None
    assert 0 < trusted.foreseen_rate < 1 and TRACES["speculative"].totals.foreseen_rate is None


def test_the_player_knows_every_event_and_each_of_its_fields(node):
    """A new event, or a new field, is folded and told by the player too."""
    known = dict(zip(TRACES, node["sentences"], strict=True))
    told = {
        type(event): sentence
        for name, sentences in known.items()
        for event, sentence in zip(TRACES[name].events, sentences, strict=True)
    }
    assert set(told) == set(EVENTS.values())
    assert all(told.values()) and "nothing has been read yet" not in told.values()
    folded = set(re.findall(r"event\.type === \"(\w+)\"", player.SOURCE))
    assert folded == set(EVENTS)
    for kind in EVENTS.values():
        for field in fields(kind):
            read = re.search(rf"\.{field.name}\b", player.SOURCE)
            assert field.name == "row" or read, (kind, field.name)


def test_every_state_and_event_is_exercised():
    states = {
        c.state
        for t in TRACES.values()
        for step in range(len(t.events) + 1)
        for c in t.canvas(step).cells
    }
    told = {"prompt", "masked", "foreseen", "proposed", "accepted", "replaced", "bonus", "kept"}
    assert states == told
    thrown = {ghost["state"] for t in TRACES.values() for ghost in t.canvas().ghosts}
    assert states | thrown == set(STATES)
    assert {type(e) for t in TRACES.values() for e in t.events} == set(EVENTS.values())


@pytest.mark.parametrize("name", [name for name in TRACES if name != "no events"])
def test_the_text_on_the_canvas_is_the_text_committed(name):
    trace = TRACES[name]
    assert vocab.decode(trace.canvas().ids) == trace.prompt + trace.bytes


@pytest.mark.parametrize("name", TRACES)
def test_totals_agree_with_python(node, name):
    trace, found = TRACES[name], node["totals"][list(TRACES).index(name)][-1]
    totals = trace.totals
    rate = found["accepted"] / found["guessed"] if found["guessed"] else None
    assert (found["bytes"], found["rounds"], rate) == (
        totals.new_bytes,
        totals.rounds,
        totals.acceptance_rate,
    )
    assert totals.foreseen_rate == (
        found["agreed"] / found["foreseen"] if found["foreseen"] else None
    )
    if not name.startswith("interrupted"):
        assert found["nfe"] == list(totals.nfe.astuple()) and found["seconds"] == totals.seconds


def readings(trace):
    """Every clock at the end of a run, by Python."""
    t = trace.totals
    return {
        "event": len(trace.events),
        "passes": t.nfe.decoder + t.nfe.global_,
        "patcher": t.nfe.patcher,
        "encoder": t.nfe.encoder,
        "global": t.nfe.global_,
        "decoder": t.nfe.decoder,
        "paper": t.paper_gb,
        "measured": t.measured_gb,
        "seconds": t.seconds,
    }


@pytest.mark.parametrize("name", [*TRACES, *RECORDED])
def test_every_clock_ends_where_pythons_totals_do(node, recorded, name):
    trace = (TRACES | RECORDED)[name]
    clocks = (
        recorded[name]["clocks"] if name in RECORDED else node["clocks"][list(TRACES).index(name)]
    )
    assert tuple(clocks) == player.CLOCKS
    for times in clocks.values():
        assert times == sorted(times) and len(times) == len(trace.events) + 1
    if not name.startswith("interrupted"):
        assert {clock: times[-1] for clock, times in clocks.items()} == readings(trace)


def test_what_one_byte_at_a_time_would_cost_is_what_autoregression_did_cost(recorded):
    """Counted from the text's patches alone: the same text gets the same bill."""
    run = {total["bytes"]: total["nfe"] for total in recorded["ar"]["sums"]}
    bill = recorded["ar"]["alone"]
    assert [run[n] for n in range(len(bill))] == bill
    for name in ("blt-s", "blt-dv"):
        assert RECORDED[name].bytes == RECORDED["ar"].bytes and recorded[name]["alone"] == bill


@pytest.mark.parametrize("name", RECORDED)
def test_totals_of_a_growing_trace_are_those_of_the_whole(recorded, name):
    assert recorded[name]["grown"] == recorded[name]["sums"]


def test_each_step_is_told_in_one_sentence(node):
    said = dict(zip(TRACES, node["sentences"], strict=True))
    assert said["speculative"][:2] == [
        "read the prompt, 3 bytes",
        "the model's own next byte is byte E4 (p = 0.50)",
    ]
    assert said["speculative"][2] == "drafted '#' (p = 0.50)"
    assert said["speculative"][10:12] == [
        "verify: 0 of 8 guesses accepted, '#' replaced by byte BA",
        "committed 1 byte",
    ]
    assert "verify: all 8 guesses accepted" in said["speculative"]
    assert said["speculative"][-1] == "finished: the budget is used up"
    assert said["block diffusion"][1:4] == [
        "denoising revealed 3 of 8 bytes at once, 5 still masked",
        "denoising revealed 3 of 8 bytes at once, 2 still masked",
        "denoising revealed 2 of 8 bytes at once, the block is full",
    ]
    assert said["foreseen chain"][2:4] == [
        "a block guesses 4 bytes ahead of the decoder",
        "check: the decoder agrees with all 4 guesses",
    ]
    assert "check: the decoder agrees with 1 of 4 guesses, '#' dropped" in said["foreseen chain"]
    assert said["empty guess"][2] == "verify: nothing was guessed"


def test_characters_agree_with_python(node):
    for data, spans in zip(BYTES, node["spans"], strict=True):
        assert [(a, b, kind == "whole") for a, b, kind in spans] == vocab.characters(data), data


def test_characters_may_be_found_from_any_of_their_edges_on(node):
    for spans, parts in zip(node["spans"], node["parts"], strict=True):
        assert parts == [spans[i:] for i in range(len(spans))]


CHARACTERS = """
const { source, sequences } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const { spans, character } = new Function(`${source}; return bltlabBase`)();
const drawn = {};
for (let code = 0; code < 0x110000; code++) {
  if (code >= 0xD800 && code < 0xE000) continue;
  const own = String.fromCodePoint(code), ids = Array.from(Buffer.from(own), byte => byte + 4);
  const found = JSON.stringify(spans(ids, true)), whole = `[[0,${ids.length},"whole"]]`;
  const name = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`, said = character(ids);
  const how = { [own]: "itself", [name]: "named", [`\\u25cc${own}`]: "on a circle" }[said];
  (drawn[found === whole && how] ??= []).push(code);
}
const kinds = (ids, finished) => spans(ids, finished).map(([a, b, kind]) => kind[0] + (b - a));
const short = (...asked) => kinds(...asked).join(" ");
console.log(JSON.stringify({ drawn, sequences: sequences.map(bytes => {
  const ids = bytes.map(byte => byte + 4);
  return [short(ids, true), short(ids, false)];
}) }));
"""
EDGES = bytes.fromhex("00 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
SEQUENCES = [
    *map(bytes, product(range(256), repeat=2)),
    *map(bytes, product(EDGES, repeat=3)),
    *map(bytes, product(b"\xed\xef\xf0\xf1\xf4", EDGES, EDGES, EDGES)),
]


@pytest.fixture(scope="module")
def every_character():
    if NODE is None:
        pytest.skip("needs node")
    given = json.dumps({"source": player.BASE, "sequences": list(map(list, SEQUENCES))})
    done = subprocess.run(
        [NODE, "-e", CHARACTERS], input=given, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_code_point_is_drawn_as_itself_or_by_its_name_and_as_python_draws_it(every_character):
    drawn = every_character["drawn"]
    assert set(drawn) == {"itself", "named", "on a circle"}  # nothing else, and no error
    assert sum(map(len, drawn.values())) == 1_112_064
    how = {code: way for way, codes in drawn.items() for code in codes}
    assert how[0xFEFF] == how[0xFFFE] == how[0x10FFFF] == how[0xFFFD] == "named"
    for code, way in how.items():
        ids = vocab.encode(chr(code), bos=False)
        said = picture.character(ids)
        assert picture.spans(ids, finished=True) == [(0, len(ids), "whole")]
        ways = {"itself": chr(code), "named": f"U+{code:04X}", "on a circle": "\u25cc" + chr(code)}
        if unicodedata.category(chr(code)) != "Cn":  # else one of the two may know more characters
            assert said == ways[way]
        assert said in ways.values()


@pytest.mark.slow
def test_every_code_point_may_stand_in_a_picture():
    for first in range(0, 0x110000, 0x800):
        if first in range(0xD800, 0xE000):
            continue
        said = [
            picture.character(vocab.encode(chr(c), bos=False)) for c in range(first, first + 0x800)
        ]
        drawn = "".join(
            map(svg_shape, (shape for text in said for shape in picture.bracket(3, text)))
        )
        assert len(ElementTree.fromstring(f"<svg>{drawn}</svg>")) == 2 * 0x800


@pytest.mark.slow
def test_broken_sequences_are_cut_as_python_cuts_them(every_character):
    def short(spans):
        return " ".join(f"{kind[0]}{end - start}" for start, end, kind in spans)

    for data, found in zip(SEQUENCES, every_character["sequences"], strict=True):
        ids = vocab.encode(data, bos=False)
        assert found == [short(picture.spans(ids, finished)) for finished in (True, False)], data


def test_only_a_tail_that_may_become_a_character_is_pending(node):
    for data, spans in zip(BYTES, node["open"], strict=True):
        kinds = [kind for _, _, kind in spans]
        assert "pending" not in kinds[:-1]
        assert (kinds[-1:] == ["pending"]) == any(
            may_become_a_character(data[-n:]) for n in (1, 2, 3)
        ), data


def may_become_a_character(tail):
    more = [bytes([second, 0x80, 0x80])[:n] for second in (0x80, 0xA0) for n in (1, 2, 3)]
    return tail != b"" and any(
        vocab.characters(tail + rest) == [(0, len(tail + rest), True)] for rest in more
    )


# ---- The page

EVIL = "</script><img src=x onerror=alert(1)><!--<script>"


def evil():
    """A trace whose text, candidates, names and settings are all hostile."""
    trace = speculative(f"In {EVIL}".ljust(60), (8,) * 7)
    return Trace(
        {**MODEL, "name": EVIL},
        {"name": EVIL, "note": EVIL},
        {"stop": [EVIL], EVIL: {"x": EVIL}},
        trace.events,
    ).to_json()


def test_bytes_that_look_like_markup_stay_inert():
    page = player.to_page([evil()], title=EVIL)
    tags = Tags(page).tags
    assert tags.count("script") == 2 and "img" not in tags
    assert len(re.findall("</script", page, re.I)) == 2 and "<!--<" not in page
    escaped = json.dumps(EVIL)[1:-1].replace("<", "\\u003c")  # the trace's text holds it too
    assert "onerror" not in page.replace(html.escape(EVIL), "").replace(escaped, "")


def test_the_page_draws_text_nodes_only_and_fetches_nothing():
    assert not re.search(UNSAFE, player.SOURCE)
    for name, trace in TRACES.items():
        assert "http" not in player.to_page([trace.to_json()]).lower(), name
    assert "http" not in player.to_iframe([TRACES["speculative"].to_json()]).lower()


def test_the_page_holds_the_traces_unchanged():
    trace = evil()
    page = player.to_page([trace, trace], clock="passes")
    call = re.search(
        r'^const viewer = bltlabPlayer\(document.getElementById\("viewer"\), (.*), (\{.*?\})\);$',
        page,
        re.M,
    )
    assert json.loads(call[1]) == [trace, trace]
    assert json.loads(call[2]) == {"clock": "passes"}


def test_the_iframe_is_sandboxed_and_holds_the_page():
    frame = player.to_iframe([evil()], height=321)
    parsed = Tags(frame)
    assert parsed.tags == ["iframe"]
    assert parsed.attributes[0]["sandbox"] == "allow-scripts"
    assert parsed.attributes[0]["srcdoc"] == player.to_page([evil()])
    assert "height:321px" in parsed.attributes[0]["style"]


def test_an_unknown_clock_is_refused():
    with pytest.raises(ValueError, match="clock must be one of event, passes"):
        player.to_page([], clock="hours")


def test_the_page_is_small():
    assert len(player.SOURCE) < 79_000 and player.SOURCE.startswith(player.BASE)
    trace = TRACES["speculative"].to_json()
    assert len(player.to_page([trace])) < len(player.SOURCE) + len(json.dumps(trace)) + 2_000


def test_the_player_knows_no_other_room():
    with open(player.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert names == {"page"}
