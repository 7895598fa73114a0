"""Quality of what is written: answers, BLEU, chrF, words, bits per byte beside compressors."""

import json
import math

import pytest
import torch
from conftest import random_model

import bltlab
from bltlab import vocab
from bltlab.__main__ import main
from bltlab.evaluation import likelihood, translation, words
from bltlab.evaluation.prompts import Pair, pairs_of

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


@pytest.mark.parametrize("method", ["ar", "blt-s", "blt-d", "blt-dv"])
def test_a_batch_answers_what_each_line_alone_answers(model, method):
    settings = dict(max_new_bytes=24, stop="\n")
    found = translation.translate(model, PAIRS, method, batch_size=3, alone=4, max_new_bytes=24)
    alone = [bltlab.generate(model, pair.prompt, method, **settings) for pair in PAIRS]
    assert found.answers == [out.text.strip() for out in alone]
    some = [
        out.trace.totals for out in alone[:: 7 // 4][:4]
    ]  # evaluations are those of lines decoded alone
    assert found.costs["decoder_per_byte"] == pytest.approx(
        sum(t.nfe.decoder for t in some) / sum(t.new_bytes for t in some)
    )
    assert (found.costs["acceptance"] is None) == (method in ("ar", "blt-d"))


def test_exact_answers_are_counted_and_scored(model, monkeypatch):
    class Out:
        def __init__(self, text, trace):
            self.text, self.trace = text, trace

    real, right = translation.generate, {pair.prompt: pair.answer for pair in PAIRS}
    wrong = PAIRS[2].prompt

    def oracle(model, prompts, method, **settings):
        out = real(model, prompts, method, **settings)
        if isinstance(prompts, str):
            return out
        texts = [f" {right[prompt]}\n" if prompt != wrong else " no\n" for prompt in prompts]
        return [Out(text, one.trace) for text, one in zip(texts, out, strict=True)]

    monkeypatch.setattr(translation, "generate", oracle)
    found = translation.translate(model, PAIRS, max_new_bytes=4)
    assert found.exact == pytest.approx(6 / 7) and found.answers[2] == "no"
    assert (
        50 < found.bleu < 100
        and 50 < found.chrf < 100
        and all("version" in s for s in found.signatures)
    )
    wrong = None
    found = translation.translate(model, PAIRS, max_new_bytes=4)
    assert (found.exact, found.bleu, found.chrf) == pytest.approx((1, 100, 100))


def test_text_that_is_no_pair_is_refused():
    assert pairs_of(["de: Nein.\nen: No.\n", "fr: Oui.\nen: Yes."]) == [
        Pair("de: Nein.\nen:", "No."),
        Pair("fr: Oui.\nen:", "Yes."),
    ]
    with pytest.raises(ValueError, match="a pair looks like 'fr: ") as error:
        pairs_of(["de: Nein.\nen: No.\n", "In the beginning"])
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="at least one pair"):
        translation.translate(None, [])


def test_evaluate_translation_prints_one_table(folder, tmp_path, capsys):
    texts = [dict(text=f"{pair.prompt} {pair.answer}\n", split="test") for pair in PAIRS]
    path = write(tmp_path / "p.jsonl", *texts)
    assert (
        main(
            [
                "evaluate",
                path,
                "--task",
                "translation",
                "--checkpoint",
                folder,
                "--limit",
                "3",
                "--method",
                "blt-d",
            ]
        )
        is None
    )
    heading, ar, d, bleu, chrf = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["method", "exact", "percent"] and [
        ar.split()[0],
        d.split()[0],
    ] == ["ar", "blt-d"]
    assert "tok:" in bleu and "nc:" in chrf
    assert (
        main(
            [
                "evaluate",
                write(tmp_path / "t.jsonl", dict(text="no pair", split="test")),
                "--task",
                "translation",
                "--checkpoint",
                folder,
            ]
        )
        == 2
    )
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


def test_words_are_held_against_the_training_split(model, tmp_path):
    known = "the cat sat on the mat"
    path = write(
        tmp_path / "t.jsonl",
        dict(text=known, split="train"),
        *(dict(text="a cat sat on the mats today " * 3 + str(i), split="test") for i in range(4)),
    )
    rows = words.words(model, path, ["blt-d"], lines=4, prompt_bytes=28, max_new_bytes=28)
    assert [row["method"] for row in rows] == ["held-out text", "ar", "blt-d"]
    # After "a cat sat on the mats today " stand "a cat sat on the mats today":
    # 4 of 7 are known, 7 of 28 are distinct.
    shortest = min(row["words"] for row in rows)
    assert rows[0] == dict(
        method="held-out text",
        words=28,
        known_percent=pytest.approx(400 / 7),
        distinct=min(7, shortest) / shortest,
        repeated_percent=0,
    )
    assert rows == words.words(
        model, path, ["blt-d"], lines=4, prompt_bytes=28, max_new_bytes=28, batch_size=3
    )


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
