"""The benchmarks measure what they say: the same texts, autoregression beside them, no warm-up.

No time is asserted.
"""

import json
import re
from functools import partial

import pytest
import torch
from conftest import random_ids, random_model

import bltlab
from bltlab import compiled, compiling, vocab
from bltlab.__main__ import main
from bltlab.bench import beside_transformers, measuring, reading, speed
from bltlab.bench.training_step import PARTS, decode_blocks_plainly
from bltlab.decoding import METHODS
from bltlab.diffusion import decode_blocks, diffusion_loss
from bltlab.evaluation import prompts, summary, words
from bltlab.evaluation.prompts import held_out

WORDS = (
    "the cat sat on a mat and then it went home to sleep for the night because it was tired of all"
    " that sitting around "
)


@pytest.fixture(scope="module")
def model():
    """One that never ends a text by itself, so that lengths are known."""
    model = random_model(0)
    model.decoder.output.weight[vocab.EOS_ID] = 0
    return model


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A small corpus: a training and a test document."""
    path = tmp_path_factory.mktemp("corpus") / "c.jsonl"
    texts = [
        dict(text=WORDS * 30, split="train"),
        *(dict(text=WORDS[i:] + WORDS, split="test") for i in range(12)),
    ]
    path.write_text("\n".join(map(json.dumps, texts)))
    return str(path)


def bench(capsys, *arguments):
    assert main(["bench", *map(str, arguments), "--json"]) is None
    return json.loads(capsys.readouterr().out)


# -- the kit -------------------------------------------------------------------------------------


def test_the_warm_up_is_run_and_not_counted():
    calls = []

    def job(name):
        calls.append(name)
        return len(calls)

    assert measuring.in_turn({"a": partial(job, "a"), "b": partial(job, "b")}, 2) == {
        "a": [3, 5],
        "b": [4, 6],
    }
    assert calls == ["a", "b"] * 3


def test_a_time_ends_when_the_device_is_done(monkeypatch):
    log = []
    monkeypatch.setattr(measuring, "synchronise", lambda: log.append("wait"))
    assert measuring.seconds_of(lambda: log.append("work")) > 0 and log == ["wait", "work", "wait"]


@pytest.mark.parametrize("method", METHODS)
def test_figures_are_those_of_the_traces(model, method):
    written = measuring.write(model, [b"abcab", b"fghij"], method, "totals", max_new_bytes=40)
    totals, seen = [t.totals for t in written.traces], summary.summarise(written.traces)
    assert written.new_bytes == 80 and written.seconds == pytest.approx(
        sum(t.seconds for t in totals)
    )
    assert (
        sum(written.seconds_by_part.values()) <= written.seconds
        and min(written.seconds_by_part.values()) > 0
    )
    for part in ("patcher", "encoder", "global_", "decoder"):
        assert seen[f"{part.strip('_')}_per_byte"] == sum(getattr(t.nfe, part) for t in totals) / 80
    assert seen["paper_mb_per_byte"] == pytest.approx(1e3 * sum(t.paper_gb for t in totals) / 80)
    shares = seen["accepted_per_round"]
    assert (shares is None) == (seen["acceptance"] is None) == (method in ("ar", "blt-d", "blt-f"))
    if shares:
        assert sum(shares) == pytest.approx(1) and len(shares) == (17 if method == "blt-fv" else 9)
        assert sum(n * s for n, s in enumerate(shares)) == pytest.approx(
            (len(shares) - 1) * seen["acceptance"]
        )


def test_a_batch_is_as_long_as_its_slowest_row(model):
    written = measuring.write(model, [[b"abcab", b"fghijklm"]], "blt-d", max_new_bytes=24)
    assert len(written.traces) == 2 and written.new_bytes == 48
    assert written.seconds == pytest.approx(
        max(t.totals.prefill_seconds + t.totals.seconds for t in written.traces)
        - max(t.totals.prefill_seconds for t in written.traces)
    )


def test_random_weights_cut_held_out_text_into_patches_of_four_bytes(corpus):
    model = measuring.load("preset:tiny", corpus=corpus, device="cpu")
    patches = bltlab.patchify(model, prompts.running_text(corpus, 2000))
    assert 3.6 < 2000 / len(patches.spans) < 4.4
    assert model.config.max_length > 16384
    with_blocks = measuring.load("preset:tiny:4", corpus=corpus, device="cpu")
    assert with_blocks.config.block_size == 4


def test_prompts_have_their_length_and_do_not_repeat(corpus):
    found = prompts.held_out(corpus, 24, 60)
    assert {len(t) for t in found.texts} == {60} and found.stop == () and len(set(found.texts)) > 12
    with pytest.raises(ValueError, match="fewer than 500"):
        prompts.held_out(corpus, 500, 60)


def test_pairs_are_prompts_up_to_the_answer(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(dict(text="fr: Oui.\nen: Yes.\n", split="test")))
    assert prompts.held_out(str(path), 1, 99) == prompts.Prompts([b"fr: Oui.\nen:"], ("\n",))


def test_methods_take_options_and_autoregression_comes_first(model):
    found = prompts.methods_for(
        model, ["blt-s,draft-length=4,min_confidence=0.5", "ar", "blt-d,unmasking=topk:2", "ar"]
    )
    assert [label for label, _ in found] == [
        "ar",
        "blt-s,draft-length=4,min_confidence=0.5",
        "blt-d,unmasking=topk:2",
    ]
    assert found[1][1] == bltlab.SelfSpeculation(draft_length=4, min_confidence=0.5)
    assert found[2][1] == bltlab.BlockDiffusion(block_size=8, unmasking=bltlab.TopK(2))
    assert [label for label, _ in prompts.methods_for(random_model(0, block_size=None))] == [
        "ar",
        "blt-s",
    ]


def test_a_table_stands_on_its_side():
    rows = [
        dict(method="ar", speed_ratio=1.0),
        dict(method="blt-d,block_size=4", speed_ratio=12345.6),
    ]
    assert summary.table(rows, across=True).splitlines() == [
        "method       ar         blt-d",
        "                 block_size=4",
        "speed ratio   1        12,346",
    ]
    assert summary.table(rows).splitlines()[0].split() == ["method", "speed", "ratio"]


# -- the benchmarks ------------------------------------------------------------------------------


def test_decode_puts_every_method_beside_autoregression(folder, corpus, capsys):
    out = bench(
        capsys,
        "decode",
        "--checkpoint",
        folder,
        "--prompts-from",
        corpus,
        "--prompts",
        2,
        "--prompt-bytes",
        40,
        "--max-new-bytes",
        16,
        "--repeats",
        2,
        "--temperature",
        0,
        0.8,
    )
    rows, about = out["rows"], out["about"]
    assert [(r["method"], r["temperature"]) for r in rows] == [
        (m, t) for t in (0, 0.8) for m in METHODS
    ]
    assert (
        about["mean_prompt_bytes"] == 40
        and about["prompts"] == 2
        and about["copy_gb_per_s"] > 0
        and about["repeats"] == 2
    )
    for r in rows:
        ratios = [
            r[f"{name}_ratio"]
            for name in ("speed", "paper", "measured", "projected_1b", "projected_3b")
        ]
        assert ratios == [1.0] * 5 if r["method"] == "ar" else min(ratios) > 0
        assert sum(
            r[f"time_{part}"] for part in ("patcher", "encoder", "global", "decoder", "other")
        ) == pytest.approx(1)
        assert r["new_bytes"] == 32 and r["gb_per_s"] == pytest.approx(
            r["share_of_copy"] * about["copy_gb_per_s"]
        )
        assert r["equal_to_ar"] >= r["equal_to_ar_until_difference"] >= 0


@pytest.fixture
def by_steps(monkeypatch):
    """Has `compile` take the same steps, without a compiler."""

    def compile_model(model, batches=False):
        compiled.use(model, compiling.uncompiled(model))

    monkeypatch.setattr(compiled, "compile_model", compile_model)


@pytest.mark.parametrize("size", [None, 2])
def test_compiled_steps_are_held_against_none(size, folder, corpus, capsys, monkeypatch, by_steps):
    benchmark = ["decode", "--prompts", 2] if size is None else ["batch", "--batch", size]
    asked = [*benchmark, "--checkpoint", folder, "--prompts-from", corpus, "--compile"]
    asked += ["--prompt-bytes", 40, "--max-new-bytes", 16, "--repeats", 1]
    rows = bench(capsys, *asked, "--method", "blt-s")["rows"]
    assert [row["method"] for row in rows] == ["ar", "ar, compiled", "blt-s", "blt-s, compiled"]
    for eager, row in zip(rows[::2], rows[1::2], strict=True):
        gain = row["bytes_per_s"] / eager["bytes_per_s"]
        assert row["against_uncompiled"] == pytest.approx(gain)
        assert row["equal_to_uncompiled"] == 1
        assert "against_uncompiled" not in eager
    monkeypatch.setattr(compiled, "compile_model", lambda *_: False)  # it cannot be compiled
    rows = bench(capsys, *asked, "--method", "ar")["rows"]
    assert [row["method"] for row in rows] == ["ar"]


def test_a_judge_adds_quality_and_a_figure_of_what_it_costs(folder, corpus, tmp_path, capsys):
    short = ["--prompts-from", corpus, "--prompts", 2, "--prompt-bytes", 40]
    short += ["--max-new-bytes", 16, "--repeats", 1, "--method", "blt-d"]
    page = tmp_path / "quality.html"
    judge = ["--judge", folder, "--figure", page]
    rows = bench(capsys, "decode", "--checkpoint", folder, *short, *judge)["rows"]
    model = bltlab.BLT.from_pretrained(folder)
    prompts = held_out(corpus, 2, 40).texts
    for row in rows:
        texts = [
            bltlab.generate(model, p, row["method"], max_new_bytes=16, temperature=0.0).bytes
            for p in prompts
        ]
        assert row["judge_bits"] == pytest.approx(words.judged(model, prompts, texts), rel=1e-4)
        wanted = words.variety(prompts, texts)
        assert (row["distinct_words"], row["repeated_8_bytes"]) == pytest.approx(wanted)
    text = page.read_text()
    assert "bits a byte, by the judge" in text and not re.search(r'src="https?:', text)
    page.unlink()
    for flags, words_said in [
        (["--figure", page], "give --judge too"),
        (["--judge", "no-such-model", "--figure", tmp_path / "no" / "a.html"], "a folder that is"),
    ]:
        assert main(["bench", "decode", *map(str, flags)]) == 2 and not page.exists()
        assert words_said in capsys.readouterr().err


def test_decode_prints_what_was_asked_and_how_it_ran(folder, corpus, capsys):
    main(
        [
            "bench",
            "decode",
            "--checkpoint",
            folder,
            "--prompts-from",
            corpus,
            "--prompts",
            "1",
            "--prompt-bytes",
            "40",
            "--max-new-bytes",
            "8",
            "--repeats",
            "1",
            "--method",
            "blt-d,block_size=4",
        ]
    )
    text = capsys.readouterr().out
    assert "mean prompt bytes 40, copy gb per s" in text.replace(
        "\n", " "
    ) and "new bytes asked 8" in text.replace("\n", " ")
    heading = next(line for line in text.splitlines() if line.startswith("method"))
    assert heading.split() == ["method", "ar", "blt-d"] and "block_size=4" in text


def test_batch_holds_every_size_against_the_first(folder, corpus, capsys):
    rows = bench(
        capsys,
        "batch",
        "--checkpoint",
        folder,
        "--prompts-from",
        corpus,
        "--prompt-bytes",
        40,
        "--max-new-bytes",
        12,
        "--repeats",
        1,
        "--batch",
        1,
        3,
        "--method",
        "blt-d",
    )["rows"]
    assert [(r["method"], r["batch"], r["new_bytes"]) for r in rows] == [
        ("ar", 1, 36),
        ("blt-d", 1, 36),
        ("ar", 3, 36),
        ("blt-d", 3, 36),
    ]
    assert [r["against_batch_1"] for r in rows[:2]] == [1, 1] and rows[2]["speed_ratio"] == 1


@pytest.mark.slow
def test_trace_compares_what_is_recorded(folder, corpus, capsys):
    rows = bench(
        capsys,
        "trace",
        "--checkpoint",
        folder,
        "--prompts-from",
        corpus,
        "--prompts",
        1,
        "--prompt-bytes",
        40,
        "--max-new-bytes",
        24,
        "--repeats",
        1,
    )["rows"]
    for bare, events, candidates in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert (
            bare["slower_than_bytes"] == 1
            and bare["events"] < events["events"] == candidates["events"]
        )


@pytest.mark.parametrize("method", METHODS)
def test_writing_after_a_context_writes_what_generate_writes_and_goes_back(model, method):
    ids, kind = random_ids(5, 60)[None], prompts.method_from(method).fit(model)
    write = reading.Continuation(model, kind, ids, 16)
    expected = bltlab.generate(model, vocab.decode(ids[0].tolist()), kind, max_new_bytes=16).bytes
    for _ in range(2):
        assert write() > 0
        assert vocab.decode(write.state.rows[0].ids[60:])[: len(expected)] == expected


def test_context_and_prefill_read_what_they_say(folder, corpus, capsys):
    rows = bench(
        capsys,
        "context",
        "--checkpoint",
        folder,
        "--prompts-from",
        corpus,
        "--context",
        64,
        256,
        "--max-new-bytes",
        8,
        "--repeats",
        1,
        "--method",
        "blt-s",
    )["rows"]
    assert [(r["method"], r["context"]) for r in rows] == [
        ("ar", 64),
        ("blt-s", 64),
        ("ar", 256),
        ("blt-s", 256),
    ]
    for r in rows:
        assert (
            r["cache_bytes_used"] == pytest.approx(r["cache_bytes_formula"], rel=1e-9)
            and r["ms_per_byte"] > 0
        )
        assert r["cache_bytes_allocated"] > r["cache_bytes_used"]
    rows = bench(
        capsys,
        "prefill",
        "--checkpoint",
        folder,
        "--prompts-from",
        corpus,
        "--repeats",
        1,
        "--context",
        64,
        300,
    )["rows"]
    assert [(r["what"], r["bytes"]) for r in rows] == [
        ("write, ar", 64),
        ("read", 64),
        ("read", 300),
    ]
    assert rows[0]["speed_ratio"] == 1


def test_a_training_step_is_timed_by_part(folder, corpus, capsys):
    rows = bench(
        capsys,
        "train",
        "--checkpoint",
        folder,
        "--prompts-from",
        corpus,
        "--repeats",
        1,
        "--context",
        32,
        64,
        "--step-bytes",
        128,
    )["rows"]
    assert [(r["step"], r["length"], r["windows"]) for r in rows] == [
        (step, *size) for size in ((32, 4), (64, 2)) for step in ("ar", "blt-d", "blt-d plain")
    ]
    for r in rows:
        assert sum(r[f"time_{part}"] for part in PARTS) == pytest.approx(1) and 0 < r["mfu"] < 1
        assert r["against_plain"] == (1 if "plain" in r["step"] else r["against_plain"])


def test_compare_writes_the_same_bytes_as_transformers(capsys, corpus, by_steps):
    pytest.importorskip("transformers")
    asked = ["compare", "--checkpoint", "preset:tiny", "--prompts-from", corpus, "--compile"]
    out = bench(capsys, *asked, "--context", 40, 70, "--max-new-bytes", 3, "--repeats", 1)
    ways = ["bltlab, ar", "bltlab, ar, compiled", "bltlab, recomputed", "transformers"]
    found = [(row["way"], row["context"]) for row in out["rows"]]
    assert found == [(way, n) for n in (40, 70) for way in ways]
    assert [row["slower_than_ar"] for row in out["rows"][::4]] == [1, 1]
    assert out["about"]["same_bytes"].startswith("yes")


def test_compare_refuses_what_transformers_cannot_hold(model):
    with pytest.raises(ValueError, match="decoder_input 'encoder'"):
        beside_transformers.plain_twin(random_model(0, decoder_input="embedding"))
    twin = beside_transformers.plain_twin(model)
    assert twin.config.block_size is None and twin.config.patcher.max_patch_length is None


@pytest.mark.slow  # a process each
def test_memory_loads_both_layouts(capsys):
    rows = bench(capsys, "memory", "--checkpoint", "preset:tiny")["rows"]
    assert [r["layout"] for r in rows] == ["bltlab", "transformers"]
    parameters = sum(
        p.numel()
        for p in bltlab.BLT.on_meta(bltlab.BLTConfig.preset("tiny", block_size=None)).parameters()
    )
    assert all(r["disk_gb"] * 1e9 >= 2 * parameters and r["peak_gb"] > r["disk_gb"] for r in rows)


# -- the plain step ------------------------------------------------------------------------------


def test_the_plain_step_has_the_loss_of_the_fast_one():
    model, ids = random_model(2), random_ids(7, 60, documents=2)[None]
    losses = [
        diffusion_loss(
            model, ids, generator=torch.Generator().manual_seed(1), decode=decode
        ).total.item()
        for decode in (decode_blocks, decode_blocks_plainly)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["batch", "--batch", "0"], "--batch: must be an int of at least 1, got 0"),
        (["decode", "--repeats", "0"], "--repeats: must be an int of at least 1, got 0"),
        (["decode", "--max-new-bytes", "-3"], "at least 1, got -3"),
        (["decode", "--prompts", "many"], "at least 1, got many"),
        (
            ["decode", "--method", "fast"],
            "blt-d, blt-dv, or module:Class for one of your own, got 'fast'",
        ),
        (["decode", "--method", "blt-s,speed=9"], "no option speed; it has draft_length"),
        (["decode", "--method", "blt-d,unmasking=all"], "confidence:0.7"),
        (["decode", "--method", "blt-s,draft_length=0"], "draft_length must be an int in 1.."),
        (["decode", "--method", "blt-s,draft_length"], "option=value, got 'draft_length'"),
        (
            ["decode", "--temperature", "-1"],
            "--temperature: must be a number of at least 0, got -1",
        ),
        (["decode", "--prompts-from", "nowhere"], "nowhere"),
        (
            ["context", "--context", "9999"],
            "--context 9999 and 64 new bytes is above max_length, 512",
        ),
        (["train", "--context", "8"], "at least 16 bytes to train on, got 8"),
        (["train", "--context", "1024"], "--context 1024 is above max_length, 512"),
        (["prefill", "--context", "513"], "--context 513 is above max_length, 512"),
        (["decode", "--checkpoint", "preset:huge"], "probe"),
        (["decode", "--checkpoint", "preset:tiny:some"], "preset:NAME:BLOCK_SIZE, got 'tiny:some'"),
        (["decode", "--device", "gpu"], "--device"),
        (["wander"], "wander"),
        ([], "what"),
    ],
)
def test_bench_exits_with_2_and_one_sentence(folder, corpus, capsys, arguments, words):
    if arguments and "--checkpoint" not in arguments:
        arguments = [*arguments, "--checkpoint", folder]
    if arguments and "--prompts-from" not in arguments and arguments[0] != "wander":
        arguments = [
            *arguments,
            "--prompts-from",
            corpus,
            *["--prompt-bytes", "40"] * (arguments[0] in ("decode", "batch")),
        ]
    try:
        code = main(["bench", *arguments])
    except SystemExit as exit:
        code = exit.code
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and words in error and error.startswith("bltlab: "), error


def test_texts_that_end_at_once_are_not_measured(model):
    written = measuring.write(model, [b"abcab"], "ar", "totals", max_new_bytes=0)
    for measure in (
        lambda: summary.summarise(written.traces),
        lambda: speed.add_speed({}, {}, written, [written]),
    ):
        with pytest.raises(ValueError, match="nothing to measure"):
            measure()


def test_bench_names_a_device_that_is_not_there(folder, capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    assert main(["bench", "prefill", "--checkpoint", folder, "--device", "cuda"]) == 2
    assert "device cuda is not available" in capsys.readouterr().err
