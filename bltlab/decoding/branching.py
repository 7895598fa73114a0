"""Another byte by hand: go on from a decoded text in which one byte was chosen.

out = bltlab.generate(model, "In the ")             # "In the beginning"
other = bltlab.branch(model, out, 9, b"d")          # "In the bed", and on from there
bltlab.view([out, other])                           # the branch beside the old lane
"""

from inspect import signature
from typing import Any

from .. import vocab
from ..model import BLT
from ..trace import Trace, traces_of
from .method import method_from_header
from .rounds import Generation, generate, stream


def branch(
    model: BLT, trace: Any, at: int, byte: int | bytes | str, method: Any = None, **settings: Any
) -> Generation:
    """Write on from a decoded text with another byte at offset `at`; all behind it is dropped.

    trace: a `Trace`, or what `generate` returns. at: as the player counts, the prompt's first byte
    is 0. byte: 0..255, or one byte. Method and settings are those of the trace where they are not
    given, and so is the length of the text in all. Draws are keyed to positions: the byte that
    stands there already leads to the same text where the method is exact, and a byte of the new
    prompt is as good as one that was written; but texts to stop after are looked for behind it.

    Raises ValueError or TypeError as `branch_of` and `generate` do.
    """
    prompt, kept = branch_of(trace, at, byte)
    how = method_from_header(_one_of(trace).method) if method is None else method
    return generate(model, prompt, how, **kept | settings)


def branch_of(trace: Any, at: int, byte: int | bytes | str) -> tuple[bytes, dict[str, Any]]:
    """(prompt, settings) to decode with for a branch of a trace, as `branch` takes them.

    Raises TypeError for what is not a trace or not a byte, ValueError for an offset outside the
    text, for several traces and for more than one byte.
    """
    trace = _one_of(trace)
    text = trace.prompt + trace.bytes
    if type(at) is not int or not 0 <= at <= len(text):
        raise ValueError(f"at must be an offset in 0..{len(text)}, the text's bytes, got {at!r}")
    prompt = text[:at] + one_byte(byte)
    known = signature(stream).parameters
    settings = {name: value for name, value in trace.settings.items() if name in known}
    settings["stop"] = trace.stops
    most = settings.get("max_new_bytes", len(trace.bytes))
    settings["max_new_bytes"] = max(len(trace.prompt) + most - len(prompt), 0)
    return prompt, settings


def _one_of(trace: Any) -> Trace:
    found = traces_of(trace)
    if len(found) != 1:
        raise ValueError(f"a branch goes on from one trace, got {len(found)}")
    return found[0]


def one_byte(byte: int | bytes | str) -> bytes:
    """One byte, from its number or itself.

    >>> one_byte(104), one_byte("h")
    (b'h', b'h')
    """
    if isinstance(byte, int):
        if isinstance(byte, bool) or not 0 <= byte < 256:
            raise ValueError(f"byte must be in 0..255, got {byte}")
        return bytes([byte])
    found = vocab.to_bytes(byte)
    if len(found) != 1:
        raise ValueError(f"byte must be one byte, got {byte!r}, which has {len(found)}")
    return found
