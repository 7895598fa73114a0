"""Sentences of public test sets: FLORES-101 and Multi30k.

Both are files of lines on this machine, one for each language, whose n-th lines say the same.
FLORES comes from the hub as well: `evaluate flores-fr:mteb/flores`.
"""

from operator import itemgetter
from pathlib import Path
from typing import ClassVar

from ... import textfiles
from .. import metrics
from ..records import hub_records, read_as
from .base import Item
from .translation import Translation

# Language: the name of its FLORES-101 file.
FLORES = {"fr": "fra", "de": "deu", "en": "eng"}
# A set on the hub: where it has a language, as its configuration and its column. Both are
# FLORES-200, which went on from FLORES-101; the second is gated.
HUB = {
    "mteb/flores": ("default", "{}_Latn"),
    "openlanguagedata/flores_plus": ("{}_Latn", "text"),
}


class Sentences(Translation):
    """What the tasks below share: a source language, and how many examples stand before a line."""

    name = ""
    has_splits = False
    source: ClassVar[str] = "fr"
    shots: ClassVar[int] = 0
    max_new_bytes = 512

    def file(self, text: str, language: str, split: str) -> Path:
        """Where the lines of a language and a split lie."""
        raise NotImplementedError

    def lines(self, text: str, language: str, split: str) -> list[str]:
        """The lines of one file. Raises FileNotFoundError in one sentence."""
        path = self.file(text, language, split)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: {self._advice}")
        try:
            return textfiles.read(path).decode("utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None

    @property
    def _advice(self) -> str:
        return f"task {self.name} reads it from {self.name}:FOLDER"

    def both(self, text: str, split: str) -> list[tuple[str, str]]:
        """(source, English) of a split. Raises ValueError where the files do not match."""
        ours, english = (self.lines(text, name, split) for name in (self.source, "en"))
        if len(ours) != len(english):
            raise ValueError(
                f"the files of {text} do not match: {len(ours)} lines of {self.source},"
                f" {len(english)} of en"
            )
        return list(zip(ours, english, strict=True))

    def items(self, text: str) -> list[Item]:
        """The test lines, each behind the same examples."""
        metrics.translation_metrics()
        examples = self.both(text, "dev")[: self.shots] if self.shots else []
        before = "".join(self.prompt(source, f" {target}\n") for source, target in examples)
        test = self.both(text, "test")
        return [Item(before + self.prompt(source), target) for source, target in test]

    def prompt(self, source: str, answer: str = "") -> str:
        """A line and the language to answer in, as the corpora of pairs have it."""
        return f"{self.source}: {source}\nen:{answer}"


class FloresFrench(Sentences):
    """FLORES-101, French to English, 4-shot: a folder with dev/fra.dev ..., or mteb/flores."""

    name = "flores-fr"
    text = "flores101_dataset"
    paper = ("translation fr-en",)
    shots = 4

    def file(self, text: str, language: str, split: str) -> Path:
        """dev/fra.dev or devtest/fra.devtest."""
        folder = self._split(split)
        return Path(text) / folder / f"{FLORES[language]}.{folder}"

    def lines(self, text: str, language: str, split: str) -> list[str]:
        """The lines of one file, or those of the hub where text is its name for the set."""
        if text not in HUB:
            return super().lines(text, language, split)
        config, column = (word.format(FLORES[language]) for word in HUB[text])
        records = hub_records(text, config, self._split(split), self._advice)
        return read_as("line of FLORES", itemgetter(column), records, text)

    def _split(self, split: str) -> str:
        return "devtest" if split == "test" else "dev"

    @property
    def _advice(self) -> str:
        return f"{super()._advice}, or with the hub from {self.name}:{next(iter(HUB))}"


class FloresGerman(FloresFrench):
    """FLORES-101, German to English, 4-shot."""

    name = "flores-de"
    paper = ("translation de-en",)
    source = "de"


class FloresFrench0(FloresFrench):
    """FLORES-101, French to English, 0-shot."""

    name = "flores-fr-0"
    shots = 0


class FloresGerman0(FloresGerman):
    """FLORES-101, German to English, 0-shot."""

    name = "flores-de-0"
    shots = 0


class Multi30kFrench(Sentences):
    """Multi30k, French to English: FOLDER for its test of 2016, FOLDER/test_2017_mscoco for others.

    The folder has test_2016_flickr.fr.gz and so on.
    """

    name = "multi30k-fr"
    text = "multi30k"
    paper = ("translation fr-en",)

    def file(self, text: str, language: str, split: str) -> Path:
        """test_2016_flickr.fr.gz, or the test that stands behind the folder; val.fr.gz."""
        folder, test = Path(text), "test_2016_flickr"
        if folder.name.startswith("test_") and not folder.is_dir():
            folder, test = folder.parent, folder.name
        stem = test if split == "test" else "val"
        return folder / f"{stem}.{language}.gz"


class Multi30kGerman(Multi30kFrench):
    """Multi30k, German to English, as above."""

    name = "multi30k-de"
    paper = ("translation de-en",)
    source = "de"
