"""Held-out text to write on from, and the lists of methods to compare."""

import re
from dataclasses import dataclass, fields

from .. import data
from ..decoding import METHODS
from ..options import check_limits
from ..unmasking import parse_rule

PAIR = re.compile(r"(\w+: [^\n]+\n\w+:) ?([^\n]*)\n?")


@dataclass(frozen=True)
class Pair:
    """A source line with the name of the language to answer in, "fr: Bonjour.\\nen:", and the answer, "Hello."."""

    prompt: str
    answer: str


def pairs_of(texts):
    r"""Texts of the form "fr: ...\nen: ...\n" as a list of `Pair`s. Raises ValueError for a text of another form.

    >>> pairs_of(["fr: Bonjour.\nen: Hello.\n"])
    [Pair(prompt='fr: Bonjour.\nen:', answer='Hello.')]
    """
    found = [(text, PAIR.fullmatch(text)) for text in texts]
    if odd := next((text for text, match in found if match is None), None):
        raise ValueError(rf"a pair looks like 'fr: ...\nen: ...\n', got {odd[:40]!r}")
    return [Pair(*match.groups()) for _, match in found]


@dataclass(frozen=True)
class Prompts:
    """Texts as bytes, and the strings that end an answer."""

    texts: list
    stop: tuple = ()


def evenly(items, n):
    """n of the items, evenly spaced.

    >>> evenly(range(10), 3)
    [0, 3, 6]
    """
    items = list(items)
    return items[:: max(1, len(items) // n)][:n]


def held_out(source, n, length):
    """n `Prompts` from the test split of a corpus, spread over it.

    Text is cut into prompts of `length` bytes, a document's start first. Where the documents are pairs, a prompt is a
    source line and "en:", whatever its length, and the answer ends with its line. Raises ValueError where there are fewer.
    """
    texts = list(data.documents(source, "test"))
    if all(map(PAIR.fullmatch, texts)):
        found, stop = [pair.prompt.encode() for pair in pairs_of(texts)], ("\n",)
    else:
        whole, stop = [text.encode() for text in texts], ()
        cuts = [[t[at : at + length] for at in range(0, len(t) - length, length)] for t in whole]
        found = [cut[0] for cut in cuts if cut]
        found += [piece for cut in cuts for piece in cut[1:]] if len(found) < n else []
    if len(found) < n:
        raise ValueError(
            f"{source} has {len(found)} held-out prompts of {length} bytes, fewer than {n}"
        )
    return Prompts(evenly(found, n), stop)


def running_text(source, length):
    """The first `length` bytes of a corpus's test split, documents joined by line ends, from the start again where it ends."""
    whole = "\n".join(data.documents(source, "test")).encode()
    return (whole * (length // max(1, len(whole)) + 1))[:length]


def method_from(text):
    """A method from "NAME[,option=value...]". Raises ValueError, saying what is accepted.

    >>> method_from("blt-d,block_size=4,unmasking=entropy:0.5")
    BlockDiffusion(block_size=4, unmasking=EntropyBound(gamma=0.5), latent='closed')
    """
    name, *options = text.split(",")
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    known, given = {f.name: f for f in fields(METHODS[name])}, {}
    for option in options:
        key, _, value = option.partition("=")
        key = key.replace("-", "_")
        if key not in known:
            raise ValueError(
                f"method {name!r} has no option {key}; it has {', '.join(sorted(known)) or 'none'}"
            )
        given[key] = _value(known[key], value)
    return METHODS[name](**given)


def _value(f, text):
    """A field's value from text, checked against the range in its metadata."""
    if f.metadata.get("rule"):
        return parse_rule(text)
    kind = f.metadata.get("kind", type(f.default))
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{f.name} must be {kind.__name__}, got {text!r}") from None
    check_limits(f, value)
    return value


def methods_for(model, texts=()):
    """(label, method) of each text, autoregression first; without texts, every method that the model can run.

    Each is fitted to the model. Raises ValueError for a method that it cannot run.
    """
    plain = model.config.block_size is None
    texts = list(texts) or [
        name
        for name, kind in METHODS.items()
        if not (plain and "block_size" in {f.name for f in fields(kind)})
    ]
    texts = ["ar", *(t for t in dict.fromkeys(texts) if t != "ar")]
    return [(text, method_from(text).fit(model)) for text in texts]
