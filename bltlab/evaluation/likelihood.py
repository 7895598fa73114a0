"""How well a model predicts text: bits per byte, beside what compressors make of the same text."""

import lzma
import math
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any, overload

import torch
from tqdm.auto import tqdm

from .. import memory, vocab
from ..layers import check_numbers
from ..model import BLT
from ..state import DecodingState
from .task import Request, Task

GUESSING = 8  # bits a byte of a model that gives all 256 bytes the same probability


@overload
def score(model: BLT, text: str | bytes, chunk: int = 512) -> float:
    """Of one text, a number."""


@overload
def score(model: BLT, text: list[Any], chunk: int = 512) -> list[float]:
    """Of several, a list."""


@memory.needed()
def score(model: BLT, text: str | bytes | list[Any], chunk: int = 512) -> float | list[float]:
    """Bits per byte of a text under the model read autoregressively, BOS in front, EOS not scored.

    For a list of texts, a list. Fewer bits are better. Guessing all 256 bytes alike costs 8: more
    than that is worse than knowing nothing, so the model was trained on text of another kind.

    A text longer than the model's `max_length` is read in windows of that length, each beginning
    with the last quarter of the one before, which is not scored again. So time is linear in the
    length of the text, and memory does not grow with it.

    chunk: bytes read at once; it changes the memory needed, not the result. Raises ValueError for
    an empty text.
    """
    if isinstance(text, list):
        return [score(model, one, chunk) for one in text]
    data = vocab.to_bytes(text)
    if not data:
        raise ValueError("score needs a text of at least one byte, got an empty one")
    most = max(1, model.config.max_length - 1)  # without BOS
    again = most // 4
    nats = 0.0
    for start in range(0, max(1, len(data) - again), most - again):
        known = again if start else 0
        nats += _nats_of_window(model, data[start : start + most], known, chunk)
    return nats / len(data) / math.log(2)


def _nats_of_window(model: BLT, data: bytes, known: int, chunk: int) -> float:
    """Nats of all bytes but the first `known`, read from BOS on."""
    ids = torch.tensor(vocab.encode(data), device=model.device)
    state = DecodingState(model, max_length=len(ids))
    nats = 0.0
    for begin in range(0, len(ids) - 1, chunk):
        read = ids[begin : begin + chunk]
        targets = ids[begin + 1 : begin + 1 + len(read)]
        logits = check_numbers(state.extend(read)[0, : len(targets)], "the logits")
        log_probs = logits.log_softmax(-1)
        new = log_probs.gather(1, targets[:, None])[max(0, known - begin) :]
        nats -= new.sum().item()
    return nats


def nats_after(model: BLT, context: bytes, text: bytes) -> float:
    """Nats of a text after a context, in one window from BOS on."""
    return _nats_of_window(model, context + text, len(context), len(context) + len(text))


def likelihood(
    model: BLT, texts: Iterable[str | bytes]
) -> tuple[float, int, dict[str, float | None]]:
    """(bits per byte, bytes) of all texts, and bits per byte by the name of each compressor.

    The model reads each text from BOS on; a compressor gets all of them as one file. Raises
    ValueError where there is no text.
    """
    documents = [vocab.to_bytes(text) for text in texts if text]
    if not documents:
        raise ValueError("likelihood needs at least one text")
    bits = 0.0
    for document in tqdm(documents, unit="text", leave=False):
        bits += len(document) * score(model, document)
    whole = b"".join(documents)
    return bits / len(whole), len(whole), compressed(whole)


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
    """The model's bits per byte, what it means if they are many, a line for each compressor."""
    bits, size, by_compressor = likelihood(model, request.texts())
    lines = [f"{bits:.4f} bits a byte on {size:,} bytes ({request.text}, {request.split_read})"]
    if bits > GUESSING:
        lines.append(
            f"more than {GUESSING} is worse than guessing all 256 bytes alike: this model was"
            " trained on text of another kind"
        )
    for name, value in by_compressor.items():
        known = value is not None
        lines.append(
            f"{value:.4f} by {name}, all of it as one file" if known else f"{name}: not available"
        )
    return "\n".join(lines)


TASK = Task(
    f"bits per byte beside xz and zstd, fewer are better, {GUESSING} is guessing",
    report,
    writes=False,
)
