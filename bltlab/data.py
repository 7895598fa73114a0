"""Text for training: documents of a corpus, joined into one array of ids and cut into windows.

    read_documents    "Hi", "Yes"
    join_documents    H i EOS BOS Y e s EOS BOS
    cut_windows       BOS H i EOS | BOS BOS Y e | BOS s EOS BOS
    Batches           shuffled windows, batch after batch, for ever

A document is one text of a corpus. A window is what one row of a training batch reads: BOS, then
the next `length - 1` ids, whatever they cut through. A document inside it keeps its own BOS, and
attention stops there.
"""

import glob
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from . import checkpoints, files, hub, textfiles, vocab
from .model import BLT

SPLITS = ("train", "test")
ALL = "all"  # of both splits
# The `datasets` builder for each kind of file that holds records; any other is one document.
BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
# .json files that a hub data set may hold beside its text.
NOTES = ("dataset_info", "dataset_infos")
LONGEST_EMPTY = 1_000  # bytes of a file, packed or not, that may hold no line
CARDS = ("readme", "license")  # files that belong to a corpus of records, but are not its text
# Words in the name of a file or a folder that say which split its text belongs to.
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


EMPTY = {  # what a corpus has no document in
    "train": " in its train split",
    "test": ' in its test split: give some records `"split": "test"`, or name a file test',
    ALL: "",
}


class EmptySplit(ValueError):
    """A corpus has no document in the split that was asked for.

    said: it says so itself; no hash of a text decided.
    """

    said = False


# -- documents ------------------------------------------------------------------------------------


def read_documents(source: str | Path, split: str = "train") -> Iterator[bytes]:
    """Yield the documents of one split of a corpus, as bytes.

    source: a name shipped with bltlab ("plain-english"); a .jsonl or .parquet file of records with
    a `text`; any other file, which is one document, byte for byte (code, CSV, a log; a byte order
    mark is dropped); each of them also as .gz, .xz, .bz2 or .zst; a folder; or a hub data set,
    "owner/name" or "owner/name:config", read as it streams in.
    split: "train", "test", or "all" for both.

    A folder with .jsonl or .parquet files is a corpus of these and of .txt files. In any other
    every file is a document, but those that hold a zero byte. Hidden files are not looked at;
    what else is left out is named in a warning.

    The corpus's own train and test (or validation) splits are kept. Where it has none, a record's
    `split` says "train" or "test", or else the text's hash does: equal texts are never in two
    splits. Raises FileNotFoundError or ValueError in one sentence.
    """
    if split not in (*SPLITS, ALL):
        raise ValueError(f"split must be one of {', '.join([*SPLITS, ALL])}, got {split!r}")
    source = str(source)
    found = False
    said = True
    for record, corpus_split in _records(source, split):
        text = _text_of(record, source)
        said &= bool(corpus_split or record.get("split"))
        its_split = corpus_split or _split_of_record(record, text, source)
        if text and split in (its_split, ALL):
            found = True
            yield text
    if not found:
        error = EmptySplit(f"{source} has no document{EMPTY[split]}")
        error.said = said
        raise error


def documents(source: str | Path, split: str = "train") -> Iterator[str]:
    """Yield what `read_documents` does, as `str`.

    Bytes that are not UTF-8 become lone surrogates, which `vocab.to_bytes` turns back.
    """
    for document in read_documents(source, split):
        yield document.decode("utf-8", "surrogateescape")


def held_out_split(source: str | Path) -> str:
    """ "test", or "all" where a corpus has no test split, as a single file has none."""
    try:
        next(read_documents(source, "test"))
    except EmptySplit:
        return ALL
    return "test"


def split_of(text: str | bytes) -> str:
    """The split that a text belongs to by its sha256: "test" for 5 texts in 256, else "train".

    >>> split_of("The same text, the same split."), split_of("51")
    ('train', 'test')
    """
    digest = hashlib.sha256(vocab.to_bytes(text)).digest()
    return "test" if digest[0] < 5 else "train"


def _text_of(record: dict, source: str) -> bytes:
    """The text of a record. Raises ValueError where it has none."""
    text = record.get("text")
    if not isinstance(text, (str, bytes)):
        raise ValueError(f"{source}: every record needs a string `text`, got {type(text).__name__}")
    return vocab.to_bytes(text)


def _split_of_record(record: dict, text: bytes, source: str) -> str:
    """The split that a record names, else that of its text's hash."""
    split = record.get("split") or split_of(text)
    if split not in SPLITS:
        raise ValueError(
            f"{source}: a record's `split` must be one of {', '.join(SPLITS)}, got {split!r}"
        )
    return split


# -- records ---------------------------------------------------------------------------------------


class _PlainFiles:
    """Files that are one document each, as streams of records look."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self.num_shards = len(paths)

    def shard(self, count: int, i: int) -> Iterator[dict]:
        """The record of file i."""
        yield {"text": textfiles.read(self.paths[i])}


def _records(source: str, split: str) -> Iterator[tuple[dict, str | None]]:
    """Yield (record, its split), shard by shard.

    Where the corpus has splits of its own, only records of `split` come; else all do, with None.
    """
    builders, plain = _readers(source)
    where = ""
    try:
        streams = _streams(builders) + plain
        own_splits = _own_splits({name for name, _ in streams})
        for place, shard in _shards(streams, own_splits.get(split)):
            where = place
            for record in shard:
                yield record, split if own_splits else None
    except textfiles.Unreadable:  # it says all
        raise
    except Exception as error:  # each file format raises its own
        raise ValueError(f"{source}{where} cannot be read: {_reason(error)}") from None


def _streams(builders: list) -> list[tuple[str, Any]]:
    """[(name of a split, its records as an IterableDataset)] of all builders."""
    streams = []
    for builder in builders:
        streams += builder.as_streaming_dataset().items()
    return streams


def _own_splits(names: set[str]) -> dict[str, str]:
    """What a corpus calls its two splits, or {} where it does not have both.

    >>> _own_splits({"train", "validation"}), _own_splits({"train"})
    ({'train': 'train', 'test': 'validation'}, {})
    """
    for held_out in ("test", "validation"):
        if {"train", held_out} <= names:
            return {"train": "train", "test": held_out}
    return {}


def _shards(streams: list[tuple[str, Any]], only: str | None) -> Iterator[tuple[str, Any]]:
    """Yield (its place in words, the shard) of the streams named `only`, or of all."""
    for name, stream in streams:
        if only not in (None, name):
            continue
        count = stream.num_shards
        for i in range(count):
            yield f", shard {i + 1} of {count} ({name}),", stream.shard(count, i)


def _reason(error: Exception) -> str:
    """An error's message as one short line.

    >>> _reason(ValueError("zstd/a.jsonl has no text"))
    'zstd/a.jsonl has no text'
    """
    # `datasets` ends an empty file with StopIteration, which has no message.
    text = " ".join(str(error).split()) or "it is empty"
    if "type zstd not supported" in text:
        return "it needs the zstandard package: pip install zstandard"
    return text if len(text) < 160 else text[:160] + "..."


def _readers(source: str) -> tuple[list, list[tuple[str, Any]]]:
    """(the `datasets` builders of a source, its plain files by split)."""
    path, name, config = _locate(source)
    if path.is_file() and not _builder_for(path):
        return [], [("train", _PlainFiles([path]))]
    found = _files_at(path)
    try:
        if config or not path.exists() or _describes_itself(path, found):
            return [_builder_as_it_says(name, config)], []
        records, plain = (found, []) if path.is_file() else _parts_of_folder(path, found)
        records, empty = _full_and_empty(path, records)
        kinds = sorted({_builder_for(file) for file in records})
        builders = [_builder_at(path, kind) for kind in kinds]
    except (OSError, ValueError) as error:
        raise _unreadable(source, path, error) from None
    return builders, _plain_streams(path, plain) + _no_streams(path, empty)


def _parts_of_folder(folder: Path, found: list[Path]) -> tuple[list[Path], list[Path]]:
    """(files of records, plain files) to read in a folder; a warning names those that are not.

    Raises ValueError where none are left.
    """
    records: list[Path] = []
    plain = found
    if _is_corpus(found):
        records = [file for file in found if _builder_for(file)]
        plain = [file for file in found if _is_txt(file)]
    plain, _ = textfiles.text_and_other(plain)
    unused = set(found).difference(records, plain)
    if not records and not plain:
        raise ValueError(f"it holds no text, only {textfiles.in_words(unused, folder)}")
    if records:
        _warn_of_unused(folder, unused.difference(_cards(found)), "no records")
    else:
        _warn_of_unused(folder, unused, "with zero bytes, or damaged")
    return records, plain


def _is_txt(file: Path) -> bool:
    return textfiles.kind_of(file) == ".txt"


def _cards(found: list[Path]) -> list[Path]:
    """The files that tell about a corpus of records."""
    return [file for file in found if file.stem.lower() in CARDS]


def _warn_of_unused(folder: Path, unused: set[Path], what: str) -> None:
    """what: they are, said of one file or of several."""
    if unused:
        named = textfiles.in_words(unused, folder)
        count = "1 file" if len(unused) == 1 else f"{len(unused)} files"
        warnings.warn(f"{folder}: left out {count} ({what}): {named}", stacklevel=2)


def _is_corpus(found: list[Path]) -> bool:
    """Are files a corpus of records, where code with some .json beside it is none?"""
    if any(map(_holds_records, found)):
        return True
    cards = []
    if any(map(_is_empty, found)):
        cards = _cards(found)
    return all(_builder_for(file) or _is_txt(file) for file in found if file not in cards)


def _full_and_empty(folder: Path, records: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files of a folder that hold records, and those that hold none; a single file is full."""
    empty: list[Path] = []
    if folder.is_dir():
        empty = list(filter(_is_empty, records))
    full = [file for file in records if file not in empty]
    return full, empty


def _is_empty(file: Path) -> bool:
    """Is a file one of .json lines without a line? `datasets` reads no split beside such a one."""
    if _builder_for(file) != "json" or file.stat().st_size > LONGEST_EMPTY:
        return False
    try:
        return not textfiles.head(file).strip()
    except textfiles.Unreadable:
        return False  # reading it says why


def _holds_records(file: Path) -> bool:
    """Is a file by its name, and by its first bytes, one of records with a `text`?"""
    kind = textfiles.kind_of(file)
    if kind != ".jsonl":
        return kind == ".parquet"
    try:
        return b'"text"' in textfiles.head(file)
    except textfiles.Unreadable:
        return True  # reading it says why


def _plain_streams(folder: Path, paths: list[Path]) -> list[tuple[str, Any]]:
    """[(name of a split, `_PlainFiles`)]: by the files' names if each says one, else one stream."""
    splits = [_split_in_name(path.relative_to(folder)) for path in paths]
    if None in splits:
        splits = ["train"] * len(paths)
    by_split: dict[str, list[Path]] = {}
    for split, path in zip(splits, paths, strict=True):
        by_split.setdefault(split, []).append(path)
    return [(split, _PlainFiles(some)) for split, some in by_split.items()]


def _no_streams(folder: Path, paths: list[Path]) -> list[tuple[str, Any]]:
    """[(name of a split, no file)] of empty files: their splits are there, without a document."""
    splits = [_split_in_name(path.relative_to(folder)) for path in paths]
    return [(split or "train", _PlainFiles([])) for split in splits]


def _split_in_name(path: Path) -> str | None:
    """The split that a word in the name of a file, or of a folder above it, says; else None.

    >>> _split_in_name(Path("train/notes-2.txt")), _split_in_name(Path("contest.txt"))
    ('train', None)
    """
    for part in reversed(path.parts):
        words = re.findall("[a-z]+", part.lower())
        for split, names in SPLIT_WORDS.items():
            if any(word in names for word in words):
                return split
    return None


def quiet_datasets() -> Any:
    """The package, slow to import: only where records are read. What it would print is raised."""
    import datasets

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    return datasets


def _builder_as_it_says(name: str, config: str) -> Any:
    """The builder of a hub data set, or of a folder that says what its files are."""
    builder = quiet_datasets().load_dataset_builder(name, config or None)
    if hasattr(builder.config, "sample_by"):  # a text file is one document, not one a line
        builder.config.sample_by = "document"
    return builder


def _builder_at(path: Path, kind: str) -> Any:
    """The builder of a file, or of the files of one kind in a folder."""
    if path.is_dir():
        return _builder_of_folder(path, kind)
    return quiet_datasets().load_dataset_builder(kind, data_files=_escaped(path))


def _locate(source: str) -> tuple[Path, str, str]:
    """(path, name without configuration, configuration) of a source.

    A shipped corpus comes first, then a path as it is written, then "owner/name:config".
    Raises FileNotFoundError where it is none of them.
    """
    name, config = source, ""
    if not Path(source).exists():
        name, _, config = source.partition(":")
    shipped = checkpoints.assets() / "text" / f"{source}.jsonl.xz"
    path = shipped if shipped.is_file() else Path(name)
    if not name or not (path.exists() or hub.is_id(name)):
        raise FileNotFoundError(
            f"{source or repr(source)} is no file, no folder, no shipped corpus and no hub id"
        )
    if not path.exists() and not hub.is_reachable():
        raise FileNotFoundError(
            f"{name} is no file and no folder here, and the hub cannot be reached"
        )
    return path, name, config


def _files_at(path: Path) -> list[Path]:
    """The file itself, or the files in a folder, hidden ones and notes left out."""
    if path.is_file():
        return [path]
    return [file for file in textfiles.below(path) if file.stem not in NOTES]


def _builder_for(path: str | Path) -> str | None:
    """The name of the `datasets` builder for a file, by its name; None where it has no records.

    >>> _builder_for("a.JSONL.xz"), _builder_for("a.txt")
    ('json', None)
    """
    return BUILDERS.get(textfiles.kind_of(path))


def _describes_itself(folder: Path, found: list[Path]) -> bool:
    """Does a folder say itself what its files are: as a hub data set, or by `save_to_disk`?"""
    card = folder / "README.md"
    if card.is_file() and "configs:" in card.read_text(encoding="utf-8", errors="replace"):
        return True
    return any(file.suffix == ".arrow" for file in found)


def _builder_of_folder(folder: Path, kind: str) -> Any:
    """A builder of the files of one kind, split by their names and folders' as `datasets` does."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    base = _escaped(folder.resolve())
    by_split = DataFilesDict.from_patterns(get_data_patterns(base), base_path=base)
    data_files = {}
    for split, paths in by_split.items():
        own = [Path(path) for path in paths if _builder_for(path) == kind]
        full, _ = _full_and_empty(folder, own)
        names = list(map(_escaped, full))
        if names:
            data_files[split] = names
    return quiet_datasets().load_dataset_builder(kind, data_files=data_files)


def _escaped(path: str | Path) -> str:
    """A path as a pattern that matches it alone, for `datasets` takes patterns: "notes [1].txt"."""
    return glob.escape(str(path))


def _unreadable(source: str, path: Path, error: Exception) -> Exception:
    """The error to raise for one of `datasets`."""
    kind = FileNotFoundError if isinstance(error, OSError) else ValueError
    what = source
    if not path.exists():
        what = f"{source} is no file and no folder here, and as a hub id it"
    return kind(f"{what} cannot be read: {_reason(error)}")


# -- joining and cutting --------------------------------------------------------------------------


def join_documents(texts: Iterable[str | bytes], most: float | None = None) -> np.ndarray:
    """Documents one after another as one array of ids (N,) int16: bytes, EOS, BOS of the next.

    most: stop after the document that brings it to so many ids, for corpora too large to hold.
    Raises ValueError where there is no document.

    >>> join_documents(["Hi", "!"]).tolist()
    [76, 109, 2, 1, 37, 2, 1]
    """
    between = np.array([vocab.EOS_ID, vocab.BOS_ID], np.int16)
    chunks = []
    size = 0
    for text in texts:
        read = np.frombuffer(vocab.to_bytes(text), np.uint8)
        ids = read.astype(np.int16) + vocab.OFFSET
        chunks += [ids, between]
        size += len(ids) + len(between)
        if most is not None and size >= most:
            break
    if not chunks:
        raise ValueError("the corpus has no document in this split")
    return np.concatenate(chunks)


stream = join_documents


def cut_windows(ids: np.ndarray, length: int, offset: int = 0) -> Tensor:
    """Windows (N, length) int64 of joined documents: BOS, then length - 1 ids.

    They stand side by side from `offset` on. What is left at the end and does not fill one is
    dropped. Where documents are shorter than a window on average, each window begins with a
    document. Raises ValueError for a text shorter than one window.

    >>> ids = join_documents(["a long text"])
    >>> [vocab.decode(window) for window in cut_windows(ids, 6).tolist()]
    [b'a lon', b'g tex']
    """
    return _windows_at(ids, _window_starts(ids, length, offset), length)


windows = cut_windows


def _window_starts(ids: np.ndarray, length: int, offset: int = 0) -> np.ndarray:
    """Where windows begin, (N,): side by side.

    Where documents are shorter than a window on average, each start is moved on to that of the next
    document, so that no window begins in the middle of one.
    """
    step = length - 1
    last = len(ids) - step
    if offset > last:
        raise ValueError(
            f"the corpus has {len(ids) - offset} bytes, fewer than one window of {length}"
        )
    starts = np.arange(offset, last + 1, step)
    begins = _starts_of_short_documents(ids, length)
    if not len(begins):
        return starts
    begins = begins[: np.searchsorted(begins, last, "right")]
    following = np.searchsorted(begins, starts).clip(max=len(begins) - 1)
    return np.unique(begins[following])


def _covering_starts(ids: np.ndarray, length: int) -> np.ndarray:
    """Starts of windows, (N,), that leave no id out.

    They cut no document that fits into a window, where those of `_window_starts` cut none.
    """
    begins = _starts_of_short_documents(ids, length)
    starts = [0]
    end = length - 1
    while end < len(ids):
        first, behind = np.searchsorted(begins, (starts[-1], end), "right")
        starts.append(begins[behind - 1] if behind > first else end)
        end = starts[-1] + length - 1
    return np.array(starts)


def _starts_of_short_documents(ids: np.ndarray, length: int) -> np.ndarray:
    """Where documents begin, (N,), if they are shorter than a window on average, else none of them.

    Longer ones may be cut anywhere.
    """
    after_bos = np.flatnonzero(ids == vocab.BOS_ID) + 1
    begins = np.append(0, after_bos)
    if len(begins) * (length - 1) >= len(ids):
        return begins
    return begins[:0]


def _windows_at(ids: np.ndarray, starts: np.ndarray, length: int) -> Tensor:
    """Windows (N, length) at starts (N,), as int64: only what a step needs is ever widened."""
    offsets = np.arange(length - 1)
    at = np.asarray(starts)[:, None] + offsets
    after_bos = torch.from_numpy(ids[at].astype(np.int64))
    bos = torch.full((len(at), 1), vocab.BOS_ID)
    return torch.cat([bos, after_bos], 1)


class Batches:
    """Shuffled windows for ever, seeded; two integers of state, so it resumes at the exact byte.

    ids: (N,) joined documents. length: bytes of a window. batch_size: windows for each rank.
    next_opens: (N,) bool, what `patch_ahead` found; each batch then comes with its part of it.
    rank, world_size: batch_size * world_size windows are cut into equal shares, one a rank, in
    order. Raises ValueError for a rank that is not there, and for `next_opens` of another length.
    """

    def __init__(
        self,
        ids: np.ndarray,
        length: int,
        batch_size: int,
        seed: int,
        next_opens: np.ndarray | None = None,
        rank: int = 0,
        world_size: int = 1,
    ):
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..{world_size - 1}, got {rank}")
        if next_opens is not None and len(next_opens) != len(ids):
            raise ValueError(
                f"next_opens must have one entry an id, {len(ids)}, got {len(next_opens)}"
            )
        self.ids = ids
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.next_opens = next_opens
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.index = 0  # windows of this epoch that are given out
        self._shuffle()

    def _shuffle(self) -> None:
        """Draw the order of an epoch; every epoch but the first cuts the text at another offset."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        shift = 0
        if self.epoch:
            shift = int(torch.randint(self.length - 1, (), generator=generator))
        room = max(0, len(self.ids) - self.length)
        starts = _window_starts(self.ids, self.length, min(shift, room))
        # A corpus smaller than one batch is gone through several times.
        times = -(-self.batch_size * self.world_size // len(starts))
        orders = [torch.randperm(len(starts), generator=generator) for _ in range(times)]
        self._starts = starts[torch.cat(orders)]

    def next(self) -> Tensor | tuple[Tensor, Tensor]:
        """The next batch: ids (batch_size, length).

        With `next_opens` a pair, ids and bools alike: does the id after each open a patch?
        """
        together = self.batch_size * self.world_size
        if self.index + together > len(self._starts):
            self.epoch += 1
            self.index = 0
            self._shuffle()
        first = self.index + self.rank * self.batch_size
        starts = self._starts[first : first + self.batch_size]
        self.index += together
        ids = _windows_at(self.ids, starts, self.length)
        if self.next_opens is None:
            return ids
        # The BOS put in front reads as True: the byte after it opens a patch.
        return ids, _windows_at(self.next_opens, starts, self.length).bool()

    def state(self) -> dict[str, int]:
        """Where it is, as plain values: the same on every rank, and whatever their number."""
        return {"epoch": self.epoch, "index": self.index}

    def resume(self, state: dict[str, int]) -> None:
        """Go on from what `state` returned."""
        self.epoch = state["epoch"]
        self.index = state["index"]
        self._shuffle()


# -- patches, found once --------------------------------------------------------------------------


def patch_ahead(
    model: BLT,
    ids: np.ndarray,
    length: int,
    folder: str | Path | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Does the id after each of the joined ids (N,) open a patch? (N,) bool.

    It is found once, so that no training step runs the entropy model. The text is cut as
    `cut_windows` cuts it, so in the first epoch a step gets the very patches it would have found;
    at the end of the text the answer is yes. `Patches.from_rule(ids, next_opens)` makes patches of
    what `Batches` gives.

    length: bytes of a window. folder: where the answer is kept, under a name that stands for
    patcher, text and length; it is read back from there.
    """
    if not folder:
        return _find_next_opens(model, ids, length, batch_size)
    path = Path(folder) / f"opens-{_fingerprint(model, ids, length)}.npy"
    known = _found_before(path, len(ids))
    if known is not None:
        return known
    next_opens = _find_next_opens(model, ids, length, batch_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part, part.open("wb") as file:
        np.save(file, next_opens)
    return next_opens


def _found_before(path: Path, count: int) -> np.ndarray | None:
    """What a file of `patch_ahead` says, (count,) bool; None where it is missing or damaged."""
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (count,) and found.dtype == bool else None


def _fingerprint(model: BLT, ids: np.ndarray, length: int) -> str:
    """Sixteen hex digits that stand for the patcher, the text and the length of a window."""
    key = hashlib.sha256(repr((model.config.patcher, length)).encode())
    key.update(np.ascontiguousarray(ids).data)
    for tensor in model.patcher.state_dict().values():
        weights = tensor.float().cpu().numpy()
        key.update(np.ascontiguousarray(weights).data)
    return key.hexdigest()[:16]


@torch.no_grad()
def _find_next_opens(model: BLT, ids: np.ndarray, length: int, batch_size: int) -> np.ndarray:
    padding = np.full(length, vocab.PAD_ID, ids.dtype)
    padded = np.append(ids, padding)
    flags = np.ones(len(padded), bool)
    starts = _covering_starts(ids, length)
    batches = range(0, len(starts), batch_size)
    for first in tqdm(batches, desc="patches", unit="batch", mininterval=1.0, leave=False):
        at = starts[first : first + batch_size]
        rows = _windows_at(padded, at, length)
        patches, _ = model.patch(rows.to(model.device))
        found = patches.next_opens[:, 1:].cpu().numpy()
        # Where two windows overlap the later one counts: it began with the document.
        for start, opens in zip(at, found, strict=True):
            flags[start : start + length - 1] = opens
    return flags[: len(ids)]
