"""The text of a run: what it is trained and measured on, and the threshold for its patches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .. import data, vocab
from ..config import PatcherConfig
from ..patching import next_opens, opens_by_rule

MOST_HELD_OUT = 4e6  # bytes that are read to measure on


def read_corpus(source: str | Path, most: float) -> tuple[np.ndarray, np.ndarray]:
    """(ids to train on, at most about `most`; ids to measure on) of a corpus, its documents joined.

    Where it has one split only, as a single file has, the last twentieth of its text is kept to
    measure on. Raises what `data.read_documents` raises.
    """
    found = []
    missing = None
    for split, limit in (("train", most), ("test", MOST_HELD_OUT)):
        try:
            found.append(data.join_documents(data.read_documents(source, split), limit))
        except data.EmptySplit as error:
            missing = error
    if not found:
        raise missing
    if len(found) == 2:
        return found[0], found[1]
    (ids,) = found
    cut = len(ids) - len(ids) // 20
    return ids[:cut], ids[cut:]


def draw_documents(ids: np.ndarray, most: float, seed: int) -> np.ndarray:
    """Some of the joined documents (N,): `most` ids, drawn at random and left in order; or all.

    The document drawn last is cut. A longer run draws the same documents and more. So patches need
    not be found for text that is never read.
    """
    if len(ids) <= most:
        return ids
    # A document's EOS is followed by the BOS of the next.
    ends = np.union1d(np.flatnonzero(ids == vocab.BOS_ID) + 1, len(ids))
    starts = np.append(0, ends[:-1])
    order = torch.randperm(len(ends), generator=torch.Generator().manual_seed(seed)).numpy()
    sizes = np.cumsum((ends - starts)[order])
    enough = np.searchsorted(sizes, most) + 1
    drawn = order[:enough]
    ends[drawn[-1]] -= sizes[enough - 1] - int(most)
    return np.concatenate([ids[starts[i] : ends[i]] for i in np.sort(drawn)])


def choose_threshold(
    config: PatcherConfig, entropies: torch.Tensor, ids: torch.Tensor, patch_length: float
) -> float:
    """The threshold in nats that gives a mean patch of `patch_length` bytes, to about 1 %.

    entropies, ids: (N, T), windows of text and the entropy of the byte after each position.
    It stands in the middle of the widest gap between entropies thereabouts, so that rounding moves
    no boundary.
    """
    low, high = 0.0, float(entropies.max())
    for _ in range(40):
        middle = (low + high) / 2
        if _mean_patch(replace(config, threshold=middle), entropies, ids) < patch_length:
            low = middle
        else:
            high = middle
    return _middle_of_widest_gap(entropies, middle)


def _mean_patch(config: PatcherConfig, entropies: torch.Tensor, ids: torch.Tensor) -> float:
    """Bytes a patch, by the rule of this config."""
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    start = torch.zeros(len(ids), dtype=torch.long)
    by_rule = opens_by_rule(config, ids, entropies)
    opens = next_opens(by_rule, positions, start, config.max_patch_length)
    return opens.numel() / opens.sum().item()


def _middle_of_widest_gap(entropies: torch.Tensor, near: float) -> float:
    """The middle of the widest gap among the 0.4 % of the values that lie nearest to `near`."""
    values = entropies.flatten().sort().values
    at = int(torch.searchsorted(values, near))
    reach = 1 + len(values) // 500
    values = values[max(0, at - reach) : at + reach]
    gap = values.diff().argmax()
    return (values[gap] + values[gap + 1]).item() / 2
