"""How well a model predicts text: bits per byte, beside what compressors make of the same text."""

import lzma
import math
import shutil
import subprocess
from collections.abc import Iterable

import torch
from tqdm.auto import tqdm

from .. import vocab
from ..model import BLT
from ..state import DecodingState
from .task import Request, Task


def score(model: BLT, text: str | bytes, chunk: int = 512) -> float:
    """Bits per byte of a text under the model read autoregressively, BOS in front, EOS not scored.

    chunk: bytes read at once; it changes the memory needed, not the result. Raises ValueError for
    an empty text.
    """
    ids = torch.tensor(vocab.encode(text), device=model.device)
    if len(ids) < 2:
        raise ValueError("score needs a text of at least one byte, got an empty one")
    state = DecodingState(model, max_length=len(ids))
    nats = 0.0
    for begin in range(0, len(ids) - 1, chunk):
        read = ids[begin : begin + chunk]
        targets = ids[begin + 1 : begin + 1 + len(read)]
        log_probs = state.extend(read)[0, : len(targets)].log_softmax(-1)
        nats -= log_probs.gather(1, targets[:, None]).sum().item()
    return nats / (len(ids) - 1) / math.log(2)


def likelihood(model: BLT, texts: Iterable[str]) -> tuple[float, int, dict[str, float | None]]:
    """(bits per byte, bytes) of all texts, and bits per byte by the name of each compressor.

    The model reads each text from BOS on; a compressor gets all of them as one file. Raises
    ValueError where there is no text.
    """
    texts = [text for text in texts if text]
    if not texts:
        raise ValueError("likelihood needs at least one text")
    sizes = [len(text.encode()) for text in texts]
    bits = 0.0
    for size, text in zip(sizes, tqdm(texts, unit="text", leave=False), strict=True):
        bits += size * score(model, text)
    return bits / sum(sizes), sum(sizes), compressed("".join(texts).encode())


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


def report(model: BLT, request: Request) -> str:
    """The model's bits per byte, and a line for each compressor."""
    bits, size, by_compressor = likelihood(model, request.texts())
    lines = [f"{bits:.4f} bits a byte on {size:,} bytes ({request.text}, {request.split})"]
    for name, value in by_compressor.items():
        known = value is not None
        lines.append(
            f"{value:.4f} by {name}, all of it as one file" if known else f"{name}: not available"
        )
    return "\n".join(lines)


TASK = Task("bits per byte beside xz and zstd", report, writes=False)
