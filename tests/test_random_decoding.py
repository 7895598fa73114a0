"""Random decodings: every method with its options, in batches, with ties, ends and interrupts.

A case is one decoding of a batch. A row of it writes what it writes alone and, if its method is
lossless, the bytes of autoregression; traces are read back and played. In some the same events come
from `stream`, and a stop keeps those so far. A few cases run with the others;

    BLTLAB_CASES=10000 python -m pytest tests/test_random_decoding.py

runs that many. The models are small and in float64, so that what differs is a fault, not rounding.
"""

import os
import random
from dataclasses import asdict, replace
from functools import lru_cache

import pytest
from conftest import drawn_model

import bltlab
from bltlab import vocab
from bltlab.trace import Finished, Trace

CASES = int(os.environ.get("BLTLAB_CASES", 80))
LATENTS = "closed", "open"


def text(draw, most=16):
    """Random bytes of a small alphabet."""
    return bytes(draw.randint(97, 108) for _ in range(draw.randint(0, most)))


def swap(weight, a, b, copy=False):
    """Exchange two rows, or make the second like the first."""
    rows = weight[[a, b]]
    weight[b] = rows[0]
    if not copy:
        weight[a] = rows[1]


@lru_cache(maxsize=256)
def model_of(seed):
    """A random model. In most, a byte that would be written ends the text, or has a twin."""
    draw = random.Random(seed)
    model = drawn_model(
        draw,
        seed,
        # Where a block reaches past the window, and there is one layer, slots that read the same
        # tie.
        windows=[3, 5, 12, 40],
        n_decoder=[1, 2],
        block_sizes=[1, 2, 4, 8, 12],
    )
    written = bltlab.generate(model, "abc", max_new_bytes=16).bytes or b"abc"
    one, other = (byte + vocab.OFFSET for byte in draw.choices(written, k=2))
    rows = model.decoder.output.weight
    match draw.choice(["end", "end", "twin", ""]):
        case "end":
            swap(rows, vocab.EOS_ID, one)
        case "twin":  # two bytes that are always equally probable
            swap(rows, one, draw.choice([other, draw.randint(4, 259)]), copy=True)
    return model


def rule(draw):
    """A random rule: sure or not, one slot or all."""
    return draw.choice(
        [
            bltlab.Confidence(draw.choice([0.0, 0.02, 0.1, 0.7, 1.0])),
            bltlab.EntropyBound(draw.choice([0.0, 1.0, 3.0, 8.0, 20.0])),
            bltlab.TopK(draw.randint(1, 5)),
            bltlab.OneStep(),
        ]
    )


def method_of(draw, model):
    """Any method with any options."""
    latent, k = draw.choice(LATENTS), draw.randint(1, 9)
    block = dict(block_size=draw.randint(1, model.config.block_size), latent=latent)
    sure = draw.choice([0.0, 0.0, 0.02, 0.2])
    return draw.choice(
        [
            bltlab.Autoregressive(),
            bltlab.SelfSpeculation(k, latent, sure),
            bltlab.BlockDiffusion(unmasking=rule(draw), **block),
            bltlab.DiffusionVerification(
                unmasking=rule(draw), own_byte=draw.choice(["before", "none"]), **block
            ),
            bltlab.ForeseenChain(draft_length=k, **block),
            bltlab.ForeseenVerification(draft_length=k, min_confidence=sure, **block),
        ]
    )


def settings_of(draw, prompts):
    """Random settings; some rows stop at a text, some are drawn, some have no budget at all."""
    found = dict(
        max_new_bytes=draw.choice([0, 1, *[draw.randint(2, 20)] * 6]),
        temperature=draw.choice([0.0, 0.0, 0.7, 1.3]),
        seed=[draw.randint(-(10**12), 10**12) for _ in prompts],
        stop=[text(draw, 2) or b"a" for _ in range(draw.choice([0, 0, 1, 2]))],
        record=draw.choice([True, True, "totals", False]),
        no_repeat_ngram_bytes=draw.choice([0, 0, 1, 2, 3, 6]),
    )
    if draw.random() < 0.3:
        found["top_k"] = draw.randint(1, 40)
    if draw.random() < 0.3:
        found["top_p"] = draw.choice([0.3, 0.9])
    return found


def lossless(method):
    """Does a method write the bytes of autoregression?"""
    return method.name in ("ar", "blt-s", "blt-dv", "blt-fv")


def timeless(events):
    """Events without what a clock says."""
    return [replace(event, seconds=0.0) for event in events]


def places(trace):
    """The kind and place of each event."""
    return [(type(event).__name__, event.position) for event in trace.events]


def check_row(model, prompt, method, settings, out):
    """A row is what it is alone and, if the method is lossless, what autoregression writes."""
    if lossless(method) and method.name != "ar":
        plain = bltlab.generate(model, prompt, **settings)
        assert (out.bytes, out.stopped) == (plain.bytes, plain.stopped)
    alone = bltlab.generate(model, prompt, method, **settings)
    assert (out.bytes, out.stopped) == (alone.bytes, alone.stopped)
    if not getattr(method, "min_confidence", 0):  # else rows draft on for each other
        assert places(out.trace) == places(alone.trace)


def check_stop(model, prompts, method, settings, events, draw):
    """Stopped after any event, a stream keeps what it yielded, and says that it was interrupted."""
    stream = bltlab.stream(model, prompts, method, **settings)
    n = draw.randint(0, len(events))
    assert timeless(next(stream) for _ in range(n)) == events[:n]
    stream.close()
    for row, trace in enumerate(stream.traces):
        kept = [event for event in events[:n] if event.row == row]
        assert timeless(trace.events)[: len(kept)] == kept
        is_whole = bool(kept) and isinstance(kept[-1], Finished)
        assert len(trace.events) == len(kept) + (not is_whole)
        assert trace.events[-1].reason == (kept[-1].reason if is_whole else "interrupted")
        assert Trace.from_json(trace.to_json()).bytes == trace.bytes


def check_trace(trace, prompt, out):
    """A trace is read back as it was, and plays to the text."""
    again = Trace.from_json(trace.to_json())
    assert again == trace and asdict(again.totals) == asdict(trace.totals)
    assert bytes(cell.id - vocab.OFFSET for cell in again.canvas().cells) == prompt + out


def check_repeats(method, n, prompt, out):
    """No new run of n bytes stands there twice; in a block, neighbours may be revealed at once."""
    whole = prompt + out
    for at in range(max(0, len(prompt) - n + 1), len(whole) - n + 1) if n else ():
        assert method.name == "blt-d" or whole.find(whole[at : at + n]) == at


@pytest.mark.parametrize("seed", range(CASES))
def test_a_random_decoding(seed):
    draw = random.Random(f"case {seed}")
    model = model_of(draw.randrange(240))
    prompts = [text(draw) for _ in range(draw.choice([1, 1, 2, 3, 4]))]
    method, settings = method_of(draw, model), settings_of(draw, prompts)

    whole = bltlab.generate(model, prompts, method, **settings)
    for prompt, out in zip(prompts, whole, strict=True):
        check_trace(out.trace, prompt, out.bytes)
        check_repeats(method, settings["no_repeat_ngram_bytes"], prompt, out.bytes)
    row = draw.randrange(len(prompts))
    check_row(model, prompts[row], method, settings | {"seed": settings["seed"][row]}, whole[row])
    if draw.random() < 0.3:
        events = timeless(bltlab.stream(model, prompts, method, **settings))
        for number, out in enumerate(whole):
            assert [e for e in events if e.row == number] == timeless(out.trace.events)
        check_stop(model, prompts, method, settings, events, draw)
