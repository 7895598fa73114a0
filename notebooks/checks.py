"""Checks of the exercises: each holds a learner's function beside the library's.

The library is the solution: put `??` behind the call in an exercise to read it. An exercise that
was left untouched calls the library and passes. A check prints one line if yours agrees; otherwise
it raises AssertionError, in one sentence that names the first counter-example. The first line of
each check says what your function takes and returns.
"""

import copy
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

import bltlab
from bltlab import data, diffusion, masks, model, patching
from bltlab.config import HashConfig, PatcherConfig
from bltlab.decoding import moves
from bltlab.sampling import Pick
from bltlab.viz import figures

Answer = Callable[..., Any]  # a learner's function, or the library's beside it
Describe = Callable[..., str]  # the arguments of a call -> "the text 'Hi'"


# -- comparing -------------------------------------------------------------------------------------


def _say(value: Any) -> str:
    """A value as it stands in a sentence, cut where it is long.

    >>> _say(torch.tensor([1, 2])), _say(1 / 3)
    ('[1, 2]', '0.33333')
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 140 else text[:100] + " ... " + text[-30:]


def _plain(value: Any) -> Any:
    """Tensors, arrays and tuples as lists: how a result is wrapped does not matter.

    >>> _plain((torch.tensor([1, 2]), 3))
    [[1, 2], 3]
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _same(a: Any, b: Any) -> bool:
    """Are two plain values equal? Floats may differ by rounding.

    >>> _same([1, 0.1 + 0.2], [1, 0.3]), _same([1], [1, 2])
    (True, False)
    """
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if not (isinstance(a, float) or isinstance(b, float)):
        return a == b
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    return numbers and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-8)


def _bits(flags: Any) -> str:
    """Flags as a sentence holds them: [1, 0, 1]."""
    return _say([int(flag) for flag in flags])


def _raised(name: str, given: str, error: Exception) -> AssertionError:
    """What to raise where the learner's function raised."""
    return AssertionError(f"{name}: with {given}, yours raised {type(error).__name__}: {error}")


def _run(name: str, yours: Answer, arguments: tuple, given: str) -> Any:
    """What the learner's function returns. It gets copies, so it may change its arguments."""
    try:
        return yours(*copy.deepcopy(arguments))
    except Exception as error:
        raise _raised(name, given, error) from None


def _compare(
    name: str, yours: Answer, library: Answer, cases: list[tuple], describe: Describe
) -> None:
    """Call yours and the library's with every case. describe(*case): its arguments in words."""
    for case in cases:
        given = describe(*case)
        result = _plain(_run(name, yours, case, given))
        wanted = _plain(library(*case))
        if not _same(result, wanted):
            raise AssertionError(
                f"{name}: with {given}, yours says {_say(result)}, the library says {_say(wanted)}"
            )
    print(f"{name}: yours agrees with the library on {len(cases)} cases")


# -- what the cases are made of --------------------------------------------------------------------


@lru_cache
def _model() -> bltlab.BLT:
    """A small random model in float64, sure of nothing; its patches are cut by length alone."""
    config = bltlab.BLTConfig.preset("tiny")
    config = replace(config, patcher=replace(config.patcher, threshold=99.0, max_patch_length=5))
    model = bltlab.BLT(config).initialise(3).double().eval().requires_grad_(False)
    for p in model.parameters():  # embeddings as large as all else: every byte matters
        if p.ndim == 2:
            p.mul_(p.std().reciprocal() * p.shape[1] ** -0.5)
    model.decoder.output.weight.mul_(2)
    return model


@lru_cache
def _traces() -> list[bltlab.Trace]:
    """What five methods write after three prompts, 21 bytes each."""
    methods = (
        bltlab.Autoregressive(),
        bltlab.SelfSpeculation(4),
        bltlab.BlockDiffusion(6, bltlab.TopK(2)),
        bltlab.DiffusionVerification(4),
        bltlab.DiffusionVerification(4, own_byte="none"),
    )
    traces = []
    for seed, prompt in enumerate(("", "né", "a river")):
        for method in methods:
            written = bltlab.generate(
                _model(), prompt, method, max_new_bytes=21, temperature=0.9, seed=seed
            )
            traces.append(written.trace)
    return traces


def _random_flags(
    draw: random.Random, first: list[bool], probability: float, most: int
) -> list[bool]:
    """`first`, then 0 to `most` flags that are true with this probability."""
    more = draw.randint(0, most)
    return first + [draw.random() < probability for _ in range(more)]


def _random_ids(draw: random.Random, low: int, high: int, count: int) -> list[int]:
    """`count` ids in low..high."""
    return [draw.randint(low, high) for _ in range(count)]


# -- 00 tour ---------------------------------------------------------------------------------------


def encode(yours: Answer) -> None:
    """yours(text) -> its ids: BOS, then each UTF-8 byte + 4."""
    texts = ["Hi", "", "né", "川は冷たい。", "a\x00b\n"]
    texts += ["".join(random.Random(seed).choices("aé川🙂 ", k=9)) for seed in range(40)]
    cases = [(text,) for text in texts]
    _compare("encode", yours, bltlab.encode, cases, lambda text: f"the text {text!r}")


def new_bytes(yours: Answer) -> None:
    """yours(data) -> the new bytes of a trace, from its JSON."""

    def library(data):
        return bltlab.Trace.from_json(data).bytes

    def given(data):
        return f"a trace of {data['method']['name']} with {len(data['events'])} events"

    cases = [(trace.to_json(),) for trace in _traces()]
    _compare("new_bytes", yours, library, cases, given)


def on_screen(yours: Answer) -> None:
    """yours(trace, step) -> the ids on screen after the first `step` events."""

    def library(trace, step):
        return trace.canvas(step).ids

    def given(trace, step):
        last = type(trace.events[step - 1]).__name__ if step else "none"
        return f"{trace.method['name']} after {step} events (the last is {last})"

    cases = [(trace, step) for trace in _traces() for step in range(len(trace.events) + 1)]
    _compare("on_screen", yours, library, cases, given)


# -- 01 patching -----------------------------------------------------------------------------------


def entropy(yours: Answer) -> None:
    """yours(logits) -> the entropy of their softmax, in nats."""

    def library(logits):
        return patching.entropy(torch.tensor(logits, dtype=torch.float64)).item()

    def given(logits):
        return f"logits {_say([round(v, 3) for v in logits])}"

    draw = random.Random(0)
    cases = [([0.0, 0.0],), ([2.0, 2.0, 2.0, 2.0],), ([1.0, -1.0, 0.5],), ([1000.0, 0.0, -1000.0],)]
    for _ in range(100):
        count = draw.randint(2, 9)
        cases.append(([draw.gauss(0, 3) for _ in range(count)],))
    _compare("entropy", yours, library, cases, given)


def opens_next(yours: Answer) -> None:
    """yours(surprise, limit) -> after each byte, whether the next one opens a patch.

    surprise: by byte, whether the entropy after it is above the threshold.
    limit: bytes of a patch at most.
    """

    def library(surprise, limit):
        positions, start = torch.arange(len(surprise))[None], torch.tensor([0])
        return patching.next_opens(torch.tensor([surprise]), positions, start, limit)[0]

    def given(surprise, limit):
        return f"surprise {_bits(surprise)} and a limit of {limit} bytes"

    draw = random.Random(0)
    cases = [(_random_flags(draw, [True], 0.2, 24), draw.randint(1, 8)) for _ in range(200)]
    _compare("opens_next", yours, library, cases, given)


def cut(yours: Answer) -> None:
    """yours(text) -> where the patches of a text in bytes start.

    Any rule is right that starts at 0, rises, and never looks ahead: the library is not asked.
    """
    draw = random.Random(0)
    count = 0
    for _ in range(24):
        length = draw.randint(1, 40)
        text = bytes(draw.choices(b"the river, and a boat. \xe5\xb7\x9d\xc3\xa9\xff", k=length))
        starts = _cut(yours, text)
        _check_starts(text, starts)
        for n in range(1, len(text)):
            _check_prefix(text, n, _cut(yours, text[:n]), starts)
        count += len(text) - 1
    print(f"cut: your rule gave {count} prefixes the patches they have in the whole text")


def _cut(yours: Answer, text: bytes) -> Any:
    return _plain(_run("cut", yours, (text,), f"the text {text!r}"))


def _check_starts(text: bytes, starts: Any) -> None:
    """Raise where patches do not start at 0, or do not rise inside the text."""
    rises = bool(starts) and starts[0] == 0 and sorted(set(starts)) == starts
    if not rises or starts[-1] >= len(text):
        raise AssertionError(
            f"cut: with the text {text!r}, patches must start at 0 and rise inside its {len(text)} "
            f"bytes, yours start at {_say(starts)}"
        )


def _check_prefix(text: bytes, n: int, alone: Any, starts: list[int]) -> None:
    """Raise where the first n bytes alone have other patches than inside the whole text."""
    kept = [start for start in starts if start < n]
    if alone != kept:
        raise AssertionError(
            f"cut: the first {n} bytes of {text!r} alone start patches at {_say(alone)}, "
            f"but in the whole text at {_say(kept)}: the rule looks ahead"
        )


# -- 02 latents ------------------------------------------------------------------------------------


def reads(yours: Answer) -> None:
    """yours(opens) -> for each byte but the last, the patch whose latent it reads."""

    def library(opens):
        flags = torch.tensor([opens])
        known = torch.ones_like(flags[:, 1:])
        return patching.Patches(flags[:, :-1], flags[:, 1:], known).reads[0]

    draw = random.Random(0)
    cases = [(_random_flags(draw, [True, True], 0.3, 20),) for _ in range(150)]
    _compare("reads", yours, library, cases, lambda opens: f"opens {_bits(opens)}")


def may_read(yours: Answer) -> None:
    """yours(ids, window) -> (T, T): which id may read which, inside its document and the window."""

    def library(ids, window):
        document = model.documents(torch.tensor([ids]))
        return masks.text_mask(document, window)[0].int()

    def given(ids, window):
        return f"ids {ids} and a window of {window}"

    draw = random.Random(0)
    cases = []
    for _ in range(100):
        ids = [1, *draw.choices((1, 70, 71, 72), (1, 3, 3, 3), k=draw.randint(0, 9))]
        cases.append((ids, draw.choice((None, 1, 2, 3, 5))))
    _compare("may_read", yours, library, cases, given)


def hash_rows(yours: Answer) -> None:
    """yours(ids, n, prime, n_rows) -> for each id, the table row of the n-gram that ends there."""

    def library(ids, n, prime, n_rows):
        table = model.HashEmbedding(HashConfig((n,), n_rows, prime), dim=1)
        return table.rows(model.windows(torch.tensor([ids]), n))[0, :, 0]

    def given(ids, n, prime, n_rows):
        return f"ids {_say(ids)}, n = {n}, prime = {prime} and {n_rows} rows"

    draw = random.Random(0)
    texts = [[1, *_random_ids(draw, 4, 259, draw.randint(0, 12))] for _ in range(150)]
    prime = 1_000_000_007
    cases = [(ids, draw.randint(1, 8), prime, draw.choice((7, 61, 6144))) for ids in texts]
    _compare("hash_rows", yours, library, cases, given)


# -- 03 training -----------------------------------------------------------------------------------


def bits_per_byte(yours: Answer) -> None:
    """yours(logits, ids) -> the mean loss of the next byte, in bits. (B, T, V) and (B, T)."""

    def library(logits, ids):
        return diffusion.next_byte_loss(logits, ids).item() / math.log(2)

    def given(logits, ids):
        return f"ids {_say(ids)} and random logits"

    cases = [_random_logits(seed) for seed in range(60)]
    _compare("bits_per_byte", yours, library, cases, given)


def _random_logits(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, 12, 260) and ids (2, 12); some rows hold two documents, some end in padding."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, 260, (2, 12), generator=g)
    ids[:, 0] = 1
    ids[0, 6] = 1 if seed % 2 else 9
    if seed % 3:
        ids[1, 9:] = -1
    return torch.randn(2, 12, 260, generator=g, dtype=torch.float64) * 3, ids


def windows(yours: Answer) -> None:
    """yours(ids, length) -> training windows of that length, each with BOS in front."""
    draw = random.Random(0)
    cases = []
    for _ in range(100):
        ids = np.array(_random_ids(draw, 2, 259, draw.randint(20, 90)), np.int16)
        cases.append((ids, draw.randint(2, 20)))
    _compare(
        "windows",
        yours,
        data.windows,
        cases,
        lambda ids, length: f"{len(ids)} ids and windows of {length}",
    )


def threshold(yours: Answer) -> None:
    """yours(entropies, patch_length) -> the threshold that gives patches of this mean length.

    It may be any number between two entropies: what counts is the mean patch that it gives.
    """
    config = replace(bltlab.BLTConfig.preset("tiny").patcher, max_patch_length=8)
    for seed in range(8):
        g = torch.Generator().manual_seed(seed)
        entropies = torch.rand(24, 256, generator=g) ** (1 + seed % 3) * 4
        wanted = 2.0 + 0.6 * seed
        given = f"random entropies {tuple(entropies.shape)} and a mean patch of {wanted:g} bytes"
        result = float(_run("threshold", yours, (entropies, wanted), given))
        mean = _mean_patch_length(replace(config, threshold=result), entropies)
        if not abs(mean - wanted) < 0.03 * wanted:
            raise AssertionError(
                f"threshold: with {given}, yours says {_say(result)}, which gives "
                f"{mean:.2f} bytes a patch"
            )
    print("threshold: yours gives the mean patch asked for on 8 cases")


def _mean_patch_length(config: PatcherConfig, entropies: torch.Tensor) -> float:
    """Bytes a patch where texts with these entropies (B, T) are cut by this rule."""
    surprise = patching.opens_by_rule(config, torch.zeros_like(entropies).long(), entropies)
    rows, length = entropies.shape
    positions = torch.arange(length).expand(rows, -1)
    start = torch.zeros(rows, dtype=torch.long)
    opened = patching.next_opens(surprise, positions, start, config.max_patch_length)
    return entropies.numel() / opened.sum().item()


# -- 06 block diffusion ----------------------------------------------------------------------------


def _random_blocks(
    sharpness: tuple[float, ...], numbers: tuple[float, ...]
) -> Iterator[tuple[list[list[float]], list[bool], float]]:
    """150 blocks of 5 slots: probabilities (S, V), which slots are masked, and one of the numbers.

    At least one slot is masked. sharpness: scales of the logits; the larger, the surer.
    """
    for seed in range(150):
        g = torch.Generator().manual_seed(seed)
        logits = torch.randn(5, 6, generator=g, dtype=torch.float64)
        probs = (logits * sharpness[seed % len(sharpness)]).softmax(-1)
        masked = torch.rand(5, generator=g) < 0.6
        masked[seed % 5] = True
        yield probs.tolist(), masked.tolist(), numbers[seed % len(numbers)]


def confident(yours: Answer) -> None:
    """yours(probs, masked, threshold) -> the slots that `bltlab.Confidence` reveals."""

    def library(probs, masked, threshold):
        return bltlab.Confidence(threshold)(torch.tensor([probs]), torch.tensor([masked]))[0]

    def given(probs, masked, threshold):
        best = [round(max(slot), 3) for slot in probs]
        return f"best probabilities {best}, masked {_bits(masked)} and threshold {threshold}"

    cases = list(_random_blocks((0.5, 2.0, 4.0), (0.5, 0.7, 0.9)))
    at_the_threshold = [[0.05, 0.95], [0.25, 0.75], [0.5, 0.5]]  # 0.75 is not above 0.75
    cases.append((at_the_threshold, [True, True, True], 0.75))
    _compare("confident", yours, library, cases, given)


def bounded(yours: Answer) -> None:
    """yours(probs, masked, gamma) -> the slots that `bltlab.EntropyBound` reveals."""

    def library(probs, masked, gamma):
        return bltlab.EntropyBound(gamma)(torch.tensor([probs]), torch.tensor([masked]))[0]

    def given(probs, masked, gamma):
        nats = [round(_nats(slot), 3) for slot in probs]
        return f"entropies {nats}, masked {_bits(masked)} and gamma {gamma}"

    cases = list(_random_blocks((1.0, 2.0, 4.0), (0.3, 1.0, 2.5)))
    _compare("bounded", yours, library, cases, given)


def _nats(probs: list[float]) -> float:
    """The entropy of some probabilities."""
    return -sum(p * math.log(p) for p in probs)


def training_mask(yours: Answer) -> None:
    """yours(length, starts, size) -> (L, L): who may read whom; clean bytes first, then blocks."""
    draw = random.Random(0)
    cases = []
    for _ in range(60):
        length = draw.randint(2, 9)
        count = draw.randint(1, min(3, length - 1))
        starts = sorted(draw.sample(range(1, length), count))
        cases.append((length, starts, draw.randint(1, 4)))
    for length, starts, size in cases:
        given = f"{length} clean bytes and blocks of {size} from {starts} on"
        result = _plain(_run("training_mask", yours, (length, starts, size), given))
        wanted = masks.training_mask(length, torch.tensor(starts), size).tolist()
        _check_mask(given, result, wanted)
    print(f"training_mask: yours agrees with the library on {len(cases)} cases")


def _check_mask(given: str, result: Any, wanted: list[list[bool]]) -> None:
    """Raise where a mask has another size, or name the first row and column that differ."""
    size = len(wanted)
    if len(result) != size or any(len(row) != size for row in result):
        raise AssertionError(
            f"training_mask: with {given}, the mask must have {size} rows and columns"
        )
    for q in range(size):
        for kv in range(size):
            if bool(result[q][kv]) != wanted[q][kv]:
                may = "may" if wanted[q][kv] else "may not"
                raise AssertionError(
                    f"training_mask: with {given}, row {q} {may} read column {kv}, "
                    f"yours says the opposite"
                )


# -- 07 self-speculation ---------------------------------------------------------------------------


def accepted_length(yours: Answer) -> None:
    """yours(drafted, target) -> how many drafted ids stand before the first that differs."""

    def library(drafted, target):
        return moves.accepted_length(drafted, target).item()

    draw = random.Random(0)
    cases = []
    for _ in range(200):
        n = draw.randint(1, 6)
        cases.append((_random_ids(draw, 0, 2, n), _random_ids(draw, 0, 2, n)))
    cases += [([1, 2, 3], [1, 2, 3]), ([5], [6])]
    _compare(
        "accepted_length",
        yours,
        library,
        cases,
        lambda drafted, target: f"drafted {drafted} and target {target}",
    )


def draw(yours: Answer) -> None:
    """yours(logits, temperature, seed, position) -> the id that `Pick` draws; logits (V,)."""

    def library(logits, temperature, seed, position):
        pick = Pick(temperature, seeds=(seed,))
        return pick(logits[None], torch.tensor([position])).item()

    def given(logits, temperature, seed, position):
        return f"random logits, temperature {temperature}, seed {seed} and position {position}"

    g = torch.Generator().manual_seed(0)
    cases = []
    for seed in range(120):
        logits = torch.randn(260, generator=g, dtype=torch.float64) * 3
        logits[seed % 4] += 9  # specials with much weight: they must not be drawn, EOS may
        cases.append((logits, (0.5, 0.9, 2.0)[seed % 3], seed % 7, seed))
    _compare("draw", yours, library, cases, given)


def _state(prompt: str) -> bltlab.DecodingState:
    """A state of the small model that has read a prompt."""
    state = bltlab.DecodingState(_model(), max_length=128)
    state.extend(bltlab.encode(prompt))
    return state


def _autoregressive(prompt: str, n: int, pick: Pick) -> list[int]:
    """The n ids that autoregression writes."""
    state = _state(prompt)
    start = state.length
    while state.length < start + n:
        for _ in bltlab.Autoregressive().round(state, pick):
            pass
    return state.rows[0].ids[start:]


def _check_ids(name: str, found: list[int], wanted: list[int], given: str) -> None:
    """Raise where two texts differ, as far as both go."""
    for i, (yours, library) in enumerate(zip(found, wanted, strict=False)):
        if yours != library:
            raise AssertionError(
                f"{name}: with {given}, byte {i} is id {_say(yours)}, "
                f"autoregression writes id {library}"
            )


def write(yours: Answer) -> None:
    """yours(state, n) -> the n ids that autoregression writes, several verified at once.

    It must extend the state fewer than n times: the passes of the entropy model are counted.
    """
    n, saved = 24, 0
    for seed in range(8):
        prompt = f"river {seed}"
        given = f"the prompt {prompt!r} and n = {n}"
        state = _state(prompt)
        before = state.nfe
        try:
            found = _plain(yours(state, n))
        except Exception as error:
            raise _raised("write", given, error) from None
        if not isinstance(found, list) or len(found) != n:
            raise AssertionError(
                f"write: with {given}, yours must return {n} ids, it returned {_say(found)}"
            )
        _check_ids("write", found, _autoregressive(prompt, n, Pick()), given)
        rounds = (state.nfe - before).patcher
        if not 0 < rounds < n:
            raise AssertionError(
                f"write: with {given}, the state was extended {rounds} times for {n} bytes: draft "
                f"several bytes, then extend by all of them at once"
            )
        saved += n - rounds
    print(
        f"write: yours writes the bytes of autoregression on 8 prompts and spares {saved} of "
        f"{8 * n} passes"
    )


# -- 08 diffusion and verification -----------------------------------------------------------------


def _verified_traces() -> list[bltlab.Trace]:
    """The traces of `_traces` whose method verifies what it guessed."""
    return [trace for trace in _traces() if trace.method["name"] in ("blt-s", "blt-dv")]


def acceptance_rate(yours: Answer) -> None:
    """yours(trace) -> accepted guesses / all guesses."""

    def library(trace):
        return trace.totals.acceptance_rate

    def given(trace):
        return f"a {trace.method['name']} trace of {trace.totals.rounds} rounds"

    cases = [(trace,) for trace in _verified_traces()]
    _compare("acceptance_rate", yours, library, cases, given)


def accepted_share(yours: Answer) -> None:
    """yours(traces) -> the share of guesses that was accepted, by their place in the draft."""

    def given(traces):
        return f"traces of {', '.join(trace.method['name'] for trace in traces)}"

    traces = _verified_traces()
    cases = []
    for n in (1, 3, len(traces)):
        cases += [(traces[i : i + n],) for i in range(0, len(traces), n)]
    _compare("accepted_share", yours, figures.accepted_share, cases, given)


def proposer(yours: Answer) -> None:
    """yours(state, pick) -> a `moves.Proposal`, or a generator of events that returns one.

    Any proposal that starts with the model's own byte keeps the text of autoregression.
    """
    n, rounds, committed = 24, 0, 0
    for seed in range(8):
        prompt = f"river {seed}, river {seed}"
        pick = Pick(0.9 * (seed % 2), seeds=(seed,))
        given = f"the prompt {prompt!r} and temperature {pick.temperature}"
        state = _state(prompt)
        start = state.length
        while state.length < start + n:
            proposal = _run_proposer(yours, state, pick, given)
            for _ in moves.verify(state, pick, proposal):
                pass
            rounds += 1
        committed += state.length - start
        told = f"{given}, where the first id must be the model's own"
        found = state.rows[0].ids[start:]
        _check_ids("proposer", found, _autoregressive(prompt, n, pick), told)
    print(
        f"proposer: the bytes of autoregression on 8 prompts, "
        f"{committed / rounds:.2f} bytes a round"
    )


def _run_proposer(
    yours: Answer, state: bltlab.DecodingState, pick: Pick, given: str
) -> moves.Proposal:
    """What a learner's proposer proposes. Raises AssertionError where it is not a proposal."""
    try:
        found = yours(state, pick)
        while not isinstance(found, moves.Proposal):
            next(found)
    except StopIteration as end:  # a generator returns its proposal
        found = end.value
    except Exception as error:
        raise _raised("proposer", given, error) from None
    if not isinstance(found, moves.Proposal) or found.own != 1:
        raise AssertionError(
            f"proposer: with {given}, propose must return a moves.Proposal with own=1"
        )
    return found
