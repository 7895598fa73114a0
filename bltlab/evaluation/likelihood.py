"""How well a model predicts text: bits per byte."""

import math
from typing import Any, overload

import torch

from .. import memory, vocab
from ..layers import check_numbers
from ..model import BLT
from ..state import DecodingState


@overload
def score(model: BLT, text: str | bytes, chunk: int = 512) -> float:
    """Of one text, a number."""


@overload
def score(model: BLT, text: list[Any], chunk: int = 512) -> list[float]:
    """Of several, a list."""


@memory.needed()
def score(model: BLT, text: str | bytes | list[Any], chunk: int = 512) -> float | list[float]:
    """Bits per byte of a text under the model read autoregressively, BOS in front, EOS not scored.

    For a list of texts, a list. Fewer bits are better. Guessing all 256 bytes alike costs 8: more
    than that is worse than knowing nothing, so the model was trained on text of another kind.

    A text longer than the model's `max_length` is read in windows of that length, each beginning
    with the last quarter of the one before, which is not scored again. So time is linear in the
    length of the text, and memory does not grow with it.

    chunk: bytes read at once; it changes the memory needed, not the result. Raises ValueError for
    an empty text.
    """
    if isinstance(text, list):
        return [score(model, one, chunk) for one in text]
    data = vocab.to_bytes(text)
    if not data:
        raise ValueError("score needs a text of at least one byte, got an empty one")
    most = max(1, model.config.max_length - 1)  # without BOS
    again = most // 4
    nats = 0.0
    for start in range(0, max(1, len(data) - again), most - again):
        known = again if start else 0
        nats += _nats_of_window(model, data[start : start + most], known, chunk)
    return nats / len(data) / math.log(2)


def _nats_of_window(model: BLT, data: bytes, known: int, chunk: int) -> float:
    """Nats of all bytes but the first `known`, read from BOS on."""
    ids = torch.tensor(vocab.encode(data), device=model.device)
    state = DecodingState(model, max_length=len(ids))
    nats = 0.0
    for begin in range(0, len(ids) - 1, chunk):
        read = ids[begin : begin + chunk]
        targets = ids[begin + 1 : begin + 1 + len(read)]
        logits = check_numbers(state.extend(read)[0, : len(targets)], "the logits")
        log_probs = logits.log_softmax(-1)
        new = log_probs.gather(1, targets[:, None])[max(0, known - begin) :]
        nats -= new.sum().item()
    return nats


def nats_after(model: BLT, context: bytes, text: bytes) -> float:
    """Nats of a text after a context, in one window from BOS on."""
    return _nats_of_window(model, context + text, len(context), len(context) + len(text))
