"""Quality of what is written: answers, BLEU, chrF, words, bits per byte beside compressors."""

import json
import math
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from conftest import random_model

import bltlab
from bltlab import vocab
from bltlab.__main__ import main
from bltlab.evaluation import harness, metrics, words
from bltlab.evaluation.prompts import Pair, pairs_of
from bltlab.evaluation.tasks import Answers, likelihood
from bltlab.evaluation.tasks.words import Words

pytest.importorskip("sacrebleu")
PAIRS = [Pair(f"fr: {'abc'[: 1 + i % 3]} {i}\nen:", f"{i} mats and a cat") for i in range(7)]


@pytest.fixture(scope="module")
def model():
    """One that often ends its line."""
    model = random_model(4)
    model.decoder.output.weight[vocab.EOS_ID] = 0
    model.decoder.output.weight[vocab.OFFSET + 10] *= 3
    return model


def write(path, *records):
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def write_model(model, folder):
    model.save_pretrained(folder / "model")
    return str(folder / "model")


def test_exact_answers_are_counted_and_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = [dict(text=f"{pair.prompt} {pair.answer}\n", split="test") for pair in PAIRS]
    write(tmp_path / "p.jsonl", *texts)
    write_model(random_model(4).float(), tmp_path)
    real, right = harness.generate, {pair.prompt: pair.answer for pair in PAIRS}
    wrong = [PAIRS[2].prompt]

    def oracle(model, prompt, method, **settings):
        out = real(model, prompt, method, **settings)
        text = " no\n" if prompt in wrong else f" {right[prompt]}\n"
        return types.SimpleNamespace(bytes=text.encode(), trace=out.trace)

    monkeypatch.setattr(harness, "generate", oracle)
    asked = ["model"], ["translation:p.jsonl"], ["ar"], harness.Settings(max_new_bytes=4)
    (row,) = harness.evaluate(*asked)
    figures = row["figures"]
    assert row["score"] == pytest.approx(100 * 6 / 7) and row["answers"][2] == " no\n"
    assert 50 < figures["bleu"] < 100 and 50 < figures["chrf"] < 100
    wrong.clear()
    (row,) = harness.evaluate(*asked)
    found = row["score"], row["figures"]["bleu"], row["figures"]["chrf"]
    assert found == pytest.approx((100, 100, 100))


class Pieces:
    """sentencepiece as far as sacrebleu uses it: pieces of two letters."""

    def Load(self, path):
        assert Path(path).read_bytes() == b"a model"

    def EncodeAsPieces(self, line):
        return [line[i : i + 2] for i in range(0, len(line), 2)]


def test_spbleu_cuts_as_the_file_says_that_is_named(tmp_path, monkeypatch):
    module = types.ModuleType("sentencepiece")
    module.SentencePieceProcessor = Pieces
    module.__spec__ = ModuleSpec("sentencepiece", None)
    monkeypatch.setitem(sys.modules, "sentencepiece", module)
    file = tmp_path / "sacrebleu_tokenizer_spm.model"
    monkeypatch.setenv("BLTLAB_FLORES101", str(tmp_path / "none.model"))
    with pytest.raises(ValueError, match=r"none\.model, which is not there"):
        metrics.translation_metrics()
    file.write_bytes(b"a model")
    for named in (file, tmp_path):
        monkeypatch.setenv("BLTLAB_FLORES101", str(named))
        row = metrics.translation_figures(["abcdefghij"], ["abcdefghijkl"], None)
        assert row["bleu"] == 0 < row["spbleu"] < 100  # one word, which is another; five pieces
        assert "tok:flores101" in row["spbleu_signature"] and "sha256" in row["spbleu_signature"]
    monkeypatch.setenv("BLTLAB_FLORES101", "")
    monkeypatch.setattr("sacrebleu.utils.SACREBLEU_DIR", str(tmp_path / "cache"))
    row = metrics.translation_figures(["abc"], ["abc"], None)
    assert "spbleu" not in row and "nor named by BLTLAB_FLORES101" in row["spbleu_signature"]


def test_text_that_is_no_pair_is_refused():
    assert pairs_of(["de: Nein.\nen: No.\n", "fr: Oui.\nen: Yes."]) == [
        Pair("de: Nein.\nen:", "No."),
        Pair("fr: Oui.\nen:", "Yes."),
    ]
    with pytest.raises(ValueError, match="a pair looks like 'fr: ") as error:
        pairs_of(["de: Nein.\nen: No.\n", "In the beginning"])
    assert "\n" not in str(error.value)


def test_evaluate_translation_prints_one_table(folder, tmp_path, capsys):
    texts = [dict(text=f"{pair.prompt} {pair.answer}\n", split="test") for pair in PAIRS]
    path = write(tmp_path / "p.jsonl", *texts)
    asked = ["--task", "translation", "--checkpoint", folder]
    assert main(["evaluate", path, *asked, "--limit", "3", "--method", "blt-d"]) is None
    heading, ar, d, *signatures = capsys.readouterr().out.splitlines()
    bleu, chrf, spbleu = signatures
    assert "tok:13a" in bleu and "nc:6" in chrf and spbleu.startswith("spBLEU is left out: ")
    assert heading.split()[:3] == ["method", "exact", "bleu"]
    assert [ar.split()[0], d.split()[0]] == ["ar", "blt-d"]
    other = write(tmp_path / "t.jsonl", dict(text="no pair", split="test"))
    assert main(["evaluate", other, *asked]) == 2
    assert "a pair looks like" in capsys.readouterr().err


def test_likelihood_stands_beside_compressors(folder, tmp_path, capsys, monkeypatch):
    text = "the cat sat on the mat " * 12
    path = write(tmp_path / "t.jsonl", *(dict(text=text + str(i), split="test") for i in range(2)))
    monkeypatch.setattr(
        likelihood, "zstd_size", lambda data, level: 46 if len(data) == 2 * len(text) + 2 else 0
    )
    monkeypatch.setattr(likelihood, "GUESSING", 100)
    main(["evaluate", path, "--checkpoint", folder])
    bits, xz, zstd = capsys.readouterr().out.splitlines()
    model = bltlab.BLT.from_pretrained(folder)
    expected = (bltlab.score(model, text + "0") + bltlab.score(model, text + "1")) / 2
    assert bits.startswith(f"{expected:.4f} bits a byte on 554 bytes")
    assert (
        float(xz.split()[0]) < 4
        and "xz -9" in xz
        and zstd.startswith(f"{8 * 46 / 554:.4f} by zstd -19")
    )
    monkeypatch.setattr(likelihood, "GUESSING", 0.1)
    main(["evaluate", path, "--checkpoint", folder])
    assert "worse than guessing" in capsys.readouterr().out.splitlines()[1]
    monkeypatch.setattr(likelihood, "GUESSING", 100)
    monkeypatch.setattr(likelihood, "zstd_size", lambda data, level: None)
    main(["evaluate", path, "--checkpoint", folder, "--limit", "1"])
    bits, _, zstd = capsys.readouterr().out.splitlines()
    assert "on 277 bytes" in bits and zstd == "zstd -19: not available"
    assert main(["evaluate", path, "--checkpoint", folder, "--method", "ar"]) == 2
    assert "--method belongs to" in capsys.readouterr().err


def test_words_are_held_against_the_training_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = "the cat sat on the mat"
    texts = [dict(text="a cat sat on the mats today " * 8 + str(i), split="test") for i in range(4)]
    write(tmp_path / "t.jsonl", dict(text=known, split="train"), *texts)
    task, items = Words(), Words().items("t.jsonl")
    assert len(items) == 4 and len(items[0].prompt) == 64
    answers = Answers(items, ["sat on it", "the mat the"] * 2, [1] * 4)
    found = task.figures(answers)
    # Of the words that begin there, for each prompt ends within one: on it, mat the.
    assert task.estimate(answers).score == pytest.approx(3 / 4)
    assert (found["words"], found["different_words"]) == (8, 4 / 8)
    # The text itself, without its ends: a cat sat on the mats today, again and again.
    assert found["text_itself_percent"] == pytest.approx(100 * 4 / 7, abs=4)
    assert task.score(items[0], "sat on it") == pytest.approx(1 / 2)


def test_a_judge_predicts_what_stands_after_the_prompts_only(model):
    prompts, texts = [b"the cat ", b"on"], [b"sat", b" the mat"]
    nats = 0.0
    for prompt, text in zip(prompts, texts, strict=True):
        ids = torch.tensor([vocab.encode(prompt + text)])
        logits = model(ids).logits[0, :-1].log_softmax(-1)
        nats -= logits.gather(1, ids[0, 1:, None])[len(prompt) :].sum().item()
    wanted = nats / math.log(2) / 11
    assert words.judged(model, prompts, texts) == pytest.approx(wanted)


def test_variety_counts_words_and_runs_that_come_again():
    assert words.repeated(b"0123456789") == 0 and words.repeated(b"short") == 0
    assert words.repeated(b"a" * 17) == pytest.approx(9 / 10)
    prompts, texts = [b"In the be", b"x "], [b"ginning was the wo", b"was the end of it"]
    distinct, again = words.variety(prompts, texts)
    assert distinct == 4 / 6 and again == 0  # was the; was the end of
