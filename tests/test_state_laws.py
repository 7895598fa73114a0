"""The laws of the decoding state (1 to 5, 7, 8), on random small-margin models in float64.

Each case draws its own model: patch limits on and off, thresholds that give 1 to 8 bytes a patch,
decoder input from the encoder or embeddings, texts longer than the window.
"""

import random

import pytest
import torch
from conftest import random_ids, random_model

from bltlab import vocab
from bltlab.diffusion import Blocks, decode_blocks
from bltlab.state import DecodingState

TOLERANCE = 1e-9
SEEDS = range(16)


def case(seed):
    """A model and a random source for one seed."""
    draw = random.Random(seed)
    model = random_model(
        seed,
        bytes_per_patch=draw.choice([1.0, 1.5, 2, 3, 5, 8]),
        max_patch_length=draw.choice([None, 2, 4, 8]),
        decoder_input=draw.choice(["encoder", "embedding"]),
        window=draw.choice([5, 12, None]),
        keys_per_patch=draw.choice([1, 2, 3]),
        n_encoder=draw.choice([1, 2]),
        doubled_residual=draw.random() < 0.5,
        rule=draw.choice(["entropy", "entropy", "entropy", "space"]),
    )
    return model, draw


def chunks(ids, draw, most=9):
    at = 0
    while at < len(ids):
        n = draw.randint(1, most)
        yield ids[at : at + n]
        at += n


def same(a, b):
    """Do two snapshots agree?"""
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        for name in ("ids", "opens", "reads"):
            assert x[name] == y[name], name
        assert torch.allclose(
            torch.tensor(x["entropies"]), torch.tensor(y["entropies"]), atol=TOLERANCE
        )
        for name in ("states", "latents"):
            assert torch.allclose(x[name], y[name], atol=TOLERANCE), name
        for s, t in zip(x["keys"], y["keys"], strict=True):
            assert torch.allclose(s, t, atol=TOLERANCE)
        for part in x["kv"]:
            for s, t in zip(x["kv"][part], y["kv"][part], strict=True):
                assert torch.allclose(s, t, atol=TOLERANCE), part


@pytest.mark.parametrize("seed", SEEDS)
def test_1_extend_in_any_chunking_equals_one_forward(seed):
    model, draw = case(seed)
    ids = random_ids(seed, 45)
    full = model(ids[None])
    state, got = DecodingState(model), []
    for chunk in chunks(ids, draw):
        if draw.random() < 0.3:  # left pending, decoded with the next
            state.extend(chunk, logits=False, open_latent=draw.random() < 0.5)
            got.append(torch.full((len(chunk), 260), torch.nan, dtype=torch.float64))
        else:
            got.append(state.extend(chunk, open_latent=draw.random() < 0.5)[0])
            assert (state.logits[0] - got[-1][-1]).abs().max() == 0
    got = torch.cat(got)
    seen = ~got[:, 0].isnan()
    assert (got - full.logits[0])[seen].abs().max() < TOLERANCE
    assert state.rows[0].opens[:-1] == full.patches.opens[0].tolist()
    assert state.rows[0].opens[-1] == full.patches.next_opens[0, -1].item()
    assert torch.allclose(
        torch.tensor(state.rows[0].entropies, dtype=torch.float64),
        full.entropies[0],
        atol=TOLERANCE,
    )
    closed = state.rows[0].closed
    assert (state.snapshot()[0]["latents"] - full.latents[0, :closed]).abs().max() < TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_2_rollback_forgets(seed):
    model, draw = case(seed)
    ids, other = random_ids(seed, 40), random_ids(seed + 1, 40)
    keep = draw.randint(1, 39)
    state, fresh = DecodingState(model), DecodingState(model)
    for chunk in chunks(ids, draw):
        state.extend(chunk)
    state.rollback(keep)
    fresh.extend(ids[:keep])
    rest = other[1 : draw.randint(2, 20)]
    a, b = state.extend(rest), fresh.extend(rest)
    assert (a - b).abs().max() < TOLERANCE
    same(state.snapshot(), fresh.snapshot())


@pytest.mark.parametrize("seed", SEEDS)
def test_2_rollback_inside_the_last_extend_restores_the_logits(seed):
    model, draw = case(seed)
    ids = random_ids(seed, 30)
    state = DecodingState(model)
    state.extend(ids[:10])
    logits = state.extend(ids[10:])
    n = draw.randint(11, 30)
    state.rollback(n)
    assert torch.equal(state.logits[0], logits[0, n - 11])
    state.rollback(5)
    with pytest.raises(RuntimeError, match="rollback"):
        _ = state.logits


@pytest.mark.parametrize("seed", SEEDS)
def test_3_drafting_leaves_no_trace(seed):
    model, draw = case(seed)
    ids = random_ids(seed, 33)
    state, fresh = DecodingState(model), DecodingState(model)
    for s in (state, fresh):
        s.extend(ids[:25])
    before = state.snapshot()
    for _ in range(6):
        latent = draw.choice(["closed", "open"])
        match draw.randint(0, 3):
            case 0:
                [state.draft([draw.randint(101, 112)], latent) for _ in range(draw.randint(1, 9))]
            case 1:
                state.denoise([vocab.MASK_ID] * 8, latent=latent)
            case 2:
                state.denoise(
                    [vocab.MASK_ID, 104, vocab.MASK_ID], [103] * draw.randint(1, 3), latent
                )
            case 3:
                state.peek_latent()
        same(state.snapshot(), before)
        assert torch.equal(state.logits, fresh.logits)
    assert (state.extend(ids[25:]) - fresh.extend(ids[25:])).abs().max() < TOLERANCE
    same(state.snapshot(), fresh.snapshot())


@pytest.mark.parametrize("seed", SEEDS)
def test_4_patches_and_logits_never_look_ahead(seed):
    model, _ = case(seed)
    ids = random_ids(seed, 36)
    full = model(ids[None])
    for n in range(1, 37):
        part = model(ids[None, :n])
        assert part.patches.opens[0].tolist() == full.patches.opens[0, :n].tolist()
        assert part.patches.next_opens[0].tolist() == full.patches.next_opens[0, :n].tolist()
        assert (part.logits[0] - full.logits[0, :n]).abs().max() < TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_4_the_rule_without_a_loop_equals_the_rule_with_one(seed):
    model, _ = case(seed)
    ids = random_ids(seed, 60)
    out, c = model(ids[None]), model.config.patcher
    if c.rule != "entropy":
        return
    opens, start = [True], 0
    for t in range(60):
        surprise = t == 0 or out.entropies[0, t] > c.threshold
        opens.append(bool(surprise or (c.max_patch_length and t + 1 - start >= c.max_patch_length)))
        start = t + 1 if opens[-1] else start
    assert (
        out.patches.opens[0].tolist() == opens[:60]
        and out.patches.next_opens[0, -1].item() == opens[60]
    )
    lengths = out.patches.lengths[0].tolist()
    assert sum(lengths) == 60 and (not c.max_patch_length or max(lengths) <= c.max_patch_length)


@pytest.mark.parametrize("seed", SEEDS)
def test_5_a_row_alone_equals_a_row_in_a_batch(seed):  # noqa: C901  (one story of a batch)
    model, draw = case(seed)
    texts = [random_ids(seed + i, draw.randint(3, 30)) for i in range(4)]
    batch, alone = DecodingState(model, 4), [DecodingState(model) for _ in texts]

    def pad(rows):
        return torch.nn.utils.rnn.pad_sequence(
            [torch.as_tensor(r) for r in rows], True, vocab.PAD_ID
        )

    latent = draw.choice(["closed", "open"])

    def agree(got, expected, counts=None):
        for b, e in enumerate(expected):
            if e is not None:
                g = got[b] if counts is None else got[b, : counts[b]]
                assert (g - e.squeeze(0)).abs().max() < TOLERANCE

    def step(rows, **kw):
        got = batch.extend(pad(rows), **kw)
        expected = [s.extend(r, **kw) if len(r) else None for s, r in zip(alone, rows, strict=True)]
        if got is not None:
            agree(got, expected, [len(r) for r in rows])
        same(batch.snapshot(), [s.snapshot()[0] for s in alone])

    step(texts)
    drafted = [draw.randint(101, 112) for _ in texts]
    agree(
        batch.draft(drafted, latent),
        [s.draft([d], latent) for s, d in zip(alone, drafted, strict=True)],
    )
    agree(
        batch.draft(drafted, latent),
        [s.draft([d], latent) for s, d in zip(alone, drafted, strict=True)],
    )
    block = torch.randint(101, 112, (4, 8), generator=torch.Generator().manual_seed(seed))
    block[:, ::2] = vocab.MASK_ID
    agree(
        batch.denoise(block, [[d] for d in drafted], latent),
        [
            s.denoise(block[b : b + 1], [d], latent)
            for b, (s, d) in enumerate(zip(alone, drafted, strict=True))
        ],
    )
    agree(batch.peek_latent(), [s.peek_latent() for s in alone])
    step([random_ids(seed + 9 + i, 12)[1 : 1 + draw.randint(0, 6)] for i in range(4)])
    lengths = [draw.randint(2, s.length) for s in alone]
    batch.rollback(lengths)
    for s, n in zip(alone, lengths, strict=True):
        s.rollback(n)
    step(
        [random_ids(seed + 20 + i, 12)[1 : 2 + draw.randint(0, 6)] for i in range(4)], logits=False
    )
    agree(
        batch.denoise(block, latent=latent),
        [s.denoise(block[b : b + 1], latent=latent) for b, s in enumerate(alone)],
    )
    agree(batch.logits, [s.logits for s in alone])
    for logits in (True, False):  # rows that get nothing keep their logits
        some = [random_ids(seed + 40 + i, 4)[1:] if draw.random() < 0.5 else [] for i in range(4)]
        step(some, logits=logits)
        if not logits:
            batch.denoise(block, latent=latent)
            [s.denoise(block[b : b + 1], latent=latent) for b, s in enumerate(alone)]
        agree(batch.logits, [s.logits for s in alone])
    for rows in ([0, 2, 3], [2, 0]):  # closing ranks, and in another order
        batch.select(rows)
        alone = [alone[b] for b in rows]
        step([random_ids(seed + 30 + i, 9)[1:] for i in range(len(rows))])


@pytest.mark.parametrize("seed", SEEDS)
def test_7_decoding_meets_training(seed):
    model, draw = case(seed)
    ids = random_ids(seed, 50)
    size = model.config.block_size
    for start in sorted(draw.sample(range(1, 45), 5)):
        block = torch.randint(101, 112, (1, size), generator=torch.Generator().manual_seed(seed))
        hidden = torch.rand(1, size, generator=torch.Generator().manual_seed(seed)) < 0.6
        starts = torch.tensor([[start]])
        text = torch.cat([ids[:start], block[0]])[None]  # any text with this prefix
        trained = decode_blocks(
            model, model.encode(text), Blocks(starts, block[None], hidden[None], torch.ones(1, 1))
        )[1]
        state = DecodingState(model)
        state.extend(ids[:start], logits=draw.random() < 0.5)
        decoded = state.denoise(block.masked_fill(hidden, vocab.MASK_ID))
        assert (decoded[0] - trained[0, 0]).abs().max() < TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_7_peek_latent_is_the_latent_of_a_patch_closed_here(seed):
    model, draw = case(seed)
    ids = random_ids(seed, 40)
    state = DecodingState(model)
    state.extend(ids[: draw.randint(2, 40)])
    row = state.rows[0]
    full = model(ids[None, : row.length])  # here the last patch ends with the text
    expected = full.latents[0, -1] if row.has_open else full.latents[0, row.closed - 1]
    assert (state.peek_latent()[0] - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_8_drafts_equal_the_model_up_to_the_last_byte_of_the_patch_under_way(seed):
    model, draw = case(seed)
    ids = random_ids(seed, 40)
    full = model(ids[None])
    start = draw.randint(2, 30)
    state = DecodingState(model)
    state.extend(ids[:start])
    for t in range(start, 40):
        drafted = state.draft([int(ids[t])])
        if full.patches.next_opens[
            0, t
        ]:  # t is the last byte of its patch: the model has a new latent
            break
        assert (drafted[0] - full.logits[0, t]).abs().max() < TOLERANCE


def test_errors_name_the_limit():
    model = random_model(0)
    state = DecodingState(model, max_length=8)
    with pytest.raises(ValueError, match="max_length is 8"):
        state.extend(random_ids(0, 9))
    assert state.length == 0  # nothing half done
    state.extend(random_ids(0, 5))
    for wrong in ([260], [-2], [vocab.BOS_ID]):
        with pytest.raises(ValueError, match="ids must be"):
            state.extend(wrong)
    with pytest.raises(ValueError, match="0..5"):
        state.rollback(6)
    with pytest.raises(ValueError, match="closed, open"):
        state.draft([104], latent="ajar")
    with pytest.raises(ValueError, match="plain BLT"):
        plain = DecodingState(random_model(0, block_size=None))
        plain.extend([1])
        plain.denoise([vocab.MASK_ID])


@pytest.mark.parametrize("decoder_input", ["encoder", "embedding"])
def test_3_scratch_of_one_call_is_not_seen_by_the_next(decoder_input):
    model = random_model(3, decoder_input=decoder_input)
    for n in range(8, 20):  # inside a patch and at its edge

        def fresh(n=n):
            state = DecodingState(model)
            state.extend(random_ids(7, n))
            return state

        mask, state = [vocab.MASK_ID] * 4, fresh()
        state.draft(110)
        state.denoise(mask, after=[110])
        opened = state.denoise(mask, after=[110], latent="open")
        assert (opened - fresh().denoise(mask, after=[110], latent="open")).abs().max() < TOLERANCE
        assert (state.denoise(mask, after=[110], latent="open") - opened).abs().max() < TOLERANCE
        assert (state.draft(105) - fresh().draft(105)).abs().max() < TOLERANCE
        assert (state.denoise(mask, after=[110], latent="open") - opened).abs().max() < TOLERANCE
    batch = DecodingState(model, 2)
    batch.extend([[1, 101], [1, 102]])
    with pytest.raises(ValueError, match="equally many"):
        batch.denoise([vocab.MASK_ID] * 4, after=[[101, 102], [103]])


def test_autocast_moves_no_boundary():
    model, ids = random_model(3).float(), random_ids(5, 40)
    state = DecodingState(model)
    with torch.autocast("cpu", torch.bfloat16):
        state.extend(ids)
        assert torch.allclose(
            torch.tensor(state.rows[0].entropies), model.patch(ids[None])[1][0], atol=1e-5
        )


@pytest.mark.parametrize("decoder_input", ["encoder", "embedding"])
@pytest.mark.parametrize("pending", [1, 2])
@pytest.mark.parametrize("latent", ["closed", "open"])
def test_pending_bytes_read_their_own_latents_when_a_block_is_denoised(
    latent, pending, decoder_input
):
    """A byte left to the next pass reads its own latent, whatever the block reads."""
    model = random_model(4, bytes_per_patch=3, decoder_input=decoder_input)
    ids, mask, differ = random_ids(8, 40), [vocab.MASK_ID] * 4, 0
    for n in range(6, 30):  # the pending bytes stand inside a patch, close one, or open one
        states = [DecodingState(model), DecodingState(model)]
        for state in states:
            state.extend(ids[: n - pending])
        states[0].extend(ids[n - pending : n], logits=False)
        states[1].extend(ids[n - pending : n])
        blocks = [state.denoise(mask, latent=latent) for state in states]
        assert (blocks[0] - blocks[1]).abs().max() < TOLERANCE
        assert (states[0].logits - states[1].logits).abs().max() < TOLERANCE
        same(states[0].snapshot(), states[1].snapshot())
        row = states[0].rows[0]
        differ += row.has_open and row.reads[-1] != row.closed - 1 + (latent == "open")
    assert latent == "closed" or differ  # what a wrong latent would have shown


@pytest.mark.parametrize("seed", SEEDS)
def test_scratch_of_unequal_length_equals_each_row_alone(seed):
    """Drafts of several bytes, cut back and gone on from, blocks behind them:

    as in a batch of one.
    """
    model, draw = case(seed)
    latent = draw.choice(["closed", "open"])
    texts = [random_ids(seed + i, draw.randint(3, 30)) for i in range(3)]
    batch, alone = DecodingState(model, 3), [DecodingState(model) for _ in texts]
    batch.extend([text.tolist() for text in texts])
    for state, text in zip(alone, texts, strict=True):
        state.extend(text)
    for _ in range(4):
        width = draw.randint(1, 6)
        ids = torch.randint(101, 113, (3, width), generator=torch.Generator().manual_seed(seed))
        counts = [draw.randint(1, width) for _ in alone]
        got = batch.draft(ids, latent, counts, every=True)
        last = []
        for number, state in enumerate(alone):
            mine = ids[number : number + 1, : counts[number]]
            every = state.draft(mine, latent, every=True)
            assert (got[number, : counts[number]] - every[0]).abs().max() < TOLERANCE
            last.append(every[0, -1])
        assert all((got[b, n - 1] - last[b]).abs().max() < TOLERANCE for b, n in enumerate(counts))
        kept = [draw.randint(0, n) for n in batch._scratch.counts]
        batch.rollback([n + k for n, k in zip(batch.lengths, kept, strict=True)])
        for state, k in zip(alone, kept, strict=True):
            state.rollback(state.length + k)
        block = torch.randint(101, 112, (3, 5), generator=torch.Generator().manual_seed(seed))
        block[:, 1::2] = vocab.MASK_ID
        blocks = batch.denoise(block, None, latent)
        for number, state in enumerate(alone):
            one = state.denoise(block[number : number + 1], None, latent)
            assert (blocks[number] - one[0]).abs().max() < TOLERANCE
        busy = [True, draw.random() < 0.5, False]
        some = batch.denoise(block, None, latent, busy)
        for number, wanted in enumerate(busy):
            expected = blocks[number] if wanted else torch.zeros_like(blocks[number])
            assert (some[number] - expected).abs().max() < TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_draft_of_several_bytes_equals_one_after_another(seed):
    model, draw = case(seed)
    latent, ids = draw.choice(["closed", "open"]), random_ids(seed, 30)
    states = [DecodingState(model), DecodingState(model)]
    for state in states:
        state.extend(ids[:20])
    together = states[0].draft(ids[None, 20:], latent, every=True)[0]
    singly = torch.stack([states[1].draft([int(i)], latent)[0] for i in ids[20:]])
    assert (together - singly).abs().max() < TOLERANCE
    assert (states[0].draft([101], latent) - states[1].draft([101], latent)).abs().max() < TOLERANCE
    # a block behind scratch that stands == a block behind the same bytes read in its own pass
    after = states[0].denoise([vocab.MASK_ID] * 3, None, latent)
    anew = states[1].denoise([vocab.MASK_ID] * 3, [*ids[20:].tolist(), 101], latent)
    assert (after - anew).abs().max() < TOLERANCE
    assert (states[1].denoise([vocab.MASK_ID] * 3, None, latent) - anew).abs().max() < TOLERANCE


def test_rollback_keeps_scratch_only_as_far_as_it_stands():
    state = DecodingState(random_model(0))
    state.extend(random_ids(0, 10))
    state.draft([[101, 102, 103]])
    state.rollback(12)
    with pytest.raises(ValueError, match="0..12, got 13"):
        state.rollback(13)
    state.rollback(10)
    with pytest.raises(ValueError, match="0..10, got 11"):
        state.rollback(11)


class Walk:
    """A batch that goes on by verbs drawn at random, and what each of its rows then stands for.

    Whatever went before, a row reads like a state of that row alone which knows nothing but its ids
    and its scratch: runs of [latent, ids].
    """

    def __init__(self, seed):
        self.model, self.draw = case(seed)
        self.ids = [random_ids(seed + i, self.draw.randint(2, 30)).tolist() for i in range(4)]
        self.scratch = [[] for _ in self.ids]
        self.cut = [False] * 4  # rows that were rolled back have no logits till they are extended
        self.before_block = False
        self.batch = DecodingState(self.model, 4)
        self.batch.extend(self.ids)

    def bytes(self, n):
        return [self.draw.randint(101, 112) for _ in range(n)]

    def latent(self):
        return self.draw.choice(["closed", "open"])

    def block(self):
        return torch.tensor([[vocab.MASK_ID, *self.bytes(1), vocab.MASK_ID] for _ in self.ids])

    def anew(self, row):
        state = DecodingState(self.model)
        state.extend(self.ids[row])
        for latent, ids in self.scratch[row]:
            state.draft([ids], latent)
        return state

    def write(self, latent, new):
        for scratch, ids in zip(self.scratch, new, strict=True):
            scratch.extend([[latent, ids]] if ids else [])

    def extend(self):
        new = [self.bytes(self.draw.choice([int(cut), 1, 4])) for cut in self.cut]
        if any(new):
            self.batch.extend(new, self.draw.random() < 0.5, self.draw.random() < 0.5)
            self.ids = [ids + more for ids, more in zip(self.ids, new, strict=True)]
            self.scratch, self.before_block = [[] for _ in self.ids], False
            self.cut = [False] * len(self.ids)
            if self.draw.random() < 0.5:  # otherwise bytes without logits are left pending
                for row, got in enumerate(self.batch.logits):
                    assert (got - self.anew(row).logits[0]).abs().max() < TOLERANCE

    def rollback(self):
        """To somewhere in the text in some rows, in the scratch in others."""
        lengths = []
        for row, ids in enumerate(self.ids):
            scratch = [[latent, [i]] for latent, run in self.scratch[row] for i in run]
            n = self.draw.randint(max(1, len(ids) - 3), len(ids) + len(scratch))
            self.ids[row], self.cut[row] = ids[:n], self.cut[row] or n < len(ids)
            self.scratch[row] = scratch[: max(0, n - len(ids))]
            lengths.append(n)
        self.batch.rollback(lengths)
        self.before_block = False

    def draft(self):
        """Bytes of another number in each row, perhaps with a block behind them."""
        latent, counts = self.latent(), [self.draw.randint(1, 3) for _ in self.ids]
        new = [self.bytes(n) for n in counts]
        block = self.block() if self.draw.random() < 0.5 else None
        if self.before_block:
            self.scratch, self.before_block = [[] for _ in self.ids], False
        ids = [ids + [101] * (3 - len(ids)) for ids in new]
        got = self.batch.draft(ids, latent, counts, block=block)
        got, denoised = (got, None) if block is None else got
        for row, mine in enumerate(new):
            state = self.anew(row)
            assert (got[row] - state.draft([mine], latent)[0]).abs().max() < TOLERANCE
            if denoised is not None:
                alone = state.denoise(block[row : row + 1], None, latent)[0]
                assert (denoised[row] - alone).abs().max() < TOLERANCE
        self.write(latent, new)

    def denoise(self):
        """A block behind bytes of its own, or behind the scratch, where some rows are asked for."""
        latent, block = self.latent(), self.block()
        after = [self.bytes(2) for _ in self.ids] if self.draw.random() < 0.5 else None
        busy = [self.draw.random() < 0.5 for _ in self.ids]
        got = self.batch.denoise(block, after, latent, busy)
        if after is not None:
            self.scratch, self.before_block = [[] for _ in self.ids], True
            self.write(latent, after)
        for row in range(len(self.ids)):
            if after is not None or busy[row]:
                alone = self.anew(row).denoise(block[row : row + 1], None, latent)[0]
                assert (got[row] - alone).abs().max() < TOLERANCE

    def peek(self):
        for row, got in enumerate(self.batch.peek_latent()):
            assert (got - self.anew(row).peek_latent()[0]).abs().max() < TOLERANCE

    def select(self):
        if len(self.ids) > 2:
            rows = self.draw.sample(range(len(self.ids)), len(self.ids) - 1)
            self.batch.select(rows)
            self.ids, self.cut = [self.ids[row] for row in rows], [self.cut[row] for row in rows]
            self.scratch, self.before_block = [[] for _ in rows], False

    def step(self):
        often = [self.draft, self.denoise, self.rollback, self.extend] * 3
        self.draw.choice([*often, self.peek, self.select])()
        assert self.batch.lengths == [len(ids) for ids in self.ids]
        kept = [sum(len(run) for _, run in scratch) for scratch in self.scratch]
        assert self.batch.scratch_lengths == kept


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_went_before_a_row_reads_like_a_new_state_of_its_bytes(seed):
    walk = Walk(seed)
    for _ in range(24):
        walk.step()


@pytest.mark.parametrize("length", [63, 64, 65, 66])
def test_a_row_that_fills_its_caches_is_not_written_over(length):
    """64 positions have room at first; what is not real of a ragged pass goes behind the last."""
    model = random_model(4)
    ids = [random_ids(1, length).tolist(), random_ids(2, 10).tolist()]
    batch, alone = DecodingState(model, 2), [DecodingState(model) for _ in ids]
    for more in (ids, [[], [101, 102, 103]], [[104, 105], [106]], [[107], []]):
        batch.extend(more)
        for state, mine in zip(alone, more, strict=True):
            state.extend([mine])
        same(batch.snapshot(), [state.snapshot()[0] for state in alone])


def test_rollback_forgets_the_latent_of_the_open_patch():
    model, differ = random_model(5, bytes_per_patch=5), 0
    for n in range(8, 24):
        ids = random_ids(6, n).tolist()
        state, fresh = DecodingState(model), DecodingState(model)
        state.extend(ids, open_latent=True)
        was = state.peek_latent()
        state.rollback(n - 1)
        fresh.extend(ids[:-1])
        got, wanted = state.draft(101, "open"), fresh.draft(101, "open")
        assert (got - wanted).abs().max() < TOLERANCE
        differ += (was - fresh.peek_latent()).abs().max() > 0.01
    assert differ > 5


def test_what_a_rollback_keeps_of_the_bytes_before_a_block_is_gone_on_from():
    model = random_model(5)
    state, fresh = DecodingState(model), DecodingState(model)
    for s in (state, fresh):
        s.extend(random_ids(6, 12))
    state.denoise([vocab.MASK_ID] * 3, [101, 102])
    state.rollback(13)
    assert (state.draft(103) - fresh.draft([[101, 103]])).abs().max() < TOLERANCE
    assert state.scratch_lengths == [2]


def test_no_bytes_change_nothing_however_they_are_written():
    for rows in (1, 2):
        state = DecodingState(random_model(0), rows)
        state.extend([[1, 101]] * rows)
        before, passes = state.snapshot(), state.nfe
        for nothing in ([], [[]] * rows, torch.empty(rows, 0, dtype=torch.long)):
            assert state.extend(nothing) is None
        assert state.nfe == passes
        same(state.snapshot(), before)
