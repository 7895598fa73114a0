"""Bits a byte of a text, beside what compressors make of the same text."""

import lzma
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from ... import vocab
from ...model import BLT
from ..intervals import Estimate, bootstrap
from ..likelihood import score
from ..summary import Row
from .base import Item, Reading

GUESSING = 8  # bits a byte of a model that gives all 256 bytes the same probability


class Likelihood(Reading):
    """Bits per byte of a text beside xz and zstd, fewer are better, 8 is guessing."""

    name = "likelihood"
    measure = "bits a byte"
    percent = False
    has_splits = True
    text = "plain-english"
    limit = None

    def items(self, text: str) -> list[Item]:
        """The documents, each read from BOS on. Raises ValueError where there is no text."""
        found = [Item(document) for document in self.documents(text) if document]
        if not found:
            raise ValueError("likelihood needs at least one text")
        return found

    def read(self, model: BLT, items: Sequence[Item]) -> Iterator[Row]:
        """Yield bits a byte of each document, and how many bytes it has."""
        for item in items:
            written = vocab.to_bytes(item.prompt)
            yield dict(score=score(model, written), bytes=len(written))

    def estimate_of(self, read: Sequence[Row]) -> Estimate:
        """Bits of all documents over their bytes."""
        return bootstrap(read, _bits_a_byte)

    def figures_of(self, items: Sequence[Item], read: Sequence[Row]) -> Row:
        """Bytes, and bits a byte of each compressor, which gets all documents as one file."""
        whole = b"".join(vocab.to_bytes(item.prompt) for item in items)
        return dict(bytes=len(whole), **compressed(whole))

    def told(self, rows: Sequence[Row]) -> str:
        """The bits, what it means if they are many, a line for each compressor."""
        (row,) = rows
        figures = row["figures"]
        text, split = row["key"]["text"], self.split_of(row["key"]["text"])
        of = f"on {figures['bytes']:,} bytes ({text}, {split})"
        lines = [f"{row['score']:.4f} bits a byte {of}"]
        if row["score"] > GUESSING:
            lines.append(
                f"more than {GUESSING} is worse than guessing all 256 bytes alike: this model was"
                " trained on text of another kind"
            )
        for name, value in figures.items():
            if value is None:
                lines.append(f"{name}: not available")
            elif name != "bytes":
                lines.append(f"{value:.4f} by {name}, all of it as one file")
        return "\n".join(lines)


def _bits_a_byte(read: Sequence[Row]) -> float:
    size = sum(one["bytes"] for one in read)
    return sum(one["bytes"] * one["score"] for one in read) / size


def compressed(text: bytes) -> dict[str, float | None]:
    """Bits per byte of xz -9 and zstd -19, None for one that is not available.

    >>> compressed(b"ab" * 5000)["xz -9"] < 0.2
    True
    """
    by_xz = len(lzma.compress(text, preset=9))
    by_zstd = zstd_size(text, 19)
    return {
        "xz -9": 8 * by_xz / len(text),
        "zstd -19": None if by_zstd is None else 8 * by_zstd / len(text),
    }


def zstd_size(text: bytes, level: int) -> int | None:
    """Bytes that zstd leaves of a text, None where there is no zstd.

    By the standard library (Python 3.14), else the zstandard package, else the program.
    """
    try:
        from compression import zstd

        return len(zstd.compress(text, level))
    except ImportError:
        pass
    try:
        import zstandard

        return len(zstandard.ZstdCompressor(level=level).compress(text))
    except ImportError:
        pass
    if shutil.which("zstd") is None:
        return None
    command = ["zstd", f"-{level}", "-c", "-q"]
    return len(subprocess.run(command, input=text, capture_output=True, check=True).stdout)
