"""Whether a model writes words: the share of those in sampled text that the training text holds.

And whether it repeats itself, and what another model thinks of what it writes.
"""

import re
import statistics
from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm

from .. import data, vocab
from ..decoding import generate
from ..model import BLT
from .likelihood import score
from .prompts import Prompts, held_out, methods_for
from .summary import Row, table
from .task import Request, Task

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
SAMPLES = 32  # texts, where the request leaves it open


def words_of(text: str) -> list[str]:
    """The words of a text in lower case.

    >>> words_of("Don't go in, 3 TIMES!")
    ["don't", 'go', 'in', 'times']
    """
    return [word.lower() for word in WORD.findall(text)]


def whole_words(prompt: bytes, text: bytes, cut: bool) -> list[str]:
    """Words that begin and end in the text written after a prompt.

    The rest of a word that the prompt began is left out, and the last word where the text was cut
    off.

    >>> whole_words(b"In the be", b"ginning was the wo", cut=True)
    ['was', 'the']
    """
    before, written = vocab.to_text(prompt), vocab.to_text(text)
    begin = re.match(r"\S*", written).end() if before[-1:].isalnum() else 0
    end = re.search(r"\S*$", written).start() if cut else len(written)
    return words_of(written[begin : max(begin, end)])


def repeated(text: bytes, length: int = 8) -> float:
    """Share of a text's runs of `length` bytes that stood in it before.

    >>> repeated(b"abcdefgh" * 2)
    0.1111111111111111
    """
    starts = range(len(text) - length + 1)
    runs = [text[start : start + length] for start in starts]
    again = len(runs) - len(set(runs))
    return again / max(1, len(runs))


def variety(prompts: Sequence[bytes], texts: Sequence[bytes]) -> tuple[float, float]:
    """(different words / words, mean share of `repeated` runs) of texts cut off after prompts."""
    found = _words_after(prompts, [(text, True) for text in texts])
    return _distinct(found), statistics.mean(map(repeated, texts))


def _words_after(prompts: Sequence[bytes], texts: Sequence[tuple[bytes, bool]]) -> list[str]:
    """All whole words of texts after prompts, each with whether it was cut off."""
    found = []
    for prompt, (text, cut) in zip(prompts, texts, strict=True):
        found += whole_words(prompt, text, cut)
    return found


def _distinct(found: Sequence[str]) -> float:
    """Different words / words."""
    return len(set(found)) / max(1, len(found))


def judged(judge: BLT, prompts: Sequence[bytes], texts: Sequence[bytes]) -> float:
    """Bits a byte of texts written after prompts, as another model predicts them; over all bytes.

    Few bits are no praise by themselves: a text that repeats itself is easy to predict.
    """
    bits = 0.0
    for prompt, text in zip(prompts, texts, strict=True):
        whole = prompt + text
        bits += len(whole) * score(judge, whole)
        if prompt:
            bits -= len(prompt) * score(judge, prompt)
    return bits / max(1, sum(map(len, texts)))


def words(
    model: BLT,
    source: str,
    methods: Sequence[str] = (),
    *,
    lines: int | None = None,
    prompt_bytes: int = 64,
    max_new_bytes: int = 128,
    temperature: float = 0.8,
    seed: int = 0,
    batch_size: int = 32,
) -> list[Row]:
    """Rows, one a method: the words in `lines` texts sampled after held-out prompts.

    lines: without a number, `SAMPLES`, or all that a smaller corpus has.
    known_percent: share of them that the training split holds; distinct: different words / words,
    of as many words in every row; repeated_percent: see `repeated`. The first row is held-out text
    itself, the most that can be hoped for; of a corpus without a test split, such as a file, it is
    a part of the text that says which words are known.
    """
    known = {word for text in data.documents(source, "train") for word in words_of(text)}
    length = prompt_bytes + max_new_bytes
    longer = held_out(source, lines or SAMPLES, length, or_fewer=lines is None)
    lines = len(longer.texts)
    prompts = Prompts([text[:prompt_bytes] for text in longer.texts], longer.stop)
    written = [(text[prompt_bytes:], True) for text in longer.texts]
    label = "held-out text"
    if data.held_out_split(source) == data.ALL:
        label = "the text itself"
    by_label = {label: written}
    settings = dict(max_new_bytes=max_new_bytes, temperature=temperature, stop=prompts.stop)
    for label, method in methods_for(model, methods):
        batches = tqdm(range(0, lines, batch_size), desc=label, unit="batch", leave=False)
        written = []
        for at in batches:
            batch = prompts.texts[at : at + batch_size]
            written += _sampled(model, batch, method, seed + at, settings)
        by_label[label] = written
    return _rows(by_label, prompts.texts, known)


def _sampled(
    model: BLT, prompts: list[bytes], method: Any, seed: int, settings: dict[str, Any]
) -> list[tuple[bytes, bool]]:
    """[(text, was it cut off?)] after the prompts, each with a seed of its own."""
    seeds = [seed + row for row in range(len(prompts))]
    outs = generate(model, prompts, method, seed=seeds, record=False, **settings)
    return [(out.bytes, out.stopped == "budget") for out in outs]


def _rows(
    by_label: dict[str, list[tuple[bytes, bool]]], prompts: list[bytes], known: set[str]
) -> list[Row]:
    found = {label: _words_after(prompts, texts) for label, texts in by_label.items()}
    fewest = min(map(len, found.values()))
    rows = []
    for label, texts in by_label.items():
        has = found[label]
        share_known = sum(word in known for word in has) / max(1, len(has))
        again = statistics.mean(repeated(text) for text, _ in texts)
        row = dict(
            method=label,
            words=len(has),
            known_percent=100 * share_known,
            distinct=_distinct(has[:fewest]),
            repeated_percent=100 * again,
        )
        rows.append(row)
    return rows


def report(model: BLT, request: Request) -> str:
    """A table with a row for each method."""
    return table(
        words(
            model,
            request.text,
            request.methods,
            lines=request.limit,
            temperature=request.temperature,
            seed=request.seed,
        )
    )


TASK = Task("share of the words in sampled text that the training split holds", report)
