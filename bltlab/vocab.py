"""Bytes and ids: the released BLT vocabulary of 260, the mask, and UTF-8 that arrives byte by byte."""

import codecs

BOE_ID, BOS_ID, EOS_ID, BPE_ID = 0, 1, 2, 3
OFFSET = 4  # id of byte b is b + 4
VOCAB_SIZE = 260  # 4 specials + 256 bytes
MASK_ID = 260  # only models with a diffusion head know it
PAD_ID = -1  # right padding of ragged rows; never reaches an embedding


def to_bytes(text):
    """`str` (encoded as UTF-8) or `bytes` -> `bytes`. Raises TypeError for anything else."""
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    if isinstance(text, (bytes, bytearray)):
        return bytes(text)
    raise TypeError(f"text must be str or bytes, got {type(text).__name__}")


def encode(text, bos=True):
    """Text to a list of ids, with BOS in front.

    >>> encode("Hi")
    [1, 76, 109]
    """
    return [BOS_ID] * bos + [b + OFFSET for b in to_bytes(text)]


def decode(ids):
    """Ids to bytes; specials, MASK and PAD are left out.

    >>> decode([1, 76, 109, 2])
    b'Hi'
    """
    return bytes(i - OFFSET for i in ids if OFFSET <= i < VOCAB_SIZE)


def to_text(data):
    """Bytes to `str`; broken UTF-8 shows as U+FFFD.

    >>> to_text(bytes([72, 105, 0xC3]))
    'Hi\\ufffd'
    """
    return bytes(data).decode("utf-8", "replace")


class StreamingText:
    """Text from bytes that arrive in pieces: an incomplete character is held back, a broken one shows as U+FFFD.

    >>> text = StreamingText()
    >>> text.feed(b"\\xc3"), text.feed(b"\\xa9!"), text.close()
    ('', 'é!', '')
    """

    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data):
        return self._decoder.decode(bytes(data))

    def close(self):
        return self._decoder.decode(b"", final=True)


def characters(data):
    """Spans of UTF-8 characters: a list of (start, end, valid) that covers `data` without gaps.

    A byte that no character can hold is a span of its own with valid=False, as is an unfinished tail.

    >>> characters("né".encode() + b"\\xff")
    [(0, 1, True), (1, 3, True), (3, 4, False)]
    """
    spans, i = [], 0
    while i < len(data):
        lead = data[i]
        n = (
            1
            if lead < 0x80
            else 2
            if 0xC2 <= lead < 0xE0
            else 3
            if 0xE0 <= lead < 0xF0
            else 4
            if 0xF0 <= lead < 0xF5
            else 0
        )
        try:
            valid = n > 0 and len(bytes(data[i : i + n]).decode("utf-8")) == 1
        except UnicodeDecodeError:
            valid = False
        n = n if valid else 1
        spans.append((i, i + n, valid))
        i += n
    return spans
