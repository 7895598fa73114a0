"""Patch rules: the known ones by hand, a rule of the user's own, and names that are not known."""

import json

import pytest
import torch
from conftest import random_ids, random_model

import bltlab
from bltlab import diffusion, layers, patching, vocab
from bltlab.config import PatcherConfig
from bltlab.layers import (
    over_text,
    pool_by_segments,
    pool_in_one_kernel,
    read_by_products,
    read_in_one_kernel,
)

TEXT = b"a house to inherit, and to live in"


def after_vowels(config, ids, entropies):
    """A rule as a user writes it: a patch opens after each vowel."""
    return torch.isin(ids, torch.tensor(vocab.encode("aeiou", bos=False), device=ids.device))


def cut_after(text, these, limit):
    """The patches of a text by a slow loop: cut after each of `these` bytes, and after `limit`."""
    patches = [b""]
    for byte in text:
        patches[-1] += bytes([byte])
        if byte in these or len(patches[-1]) == limit:
            patches.append(b"")
    return [patch for patch in patches if patch]


@pytest.fixture
def vowels(monkeypatch):
    """A model that patches by the user's rule, which is registered from outside."""
    monkeypatch.setitem(patching.PATCH_RULES, "vowels", after_vowels)
    return random_model(3, rule="vowels", max_patch_length=4)


@pytest.mark.parametrize("length", [50, 4095, 4096, 4097, 9000])
def test_a_text_read_in_pieces_has_the_entropies_and_patches_of_the_whole(length):
    model = random_model(5)
    ids = torch.stack([random_ids(seed, length, documents=3) for seed in range(2)])
    ids[1, length - 7 :] = vocab.PAD_ID
    known, document = ids.clamp_min(0), (ids == vocab.BOS_ID).cumsum(1)
    positions = torch.arange(length).expand_as(ids)
    attend = over_text(document, model.config.patcher.window)
    whole = patching.entropy(model.patcher(known, positions, attend))
    patches, entropies = model.patch(ids)
    assert torch.equal(entropies, whole)
    start = torch.zeros(2, dtype=torch.long)
    by_rule = patching.opens_by_rule(model.config.patcher, ids, whole)
    opens = patching.next_opens(by_rule, positions, start, model.config.patcher.max_patch_length)
    assert torch.equal(patches.next_opens, opens)


def test_a_text_without_a_window_is_one_piece():
    model = random_model(5, window=None)
    ids = random_ids(0, 5000)[None]
    attend = over_text(torch.ones_like(ids))
    whole = patching.entropy(model.patcher(ids, torch.arange(5000)[None], attend))
    assert torch.equal(model.patch(ids)[1], whole)


def test_a_long_text_is_patched_in_memory_for_a_piece(monkeypatch):
    model, seen = random_model(5), []
    forward = patching.EntropyModel.forward

    def spy(patcher, ids, positions, attend):
        seen.append(ids.shape[1])
        return forward(patcher, ids, positions, attend)

    monkeypatch.setattr(patching.EntropyModel, "forward", spy)
    text = vocab.decode(random_ids(1, 50_001).tolist())
    patches = bltlab.patchify(model, text)
    assert b"".join(patches) == text and sum(seen) == len(text) + 1
    assert max(seen) < 2 * (4096 + model.config.patcher.window)


@pytest.mark.parametrize("limit", [None, 3])
def test_spaces_cut_after_what_is_no_letter_or_digit(limit):
    text = "one, two; né 3x".encode()
    model = random_model(0, rule="space", max_patch_length=limit)
    assert list(bltlab.patchify(model, text)) == cut_after(text, b" ,;", limit)


def test_a_stride_cuts_everywhere_alike():
    model = random_model(0, rule="stride", max_patch_length=5)
    assert list(bltlab.patchify(model, TEXT)) == cut_after(TEXT, b"", 5)


def test_a_rule_of_your_own_is_called_as_it_says(vowels, monkeypatch):
    seen = []

    def spy(config, ids, entropies):
        seen.append((config, ids.shape, entropies.shape))
        return after_vowels(config, ids, entropies)

    monkeypatch.setitem(patching.PATCH_RULES, "vowels", spy)
    vowels.patch(random_ids(0, 20)[None].expand(2, -1))
    assert seen == [(vowels.config.patcher, (2, 20), (2, 20))]


def test_a_rule_of_your_own_patches_alike_in_training_and_in_looking(vowels):
    by_hand = cut_after(TEXT, b"aeiou", 4)
    assert list(bltlab.patchify(vowels, TEXT)) == by_hand
    ids = torch.tensor([vocab.encode(TEXT)])
    assert vowels(ids).patches.lengths[0].tolist() == [1, *map(len, by_hand)]
    generator = torch.Generator().manual_seed(0)
    vowels.requires_grad_(True)
    diffusion.diffusion_loss(vowels, ids, generator=generator).total.backward()
    assert vowels.decoder.output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_a_rule_of_your_own_patches_alike_in_decoding(vowels, chunk):
    ids = vocab.encode(TEXT)
    state, logits = bltlab.DecodingState(vowels), []
    for at in range(0, len(ids), chunk):
        logits.append(state.extend(ids[at : at + chunk]))
    whole = vowels(torch.tensor([ids]))
    assert state.rows[0].opens[:-1] == whole.patches.opens[0].tolist()
    assert state.rows[0].opens[-1] == whole.patches.next_opens[0, -1].item()
    assert (torch.cat(logits, 1) - whole.logits).abs().max() < 1e-9


def test_what_is_written_is_patched_by_the_rule_of_your_own(vowels):
    out = bltlab.generate(vowels, TEXT, "ar", max_new_bytes=30)
    by_hand = cut_after(TEXT + out.bytes, b"aeiou", 4)
    assert list(bltlab.patchify(vowels, TEXT + out.bytes)) == by_hand
    flags = [event.opens for event in out.trace.events if hasattr(event, "opens")]
    opened = [flag for event_flags in flags for flag in event_flags]
    starts = [at for at, flag in enumerate(opened) if flag]
    assert [end - start for start, end in zip(starts[1:], starts[2:], strict=False)] == [
        len(patch) for patch in by_hand[: len(starts) - 2]
    ]


def test_a_rule_of_your_own_is_saved_and_loaded(vowels, tmp_path):
    vowels.save_pretrained(tmp_path)
    loaded = bltlab.BLT.from_pretrained(tmp_path)
    assert loaded.config == vowels.config
    assert list(bltlab.patchify(loaded, TEXT)) == cut_after(TEXT, b"aeiou", 4)


def test_a_rule_that_is_not_known_is_refused_with_those_that_are(tmp_path):
    config = PatcherConfig(16, 1, 2, 24, rule="commas")
    with pytest.raises(
        ValueError, match="rule must be one of entropy, stride, space, got 'commas'"
    ):
        patching.EntropyModel(config)
    random_model(0).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    data = json.loads(path.read_text())
    data["patcher"]["rule"] = "commas"
    path.write_text(json.dumps(data))
    with pytest.raises(
        ValueError, match="config.json: rule must be one of .* got 'commas'"
    ) as error:
        bltlab.BLT.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


def test_whole_texts_are_pooled_by_segments_also_where_torch_compiles(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(layers, "pool_in_one_kernel", None)
    states = random_model(1).encode(random_ids(1, layers.FEW + 1)[None]).states
    assert states.isfinite().all()


def test_cross_attention_in_one_kernel_equals_plain_products():
    g = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 2, 2, 4), (2, 7, 2, 2, 4), (2, 7, 3, 2, 2, 4), (2, 7, 2, 4))
    q, keys, of_patches, x = (
        torch.randn(shape, dtype=torch.float64, generator=g, requires_grad=True) for shape in shapes
    )
    patch = torch.tensor([[0, 0, 1, 2, 2, 2, 2], [0, 0, 0, 1, 3, 3, 3]])  # in row 1 2 is empty
    real = torch.tensor([[True] * 3, [True, True, False]])
    pooled = [pool(q, keys, patch) for pool in (pool_in_one_kernel, pool_by_segments)]
    assert all(each.isfinite().all() for each in pooled)
    alone = (q[1, 0, 1, 0] @ keys[1, :3, 0, 0].T / 2).softmax(0) @ keys[1, :3, 1, 0]
    assert torch.allclose(pooled[0][1, 0, 1, 0], alone)
    read = [way(x, of_patches) for way in (read_in_one_kernel, read_by_products)]
    shared = [way(x, of_patches[:, :1]) for way in (read_in_one_kernel, read_by_products)]
    for one, other in ([each[real] for each in pooled], read, shared):
        assert torch.allclose(one, other, atol=1e-12)
        slopes = [
            torch.autograd.grad(each.square().sum(), (q, keys, of_patches, x), allow_unused=True)
            for each in (one, other)
        ]
        for a, b in zip(*slopes, strict=True):
            assert a is b is None or torch.allclose(a, b, atol=1e-12)
