"""04: cached autoregression, and a test that catches a broken cache."""

from collections.abc import Callable
from typing import Any

import torch

import bltlab
from bltlab.sampling import allowed_logits

from .comparing import Answer, exercise, plain, refuse
from .samples import small_model

# -- cached autoregression -------------------------------------------------------------------------


class _Counted(bltlab.DecodingState):
    """A state that counts the bytes that it was given to read."""

    given = 0

    def extend(self, ids: Any, *arguments: Any, **options: Any) -> Any:
        self.given += torch.as_tensor(ids).numel()
        return super().extend(ids, *arguments, **options)


def _best(logits: torch.Tensor) -> int:
    return allowed_logits(logits).argmax(-1).item()


def _autoregress(state: bltlab.DecodingState, ids: list[int], n: int) -> list[int]:
    """n greedy ids behind `ids`, each byte read once."""
    state.extend(ids)
    new = [_best(state.logits)]
    while len(new) < n:
        state.extend(new[-1:])
        new.append(_best(state.logits))
    return new


def _read_again(state: bltlab.DecodingState, ids: list[int], n: int) -> list[int]:
    new: list[int] = []
    while len(new) < n:
        state.rollback(0)
        state.extend(ids + new)
        new.append(_best(state.logits))
    return new


def _drafted(state: bltlab.DecodingState, ids: list[int], n: int) -> list[int]:
    state.extend(ids)
    new = [_best(state.logits)]
    while len(new) < n:
        new.append(_best(state.draft(new[-1:])))
    return new


def _any_id(state: bltlab.DecodingState, ids: list[int], n: int) -> list[int]:
    state.extend(ids)
    new = [state.logits.argmax(-1).item()]
    while len(new) < n:
        state.extend(new[-1:])
        new.append(state.logits.argmax(-1).item())
    return new


def _first_position(state: bltlab.DecodingState, ids: list[int], n: int) -> list[int]:
    new = [_best(state.extend(ids)[:, 0])]
    while len(new) < n:
        new.append(_best(state.extend(new[-1:])[:, 0]))
    return new


@exercise(
    "4.1",
    wrong={
        "the whole text is read again for every byte": _read_again,
        "bytes are drafted, so that no new latent is ever made": _drafted,
        "special ids may be written": _any_id,
        "the logits behind the first byte are taken, not behind the last": _first_position,
    },
)
def autoregress(yours: Answer) -> None:
    """yours(state, ids, n) -> the n greedy ids behind `ids`, which begin with BOS.

    The state is empty. Every byte must be read once: the bytes given to `extend` are counted.
    """
    n, most = 16, 0
    for seed in range(6):
        ids = bltlab.encode(f"river {'and boat ' * seed}")
        model = small_model(0 if seed % 2 else None)
        given = f"an empty state, the ids of {bltlab.decode(ids[1:])!r} and n = {n}"
        state = _Counted(model, max_length=512)
        try:
            found = plain(yours(state, list(ids), n))
        except Exception as error:
            found = error
        wanted = _autoregress(bltlab.DecodingState(model, max_length=512), ids, n)
        if found != wanted:
            refuse("autoregress", "those are not the greedy ids.", given, found, wanted)
        if state.given > len(ids) + n:
            told = "bytes were read more than once."
            read = f"{state.given} bytes went through extend"
            refuse("autoregress", told, given, read, f"at most {len(ids) + n}")
        most = max(most, state.given)
    print(f"autoregress: yours writes the greedy ids of 6 prompts; at most {most} bytes were read")


# -- a broken cache --------------------------------------------------------------------------------

Make = Callable[[], bltlab.DecodingState]


class _Broken(bltlab.DecodingState):
    """A state one of whose verbs spoils what the decoder remembers of the last byte.

    broken: the verb.
    """

    broken = ""

    @torch.inference_mode()
    def _spoil(self, verb: str) -> None:
        if self.broken == verb and self.length:
            for layer in self._passes.kv["decoder"].layers:
                layer[:, :, :, self.length - 1] += 0.5

    def extend(self, *arguments: Any, **options: Any) -> Any:
        self._spoil("extend")
        return super().extend(*arguments, **options)

    def rollback(self, length: Any) -> None:
        super().rollback(length)
        self._spoil("rollback")

    def draft(self, *arguments: Any, **options: Any) -> Any:
        logits = super().draft(*arguments, **options)
        self._spoil("draft")
        return logits

    def denoise(self, *arguments: Any, **options: Any) -> Any:
        logits = super().denoise(*arguments, **options)
        self._spoil("denoise")
        return logits

    def peek_latent(self) -> torch.Tensor:
        latent = super().peek_latent()
        self._spoil("peek_latent")
        return latent


VERBS = ("extend", "rollback", "draft", "denoise", "peek_latent")


def broken_state(verb: str, model: bltlab.BLT, max_length: int = 128) -> bltlab.DecodingState:
    """A state that is sound but for one of the verbs; sound altogether where `verb` is "".

    Raises ValueError for another verb.
    """
    if verb not in ("", *VERBS):
        raise ValueError(f"verb must be one of {', '.join(VERBS)}, got {verb!r}")
    state = _Broken(model, max_length=max_length)
    state.broken = verb
    return state


def _law(make: Make, *verbs: str) -> bool:
    """Does a text with these verbs between its bytes have the logits of one pass?"""
    ids = bltlab.encode("the river, the boat and the sea")
    whole, other = make(), make()
    wanted = whole.extend(ids)[0, 20:]
    other.extend(ids[:20])
    if "draft" in verbs:
        other.draft(ids[3:4])
    if "denoise" in verbs:
        other.denoise([[bltlab.vocab.MASK_ID] * 4])
    if "peek_latent" in verbs:
        other.peek_latent()
    if "rollback" in verbs:
        other.extend(ids[2:6])
        other.rollback(20)
    return torch.allclose(other.extend(ids[20:])[0], wanted, atol=1e-6)


@exercise(
    "4.2",
    wrong={
        "nothing is tried": lambda make: True,
        "nothing is believed": lambda make: False,
        "the text is read in parts, but nothing is forgotten": lambda make: _law(make),
        "bytes are forgotten, but no scratch is made": lambda make: _law(make, "rollback"),
        "drafts are tried, but no block": lambda make: _law(
            make, "draft", "rollback", "peek_latent"
        ),
    },
)
def is_sound(yours: Answer) -> None:
    """yours(make) -> True if the cache of make()'s states can be trusted, else False.

    make() gives a fresh, empty state. At most one of the five verbs is broken.
    """
    for verb in ("", *VERBS):
        given = f"states whose verb {verb} is broken" if verb else "states that are sound"
        try:
            found = yours(lambda verb=verb: broken_state(verb, small_model()))
        except Exception as error:
            found = error
        if isinstance(found, Exception) or bool(found) != (not verb):
            wrong = "your test sees nothing." if verb else "your test blames a sound cache."
            refuse("is_sound", wrong, given, found, not verb)
    print(f"is_sound: yours trusts a sound cache and catches each of {len(VERBS)} broken verbs")
