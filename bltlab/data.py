"""Text to training windows: documents from `datasets`, a split by document, packing with BOS and EOS, shares for ranks.

    documents ["Hi", "Yes"]  ->  stream  H i EOS BOS Y e s EOS BOS  ->  windows  BOS H i EOS | BOS BOS Y e | BOS s EOS BOS

Each window starts with BOS, whatever it cuts through; a document inside keeps its own BOS, and attention stops there.
"""

import glob
import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from . import checkpoints, vocab

SPLITS = ("train", "test")
KINDS = {".jsonl": "json", ".json": "json", ".txt": "text", ".parquet": "parquet"}
NOTES = (
    "dataset_info",
    "dataset_infos",
)  # .json files that a hub data set may hold beside its text


class EmptySplit(ValueError):
    """A corpus has no document in the split that was asked for."""


# -- documents -----------------------------------------------------------------------------------------------------------


def documents(source, split="train"):
    """Yield the texts of one split of a corpus.

    source: a name shipped with bltlab ("plain-english"); a .jsonl, .txt (one document, each line end made \\n) or .parquet
    file, also .gz or .xz; a folder of them, where other files are left out; or a hub data set, "owner/name" or
    "owner/name:config", read as it streams in.
    The corpus's own train and test (or validation) splits are kept. Where it has none, a record's `split` says "train" or
    "test", or else the text's hash does: equal texts are never in two splits.
    Raises FileNotFoundError or ValueError in one sentence.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    source, none = str(source), True
    for record, known in _records(source, split):
        text = record.get("text")
        if not isinstance(text, str):
            raise ValueError(
                f"{source}: every record needs a string `text`, got {type(text).__name__}"
            )
        if "\0" in text:
            raise ValueError(f"{source} holds binary data, not text")
        given = known or record.get("split") or split_of(text)
        if given not in SPLITS:
            raise ValueError(
                f"{source}: a record's `split` must be one of {', '.join(SPLITS)}, got {given!r}"
            )
        if text and given == split:
            none = False
            yield text
    if none:
        hint = (
            "" if split == "train" else ': give some records `"split": "test"`, or name a file test'
        )
        raise EmptySplit(f"{source} has no document in its {split} split{hint}")


def split_of(text):
    """ "test" for 5 texts in 256, by sha256."""
    return (
        "test"
        if hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[0] < 5
        else "train"
    )


def _records(source, split):
    """(record, its split where the corpus has splits of its own), shard by shard."""
    builders, where = _builders(source), ""
    try:
        streams = [
            stream for builder in builders for stream in builder.as_streaming_dataset().items()
        ]
        names = {name for name, _ in streams}
        held_out = next((name for name in ("test", "validation") if name in names), None)
        own = {"train": "train", "test": held_out} if held_out and "train" in names else {}
        for name, stream in streams:
            shards = stream.num_shards if own.get(split, name) == name else 0
            for i in range(shards):
                where = f", shard {i + 1} of {shards} ({name}),"
                for record in stream.shard(shards, i):
                    yield record, own and split
    except Exception as error:  # each file format has its own
        raise ValueError(f"{source}{where} cannot be read: {_reason(error)}") from None


def _reason(error):
    text = (
        " ".join(str(error).split()) or "it is empty"
    )  # datasets ends an empty file with StopIteration
    return text if len(text) < 160 else text[:160] + "..."


def _builders(source):
    """`datasets` builders of a source; several where a folder mixes kinds of files. Other files in it are left out.

    `datasets` takes paths for patterns, hence the escapes: "notes [1].txt" would be found nowhere.
    """
    import datasets  # slow to import: only where text is read

    datasets.logging.set_verbosity(
        datasets.logging.CRITICAL
    )  # what it would print is in what is raised
    shipped = checkpoints.assets() / "text" / f"{source}.jsonl.xz"
    name, _, config = (source, "", "") if Path(source).exists() else source.partition(":")
    path = shipped if shipped.is_file() else Path(name)
    if not name or not path.exists() and name.count("/") != 1:
        raise FileNotFoundError(
            f"{source or repr(source)} is no file, no folder, no shipped corpus and no hub id"
        )
    files = (
        [path]
        if path.is_file()
        else [p for p in path.rglob("[!.]*") if p.is_file() and p.stem not in NOTES]
    )
    kinds = sorted({_kind(file) for file in files} - {None})
    if path.is_file() and not kinds or path.is_dir() and not any(path.iterdir()):
        raise ValueError(f"{source} holds no .jsonl, .txt or .parquet file")
    card = path / "README.md"
    described = (
        card.is_file()
        and "configs:" in card.read_text(encoding="utf-8", errors="replace")
        or any(file.suffix == ".arrow" for file in files)
    )  # as `save_to_disk` leaves it, with .json notes
    try:
        if path.is_file():
            builders = [
                datasets.load_dataset_builder(kind, data_files=glob.escape(str(path)))
                for kind in kinds
            ]
        elif kinds and not config and not described:
            builders = [
                datasets.load_dataset_builder(kind, data_files=_by_split(path, kind))
                for kind in kinds
            ]
        else:
            builders = [datasets.load_dataset_builder(name, config or None)]
    except (OSError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, OSError) else ValueError
        what = (
            source
            if path.exists()
            else f"{source} is no file and no folder here, and as a hub id it"
        )
        raise kind(f"{what} cannot be read: {_reason(error)}") from None
    for builder in builders:
        if hasattr(builder.config, "sample_by"):  # plain text: a file is a document
            builder.config.sample_by = "document"
    return builders


def _kind(path):
    """The `datasets` builder for a file by its name, None for a file that is no text."""
    path = Path(path)
    return KINDS.get((path.with_suffix("") if path.suffix in (".gz", ".xz") else path).suffix)


def _by_split(folder, kind):
    """{split: files} of one kind in a folder, by the names of files and folders, as `datasets` reads them."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    folder = glob.escape(str(folder.resolve()))
    found = DataFilesDict.from_patterns(get_data_patterns(folder), base_path=folder)
    return {
        split: own
        for split, files in found.items()
        if (own := [glob.escape(f) for f in files if _kind(f) == kind])
    }


# -- packing -------------------------------------------------------------------------------------------------------------


def stream(texts, most=None):
    """Documents one after another as one array of ids (N,) int16: bytes, EOS, BOS of the next.

    most: stop after the document that brings it to so many ids, for corpora too large to hold.
    """
    ends, pieces, size = np.array([vocab.EOS_ID, vocab.BOS_ID], np.int16), [], 0
    for text in texts:
        pieces += [
            np.frombuffer(vocab.to_bytes(text), np.uint8).astype(np.int16) + vocab.OFFSET,
            ends,
        ]
        size += len(pieces[-2]) + 2
        if most is not None and size >= most:
            break
    if not pieces:
        raise ValueError("the corpus has no document in this split")
    return np.concatenate(pieces)


def windows(ids, length, offset=0):
    """A stream cut into windows (N, length): BOS, then length - 1 ids; documents inside keep their own BOS."""
    return _cut(ids, _starts(ids, length, offset), length)


def _starts(ids, length, offset=0):
    """Where windows begin, (N,): side by side; where documents are shorter than a window on average, each moved on to the
    next document's start, so that none begins in the middle of one."""
    step, last = length - 1, len(ids) - (length - 1)
    if offset > last:
        raise ValueError(
            f"the corpus has {len(ids) - offset} bytes, fewer than one window of {length}"
        )
    starts, begins = np.arange(offset, last + 1, step), _short_begins(ids, length)
    if not len(begins):
        return starts
    begins = begins[: np.searchsorted(begins, last, "right")]
    return np.unique(begins[np.searchsorted(begins, starts).clip(max=len(begins) - 1)])


def _cover(ids, length):
    """Starts of windows that leave nothing out and cut no document that fits into one, where `_starts` cuts none."""
    begins, starts = _short_begins(ids, length), [0]
    while (end := starts[-1] + length - 1) < len(ids):
        inside = begins[
            np.searchsorted(begins, starts[-1], "right") : np.searchsorted(begins, end, "right")
        ]
        starts.append(inside[-1] if len(inside) else end)
    return np.array(starts)


def _short_begins(ids, length):
    """Where documents begin, (N,), if they are shorter than a window on average; longer ones are cut anywhere: none."""
    begins = np.append(0, np.flatnonzero(ids == vocab.BOS_ID) + 1)
    return begins if len(begins) * (length - 1) >= len(ids) else begins[:0]


def _cut(ids, starts, length):
    """Windows at starts (N,), as int64: only what a step needs is ever widened."""
    at = np.asarray(starts)[:, None] + np.arange(length - 1)
    return torch.cat(
        [torch.full((len(at), 1), vocab.BOS_ID), torch.from_numpy(ids[at].astype(np.int64))], 1
    )


class Batches:
    """Shuffled windows for ever, seeded; position in the data is two integers, so it resumes at the exact byte.

    rank, world_size: a global batch of batch_size * world_size windows is cut into equal shares, one a rank, in order.
    next_opens (N,) bool: what `patch_ahead` found, beside each window.
    """

    def __init__(self, ids, length, batch_size, seed, next_opens=None, rank=0, world_size=1):
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..{world_size - 1}, got {rank}")
        if next_opens is not None and len(next_opens) != len(ids):
            raise ValueError(
                f"next_opens must have one entry an id, {len(ids)}, got {len(next_opens)}"
            )
        self.ids, self.length, self.batch_size, self.seed = ids, length, batch_size, seed
        self.next_opens, self.rank, self.world_size = next_opens, rank, world_size
        self.epoch, self.index = 0, 0
        self._shuffle()

    def _shuffle(self):
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        shift = int(torch.randint(self.length - 1, (), generator=generator)) if self.epoch else 0
        starts = _starts(self.ids, self.length, min(shift, max(0, len(self.ids) - self.length)))
        times = -(-self.batch_size * self.world_size // len(starts))
        self._starts = starts[
            torch.cat([torch.randperm(len(starts), generator=generator) for _ in range(times)])
        ]

    def next(self):
        """(batch_size, length) ids; with next_opens a pair, ids and bools: does the id after each open a patch."""
        batch = self.batch_size * self.world_size
        if self.index + batch > len(self._starts):
            self.epoch, self.index = self.epoch + 1, 0
            self._shuffle()
        first = self.index + self.rank * self.batch_size
        starts = self._starts[first : first + self.batch_size]
        self.index += batch
        ids = _cut(self.ids, starts, self.length)
        if self.next_opens is None:
            return ids
        return ids, _cut(
            self.next_opens, starts, self.length
        ).bool()  # BOS in front: a byte after it opens

    def state(self):
        """Windows that all ranks have seen: the same on each, and whatever their number."""
        return {"epoch": self.epoch, "index": self.index}

    def resume(self, state):
        self.epoch, self.index = state["epoch"], state["index"]
        self._shuffle()


# -- patches, once -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def patch_ahead(model, ids, length, folder=None, batch_size=32):
    """Does the id after each id of a stream open a patch? (N,) bool, found once, so that no step runs the entropy model.

    The stream is cut as `windows` cuts it, so in the first epoch a step gets the very patches it would have found; at the
    end of the text the answer is yes. `Patches.from_rule(ids, next_opens)` makes patches of what `Batches` hands out. With
    a folder the flags are kept there, under a name that says patcher, text and length.
    """
    key = hashlib.sha256(repr((model.config.patcher, length)).encode())
    for part in (ids, *(p.float().cpu().numpy() for p in model.patcher.state_dict().values())):
        key.update(np.ascontiguousarray(part))
    path = folder and Path(folder) / f"opens-{key.hexdigest()[:16]}.npy"
    if path and path.is_file():
        return np.load(path, mmap_mode="r")
    padded = np.append(ids, np.full(length, vocab.PAD_ID, ids.dtype))
    flags, starts = np.ones(len(padded), bool), _cover(ids, length)
    for first in tqdm(
        range(0, len(starts), batch_size),
        desc="patches",
        unit="batch",
        mininterval=1.0,
        leave=False,
    ):
        at = starts[first : first + batch_size]
        found = (
            model.patch(_cut(padded, at, length).to(model.device))[0]
            .next_opens[:, 1:]
            .cpu()
            .numpy()
        )
        for start, flag in zip(at, found):  # of two windows, the later began with the document
            flags[start : start + length - 1] = flag
    flags = flags[: len(ids)]
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")  # ranks may write at once
        try:
            with part.open("wb") as f:
                np.save(f, flags)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)  # where the disk was full
    return flags
