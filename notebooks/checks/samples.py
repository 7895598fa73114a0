"""What the cases of the checks are made of: a small random model, traces, and random numbers."""

import random
from dataclasses import replace
from functools import lru_cache

import torch

import bltlab


@lru_cache
def small_model(loud: int | None = None) -> bltlab.BLT:
    """A small random model in float64, sure of nothing; its patches are cut by length alone.

    loud: an id that it often wants; with EOS its texts end early.
    """
    config = bltlab.BLTConfig.preset("tiny")
    config = replace(config, patcher=replace(config.patcher, threshold=99.0, max_patch_length=5))
    model = bltlab.BLT(config).initialise(3).double().eval().requires_grad_(False)
    for p in model.parameters():  # embeddings as large as all else: every byte matters
        if p.ndim == 2:
            p.mul_(p.std().reciprocal() * p.shape[1] ** -0.5)
    model.decoder.output.weight.mul_(2)
    if loud is not None:
        model.decoder.output.weight[loud].mul_(3)
    return model


@lru_cache
def traces() -> list[bltlab.Trace]:
    """What six methods write after three prompts, 17 bytes each, or to an early end.

    Their drafts are of equal and of unequal length.
    """
    methods = (
        bltlab.Autoregressive(),
        bltlab.SelfSpeculation(4),
        bltlab.SelfSpeculation(5, min_confidence=0.2),
        bltlab.BlockDiffusion(6, bltlab.TopK(2)),
        bltlab.DiffusionVerification(4),
        bltlab.DiffusionVerification(4, own_byte="none"),
    )
    found = []
    for seed, prompt in enumerate(("", "né", "a river")):
        for method in methods:
            model = small_model(bltlab.vocab.EOS_ID if seed == 1 else None)
            written = bltlab.generate(
                model, prompt, method, max_new_bytes=17, temperature=0.9, seed=seed
            )
            found.append(written.trace)
    return found


def state_of(prompt: str) -> bltlab.DecodingState:
    """A state of the small model that has read a prompt."""
    state = bltlab.DecodingState(small_model(), max_length=128)
    state.extend(bltlab.encode(prompt))
    return state


def autoregressive(prompt: str, n: int, pick: bltlab.sampling.Pick) -> list[int]:
    """The n ids that autoregression writes."""
    state = state_of(prompt)
    start = state.length
    while state.length < start + n:
        for _ in bltlab.Autoregressive().round(state, pick):
            pass
    return state.rows[0].ids[start:]


def random_flags(
    draw: random.Random, first: list[bool], probability: float, most: int
) -> list[bool]:
    """`first`, then 0 to `most` flags that are true with this probability."""
    more = draw.randint(0, most)
    return first + [draw.random() < probability for _ in range(more)]


def random_ids(draw: random.Random, low: int, high: int, count: int) -> list[int]:
    """`count` ids in low..high."""
    return [draw.randint(low, high) for _ in range(count)]


def random_logits(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (B, T, V) and ids (B, T).

    Some rows hold two documents, some end in padding; the first texts are short.
    """
    g = torch.Generator().manual_seed(seed)
    B, T, V = (1, 3 + seed // 4, 5) if seed < 12 else (2, 12, 260)
    ids = torch.randint(2, V, (B, T), generator=g)
    ids[:, 0] = 1
    if T > 3 and seed % 2:
        ids[0, T // 2] = 1
    if seed % 3:
        ids[-1, T - T // 3 :] = -1
    return torch.randn(B, T, V, generator=g, dtype=torch.float64) * 3, ids
