"""Corpora are read from anywhere, split without leaks, cut and shared exactly, patched ahead."""

import gzip
import json
import lzma

import datasets
import numpy as np
import pytest
import torch
from conftest import random_model

from bltlab import data, vocab
from bltlab.patching import Patches
from bltlab.training.text import read_corpus

LINES = """In the beginning God created the heaven and the earth.
And the earth was without form, and void; and darkness was upon the face of the deep.
And God said, Let there be light: and there was light.
And God saw the light, that it was good: and God divided the light from the darkness.
Call me Ishmael.
Whenever it is a damp, drizzly November in my soul, I account it high time to get to sea.
There is nothing surprising in this.""".splitlines()


def jsonl(texts, **more):
    return "".join(json.dumps({"text": t, **more}) + "\n" for t in texts)


def sentence(call):
    with pytest.raises((ValueError, OSError)) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and 10 < len(text) < 320, text
    return text


# -- reading --------------------------------------------------------------------------------------


def test_every_kind_of_file_gives_the_same_documents(tmp_path):
    (tmp_path / "a.jsonl").write_text(jsonl(LINES, split="train"))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(jsonl(LINES, split="train").encode()))
    (tmp_path / "c.jsonl.xz").write_bytes(lzma.compress(jsonl(LINES, split="train").encode()))
    datasets.Dataset.from_dict({"text": LINES, "split": ["train"] * len(LINES)}).to_parquet(
        tmp_path / "d.parquet"
    )
    for name in "a.jsonl", "b.jsonl.gz", "c.jsonl.xz", "d.parquet":
        assert list(data.documents(tmp_path / name)) == LINES
    (tmp_path / "e.txt").write_text("\n".join(LINES))
    found = [t for s in data.SPLITS for t in texts_or_none(tmp_path / "e.txt", s)]
    assert found == ["\n".join(LINES)]  # a text file is one document


def test_a_folder_may_hold_other_files_other_kinds_and_odd_names(tmp_path):
    folder = tmp_path / "my [old] notes*"
    (folder / "pictures").mkdir(parents=True)
    for name in "abc":
        (folder / "pictures" / f"{name}.png").write_bytes(b"\x89PNG")
    (folder / "train.jsonl").write_text(jsonl(LINES))
    (tmp_path / "my [old] notes, others").mkdir()  # what the name would match as a pattern
    (tmp_path / "my [old] notes, others" / "train.jsonl").write_text(jsonl(["not mine"]))
    assert [t for s in data.SPLITS for t in texts_or_none(folder, s)] == LINES
    (folder / "test [1].txt").write_text(LINES[0])  # a split by name holds across kinds
    assert (
        list(data.documents(folder)) == LINES and list(data.documents(folder, "test")) == LINES[:1]
    )
    assert [t for s in data.SPLITS for t in texts_or_none(folder / "test [1].txt", s)] == LINES[:1]


def test_what_is_no_path_is_said_to_be_none():
    assert "'' is no file, no folder" in sentence(lambda: next(data.documents("")))


def texts_or_none(source, split):
    try:
        yield from data.documents(source, split)
    except ValueError as error:
        assert "no document" in str(error)


def hub_folder(path):
    """A data set as the hub lays it out: parquet shards, split by name, two configurations."""
    for config in "first", "second":
        (path / config).mkdir(parents=True)
        for i, part in enumerate((LINES[:2], LINES[2:4])):
            texts = datasets.Dataset.from_dict({"text": [f"{config} {t}" for t in part]})
            texts.to_parquet(path / config / f"train-0000{i}-of-00002.parquet")
        datasets.Dataset.from_dict({"text": [f"{config} {t}" for t in LINES[4:]]}).to_parquet(
            path / config / "valid.parquet"
        )
    files = "".join(
        f"- config_name: {c}\n  data_files:\n  - {{split: train, path: '{c}/train*'}}\n"
        f"  - {{split: validation, path: '{c}/valid*'}}\n"
        for c in ("first", "second")
    )
    (path / "README.md").write_text(f"---\nconfigs:\n{files}---\n")
    return path


def test_a_hub_data_set_streams_with_its_own_splits_and_configuration(tmp_path, monkeypatch):
    folder = hub_folder(tmp_path / "set")
    assert list(data.documents(f"{folder}:second")) == [f"second {t}" for t in LINES[:4]]
    assert list(data.documents(f"{folder}:second", "test")) == [f"second {t}" for t in LINES[4:]]
    assert "first" in sentence(lambda: next(data.documents(folder)))  # says which there are
    real, asked = datasets.load_dataset_builder, []
    monkeypatch.setattr(
        datasets, "load_dataset_builder", lambda *a: asked.append(a) or real(str(folder), *a[1:])
    )
    monkeypatch.setattr(data.hub, "is_reachable", lambda: False)
    assert "hub cannot be reached" in sentence(lambda: next(data.documents("owner/name:first")))
    monkeypatch.setattr(data.hub, "is_reachable", lambda: True)
    assert list(data.documents("owner/name:first")) == [f"first {t}" for t in LINES[:4]]
    assert asked == [("owner/name", "first")]


def test_without_splits_of_its_own_a_corpus_is_split_by_hash(tmp_path):
    texts = [f"{i} {t}" for i in range(60) for t in LINES]
    for i in range(3):
        (tmp_path / f"{i}.jsonl").write_text(
            jsonl(texts[i::3] + texts[:50])
        )  # fifty texts are in every shard
    train, test = (list(data.documents(tmp_path, s)) for s in data.SPLITS)
    assert len(train) + len(test) == len(texts) + 150 and 2 <= len(test) <= 20
    assert not set(train) & set(test) and set(train) | set(test) == set(texts)


BAD = {
    "missing": (None, "is no file, no folder"),
    "empty": ({}, "holds no"),
    "nothing": ({"a.jsonl": b""}, "no document in its train split"),
    "nothing packed": ({"a.jsonl.xz": lzma.compress(b""), "README.md": b"x"}, "no document"),
    "no text": ({"a.txt": b""}, "no document"),
    "binary text": ({"a.txt": bytes(range(256))}, "holds no text, only a.txt"),
    "zero bytes": ({"a.txt": b"MZ\0\0"}, "holds no text, only a.txt"),
    "binary lines": ({"a.jsonl": bytes(range(128, 256))}, "cannot be read"),
    "bad line": ({"a.jsonl": jsonl(LINES[:2]).encode() + b'{"text": "cut\n'}, "shard 1 of 1"),
    "cut xz": ({"a.jsonl.xz": lzma.compress(jsonl(LINES).encode())[:100]}, "cannot be read"),
    "cut gz": ({"a.jsonl.gz": gzip.compress(jsonl(LINES).encode())[:100]}, "cannot be read"),
    "cut parquet": ({"a.parquet": b"PAR1 and no end"}, "cannot be read"),
    "second shard": ({"a.jsonl": jsonl(LINES).encode(), "b.jsonl": b"{"}, "shard 2 of 2"),
    "other field": ({"a.jsonl": b'{"body": "x"}\n'}, "needs a string `text`"),
    "odd split": ({"a.jsonl": jsonl(LINES, split="dev").encode()}, "got 'dev'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_said_in_one_sentence(name, tmp_path):
    files, words = BAD[name]
    folder = tmp_path / "corpus"
    if files is not None:
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
    text = sentence(lambda: list(data.documents(folder)))
    assert words in text and "corpus" in text


def test_a_corpus_without_a_test_split_says_how_to_give_it_one(tmp_path):
    (tmp_path / "a.jsonl").write_text(jsonl(LINES[:2], split="train"))
    assert '"split": "test"' in sentence(lambda: list(data.documents(tmp_path / "a.jsonl", "test")))


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.xz", ".json"])
@pytest.mark.parametrize("empty, full", [("train", "test"), ("test", "train")])
def test_an_empty_split_leaves_the_other_one_whole(tmp_path, ending, empty, full):
    pack = lzma.compress if ending.endswith("xz") else bytes
    (tmp_path / f"{empty}{ending}").write_bytes(pack(b""))
    (tmp_path / f"{full}{ending}").write_bytes(pack(jsonl(LINES).encode()))
    (tmp_path / "README.md").write_text("# about it\n")
    if ending == ".json":  # beside which a card counts as text
        (tmp_path / "README.md").unlink()
    assert list(data.documents(tmp_path, full)) == list(data.documents(tmp_path, "all")) == LINES
    assert f"no document in its {empty} split" in sentence(
        lambda: list(data.documents(tmp_path, empty))
    )
    assert data.held_out_split(tmp_path) == ("all" if empty == "test" else "test")
    if empty == "train":  # what is there to test with is not trained on
        said = sentence(lambda: read_corpus(tmp_path, 1e6))
        assert "no document in its train split" in said
    else:
        ids, held_out = read_corpus(tmp_path, 1e6)
        assert len(held_out) == (len(ids) + len(held_out)) // 20


def test_records_that_say_they_are_for_tests_are_not_trained_on(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl(LINES, split="test"))
    assert "no document in its train split" in sentence(lambda: read_corpus(path, 1e6))
    by_hash = next(text for text in map(str, range(999)) if data.split_of(text) == "test")
    path.write_text(jsonl([by_hash]))
    ids, _ = read_corpus(path, 1e6)
    assert len(ids) == len(by_hash) + 2


def test_an_empty_file_of_lines_makes_no_corpus_of_code(tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    (tmp_path / "a.py").write_text("print(1)\n")
    assert list(data.documents(tmp_path, "all")) == ["print(1)\n"]


# -- cutting and sharing --------------------------------------------------------------------------


def test_a_stream_stops_once_it_is_long_enough():
    endless = (LINES[i % len(LINES)] for i in range(10**12))
    ids = data.stream(endless, most=1000)
    assert 1000 <= len(ids) < 1100 and ids[-1] == vocab.BOS_ID


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_share_each_batch_in_order(ranks):
    ids = data.stream([f"{i} {t}" for i in range(9) for t in LINES])
    one = data.Batches(ids, 32, 8, seed=5)
    many = [
        data.Batches(ids, 32, 8 // ranks, seed=5, rank=r, world_size=ranks) for r in range(ranks)
    ]
    while one.epoch < 3:
        assert torch.equal(one.next(), torch.cat([b.next() for b in many]))
        assert all(b.state() == one.state() for b in many)


def test_batches_go_on_at_the_exact_byte_with_another_number_of_ranks():
    ids = data.stream([f"{i} {t}" for i in range(9) for t in LINES])
    one = data.Batches(ids, 32, 8, seed=5)
    for _ in range(23):
        one.next()
    later = [data.Batches(ids, 32, 4, seed=5, rank=r, world_size=2) for r in range(2)]
    for b in later:
        b.resume(json.loads(json.dumps(one.state())))
    assert one.epoch > 0
    for _ in range(23):
        assert torch.equal(one.next(), torch.cat([b.next() for b in later]))


def test_an_epoch_sees_every_byte_and_a_small_corpus_still_fills_a_batch():
    ids = data.stream([f"{i} {t}" for i in range(9) for t in LINES])
    batches = data.Batches(ids, 32, 1, seed=0)
    rows = torch.cat([batches.next() for _ in range(len(data.windows(ids, 32)))])
    assert batches.epoch == 0 and set(map(tuple, rows.tolist())) == set(
        map(tuple, data.windows(ids, 32).tolist())
    )
    assert data.Batches(data.stream(LINES[:2]), 32, 16, seed=0).next().shape == (16, 32)
    with pytest.raises(ValueError, match="rank must be in 0..1"):
        data.Batches(ids, 32, 1, seed=0, rank=2, world_size=2)


def test_patches_found_ahead_are_those_of_the_step(tmp_path, monkeypatch):
    model = random_model(3)
    ids = data.stream([f"{i} {t}" for i in range(5) for t in LINES])
    flags = data.patch_ahead(model, ids, 48, tmp_path, batch_size=3)
    batches = data.Batches(ids, 48, 4, seed=1, next_opens=flags)
    assert len(flags) == len(ids) and flags.mean() < 0.9
    for _ in range(8):
        rows, opens = batches.next()
        ahead, live = Patches.from_rule(rows, opens), model.patch(rows)[0]
        assert batches.epoch == 0 and torch.equal(ahead.opens, live.opens)
        assert torch.equal(ahead.reads[:, :-1], live.reads[:, :-1])  # nothing learns from the last
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(np, "save", lambda f, x: f.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        data.patch_ahead(random_model(4), ids, 48, tmp_path)
    assert list(tmp_path.iterdir()) == [file]  # no half of a file
    monkeypatch.undo()
    np.save(file, np.zeros(len(ids), bool))  # from now on, what is read is the file
    assert not data.patch_ahead(model, ids, 48, tmp_path).any()
    assert np.array_equal(data.patch_ahead(random_model(3), ids, 48), flags)
    data.patch_ahead(random_model(4), ids, 48, tmp_path)  # another patcher, another file
    assert len(list(tmp_path.iterdir())) == 2


def test_windows_of_short_documents_begin_with_one_and_find_its_own_patches_in_any_epoch():
    model, texts = (
        random_model(3),
        [f"{i} {t}" for i in range(9) for t in ("ein Haus", "deux chats noirs", "six")],
    )
    ids = data.stream(texts)
    batches = data.Batches(ids, 48, 4, seed=1, next_opens=data.patch_ahead(model, ids, 48))
    while batches.epoch < 2:
        rows, opens = batches.next()
        assert all(
            any(vocab.decode(row.tolist()).startswith(t.encode()) for t in texts) for row in rows
        )
        ahead, live = Patches.from_rule(rows, opens), model.patch(rows)[0]
        assert torch.equal(ahead.opens, live.opens)
    long = data.stream(["a long document " * 9, "six"])
    assert torch.equal(
        data.windows(long, 32)[:, 1:].flatten(), torch.from_numpy(long[: 4 * 31].astype(np.int64))
    )
