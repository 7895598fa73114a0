"""Bytes and ids: the released BLT vocabulary of 260, the mask, and UTF-8 that arrives in parts."""

import codecs
import unicodedata
from collections.abc import Iterable, Sequence

BOE_ID, BOS_ID, EOS_ID, BPE_ID = 0, 1, 2, 3
OFFSET = 4  # the id of byte b is b + 4
VOCAB_SIZE = 260  # 4 specials and 256 bytes
MASK_ID = 260  # only models with a diffusion head know it
PAD_ID = -1  # right padding of ragged rows; never reaches an embedding

# UTF-8: a lead byte in first .. last begins a character of `length` bytes.
LEADS = [(0x00, 0x7F, 1), (0xC2, 0xDF, 2), (0xE0, 0xEF, 3), (0xF0, 0xF4, 4)]  # first, last, length


def to_bytes(text: str | bytes) -> bytes:
    """The bytes of a text: `str` in UTF-8, `bytes` as they are.

    Raises TypeError for anything else.
    """
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    if isinstance(text, (bytes, bytearray)):
        return bytes(text)
    raise TypeError(f"text must be str or bytes, got {type(text).__name__}")


def encode(text: str | bytes, bos: bool = True) -> list[int]:
    """The ids of a text, with BOS in front.

    >>> encode("Hi")
    [1, 76, 109]
    """
    ids = [byte + OFFSET for byte in to_bytes(text)]
    return [BOS_ID, *ids] if bos else ids


def decode(ids: Iterable[int]) -> bytes:
    """The bytes of ids; specials, MASK and PAD are left out.

    >>> decode([1, 76, 109, 2])
    b'Hi'
    """
    return bytes(i - OFFSET for i in ids if OFFSET <= i < VOCAB_SIZE)


def to_text(data: bytes | Iterable[int]) -> str:
    """Bytes as `str`; broken UTF-8 shows as U+FFFD.

    >>> to_text(bytes([72, 105, 0xC3]))
    'Hi\\ufffd'
    """
    return bytes(data).decode("utf-8", "replace")


def one_line(text: str) -> str:
    """A text from anywhere for a line of a terminal: what does not print shows as an escape.

    >>> one_line("red \\x1b[31m, or \\u202e and so on")
    'red \\\\x1b[31m, or \\\\u202e and so on'
    """
    return "".join(map(_printed, text))


def visible(data: bytes | Iterable[int], kept: str = "") -> str:
    """Bytes for a terminal: characters that print, and those in `kept`, as they are.

    All others are hex: ESC and BEL reach no terminal, and bytes that are not UTF-8 are not lost.

    >>> visible("né \\x1b[31m\\r\\n".encode() + b"\\xff", kept="\\n")
    'né \\\\x1b[31m\\\\x0d\\n\\\\xff'
    """
    shown = []
    for c in bytes(data).decode("utf-8", "surrogateescape"):
        shown.append(c if _prints(c) or c in kept else _in_hex(c))
    return "".join(shown)


def _prints(character: str) -> bool:
    """Is it a character that shows, a space, or one that only joins others?"""
    joins = character in "\u200c\u200d"  # in Persian, Hindi and emoji
    return character.isprintable() or joins or unicodedata.category(character) == "Zs"


def _in_hex(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in to_bytes(character))


def _printed(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


class StreamingText:
    """Text from bytes that arrive in parts.

    An incomplete character is held back until the rest is there. errors: what becomes of broken
    ones, in Python's words; U+FFFD by default.

    >>> text = StreamingText()
    >>> text.feed(b"\\xc3"), text.feed(b"\\xa9!"), text.close()
    ('', 'é!', '')
    """

    def __init__(self, errors: str = "replace") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def feed(self, data: bytes | Iterable[int]) -> str:
        """The text that these further bytes complete."""
        return self._decoder.decode(bytes(data))

    def close(self) -> str:
        """What was held back, as a broken character: no more bytes will come."""
        return self._decoder.decode(b"", final=True)


def characters(data: bytes | Sequence[int]) -> list[tuple[int, int, bool]]:
    """The UTF-8 characters of `data`, as spans (start, end, valid) that cover it without gaps.

    A byte that no character can hold is a span of its own with valid=False, as is each byte of an
    unfinished tail.

    >>> characters("né".encode() + b"\\xff")
    [(0, 1, True), (1, 3, True), (3, 4, False)]
    """
    spans = []
    start = 0
    while start < len(data):
        length = _character_length(data[start])
        valid = _is_character(bytes(data[start : start + length]))
        end = start + (length if valid else 1)
        spans.append((start, end, valid))
        start = end
    return spans


def _character_length(lead: int) -> int:
    """How many bytes a character has by its first; 0 where none begins with that byte."""
    for first, last, length in LEADS:
        if first <= lead <= last:
            return length
    return 0


def _is_character(data: bytes) -> bool:
    """Are these bytes one whole character?"""
    try:
        return len(data.decode("utf-8")) == 1
    except UnicodeDecodeError:
        return False
