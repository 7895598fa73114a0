"""Text to training windows: documents from `datasets`, a split by document, packing with BOS and EOS."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from . import checkpoints, vocab

SPLITS = ("train", "test")


def documents(source, split="train"):
    """Yield the texts of one split of a corpus.

    source: a name shipped with bltlab ("plain-english"); a .jsonl (also .gz, .xz), .txt or .parquet file or a folder of
    them; or a hub data set id. Records hold `text` and may hold `split` ("train" or "test"); without it, a text is a test
    text where its sha256 falls in the lowest 2 %. Raises FileNotFoundError or ValueError in one sentence.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    for record in _records(str(source)):
        text = record.get("text")
        if not isinstance(text, str):
            raise ValueError(f"{source}: every record needs a string `text`, got {type(text).__name__}")
        if (record.get("split") or _split_of(text)) == split:
            yield text


def _split_of(text):
    return "test" if hashlib.sha256(text.encode()).digest()[0] < 5 else "train"


def _records(source):
    from datasets import load_dataset                                # slow to import: only where text is read
    path = Path(source)
    shipped = checkpoints.assets() / "text" / f"{source}.jsonl.xz"
    path = shipped if shipped.is_file() else path
    if path.is_dir() or path.is_file():
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        kinds = {"json": [], "text": [], "parquet": []}
        for file in files:
            kind = {".jsonl": "json", ".json": "json", ".txt": "text", ".parquet": "parquet"}.get(
                file.with_suffix("").suffix if file.suffix in (".gz", ".xz") else file.suffix)
            if kind:
                kinds[kind].append(str(file))
        if not any(kinds.values()):
            raise ValueError(f"{source} holds no .jsonl, .txt or .parquet file")
        for kind, names in kinds.items():
            if names:
                options = {"sample_by": "document"} if kind == "text" else {}
                yield from load_dataset(kind, data_files=names, split="train", streaming=True, **options)
    elif source.count("/") == 1:
        yield from load_dataset(source, split="train", streaming=True)
    else:
        raise FileNotFoundError(f"{source} is no file, no folder, no shipped corpus and no hub id")


def stream(texts):
    """Documents one after another as one array of ids: bytes, EOS, BOS of the next."""
    pieces = [np.frombuffer(vocab.to_bytes(t), np.uint8).astype(np.int16) + vocab.OFFSET for t in texts]
    if not pieces:
        raise ValueError("the corpus has no document in this split")
    ends = np.array([vocab.EOS_ID, vocab.BOS_ID], np.int16)
    return np.concatenate([part for piece in pieces for part in (piece, ends)])


def windows(ids, length, offset=0):
    """A stream cut into windows (N, length): BOS, then length - 1 ids; documents inside keep their own BOS.

    Where documents are shorter than a window, each window is moved on to the next document's start, so that none begins
    in the middle of one.
    """
    body = ids[offset:]
    n = len(body) // (length - 1)
    if n == 0:
        raise ValueError(f"the corpus has {len(body)} bytes, fewer than one window of {length}")
    starts = np.arange(n) * (length - 1)
    begins = np.flatnonzero(body == vocab.BOS_ID) + 1
    if len(begins) * (length - 1) > len(body):
        starts = np.append(begins, len(body))[np.searchsorted(begins, starts)]
        starts = np.minimum(starts, len(body) - (length - 1))
    cut = torch.from_numpy(body[starts[:, None] + np.arange(length - 1)].astype(np.int64))
    return torch.cat([torch.full((n, 1), vocab.BOS_ID), cut], 1)


class Batches:
    """Shuffled windows for ever, seeded; position in the data is two integers, so it resumes exactly."""

    def __init__(self, ids, length, batch_size, seed):
        self.ids, self.length, self.batch_size, self.seed = ids, length, batch_size, seed
        self.epoch, self.index = 0, 0
        self._shuffle()

    def _shuffle(self):
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        shift = int(torch.randint(self.length - 1, (), generator=generator)) if self.epoch else 0
        self._windows = windows(self.ids, self.length, min(shift, max(0, len(self.ids) - self.length)))
        self._order = torch.randperm(len(self._windows), generator=generator)

    def next(self):
        """(batch_size, length) ids."""
        if self.index + self.batch_size > len(self._order):
            self.epoch, self.index = self.epoch + 1, 0
            self._shuffle()
        rows = self._order[self.index:self.index + self.batch_size]
        self.index += self.batch_size
        return self._windows[rows]

    def state(self):
        return {"epoch": self.epoch, "index": self.index}

    def resume(self, state):
        self.epoch, self.index = state["epoch"], state["index"]
        self._shuffle()
