"""Draws and unmasking rules, on hand-made numbers."""

import math

import pytest
import torch

from bltlab import vocab
from bltlab.sampling import (
    Confidence,
    EntropyBound,
    OneStep,
    Pick,
    TopK,
    allowed_logits,
    format_rule,
    parse_rule,
    uniforms,
)

V = vocab.VOCAB_SIZE


def logits_of(probs):
    """(1, V) logits whose softmax over bytes is `probs` on bytes 0, 1, 2, ..."""
    logits = torch.full((1, V), -1e9, dtype=torch.float64)
    logits[0, 4 : 4 + len(probs)] = torch.tensor(probs, dtype=torch.float64).log()
    return logits


def test_specials_are_never_chosen_and_eos_may_be():
    logits = torch.zeros(1, V)
    logits[0, [0, 1, 3]] = 100.0
    for temperature in (0.0, 1.0):
        chosen = {
            Pick(temperature, seeds=(s,))(logits, torch.tensor([s])).item() for s in range(300)
        }
        assert not chosen & {0, 1, 3}
    logits[0, vocab.EOS_ID] = 50.0
    assert Pick()(logits, torch.tensor([3])).item() == vocab.EOS_ID


def test_positions_may_be_left_out_where_nothing_is_drawn():
    logits = logits_of([0.2, 0.5, 0.3])
    assert Pick()(logits).item() == Pick()(logits, torch.tensor([9])).item() == 5
    for pick in (Pick(1.0), Pick(no_repeat_ngram_bytes=3)):
        with pytest.raises(ValueError, match="needs positions, got none"):
            pick(logits)


def test_the_draw_is_the_inverse_cdf_in_id_order():
    logits = logits_of([0.2, 0.5, 0.3])
    for position in range(200):
        u = uniforms(torch.tensor(7), torch.tensor(position)).item()
        expected = 4 if u < 0.2 else 5 if u < 0.7 else 6
        assert Pick(1.0, seeds=(7,))(logits, torch.tensor([position])).item() == expected


def test_uniforms_are_uniform_and_do_not_repeat():
    u = uniforms(torch.arange(100)[:, None], torch.arange(1000))
    assert u.min() >= 0 and u.max() < 1 and len(u.unique()) == u.numel()
    assert u.mean().item() == pytest.approx(0.5, abs=0.005) and u.var().item() == pytest.approx(
        1 / 12, abs=0.002
    )
    counts = torch.histc(u.float(), 16, 0, 1)
    assert (counts - u.numel() / 16).abs().max() < 5 * math.sqrt(u.numel() / 16)
    neighbours = torch.corrcoef(torch.stack([u[:, :-1].flatten(), u[:, 1:].flatten()]))[0, 1]
    assert neighbours.abs() < 0.01


def test_a_tiny_temperature_is_greedy():
    logits = torch.randn(50, V, generator=torch.Generator().manual_seed(0))
    tiny = Pick(1e-308, seeds=tuple(range(50)))(logits, torch.arange(50))
    assert torch.equal(tiny, Pick()(logits, torch.arange(50)))


def test_temperature_top_k_and_top_p():
    positions = torch.arange(2000)

    def draw(pick):
        return (
            torch.bincount(
                pick(logits_of([0.5, 0.25, 0.15, 0.1]).expand(2000, V), positions) - 4, minlength=4
            )
            / 2000
        )

    seeds = tuple([3] * 2000)
    assert draw(Pick(1.0, seeds=seeds)).tolist() == pytest.approx([0.5, 0.25, 0.15, 0.1], abs=0.04)
    assert draw(Pick(1.0, top_k=2, seeds=seeds)).tolist() == pytest.approx(
        [2 / 3, 1 / 3, 0, 0], abs=0.04
    )
    assert draw(Pick(1.0, top_p=0.6, seeds=seeds)).tolist() == pytest.approx(
        [2 / 3, 1 / 3, 0, 0], abs=0.04
    )
    assert draw(Pick(1.0, top_p=0.5, seeds=seeds)).tolist() == [1, 0, 0, 0]
    of_two = draw(Pick(1.0, top_k=2, top_p=0.6, seeds=seeds))  # 0.6 of what top_k left
    assert of_two.tolist() == [1, 0, 0, 0]
    assert draw(Pick(0.1, seeds=seeds))[0] > 0.97


@pytest.mark.parametrize("kept", [dict(), dict(top_k=2), dict(top_p=0.6)])
def test_some_rows_of_a_batch_draw_as_they_did_in_it(kept):
    pick = Pick(1.0, seeds=tuple(range(50)), **kept)
    logits = logits_of([0.4, 0.3, 0.2, 0.1]).expand(50, V)
    drawn, some = pick(logits, torch.arange(50)), [3, 4, 20, 49, 7]
    assert torch.equal(pick.rows(some)(logits[some], torch.tensor(some)), drawn[some])


@pytest.mark.parametrize(
    "rule",
    [Confidence(0.7), Confidence(1.0), EntropyBound(0.0), EntropyBound(2.0), TopK(2), OneStep()],
)
def test_every_rule_reveals_at_least_one_byte_and_only_masked_ones(rule):
    g = torch.Generator().manual_seed(0)
    for _ in range(50):
        probs = (torch.randn(3, 8, V, generator=g) * torch.rand(1, generator=g) * 8).softmax(-1)
        masked = torch.rand(3, 8, generator=g) < 0.5
        masked[0], masked[1] = False, True
        revealed = rule(probs, masked)
        assert not (revealed & ~masked).any()
        assert revealed.any(1).tolist() == masked.any(1).tolist()


def block(*tops):
    """(1, S, 4) probabilities with these best ones, the rest spread evenly."""
    return torch.tensor([[[p, *[(1 - p) / 3] * 3] for p in tops]], dtype=torch.float64)


def test_rules_by_hand():
    hidden = torch.ones(1, 4, dtype=torch.bool)
    probs = block(0.9, 0.5, 0.7, 0.97)
    assert Confidence(0.7)(probs, hidden).tolist() == [[True, False, False, True]]  # > is strict
    assert Confidence(0.99)(probs, hidden).tolist() == [[False, False, False, True]]
    assert TopK(3)(probs, hidden).tolist() == [[True, False, True, True]]
    nats = [-sum(p * math.log(p) for p in slot) for slot in probs[0].tolist()]
    order = sorted(nats)
    assert EntropyBound(order[0] + order[1] + 1e-9)(probs, hidden).tolist() == [
        [True, False, False, True]
    ]
    assert EntropyBound(order[0] / 2)(probs, hidden).tolist() == [[False, False, False, True]]
    assert EntropyBound(sum(nats) + 1e-9)(probs, hidden).all()


RULES_THAT_TIE = [
    (Confidence(0.9), [0]),  # none is sure: the first of the best
    (Confidence(0.5), []),  # exactly as sure as it must exceed
    (EntropyBound(0.0), [0]),
    (TopK(2), [0, 1]),
]


@pytest.mark.parametrize("rule, slots", RULES_THAT_TIE)
@pytest.mark.parametrize("seed", range(6))
def test_slots_that_only_rounding_parts_go_by_place(rule, slots, seed):
    g = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 5, 4, generator=g, dtype=torch.float64) * 1e-13
    hidden = torch.tensor([[False, True, True, False, True]])
    probs = block(0.97, 0.5, 0.5, 0.5, 0.5) + noise
    chosen = rule(probs, hidden)[0].nonzero()[:, 0].tolist()
    assert chosen == [[1, 2, 4][n] for n in slots or [0]]


def test_entropies_that_just_fit_the_bound_fit_however_they_are_rounded():
    half = torch.tensor([[[0.5, 0.5]] * 3], dtype=torch.float64)
    hidden = torch.ones(1, 3, dtype=torch.bool)
    for bound in (2 * math.log(2) - 1e-14, 2 * math.log(2) + 1e-14):
        assert EntropyBound(bound)(half, hidden).tolist() == [[True, True, False]]


@pytest.mark.parametrize("kept", [dict(), dict(top_k=1), dict(top_p=0.1), dict(top_p=0.4)])
def test_bytes_that_only_rounding_parts_go_by_id(kept):
    """Two twins of 0.4 each: whichever rounding prefers, the lower id is taken."""
    for noise in (-1e-13, 0.0, 1e-13):
        logits = logits_of([0.2, 0.4 + noise, 0.4 - noise]).expand(50, V)
        pick = Pick(1.0 if kept else 0.0, seeds=tuple(range(50)), **kept)
        assert set(pick(logits, torch.arange(50)).tolist()) == {5}


def test_what_would_repeat_is_never_picked():
    logits, at = logits_of([0.5, 0.3, 0.2])[None], torch.tensor([[5]])  # (1, 1, V)
    text = [vocab.BOS_ID, 4, 5, 4, 5]  # behind 4 5: 4 would repeat 5 4, and 4 5 4
    for n, byte in ((2, 5), (3, 5), (4, 4), (0, 4)):
        assert Pick(no_repeat_ngram_bytes=n)(logits, at, [text]).item() == byte, n
    assert Pick(no_repeat_ngram_bytes=1)(logits, at, [text]).item() == 6
    unknown = [vocab.BOS_ID, 4, 5, 4, vocab.MASK_ID]
    assert Pick(no_repeat_ngram_bytes=3)(logits, at, [unknown]).item() == 4
    assert Pick(no_repeat_ngram_bytes=3)(logits, at, [text[:4]]).item() == 4  # a byte is missing
    with pytest.raises(ValueError, match="needs the texts in front"):
        Pick(no_repeat_ngram_bytes=3)(logits, at)


def test_an_end_may_always_be_picked():
    """Where every byte would repeat, the text ends."""
    text = [vocab.BOS_ID, *range(4, V), vocab.EOS_ID]
    at = torch.tensor([[len(text)]])
    logits = torch.zeros(1, 1, V)
    assert Pick(no_repeat_ngram_bytes=1)(logits, at, [text]).item() == vocab.EOS_ID


def test_rules_as_text():
    for rule in (Confidence(0.25), EntropyBound(1.5), TopK(4), OneStep()):
        assert parse_rule(format_rule(rule)) == rule
    for wrong in (
        "confidence:1.5",
        "confidence:x",
        "topk:0",
        "topk:1.5",
        "entropy:-1",
        "onestep:2",
        "best",
        "",
    ):
        with pytest.raises(ValueError, match="confidence:0.7, entropy:0.5, topk:2, onestep"):
            parse_rule(wrong)


def test_bad_settings_name_what_is_accepted():
    for kwargs, words in (
        (dict(temperature=-1), "at least 0"),
        (dict(temperature=float("nan")), "at least 0"),
        (dict(top_k=-1), "at least 0"),
        (dict(top_p=0), "above 0"),
        (dict(top_p=1.5), "at most 1"),
        (dict(no_repeat_ngram_bytes=-1), "an int of at least 0"),
        (dict(no_repeat_ngram_bytes=1.5), "an int of at least 0"),
    ):
        with pytest.raises(ValueError, match=words):
            Pick(**kwargs)


def test_allowed_logits_keep_bytes_and_eos():
    kept = allowed_logits(torch.zeros(V)).isfinite()
    assert kept.sum() == 257 and kept[vocab.EOS_ID] and kept[4:].all()
