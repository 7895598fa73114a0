"""Speculation changes nothing but cost, a budget only cuts, a row does not know its batch (laws 5,
6, 8, 9).
"""

import random
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from conftest import drawn_model, random_model

import bltlab
from bltlab import vocab
from bltlab.decoding import METHODS, Method, accepted_length, moves
from bltlab.decoding.moves import Proposal, ahead, chain, verify
from bltlab.sampling import Confidence, EntropyBound, OneStep, Pick, TopK, beliefs
from bltlab.state import DecodingState
from bltlab.trace import Committed, Drafted, Finished, Prefilled, Trace, Unmasked, Verified

RULES = (
    Confidence(0.7),
    Confidence(0.02),
    EntropyBound(3.0),
    EntropyBound(0.0),
    TopK(1),
    TopK(3),
    OneStep(),
)


def case(seed):
    """A random model, prompt and settings; in half of the cases EOS takes the place of a byte that
    would be written.
    """
    draw = random.Random(seed)
    model = drawn_model(draw, seed, windows=[5, 12, 40], block_sizes=[1, 4, 8])
    prompt = bytes(draw.randint(97, 108) for _ in range(draw.randint(0, 20)))
    settings = dict(
        max_new_bytes=draw.randint(1, 40),
        temperature=[0.0, 0.9][seed % 2],
        seed=draw.randint(0, 10**12),
    )
    if draw.random() < 0.3:
        settings["top_k"] = draw.randint(1, 40)
    if draw.random() < 0.3:
        settings["top_p"] = draw.choice([0.3, 0.9])
    if draw.random() < 0.5:
        written = bltlab.generate(model, prompt, **settings).bytes
        chosen = draw.choice(written)
        rows = model.decoder.output.weight
        rows[vocab.EOS_ID], rows[chosen + vocab.OFFSET] = (
            rows[chosen + vocab.OFFSET].clone(),
            rows[vocab.EOS_ID].clone(),
        )
    return model, prompt, settings, draw


def methods(model, draw):
    """Every method, with options of all kinds."""
    k, rule = draw.randint(1, 9), draw.choice(RULES)
    latent = draw.choice(["closed", "open"])
    return [
        bltlab.Autoregressive(),
        bltlab.SelfSpeculation(k, latent, min_confidence=draw.choice([0.0, 0.2])),
        bltlab.BlockDiffusion(unmasking=rule, latent=latent),
        bltlab.DiffusionVerification(unmasking=rule, latent=latent),
        bltlab.DiffusionVerification(unmasking=draw.choice(RULES), own_byte="none", latent=latent),
    ]


@pytest.mark.parametrize("seed", range(200))
def test_6_speculation_changes_nothing_but_cost(seed):
    model, prompt, settings, draw = case(seed)
    ar, s, _, dv, dv_none = (
        bltlab.generate(model, prompt, m, **settings) for m in methods(model, draw)
    )
    for other in (s, dv, dv_none):
        assert other.bytes == ar.bytes and other.stopped == ar.stopped, other.trace.method


@pytest.mark.parametrize("seed", range(10))
def test_6_bytes_that_are_read_before_anybody_looks_at_them_change_nothing(seed, monkeypatch):
    """As on a device, where a look waits: an EOS is then read before it is seen, and taken back."""
    model, prompt, settings, draw = case(seed)
    prompts = [prompt, prompt + b"abc", b""][: draw.choice([1, 3])]
    chosen = draw.sample([*methods(model, draw), "blt-f", "blt-fv"], 3)
    record = draw.choice([True, "totals", False])
    wanted = [bltlab.generate(model, prompts, m, **settings, record=False) for m in chosen]
    monkeypatch.setattr(DecodingState, "waits", True)
    for method, texts in zip(chosen, wanted, strict=True):
        others = bltlab.generate(model, prompts, method, **settings, record=record)
        assert [(o.bytes, o.stopped) for o in others] == [(o.bytes, o.stopped) for o in texts]


@pytest.mark.slow  # 40 random cases
def test_the_cases_above_end_in_every_way_and_reject_as_well_as_accept():
    ends, agreed, guessed = set(), 0, 0
    for seed in range(40):
        model, prompt, settings, draw = case(seed)
        out = bltlab.generate(model, prompt, methods(model, draw)[1], **settings)
        ends.add(out.stopped)
        agreed += sum(e.accepted for e in out.trace.events if isinstance(e, Verified))
        guessed += sum(len(e.drafted) for e in out.trace.events if isinstance(e, Verified))
    assert ends == {"eos", "budget"} and 0.1 < agreed / guessed < 0.9


@pytest.mark.parametrize("seed", range(24))
def test_8_self_speculation_never_needs_more_global_passes(seed):
    model, prompt, settings, draw = case(seed)
    ar = bltlab.generate(model, prompt, **settings).trace.totals
    s = bltlab.generate(
        model, prompt, bltlab.SelfSpeculation(draw.randint(1, 12)), **settings
    ).trace.totals
    assert s.nfe.global_ <= ar.nfe.global_ + 1  # one more at the end of the budget


@pytest.mark.parametrize("seed", range(24))
def test_9_a_smaller_budget_is_a_prefix(seed):
    model, prompt, settings, draw = case(seed)
    for method in methods(model, draw):
        most = bltlab.generate(model, prompt, method, **settings).bytes
        for n in (0, draw.randint(0, settings["max_new_bytes"])):
            less = bltlab.generate(model, prompt, method, **settings | {"max_new_bytes": n})
            assert less.bytes == most[:n]
            assert less.trace.totals.new_bytes == len(less.bytes) <= n


@pytest.mark.parametrize("seed", range(24))
def test_5_a_batch_writes_what_each_prompt_writes_alone(seed):
    model, prompt, settings, draw = case(seed)
    prompts = [prompt] + [
        bytes(draw.randint(97, 108) for _ in range(draw.randint(0, 20))) for _ in range(3)
    ]
    settings["seed"] = [settings["seed"] + i for i in range(4)]
    for method in methods(model, draw):
        batch = bltlab.generate(model, prompts, method, **settings)
        for text, seed_, row in zip(prompts, settings["seed"], batch, strict=True):
            alone = bltlab.generate(model, text, method, **settings | {"seed": seed_})
            assert row.bytes == alone.bytes and row.stopped == alone.stopped

            def kinds(trace):
                return [(type(e).__name__, e.position) for e in trace.events]

            if not getattr(
                method, "min_confidence", 0
            ):  # rows draft together, on while one of them is sure
                assert kinds(row.trace) == kinds(alone.trace)


@pytest.mark.parametrize("proposer", ["random", "perfect", "constant"])
@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("seed", range(12))
def test_verification_is_exact_for_any_proposer(seed, own, proposer):
    model, prompt, settings, draw = case(seed)
    budget = 30
    pick = Pick(settings["temperature"], seeds=(settings["seed"],))
    wanted = bltlab.generate(
        model,
        prompt,
        max_new_bytes=budget + 10,
        temperature=settings["temperature"],
        seed=settings["seed"],
    )
    ids = vocab.encode(prompt + wanted.bytes) + [vocab.EOS_ID] * 50
    state = DecodingState(model, max_length=200)
    state.extend(vocab.encode(prompt))
    rounds = 0
    while state.length < len(prompt) + 1 + min(budget, len(wanted.bytes)):
        n = draw.randint(1, 6)
        at, first = state.length + own, []
        if own:
            first = [pick(state.logits[:, None], ahead(state, 0, 1))[0, 0].item()]
        match proposer:
            case "random":
                guesses = [draw.randint(101, 112) for _ in range(n)]
            case "perfect":
                guesses = ids[at : at + n]
            case "constant":
                guesses = [101] * n
        tensor = torch.tensor([first + guesses])
        events = list(verify(state, pick, Proposal(tensor, torch.ones(tensor.shape), own)))
        checked, committed = events
        assert isinstance(checked, Verified) and isinstance(committed, Committed)
        assert committed.ids == tuple(state.rows[0].ids[committed.position :])
        if proposer == "perfect" and vocab.EOS_ID not in ids[: at + n + 1]:
            assert checked.accepted == n and checked.replacement is None
        rounds += 1
    known = state.rows[0].ids
    upto = min(len(known), len(prompt) + 1 + len(wanted.bytes))
    assert known[:upto] == ids[:upto]


def constant_guesses(state, pick, n, after):
    ids = torch.full((state.batch_size, n), 103)
    return moves.propose(state, ids, after=after)


def random_guesses(state, pick, n, after):
    ids = torch.randint(101, 113, (state.batch_size, n), generator=torch.Generator().manual_seed(n))
    return moves.propose(state, ids, torch.full((state.batch_size, n), 0.5), after=after)


def composed(draw, model):
    """A random line of proposing moves, 0 to 9 bytes each, as a function of a state and a pick."""
    kinds = draw.choices(["chain", "unmask", "constant", "random"], k=draw.randint(1, 3))
    lengths, latent = [draw.randint(0, 9) for _ in kinds], draw.choice(["closed", "open"])
    rule, begins_own = draw.choice(RULES), draw.random() < 0.7

    def proposing(state, pick):
        proposed = (
            (yield from chain(state, pick, draw.randint(0, 4), latent)) if begins_own else None
        )
        for kind, n in zip(kinds, lengths, strict=True):
            match kind:
                case "chain" if proposed is not None:
                    proposed = yield from chain(state, pick, n, latent, after=proposed)
                case "unmask":
                    proposed = yield from moves.unmask(state, pick, rule, n, proposed, latent)
                case "constant" | "random" if n:
                    propose = constant_guesses if kind == "constant" else random_guesses
                    proposed = yield from propose(state, pick, n, proposed)
        if proposed is None or not proposed.length:
            proposed = yield from chain(state, pick)
        yield from verify(state, pick, proposed)

    return proposing


@dataclass(frozen=True)
class Composed(Method):
    """A method whose rounds are made by a function, another one each time."""

    name: ClassVar[str] = "composed"
    make: ClassVar = None

    def round(self, state, pick):
        yield from type(self).make(state, pick)

    @property
    def lookahead(self):
        return 5 + 3 * 9 + 1


@pytest.mark.parametrize("seed", range(60))
def test_6_whatever_moves_propose_verify_writes_the_bytes_of_autoregression(seed, monkeypatch):
    model, prompt, settings, draw = case(seed)
    rounds = [composed(draw, model) for _ in range(7)]
    monkeypatch.setattr(
        Composed, "make", staticmethod(lambda state, pick: draw.choice(rounds)(state, pick))
    )
    prompts = [prompt, prompt + b"abc", b"", b"lkj" * 3][: draw.choice([1, 2, 4])]
    record = draw.choice([True, "totals", False])
    wanted = bltlab.generate(model, prompts, **settings)
    got = bltlab.generate(model, prompts, Composed(), **settings, record=record)
    for one, other in zip(wanted, got, strict=True):
        assert one.bytes == other.bytes and one.stopped == other.stopped
        assert Trace.from_json(other.trace.to_json()).bytes == other.bytes


def test_a_wrong_count_of_own_bytes_is_what_the_law_above_catches():
    """The fault that it was written for: guesses of a chain passed off as the model's own."""
    model, pick, wrong = random_model(4), Pick(), 0
    for prompt in (b"abc", b"hgf", b"lkjlkj"):
        state = DecodingState(model, max_length=100)
        state.extend(vocab.encode(prompt))
        proposed = yield_from(chain(state, pick, 6))
        list(verify(state, pick, Proposal(proposed.ids, None, own=7)))
        written = vocab.decode(state.rows[0].ids[len(prompt) + 1 :])
        wrong += written != bltlab.generate(model, prompt, max_new_bytes=len(written)).bytes
    assert wrong


@pytest.mark.parametrize("latent", ["closed", "open"])
def test_both_forms_of_blt_dv_take_two_decoder_passes_a_round(latent):
    model = random_model(5, bytes_per_patch=3)
    for own_byte, encoder in (("before", 1), ("none", 2)):
        method = bltlab.DiffusionVerification(own_byte=own_byte, latent=latent)
        totals = bltlab.generate(model, "abc", method, max_new_bytes=48).trace.totals
        assert totals.nfe.decoder == 2 * totals.rounds
        if latent == "closed":
            assert totals.nfe.patcher == encoder * totals.rounds


def test_methods_may_take_turns_with_bytes_left_pending():
    """The paper's form leaves a byte to the next decoder pass, and that may be a chain's."""
    model = random_model(6, bytes_per_patch=2)
    none = bltlab.DiffusionVerification(own_byte="none").fit(model)
    turns = [none, bltlab.Autoregressive(), none, bltlab.SelfSpeculation(3)]
    wanted = bltlab.generate(model, "abc", max_new_bytes=60).bytes
    pick, state = Pick(), DecodingState(model, max_length=120)
    state.extend(vocab.encode("abc"))
    for n in range(30):
        for _ in turns[n % 4].round(state, pick):
            pass
    written = vocab.decode(state.rows[0].ids[4:])
    assert len(written) > 30 and written[:60] == wanted[: len(written)]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_run_for_what_comes_after_the_end(seed, batch):
    """No guess behind an EOS is drafted, held against the model or taken into the state."""
    model, prompt, settings, draw = case(seed)
    settings = settings | {"max_new_bytes": 40}
    for method in methods(model, draw):
        out = bltlab.generate(model, [prompt] * batch, method, **settings)[0]
        if out.stopped != "eos":
            continue
        events = bltlab.stream(model, [prompt] * batch, method, **settings)
        for _ in events:
            pass
        assert events.state.lengths[0] == 1 + len(prompt) + len(out.bytes)
        for event in out.trace.events:
            told = {Verified: "drafted", Unmasked: "block"}.get(type(event))
            if told and vocab.EOS_ID in (ids := getattr(event, told)):
                after = ids[ids.index(vocab.EOS_ID) + 1 :]
                assert isinstance(event, Unmasked) or not after
        if isinstance(method, bltlab.Autoregressive):
            assert out.trace.totals.nfe.decoder == len(out.bytes)


def test_an_own_byte_that_ends_the_text_costs_no_pass():
    wanted = bltlab.generate(random_model(11), "abc", max_new_bytes=30).bytes
    model = random_model(11)
    rows, at = model.decoder.output.weight, wanted[10] + vocab.OFFSET
    rows[vocab.EOS_ID], rows[at] = rows[at].clone(), rows[vocab.EOS_ID].clone()
    for method in ("ar", "blt-s", "blt-dv"):
        trace = bltlab.generate(model, "abc", method, max_new_bytes=30).trace
        text = [e for e in trace.events if isinstance(e, Committed)][-1]
        end = trace.events[-1]
        own = [e for e in trace.events if isinstance(e, Drafted) and e.id == vocab.EOS_ID]
        if own and own[-1].position == text.position + len(text.ids):
            assert end.nfe == own[-1].nfe, method


def test_a_chain_of_one_is_autoregression():
    model, prompt, settings, _ = case(2)
    pick = Pick(seeds=(0,))
    a, b = DecodingState(model, max_length=100), DecodingState(model, max_length=100)
    for state in (a, b):
        state.extend(vocab.encode(prompt))
    for _ in range(20):
        for _ in bltlab.Autoregressive().round(a, pick):
            pass
        proposed = yield_from(chain(b, pick, 0))
        list(verify(b, pick, proposed))
    assert a.rows[0].ids == b.rows[0].ids and a.nfe == b.nfe


def yield_from(moves):
    """What a move returns, its events thrown away."""
    while True:
        try:
            next(moves)
        except StopIteration as stop:
            return stop.value


def told_by(move):
    """(what a move returns, its events)."""
    events = []
    while True:
        try:
            events.append(next(move))
        except StopIteration as stop:
            return stop.value, events


def guess(pick, logits, position):
    """A byte from logits (1, V) as it is picked at a position, and how probable it is."""
    byte = pick(logits[:, None], torch.tensor([[position]])).item()
    return byte, beliefs(logits)[0, byte].item()


@pytest.mark.parametrize("latent", ["closed", "open"])
@pytest.mark.parametrize("seed", range(8))
def test_a_chain_behind_a_chain_is_one_chain_of_single_drafts(seed, latent):
    """Each byte on the latent that was asked for, its draw at its own position, and so told."""
    model, prompt, settings, draw = case(seed)
    pick = Pick(0.9, seeds=(settings["seed"],))
    states = [DecodingState(model, max_length=100) for _ in range(3)]
    for state in states:
        state.extend(vocab.encode(prompt))
    twin, ids, probs, k = states[0], [], [], draw.randint(1, 5)
    for n in range(k + 4):
        logits = twin.draft(ids[-1], latent) if ids else twin.logits
        byte, prob = guess(pick, logits, twin.length + n)
        ids, probs = [*ids, byte], [*probs, prob]
    whole, told = told_by(chain(states[1], pick, k + 3, latent))
    first, told_first = told_by(chain(states[2], pick, k, latent))
    joined, told_then = told_by(chain(states[2], pick, 3, latent, after=first))
    for proposal, events in ((whole, told), (joined, told_first + told_then)):
        assert proposal.ids.tolist() == [ids] and proposal.own == 1
        assert proposal.probs[0].tolist() == pytest.approx(probs)
        assert [e.position for e in events] == [twin.length + n for n in range(k + 4)]
        assert [e.id for e in events] == ids
        assert [e.prob for e in events] == pytest.approx(probs)
        for event in events:
            best = [p for _, p in event.candidates]
            assert best == sorted(best, reverse=True) and event.prob <= best[0]


@pytest.mark.parametrize("latent", ["closed", "open"])
@pytest.mark.parametrize("rule", [Confidence(0.05), TopK(1), TopK(3), OneStep()])
@pytest.mark.parametrize("seed", range(4))
def test_a_block_is_filled_as_its_steps_done_by_hand(seed, rule, latent):
    """A byte keeps the probability of the step that revealed it; a hidden slot shows its best."""
    model, prompt, settings, draw = case(seed)
    pick, own, size = Pick(0.9, seeds=(settings["seed"],)), draw.randint(0, 1), 6
    states = [DecodingState(model, max_length=100) for _ in range(2)]
    for state in states:
        state.extend(vocab.encode(prompt))
    twin, clean = states[0], [104, 105][: own * 2]
    begin = twin.length + len(clean)
    block, sure, steps = [vocab.MASK_ID] * size, [0.0] * size, []
    while vocab.MASK_ID in block:
        logits = twin.denoise(block, clean, latent)
        masked = torch.tensor([block]) == vocab.MASK_ID
        now = rule(beliefs(logits), masked)[0].tolist()
        for slot in range(size):
            if now[slot]:
                block[slot], sure[slot] = guess(pick, logits[:, slot], begin + slot)
        shown = beliefs(logits)[0].amax(-1).tolist()
        hidden = [i == vocab.MASK_ID for i in block]
        probs = [b if h else s for b, s, h in zip(shown, sure, hidden, strict=True)]
        steps.append((tuple(block), tuple(n for n in range(size) if now[n]), probs))
    before = Proposal(torch.tensor([clean]), torch.ones(1, 2), own=1) if clean else None
    proposal, told = told_by(moves.unmask(states[1], pick, rule, size, before, latent))
    assert proposal.ids.tolist() == [clean + block] and proposal.own == own
    assert proposal.probs[0, len(clean) :].tolist() == pytest.approx(sure)
    assert [(e.block, e.revealed) for e in told] == [step[:2] for step in steps]
    for event, (*_, probs) in zip(told, steps, strict=True):
        assert event.position == begin and event.probs == pytest.approx(probs)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_told_of_a_check_is_what_the_model_and_the_drafter_say(seed, temperature):
    model, prompt, settings, draw = case(seed)
    settings = settings | {"temperature": temperature, "max_new_bytes": 12}
    checked = 0
    for method in draw.sample(methods(model, draw), 3):
        events, drafts = bltlab.generate(model, prompt, method, **settings).trace.events, {}
        known = [i for e in events if isinstance(e, (Prefilled, Committed)) for i in e.ids]
        for event in events:
            if isinstance(event, Drafted):
                drafts[event.position] = event.prob
            if isinstance(event, Unmasked):
                slots = enumerate(event.probs, event.position)
                drafts |= dict(slots)
            if not isinstance(event, Verified) or event.position > len(known):
                continue
            n, at = len(event.drafted), event.position
            full = model(torch.tensor([[*known[:at], *event.drafted]])).logits[0, at - 1 :]
            told = beliefs(full)[range(n), list(event.drafted)].tolist()
            assert event.target_probs == pytest.approx(told)
            assert event.draft_probs == pytest.approx([drafts[at + i] for i in range(n)])
            best = beliefs(full).amax(-1).tolist()
            assert [c[0][1] for c in event.candidates] == pytest.approx(best[:n])
            assert (event.replacement is None) == (event.accepted == n)
            if temperature == 0 and event.accepted < n:
                logits = full[event.accepted, None]
                assert event.replacement == guess(Pick(), logits, at + event.accepted)[0]
            checked += n
    assert checked


@pytest.mark.parametrize("seed", range(6))
def test_rows_draft_on_while_one_of_them_is_sure(seed):
    """How sure the model was of its own byte ends no draft."""
    model, prompt, _, draw = case(seed)
    state, share = DecodingState(model, 3, max_length=100), draw.choice([0.02, 0.05, 0.1])
    state.extend([vocab.encode(text) for text in (prompt, b"abc", b"hgfhgfhgf")])
    proposed = yield_from(chain(state, Pick(), 8, min_confidence=share))
    sure = (proposed.probs[:, 1:] >= share).any(0).tolist()
    assert all(sure[:-1]) and (len(sure) == 8 or not sure[-1])


def test_probabilities_that_a_drafter_of_ones_own_gives_are_told():
    model = random_model(4)
    state, pick = DecodingState(model, 2, max_length=100), Pick(seeds=(0, 1))
    state.extend([vocab.encode("abc"), vocab.encode("h")])
    own = yield_from(chain(state, pick))
    probs = torch.tensor([[0.5, 0.25], [0.125, 1.0]])
    proposed, drafted = told_by(moves.propose(state, [[101, 102]] * 2, probs, own))
    assert [e.prob for e in drafted] == [0.5, 0.125, 0.25, 1.0]
    checked = [e for e in verify(state, pick, proposed) if isinstance(e, Verified)]
    assert [e.draft_probs for e in checked] == [(0.5, 0.25), (0.125, 1.0)]


def test_a_block_that_reads_the_open_latent_costs_no_global_pass_of_its_own():
    """The bytes that a round commits bring the open patch's latent along, in the same pass."""
    method = bltlab.BlockDiffusion(latent="open")
    totals = bltlab.generate(
        random_model(5, bytes_per_patch=3), "abc", method, max_new_bytes=48
    ).trace.totals
    assert totals.nfe.global_ <= totals.rounds + 1  # one more for the first block


def test_accepted_length_by_hand():
    assert accepted_length(
        torch.tensor([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]),
        torch.tensor([[1, 2, 3], [1, 9, 3], [9, 2, 3], [1, 2, 9]]),
    ).tolist() == [3, 1, 0, 2]


@pytest.mark.parametrize("method", METHODS)
def test_an_unmasked_or_verified_byte_is_paid_for_once(method):
    """BLT-D: one patcher, encoder and global pass a block, and as many decoder passes as denoising
    steps.
    """
    model = random_model(5, bytes_per_patch=3)
    out = bltlab.generate(model, "abc", method, max_new_bytes=32)
    nfe, t = out.trace.totals.nfe, out.trace.totals
    steps = sum(isinstance(e, Unmasked) for e in out.trace.events)
    match method:
        case "ar":
            assert (nfe.patcher, nfe.encoder, nfe.decoder) == (32, 32, 32) and nfe.global_ < 32
        case "blt-d":
            assert (nfe.patcher, nfe.encoder, nfe.global_, nfe.decoder) == (4, 4, 4, steps)
        case "blt-s":
            assert (
                nfe.patcher == t.rounds and nfe.decoder == 9 * t.rounds and nfe.global_ <= t.rounds
            )
        case "blt-dv":
            assert (
                nfe.patcher == t.rounds and nfe.decoder == 2 * t.rounds and nfe.global_ <= t.rounds
            )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_draws_are_keyed_by_seed_and_position(seed, temperature):
    model, prompt, _, draw = case(seed)
    for method in methods(model, draw):
        a, b, c = (
            bltlab.generate(
                model, prompt, method, max_new_bytes=24, temperature=temperature, seed=s
            ).bytes
            for s in (1, 1, 2)
        )
        assert a == b
        if temperature == 0:
            assert a == c


def test_every_event_stream_ends_with_finished():
    for method in METHODS:
        events = list(bltlab.stream(random_model(1), ["", "ab"], method, max_new_bytes=9))
        for row in (0, 1):
            own = [e for e in events if e.row == row]
            assert isinstance(own[-1], Finished) and sum(isinstance(e, Finished) for e in own) == 1
            assert all(a.seconds <= b.seconds for a, b in zip(own, own[1:], strict=False))
