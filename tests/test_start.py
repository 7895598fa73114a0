"""Adapting to one's own text: models to start from, entropy models to take, thresholds."""

import random
import warnings
from dataclasses import asdict, replace

import pytest
import torch
from conftest import random_ids, random_model
from training_setup import OPTIONS, write_corpus

import bltlab
from bltlab import vocab
from bltlab.__main__ import main
from bltlab.training import TrainOptions, train
from bltlab.training.folder import latest_state

SHORT = dict(megabytes=0.01, entropy_megabytes=0.02)


def run(options):
    return list(train(options))


def stages(reports):
    return list(dict.fromkeys(report.stage for report in reports))


def load(path):
    return bltlab.BLT.from_pretrained(path, device="cpu")


def same_patcher(a, b):
    pairs = zip(a.patcher.state_dict().values(), b.patcher.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def bytes_a_patch(model, text):
    return len(text) / len(bltlab.patchify(model, text).spans)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "text.jsonl")


@pytest.fixture(scope="module")
def plain(corpus, tmp_path_factory):
    """The folder of a plain BLT that was trained on the corpus."""
    out = str(tmp_path_factory.mktemp("plain") / "run")
    run(replace(OPTIONS, text=corpus, out=out, block_size=0, **SHORT))
    return out


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A table of numbers: text that models of the corpus do not know."""
    path = tmp_path_factory.mktemp("numbers") / "table.csv"
    draw = random.Random(0)
    rows = [f"{n},{draw.randrange(10**6)},{draw.random():.3f}\r\n" for n in range(1500)]
    path.write_bytes("".join(rows).encode())
    return path


def test_on_foreign_text_the_entropy_model_is_trained_first_and_a_sentence_says_so(
    plain, numbers, tmp_path
):
    options = replace(
        OPTIONS, text=str(numbers), start=plain, megabytes=0.01, entropy_megabytes=None
    )
    with pytest.warns(UserWarning, match=r"cuts .*table.csv into patches of 1\.\d\d bytes: it is"):
        reports = run(replace(options, out=str(tmp_path / "trained")))
    assert stages(reports) == ["entropy model", "BLT-D"]
    text = numbers.read_bytes()[:9000]
    assert bytes_a_patch(load(plain), text) < 2
    assert 3 < bytes_a_patch(load(tmp_path / "trained"), text) < 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = run(replace(options, out=str(tmp_path / "kept"), entropy_megabytes=0.0))
    assert stages(kept) == ["BLT-D"]
    assert same_patcher(load(tmp_path / "kept"), load(plain))
    assert load(tmp_path / "kept").config.patcher == load(plain).config.patcher


def test_a_threshold_or_a_patch_length_is_taken_with_a_model_to_start_from(plain, corpus, tmp_path):
    options = replace(
        OPTIONS, text=corpus, start=plain, megabytes=0.003, entropy_megabytes=None, block_size=None
    )
    run(replace(options, out=str(tmp_path / "a"), threshold=0.25))
    assert load(tmp_path / "a").config.patcher.threshold == 0.25
    run(replace(options, out=str(tmp_path / "b"), patch_length=6.0))
    text = " ".join(bltlab.data.documents(corpus))
    assert 5 < bytes_a_patch(load(tmp_path / "b"), text) < 7
    for name in "ab":
        assert same_patcher(load(tmp_path / name), load(plain))


def test_an_entropy_model_is_trained_alone_and_taken_by_another_run(corpus, plain, tmp_path):
    alone = replace(OPTIONS, text=corpus, out=str(tmp_path / "alone"), **SHORT | {"megabytes": 0.0})
    assert stages(run(alone)) == ["entropy model"]
    options = replace(OPTIONS, text=corpus, megabytes=0.003, entropy_megabytes=None)
    options = replace(options, entropy_model=alone.out)
    for name, start in (("new", ""), ("started", plain)):
        out = str(tmp_path / name)
        assert stages(run(replace(options, out=out, start=start))) == ["BLT-D"]
        assert same_patcher(load(out), load(alone.out))
        assert load(out).config.patcher == load(alone.out).config.patcher


def test_a_blt_d_is_fine_tuned_with_its_own_blocks_or_others(corpus, plain, tmp_path):
    options = replace(OPTIONS, text=corpus, megabytes=0.003, entropy_megabytes=None)
    run(replace(options, out=str(tmp_path / "d"), start=plain, block_size=3))
    options = replace(options, start=str(tmp_path / "d"))
    for name, size, expected in (("same", None, 3), ("other", 5, 5)):
        out = str(tmp_path / name)
        reports = run(replace(options, out=out, block_size=size))
        assert stages(reports) == ["BLT-D"] and load(out).config.block_size == expected
    with pytest.raises(ValueError, match="block_size 0 trains a plain BLT, but .* blocks of 3"):
        run(replace(options, out=str(tmp_path / "none"), block_size=0))
    assert not (tmp_path / "none").exists()


def test_a_run_that_settled_things_itself_goes_on_as_it_settled_them(
    plain, numbers, tmp_path, capsys
):
    out = str(tmp_path / "run")
    flags = ["train", "--text", str(numbers), "--start", plain, "--out", out, "--length", "64"]
    flags += ["--report-every", "50", "--sample-every", "0", "--threads", "1"]
    flags += ["--entropy-megabytes", "0.004", "--megabytes", "0.004"]
    assert main(flags) is None
    before = latest_state(out).name
    assert main(["train", "--out", out, "--resume", "--megabytes", "0.008"]) is None
    assert int(latest_state(out).name) > int(before)
    options = replace(OPTIONS, text=str(numbers), start=plain, out=str(tmp_path / "api"))
    options = replace(options, megabytes=0.004, entropy_megabytes=0.0, block_size=None)
    run(options)
    longer = replace(options, megabytes=0.008, entropy_megabytes=None)
    assert stages(train(longer, resume=True)) == ["BLT-D"]


def test_a_run_saved_when_a_start_kept_its_entropy_model_goes_on():
    old = TrainOptions(start="x", megabytes=1.0, entropy_megabytes=4.0, patch_length=4.0)
    before = {name: value for name, value in asdict(old).items() if name != "entropy_model"}
    again = old.as_saved(before)
    assert again.entropy_megabytes == 0.0
    again.check_resumed(before)


# -- thresholds of a text --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return random_model(3)


TEXT = vocab.decode(random_ids(4, 3001).tolist())


@pytest.mark.parametrize("length", [1, 2.5, 4, 6])
def test_a_threshold_is_found_for_a_mean_patch(model, length):
    threshold = bltlab.threshold_for(model, TEXT, length)
    patches = bltlab.patchify(model, TEXT, threshold)
    assert b"".join(patches) == TEXT
    assert len(TEXT) / len(patches.spans) == pytest.approx(length, rel=0.05)
    config = replace(model.config.patcher, threshold=threshold)
    other = bltlab.BLT(replace(model.config, patcher=config)).double()
    other.load_state_dict(model.state_dict())
    assert bltlab.patchify(other, TEXT) == patches


def test_a_threshold_that_is_none_is_refused_in_one_sentence(model):
    for threshold in (-1, float("nan"), float("inf"), "1", True):
        with pytest.raises(ValueError, match="threshold must be"):
            bltlab.patchify(model, TEXT, threshold)
    with pytest.raises(ValueError, match="this model has 'space'"):
        bltlab.patchify(random_model(0, rule="space"), TEXT, 1.0)
    for length in (0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="patch_length must be at least 1 byte"):
            bltlab.threshold_for(model, TEXT, length)
    with pytest.raises(ValueError, match="at least one byte"):
        bltlab.threshold_for(model, "")


def test_the_command_line_takes_a_threshold_or_finds_one(model, tmp_path, capsys):
    model.save_pretrained(tmp_path)
    text = TEXT.decode()
    more = ["--model", str(tmp_path)]
    assert main(["patch", text, *more, "--patch-length", "4"]) is None
    said = capsys.readouterr().out.splitlines()[-1]
    assert f"{bltlab.threshold_for(load(tmp_path), text, 4):.4f} nats" in said
    assert main(["patch", text, *more, "--threshold", "0"]) is None
    assert "1.00 bytes each" in capsys.readouterr().out
    assert main(["patch", text, *more, "--threshold", "1", "--patch-length", "4"]) == 2
    assert "leave one of them out" in capsys.readouterr().err
