"""How well a model predicts text: bits a byte, and the likelihood of texts after contexts."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from os.path import commonprefix
from typing import Any, overload

from torch import Tensor
from tqdm.auto import tqdm

from .. import memory, vocab
from ..layers import check_numbers
from ..model import BLT
from ..sampling import allowed_logits
from ..state import DecodingState
from ..transfer import fetch, send_padded


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
    (found,) = likelihoods(model, [(b"", data)], chunk=chunk)
    return found.nats / len(data) / math.log(2)


# -- texts after contexts --------------------------------------------------------------------------


@dataclass(frozen=True)
class Likelihood:
    """How likely a text is after a context.

    nats: of all its bytes, fewer are likelier. greedy: is it what greedy decoding would write?
    """

    nats: float
    greedy: bool


Window = tuple[bytes, bytes]  # a context and a text that a model can hold together


@memory.needed()
def likelihoods(
    model: BLT,
    asked: Sequence[tuple[str | bytes, str | bytes]],
    batch_size: int = 1,
    chunk: int = 512,
) -> list[Likelihood]:
    """The `Likelihood` of each (context, text), BOS in front, EOS not scored.

    A context is read once, and rolled back to for each of its texts. One by one, contexts come in
    the order of the alphabet, and what one has in common with the one before is not read again;
    side by side stand those of about one length.

    Where both are longer than the model's `max_length`, the context loses its beginning, at a
    character, and a warning says how many did; a text that is longer alone is read in windows, as
    `score` reads it.

    batch_size: contexts side by side; chunk: bytes of each read at once. They change the memory
    needed, not the result. Raises ValueError for a batch_size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    most = max(1, model.config.max_length - 1)  # without BOS
    windows = []
    cut = 0
    for context, text in asked:
        before, after = vocab.to_bytes(context), vocab.to_bytes(text)
        parts = windows_of(before, after, most)
        cut += len(before) > len(parts[0][0])
        windows.append(parts)
    if cut:
        warnings.warn(
            f"{cut} of {len(windows)} texts are longer with their context than the model's"
            f" max_length of {most + 1}: the context loses its beginning",
            stacklevel=3,
        )
    found = _of_windows(model, list(chain(*windows)), batch_size, chunk)
    return [_joined([found[part] for part in parts]) for parts in windows]


def _joined(parts: Sequence[Likelihood]) -> Likelihood:
    """The likelihood of a text from that of its windows."""
    nats = sum(part.nats for part in parts)
    greedy = all(part.greedy for part in parts)
    return Likelihood(nats, greedy)


def windows_of(context: bytes, text: bytes, most: int) -> list[Window]:
    """A context and a text in windows of `most` bytes, each byte of the text in one of them.

    A text that is longer loses its context; a window then begins with the last quarter of the one
    before.

    >>> windows_of("né: ".encode(), b"yes", 6)
    [(b': ', b'yes')]
    >>> windows_of(b"?", b"abcdefgh", 4)
    [(b'', b'abcd'), (b'd', b'efg'), (b'g', b'h')]
    """
    if len(text) <= most:
        return [(last_characters(context, most - len(text)), text)]
    again = most // 4
    windows = [(b"", text[:most])]
    for start in range(most, len(text), most - again):
        end = start + most - again
        windows.append((text[start - again : start], text[start:end]))
    return windows


def last_characters(data: bytes, most: int) -> bytes:
    """The last bytes, at most `most`, without what is left of a character that was cut.

    >>> last_characters("né!".encode(), 2)
    b'!'
    """
    if len(data) <= most:
        return data
    inside = bytes(range(0x80, 0xC0))  # bytes that go on with a character
    return data[len(data) - most :].lstrip(inside)


def _of_windows(
    model: BLT, windows: Sequence[Window], batch_size: int, chunk: int
) -> dict[Window, Likelihood]:
    """The likelihood of each window's text; all texts of one context are read together."""
    texts: dict[bytes, set[bytes]] = {}
    for context, text in windows:
        texts.setdefault(context, set()).add(text)
    order = sorted(texts)
    if batch_size > 1:
        order.sort(key=len)
    found: dict[Window, Likelihood] = {}
    state = None
    bar = tqdm(
        range(0, len(order), batch_size),
        desc=model.name,
        leave=False,
        disable=None,
    )
    for start in bar:
        contexts = order[start : start + batch_size]
        if state is None or state.batch_size > len(contexts):  # the last may be fewer
            state = DecodingState(model, len(contexts))
        _read_contexts(state, contexts, chunk)
        by_length = [sorted(texts[context], key=len) for context in contexts]
        for column in zip_longest(*by_length, fillvalue=b""):
            beside = list(zip(contexts, column, strict=True))
            read = _read_texts(state, beside, chunk)
            found.update(zip(beside, read, strict=True))
    return found


def _read_contexts(state: DecodingState, contexts: Sequence[bytes], chunk: int) -> None:
    """Read all of each context but its last byte, from where it differs from what stands there."""
    known = []
    rest = []
    for row, context in zip(state.rows, contexts, strict=True):
        ids = vocab.encode(context)[:-1]
        same = len(commonprefix([row.ids, ids]))
        known.append(same)
        rest.append(ids[same:])
    state.rollback(known)
    longest = max(map(len, rest))
    for at in range(0, longest, chunk):
        state.extend([ids[at : at + chunk] for ids in rest])


def _read_texts(state: DecodingState, beside: Sequence[Window], chunk: int) -> list[Likelihood]:
    """The likelihood of a text in each row, after its context, whose last byte is read with it."""
    begins = [len(context) for context, _ in beside]  # where the last byte stands, BOS counted
    state.rollback(begins)
    rows = [vocab.encode(context + text)[len(context) :] for context, text in beside]
    nats = [0.0] * len(rows)
    greedy = [True] * len(rows)
    longest = max(map(len, rows)) - 1
    for at in range(0, longest, chunk):
        end = at + chunk
        logits = state.extend([row[:-1][at:end] for row in rows])
        targets = [row[1:][at:end] for row in rows]
        for number, (cost, same) in enumerate(_compared(logits, targets)):
            nats[number] += cost
            greedy[number] &= same
    return list(map(Likelihood, nats, greedy))


def _compared(logits: Tensor, targets: Sequence[list[int]]) -> Iterator[tuple[float, bool]]:
    """For each row (nats of its targets, is each the likeliest byte?) of logits (B, T, V)."""
    wanted = send_padded(targets, logits.device, logits.shape[1])
    log_probs = check_numbers(logits, "the logits").log_softmax(-1)
    of_targets = log_probs.gather(-1, wanted[..., None])
    likeliest = allowed_logits(logits).argmax(-1)
    logs, best = fetch(of_targets[..., 0], likeliest)
    for number, row in enumerate(targets):
        size = len(row)
        yield -sum(logs[number][:size]), best[number][:size] == row
