"""What moves tell: how sure somebody was of bytes, as events, as far as `state.record` asks."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .. import vocab
from ..events import Committed, Drafted, Unmasked, Verified
from ..sampling import ALLOWED, beliefs, check_picked
from ..state import DecodingState
from ..transfer import fetch
from .proposal import Rows, ends_of

N_CANDIDATES = 5  # that an event tells of a byte


@dataclass(frozen=True)
class Weighed:
    """How sure somebody was of some bytes.

    ids (B, n); probs (B, n) of them; top: ids and probabilities (B, n, 5) of the best candidates.
    probs and top are None where nobody asked; events then carry None, and no candidates.
    """

    ids: torch.Tensor
    probs: torch.Tensor | None = None
    top: tuple[torch.Tensor, ...] | None = None

    @classmethod
    def join(cls, steps: Sequence["Weighed"]) -> "Weighed":
        """Steps of one byte each, side by side."""
        first, top = steps[0], None
        if len(steps) == 1:
            return first
        if first.top is not None:
            top = tuple(torch.cat(part, 1) for part in zip(*(s.top for s in steps), strict=True))
        probs = None if first.probs is None else torch.cat([s.probs for s in steps], 1)
        return cls(torch.cat([step.ids for step in steps], 1), probs, top)


@dataclass(frozen=True)
class Told:
    """What `Weighed` says in plain numbers.

    ids: a list for each row; probs: a tuple for each row, of None where nobody asked; candidates:
    for each row a tuple with the candidates of each byte, ((id, probability), ...).
    """

    ids: Rows
    probs: list[tuple[Any, ...]]
    candidates: list[tuple[Any, ...]]


def tell(*weighed: Weighed, beside: Sequence[torch.Tensor | None] = ()) -> tuple[list[Told], Any]:
    """Some `Weighed` as `Told`, and the tensors `beside` them as lists: one wait for them all."""
    parts: list[torch.Tensor | None] = [*beside]
    for one in weighed:
        parts.extend([one.ids, one.probs, *(one.top or (None, None))])
    lists = iter(fetch(*parts))
    others = [next(lists) for _ in beside]
    return [_told(*(next(lists) for _ in range(4))) for _ in weighed], others


def _told(ids: Rows, probs: Any, top_ids: Any, top_probs: Any) -> Told:
    n = len(ids[0])
    known = [(None,) * n] * len(ids) if probs is None else [tuple(row) for row in probs]
    if top_ids is None:
        return Told(ids, known, [((),) * n] * len(ids))
    candidates = [_candidates(*row) for row in zip(top_ids, top_probs, strict=True)]
    return Told(ids, known, candidates)


def _candidates(ids: list[list[int]], probs: list[list[float]]) -> tuple[Any, ...]:
    """One row's candidates, a tuple of pairs for each byte."""
    return tuple(tuple(zip(i, p, strict=True)) for i, p in zip(ids, probs, strict=True))


def weigh(
    state: DecodingState,
    ids: torch.Tensor,
    logits: torch.Tensor | None = None,
    always: bool = False,
    probs: torch.Tensor | None = None,
) -> Weighed:
    """How sure logits (B, n, V), or probabilities at temperature 1, are of ids (B, n).

    Only as far as `state.record` asks; `always` wants the probabilities anyway.
    """
    if state.record != "all" and not always:
        return Weighed(ids)
    probs = beliefs(logits) if probs is None else probs
    chosen = probs.gather(-1, ids[..., None])[..., 0]
    if state.record != "all":
        return Weighed(ids, chosen)
    top = probs.topk(N_CANDIDATES, -1)
    return Weighed(ids, chosen, (top.indices, top.values))


def drafted(
    state: DecodingState, offset: int, guesses: Weighed, stamps: Sequence[dict[str, Any]]
) -> Generator[Drafted, None, Rows | None]:
    """One `Drafted` for each byte and row, if somebody listens; returns the ids as lists then."""
    if not state.record:
        return None
    (told,), _ = tell(guesses)
    check_picked(told.ids)
    ends = ends_of(told.ids) if state.stop_at_eos else [len(stamps)] * state.batch_size
    for n, stamp in enumerate(stamps):
        for row, length in enumerate(state.lengths):
            if n <= ends[row]:
                yield Drafted(
                    row=row,
                    position=length + offset + n,
                    id=told.ids[row][n],
                    prob=told.probs[row][n],
                    candidates=told.candidates[row][n],
                    **stamp,
                )
    return told.ids


def check_allowed(ids: Sequence[int]) -> None:
    """Raise ValueError for an id that no method may propose."""
    for i in ids:
        if i not in _ALLOWED:
            raise ValueError(
                f"a method may propose bytes (ids {vocab.OFFSET}..{vocab.VOCAB_SIZE - 1}) and EOS"
                f" ({vocab.EOS_ID}), got {i}"
            )


_ALLOWED = frozenset(ALLOWED)


@dataclass(frozen=True)
class DenoisingStep:
    """What a step saw and left: masked (B, S) before it; block (B, S) after it; probs (B, S, V)."""

    masked: torch.Tensor
    block: torch.Tensor
    probs: torch.Tensor
    stamp: dict[str, Any]


def unmasked(
    state: DecodingState, offset: int, steps: Sequence[DenoisingStep]
) -> Generator[Unmasked, None, tuple[Rows, torch.Tensor | None]]:
    """One `Unmasked` a step for each row that had masks before it.

    Returns the block as lists, and how sure each byte was when it was revealed, (B, S), or None
    where nobody asked. Numbers of all steps are weighed and fetched at once: n steps, B rows, S
    slots.
    """
    masked = torch.stack([step.masked for step in steps])  # (n, B, S)
    block = torch.stack([step.block for step in steps])
    hidden = block == vocab.MASK_ID
    weighed = _weigh_steps(state, steps, masked, block, hidden)
    (told,), (blocks, was_masked) = tell(weighed, beside=(block, masked))
    for at, step in enumerate(steps):
        for row in range(state.batch_size):
            if not any(was_masked[at][row]):
                continue
            after, one = blocks[at][row], at * state.batch_size + row
            check_picked([after])
            yield Unmasked(
                row=row,
                position=state.lengths[row] + offset,
                block=tuple(after),
                revealed=_revealed(was_masked[at][row], after),
                probs=told.probs[one],
                candidates=told.candidates[one],
                **step.stamp,
            )
    probs = None if weighed.probs is None else weighed.probs[-state.batch_size :]
    return blocks[-1], probs


def _weigh_steps(
    state: DecodingState,
    steps: Sequence[DenoisingStep],
    masked: torch.Tensor,
    block: torch.Tensor,
    hidden: torch.Tensor,
) -> Weighed:
    """`Weighed` of all steps, one after another along the batch: (n * B, S)."""
    if state.record != "all":
        return Weighed(block.flatten(0, 1))
    probs = torch.stack([step.probs for step in steps])  # (n, B, S, V)
    ids = torch.where(hidden, probs.argmax(-1), block)  # where hidden: of the best candidate
    weighed = weigh(state, ids.flatten(0, 1), probs=probs.flatten(0, 1))
    n = torch.arange(len(steps), device=block.device)[:, None, None]
    revealed_at = (masked.sum(0) - 1).clamp(0).clamp_max(n)  # a byte keeps the number of its step
    sure = weighed.probs.unflatten(0, (len(steps), -1)).gather(0, revealed_at)
    return Weighed(weighed.ids, sure.flatten(0, 1), weighed.top)


def _revealed(was_masked: Sequence[bool], after: Sequence[int]) -> tuple[int, ...]:
    """The slots that a step revealed.

    >>> _revealed([False, True, True], [70, 71, vocab.MASK_ID])
    (1,)
    """
    pairs = enumerate(zip(was_masked, after, strict=True))
    return tuple(slot for slot, (hidden, i) in pairs if hidden and i != vocab.MASK_ID)


def verified(
    state: DecodingState,
    position: Sequence[int],
    checked: Sequence[int],
    accepted: Sequence[int],
    follow: Sequence[int],
    drafter: Told,
    model: Told,
) -> Iterator[Verified]:
    """One `Verified` for each row in which something was guessed, or could have been.

    position: where the guesses begin; drafter, model: what either said of them.
    """
    stamp = state.stamp()
    for row, (most, kept) in enumerate(zip(checked, accepted, strict=True)):
        yield Verified(
            row=row,
            position=position[row],
            drafted=tuple(model.ids[row][:most]),
            accepted=kept,
            replacement=follow[row] if kept < most else None,
            draft_probs=drafter.probs[row][:most],
            target_probs=model.probs[row][:most],
            candidates=model.candidates[row][:most],
            **stamp,
        )


def committed(
    state: DecodingState, since: Sequence[int], over: Sequence[bool] = ()
) -> Iterator[Committed]:
    """One `Committed` for each row with everything past `since`, and EOS where a row is over.

    Raises ValueError for an id that no text may hold, and where a pick met no numbers.
    """
    stamp = state.stamp()
    over = over or [False] * state.batch_size
    for row, (known, start, done) in enumerate(zip(state.rows, since, over, strict=True)):
        ids = tuple(known.ids[start:])
        check_picked([ids])
        check_allowed(ids)
        yield Committed(
            row=row,
            position=start,
            ids=(*ids, vocab.EOS_ID) if done else ids,
            opens=tuple(known.opens[start : known.length + done]),
            entropies=(*known.entropies[start:], 0.0) if done else tuple(known.entropies[start:]),
            **stamp,
        )
