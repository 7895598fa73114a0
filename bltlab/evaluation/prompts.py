"""Held-out text to write on from, and lists of methods to compare."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import data, vocab
from ..decoding import METHODS, fitted, method_of, why_not
from ..model import BLT

LINES = r"\w+: [^\n]+\n\w+:"  # a line in one language, and the name of another
FUNCTION = r'def [^\n]+\n    """[^\n]+"""\n    return'
PAIR = re.compile(rf"({LINES}|{FUNCTION}) ?([^\n]*)\n?")


@dataclass(frozen=True)
class Pair:
    """A source line and the language to answer in, "fr: Oui.\\nen:"; and the answer, "Yes.".

    Or a function up to its `return`, and what it returns.
    """

    prompt: str
    answer: str


def pairs_of(texts: Iterable[str]) -> list[Pair]:
    r"""Texts of the form "fr: ...\nen: ...\n" as pairs, and functions of one line.

    Raises ValueError for any other text.

    >>> pairs_of(["fr: Bonjour.\nen: Hello.\n"])
    [Pair(prompt='fr: Bonjour.\nen:', answer='Hello.')]
    """
    pairs = []
    for text in texts:
        match = PAIR.fullmatch(text)
        if match is None:
            raise ValueError(rf"a pair looks like 'fr: ...\nen: ...\n', got {text[:40]!r}")
        pairs.append(Pair(*match.groups()))
    return pairs


@dataclass(frozen=True)
class Prompts:
    """Texts to write on from, as bytes, and the strings that end an answer."""

    texts: list[bytes]
    stop: tuple[str, ...] = ()


def held_out(source: str, n: int, length: int, or_fewer: bool = False) -> Prompts:
    """n prompts from the test split of a corpus, or from all of one without, spread over it.

    Text is cut into prompts of `length` bytes, the start of each document first. Where the
    documents are pairs, a prompt is a source line and "en:", whatever its length, and the answer
    ends with its line. Raises ValueError where there are fewer than n.

    or_fewer: one is enough.
    """
    texts = list(data.documents(source, data.held_out_split(source)))
    if all(map(PAIR.fullmatch, texts)):
        found = [vocab.to_bytes(pair.prompt) for pair in pairs_of(texts)]
        stop: tuple[str, ...] = ("\n",)
    else:
        found = _chunks_of(texts, n, length)
        stop = ()
    fewest = 1 if or_fewer else n
    if len(found) < fewest:
        raise ValueError(
            f"{source} has {len(found)} held-out prompts of {length} bytes, fewer than {fewest}"
        )
    return Prompts(evenly(found, n), stop)


def _chunks_of(texts: list[str], n: int, length: int) -> list[bytes]:
    """The first `length` bytes of each text; all that follow too, where those are fewer than n."""
    first, later = [], []
    for text in map(vocab.to_bytes, texts):
        chunks = [text[at : at + length] for at in range(0, len(text) - length, length)]
        first += chunks[:1]
        later += chunks[1:]
    return first if len(first) >= n else first + later


def evenly(items: Iterable[Any], n: int | None) -> list[Any]:
    """n of the items, evenly spaced; all of them where there are fewer, or without n.

    >>> evenly(range(10), 3)
    [0, 3, 6]
    """
    items = list(items)
    n = n or len(items)
    return items[:: max(1, len(items) // max(1, n))][:n]


def running_text(source: str, length: int) -> bytes:
    """The first `length` bytes of a corpus's test split, its documents joined by line ends.

    Of a corpus without one, all is taken. Where it is shorter, it starts again from its beginning.
    """
    whole = b"\n".join(data.read_documents(source, data.held_out_split(source)))
    return (whole * (length // max(1, len(whole)) + 1))[:length]


def methods_for(model: BLT, specs: Sequence[str] = ()) -> list[tuple[str, Any]]:
    """(label, method) of each spec, fitted to the model, autoregression first.

    specs: what `method_of` reads, "blt-d,block_size=4" say; without any, every method that the
    model can run. Raises ValueError for a method that it cannot run.
    """
    specs = list(specs) or [name for name in METHODS if why_not(name, model) is None]
    specs = ["ar", *(spec for spec in dict.fromkeys(specs) if spec != "ar")]
    return [(spec, fitted(spec, model)) for spec in specs]


method_from = method_of  # its former name
