"""What is saved comes back, and the entropy model stays wide."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import random_ids, random_model

import bltlab
from bltlab import checkpoints, data, vocab
from bltlab.bench.random_checkpoint import save_random
from bltlab.config import BLTConfig, PatcherConfig
from bltlab.layers import over_text
from bltlab.patching import EntropyModel, entropy


def test_save_and_load_change_no_bit(tmp_path):
    model = random_model(4)
    model.save_pretrained(tmp_path)
    again = bltlab.BLT.from_pretrained(tmp_path, dtype=torch.float64)
    assert again.config == model.config and not again.training
    before, after = model.state_dict(), again.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    ids = random_ids(0, 30)[None]
    assert (again(ids).logits - model(ids).logits).abs().max() < 1e-12
    assert not list(tmp_path.glob(".part*"))


def test_half_precision_on_disk_is_rounded_once(tmp_path):
    model = random_model(4).float()
    model.save_pretrained(tmp_path, torch.float16)
    again = bltlab.BLT.from_pretrained(tmp_path)
    before, after = model.state_dict(), again.state_dict()
    assert list(before) == list(after)
    for name in before:
        assert torch.equal(before[name].half().float(), after[name]), name


def test_a_save_that_fails_leaves_the_model_before_it(tmp_path):
    model = random_model(4)
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        random_model(5).save_pretrained(tmp_path, files=[("README.md", None)])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("layout", ["bltlab", "transformers"])
def test_a_random_checkpoint_is_as_large_as_its_shape_and_loads(tmp_path, layout):
    config = BLTConfig.preset("tiny", block_size=None)
    config = replace(config, doubled_residual=True, decoder_input="encoder")
    shapes = bltlab.BLT.on_meta(config).state_dict()
    disk = save_random(tmp_path, config, shapes, layout, shard_bytes=200_000)
    assert disk == sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert disk > 2 * sum(p.numel() for p in shapes.values())
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    loaded = bltlab.BLT.from_pretrained(tmp_path, dtype=None)
    assert loaded.config == config and loaded.dtype == torch.bfloat16


def test_the_entropy_model_stays_in_fp32_in_a_bf16_model():
    model = random_model(4).float()
    ids = random_ids(0, 30)[None]
    wide = model(ids)
    model.to(torch.bfloat16)
    assert {p.dtype for p in model.patcher.parameters()} == {torch.float32}
    assert {p.dtype for p in model.decoder.parameters()} == {torch.bfloat16}
    narrow = model(ids)
    assert torch.equal(narrow.entropies, wide.entropies) and torch.equal(
        narrow.patches.opens, wide.patches.opens
    )
    assert narrow.logits.dtype == torch.float32
    out = bltlab.generate(model, "abc", "blt-s", max_new_bytes=12)
    assert len(out.bytes) == 12


def test_a_float64_model_cast_to_bf16_has_an_fp32_entropy_model():
    assert random_model(4).to(torch.bfloat16).patcher.output.weight.dtype == torch.float32


def test_a_float64_model_is_float64_everywhere():
    model, ids = random_model(4), random_ids(0, 30)[None]
    out = model(ids)
    assert out.logits.dtype == out.entropies.dtype == out.latents.dtype == torch.float64


def test_names_are_found_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoints.resolve("blt-d-nano") == checkpoints.assets() / "blt-d-nano"
    random_model(0).save_pretrained(tmp_path / "blt-d-nano")
    assert (
        checkpoints.resolve("blt-d-nano") == tmp_path / "blt-d-nano"
    )  # an existing path comes first


@pytest.mark.parametrize("name", checkpoints.shipped())
def test_a_shipped_model_loads_and_has_a_card(name):
    model, folder = bltlab.BLT.from_pretrained(name), checkpoints.assets() / name
    size = name.rpartition("-")[2]
    blocks = int(size) if size.isdigit() else 8
    assert model.config.block_size == (blocks if name.startswith("blt-d-") else None)
    assert model.config.patcher.max_patch_length == 8
    assert (folder / "README.md").read_text().startswith(f"# {name}")


def test_the_shipped_models_are_small():
    assert (
        sum(
            p.stat().st_size
            for name in checkpoints.shipped()
            for p in (checkpoints.assets() / name).iterdir()
        )
        < 110e6
    )


def test_the_shipped_model_writes_words():
    text = next(data.documents("plain-english", "test"))[:2000]
    assert bltlab.score(bltlab.BLT.from_pretrained("blt-d-nano"), text) < 1.65


def test_score_is_the_mean_of_surprises():
    model = random_model(4)
    text = bytes(range(97, 109)) * 40  # longer than one chunk
    bits = surprises(model, text).mean().item()
    assert abs(bltlab.score(model, text, chunk=100) - bits) < 1e-9
    assert bltlab.score(model, [text, text[:9]]) == [
        bltlab.score(model, text),
        bltlab.score(model, text[:9]),
    ]


def surprises(model, text):
    """Bits of each byte after those before it, all read at once."""
    ids = torch.tensor([bltlab.encode(text)])
    log_probs = model(ids[:, :-1]).logits.log_softmax(-1)[0]
    return -log_probs.gather(1, ids[0, 1:, None])[:, 0] / math.log(2)


@pytest.mark.parametrize("length", [511, 512, 513, 894, 895, 896, 2000])
def test_a_text_of_any_length_is_scored_in_windows_that_overlap(length, monkeypatch):
    """Each byte once, from at least a quarter of the longest context, which holds 511 bytes."""
    model, longest = random_model(4), []
    text = bytes(vocab.decode(random_ids(2, length + 1).tolist()))
    bits = list(surprises(model, text[:511]))
    for start in range(384, length - 127, 384):
        bits += surprises(model, text[start : start + 511])[127:]
    assert len(bits) == length
    extend = bltlab.DecodingState.extend
    monkeypatch.setattr(
        bltlab.DecodingState,
        "extend",
        lambda state, ids: longest.append(state.max_length) or extend(state, ids),
    )
    assert abs(bltlab.score(model, text) - sum(bits).item() / length) < 1e-9
    assert max(longest) <= 512


def test_the_entropy_model_reads_512_bytes_and_no_more():
    """Without its window, a released entropy model falls apart past byte 512."""
    config = bltlab.BLTConfig.preset("blt-1b").patcher
    assert config.window == 512
    model = EntropyModel(PatcherConfig(16, 1, 2, 24)).double()  # the default window
    ids = torch.randint(4, 260, (1, 700), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, 50] = 4 + (other[0, 50] - 3) % 256
    before, after = (entropy(patch_logits(model, x))[0] for x in (ids, other))
    changed = (before - after).abs() > 1e-12
    assert changed[50 : 50 + 512].any() and changed.nonzero()[[0, -1], 0].tolist() == [50, 50 + 511]


def patch_logits(model, ids):
    positions = torch.arange(ids.shape[1])[None]
    return model(ids, positions, over_text(torch.zeros_like(ids), model.config.window))
