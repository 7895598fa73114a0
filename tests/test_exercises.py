"""Exercises: each check takes right answers and refuses typical wrong ones, readably."""

import math
import sys
from bisect import bisect_left
from pathlib import Path

import pytest
import torch

import bltlab
from bltlab.decoding import moves
from bltlab.trace import Committed, Drafted, Finished, Prefilled, Unmasked, Verified

FOLDER = Path(__file__).parent.parent / "notebooks"
sys.path.insert(0, str(FOLDER))
import checks  # noqa: E402

torch.set_num_threads(1)

# -- right answers, written without the library's own ---------------------------------------------


def right_on_screen(trace, step):
    ids = []
    for e in trace.events[:step]:
        at = e.position - 1
        match e:
            case Prefilled():
                ids = list(e.ids[1:])
            case Drafted():
                ids[at : at + 1] = [e.id]
            case Unmasked():
                ids[at : at + len(e.block)] = e.block
            case Verified():
                ids[at + e.accepted :] = [] if e.replacement is None else [e.replacement]
            case Committed():
                replaced = len(ids) > at + len(e.ids) and wanted(trace.events[:step], e)
                ids[at : at + len(e.ids)] = e.ids
                del ids[at + len(e.ids) + bool(replaced) :]
            case Finished():
                del ids[at:]
    return ids


def wanted(events, committed):
    """Did the model want another byte right behind what was committed?"""
    last = [e for e in events[: events.index(committed)] if isinstance(e, (Verified, Committed))][
        -1:
    ]
    return (
        last
        and isinstance(last[0], Verified)
        and last[0].replacement is not None
        and last[0].position + last[0].accepted == committed.position + len(committed.ids)
    )


def right_entropy(logits):
    top = max(logits)
    weights = [math.exp(v - top) for v in logits]
    return -sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights if w)


def right_opens_next(surprise, limit):
    opens, length = [], 0
    for surprised in surprise:
        length += 1
        opens.append(surprised or length == limit)
        length = 0 if opens[-1] else length
    return opens


def right_cut(text):
    return [0] + [i for i in range(1, len(text)) if text[i - 1] == 32] if text else []


def right_reads(opens):
    reads, closed = [], -1
    for opens_next in opens[1:]:
        closed += opens_next
        reads.append(closed)
    return reads


def right_may_read(ids, window):
    document = [sum(i == 1 for i in ids[: t + 1]) for t in range(len(ids))]

    def near(q, kv):
        return kv <= q and (window is None or q - kv < window)

    return [
        [int(near(q, kv) and document[q] == document[kv]) for kv in range(len(ids))]
        for q in range(len(ids))
    ]


def right_bits_per_byte(logits, ids):
    bits = []
    for row, row_ids in zip(logits.log_softmax(-1), ids.tolist(), strict=True):
        bits += [
            -row[t, i].item() / math.log(2) for t, i in enumerate(row_ids[1:]) if i not in (-1, 1)
        ]
    return sum(bits) / len(bits)


def right_threshold(entropies, patch_length):
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        opened = sum(map(sum, (right_opens_next(row, 8) for row in (entropies > middle).tolist())))
        low, high = (middle, high) if entropies.numel() / opened < patch_length else (low, middle)
    return high


def right_confident(probs, masked, threshold):
    tops = [max(slot) if m else -1 for slot, m in zip(probs, masked, strict=True)]
    return [top > threshold or (top == max(tops) <= threshold) for top in tops]


def right_bounded(probs, masked, gamma):
    nats = [-sum(v * math.log(v) for v in slot) for slot in probs]
    order = sorted((n, i) for i, (n, m) in enumerate(zip(nats, masked, strict=True)) if m)
    chosen, total = {order[0][1]}, 0.0
    for n, i in order:
        total += n
        if total <= gamma:
            chosen.add(i)
    return [i in chosen for i in range(len(probs))]


def right_leftmost(probs, masked, threshold):
    flags, going, first = [], True, True
    for slot, m in zip(probs, masked, strict=True):
        going = going and (not m or first or max(slot) > threshold)
        flags.append(bool(m and going))
        first = first and not m
    return flags


def right_corrupt(ids, u, t):
    return [260 if i == -1 or v < t else i for i, v in zip(ids, u, strict=True)]


def right_masked_loss(logits, ids, masked, t):
    total, count = 0.0, 0
    for b, row in enumerate(ids.tolist()):
        for s, i in enumerate(row):
            count += i >= 0
            if masked[b, s]:
                total -= logits[b, s].log_softmax(-1)[i].item() / t[b].item()
    return total / count


def right_training_mask(length, starts, size, under=False, causal=False):
    rows = []
    for q in range(length):
        rows.append([kv <= q for kv in range(length)] + [False] * (len(starts) * size))
    for b, start in enumerate(starts):
        for k in range(size):
            clean = [kv <= start + k if under else kv < start for kv in range(length)]
            rows.append(
                clean
                + [
                    c == b and (j <= k or not causal)
                    for c in range(len(starts))
                    for j in range(size)
                ]
            )
    return rows


def right_accepted_length(drafted, target):
    pairs = zip(drafted, target, strict=True)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(drafted))


def right_draw(logits, temperature, seed, position):
    probs = (bltlab.sampling.allowed_logits(logits) / temperature).softmax(-1)
    u = bltlab.sampling.uniforms(torch.tensor(seed), torch.tensor(position))
    return int((probs.cumsum(-1) <= u).sum())


def right_write(state, n, k=4, keep=lambda i: i):
    start, pick = state.length, bltlab.sampling.Pick()

    def choose(logits):
        return pick(logits[:, None], torch.zeros(1, 1, dtype=torch.long)).item()

    while state.length < start + n:
        at, ids = state.length, [choose(state.logits)]
        for _ in range(k):
            ids.append(choose(state.draft(ids[-1:])))
        logits = state.extend(ids)
        target = [choose(logits[:, i]) for i in range(k)]
        state.rollback(at + 1 + keep(right_accepted_length(ids[1:], target)))
    return state.rows[0].ids[start : start + n]


def right_acceptance_rate(trace):
    verified = [e for e in trace.events if isinstance(e, Verified)]
    return sum(e.accepted for e in verified) / sum(len(e.drafted) for e in verified)


def right_accepted_share(traces):
    verified = [e for t in traces for e in t.events if isinstance(e, Verified)]
    share = []
    while reached := [e for e in verified if len(e.drafted) > len(share)]:
        share.append(sum(e.accepted > len(share) for e in reached) / len(reached))
    return share


def right_wrong_writers(writers, again):
    texts = ["river" * 6, "a boat", "the sea and", "né" * 12, *("a" * n for n in range(30))]
    ids = [bltlab.encode(text) for text in texts]
    sound = {
        n for n, w in writers.items() if [w(i, 24) for i in ids] == [again(i, 24) for i in ids]
    }
    return sorted(set(writers) - sound)


def right_gigabytes(decoder, large, sizes):
    weights = decoder * sizes["decoder"] + large * (sizes["encoder"] + sizes["global_"])
    return weights / 5e8


def right_losing(rows):
    _, passes, seconds = rows[0]
    lost = {s: name for name, n, s in rows if n < passes and s > seconds}
    return [lost[s] for s in sorted(lost, reverse=True)]


def right_good_enough(small, large, patch, size):
    """Searched for among a million probabilities."""
    most = 10**6
    wanted = (2 * small + large) / (small + large / patch)

    def kept(n):
        q = n / most
        return size + 1 if q == 1 else (1 - q ** (size + 1)) / (1 - q)

    n = bisect_left(range(most + 1), wanted - 1e-9, key=kept)
    return n / most if n <= most else None


def right_propose(state, pick):
    ids, own = state.rows[0].ids, pick(state.logits[:, None], moves.ahead(state, 0, 1))
    text = ids + own[0].tolist()
    at = next((i for i in range(len(text) - 4, 0, -1) if text[i : i + 3] == text[-3:]), None)
    guesses = [] if at is None else text[at + 3 : at + 8]
    proposed = torch.cat([own, torch.tensor([guesses], dtype=torch.long)], 1)
    return moves.Proposal(proposed, torch.ones(proposed.shape), own=1)


def right_chain_and_block(state, pick, k, size):
    known = right_chain(state, pick, k)
    frontier = state.length
    logits = state.denoise([[260] * size], after=[known])
    at = torch.arange(frontier + k + 1, frontier + k + 1 + size)[None]
    guesses = pick(logits, at)[0].tolist()
    return moves.Proposal(torch.tensor([known + guesses]), None, own=1)


def right_chain(state, pick, k):
    """The model's own byte and k guesses, by hand."""
    at, known = state.length, []
    logits = state.logits
    for i in range(k + 1):
        known.append(pick(logits[:, None], torch.tensor([[at + i]])).item())
        logits = state.draft([known[-1:]]) if i < k else logits
    state.rollback(at)
    return known


def right_whole_round(state, pick):
    yield from moves.verify(state, pick, right_propose(state, pick))


def right_autoregress(state, ids, n):
    allowed = [i for i in range(260) if i == 2 or i >= 4]
    new, unread = [], ids
    for _ in range(n):
        logits = state.extend(unread)[0, -1]
        unread = [max(allowed, key=lambda i: logits[i])]
        new += unread
    return new


def right_is_sound(make):
    ids = bltlab.encode("a boat on the river")
    wanted, state = make().extend(ids)[0], make()
    for at in range(0, len(ids), 3):
        found = state.extend(ids[at : at + 3])[0]
        if not torch.allclose(found, wanted[at : at + 3], atol=1e-5):
            return False
        state.draft([70])
        state.denoise([[260, 260]])
        state.peek_latent()
        state.extend([71, 72])
        state.rollback(min(at + 3, len(ids)))
    return True


RIGHT = {name.removeprefix("right_"): [f] for name, f in globals().items() if "right_" in name}
RIGHT["proposer"] = RIGHT.pop("propose")
del RIGHT["chain"]
RIGHT["encode"] = [lambda text: [1] + [b + 4 for b in text.encode()]]


def in_(dtype, name):
    """The library's own way to an answer, in floats of this width."""

    def narrow(values):
        return torch.tensor(values, dtype=torch.float64).to(dtype)

    return {
        "entropy": lambda z: torch.distributions.Categorical(logits=narrow(z)).entropy(),
        "bits_per_byte": lambda z, ids: (
            bltlab.diffusion.next_byte_loss(z.to(dtype), ids) / math.log(2)
        ),
        "confident": lambda probs, masked, t: bltlab.Confidence(t)(
            narrow([probs]), torch.tensor([masked])
        )[0],
        "bounded": lambda probs, masked, gamma: bltlab.EntropyBound(gamma)(
            narrow([probs]), torch.tensor([masked])
        )[0],
        "leftmost": lambda probs, masked, t: right_leftmost(narrow(probs).tolist(), masked, t),
        "masked_loss": lambda z, ids, masked, t: right_masked_loss(z.to(dtype), ids, masked, t),
        "draw": lambda z, t, seed, at: right_draw(z.to(dtype), t, seed, at),
        "threshold": lambda h, n: torch.tensor(right_threshold(h, n)).to(dtype).item(),
        "acceptance_rate": lambda trace: narrow(right_acceptance_rate(trace)),
        "accepted_share": lambda traces: narrow(right_accepted_share(traces)),
        "gigabytes": lambda *bill: narrow(right_gigabytes(*bill)),
        "good_enough": lambda *given: (
            None if (q := right_good_enough(*given)) is None else narrow(q)
        ),
    }[name]


FLOATS = ["entropy", "bits_per_byte", "confident", "bounded", "draw", "threshold"]
FLOATS += ["acceptance_rate", "accepted_share", "good_enough", "gigabytes"]
FLOATS += ["leftmost", "masked_loss"]
for name in FLOATS:
    RIGHT[name] += [in_(dtype, name) for dtype in (torch.float32, torch.float64)]


@pytest.mark.parametrize("name, number", [(n, i) for n in RIGHT for i in range(len(RIGHT[n]))])
def test_a_check_takes_a_right_answer(name, number, capsys):
    getattr(checks, name)(RIGHT[name][number])
    assert capsys.readouterr().out.startswith(f"{name}: your")


# -- wrong ones, declared beside each check --------------------------------------------------------


def test_every_exercise_has_a_right_answer_and_three_wrong_ones():
    assert set(RIGHT) == set(checks.EXERCISES)
    assert {n: e for n, e in checks.EXERCISES.items() if len(e.wrong) < 3} == {}
    numbers = [exercise.number for exercise in checks.EXERCISES.values()]
    assert len(set(numbers)) == len(numbers)


WRONG = [(name, why) for name, one in checks.EXERCISES.items() for why in one.wrong]


@pytest.mark.parametrize("name, why", WRONG, ids=lambda value: value[:40])
def test_a_check_refuses_a_wrong_answer_readably(name, why):
    with pytest.raises(checks.Refused) as refused:
        getattr(checks, name)(checks.EXERCISES[name].wrong[why])
    lines = str(refused.value).splitlines()
    assert lines[0].startswith(f"{name}: ") and max(map(len, lines)) <= 96
    words = [line.split()[0] for line in lines[1:] if line[2:3] != " "]
    assert words[:3] == ["given", "yours", "wanted"] and len("".join(lines)) < 1000
    assert refused.value._render_traceback_() == lines


def test_a_known_mistake_is_named_and_another_is_not():
    with pytest.raises(checks.Refused, match="if BOS is left out"):
        checks.encode(lambda text: [b + 4 for b in text.encode()])
    with pytest.raises(checks.Refused) as refused:
        checks.encode(lambda text: [b + 4 for b in text.encode()] or [0])
    assert "That is what" not in str(refused.value)


@pytest.mark.parametrize("name", RIGHT)
def test_an_empty_exercise_says_only_that_it_is_empty(name, capsys):
    def nothing(*arguments):
        """What the exercise asks for."""

    getattr(checks, name)(nothing)
    number = checks.EXERCISES[name].number
    assert capsys.readouterr().out == f"{number} {name}: not answered yet\n"
