"""The text of a run: which documents it reads, and the threshold that cuts them into patches of a mean length."""

from dataclasses import replace

import numpy as np
import torch

from .. import vocab
from ..patching import next_opens, surprising


def some_documents(ids, most, seed):
    """The stream (N,) itself, or whole documents of it, drawn at random but in order, that come to `most` ids or just above.

    A longer run draws the same documents and more. So patches need not be found for text that is never read.
    """
    if len(ids) <= most:
        return ids
    ends = np.flatnonzero(ids == vocab.BOS_ID) + 1                   # a document's EOS is followed by the BOS of the next
    starts = np.append(0, ends[:-1])
    order = torch.randperm(len(ends), generator=torch.Generator().manual_seed(seed)).numpy()
    enough = np.searchsorted(np.cumsum((ends - starts)[order]), most) + 1
    return np.concatenate([ids[starts[i]:ends[i]] for i in np.sort(order[:enough])])


def choose_threshold(config, entropies, ids, patch_length):
    """Threshold in nats that gives a mean patch of `patch_length` bytes on ids, entropies (N, T), to about 1 %.

    It stands in the middle of the widest gap between entropies thereabouts, so that rounding moves no boundary.
    """
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    low, high = 0.0, float(entropies.max())
    for _ in range(40):
        middle = (low + high) / 2
        surprise = surprising(replace(config, threshold=middle), ids, entropies)
        opens = next_opens(surprise, positions, torch.zeros(len(ids), dtype=torch.long), config.max_patch_length)
        low, high = (middle, high) if opens.numel() / opens.sum().item() < patch_length else (low, middle)
    values = entropies.flatten().sort().values
    at, near = int(torch.searchsorted(values, middle)), 1 + len(values) // 500
    values = values[max(0, at - near):at + near]
    gap = values.diff().argmax()
    return (values[gap] + values[gap + 1]).item() / 2
