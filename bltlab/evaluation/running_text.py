"""Two tests on running text: bits per byte beside compressors, and how many of the words that a model writes are words."""

import lzma
import re
import shutil
import subprocess

from tqdm.auto import tqdm

from .. import data, vocab
from ..decoding import generate
from . import score
from .prompts import held_out, methods_for

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def likelihood(model, texts):
    """(bits per byte, bytes) of texts, each from BOS on, and a dict of what compressors make of all of them together."""
    texts = [t for t in texts if t]
    if not texts:
        raise ValueError("likelihood needs at least one text")
    sizes = [len(text.encode()) for text in texts]
    bits = sum(
        n * score(model, text) for n, text in zip(sizes, tqdm(texts, unit="text", leave=False))
    )
    return bits / sum(sizes), sum(sizes), compressed("".join(texts).encode())


def compressed(data):
    """Bits per byte of xz -9 and zstd -19, None for one that is not available.

    >>> compressed(b"ab" * 5000)["xz -9"] < 0.2
    True
    """
    return {
        "xz -9": 8 * len(lzma.compress(data, preset=9)) / len(data),
        "zstd -19": (size := zstd_size(data, 19)) and 8 * size / len(data),
    }


def zstd_size(data, level):
    """Bytes that zstd leaves: by the standard library (Python 3.14), the zstandard package or the binary; else None."""
    try:
        from compression import zstd

        return len(zstd.compress(data, level))
    except ImportError:
        pass
    try:
        import zstandard

        return len(zstandard.ZstdCompressor(level=level).compress(data))
    except ImportError:
        pass
    if shutil.which("zstd"):
        return len(
            subprocess.run(
                ["zstd", f"-{level}", "-c", "-q"], input=data, capture_output=True, check=True
            ).stdout
        )
    return None


def words_of(text):
    """Words in lower case.

    >>> words_of("Don't go in, 3 TIMES!")
    ["don't", 'go', 'in', 'times']
    """
    return [word.lower() for word in WORD.findall(text)]


def whole_words(prompt, text, cut):
    """Words that begin and end in `text`: none that the prompt began, and not the last where the text was cut off. Bytes.

    >>> whole_words(b"In the be", b"ginning was the wo", cut=True)
    ['was', 'the']
    """
    prompt, text = (vocab.to_text(data) for data in (prompt, text))
    begin = re.match(r"\S*", text).end() if prompt[-1:].isalnum() else 0
    end = re.search(r"\S*$", text).start() if cut else len(text)
    return words_of(text[begin : max(begin, end)])


def words(
    model,
    source,
    methods=(),
    *,
    lines=32,
    prompt_bytes=64,
    max_new_bytes=128,
    temperature=0.8,
    seed=0,
    batch_size=32,
):
    """Rows, one a method: share of words, in `lines` texts sampled after held-out prompts, that the training split knows.

    distinct: different words / words. The first row is held-out text itself, the most that can be hoped for.
    """
    known = {word for text in data.documents(source, "train") for word in words_of(text)}
    longer = held_out(source, lines, prompt_bytes + max_new_bytes)
    prompts, rest = (
        [t[:prompt_bytes] for t in longer.texts],
        [t[prompt_bytes:] for t in longer.texts],
    )
    share = lambda found: dict(
        words=len(found),
        known_percent=100 * sum(w in known for w in found) / max(1, len(found)),
        distinct=len(set(found)) / max(1, len(found)),
    )
    rows = [
        dict(
            method="held-out text",
            **share([w for p, r in zip(prompts, rest) for w in whole_words(p, r, True)]),
        )
    ]
    for label, method in methods_for(model, methods):
        found = []
        for at in tqdm(range(0, lines, batch_size), desc=label, unit="batch", leave=False):
            some = prompts[at : at + batch_size]
            outs = generate(
                model,
                some,
                method,
                max_new_bytes=max_new_bytes,
                temperature=temperature,
                record=False,
                seed=[seed + at + i for i in range(len(some))],
                stop=longer.stop,
            )
            found += [
                w
                for p, out in zip(some, outs)
                for w in whole_words(p, out.bytes, out.stopped == "budget")
            ]
        rows.append(dict(method=label, **share(found)))
    return rows
