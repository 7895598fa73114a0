"""Bad input gets one clear sentence: what was wrong, and what is accepted."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import random_model

import bltlab
from bltlab import checkpoints, vocab
from bltlab.__main__ import main
from bltlab.bench import measuring
from bltlab.config import BLTConfig, PatcherConfig
from bltlab.decoding import rounds
from bltlab.model import resolve_device
from bltlab.sampling import OneStep
from bltlab.training.distributed import own_device, process_group


def sentence(error):
    text = str(error.value)
    assert "\n" not in text and 10 < len(text) < 300, text
    return text


@pytest.fixture(scope="module")
def model():
    return random_model(0)


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: bltlab.BlockDiffusion(block_size=-1), "block_size must be an int in 1..64, got"),
        (
            lambda: bltlab.DiffusionVerification(block_size=2.5),
            "block_size must be an int in 1..64, got",
        ),
        (lambda: bltlab.BlockDiffusion(block_size=0), "block_size must be an int in 1..64, got"),
        (lambda: bltlab.BlockDiffusion(block_size=True), "block_size must be an int in 1..64, got"),
        (lambda: bltlab.Confidence("0.7"), "0..1"),
        (lambda: bltlab.BlockDiffusion(latent="ajar"), "latent must be one of closed, open"),
        (lambda: bltlab.Confidence(1.2), "0..1"),
        (lambda: bltlab.Confidence(-0.1), "0..1"),
        (lambda: bltlab.Confidence(float("nan")), "0..1"),
        (lambda: bltlab.EntropyBound(-1), "gamma must be a number in 0..20"),
        (lambda: bltlab.TopK(0), "k must be an int in 1..64"),
        (lambda: bltlab.TopK(True), "k must be an int in 1..64, got True"),
        (lambda: bltlab.Confidence(True), "threshold must be a number in 0..1, got True"),
        (
            lambda: bltlab.SelfSpeculation(draft_length=0),
            "draft_length must be an int in 1..64, got 0",
        ),
        (lambda: bltlab.DiffusionVerification(own_byte="after"), "before, none"),
        (lambda: BLTConfig.preset("huge"), "nano"),
    ],
)
def test_options(make, words):
    with pytest.raises(ValueError, match=words) as error:
        make()
    sentence(error)


@pytest.mark.parametrize(
    "kwargs, kind, words",
    [
        (dict(method="fast"), ValueError, "method must be one of ar, blt-s, "),
        (dict(method=3), TypeError, "name or an object"),
        (dict(method=bltlab.BlockDiffusion), TypeError, "name or an object"),
        (dict(temperature=None), TypeError, "temperature must be a number"),
        (dict(max_new_bytes=-1), ValueError, "at least 0"),
        (dict(max_new_bytes=1.5), ValueError, "at least 0"),
        (dict(max_new_bytes=600), ValueError, "max_length is 512"),
        (dict(stop=[""]), ValueError, "must not be empty"),
        (dict(stop=""), ValueError, "must not be empty"),
        (dict(temperature=-0.5), ValueError, "at least 0"),
        (dict(top_p=0.0), ValueError, "above 0"),
        (dict(seed="a"), ValueError, "64-bit int"),
        (dict(seed=None), ValueError, "64-bit int"),
        (dict(seed=1.5), ValueError, "64-bit int"),
        (dict(seed=[1, 2]), ValueError, "64-bit int"),
        (dict(prompt=7), TypeError, "prompt must be str or bytes, or a list of them, got int"),
        (dict(prompt=None), TypeError, "prompt must be str or bytes, or a list of them, got None"),
        (dict(prompt=["a", None]), TypeError, "prompt must be str or bytes"),
        (dict(max_new_bytes=True), ValueError, "max_new_bytes must be an int"),
        (dict(seed=True), ValueError, "64-bit int"),
        (dict(top_k=True), TypeError, "top_k must be a number"),
        (dict(top_k=1.5), ValueError, "top_k must be an int"),
        (dict(temperature=True), TypeError, "temperature must be a number"),
        (dict(temperature=10**400), ValueError, "finite number"),
        (dict(top_p=True), TypeError, "top_p must be a number"),
        (dict(stop=3), TypeError, "stop must be a text or a list of them, got int"),
        (dict(stop=None), TypeError, "stop must be a text or a list of them, got NoneType"),
        (dict(record=[]), ValueError, "record must be True, 'totals' or False"),
        (dict(prompt=[]), ValueError, "empty list"),
    ],
)
def test_generate_refuses_before_anything_runs(model, kwargs, kind, words):
    with pytest.raises(kind, match=words) as error:
        bltlab.stream(model, kwargs.pop("prompt", "abc"), **kwargs)
    sentence(error)


def test_a_prompt_and_budget_that_fit_exactly_run(model):
    assert len(bltlab.generate(model, "a" * 500, "blt-d", max_new_bytes=11).bytes) == 11
    with pytest.raises(ValueError, match="need 513 bytes"):
        bltlab.generate(model, "a" * 500, "blt-d", max_new_bytes=12)


@pytest.mark.parametrize("method", ["blt-d", "blt-dv"])
def test_a_plain_blt_has_no_diffusion(method):
    with pytest.raises(ValueError, match="needs a BLT-D") as error:
        bltlab.generate(random_model(0, block_size=None), "abc", method)
    sentence(error)


def test_a_block_above_the_trained_one_warns_and_runs(model):
    with pytest.warns(UserWarning, match="trained with"):
        out = bltlab.generate(
            model,
            "abc",
            bltlab.BlockDiffusion(block_size=12, unmasking=OneStep()),
            max_new_bytes=24,
        )
    assert len(out.bytes) == 24


def test_missing_folders_name_what_ships(tmp_path):
    for name in ("no-such-model", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="shipped") as error:
            bltlab.BLT.from_pretrained(name)
        sentence(error)
    with pytest.raises(FileNotFoundError, match="config.json"):
        bltlab.BLT.from_pretrained(tmp_path)


def test_damaged_weights_name_the_file(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5], b"", b"\0" * 100):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match="model.safetensors is damaged") as error:
            bltlab.BLT.from_pretrained(folder)
        sentence(error)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors is missing"):
        bltlab.BLT.from_pretrained(folder)


def test_wrong_tensors_name_the_key(model, folder):
    tensors = checkpoints.read_tensors(folder)[0]
    for change, words in (
        (lambda t: t.pop("decoder.norm.weight"), "lacks decoder.norm.weight"),
        (lambda t: t.update(extra=torch.zeros(1)), "unknown extra"),
        (
            lambda t: t.update({"decoder.norm.weight": torch.zeros(7)}),
            "decoder.norm.weight must have shape",
        ),
    ):
        changed = dict(tensors)
        change(changed)
        checkpoints.save(folder, model.config, changed)
        with pytest.raises(ValueError, match=words) as error:
            bltlab.BLT.from_pretrained(folder)
        sentence(error)


def test_wrong_configs_name_the_key(folder):
    good = json.loads((folder / "config.json").read_text())
    for change, words in (
        (dict(model_type="gpt2"), "model_type"),
        (dict(colour=1), "colour"),
        (dict(decoder_input="bytes"), "decoder_input"),
        (dict(encoder=dict(dim=3)), "config.encoder"),
        (dict(encoder=None), "config.encoder"),
        (dict(max_length="x"), "config.max_length"),
        (dict(encoder=good["encoder"] | dict(n_heads=0)), "n_heads"),
        (dict(patcher=good["patcher"] | dict(threshold=None)), "config.patcher.threshold"),
        (dict(patcher=good["patcher"] | dict(window=0)), "window"),
        (dict(doubled_residual="no"), "doubled_residual"),
    ):
        (folder / "config.json").write_text(json.dumps(good | change))
        with pytest.raises(ValueError, match=words) as error:
            bltlab.BLT.from_pretrained(folder)
        sentence(error)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        bltlab.BLT.from_pretrained(folder)


def test_traces_that_are_none(tmp_path, model):
    path = tmp_path / "t.json"
    bltlab.generate(model, "ab", "blt-s", max_new_bytes=9).trace.save(path)
    good = json.loads(path.read_text())
    spoilt = next(e for e in good["events"] if e["type"] == "Verified") | {"accepted": -1}
    assert bltlab.Trace.load(path).totals.new_bytes == 9
    for wrong, words in (
        (dict(schema="other/1"), "schema"),
        (dict(events=3), "events"),
        (dict(events=[]), "events"),
        (dict(model={}), "parameters"),
        (dict(events=[{"type": "Guessed"}]), "event 0"),
        (dict(events=[good["events"][0] | {"ids": [999]}]), "out of range"),
        (dict(events=[good["events"][0] | {"more": 1}]), "exactly the fields"),
        (dict(events=[good["events"][0] | {"seconds": float("nan")}]), "finite"),
        (dict(events=[good["events"][0] | {"opens": []}]), "one entry for each"),
        (
            dict(events=[spoilt if e["type"] == "Verified" else e for e in good["events"]]),
            "accepted out of range",
        ),
        (dict(events=good["events"][2:]), "do not fit together"),
    ):
        path.write_text(json.dumps(good | wrong))
        with pytest.raises(ValueError, match=words) as error:
            bltlab.Trace.load(path)
        sentence(error)
    path.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        bltlab.Trace.load(path)


@pytest.mark.slow  # a process each
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["generate", "abc", "--model", "no-such-model"], "shipped"),
        (["generate", "abc", "--method", "ar", "--draft-length", "4"], "no option draft_length"),
        (["generate", "abc", "--unmasking", "confidence:7"], "0..1"),
        (["generate", "abc", "--method", "blt-s", "--draft-length", "99"], "an int in 1.."),
        (["view", "no-such-trace.json"], "no-such-trace.json"),
        (["view", "."], "directory"),
        (["generate", "abc", "--block-size", "x"], "--block-size"),
        (["wander"], "wander"),
        (["train", "--text", "no-such-text"], "no-such-text"),
    ],
)
def test_the_command_line_exits_with_2(arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "bltlab", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1, (
        done.stderr
    )


def test_stride_needs_a_length():
    with pytest.raises(ValueError, match="max_patch_length"):
        PatcherConfig(16, 1, 2, 24, rule="stride")


def test_a_rule_is_no_text():
    with pytest.raises(TypeError, match="Confidence"):
        bltlab.BlockDiffusion(unmasking="confidence:0.7")


def test_a_state_refuses_more_or_fewer_drafts_than_rows(model):
    state = bltlab.DecodingState(model, batch_size=2)
    state.extend([[1, 101], [1, 102]])
    for wrong in (101, [101], [101, 102, 103]):
        with pytest.raises(ValueError, match="one id for each of the 2"):
            state.draft(wrong)


def test_a_loaded_model_can_be_trained(folder):
    model = bltlab.BLT.from_pretrained(folder)
    bltlab.diffusion_loss(model, torch.tensor([[1, 101, 102, 103]])).total.backward()
    assert model.decoder.output.weight.grad.abs().sum() > 0
    with pytest.raises(TypeError, match="torch.bfloat16"):
        bltlab.BLT.from_pretrained(folder, dtype="bfloat16")
    for wrong in (0, -1, 2.5):
        with pytest.raises(ValueError, match="at least 1 byte"):
            bltlab.diffusion_loss(model, torch.tensor([[1, 101]]), block_size=wrong)


@pytest.mark.parametrize(
    "device, kind, words",
    [
        ("cuda:77", ValueError, "device cuda:77 is not available: torch finds"),
        ("mps:77", ValueError, "device mps:77 is not available: torch finds"),
        ("xpu:77", ValueError, "device xpu:77 is not available: torch finds"),
        (torch.device("cuda", 77), ValueError, "here, use auto or cpu"),
        ("meta", ValueError, "device meta is not available: torch finds no meta here"),
        ("nonsense", ValueError, "device must be auto, cpu, cuda, cuda:1 .* got 'nonsense'"),
        ("cuda:x", ValueError, "device must be auto"),
        ("", ValueError, "device must be auto"),
        (0, TypeError, '"auto" or a name such as "cpu" or "cuda:1", got 0'),
        (True, TypeError, "got True"),
        (None, TypeError, "got None"),
        (["cpu"], TypeError, "a name such as"),
    ],
)
def test_a_device_that_is_not_there_is_said_before_anything_is_read(device, kind, words):
    for door in (
        resolve_device,
        lambda device: bltlab.BLT.from_pretrained("nowhere", device=device),
        lambda device: measuring.load("nowhere", device=device),
        lambda device: process_group(device).__enter__(),
    ):
        with pytest.raises(kind, match=words) as error:
            door(device)
        sentence(error)


def test_a_process_takes_its_own_device_if_it_is_there(monkeypatch):
    chosen = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    for rank in (1, 0):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert own_device("auto", 2) == f"cuda:{rank}"
    assert chosen == ["cuda:1", "cuda:0"]
    assert own_device("auto", 1) == "cuda" and own_device("cpu", 2) == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="cuda:2 is not available: torch finds 2 cuda here"):
        own_device("cuda", 3)


def test_a_rule_of_your_own_is_recorded(model, tmp_path):
    class Leftmost:
        def __call__(self, probs, masked):
            return masked & (masked.cumsum(1) == 1)

        def __repr__(self):
            return "Leftmost()"

    out = bltlab.generate(
        model, "abc", bltlab.BlockDiffusion(unmasking=Leftmost()), max_new_bytes=9
    )
    out.trace.save(tmp_path / "t.json")
    assert bltlab.Trace.load(tmp_path / "t.json").method["unmasking"] == "Leftmost()"
    assert out.trace.totals.denoising_steps_per_block == 8


def test_select_takes_different_rows_or_a_mask(model):
    state = bltlab.DecodingState(model, batch_size=3)
    state.extend([[1, 101], [1, 102], [1, 103]])
    for wrong in ([0, 0], [3], [-1]):
        with pytest.raises(ValueError, match="different rows"):
            state.select(wrong)
    assert [row.ids[1] for row in state.select([True, False, True]).rows] == [101, 103]


@pytest.mark.parametrize("ids", [[70, 71], [1, -1, 70], [1, 1]])
def test_a_text_starts_with_bos_and_has_no_holes(model, ids):
    with pytest.raises(ValueError, match="BOS at the start and only there"):
        bltlab.DecodingState(model).extend(ids)


# -- numbers --------------------------------------------------------------------------------------


def test_numbers_of_numpy_are_taken_where_numbers_are(model, tmp_path):
    four, half = np.int64(4), np.float32(0.5)
    rule = bltlab.TopK(np.uint8(2))
    method = bltlab.BlockDiffusion(block_size=four, unmasking=rule)
    numbers = dict(temperature=half, top_k=np.int32(9), top_p=np.float64(0.9), seed=four)
    out = bltlab.generate(model, "ab", method, max_new_bytes=four, **numbers)
    plain = bltlab.BlockDiffusion(block_size=4, unmasking=bltlab.TopK(2))
    numbers = dict(temperature=0.5, top_k=9, top_p=0.9, seed=4)
    assert out.bytes == bltlab.generate(model, "ab", plain, max_new_bytes=4, **numbers).bytes
    out.trace.save(tmp_path / "t.json")
    assert bltlab.Trace.load(tmp_path / "t.json").settings == out.trace.settings


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["decoder.output", "encoder.embedding", "patcher.output"])
def test_weights_that_are_no_numbers_are_said(where, value):
    model = random_model(0)
    with torch.no_grad():
        model.get_submodule(where).weight.fill_(value)
    for method in ("ar", "blt-s", "blt-d", "blt-dv"):
        with pytest.raises(ValueError, match="not numbers: its weights are damaged") as error:
            bltlab.generate(model, "ab", method, max_new_bytes=4, temperature=0.5)
        sentence(error)
    with pytest.raises(ValueError, match="not numbers: its weights are damaged"):
        bltlab.score(model, "abc")
    if where == "patcher.output":
        with pytest.raises(ValueError, match="not numbers: its weights are damaged"):
            bltlab.patchify(model, "abc")


# -- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["encode", "parameter_counts", "Stream", "DecodingState"])
def test_an_interrupt_at_the_very_beginning_leaves_an_empty_text(model, tmp_path, monkeypatch, at):
    where = {
        "encode": (vocab, "encode"),
        "parameter_counts": (bltlab.BLT, "parameter_counts"),
        "Stream": (rounds, "Stream"),
        "DecodingState": (rounds, "DecodingState"),
    }
    home, name = where[at]
    really, calls = getattr(home, name), []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return really(*arguments, **options)

    monkeypatch.setattr(home, name, interrupted)
    out = bltlab.generate(model, "abc", max_new_bytes=4)
    assert (out.bytes, out.stopped) == (b"", "interrupted")
    out.trace.save(tmp_path / "t.json")
    assert bltlab.Trace.load(tmp_path / "t.json").bytes == b""


def test_an_interrupt_of_any_verb_is_one_line(monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(bltlab.BLT, "from_pretrained", interrupted)
    for verb in (["generate", "abc"], ["patch", "abc"], ["evaluate"]):
        assert main(verb) == 130
        assert capsys.readouterr().err == "bltlab: stopped\n"


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_too_little_memory_is_one_sentence_at_every_door(error, monkeypatch, tmp_path):
    def lacking(*given, **named):
        raise error

    model = random_model(0)
    folder = str(tmp_path / "model")
    model.save_pretrained(folder)
    for place in (
        "checkpoints.resolve",
        "patching.patch_text",
        "evaluation.likelihood._of_windows",
        "decoding.rounds.Stream",
    ):
        monkeypatch.setattr(f"bltlab.{place}", lacking)
    for door in (
        lambda: bltlab.BLT.from_pretrained(folder),
        lambda: bltlab.patchify(model, "abc"),
        lambda: bltlab.score(model, "abc"),
        lambda: bltlab.generate(model, "abc"),
    ):
        with pytest.raises(MemoryError, match="the memory of this machine is not enough"):
            door()
