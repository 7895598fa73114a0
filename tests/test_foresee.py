"""The foreseen chain proposes what the chain proposes, in fewer decoder passes, whoever guesses."""

import random

import pytest
import torch
from conftest import drawn_model, random_model

import bltlab
from bltlab import vocab
from bltlab.decoding.foresee import Foresight, foresee
from bltlab.decoding.moves import chain
from bltlab.sampling import Pick
from bltlab.state import DecodingState


def returned(move):
    """What a move returns, and its events."""
    events = []
    while True:
        try:
            events.append(next(move))
        except StopIteration as stop:
            return stop.value, events


def case(seed):
    draw = random.Random(seed)
    model = drawn_model(draw, seed, windows=[5, 12, 40], block_sizes=[2, 4, 8])
    if draw.random() < 0.5:  # some byte that would be written ends the text
        rows = model.decoder.output.weight
        written = bltlab.generate(model, "abc", max_new_bytes=12).bytes
        at = draw.choice(written) + vocab.OFFSET
        rows[vocab.EOS_ID], rows[at] = rows[at].clone(), rows[vocab.EOS_ID].clone()
    return model, draw


@pytest.mark.parametrize("seed", range(60))
def test_it_proposes_what_the_chain_proposes(seed):
    model, draw = case(seed)
    batch = draw.choice([1, 1, 3])
    pick = Pick([0.0, 0.9][seed % 2], seeds=tuple(range(seed, seed + batch)))
    settings = dict(record=draw.choice(["all", "totals", ""]), stop_at_eos=draw.random() < 0.7)
    states = [DecodingState(model, batch, 200, **settings) for _ in range(2)]
    options = dict(
        latent=draw.choice(["closed", "open"]), min_confidence=draw.choice([0.0, 0.0, 0.05, 0.3])
    )
    texts = [
        [1] + [draw.randint(101, 112) for _ in range(draw.randint(0, 20))] for _ in range(batch)
    ]
    for _ in range(4):
        pending = draw.random() < 0.5
        for state in states:
            state.extend(texts, logits=not pending)
        length, before = draw.randint(0, 20), states[1].nfe.decoder
        wanted, _ = returned(chain(states[0], pick, length, **options))
        size = draw.randint(1, model.config.block_size)
        got, _ = returned(foresee(states[1], pick, length, size, **options))
        assert torch.equal(got.ids, wanted.ids) and got.own == wanted.own == 1
        if wanted.probs is not None:
            real = (wanted.ids == vocab.EOS_ID).cumsum(1) <= 1
            difference = (got.probs - wanted.probs).abs() * real
            assert difference.max() < 1e-6 or settings["stop_at_eos"]
        assert states[1].nfe.decoder - before <= wanted.length - (not pending)
        texts = [[draw.randint(101, 112) for _ in range(draw.randint(1, 5))] for _ in range(batch)]


@pytest.mark.parametrize("guess", ["right", "wrong"])
def test_a_perfect_guesser_saves_most_passes_and_a_hopeless_one_costs_none(guess, monkeypatch):
    model = random_model(3)
    pick, plain = Pick(), DecodingState(model, max_length=200)
    plain.extend(vocab.encode("abcabc"))
    wanted, _ = returned(chain(plain, pick, 24))
    text = vocab.encode("abcabc") + wanted.ids[0].tolist()

    def told(logits, positions):
        """What the block should say: the chain's bytes, or never those."""
        known = [text[p] if p < len(text) else 101 for p in positions[0].tolist()]
        return torch.tensor([known if guess == "right" else [i ^ 1 for i in known]])

    def guessed(run, denoised, chosen, original=Foresight._guesses):
        pick, run.pick = run.pick, told
        found = original(run, denoised, chosen)
        run.pick = pick
        return found

    monkeypatch.setattr(Foresight, "_guesses", guessed)
    state = DecodingState(model, max_length=200)
    state.extend(vocab.encode("abcabc"))
    before = state.nfe.decoder
    got, _ = returned(foresee(state, pick, 24, 8))
    assert torch.equal(got.ids, wanted.ids)
    passes = state.nfe.decoder - before
    assert passes == (4 if guess == "right" else 24)
