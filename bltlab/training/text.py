"""The text of a run: what it reads and is measured on, and the threshold that cuts them into patches of a mean length."""

from dataclasses import replace

import numpy as np
import torch

from .. import data, vocab
from ..patching import next_opens, surprising


def read(source, most):
    """(ids to train on, at most about `most`; ids to measure on) of a corpus.

    Where it has one split only, as a single file has, the last twentieth of its text is kept to measure on.
    Raises what `data.documents` raises.
    """
    found = {}
    for split, limit in (("train", most), ("test", 4e6)):
        try:
            found[split] = data.stream(data.documents(source, split), limit)
        except data.EmptySplit as error:
            missing = error
    if not found:
        raise missing
    if len(found) == 2:
        return found["train"], found["test"]
    (ids,) = found.values()
    cut = len(ids) - len(ids) // 20
    return ids[:cut], ids[cut:]


def some_documents(ids, most, seed):
    """The stream (N,) itself, or `most` ids of it: documents drawn at random, the last of them cut, left in order.

    A longer run draws the same documents and more. So patches need not be found for text that is never read.
    """
    if len(ids) <= most:
        return ids
    ends = (
        np.flatnonzero(ids == vocab.BOS_ID) + 1
    )  # a document's EOS is followed by the BOS of the next
    ends = np.union1d(ends, len(ids))
    starts = np.append(0, ends[:-1])
    order = torch.randperm(len(ends), generator=torch.Generator().manual_seed(seed)).numpy()
    sizes = np.cumsum((ends - starts)[order])
    enough = np.searchsorted(sizes, most) + 1
    ends[order[enough - 1]] -= sizes[enough - 1] - int(most)
    return np.concatenate([ids[starts[i] : ends[i]] for i in np.sort(order[:enough])])


def choose_threshold(config, entropies, ids, patch_length):
    """Threshold in nats that gives a mean patch of `patch_length` bytes on ids, entropies (N, T), to about 1 %.

    It stands in the middle of the widest gap between entropies thereabouts, so that rounding moves no boundary.
    """
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    low, high = 0.0, float(entropies.max())
    for _ in range(40):
        middle = (low + high) / 2
        surprise = surprising(replace(config, threshold=middle), ids, entropies)
        opens = next_opens(
            surprise, positions, torch.zeros(len(ids), dtype=torch.long), config.max_patch_length
        )
        low, high = (
            (middle, high) if opens.numel() / opens.sum().item() < patch_length else (low, middle)
        )
    values = entropies.flatten().sort().values
    at, near = int(torch.searchsorted(values, middle)), 1 + len(values) // 500
    values = values[max(0, at - near) : at + near]
    gap = values.diff().argmax()
    return (values[gap] + values[gap + 1]).item() / 2
