"""The likelihood of texts after contexts: what is read together is as if each were read alone."""

import json
import lzma
import math

import pytest
import torch
from conftest import random_ids, random_model

import bltlab
from bltlab import vocab
from bltlab.__main__ import main
from bltlab.evaluation import records
from bltlab.evaluation.likelihood import Likelihood, likelihoods
from bltlab.evaluation.tasks import choices, known_tasks
from bltlab.evaluation.tasks.choices import Choices, chosen


def text_of(seed, length):
    return vocab.decode(random_ids(seed, length + 1).tolist())


def alone(model, context, text):
    """Nats of a text after a context, both read at once by the model without a cache."""
    ids = torch.tensor([bltlab.encode(context + text)])
    log_probs = model(ids).logits[0].log_softmax(-1)
    of_bytes = log_probs[:-1].gather(1, ids[0, 1:, None])
    return -of_bytes[len(context) :].sum().item()


@pytest.fixture(scope="module")
def model():
    return random_model(4)


@pytest.fixture
def read(monkeypatch):
    """Bytes of each row of each pass."""
    passes = []
    extend = bltlab.DecodingState.extend

    def noted(state, ids):
        passes.append([len(row) for row in ids])
        return extend(state, ids)

    monkeypatch.setattr(bltlab.DecodingState, "extend", noted)
    return passes


CONTEXTS = [text_of(1, 40), text_of(1, 40) + text_of(2, 9), text_of(3, 3), b"", "né:".encode()]
TEXTS = [b"e", text_of(5, 21), b"", " déjà".encode()]
ASKED = [(context, text) for context in CONTEXTS for text in TEXTS][::-1]


@pytest.mark.parametrize("batch_size, chunk", [(1, 512), (1, 7), (3, 512), (4, 5), (99, 16)])
def test_texts_of_shared_contexts_are_as_likely_as_alone(model, batch_size, chunk):
    found = likelihoods(model, ASKED, batch_size, chunk)
    expected = [alone(model, context, text) for context, text in ASKED]
    assert [one.nats for one in found] == pytest.approx(expected, abs=1e-9)
    twice = likelihoods(model, ASKED[:5] * 2, batch_size, chunk)
    assert twice[:5] == twice[5:]


def test_a_context_is_read_once_and_so_is_what_it_shares_with_the_one_before(model, read):
    first, second = text_of(1, 40) + b"?", text_of(1, 40) + b"!"
    likelihoods(model, [(first, b"abc"), (second, b"cd"), (first, b"c"), (second, b"abc")])
    # "!" is 0x21 and comes first: BOS and 40 bytes; the last byte is read with each text
    assert read == [[41], [2], [3], [1], [3]]
    read.clear()
    likelihoods(model, [(b"", b"abcd"), (b"ab", b"xyz"), (b"ab", b"x")], batch_size=2)
    assert read == [[0, 2], [4, 1], [0, 3]]


def test_greedy_is_what_greedy_decoding_writes(model):
    for context in (b"", text_of(1, 30)):
        written = bltlab.generate(model, context, max_new_bytes=12).bytes
        other = written[:-1] + bytes([written[-1] ^ 1])
        found = likelihoods(model, [(context, written), (context, other), (context, b"")], 2)
        assert [one.greedy for one in found] == [True, False, True]
        assert found[2] == Likelihood(0, True)


def test_a_long_context_is_cut_at_a_character_and_a_long_text_into_windows(model):
    most = model.config.max_length - 1
    context, text = ("a" * 7 + "é" * most).encode(), text_of(5, 22)
    with pytest.warns(UserWarning, match="1 of 2 texts are longer with their context"):
        cut, whole = likelihoods(model, [(context, text), (b"a", b"b")], 2)
    left = context[len(context) - most + len(text) :]
    assert left[0] == 0xA9 and cut.nats == pytest.approx(alone(model, left[1:], text), abs=1e-9)
    assert whole.nats == pytest.approx(alone(model, b"a", b"b"), abs=1e-9)
    longer = text_of(7, 2 * most)
    with pytest.warns(UserWarning, match="context loses its beginning"):
        (found,) = likelihoods(model, [(b"a", longer)])
    bits = bltlab.score(model, longer) * len(longer)
    assert found.nats == pytest.approx(bits * math.log(2), abs=1e-6)


def test_no_batch_is_refused(model):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        likelihoods(model, ASKED, 0)


# -- choices --------------------------------------------------------------------------------------


def test_the_likeliest_ending_by_the_byte_in_all_and_by_the_character():
    four = Choices(("ab", "éé", "a" * 9), right=0)
    row = chosen(four, [3.0, 5.0, 10.5])  # a byte 1, 1, 1.05; a character 1.5, 2.5, 1.17
    assert (row["score"], row["acc_percent"], row["acc_norm_percent"]) == (1, 100, 0)
    row = chosen(Choices(four.endings, 2), [3.0, 5.0, 9.5])  # a byte .95, a character 1.06
    assert (row["score"], row["acc_percent"], row["acc_norm_percent"]) == (1, 0, 100)
    assert row["chance_percent"] == pytest.approx(100 / 3)
    assert row["true_bits_a_byte"] == pytest.approx(0.95 / math.log(2))


ARC = dict(
    id="Mercury_1",
    question="Which is hot?",
    choices=dict(text=["Ice", "Fire", "Snow"], label=["A", "B", "C"]),
    answerKey="B",
)
OPEN = "Question: Which is hot?\nAnswer:"
ASKED_AS = {
    "arc-easy": (ARC, OPEN, Choices(("Ice", "Fire", "Snow"), 1)),
    "arc-challenge": (ARC, OPEN, Choices(("Ice", "Fire", "Snow"), 1)),
    "piqa": (
        dict(goal="rest", sol1="Lie down.", sol2="Run.", label=0),
        "Question: rest\nAnswer:",
        Choices(("Lie down.", "Run."), 0),
    ),
    "hellaswag": (
        dict(
            activity_label="Rest",
            ctx_a="One lies. [header] Bed",
            ctx_b="she",
            endings=["sleeps [title] Long.", "[step] runs."],
            label="1",
        ),
        "Rest: One lies. Bed She",
        Choices(("sleeps. Long.", " runs."), 1),
    ),
    "mmlu": (
        dict(question=" How many? ", subject="high_school_maths", choices=list("1234"), answer=3),
        "The following are multiple choice questions (with answers) about high school maths.\n\n"
        "How many?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:",
        Choices(tuple("ABCD"), 3),
    ),
}


@pytest.fixture(params=ASKED_AS)
def public(request, tmp_path):
    """(task, a folder with its one record, the prompt, the endings)."""
    record, prompt, endings = ASKED_AS[request.param]
    with lzma.open(tmp_path / "test.jsonl.xz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(record))
    return known_tasks()[request.param], tmp_path, prompt, endings


def test_a_public_set_is_asked_as_others_ask_it(public, monkeypatch):
    task, folder, prompt, endings = public
    (item,) = task.items(str(folder))
    assert (item.prompt, item.reference) == (prompt, endings)
    assert task.score(item, endings.endings[endings.right]) == 1 != task.score(item, "no")
    asked = []

    class Hub:
        def load_dataset(self, *words, **named):
            asked.append((*words, named))
            return [ASKED_AS[task.name][0]]

    monkeypatch.setattr(records, "quiet_datasets", Hub)
    monkeypatch.setattr(records.hub, "is_reachable", lambda: True)
    assert task.items(task.hub) == [item]
    assert asked == [(task.hub, task.config, dict(split=task.hub_split))]


def test_a_set_that_is_not_here_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(records.hub, "is_reachable", lambda: False)
    for name in ASKED_AS:
        hub = known_tasks()[name].hub
        assert main(["evaluate", name, "--model", "blt-nano"]) == 2
        assert f"is not there: python -m bltlab data {name}, or " in capsys.readouterr().err
        assert main(["evaluate", f"{name}:{hub}", "--model", "blt-nano"]) == 2
        said = capsys.readouterr().err
        assert (
            f"cannot be reached: python -m bltlab data {name}\n" in said and said.count("\n") == 1
        )
    monkeypatch.setattr(records.hub, "is_reachable", lambda: True)
    monkeypatch.setattr(records, "quiet_datasets", lambda: None)
    with pytest.raises(FileNotFoundError, match="the hub does not give baber/piqa"):
        choices.Piqa().items("baber/piqa")


@pytest.mark.parametrize("right", [-1, 4])
@pytest.mark.parametrize(
    "name, key", [("piqa", "label"), ("hellaswag", "label"), ("mmlu", "answer")]
)
def test_a_question_whose_answer_is_hidden_is_refused(name, key, right, tmp_path):
    record = ASKED_AS[name][0] | {key: right}
    with lzma.open(tmp_path / "test.jsonl.xz", "wt") as file:
        file.write(json.dumps(record))
    with pytest.raises(ValueError, match=f"no question of {name} .*: number {right} is right, of "):
        known_tasks()[name].items(str(tmp_path))


@pytest.mark.parametrize("line", ["{}", '{"question": 1}', '{"choices": 3, "goal": "x"}', "[1]"])
def test_a_record_that_is_no_question_is_refused(line, tmp_path):
    for name in ASKED_AS:
        with lzma.open(tmp_path / "test.jsonl.xz", "wt") as file:
            file.write(line)
        with pytest.raises(ValueError, match=f"a record is no question of {name}"):
            known_tasks()[name].items(str(tmp_path))
    (tmp_path / "test.jsonl.xz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"test.jsonl.xz cannot be read .*: python -m bltlab data"):
        choices.Mmlu().items(str(tmp_path))


def test_a_model_has_one_row_for_a_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random_model(4).float().save_pretrained("model")
    (tmp_path / "corpora" / "piqa").mkdir(parents=True)
    lines = [dict(ASKED_AS["piqa"][0], goal=str(n)) for n in range(5)]
    with lzma.open("corpora/piqa/test.jsonl.xz", "wt") as file:
        file.write("\n".join(map(json.dumps, lines)))
    assert not main(["evaluate", "piqa", "--model", "model", "--out", "out"])
    assert "model piqa read: accuracy" in capsys.readouterr().out
    (row,) = map(json.loads, (tmp_path / "out" / "rows.jsonl").read_text().splitlines())
    assert row["n"] == len(row["scores"]) == 5 and row["figures"]["chance_percent"] == 50
