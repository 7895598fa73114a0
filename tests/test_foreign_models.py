"""A model folder from elsewhere, or one that is saved to while it is read: one sentence, or the
whole model.
"""

import itertools
import json
import multiprocessing
import os
import random
import resource
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import random_model
from safetensors.torch import load_file, save_file

import bltlab
from bltlab import checkpoints
from bltlab.__main__ import main
from bltlab.config import BLTConfig, PatcherConfig

SHARDS = 20_000  # bytes of one


@pytest.fixture(scope="module")
def model():
    return random_model(0)


@pytest.fixture
def folder(model, tmp_path):
    """A model in several shards."""
    model.save_pretrained(tmp_path / "m", shard_bytes=SHARDS)
    return tmp_path / "m"


def index_of(folder):
    return json.loads((folder / checkpoints.INDEX).read_text())


def refused(folder, words):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        bltlab.BLT.from_pretrained(folder)
    said = str(error.value)
    assert words in said and "\n" not in said and len(said) < 400, said


# -- shards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../m2/x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "C:x", "a\\b", 3, None],
)
def test_a_shard_lies_in_its_folder(folder, name):
    index = index_of(folder)
    index["weight_map"] |= {"decoder.norm.weight": name}
    (folder / checkpoints.INDEX).write_text(json.dumps(index))
    refused(folder, "decoder.norm.weight must lie in a file of this folder")


@pytest.mark.parametrize("where", [[], {}, "x", None])
def test_an_index_names_files(folder, where):
    (folder / checkpoints.INDEX).write_text(json.dumps({"weight_map": where}))
    refused(folder, "weight_map must name the file of each tensor")


def test_a_tensor_lies_in_one_shard(folder):
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    tensors = load_file(first) | load_file(second)
    save_file(tensors, first)
    refused(folder, "both hold")


def test_a_tensor_lies_in_the_shard_that_the_index_names(folder):
    index = index_of(folder)
    names = sorted(set(index["weight_map"].values()))
    moved = dict.fromkeys(index["weight_map"], names[0]) | {"decoder.norm.weight": names[1]}
    (folder / checkpoints.INDEX).write_text(json.dumps({"weight_map": moved}))
    refused(folder, "promises")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "config.json", "model.safetensors", ""])
def test_further_files_lie_in_the_folder(model, tmp_path, name):
    with pytest.raises(ValueError, match="files are named as files of the folder"):
        model.save_pretrained(tmp_path / "m", files=[(name, "text")])
    assert not list(tmp_path.rglob("*"))


def test_shards_of_another_save_have_other_names_and_go(model, folder):
    before = set(index_of(folder)["weight_map"].values())
    random_model(1).save_pretrained(folder, shard_bytes=SHARDS)
    after = set(index_of(folder)["weight_map"].values())
    assert len(before) > 2 and not before & after
    assert {path.name for path in folder.glob("*.safetensors")} == after
    model.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    model.save_pretrained(folder, shard_bytes=SHARDS)
    assert {path.name for path in folder.glob("*.safetensors")} == before


# -- while it is read -----------------------------------------------------------------------------


def save_again_and_again(folder, shard_bytes, ready, ended):
    torch.set_num_threads(1)
    models = [random_model(seed) for seed in (0, 1)]
    for one in itertools.cycle(models):
        one.save_pretrained(folder, shard_bytes=shard_bytes)
        ready.set()  # all is imported
        if ended.wait(random.random() * 0.2):
            return


@pytest.mark.slow  # a process, and seconds
@pytest.mark.parametrize("shard_bytes", [SHARDS, 10**9])
def test_what_is_read_while_others_save_is_one_model(tmp_path, shard_bytes):
    """Weights and threshold are those of one of the two models, never of both."""
    models = [random_model(seed) for seed in (0, 1)]
    known = [(m.config, m.state_dict()) for m in models]
    models[0].save_pretrained(tmp_path, shard_bytes=shard_bytes)
    spawn = multiprocessing.get_context("spawn")
    ready, ended = spawn.Event(), spawn.Event()
    writer = spawn.Process(
        target=save_again_and_again, args=(tmp_path, shard_bytes, ready, ended), daemon=True
    )
    writer.start()
    assert ready.wait(60)
    seen = []
    try:
        for _ in range(24):
            loaded = bltlab.BLT.from_pretrained(tmp_path, dtype=None)
            got = loaded.state_dict()
            same = [
                config == loaded.config and all(torch.equal(got[key], x) for key, x in ours.items())
                for config, ours in known
            ]
            assert sum(same) == 1
            seen.append(same.index(True))
    finally:
        ended.set()
        writer.join(30)
    assert set(seen) == {0, 1} and writer.exitcode == 0, seen


def test_what_a_killed_save_left_does_not_keep_others_waiting(folder, monkeypatch):
    (folder / ".part-killed.moving").mkdir()
    os.utime(folder / ".part-killed.moving", (1, 1))
    monkeypatch.setattr(checkpoints.time, "sleep", lambda seconds: pytest.fail("it waits"))
    bltlab.BLT.from_pretrained(folder)


# -- configs --------------------------------------------------------------------------------------


def changed(data, path, value):
    """The data with another value at a path such as ("encoder", "n_layers")."""
    first, *rest = path
    return data | {first: changed(data[first], rest, value) if rest else value}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["bltlab", "transformers"])
@pytest.mark.parametrize(
    "value",
    [10**5, 10**9, 10**18, 10**400, -1, 0, 1.5, 1e300, True, "x", None, [], [[1]], {}],
    ids=lambda value: repr(value)[:12],
)
def test_no_config_hangs_or_breaks(tmp_path, layout, value):
    """Each number of a config in turn; the layers are never built."""
    model = random_model(0, block_size=None)
    model.save_pretrained(tmp_path, layout=layout)
    good = json.loads((tmp_path / "config.json").read_text())
    paths = [(name, key) for name, part in good.items() if isinstance(part, dict) for key in part]
    paths += [(name,) for name, part in good.items() if not isinstance(part, dict)]
    for path in paths:
        (tmp_path / "config.json").write_text(json.dumps(changed(good, path, value)))
        try:
            bltlab.BLT.from_pretrained(tmp_path)
        except ValueError as error:
            said = str(error)
            assert "config.json" in said or "must have shape" in said or "lacks" in said, (
                path,
                said,
            )
            assert "\n" not in said and len(said) < 500, (path, said)


def test_ten_to_the_five_layers_are_refused_before_one_is_built(folder, monkeypatch):
    good = json.loads((folder / "config.json").read_text())
    for count, words in (
        (4000, "n_layers add up to"),
        (10**5, "n_layers must be a number in 1..4,096"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(bltlab.BLT, "on_meta", lambda config: pytest.fail("it is built"))
            wrong = changed(good, ("global_", "n_layers"), count)
            (folder / "config.json").write_text(json.dumps(wrong))
            refused(folder, words)


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, '{"model_type": ' + "1" * 5000])
def test_deep_or_endless_json_is_refused(folder, text, capsys):
    for name in ("config.json", checkpoints.INDEX):
        whole = (folder / name).read_text()
        (folder / name).write_text(text)
        refused(folder, name)
        assert main(["patch", "abc", "--model", str(folder)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        (folder / name).write_text(whole)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_are_of_a_type_that_can_be_used(folder, dtype):
    path = sorted(folder.glob("*.safetensors"))[0]
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].float().to(dtype)
    save_file(tensors, path)
    refused(folder, f"{name} must be one of float32, bfloat16, float16, float64, got {dtype}")


@pytest.mark.parametrize("threshold", [float("inf"), float("-inf"), float("nan"), 10**400, None])
def test_what_could_not_be_loaded_is_not_made(model, threshold):
    with pytest.raises((ValueError, TypeError), match="threshold must be a number in"):
        replace(model.config.patcher, threshold=threshold)


def test_numbers_of_numpy_are_numbers():
    shape = PatcherConfig(16, 1, 2, 24, threshold=np.float64(1.5))
    config = BLTConfig.preset("tiny", block_size=np.int64(4), patcher=shape)
    assert BLTConfig.from_json(config.to_json()) == config


# -- a full disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shard_bytes", [SHARDS, 10**9])
def test_a_save_that_fails_says_one_sentence_and_leaves_nothing(model, tmp_path, shard_bytes):
    random_model(1).save_pretrained(tmp_path / "m", shard_bytes=shard_bytes)
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(OSError, match="could not be written.*what was there before") as error:
            model.save_pretrained(tmp_path / "m", shard_bytes=shard_bytes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
