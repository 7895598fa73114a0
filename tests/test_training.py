"""Training learns, is exact when resumed, and never leaves half a file."""

import csv
import json
import math
import resource
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_setup import MINI, OPTIONS, write_corpus

import bltlab
from bltlab import checkpoints, data
from bltlab.__main__ import main
from bltlab.model import BLT
from bltlab.patching import Patches, next_opens, opens_by_rule
from bltlab.training import (
    Muon,
    choose_threshold,
    learning_rate_scale,
    orthogonalise,
    rate_at,
    run,
    train,
)
from bltlab.training import (
    folder as run_folder,
)
from bltlab.training.distributed import ProcessGroup
from bltlab.training.loop import Stage
from bltlab.training.losses import ModelLoss
from bltlab.training.optim import optimisers
from bltlab.training.options import LOSSES, RECIPES
from bltlab.training.text import draw_documents, read_corpus

SHORT, SHORTEST = (
    dict(megabytes=size, entropy_megabytes=size) for size in (0.01, 0.003)
)  # 20 and 6 steps


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.jsonl")


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """(options, reports) of one whole run, for several tests."""
    options = replace(
        OPTIONS, text=corpus, out=str(tmp_path_factory.mktemp("whole")), sample_every=25
    )
    return options, list(train(options))


def lines_of(folder, name):
    return Path(folder, name).read_text().splitlines()


def weights(folder):
    return checkpoints.read_tensors(folder)[0]


# -- learning -------------------------------------------------------------------------------------


def test_training_learns_and_writes_all_it_promises(finished):
    options, reports = finished
    for stage in ("entropy model", "BLT-D"):
        bits = [r.held_out_bits for r in reports if r.stage == stage]
        assert bits[-1] < bits[0] - 0.5 and bits[-1] < 5
    masked = [r.masked_bits for r in reports if r.stage == "BLT-D"]
    assert masked[-1] < masked[0]
    model = bltlab.BLT.from_pretrained(options.out)
    patches = [bltlab.patchify(model, text) for text in data.documents(options.text)]
    assert 2.5 < sum(len(p.text) for p in patches) / sum(len(p.spans) for p in patches) < 6
    names = {p.name for p in Path(options.out).iterdir()}
    assert names == {
        "config.json",
        "log.csv",
        "model.safetensors",
        "samples.jsonl",
        "state",
        *(n for n in names if "opens-" in n),
    }
    assert len(names) == 6


def test_each_decoder_shows_what_it_writes(finished):
    options, reports = finished
    sampled = [r for r in reports if r.samples]
    assert len(sampled) >= 2 and all(r.stage == "BLT-D" for r in sampled)
    by_method = {s.method: s for s in sampled[-1].samples}
    assert list(by_method) == [*bltlab.decoding.METHODS]
    assert len({s.prompt for s in by_method.values()}) == 1
    for exact in ("blt-s", "blt-dv", "blt-fv"):
        assert by_method[exact].text == by_method["ar"].text
    for foreseen in ("blt-f", "blt-fv"):
        assert 0 <= by_method[foreseen].foreseen_rate <= 1
        assert by_method[foreseen].denoising_steps_per_block is None
    assert by_method["blt-f"].acceptance_rate is None and by_method["ar"].foreseen_rate is None
    assert (
        1 <= by_method["blt-d"].denoising_steps_per_block <= 4
        and by_method["ar"].denoising_steps_per_block is None
    )
    assert (
        0 <= by_method["blt-s"].acceptance_rate <= 1
        and by_method["blt-dv"].mean_acceptance_length >= 1
    )
    lines = [json.loads(line) for line in lines_of(options.out, "samples.jsonl")]
    assert [(x["step"], x["method"], x["text"]) for x in lines] == [
        (r.step, s.method, s.text) for r in sampled for s in r.samples
    ]
    assert "steps a block" in str(sampled[-1]) and "blt-dv" in str(sampled[-1])


def test_the_log_has_a_row_for_each_report(finished):
    options, reports = finished
    rows = list(csv.DictReader(lines_of(options.out, "log.csv")))
    assert [(r["stage"], int(r["step"]), float(r["held_out_bits"])) for r in rows] == [
        (r.stage, r.step, r.held_out_bits) for r in reports
    ]


def test_a_run_in_bf16_learns_too(corpus, tmp_path):
    reports = list(
        train(
            replace(
                OPTIONS,
                text=corpus,
                out=str(tmp_path),
                precision="bf16",
                ship_dtype="bfloat16",
                **SHORT,
            )
        )
    )
    bits = [r.held_out_bits for r in reports if r.stage == "BLT-D"]
    assert bits[-1] < bits[0] and weights(tmp_path)["decoder.output.weight"].dtype == torch.bfloat16


def test_losses_and_entropies_are_fp32_where_products_are_not(corpus):
    model, ids = BLT(MINI).initialise(0), data.windows(data.stream(data.documents(corpus)), 64)[:2]
    losses = ModelLoss(model, OPTIONS.filled())
    batch = losses.draw(ids, torch.ones_like(ids, dtype=torch.bool), torch.Generator())
    plain, (_, exact) = losses(batch), model.patch(ids)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, (_, entropies) = losses(batch), model.patch(ids)
    assert [x.dtype for x in rounded] == [torch.float32] * 2 and torch.equal(entropies, exact)
    assert 0 < abs(rounded[0] - plain[0]) < 0.05 * plain[0]


def test_accumulation_changes_memory_and_not_what_is_learnt(corpus, tmp_path):
    one, four = (
        list(
            train(
                replace(OPTIONS, text=corpus, out=str(tmp_path / str(n)), accumulate=n, **SHORTEST)
            )
        )
        for n in (1, 4)
    )
    assert [r.train_bits for r in four] == pytest.approx([r.train_bits for r in one], abs=1e-4)
    assert [r.masked_bits for r in four if r.masked_bits] == pytest.approx(
        [r.masked_bits for r in one if r.masked_bits], abs=1e-4
    )


def test_options_reach_the_model(corpus, tmp_path):
    options = replace(
        OPTIONS,
        text=corpus,
        out=str(tmp_path),
        **SHORTEST,
        threshold=1.25,
        decoder_input="embedding",
        block_starts="patches",
        weighting="mean",
        block_size=3,
    )
    list(train(options))
    config = bltlab.BLT.from_pretrained(tmp_path).config
    assert (config.patcher.threshold, config.decoder_input, config.block_size) == (
        1.25,
        "embedding",
        3,
    )


def test_the_paper_s_recipe_sets_what_nothing_else_says(corpus, tmp_path):
    paper = replace(OPTIONS, recipe="paper", other_rate=None).filled()
    said = {name: getattr(paper, name) for name in RECIPES["paper"]}
    assert said == RECIPES["paper"]
    kept = replace(OPTIONS, recipe="paper", fully_masked=0.5, start="blt-nano", preset=None)
    assert (kept.filled().fully_masked, kept.filled().decoder_input) == (0.5, None)
    assert replace(OPTIONS, other_rate=None).filled().other_rate == RECIPES["ours"]["other_rate"]
    options = replace(OPTIONS, text=corpus, out=str(tmp_path), recipe="paper", other_rate=None)
    reports = [r for r in train(options) if r.stage == "BLT-D"]
    assert reports[-1].held_out_bits < reports[0].held_out_bits


def test_the_paper_s_losses_are_sums_over_the_same_count(corpus):
    model, ids = BLT(MINI).initialise(0), data.windows(data.stream(data.documents(corpus)), 64)[:2]
    opens = model.patch(ids)[0].next_opens
    means, sums = (ModelLoss(model, replace(OPTIONS, losses=o).filled()) for o in LOSSES)
    batch = means.draw(ids, opens, torch.Generator().manual_seed(0))
    (total, next_byte), (summed, same) = means(batch), sums(batch)
    targets, block_bytes = batch.counts
    masked = (total - next_byte) * block_bytes / targets
    assert next_byte == same and torch.allclose(summed, next_byte + masked, atol=1e-6)


def test_adamw_alone_is_the_paper_s():
    model = BLT(MINI).initialise(0)
    (adamw,) = optimisers(model, replace(OPTIONS, optimiser="adamw").filled())
    (group,) = adamw.param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.9, 0.95), 0.1)
    assert len(group["params"]) == len(list(model.parameters()))


def test_a_blt_d_starts_from_an_autoregressive_blt(corpus, tmp_path):
    plain = replace(OPTIONS, text=corpus, out=str(tmp_path / "plain"), block_size=0, **SHORT)
    reports = list(train(plain))
    assert [r.masked_bits for r in reports] == [None] * len(reports)
    started = list(
        train(
            replace(
                OPTIONS,
                text=corpus,
                out=str(tmp_path / "d"),
                start=str(tmp_path / "plain"),
                entropy_megabytes=None,  # its patches fit, so its entropy model stays
                megabytes=0.01,
            )
        )
    )
    assert {r.stage for r in started} == {"BLT-D"} and started[0].held_out_bits < reports[
        -1
    ].held_out_bits + 0.5
    a, b = (bltlab.BLT.from_pretrained(tmp_path / name) for name in ("plain", "d"))
    assert a.config.patcher == b.config.patcher and b.config.block_size == 4
    assert all(
        torch.equal(x, y)
        for x, y in zip(
            a.patcher.state_dict().values(), b.patcher.state_dict().values(), strict=True
        )
    )


def test_no_step_of_the_model_runs_the_entropy_model(corpus, tmp_path, monkeypatch):
    calls, forward = [], Stage.train_step

    def counted(stage):
        hook = getattr(stage.losses, "model", stage.losses).patcher.register_forward_hook(
            lambda *a: calls.append(stage.name)
        )
        try:
            return forward(stage)
        finally:
            hook.remove()

    monkeypatch.setattr(Stage, "train_step", counted)
    list(train(replace(OPTIONS, text=corpus, out=str(tmp_path), **SHORTEST)))
    assert set(calls) == {"entropy model"}


# -- resuming -------------------------------------------------------------------------------------


def test_a_resumed_run_is_the_uninterrupted_run(finished, tmp_path):
    options, whole = finished
    halves = replace(options, out=str(tmp_path))
    for stage in (0, 1):  # break off in the first stage, then in the second
        running, seen = train(halves, resume=True), 0
        for report in running:
            if report.stage == ("entropy model", "BLT-D")[stage] and report.step % 5 == 0:
                seen += 1
                if seen == 3:  # steps since the last state are lost and done again
                    break
        running.close()
    list(train(halves, resume=True))
    a, b = weights(options.out), weights(tmp_path)
    assert all(torch.equal(a[name], b[name]) for name in a)
    rows = [list(csv.DictReader(lines_of(folder, "log.csv"))) for folder in (options.out, tmp_path)]
    timeless = [
        [{k: v for k, v in row.items() if k != "bytes_per_second"} for row in r] for r in rows
    ]
    assert timeless[0] == timeless[1]  # no row lost, none twice
    assert lines_of(options.out, "samples.jsonl") == lines_of(tmp_path, "samples.jsonl")


def test_a_run_is_not_overwritten_and_not_continued_with_other_options(finished):
    options, _ = finished
    before = weights(options.out)
    with pytest.raises(ValueError, match="holds a run already: add --resume"):
        next(train(options))
    for change, words in (
        (dict(batch_size=4), "batch_size was 8"),
        (dict(masked_weight=2.0), "masked_weight was 1.0"),
        (dict(megabytes=0.001), "megabytes was 0.03"),
        (dict(seed=1), "seed was 0"),
    ):
        with pytest.raises(ValueError, match=words):
            next(train(replace(options, **change), resume=True))
    assert (
        list(train(replace(options, report_every=7, accumulate=2), resume=True)) == []
    )  # done already
    assert all(torch.equal(before[name], after) for name, after in weights(options.out).items())


def test_resume_needs_no_option_again_and_refuses_another(finished, capsys):
    options, _ = finished
    assert main(["train", "--resume", "--out", options.out]) in (0, None)  # done already
    assert main(["train", "--resume", "--out", options.out, "--batch-size", "4"]) == 2
    assert "batch_size was 8 in the saved run" in capsys.readouterr().err


def test_what_a_killed_process_left_goes_and_another_text_is_refused(corpus, tmp_path):
    mine = tmp_path / "mine.jsonl"
    mine.write_text(Path(corpus).read_text())
    out = tmp_path / "run"
    options = replace(OPTIONS, text=str(mine), out=str(out), **SHORTEST)
    list(train(options))
    for name in ("state/000001", "state/000099.part", ".part-x"):
        (out / name).mkdir()
    for name in ("opens-1.2.part", "own-0000.safetensors.2.part"):
        (out / name).write_bytes(b"half")
    before = {p for p in out.rglob("*") if "part" not in p.name and p.name != "000001"}
    assert list(train(options, resume=True)) == [] and set(out.rglob("*")) == before
    mine.write_text(Path(corpus).read_text().replace("cat", "cow"))
    with pytest.raises(ValueError, match="mine.jsonl is no longer the text of the saved run"):
        next(train(options, resume=True))


def test_a_finished_run_can_be_made_longer(corpus, tmp_path):
    options = replace(OPTIONS, text=corpus, out=str(tmp_path), **SHORT)
    short = list(train(options))
    longer = list(train(replace(options, megabytes=0.02), resume=True))
    assert {r.stage for r in longer} == {"BLT-D"} and longer[0].step > short[-1].step
    assert longer[-1].held_out_bits < short[-1].held_out_bits


def test_a_damaged_state_is_named(corpus, tmp_path):
    options = replace(OPTIONS, text=corpus, out=str(tmp_path), **SHORTEST)
    list(train(options))
    (state,) = (tmp_path / "state").glob("0*")
    known = (state / "progress.json").read_text()
    (state / "progress.json").write_text("{}")
    with pytest.raises(ValueError, match=f"{state.name} is damaged"):
        next(train(options, resume=True))
    (state / "progress.json").write_text(known)
    for name in ("progress.json", "__0_0.distcp", ".metadata"):
        whole = (state / name).read_bytes()
        (state / name).write_bytes(whole[: len(whole) // 3])
        with pytest.raises(ValueError, match=f"{state.name} is damaged"):
            next(train(options, resume=True))
        (state / name).write_bytes(whole)
    assert list(train(options, resume=True)) == []


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["state", "model"])
def test_a_full_disk_leaves_the_last_state_whole(corpus, tmp_path, at, monkeypatch):
    options = replace(
        OPTIONS,
        text=corpus,
        out=str(tmp_path),
        save_every=1000 if at == "model" else 5,
        report_every=1000,
        **SHORT,
    )
    save, limits = run_folder.RunFolder.save, resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_when_full(self, count, tensors, progress):
        full = at == "state" and count >= 15
        if full:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # the state needs more
        try:
            save(self, count, tensors, progress)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if at == "model" and progress["stage"] == "BLT-D":
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))

    monkeypatch.setattr(run_folder.RunFolder, "save", save_when_full)
    try:
        with pytest.raises(
            OSError, match=f"the {at} .*could not be written.*--resume goes on from it"
        ) as error:
            list(train(options))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    states = [p.name for p in (tmp_path / "state").iterdir() if p.name != "lock"]
    assert len(states) == 1 and states[0].isdigit()
    monkeypatch.setattr(run_folder.RunFolder, "save", save)
    list(train(options, resume=True))
    assert bltlab.BLT.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "at, words", [(12, "the loss of BLT-D .*at step 13"), (14, "a weight of BLT-D .*at step 15")]
)
def test_what_is_no_number_stops_the_run_and_spoils_no_state(
    at, words, corpus, tmp_path, monkeypatch
):
    options = replace(OPTIONS, text=corpus, out=str(tmp_path), save_every=5, **SHORT)
    step = Stage.train_step

    def spoilt(stage):
        now, done = (
            stage.step,
            step(stage) if at == 14 else None,
        )  # before a step, or after the last before a save
        if stage.name == "BLT-D" and now == at:
            with torch.no_grad():
                stage.losses.model.decoder.output.weight[0, 0] = float("nan")
        return done or step(stage)

    monkeypatch.setattr(Stage, "train_step", spoilt)
    with pytest.raises(ValueError, match=f"{words}: lower") as error:
        list(train(options))
    assert "\n" not in str(error.value)
    monkeypatch.setattr(Stage, "train_step", step)
    first = next(r for r in train(options, resume=True))
    assert first.stage == "BLT-D" and first.step == 15


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "cannot be read: it is empty"),
        (b"\x00\x01\x7fELF" * 50, "fewer than one window"),
        (b'{"text": "short"}', "fewer than one window"),
        (b'{"text": "a"}\n{"te', "cannot be read"),
    ],
)
def test_text_that_is_none_is_refused_in_one_line(content, words, tmp_path, capsys):
    path = tmp_path / ("a.txt" if b"ELF" in content else "a.jsonl")
    path.write_bytes(content)
    assert (
        main(["train", "--text", str(path), "--out", str(tmp_path / "run"), "--preset", "tiny"])
        == 2
    )
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and words in said[0], said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--accumulate", "3"], "multiple of accumulate"),
        (["--start", "x", "--decoder-input", "encoder"], "leave one of the two out"),
        (["--length", "8"], "length must be an int in 16..1048576"),
        (["--length", "100000000"], "length must be an int in 16..1048576"),
        (["--megabytes", "-1"], "megabytes must be a number in 0..10000000, got -1"),
        (["--megabytes", "1e300"], "megabytes must be a number in 0..10000000, got 1e+300"),
        (["--batch-size", "100000000"], "batch_size must be an int in 1..65536"),
        (["--batch-size", "1" + "0" * 5000], "batch_size must be an int in 1..65536"),
        (["--matrix-rate", "1e300"], "matrix_rate must be a number in 0..100"),
        (["--log-to", "trackio"], "needs the package trackio"),
        (["--device", "cuda"], "torch finds no cuda here" if not torch.cuda.is_available() else ""),
        (["--decoder-input", "states"], "--decoder-input"),
        (["--megabytes", "0", "--entropy-megabytes", "0"], "nothing would be trained"),
        (["--entropy-megabytes", "0"], "there is no entropy model to keep"),
        (["--megabytes", "nan"], "megabytes must be a number in 0..10000000, got nan"),
        (["--threshold", "inf"], "threshold must be a number in 0..100, got inf"),
        (["--seed", str(2**40)], "seed must be an int in 0..2147483647"),
        (["--start", "blt-d-nano"], "preset tiny is another shape than that of the model in start"),
        (["--preset", "nano", "--start", "blt-d-nano", "--block-size", "0"], "is a BLT-D with"),
        (["--length", "2048"], "held out to measure on, fewer than one window of 2048"),
        (["--out", "/dev/null"], "is a file"),
    ],
)
def test_wrong_flags_are_named(flags, words, tmp_path, capsys, corpus, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    try:
        code = main(
            ["train", "--preset", "tiny", "--text", corpus, "--out", str(tmp_path / "run"), *flags]
        )
    except SystemExit as error:
        code = error.code
    assert code == 2 and words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_windows_of_a_step_must_go_round(corpus, tmp_path, monkeypatch):
    group = ProcessGroup(0, 2, "cpu", "ddp")
    monkeypatch.setattr(run, "process_group", lambda *a: nullcontext(group))
    with pytest.raises(ValueError, match="multiple of accumulate times processes, got 8, 8 and 2"):
        next(train(replace(OPTIONS, text=corpus, out=str(tmp_path / "run"), accumulate=8)))


def test_reports_go_to_a_tracker_as_well(corpus, tmp_path, monkeypatch):
    logged = []
    fake = SimpleNamespace(
        init=lambda **k: logged.append(k),
        log=lambda values, step: logged.append((step, values)),
        finish=lambda: logged.append("finished"),
    )
    monkeypatch.setitem(sys.modules, "trackio", fake)
    options = replace(
        OPTIONS, text=corpus, out=str(tmp_path / "mine"), log_to="trackio", **SHORTEST
    )
    reports = list(train(options))
    assert (
        logged[0]["name"] == "mine"
        and logged[0]["config"]["batch_size"] == 8
        and logged[-1] == "finished"
    )
    assert [step for step, _ in logged[1:-1]] == [r.step for r in reports]
    assert logged[-2][1]["BLT-D/masked_bits"] == reports[-1].masked_bits


# -- parts ----------------------------------------------------------------------------------------


def test_orthogonalise_brings_singular_values_near_one():
    x = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for matrices in (x, x.mT):
        values = torch.linalg.svdvals(orthogonalise(matrices))
        assert values.min() > 0.5 and values.max() < 1.3


def test_muon_treats_fused_projections_as_separate_matrices():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(16, 16, generator=g), torch.randn(16, 16, generator=g)
    fused, apart = (
        torch.nn.Parameter(torch.cat([a, b])),
        [torch.nn.Parameter(a.clone()), torch.nn.Parameter(b.clone())],
    )
    fused.parts = 2
    gradients = torch.randn(32, 16, generator=g)
    fused.grad, apart[0].grad, apart[1].grad = gradients, gradients[:16], gradients[16:]
    Muon([fused], 0.1).step()
    Muon(apart, 0.1).step()
    assert torch.allclose(fused, torch.cat(apart), atol=1e-6)


def test_rates_rise_stay_and_fall():
    assert rate_at is learning_rate_scale  # its first name
    rates = [learning_rate_scale(s, 200, warm_up=10, decay=0.5) for s in range(201)]
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)]) and set(
        rates[10:101]
    ) == {1.0}
    assert rates[150] == pytest.approx(0.51) and rates[200] == pytest.approx(0.02)
    assert {learning_rate_scale(s, 200, decay=0.0) for s in range(40, 200)} == {1.0}


def test_a_cosine_falls_from_the_end_of_the_rise_to_nothing():
    rates = [learning_rate_scale(s, 210, warm_up=10, schedule="cosine") for s in range(211)]
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    wanted = [(1 + math.cos(math.pi * n / 200)) / 2 for n in range(201)]
    assert rates[10:] == pytest.approx(wanted)


def test_the_threshold_gives_the_asked_patch_length():
    config = bltlab.BLTConfig.preset("nano").patcher
    g = torch.Generator().manual_seed(0)
    entropies, ids = torch.rand(8, 512, generator=g) * 3, torch.full((8, 512), 80)
    for wanted in (2.0, 4.0, 6.0):
        threshold = choose_threshold(config, entropies, ids, wanted)
        surprise = opens_by_rule(replace(config, threshold=threshold), ids, entropies)
        opens = next_opens(
            surprise, torch.arange(512).expand(8, -1), torch.zeros(8, dtype=torch.long), 8
        )
        assert opens.numel() / opens.sum().item() == pytest.approx(wanted, rel=0.02)


def test_a_short_run_takes_whole_documents_and_a_longer_one_the_same_and_more():
    texts = [f"document {i} " * (1 + i % 5) for i in range(60)]
    ids = data.stream(texts)
    few, more = (
        bltlab.decode(draw_documents(ids, most, seed=3).tolist()).decode() for most in (500, 1500)
    )

    def inside(t):
        return [i for i, text in enumerate(texts) if text in t]

    assert set(inside(few)) < set(inside(more)) and inside(few) != list(range(len(inside(few))))
    assert 450 < len(few) <= 500 and draw_documents(ids, len(ids), 3) is ids
    assert (
        len(draw_documents(ids[:-2], 500, 3))
        == len(draw_documents(data.stream(["one long text " * 100]), 500, 3))
        == 500
    )


def test_a_corpus_of_one_file_keeps_its_end_to_measure_on(tmp_path):
    (tmp_path / "mine.txt").write_text("".join(f"line {i}\n" for i in range(1000)))
    ids, held_out = read_corpus(tmp_path / "mine.txt", 1e9)
    assert 18 < len(ids) / len(held_out) < 20 and bltlab.decode(held_out.tolist()).endswith(
        b"line 999\n"
    )
    assert bltlab.decode([*ids, *held_out.tolist()]) == (tmp_path / "mine.txt").read_bytes()


def test_stored_patches_are_those_of_the_model(finished):
    options, _ = finished
    model, ids = (
        bltlab.BLT.from_pretrained(options.out),
        data.stream(data.documents(options.text, "train")),
    )
    batches = data.Batches(
        ids, options.length, 4, 0, data.patch_ahead(model, ids, options.length, options.out)
    )
    rows, flags = batches.next()
    with torch.no_grad():
        found, _ = model.patch(rows)
    assert torch.equal(Patches.from_rule(rows, flags).opens, found.opens)
