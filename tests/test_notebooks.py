"""Notebooks argue and never define; the checks of exercises take right answers and no others."""

import ast
import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch

import bltlab
from bltlab.decoding import moves
from bltlab.trace import Committed, Drafted, Finished, Prefilled, Unmasked, Verified

FOLDER = Path(__file__).parent.parent / "notebooks"
sys.path.insert(0, str(FOLDER))
import checks  # noqa: E402

torch.set_num_threads(1)
QUESTIONS = {
    "00_tour": "What does it look like when a model writes several bytes at once?",
    "01_patching": "Where should a patch begin?",
    "02_latents": "How does a byte learn from a patch that is not finished?",
    "03_training": "Can I train one before the coffee is ready?",
    "06_block_diffusion": "How many bytes may be revealed together?",
    "07_self_speculation": "How far can the decoder run ahead of the model?",
    "08_diffusion_verification": "Can a wrong draft still be useful?",
}
# STYLE.md 5.1
FORBIDDEN = r"\b(tokens?|chunks?|emits?|finalise\w*|speculate_k|hidden_size|n_embd|alpha|tau)\b"


class Notebook:
    def __init__(self, name):
        self.name, self.json = (
            name,
            json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")),
        )
        self.cells = [(c["cell_type"], "".join(c["source"])) for c in self.json["cells"]]
        self.code = [source for kind, source in self.cells if kind == "code"]
        self.prose = "\n\n".join(source for kind, source in self.cells if kind == "markdown")

    def section(self, heading):
        """The cells from a heading on, up to the next heading."""
        starts = [
            i
            for i, (kind, source) in enumerate(self.cells)
            if kind == "markdown" and re.search(r"^##? ", source, re.M)
        ]
        at = next(i for i in starts if f"## {heading}" in self.cells[i][1])
        return self.cells[at : next((i for i in starts if i > at), len(self.cells))]


@pytest.fixture(params=sorted(p.stem for p in FOLDER.glob("*.ipynb")))
def notebook(request):
    return Notebook(request.param)


# -- anatomy ---------------------------------------------------------------------------------------


def test_the_known_notebooks_are_there():
    assert set(QUESTIONS) <= {p.stem for p in FOLDER.glob("*.ipynb")}


def test_it_opens_with_a_question_and_what_it_takes(notebook):
    kind, first = notebook.cells[0]
    title = first.splitlines()[0]
    assert kind == "markdown" and re.fullmatch(r"# .*\?", title)
    assert title == f"# {QUESTIONS.get(notebook.name, title[2:])}"
    assert re.search(
        r"\*\*Time\.\*\* \d+ minutes to read, \d+ (seconds|minutes) to run on 2 CPU cores\.", first
    )
    assert "**Need.**" in first and "**After.**" in first


def test_one_setup_cell_the_same_everywhere(notebook):
    setup = notebook.cells[1]
    assert (
        setup == Notebook("00_tour").cells[1]
        and setup[0] == "code"
        and len(setup[1].splitlines()) <= 6
    )
    assert not any(
        "pip install" in c or "sys.path" in c or 'from_pretrained("/' in c for c in notebook.code
    )


def test_it_is_short(notebook):
    assert len(notebook.cells) <= 45 and len(notebook.prose.split()) <= 1200
    assert max(len(c.splitlines()) for c in notebook.code) <= 20
    assert max(len(line) for c in notebook.code for line in c.splitlines()) <= 132


def test_it_defines_no_model_and_no_long_function(notebook):
    for node in (n for source in notebook.code for n in ast.walk(ast.parse(source))):
        assert not isinstance(node, ast.ClassDef)
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 8, f"{node.name} is too long for a notebook"
    assert "nn.Module" not in "".join(notebook.code)


def test_it_predicts_before_it_runs_and_claims_with_asserts(notebook):
    assert len(re.findall(r"\*Before (running|looking):\*", notebook.prose)) >= 4
    claims = "".join(source for kind, source in notebook.section("What we claim") if kind == "code")
    assert sum(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(claims))) >= 5


def test_fast_shrinks_sizes_but_skips_no_assert(notebook):
    for tree in map(ast.parse, notebook.code):
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "FAST" in ast.dump(node.test):
                assert not any(isinstance(n, ast.Assert) for n in ast.walk(node))


def test_it_ends_with_a_summary_three_timed_exercises_and_what_is_next(notebook):
    headings = re.findall(r"^## (.*)$", notebook.prose, re.M)
    assert headings[-4:] == ["What we claim", "Summary", "Exercises", "Next"]
    assert len(re.findall(r"^- ", notebook.section("Summary")[0][1], re.M)) == 5
    exercises = notebook.section("Exercises")
    found = re.findall(
        r"\*\*(\d)\.(\d)\*\* \((\S+), (\d+) min\)",
        "\n".join(s for kind, s in exercises if kind == "markdown"),
    )
    number = str(int(notebook.name[:2]))
    assert found == [
        (number, "1", "●○○", "5"),
        (number, "2", "●●○", "10"),
        (number, "3", "●●●", "20"),
    ]
    code = [source for kind, source in exercises if kind == "code"]
    assert len(code) == 6
    for exercise, check in zip(code[::2], code[1::2], strict=True):
        name = ast.parse(exercise).body[0].name
        called = re.fullmatch(r"checks\.(\w+)\((\w+)\)", check)
        assert called and called[2] == name and called[1] in RIGHT, f"{name} is not checked"


def test_it_is_stored_without_outputs_for_any_kernel(notebook):
    assert (
        notebook.json["nbformat"] == 4
        and notebook.json["metadata"]["kernelspec"]["name"] == "python3"
    )
    assert len({c["id"] for c in notebook.json["cells"]}) == len(notebook.cells)
    for cell in notebook.json["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_it_keeps_to_the_glossary_and_links_to_what_is_there(notebook):
    assert not re.search(FORBIDDEN, notebook.prose, re.I)
    for target in re.findall(r"\]\(([^)]+)\)", notebook.prose):
        assert (FOLDER / target).is_file(), target


# -- the exercises: right answers, written without the library's own -------------------------------


def right_new_bytes(data):
    return bytes(
        i - 4
        for event in data["events"]
        if event["type"] == "Committed"
        for i in event["ids"]
        if i >= 4
    )


def right_on_screen(trace, step):
    ids = []
    for e in trace.events[:step]:
        at = e.position - 1
        match e:
            case Prefilled():
                ids = list(e.ids[1:])
            case Drafted():
                ids[at : at + 1] = [e.id]
            case Unmasked():
                ids[at : at + len(e.block)] = e.block
            case Verified():
                ids[at + e.accepted :] = [] if e.replacement is None else [e.replacement]
            case Committed():
                replaced = len(ids) > at + len(e.ids) and wanted(trace.events[:step], e)
                ids[at : at + len(e.ids)] = e.ids
                del ids[at + len(e.ids) + bool(replaced) :]
            case Finished():
                del ids[at:]
    return ids


def wanted(events, committed):
    """Did the model want another byte right behind what was committed?"""
    last = [e for e in events[: events.index(committed)] if isinstance(e, (Verified, Committed))][
        -1:
    ]
    return (
        last
        and isinstance(last[0], Verified)
        and last[0].replacement is not None
        and last[0].position + last[0].accepted == committed.position + len(committed.ids)
    )


def right_entropy(logits):
    top = max(logits)
    weights = [math.exp(v - top) for v in logits]
    return -sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights if w)


def right_opens_next(surprise, limit):
    opens, length = [], 0
    for surprised in surprise:
        length += 1
        opens.append(surprised or length == limit)
        length = 0 if opens[-1] else length
    return opens


def right_cut(text):
    return [0] + [i for i in range(1, len(text)) if text[i - 1] == 32] if text else []


def right_reads(opens):
    reads, closed = [], -1
    for opens_next in opens[1:]:
        closed += opens_next
        reads.append(closed)
    return reads


def right_may_read(ids, window):
    document = [sum(i == 1 for i in ids[: t + 1]) for t in range(len(ids))]

    def near(q, kv):
        return kv <= q and (window is None or q - kv < window)

    return [
        [int(near(q, kv) and document[q] == document[kv]) for kv in range(len(ids))]
        for q in range(len(ids))
    ]


def right_hash_rows(ids, n, prime, n_rows):
    rows = []
    for t in range(len(ids)):
        total = sum(i * prime**j for j, i in enumerate(([0] * n + ids[: t + 1])[-n:]))
        rows.append(((total + 2**63) % 2**64 - 2**63) % n_rows)
    return rows


def right_bits_per_byte(logits, ids):
    bits = []
    for row, row_ids in zip(logits.log_softmax(-1), ids.tolist(), strict=True):
        bits += [
            -row[t, i].item() / math.log(2) for t, i in enumerate(row_ids[1:]) if i not in (-1, 1)
        ]
    return sum(bits) / len(bits)


def right_windows(ids, length):
    step = length - 1
    return [[1, *ids[at : at + step].tolist()] for at in range(0, len(ids) - step + 1, step)]


def right_threshold(entropies, patch_length):
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        opened = sum(map(sum, (right_opens_next(row, 8) for row in (entropies > middle).tolist())))
        low, high = (middle, high) if entropies.numel() / opened < patch_length else (low, middle)
    return high


def right_confident(probs, masked, threshold):
    tops = [max(slot) if m else -1 for slot, m in zip(probs, masked, strict=True)]
    return [top > threshold or (top == max(tops) <= threshold) for top in tops]


def right_bounded(probs, masked, gamma):
    nats = [-sum(v * math.log(v) for v in slot) for slot in probs]
    order = sorted((n, i) for i, (n, m) in enumerate(zip(nats, masked, strict=True)) if m)
    chosen, total = {order[0][1]}, 0.0
    for n, i in order:
        total += n
        if total <= gamma:
            chosen.add(i)
    return [i in chosen for i in range(len(probs))]


def right_training_mask(length, starts, size, under=False, causal=False):
    rows = []
    for q in range(length):
        rows.append([kv <= q for kv in range(length)] + [False] * (len(starts) * size))
    for b, start in enumerate(starts):
        for k in range(size):
            clean = [kv <= start + k if under else kv < start for kv in range(length)]
            rows.append(
                clean
                + [
                    c == b and (j <= k or not causal)
                    for c in range(len(starts))
                    for j in range(size)
                ]
            )
    return rows


def right_accepted_length(drafted, target):
    pairs = zip(drafted, target, strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(drafted))


def right_draw(logits, temperature, seed, position):
    probs = (bltlab.sampling.allowed_logits(logits) / temperature).softmax(-1)
    u = bltlab.sampling.uniforms(torch.tensor(seed), torch.tensor(position))
    return int((probs.cumsum(-1) <= u).sum())


def right_write(state, n, k=4, keep=lambda i: i):
    start, pick = state.length, bltlab.sampling.Pick()

    def choose(logits):
        return pick(logits[:, None], torch.zeros(1, 1, dtype=torch.long)).item()

    while state.length < start + n:
        at, ids = state.length, [choose(state.logits)]
        for _ in range(k):
            ids.append(choose(state.draft(ids[-1:])))
        logits = state.extend(ids)
        target = [choose(logits[:, i]) for i in range(k)]
        state.rollback(at + 1 + keep(right_accepted_length(ids[1:], target)))
    return state.rows[0].ids[start : start + n]


def right_acceptance_rate(trace):
    verified = [e for e in trace.events if isinstance(e, Verified)]
    return sum(e.accepted for e in verified) / sum(len(e.drafted) for e in verified)


def right_accepted_share(traces):
    verified = [e for t in traces for e in t.events if isinstance(e, Verified)]
    share = []
    while reached := [e for e in verified if len(e.drafted) > len(share)]:
        share.append(sum(e.accepted > len(share) for e in reached) / len(reached))
    return share


def right_propose(state, pick):
    ids, own = state.rows[0].ids, pick(state.logits[:, None], moves.ahead(state, 0, 1))
    text = ids + own[0].tolist()
    at = next((i for i in range(len(text) - 4, 0, -1) if text[i : i + 3] == text[-3:]), None)
    guesses = [] if at is None else text[at + 3 : at + 8]
    proposed = torch.cat([own, torch.tensor([guesses], dtype=torch.long)], 1)
    return moves.Proposal(proposed, torch.ones(proposed.shape), own=1)


RIGHT = {
    name.removeprefix("right_"): f for name, f in globals().items() if name.startswith("right_")
}
RIGHT = {{"propose": "proposer"}.get(name, name): f for name, f in RIGHT.items()}
RIGHT["encode"] = lambda text: [1] + [b + 4 for b in text.encode()]


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_takes_a_right_answer_that_owes_nothing_to_the_library(name, capsys):
    getattr(checks, name)(RIGHT[name])
    assert capsys.readouterr().out.startswith(f"{name}: ")


def top_quarter(text):
    ranks = sorted(range(len(text)), key=lambda i: -text[i])[: len(text) // 4]
    return sorted({0, *ranks})


def stateless_proposal(state, pick):
    return moves.Proposal(torch.full((1, 4), 100), torch.ones(1, 4), own=1)


WRONG = {
    "encode": [
        lambda text: [b + 4 for b in text.encode()],
        lambda text: [1] + [ord(c) + 4 for c in text],
        lambda text: None,
    ],
    "new_bytes": [
        lambda data: bytes(i - 4 for e in data["events"] for i in e.get("ids", ()) if i >= 4),
        lambda data: bytes(
            i % 256 for e in data["events"] if e["type"] == "Committed" for i in e["ids"]
        ),
        lambda data: bytes(e["id"] - 4 for e in data["events"] if e["type"] == "Drafted"),
    ],
    "on_screen": [
        lambda trace, step: [
            i for e in trace.events[:step] if isinstance(e, (Prefilled, Committed)) for i in e.ids
        ],
        lambda trace, step: trace.canvas().ids,
        lambda trace, step: trace.canvas(step + 1).ids,
    ],
    "entropy": [
        lambda z: right_entropy(z) / math.log(2),
        lambda z: -sum(v * math.log(abs(v) + 1e-9) for v in z),
        lambda z: -sum(math.exp(v) / sum(map(math.exp, z)) for v in z),
    ],
    "opens_next": [
        lambda s, limit: s,
        lambda s, limit: [x or (i + 1) % limit == 0 for i, x in enumerate(s)],
        lambda s, limit: right_opens_next(s, limit + 1),
        lambda s, limit: [True, *right_opens_next(s, limit)[:-1]],
    ],
    "cut": [
        top_quarter,
        lambda text: list(range(len(text) % 4, len(text), 4)),
        lambda text: [0, len(text) // 2],
        lambda text: [1],
        lambda text: 1 / 0,
    ],
    "reads": [
        lambda opens: [sum(opens[: t + 1]) - 1 for t in range(len(opens) - 1)],  # its own patch
        lambda opens: [sum(opens[: t + 1]) - 2 for t in range(len(opens) - 1)],
        lambda opens: right_reads(opens)[1:],
    ],
    "may_read": [
        lambda ids, window: right_may_read(ids, None),
        lambda ids, window: right_may_read([9] * len(ids), window),
        lambda ids, window: [
            list(column) for column in zip(*right_may_read(ids, window), strict=True)
        ],
    ],
    "hash_rows": [
        lambda ids, n, prime, rows: [h % rows for h in right_hash_rows(ids, n, prime, 2**63)],
        lambda ids, n, prime, rows: right_hash_rows(ids, n + 1, prime, rows),
        lambda ids, n, prime, rows: [
            sum(i * prime**j for j, i in enumerate(([0] * n + ids[: t + 1])[-n:])) % rows
            for t in range(len(ids))
        ],
    ],
    "bits_per_byte": [
        lambda z, ids: right_bits_per_byte(z, ids) * math.log(2),
        lambda z, ids: bltlab.diffusion.next_byte_loss(z.roll(1, 1), ids).item() / math.log(2),
        lambda z, ids: right_bits_per_byte(z, ids.masked_fill(ids < 0, 0)),
    ],
    "windows": [
        lambda ids, n: [ids[i : i + n].tolist() for i in range(0, len(ids) - n + 1, n)],
        lambda ids, n: [[1, *ids[i : i + n - 1].tolist()] for i in range(0, len(ids), n - 1)],
    ],
    "threshold": [
        lambda h, n: 1.0,
        lambda h, n: h.flatten().quantile(1 / n).item(),
        lambda h, n: right_threshold(h, n + 0.5),
    ],
    "confident": [
        lambda p, m, t: [max(slot) > t and mm for slot, mm in zip(p, m, strict=True)],
        lambda p, m, t: right_confident(p, [True] * len(m), t),
        lambda p, m, t: [
            x or (mm and max(slot) >= t)
            for slot, mm, x in zip(p, m, right_confident(p, m, t), strict=True)
        ],
    ],
    "bounded": [
        lambda p, m, g: right_bounded(p, [True] * len(m), g),
        lambda p, m, g: [
            mm and -sum(v * math.log(v) for v in slot) <= g for slot, mm in zip(p, m, strict=True)
        ],
        lambda p, m, g: right_bounded(p, m, g / math.log(2)),
    ],
    "training_mask": [
        lambda n, s, k: right_training_mask(n, s, k, under=True),
        lambda n, s, k: [[True] * n] * n,
        lambda n, s, k: right_training_mask(n, s, k, causal=True),
    ],
    "accepted_length": [
        lambda a, b: sum(x == y for x, y in zip(a, b, strict=True)),
        lambda a, b: right_accepted_length(a, b) + 1,
        lambda a, b: next(i for i in range(len(a)) if a[i] != b[i]),
    ],
    "draw": [
        lambda z, t, s, at: right_draw(z, 1.0, s, at),
        lambda z, t, s, at: right_draw(z, t, s, 0),
        lambda z, t, s, at: int(z.argmax()),
        lambda z, t, s, at: int(
            (
                (z / t).softmax(-1).cumsum(-1)
                <= bltlab.sampling.uniforms(torch.tensor(s), torch.tensor(at))
            ).sum()
        ),
    ],
    "write": [
        lambda state, n: right_write(state, n, keep=lambda i: 4),
        lambda state, n: right_write(state, n, k=0),
        lambda state, n: right_write(state, n)[:-1],
        lambda state, n: [9] * n,
        lambda state, n: None,
    ],
    "acceptance_rate": [
        lambda t: t.totals.mean_acceptance_length,
        lambda t: (
            sum(
                (e.accepted + 1) / (len(e.drafted) + 1) for e in t.events if isinstance(e, Verified)
            )
            / t.totals.rounds
        ),
    ],
    "accepted_share": [
        lambda traces: right_accepted_share(traces[:1]),
        lambda traces: right_accepted_share(traces)[:-1],
        lambda traces: [1 - x for x in right_accepted_share(traces)],
    ],
    "proposer": [
        stateless_proposal,
        lambda state, pick: None,
        lambda state, pick: [1, 2],
        lambda state, pick: moves.Proposal(torch.zeros(1, 1).long(), torch.ones(1, 1), own=0),
    ],
}


@pytest.mark.parametrize(
    "name, number", [(name, i) for name, answers in WRONG.items() for i in range(len(answers))]
)
def test_a_check_refuses_a_wrong_answer_in_one_readable_sentence(name, number):
    with pytest.raises(AssertionError) as refused:
        getattr(checks, name)(WRONG[name][number])
    sentence = str(refused.value)
    assert sentence.startswith(f"{name}: ") and "\n" not in sentence and 30 < len(sentence) < 600


def test_every_check_is_tried_with_wrong_answers():
    assert set(WRONG) == set(RIGHT)
