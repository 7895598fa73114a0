"""A BLT-D learns blocks from what it writes: right text, right places, exact when resumed."""

from dataclasses import replace

import pytest
import torch
from conftest import random_model
from training_setup import OPTIONS, write_corpus

import bltlab
from bltlab import vocab
from bltlab.diffusion import diffusion_loss, next_byte_loss
from bltlab.patching import Patches
from bltlab.training import train
from bltlab.training.losses import ModelLoss
from bltlab.training.own_text import OwnText, OwnTextLoss, write_own_text

OWN = replace(OPTIONS, own_text=0.02, own_refresh=0.008, sample_every=0, megabytes=None)
OWN = replace(OWN, entropy_megabytes=None)  # that of the model to start from stays


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("text") / "text.jsonl")


@pytest.fixture(scope="module")
def started(corpus, tmp_path_factory):
    """A BLT-D to start from."""
    out = str(tmp_path_factory.mktemp("start"))
    list(train(replace(OPTIONS, text=corpus, out=out, megabytes=0.02)))
    return out


def windows_of(n=6, length=64):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(101, 113, (n, length), generator=generator)
    ids[:, 0] = vocab.BOS_ID
    return ids


@pytest.mark.parametrize("greedy", [1.0, 0.5])
def test_own_text_is_what_the_model_writes_after_its_prompts(greedy):
    model, windows = random_model(3).float(), windows_of()
    windows[2, 20], windows[2, 21] = vocab.EOS_ID, vocab.BOS_ID  # a document ends in the prompt
    texts = write_own_text(model, windows, greedy, seed=5)
    assert texts.ids.shape == windows.shape
    for row, (ids, n) in enumerate(zip(texts.ids, texts.prompts.tolist(), strict=True)):
        begin = 21 if row == 2 and n > 1 else 0
        assert torch.equal(ids[:n], windows[row, begin : begin + n])
        written = vocab.decode(ids[n:].tolist())
        sampled = row >= round(greedy * len(windows))
        alone = bltlab.generate(
            model,
            vocab.decode(ids[:n].tolist()),
            max_new_bytes=64 - n,
            temperature=0.8 if sampled else 0.0,
            seed=5 + row,
        )
        assert written == alone.bytes
        real = int((ids >= 0).sum())
        opens = model.patch(ids[None, :real])[0].next_opens[0]
        assert torch.equal(texts.next_opens[row, : real - 1], opens[: real - 1])


def test_windows_may_be_as_long_as_the_model_s_longest_text():
    model, windows = random_model(3).float(), windows_of(4)
    model.config = replace(model.config, max_length=64)
    texts = write_own_text(model, windows, 1.0, seed=8)
    assert texts.prompts.tolist() == [30, 33, 33, 33]  # 29 bytes, and half a window
    assert ((texts.ids >= 0).sum(1) > texts.prompts).all()


def test_the_masked_loss_falls_past_the_prompt_only_and_the_next_byte_s_on_real_text():
    model = random_model(4).float()
    texts = write_own_text(model, windows_of(8), 1.0, seed=1)
    options = replace(OPTIONS, block_size=8, own_next_weight=0.5).filled()
    losses = OwnTextLoss(model, options)
    losses.texts = texts
    real = windows_of(4)
    opens = model.patch(real)[0].next_opens
    batch = losses.draw(real, opens, torch.Generator().manual_seed(7))
    at = batch.own.blocks.positions[batch.own.blocks.masked]
    assert at.numel() > 0
    chosen = torch.randint(8, (4,), generator=torch.Generator().manual_seed(7))
    for row, prompt in enumerate(texts.prompts[chosen].tolist()):
        places = batch.own.blocks.positions[row][batch.own.blocks.masked[row]]
        assert (places >= prompt).all()
    total, next_byte = losses(batch)
    own = batch.own
    masked = diffusion_loss(
        model,
        own.ids,
        weighting="mean",
        patches=(Patches.from_rule(own.ids, own.next_opens), None),
        blocks=own.blocks,
    ).masked_byte
    wanted = next_byte_loss(model(real).logits, real)
    assert torch.allclose(next_byte, wanted, atol=1e-5)
    assert torch.allclose(total, masked + 0.5 * wanted, atol=1e-5)
    # two shares of the step add up to the step
    parts = [losses(batch.share(slice(n, None, 2), model.device))[0] for n in range(2)]
    assert torch.allclose(sum(parts), total, atol=1e-5)
    assert isinstance(losses, ModelLoss)


@pytest.mark.slow
def test_a_run_on_own_text_learns_refreshes_and_is_exact_when_resumed(started, corpus, tmp_path):
    whole = replace(OWN, text=corpus, start=started, out=str(tmp_path / "whole"))
    reports = list(train(whole))
    assert {report.stage for report in reports} == {"own text"}
    assert reports[-1].train_bits > 0.2  # real text is read on, not a few windows by heart
    assert len(list((tmp_path / "whole").glob("own-*.safetensors"))) == 3
    halves = replace(whole, out=str(tmp_path / "halves"))
    for begin in range(3):
        running = train(halves, resume=begin > 0)
        for _ in range(2):
            next(running, None)
        running.close()
    list(train(halves, resume=True))
    names = [f"{which}/model.safetensors" for which in ("whole", "halves")]
    one, other = ((tmp_path / name).read_bytes() for name in names)
    assert one == other
    model = bltlab.BLT.from_pretrained(tmp_path / "whole", device="cpu")
    assert model.config.block_size == 4


@pytest.mark.slow
def test_own_text_may_follow_the_other_stages(corpus, tmp_path):
    options = replace(OWN, text=corpus, out=str(tmp_path), megabytes=0.01, entropy_megabytes=0.01)
    stages = [report.stage for report in train(options)]
    assert list(dict.fromkeys(stages)) == ["entropy model", "BLT-D", "own text"]
    assert list(train(options, resume=True)) == []


def test_texts_are_saved_whole(tmp_path):
    texts = OwnText(torch.ones(2, 5).long(), torch.ones(2, 5).bool(), torch.tensor([2, 3]))
    texts.save(tmp_path / "t.safetensors")
    again = OwnText.load(tmp_path / "t.safetensors")
    assert torch.equal(again.ids, texts.ids) and torch.equal(again.prompts, texts.prompts)
    assert torch.equal(again.rows(torch.tensor([1])).prompts, torch.tensor([3]))


def test_what_cannot_learn_from_its_own_text_is_refused(started, corpus, tmp_path):
    out = str(tmp_path / "out")
    with pytest.raises(ValueError, match="own_text needs a BLT-D"):
        list(train(replace(OWN, text=corpus, out=out, block_size=0)))
    plain = str(tmp_path / "plain")
    list(train(replace(OPTIONS, text=corpus, out=plain, block_size=0, megabytes=0.005)))
    with pytest.raises(ValueError, match="is a plain BLT.*own_text"):
        list(train(replace(OWN, text=corpus, out=out, start=plain, megabytes=0.0)))
    list(train(replace(OWN, text=corpus, out=out, start=started, own_text=0.004)))
    with pytest.raises(ValueError, match="own_greedy was 1.0 in the saved run"):
        changed = replace(OWN, text=corpus, out=out, start=started, own_text=0.004, own_greedy=0.5)
        list(train(changed, resume=True))
