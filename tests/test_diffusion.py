"""The training forward of BLT-D: blocks see what they may, and the loss is what it says."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import random_ids, random_model

from bltlab import vocab
from bltlab.bench.training_step import decode_blocks_plainly
from bltlab.diffusion import (
    WEIGHTINGS,
    Blocks,
    corrupt,
    decode_blocks,
    diffusion_loss,
    effective_rates,
    lay_out,
    masked_byte_loss,
)


def blocks_of(model, ids, starts="anywhere", seed=0, **kw):
    encoded = model.encode(ids)
    g = torch.Generator().manual_seed(seed)
    return encoded, corrupt(
        *lay_out(encoded, ids, model.config.block_size, starts, g), generator=g, **kw
    )


@pytest.mark.parametrize("starts", ["anywhere", "patches"])
@pytest.mark.parametrize("decoder_input", ["encoder", "embedding"])
@pytest.mark.parametrize(
    "length, window, block_size",
    [
        (50, 12, 8),
        (50, 16, 8),
        (49, 16, 8),
        (48, 16, 4),
        (33, 8, 8),
        (17, 16, 1),
        (16, 16, 4),
        (50, None, 8),
        (50, 6, 3),
        (9, 4, 4),
    ],
)
def test_pieces_of_attention_equal_one_dense_mask(
    starts, decoder_input, length, window, block_size
):
    model = random_model(1, decoder_input=decoder_input, window=window, block_size=block_size)
    ids = torch.stack(
        [
            random_ids(3, length, documents=3),
            random_ids(4, length),
            random_ids(5, length, documents=2),
        ]
    )
    for seed in range(3):
        encoded, blocks = blocks_of(model, ids, starts, seed)
        fast, slow = (
            decode_blocks(model, encoded, blocks),
            decode_blocks_plainly(model, encoded, blocks),
        )
        assert (fast[0] - slow[0]).abs().max() < 1e-12
        assert (fast[1] - slow[1]).abs().max() < 1e-12


def test_clean_logits_do_not_know_about_blocks():
    model, ids = random_model(2), random_ids(4, 40)[None]
    encoded, blocks = blocks_of(model, ids)
    assert (decode_blocks(model, encoded, blocks)[0] - model(ids).logits).abs().max() < 1e-12


def test_a_masked_byte_does_not_leak_into_its_block():
    model, ids = random_model(3), random_ids(5, 40)[None]
    encoded, blocks = blocks_of(model, ids, fully_masked=1.0)
    m = 2
    changed = ids.clone()
    changed[0, blocks.starts[0, m] :] = 150  # everything from the block on is another text
    other = model.encode(changed)
    before, after = decode_blocks(model, encoded, blocks)[1], decode_blocks(model, other, blocks)[1]
    assert (before[0, m] - after[0, m]).abs().max() < 1e-12
    assert (before[0, m + 1] - after[0, m + 1]).abs().max() > 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_packed_documents_equal_documents_alone(seed):
    model = random_model(seed, max_patch_length=None if seed % 2 else 8, bytes_per_patch=1 + seed)
    pieces = [random_ids(10 * seed + i, n) for i, n in enumerate((17, 31, 9))]
    packed = torch.cat(pieces)[None]
    encoded, blocks = blocks_of(model, packed, "anywhere", seed)
    logits, block_logits = decode_blocks(model, encoded, blocks)
    at = 0
    for piece in pieces:
        alone = model(piece[None])
        assert (logits[0, at : at + len(piece)] - alone.logits[0]).abs().max() < 1e-10
        assert (encoded.entropies[0, at : at + len(piece)] - alone.entropies[0]).abs().max() < 1e-10
        inside = ((blocks.starts[0] > at) & (blocks.starts[0] < at + len(piece))).nonzero()[:, 0]
        own = Blocks(
            blocks.starts[:, inside] - at,
            blocks.ids[:, inside],
            blocks.masked[:, inside],
            blocks.t[:, inside],
        )
        assert (
            (own.starts + torch.arange(own.size)[:, None] >= len(piece)).T.eq(own.ids[0] < 0).all()
        )
        expected = decode_blocks(model, model.encode(piece[None]), own)[1]
        assert (block_logits[0, inside] - expected[0]).abs().max() < 1e-10
        at += len(piece)


def test_right_padding_changes_nothing():
    model = random_model(7)
    a, b = random_ids(1, 40), random_ids(2, 23)
    batch = torch.stack([a, F.pad(b, (0, 17), value=vocab.PAD_ID)])
    assert (model(batch).logits[0] - model(a[None]).logits[0]).abs().max() < 1e-10
    assert (model(batch).logits[1, :23] - model(b[None]).logits[0]).abs().max() < 1e-10
    lengths = model(batch).patches.lengths
    assert lengths.sum(1).tolist() == [40, 23]


def test_the_loss_worked_out_by_hand():
    model, ids = random_model(8, block_size=4), random_ids(6, 30)[None]
    loss = diffusion_loss(model, ids, generator=torch.Generator().manual_seed(5), weight=0.5)
    encoded, blocks = blocks_of(model, ids, seed=5)
    clean, hidden = (x.log_softmax(-1) for x in decode_blocks(model, encoded, blocks))
    next_byte = -sum(clean[0, t, ids[0, t + 1]] for t in range(29)) / 29
    total, n = 0.0, 0
    for m in range(blocks.ids.shape[1]):
        for s in range(4):
            target = blocks.ids[0, m, s]
            n += int(target >= 0)
            if blocks.masked[0, m, s]:
                total -= hidden[0, m, s, target] / blocks.t[0, m]
    assert loss.next_byte.item() == pytest.approx(next_byte.item(), abs=1e-12)
    assert loss.masked_byte.item() == pytest.approx((total / n).item(), abs=1e-12)
    assert loss.total.item() == pytest.approx((next_byte + 0.5 * total / n).item(), abs=1e-12)


def test_masking_rates_are_spread_and_clamped():
    starts, ids = torch.arange(1, 401, 8)[None].expand(4, -1), torch.full((4, 50, 8), 80)
    blocks = corrupt(starts, ids, generator=torch.Generator().manual_seed(0))
    assert blocks.t.min() >= 0.05 and blocks.t.mean().item() == pytest.approx(0.5, abs=0.02)
    assert blocks.masked.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert corrupt(starts, ids, 1.0, torch.Generator().manual_seed(0)).masked.all()


def test_one_rate_a_sample_is_shared_by_its_blocks():
    starts, ids = torch.arange(1, 401, 8)[None].expand(64, -1), torch.full((64, 50, 8), 80)
    with pytest.raises(ValueError, match="rates must be one of blocks, samples"):
        corrupt(starts, ids, rates="block")
    blocks = corrupt(starts, ids, 0.0, torch.Generator().manual_seed(0), "samples")
    assert (blocks.t == blocks.t[:, :1]).all()
    assert len(blocks.t[:, 0].unique()) > 60  # low ones are clamped
    hidden = blocks.masked.float().mean((1, 2))
    assert (hidden - blocks.t[:, 0]).abs().max() < 0.12


def test_a_weight_by_the_count_of_masked_bytes_is_the_mean_of_those_by_the_rate():
    """k of 8 masked under a uniform rate: (8 + 1) / k is the mean of 1 / t, by numeric integral."""
    t = torch.linspace(0, 1, 200_001, dtype=torch.float64)[1:]
    for k in range(1, 9):
        likelihood = t**k * (1 - t) ** (8 - k)
        by_rate = (likelihood / t).sum() / likelihood.sum()
        masked = torch.arange(8)[None, None] < k
        blocks = Blocks(torch.ones(1, 1), torch.full((1, 1, 8), 80), masked, torch.ones(1, 1))
        rate = effective_rates(blocks, "inverse_count").item()
        assert 1 / rate == pytest.approx(by_rate.item(), rel=1e-3)


def test_the_loss_falls_on_masked_bytes_alone_whatever_the_weights():
    blocks = Blocks(
        torch.ones(1, 2),
        torch.tensor([[[70, 71, 72, -1], [73, 74, 75, 76]]]),
        torch.tensor([[[True, False, True, False], [False] * 4]]),
        torch.tensor([[0.5, 0.25]]),
    )
    logits = torch.randn(1, 2, 4, vocab.VOCAB_SIZE, generator=torch.Generator().manual_seed(0))
    two = sum(F.cross_entropy(logits[0, 0, i], blocks.ids[0, 0, i]) for i in (0, 2))
    with pytest.raises(ValueError, match="weighting must be one of"):
        masked_byte_loss(logits, blocks, "sum")
    sums = {name: masked_byte_loss(logits, blocks, name).item() for name in WEIGHTINGS}
    wanted = {"inverse_t": 2 * two, "inverse_count": 4 / 2 * two, "mean": two}
    assert sums == pytest.approx({name: x.item() for name, x in wanted.items()}, rel=1e-6)
    decayed = masked_byte_loss(logits, blocks, "mean", slot_decay=0.5).item()
    each = [F.cross_entropy(logits[0, 0, i], blocks.ids[0, 0, i]).item() for i in (0, 2)]
    assert decayed == pytest.approx((each[0] + 0.25 * each[1]) / (1.875 / 4), rel=1e-6)


def test_a_plain_blt_has_no_masked_loss():
    model = random_model(0, block_size=None)
    with pytest.raises(ValueError, match="plain BLT"):
        diffusion_loss(model, random_ids(0, 20)[None])


def test_gradients_reach_every_part_but_the_entropy_model():
    model = random_model(9).requires_grad_(True)
    model.patcher.requires_grad_(False)
    diffusion_loss(
        model, random_ids(6, 40)[None], generator=torch.Generator().manual_seed(0)
    ).total.backward()
    dead = [
        n
        for n, p in model.named_parameters()
        if p.requires_grad
        and (p.grad is None or not math.isfinite(p.grad.sum()) or p.grad.abs().sum() == 0)
    ]
    assert not dead
