"""How good a model is, apart from how it decodes."""

import math

import torch

from .. import vocab
from ..state import DecodingState


def score(model, text, chunk=512):
    """Bits per byte of a text (str or bytes) under the model read autoregressively, BOS in front, EOS not scored.

    Raises ValueError for an empty text.
    """
    ids = torch.tensor(vocab.encode(text), device=model.device)
    if len(ids) < 2:
        raise ValueError("score needs a text of at least one byte, got an empty one")
    state, nats = DecodingState(model, max_length=len(ids)), 0.0
    for begin in range(0, len(ids) - 1, chunk):
        piece = ids[begin : begin + chunk]
        targets = ids[begin + 1 : begin + 1 + len(piece)]
        log_probs = state.extend(piece)[0, : len(targets)].log_softmax(-1)
        nats -= log_probs.gather(1, targets[:, None]).sum().item()
    return nats / (len(ids) - 1) / math.log(2)
