"""The exercises' checks: each holds a learner's function against the library and names the first counter-example.

The library is the solution: put `??` behind the call in an exercise to read it. An exercise left untouched passes.
"""

import copy
import math
import random
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

import bltlab
from bltlab import data, diffusion, layers, model, patching
from bltlab.decoding import moves
from bltlab.sampling import Pick
from bltlab.viz import figures


def _say(value):
    """A value as it is read in a sentence, cut where it is long."""
    value = value.tolist() if hasattr(value, "tolist") else value
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 140 else text[:100] + " ... " + text[-30:]


def _plain(value):
    """Tensors, arrays and tuples as lists, so that the way a result is wrapped does not matter."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) or isinstance(b, float):
        return (
            isinstance(a, (int, float))
            and isinstance(b, (int, float))
            and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-8)
        )
    return a == b


def _run(name, yours, arguments, given):
    """Call the learner's function on copies, so that it may change what it is given."""
    try:
        return yours(*copy.deepcopy(arguments))
    except Exception as error:
        raise AssertionError(
            f"{name}: with {given}, yours raised {type(error).__name__}: {error}"
        ) from None


def _compare(name, yours, library, cases, given):
    """Yours and the library's on every case; given(*case) describes one in words."""
    for case in cases:
        result, wanted = _plain(_run(name, yours, case, given(*case))), _plain(library(*case))
        if not _same(result, wanted):
            raise AssertionError(
                f"{name}: with {given(*case)}, yours says {_say(result)}, the library says {_say(wanted)}"
            )
    print(f"{name}: yours agrees with the library on {len(cases)} cases")


@lru_cache
def _model():
    """A small random model in float64 whose patches are cut by length alone: fast, and sure of nothing."""
    config = bltlab.BLTConfig.preset("tiny")
    config = replace(config, patcher=replace(config.patcher, threshold=99.0, max_patch_length=5))
    model = bltlab.BLT(config).initialise(3).double().eval().requires_grad_(False)
    for p in model.parameters():  # embeddings as large as all else: every byte matters
        if p.ndim == 2:
            p.mul_(p.std().reciprocal() * p.shape[1] ** -0.5)
    model.decoder.output.weight.mul_(2)
    return model


@lru_cache
def _traces():
    methods = (
        bltlab.Autoregressive(),
        bltlab.SelfSpeculation(4),
        bltlab.BlockDiffusion(6, bltlab.TopK(2)),
        bltlab.DiffusionVerification(4),
        bltlab.DiffusionVerification(4, own_byte="none"),
    )
    settings = dict(max_new_bytes=21, temperature=0.9)
    return [
        bltlab.generate(_model(), prompt, m, seed=s, **settings).trace
        for s, prompt in enumerate(("", "né", "a river"))
        for m in methods
    ]


# -- 00 tour -----------------------------------------------------------------------------------------------------------


def encode(yours):
    texts = ["Hi", "", "né", "川は冷たい。", "a\x00b\n"]
    texts += ["".join(random.Random(seed).choices("aé川🙂 ", k=9)) for seed in range(40)]
    _compare(
        "encode", yours, bltlab.encode, [(t,) for t in texts], lambda text: f"the text {text!r}"
    )


def new_bytes(yours):
    cases = [(trace.to_json(),) for trace in _traces()]
    _compare(
        "new_bytes",
        yours,
        lambda d: bltlab.Trace.from_json(d).bytes,
        cases,
        lambda d: f"a trace of {d['method']['name']} with {len(d['events'])} events",
    )


def on_screen(yours):
    cases = [(trace, step) for trace in _traces() for step in range(len(trace.events) + 1)]
    _compare(
        "on_screen",
        yours,
        lambda trace, step: trace.canvas(step).ids,
        cases,
        lambda trace, step: (
            f"{trace.method['name']} after {step} events (the last is {_kind(trace, step)})"
        ),
    )


def _kind(trace, step):
    return type(trace.events[step - 1]).__name__ if step else "none"


# -- 01 patching -------------------------------------------------------------------------------------------------------


def entropy(yours):
    draw = random.Random(0)
    cases = [([0.0, 0.0],), ([2.0, 2.0, 2.0, 2.0],), ([1.0, -1.0, 0.5],), ([1000.0, 0.0, -1000.0],)]
    cases += [([draw.gauss(0, 3) for _ in range(draw.randint(2, 9))],) for _ in range(100)]
    _compare(
        "entropy",
        yours,
        lambda z: patching.entropy(torch.tensor(z, dtype=torch.float64)).item(),
        cases,
        lambda logits: f"logits {_say([round(v, 3) for v in logits])}",
    )


def opens_next(yours):
    draw = random.Random(0)
    cases = [
        ([True] + [draw.random() < 0.2 for _ in range(draw.randint(0, 24))], draw.randint(1, 8))
        for _ in range(200)
    ]
    _compare(
        "opens_next",
        yours,
        _opens_next,
        cases,
        lambda surprise, limit: (
            f"surprise {_say([int(s) for s in surprise])} and a limit of {limit} bytes"
        ),
    )


def _opens_next(surprise, limit):
    return patching.next_opens(
        torch.tensor([surprise]), torch.arange(len(surprise))[None], torch.tensor([0]), limit
    )[0]


def cut(yours):
    """No library to agree with: any rule will do that starts at 0, rises, and never looks ahead."""
    draw, count = random.Random(0), 0
    for case in range(24):
        text = bytes(
            draw.choices(b"the river, and a boat. \xe5\xb7\x9d\xc3\xa9\xff", k=draw.randint(1, 40))
        )
        whole = _plain(_run("cut", yours, (text,), f"the text {text!r}"))
        if not whole or whole[0] != 0 or sorted(set(whole)) != whole or whole[-1] >= len(text):
            raise AssertionError(
                f"cut: with the text {text!r}, patches must start at 0 and rise inside its {len(text)} "
                f"bytes, yours start at {_say(whole)}"
            )
        for n in range(1, len(text)):
            part, kept = (
                _plain(_run("cut", yours, (text[:n],), f"the text {text[:n]!r}")),
                [s for s in whole if s < n],
            )
            if part != kept:
                raise AssertionError(
                    f"cut: the first {n} bytes of {text!r} alone start patches at {_say(part)}, but in the "
                    f"whole text at {_say(kept)}: the rule looks ahead"
                )
            count += 1
    print(f"cut: your rule gave {count} prefixes the patches they have in the whole text")


# -- 02 latents --------------------------------------------------------------------------------------------------------


def reads(yours):
    draw = random.Random(0)
    cases = [
        ([True, True, *(draw.random() < 0.3 for _ in range(draw.randint(0, 20)))],)
        for _ in range(150)
    ]
    _compare("reads", yours, _reads, cases, lambda opens: f"opens {_say([int(o) for o in opens])}")


def _reads(opens):
    opens = torch.tensor([opens])
    return patching.Patches(opens[:, :-1], opens[:, 1:], torch.ones_like(opens[:, 1:])).reads[0]


def may_read(yours):
    draw = random.Random(0)
    cases = [
        (
            [1, *draw.choices((1, 70, 71, 72), (1, 3, 3, 3), k=draw.randint(0, 9))],
            draw.choice((None, 1, 2, 3, 5)),
        )
        for _ in range(100)
    ]
    library = lambda ids, window: layers.text_mask(model.documents(torch.tensor([ids])), window)[0]
    _compare(
        "may_read",
        yours,
        lambda ids, window: library(ids, window).int(),
        cases,
        lambda ids, window: f"ids {ids} and a window of {window}",
    )


def hash_rows(yours):
    draw, prime = random.Random(0), 1_000_000_007
    texts = [[1, *(draw.randint(4, 259) for _ in range(draw.randint(0, 12)))] for _ in range(150)]
    cases = [(ids, draw.randint(1, 8), prime, draw.choice((7, 61, 6144))) for ids in texts]
    _compare(
        "hash_rows",
        yours,
        _hash_rows,
        cases,
        lambda ids, n, prime, n_rows: (
            f"ids {_say(ids)}, n = {n}, prime = {prime} and {n_rows} rows"
        ),
    )


def _hash_rows(ids, n, prime, n_rows):
    table = model.HashEmbedding(bltlab.config.HashConfig((n,), n_rows, prime), dim=1)
    return table.rows(model.windows(torch.tensor([ids]), n))[0, :, 0]


# -- 03 training -------------------------------------------------------------------------------------------------------


def bits_per_byte(yours):
    cases = []
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        ids = torch.randint(2, 260, (2, 12), generator=g)
        ids[:, 0], ids[0, 6] = 1, (1 if seed % 2 else 9)
        if seed % 3:
            ids[1, 9:] = -1
        cases.append((torch.randn(2, 12, 260, generator=g, dtype=torch.float64) * 3, ids))
    library = lambda logits, ids: diffusion.next_byte_loss(logits, ids).item() / math.log(2)
    _compare(
        "bits_per_byte",
        yours,
        library,
        cases,
        lambda logits, ids: f"ids {_say(ids)} and random logits",
    )


def windows(yours):
    draw = random.Random(0)
    cases = [
        (
            np.array([draw.randint(2, 259) for _ in range(draw.randint(20, 90))], np.int16),
            draw.randint(2, 20),
        )
        for _ in range(100)
    ]
    _compare(
        "windows",
        yours,
        data.windows,
        cases,
        lambda ids, length: f"{len(ids)} ids and windows of {length}",
    )


def threshold(yours):
    """The threshold itself is free inside a gap between entropies: what counts is the mean patch that it gives."""
    config = replace(bltlab.BLTConfig.preset("tiny").patcher, max_patch_length=8)
    for seed in range(8):
        g = torch.Generator().manual_seed(seed)
        entropies, wanted = torch.rand(24, 256, generator=g) ** (1 + seed % 3) * 4, 2.0 + 0.6 * seed
        given = f"random entropies {tuple(entropies.shape)} and a mean patch of {wanted:g} bytes"
        result = float(_run("threshold", yours, (entropies, wanted), given))
        surprise = patching.surprising(
            replace(config, threshold=result), torch.zeros_like(entropies).long(), entropies
        )
        positions, start = torch.arange(256).expand(24, -1), torch.zeros(24, dtype=torch.long)
        opened = patching.next_opens(surprise, positions, start, 8).sum().item()
        if not abs(entropies.numel() / opened - wanted) < 0.03 * wanted:
            raise AssertionError(
                f"threshold: with {given}, yours says {_say(result)}, which gives "
                f"{entropies.numel() / opened:.2f} bytes a patch"
            )
    print("threshold: yours gives the mean patch asked for on 8 cases")


# -- 06 block diffusion ------------------------------------------------------------------------------------------------


def _beliefs(n, sharpness):
    """n random blocks: probabilities (S, V) and masked (S,) as lists, at least one slot masked."""
    for seed in range(n):
        g = torch.Generator().manual_seed(seed)
        probs = (
            torch.randn(5, 6, generator=g, dtype=torch.float64) * sharpness[seed % len(sharpness)]
        ).softmax(-1)
        masked = torch.rand(5, generator=g) < 0.6
        masked[seed % 5] = True
        yield probs.tolist(), masked.tolist()


def _tops(probs):
    return [round(max(slot), 3) for slot in probs]


def confident(yours):
    cases = [
        (p, m, (0.5, 0.7, 0.9)[i % 3]) for i, (p, m) in enumerate(_beliefs(150, (0.5, 2.0, 4.0)))
    ]
    cases += [
        ([[0.05, 0.95], [0.25, 0.75], [0.5, 0.5]], [True, True, True], 0.75)
    ]  # strictly above
    _compare(
        "confident",
        yours,
        lambda p, m, t: bltlab.Confidence(t)(torch.tensor([p]), torch.tensor([m]))[0],
        cases,
        lambda p, m, t: (
            f"best probabilities {_tops(p)}, masked {_say([int(v) for v in m])} and threshold {t}"
        ),
    )


def bounded(yours):
    cases = [
        (p, m, (0.3, 1.0, 2.5)[i % 3]) for i, (p, m) in enumerate(_beliefs(150, (1.0, 2.0, 4.0)))
    ]
    nats = lambda probs: [round(-sum(v * math.log(v) for v in slot), 3) for slot in probs]
    _compare(
        "bounded",
        yours,
        lambda p, m, gamma: bltlab.EntropyBound(gamma)(torch.tensor([p]), torch.tensor([m]))[0],
        cases,
        lambda p, m, gamma: (
            f"entropies {nats(p)}, masked {_say([int(v) for v in m])} and gamma {gamma}"
        ),
    )


def training_mask(yours):
    draw = random.Random(0)
    cases = [
        (
            n := draw.randint(2, 9),
            sorted(draw.sample(range(1, n), draw.randint(1, min(3, n - 1)))),
            draw.randint(1, 4),
        )
        for _ in range(60)
    ]
    _first_difference(
        "training_mask",
        yours,
        lambda n, starts, size: diffusion.training_mask(n, torch.tensor(starts), size),
        cases,
    )


def _first_difference(name, yours, library, cases):
    for length, starts, size in cases:
        given = f"{length} clean bytes and blocks of {size} from {starts} on"
        result, wanted = (
            _plain(_run(name, yours, (length, starts, size), given)),
            _plain(library(length, starts, size)),
        )
        if len(result) != len(wanted) or any(len(row) != len(wanted) for row in result):
            raise AssertionError(
                f"{name}: with {given}, the mask must have {len(wanted)} rows and columns"
            )
        for q, kv in ((q, kv) for q in range(len(wanted)) for kv in range(len(wanted))):
            if bool(result[q][kv]) != wanted[q][kv]:
                raise AssertionError(
                    f"{name}: with {given}, row {q} {'may' if wanted[q][kv] else 'may not'} read column {kv}, "
                    f"yours says the opposite"
                )
    print(f"{name}: yours agrees with the library on {len(cases)} cases")


# -- 07 self-speculation -----------------------------------------------------------------------------------------------


def accepted_length(yours):
    draw = random.Random(0)
    cases = [
        ([draw.randint(0, 2) for _ in range(n)], [draw.randint(0, 2) for _ in range(n)])
        for n in (draw.randint(1, 6) for _ in range(200))
    ]
    cases += [([1, 2, 3], [1, 2, 3]), ([5], [6])]
    _compare(
        "accepted_length",
        yours,
        lambda d, t: moves.accepted_length(d, t).item(),
        cases,
        lambda drafted, target: f"drafted {drafted} and target {target}",
    )


def draw(yours):
    g, cases = torch.Generator().manual_seed(0), []
    for seed in range(120):
        logits = torch.randn(260, generator=g, dtype=torch.float64) * 3
        logits[seed % 4] += 9  # specials with much weight: they must not be drawn, EOS may
        cases.append((logits, (0.5, 0.9, 2.0)[seed % 3], seed % 7, seed))
    library = lambda logits, temperature, seed, position: Pick(temperature, seeds=(seed,))(
        logits[None], torch.tensor([position])
    ).item()
    _compare(
        "draw",
        yours,
        library,
        cases,
        lambda logits, temperature, seed, position: (
            f"random logits, temperature {temperature}, seed {seed} and position {position}"
        ),
    )


def _state(prompt):
    state = bltlab.DecodingState(_model(), max_length=128)
    state.extend(bltlab.encode(prompt))
    return state


def _autoregressive(prompt, n, pick):
    """The n ids that autoregression writes, and the state that wrote them."""
    state, start = _state(prompt), len(bltlab.encode(prompt))
    while state.length < start + n:
        list(bltlab.Autoregressive().round(state, pick))
    return state.rows[0].ids[start:], state


def _part_of_texts(name, wanted, found, given):
    for i, (a, b) in enumerate(zip(wanted, found)):
        if a != b:
            raise AssertionError(
                f"{name}: with {given}, byte {i} is id {_say(b)}, autoregression writes id {a}"
            )


def write(yours):
    """The bytes of autoregression, and fewer passes of the entropy model than bytes: so several were verified at once."""
    saved, n = 0, 24
    for seed in range(8):
        prompt, state = f"river {seed}", _state(f"river {seed}")
        before, given = state.nfe, f"the prompt {prompt!r} and n = {n}"
        try:
            found = _plain(yours(state, n))
        except Exception as error:
            raise AssertionError(
                f"write: with {given}, yours raised {type(error).__name__}: {error}"
            ) from None
        wanted, _ = _autoregressive(prompt, n, Pick())
        if not isinstance(found, list) or len(found) != n:
            raise AssertionError(
                f"write: with {given}, yours must return {n} ids, it returned {_say(found)}"
            )
        _part_of_texts("write", wanted, found, given)
        rounds = (state.nfe - before).patcher
        if not 0 < rounds < n:
            raise AssertionError(
                f"write: with {given}, the state was extended {rounds} times for {n} bytes: draft several "
                f"bytes, then extend by all of them at once"
            )
        saved += n - rounds
    print(
        f"write: yours writes the bytes of autoregression on 8 prompts and spares {saved} of {8 * n} passes"
    )


# -- 08 diffusion and verification -------------------------------------------------------------------------------------


def _verified_traces():
    return [t for t in _traces() if t.method["name"] in ("blt-s", "blt-dv")]


def acceptance_rate(yours):
    _compare(
        "acceptance_rate",
        yours,
        lambda trace: trace.totals.acceptance_rate,
        [(t,) for t in _verified_traces()],
        lambda trace: f"a {trace.method['name']} trace of {trace.totals.rounds} rounds",
    )


def accepted_share(yours):
    traces = _verified_traces()
    cases = [(traces[i : i + n],) for n in (1, 3, len(traces)) for i in range(0, len(traces), n)]
    _compare(
        "accepted_share",
        yours,
        figures.accepted_share,
        cases,
        lambda traces: f"traces of {', '.join(t.method['name'] for t in traces)}",
    )


def proposer(yours):
    """Any proposal that starts with the model's own byte keeps the text of autoregression."""
    n, rounds, committed = 24, 0, 0
    for seed in range(8):
        prompt, pick = f"river {seed}, river {seed}", Pick(0.9 * (seed % 2), seeds=(seed,))
        state, given = _state(prompt), f"the prompt {prompt!r} and temperature {pick.temperature}"
        start = state.length
        while state.length < start + n:
            known = state.length
            proposal = _run_proposer(yours, state, pick, given)
            if not isinstance(proposal, moves.Proposal) or proposal.own != 1:
                raise AssertionError(
                    f"proposer: with {given}, propose must return a moves.Proposal with own=1"
                )
            list(moves.verify(state, pick, proposal))
            rounds, committed = rounds + 1, committed + state.length - known
        wanted, _ = _autoregressive(prompt, n, pick)
        _part_of_texts(
            "proposer",
            wanted,
            state.rows[0].ids[start:],
            given + ", where the first id must be the model's own",
        )
    print(
        f"proposer: the bytes of autoregression on 8 prompts, {committed / rounds:.2f} bytes a round"
    )


def _run_proposer(yours, state, pick, given):
    try:
        running = yours(state, pick)
        while not isinstance(
            running, moves.Proposal
        ):  # a generator of events that returns the proposal
            next(running)
        return running
    except StopIteration as end:
        return end.value
    except Exception as error:
        raise AssertionError(
            f"proposer: with {given}, yours raised {type(error).__name__}: {error}"
        ) from None
