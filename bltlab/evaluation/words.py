"""Whether a model writes words: the share of those in sampled text that the training text holds."""

import re
from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm

from .. import data, vocab
from ..decoding import generate
from ..model import BLT
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


def words(
    model: BLT,
    source: str,
    methods: Sequence[str] = (),
    *,
    lines: int = SAMPLES,
    prompt_bytes: int = 64,
    max_new_bytes: int = 128,
    temperature: float = 0.8,
    seed: int = 0,
    batch_size: int = 32,
) -> list[Row]:
    """Rows, one a method: the words in `lines` texts sampled after held-out prompts.

    known_percent: share of them that the training split holds; distinct: different words / words.
    The first row is held-out text itself, the most that can be hoped for.
    """
    known = {word for text in data.documents(source, "train") for word in words_of(text)}
    longer = held_out(source, lines, prompt_bytes + max_new_bytes)
    prompts = Prompts([text[:prompt_bytes] for text in longer.texts], longer.stop)
    found = []
    for prompt, text in zip(prompts.texts, longer.texts, strict=True):
        found += whole_words(prompt, text[prompt_bytes:], cut=True)
    rows = [_row("held-out text", found, known)]
    settings = dict(max_new_bytes=max_new_bytes, temperature=temperature, stop=prompts.stop)
    for label, method in methods_for(model, methods):
        batches = tqdm(range(0, lines, batch_size), desc=label, unit="batch", leave=False)
        found = []
        for at in batches:
            batch = prompts.texts[at : at + batch_size]
            found += _sampled_words(model, batch, method, seed + at, settings)
        rows.append(_row(label, found, known))
    return rows


def _sampled_words(
    model: BLT, prompts: list[bytes], method: Any, seed: int, settings: dict[str, Any]
) -> list[str]:
    """Whole words that the method writes after the prompts, each with a seed of its own."""
    seeds = [seed + row for row in range(len(prompts))]
    outs = generate(model, prompts, method, seed=seeds, record=False, **settings)
    found = []
    for prompt, out in zip(prompts, outs, strict=True):
        found += whole_words(prompt, out.bytes, cut=out.stopped == "budget")
    return found


def _row(label: str, found: list[str], known: set[str]) -> Row:
    count = max(1, len(found))
    return dict(
        method=label,
        words=len(found),
        known_percent=100 * sum(word in known for word in found) / count,
        distinct=len(set(found)) / count,
    )


def report(model: BLT, request: Request) -> str:
    """A table with a row for each method."""
    return table(
        words(
            model,
            request.text,
            request.methods,
            lines=request.limit or SAMPLES,
            temperature=request.temperature,
            seed=request.seed,
        )
    )


TASK = Task("share of the words in sampled text that the training split holds", report)
