"""The text of a run: what it is trained and measured on."""

from pathlib import Path

import numpy as np
import torch

from .. import data, vocab
from ..patching import choose_threshold  # noqa: F401  (its first home)

MOST_HELD_OUT = 4e6  # bytes that are read to measure on


def read_corpus(source: str | Path, most: float) -> tuple[np.ndarray, np.ndarray]:
    """(ids to train on, at most about `most`; ids to measure on) of a corpus, its documents joined.

    Where it has one split only, as a single file has, the last twentieth of its text is kept to
    measure on; but what says itself that it is a test split is never trained on. Raises what
    `data.read_documents` raises.
    """
    found = []
    missing = None
    for split, limit in (("train", most), ("test", MOST_HELD_OUT)):
        try:
            found.append(data.join_documents(data.read_documents(source, split), limit))
        except data.EmptySplit as error:
            if split == "train" and error.said:
                raise
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
