"""Costs as plain numbers: published counts give the published traffic, our formulas are right."""

from dataclasses import replace

import pytest
import torch
from conftest import random_ids, random_model
from torch.utils.flop_counter import FlopCounterMode

import bltlab
from bltlab.costs import (
    NFE,
    PUBLISHED,
    cache_bytes_per_byte,
    causal_pairs,
    paper_gb,
    project,
    training_flops,
)
from bltlab.diffusion import diffusion_loss, next_byte_loss

# Fast BLT, French to English: shape, method, decoder and global evaluations, gigabytes and saving
# in % as published.
ROWS = [
    ("3B", "BLT", 512, 308, 1920.99, None),
    ("3B", "BLT-S k=4", 534, 215, 1395.99, 27.33),
    ("3B", "BLT-S k=8", 580, 130, 928.73, 51.65),
    ("3B", "BLT-S k=16", 724, 87, 727.17, 62.15),
    ("3B", "BLT-D-4", 216, 128, 797.58, 58.48),
    ("3B", "BLT-D-8", 179, 64, 421.51, 78.06),
    ("3B", "BLT-D-16", 162, 32, 233.87, 87.83),
    ("3B", "BLT-DV-8", 251, 126, 802.07, 58.25),
    ("1B", "BLT", 512, 250, 815, None),
    ("1B", "BLT-S k=8", 558, 125, 504, None),
    ("1B", "BLT-D-16", 100, 32, 115.3, None),
]


@pytest.mark.parametrize("shape, method, decoder, global_, published, saving", ROWS)
def test_published_counts_give_the_published_traffic(
    shape, method, decoder, global_, published, saving
):
    # The encoder's and the patcher's calls are not in the paper's sum.
    nfe = NFE(decoder=decoder, global_=global_, encoder=9999, patcher=9999)
    assert paper_gb(nfe, PUBLISHED[shape]) == pytest.approx(published, rel=0.01)
    assert project(nfe, shape) == paper_gb(nfe, PUBLISHED[shape])
    if saving:
        base = paper_gb(NFE(decoder=512, global_=308), PUBLISHED[shape])
        assert 100 * (1 - project(nfe, shape) / base) == pytest.approx(saving, rel=0.01)


def test_a_trace_and_its_totals_project_like_their_counts():
    trace = bltlab.generate(random_model(0), "abcabc", "blt-s", max_new_bytes=20).trace
    assert (
        project(trace, "3B") == project(trace.totals, "3B") == project(trace.totals.nfe, "3B") > 0
    )
    with pytest.raises(ValueError, match="1B, 3B, got '7B'"):
        project(trace, "7B")


@pytest.mark.parametrize("n, window", [(1, None), (9, None), (9, 4), (9, 9), (9, 20), (4, 1)])
def test_causal_pairs_are_those_of_the_mask(n, window):
    t = torch.arange(n)
    assert causal_pairs(n, window) == int(bltlab.layers.causal(t[:, None], t, window).sum())


@pytest.mark.parametrize(
    "changes",
    [dict(), dict(keys_per_patch=4, global_dim=96), dict(n_encoder=2, decoder_input="embedding")],
)
def test_a_state_keeps_as_many_bytes_as_the_formula_says(changes):
    model, ids = random_model(1, **changes), random_ids(2, 80)
    state = bltlab.DecodingState(model)
    state.extend(ids[None])
    (kept,) = state.snapshot()
    tensors = [kept["states"], kept["latents"], *(x for part in kept["kv"].values() for x in part)]
    keys = kept["keys"] if isinstance(kept["keys"], list) else [kept["keys"]]
    bytes_per_patch = len(ids) / state.rows[0].closed
    formula = cache_bytes_per_byte(model.config, bytes_per_patch, width=8, patcher_width=8)
    assert sum(x.nbytes for x in [*tensors, *keys]) == pytest.approx(80 * formula, rel=1e-12)


def test_bytes_read_are_those_of_the_slots_in_sight():
    """Two rows, byte by byte: a window of slots in three parts, one latent's keys, and in rows that
    close a patch the latents so far.
    """
    model = random_model(3, bytes_per_patch=3)
    config, state = model.config, bltlab.DecodingState(model, 2)
    slot = {
        name: 8 * 2 * stack.n_layers * stack.dim
        for name in ("patcher", "encoder", "global_", "decoder")
        for stack in [getattr(config, name)]
    }
    keys = 8 * 2 * config.decoder.n_layers * config.keys_per_patch * config.decoder.dim
    closing = set()
    for t, bytes_ in enumerate(torch.stack([random_ids(7, 30), random_ids(8, 30)], 1).tolist()):
        before, closed = state.stamp(), [row.closed for row in state.rows]
        state.extend([[i] for i in bytes_])
        seen = min(t + 1, config.patcher.window)  # all three have the same
        expected = 2 * (keys + seen * (slot["patcher"] + slot["encoder"] + slot["decoder"]))
        now = [r.closed for r, was in zip(state.rows, closed, strict=True) if r.closed > was]
        expected += slot["global_"] * len(now) * max(now, default=0)
        assert state.stamp()["cache_bytes"] - before["cache_bytes"] == expected
        closing.add(len(now))
    assert closing == {0, 1, 2}


@pytest.mark.parametrize("method", bltlab.decoding.METHODS)
def test_weights_read_are_those_of_the_passes(method):
    model = random_model(5)
    end = bltlab.generate(model, ["abcabc", "k"], method, max_new_bytes=20)[0].trace.events[-1]
    weights, nfe = model.weight_bytes(), end.nfe
    latents = weights["pool"] + weights["global_"] + weights["keys"]
    assert end.weight_bytes == (
        nfe.patcher * weights["patcher"]
        + nfe.encoder * weights["encoder"]
        + nfe.global_ * latents
        + nfe.decoder * weights["decoder"]
    )


@pytest.mark.parametrize("with_blocks", [False, True])
def test_training_arithmetic_is_near_what_torch_counts(with_blocks):
    config = bltlab.BLTConfig.preset("tiny")
    config = replace(config, patcher=replace(config.patcher, rule="stride", max_patch_length=4))
    model = bltlab.BLT(config).initialise(0)
    model.patcher.requires_grad_(False)
    ids = random_ids(0, 256)[None]
    patches = model.patch(ids)
    with FlopCounterMode(display=False) as counter:
        if with_blocks:
            loss = diffusion_loss(model, ids, patches=patches).total
        else:
            loss = next_byte_loss(model.decode(model.encode(ids, patches)), ids)
        loss.backward()
    flops = training_flops(
        model.config, model.parameter_counts(), 256, patches[0].count, 256 if with_blocks else 0, 8
    )
    assert flops == pytest.approx(counter.get_total_flops(), rel=0.12)
