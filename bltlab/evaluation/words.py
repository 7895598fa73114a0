"""Words in what a model wrote; whether it repeats itself; what another model thinks of it."""

import re
import statistics
from collections.abc import Sequence

from .. import vocab
from ..model import BLT
from .likelihood import score

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


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
