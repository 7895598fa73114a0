"""Everything that reads text takes any file: of all kinds, packed, in folders, through a pipe."""

import bz2
import contextlib
import gzip
import importlib.util
import io
import json
import lzma
import math
import sys
import types
import warnings

import pytest
from conftest import random_model

import bltlab
from bltlab import data, textfiles
from bltlab.__main__ import main
from bltlab.evaluation.prompts import held_out, running_text
from bltlab.training.text import read_corpus

CODE = b"def f(x):\n\treturn x  # caf\xc3\xa9\n" * 9
LATIN = "naïve café, déjà vu\r\n".encode("latin-1") * 9
ANY_BYTE = bytes(range(256)) * 2
# Name of a file: (what is in it, the document that it is).
FILES = {
    "code.py": (CODE, CODE),
    "min.js": (b"a=>{b(a)};" * 40, b"a=>{b(a)};" * 40),
    "table.csv": (b"id,name\r\n1,Ann\r\n" * 9, b"id,name\r\n1,Ann\r\n" * 9),
    "genome.FASTA": (b">one\nACGTNNAC\n" * 9, b">one\nACGTNNAC\n" * 9),
    "app.log": (b"\x1b[31mERROR\x1b[0m at 12:00\r\n" * 9, b"\x1b[31mERROR\x1b[0m at 12:00\r\n" * 9),
    "NOTES.MD": (b"# Notes\n" * 30, b"# Notes\n" * 30),
    "NOTES.TXT": (CODE, CODE),
    "Makefile": (CODE, CODE),
    "marked.txt": (
        b"\xef\xbb\xbf" + b"\xef\xbb\xbf" + CODE,
        b"\xef\xbb\xbf" + CODE,
    ),  # dropped once
    "latin.txt": (LATIN, LATIN),
    "broken.txt": (b"\xc3(\xe2\x82\xff" * 50, b"\xc3(\xe2\x82\xff" * 50),
    "any.bin": (ANY_BYTE, ANY_BYTE),
    "a.py.gz": (gzip.compress(CODE), CODE),
    "a.log.XZ": (lzma.compress(b"\xef\xbb\xbf" + CODE), CODE),
    "a.bz2": (bz2.compress(CODE), CODE),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random model on disk."""
    path = tmp_path_factory.mktemp("models") / "random"
    random_model(4).save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("name", FILES)
def test_any_file_is_read_trained_on_patched_and_scored_byte_for_byte(
    name, folder, tmp_path, capsys
):
    content, document = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert list(data.read_documents(path, "all")) == [document]
    (text,) = data.documents(path, "all")
    assert bltlab.vocab.to_bytes(text) == document
    ids, held = read_corpus(path, 1e9)
    assert bltlab.decode([*ids, *held]) == document
    model = bltlab.BLT.from_pretrained(folder)
    assert b"".join(bltlab.patchify(model, document)) == document
    assert math.isfinite(bltlab.score(model, document))
    assert main(["patch", "--file", str(path), "--model", folder]) is None
    assert f"{len(document)} bytes, " in capsys.readouterr().out
    assert main(["evaluate", str(path), "--model", folder]) is None
    assert f"{len(document)} bytes ({path}, all)" in capsys.readouterr().out
    more = ["--method", "ar", "--max-new-bytes", "1", "--model", folder]
    assert main(["generate", "--file", str(path), *more]) == (2 if len(document) > 510 else None)
    prompts = held_out(str(path), 2, 40)
    assert prompts.texts[0] == document[:40] and running_text(str(path), 9) == document[:9]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named_with_how_to_convert_them(encoding, folder, tmp_path, capsys):
    path = tmp_path / "windows.txt"
    path.write_bytes("In the beginning\r\n".encode(encoding) * 9)
    for command in (["patch", "--file"], ["evaluate"], ["train", "--out", "x", "--text"]):
        assert main([*command, str(path)]) == 2
        error = capsys.readouterr().err
        assert f"windows.txt is {encoding[:6].upper()} text" in error and "iconv -f" in error
        assert error.count("\n") == 1


def test_a_folder_of_code_is_read_whole_and_names_once_what_it_leaves_out(tmp_path):
    for name in ("src/train.py", "tests/test_a.py", "README.md", "notes.txt", "package.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lines.jsonl").write_text('{"body": 1}\n')  # no records of texts
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "old.txt").write_bytes("text".encode("utf-16"))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("hidden")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        found = {text for split in data.SPLITS for text in texts_or_none(tmp_path, split)}
    assert found == {
        b"src/train.py",
        b"tests/test_a.py",
        b"README.md",
        b"notes.txt",
        b"package.json",
        b'{"body": 1}\n',
    }
    (warning,) = said
    assert "left out 2 files" in str(warning.message)
    assert "logo.png, old.txt" in str(warning.message)


def texts_or_none(source, split):
    with contextlib.suppress(data.EmptySplit):
        yield from data.read_documents(source, split)


def test_a_corpus_of_records_names_code_beside_it_and_keeps_its_card_to_itself(tmp_path):
    (tmp_path / "A.JSONL").write_text(json.dumps(dict(text="one", split="train")) + "\n")
    (tmp_path / "B.Jsonl.XZ").write_bytes(
        lzma.compress(json.dumps(dict(text="two", split="test")).encode())
    )
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / "make.py").write_text("code")
    with pytest.warns(UserWarning, match=r"left out 1 file \(no records\): make.py"):
        assert sorted(data.read_documents(tmp_path, "all")) == [b"one", b"two"]


def test_files_that_each_name_a_split_are_in_it(tmp_path):
    for name in ("train/a.csv", "train/b.csv", "valid.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert list(data.read_documents(tmp_path)) == [b"train/a.csv", b"train/b.csv"]
    assert list(data.read_documents(tmp_path, "test")) == [b"valid.csv"]


def test_zst_needs_a_package_or_says_so(tmp_path, monkeypatch):
    path = tmp_path / "a.txt.zst"
    path.write_bytes(b"packed")
    monkeypatch.setitem(sys.modules, "compression", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ValueError, match="Python 3.14, or the zstandard package: pip install"):
        list(data.read_documents(path))
    package = types.SimpleNamespace(open=lambda path, mode: io.BytesIO(b"unpacked"))
    monkeypatch.setitem(sys.modules, "zstandard", package)
    assert list(data.read_documents(path, "all")) == [b"unpacked"]


PACKED = """
28b52ffd244395010064027b2274657874223a20226f6e65222c202273706c69747261696e227d0a74776f65
7374227d0a0300408ea2203fc26402cbf59cfc
"""  # two records by zstd, the first of the train split


def test_records_in_zst_are_read_or_need_a_package(tmp_path):
    path = tmp_path / "A.JSONL.ZST"
    path.write_bytes(bytes.fromhex(PACKED))
    if importlib.util.find_spec("zstandard"):
        assert list(data.read_documents(path)) == [b"one"]
        assert list(data.read_documents(tmp_path, "test")) == [b"two"]
    else:
        for source in (path, tmp_path):
            with pytest.raises(ValueError, match="needs the zstandard package: pip install"):
                list(data.read_documents(source))


def test_words_are_counted_on_a_lone_file_however_small(folder, tmp_path, capsys):
    path = tmp_path / "lone.txt"
    path.write_text("the cat sat on the mat " * 20)
    more = ["--task", "words", "--method", "ar", "--model", folder]
    assert main(["evaluate", str(path), *more]) is None
    heading, sampled = capsys.readouterr().out.splitlines()
    assert sampled.startswith("ar ") and "text itself percent" in heading
    (tmp_path / "short.txt").write_text("the cat")
    assert main(["evaluate", str(tmp_path / "short.txt"), *more]) == 2
    assert "fewer than 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cut.txt.gz", "cut.log.xz", "cut.csv.bz2"])
def test_a_damaged_archive_is_said_in_one_sentence(name, tmp_path, capsys):
    packed = {"gz": gzip, "xz": lzma, "bz2": bz2}[name.split(".")[-1]].compress(CODE)
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    assert main(["patch", "--file", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert f"{name} cannot be read" in error and error.count("\n") == 1


def test_prompts_come_from_standard_input_and_from_one_place_only(
    folder, tmp_path, monkeypatch, capsys
):
    def pipe(content):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))

    more = ["--model", folder]
    for arguments in (["-"], ["--file", "-"]):
        pipe(b"\xef\xbb\xbfa\xffb")
        assert main(["patch", *arguments, *more]) is None
        assert "\n3 bytes, " in capsys.readouterr().out
    pipe(b"In the")
    trace = str(tmp_path / "t.json")
    assert main(["generate", "-", *more, "--max-new-bytes", "2", "--trace", trace]) is None
    assert bytes(bltlab.Trace.load(trace).prompt) == b"In the"
    capsys.readouterr()
    for arguments in ([], ["text", "--file", trace]):
        assert main(["patch", *arguments]) == 2
        assert "give either the text, - for standard input, or --file" in capsys.readouterr().err
    assert main(["patch", "--file", str(tmp_path / "missing")]) == 2
    assert "missing is no file" in capsys.readouterr().err
    pipe("wide".encode("utf-16"))
    assert main(["patch", "-"]) == 2
    assert "standard input is UTF-16" in capsys.readouterr().err


def test_a_split_that_is_asked_for_is_kept_to(tmp_path, folder, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(dict(text="only to train on", split="train")) + "\n")
    assert main(["evaluate", str(path), "--split", "test", "--model", folder]) == 2
    assert "no document in its test split" in capsys.readouterr().err
    assert main(["evaluate", str(path), "--model", folder]) is None
    assert textfiles.kind_of(path) == ".jsonl"
    assert "16 bytes" in capsys.readouterr().out
