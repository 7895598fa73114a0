"""The moves that decoders are made of: `chain` and `unmask` propose, `trust` and `verify` commit.

Each is a generator of events over all rows of a state; those that propose also return a `Proposal`,
and may stand behind another one (`after`). `propose` announces the bytes of a drafter of your own.
`pick` turns logits and positions into ids; its draws are keyed by position, so drafter and model
choose alike where they agree. Whatever was proposed, `verify` writes the bytes of autoregression.

A look at bytes that were picked waits for the device, where there is one (`state.waits`). There
moves look only where the next pass depends on it, and an EOS may be read before it is seen.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from .. import vocab
from ..events import Event
from ..sampling import Pick, beliefs, check_picked
from ..state import DecodingState
from ..transfer import fetch, send
from ..unmasking import check_progress, check_revealed
from .proposal import Proposal, Rows, ahead, choose, ends_of, nothing
from .telling import (
    DenoisingStep,
    Told,
    Weighed,
    check_allowed,
    committed,
    drafted,
    tell,
    unmasked,
    verified,
    weigh,
)

Proposing = Generator[Event, None, Proposal]


def accepted_length(guesses: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Length of the agreed prefix of each row, (..., k) and (..., k) -> (...).

    >>> accepted_length(torch.tensor([[5, 6, 7]]), torch.tensor([[5, 9, 7]]))
    tensor([1])
    """
    same = torch.as_tensor(guesses) == torch.as_tensor(target)
    return same.long().cumprod(-1).sum(-1)


# -- propose -------------------------------------------------------------------------------------


def chain(
    state: DecodingState,
    pick: Pick,
    draft_length: int = 0,
    latent: str = "closed",
    min_confidence: float = 0.0,
    after: Proposal | None = None,
) -> Proposing:
    """Decoder step after decoder step on one latent (Fast BLT section 5.1).

    Without `after`: the model's own next byte, then up to `draft_length` guesses. Behind another
    proposal: `draft_length` guesses that go on from it. Drafting ends early where the last guess of
    every row was less probable than `min_confidence`.
    """
    if after is not None and draft_length == 0:
        return after
    before, count = (after, draft_length) if after else (nothing(state), draft_length + 1)
    logits = _behind(state, after, latent)  # (B, V)
    known = [before.ids]
    steps: list[Weighed] = []
    stamps: list[dict[str, Any]] = []
    over = rows_over(state, before.seen(state).rows)
    while True:
        logits = logits[:, None]  # (B, 1, V)
        known.append(choose(state, pick, logits, before.length + len(steps), *known))
        steps.append(weigh(state, known[-1], logits, min_confidence > 0))
        stamps.append(state.stamp())
        is_own = len(steps) == 1 and after is None
        if len(steps) == count or _settled(state, over, steps[-1], 0 if is_own else min_confidence):
            break
        logits = state.draft(steps[-1].ids, latent)
    guesses = Weighed.join(steps)
    rows = yield from drafted(state, before.length, guesses, stamps)
    return _cut_at_eos(state, _behind_or_own(after, guesses, rows))


def _behind(state: DecodingState, before: Proposal | None, latent: str) -> torch.Tensor:
    """Logits (B, V) behind a proposal; behind none, those at the frontier."""
    if before is None or not before.length:
        return state.logits
    state.rollback(state.lengths)  # what was drafted on the way to the proposal is read again
    return state.draft(before.ids, latent)


def _behind_or_own(before: Proposal | None, guesses: Weighed, rows: Rows | None) -> Proposal:
    """The guesses behind a proposal; behind none, the first of them is the model's own byte."""
    if before is None:
        return Proposal(guesses.ids, guesses.probs, own=1, rows=rows)
    return before.then(guesses.ids, guesses.probs, rows)


def _settled(state: DecodingState, over: list[bool], step: Weighed, min_confidence: float) -> bool:
    """Is nothing more to be drafted: is every row over, or was its last guess unsure?

    over: which rows are; it is kept up to date. On a device only a confidence is worth a look.
    """
    if state.waits and not min_confidence:
        return False
    ids, probs = fetch(step.ids, step.probs if min_confidence else None)
    over[:] = _or(over, rows_over(state, ids))
    if not min_confidence:
        return all(over)
    return all(_or(over, [row[-1] < min_confidence for row in probs]))


def _or(a: Sequence[bool], b: Sequence[bool]) -> list[bool]:
    """Row by row.

    >>> _or([True, False], [False, False])
    [True, False]
    """
    return [x or y for x, y in zip(a, b, strict=True)]


def _cut_at_eos(state: DecodingState, proposal: Proposal) -> Proposal:
    """The proposal with EOS all behind a first EOS: nothing there will ever be read."""
    proposal = proposal.seen(state)
    if not any(rows_over(state, proposal.rows)):
        return proposal
    over = (proposal.ids == vocab.EOS_ID).cumsum(1) > 0
    ids, n = proposal.ids.masked_fill(over, vocab.EOS_ID), proposal.length
    ends = ends_of(proposal.rows)
    rows = [
        row[:end] + [vocab.EOS_ID] * (n - end) for row, end in zip(proposal.rows, ends, strict=True)
    ]
    return replace(proposal, ids=ids, rows=rows)


def propose(
    state: DecodingState,
    ids: torch.Tensor | Sequence[Sequence[int]],
    probs: torch.Tensor | None = None,
    after: Proposal | None = None,
) -> Proposing:
    """Bytes that somebody else thought of, announced as `Drafted` events.

    ids (B, n); probs (B, n): how sure the drafter is, if it knows. after: the bytes in front of
    them, usually `yield from chain(state, pick)`, the model's own. Raises ValueError for ids that
    no text may hold, for another number of rows, and for no bytes at all.
    """
    ids = torch.as_tensor(ids, dtype=torch.long)
    if ids.ndim != 2 or len(ids) != state.batch_size:
        raise ValueError(
            f"a proposal must be ids (B, n) for {state.batch_size} texts, got {tuple(ids.shape)}"
        )
    before = after or nothing(state)
    if before.length + ids.shape[1] == 0:
        raise ValueError("a proposal must hold at least one byte, got none")
    rows = ids.tolist()
    for row in rows:
        check_allowed(row)
    device = state.device
    ids = send(ids, device)
    if probs is not None:
        probs = send(torch.as_tensor(probs), device).expand(ids.shape)
    guesses = Weighed(ids, probs)
    yield from drafted(state, before.length, guesses, [state.stamp()] * ids.shape[1])
    return _cut_at_eos(state, before.then(ids, probs, rows))


def unmask(
    state: DecodingState,
    pick: Pick,
    rule: Any,
    block_size: int,
    after: Proposal | None = None,
    latent: str = "closed",
) -> Proposing:
    """A block of MASKs, denoised until no MASK is left (Fast BLT section 3.1, Algorithm 1).

    Each step reveals the slots that `rule` is sure of. after: bytes that stand clean between
    frontier and block, usually the model's own. Raises ValueError or TypeError for a rule that
    reveals nothing, or returns anything but slots.
    """
    before = (after or nothing(state)).seen(state)
    if block_size == 0:
        return before
    shape = state.batch_size, block_size
    block = torch.full(shape, vocab.MASK_ID, device=state.device)
    busy = [not over for over in rows_over(state, before.rows)]
    known = _steps_for(rule, block_size) if state.waits else 0  # then nobody looks at the block
    steps: list[DenoisingStep] = []
    clean: torch.Tensor | None = before.ids
    rows = None  # the block as lists, when last looked at
    done = 0
    while any(busy):
        logits = state.denoise(block, clean, latent, busy)  # (B, S, V)
        clean = None  # read now: the next step goes on behind it
        masked = _masked(block, busy)
        probs = beliefs(logits)
        revealed = check_revealed(rule, rule(probs, masked), masked)
        chosen = choose(state, pick, logits, before.length, before.ids, block)
        block = torch.where(revealed, chosen, block)
        if state.record:
            steps.append(DenoisingStep(masked, block, probs, state.stamp()))
        done += 1
        if done == known:
            break
        if done > known:
            front, now = fetch(before.ids, block)
            _check_step(rule, rows, now)
            rows, busy = now, _busy_rows(state, front, now)
            before = replace(before, rows=front)
    block_probs = None  # (B, S): of each byte when it was revealed
    if steps:
        rows, block_probs = yield from unmasked(state, before.length, steps)
    return _cut_at_eos(state, before.then(_filled(block, rows), block_probs, rows))


def _filled(block: torch.Tensor, rows: Rows | None) -> torch.Tensor:
    """The block; where nobody looked at it, with EOS for what MASKs are left behind an EOS."""
    if rows is not None:
        return block
    return block.masked_fill(block == vocab.MASK_ID, vocab.EOS_ID)


def _steps_for(rule: Any, block_size: int) -> int:
    """How many steps fill a block by a rule; 0 where only a look at the block says it."""
    known = getattr(rule, "steps_for", None)
    return known(block_size) if callable(known) else 0


def _check_step(rule: Any, before: Rows | None, after: Rows) -> None:
    """Raise ValueError where a step revealed nothing, or a pick met no numbers."""
    check_picked(after)
    left = sum(row.count(vocab.MASK_ID) for row in after)
    all_of_them = sum(map(len, after))
    hidden = all_of_them if before is None else sum(row.count(vocab.MASK_ID) for row in before)
    check_progress(rule, hidden, left)


def _masked(block: torch.Tensor, busy: Sequence[bool]) -> torch.Tensor:
    """(B, S): the MASKs of the busy rows."""
    masked = block == vocab.MASK_ID
    return masked if all(busy) else masked & send(busy, block.device).bool()[:, None]


def rows_over(state: DecodingState, rows: Rows | None) -> list[bool]:
    """Which rows of ids hold an EOS, so that nothing behind it matters; none that is not seen."""
    if not state.stop_at_eos or rows is None:
        return [False] * state.batch_size
    return [vocab.EOS_ID in row for row in rows]


def _busy_rows(state: DecodingState, front: Rows, block: Rows) -> list[bool]:
    """Which rows have a MASK that matters: one before the first EOS of what is proposed."""
    rows = [before + ids for before, ids in zip(front, block, strict=True)]
    ends = ends_of(rows) if state.stop_at_eos else [len(row) for row in rows]
    return [vocab.MASK_ID in row[:end] for row, end in zip(rows, ends, strict=True)]


# -- commit --------------------------------------------------------------------------------------


def trust(
    state: DecodingState, proposal: Proposal, logits: bool = True, open_latent: bool = False
) -> Iterator[Event]:
    """Commit what was proposed. logits, open_latent: as `DecodingState.extend` takes them."""
    since = state.lengths
    _, ends = _read(state, proposal, logits, open_latent)
    kept = [begin + end for begin, end in zip(since, ends, strict=True)]
    if state.lengths != kept:
        state.rollback(kept)
    yield from committed(state, since, [end < proposal.length for end in ends])


def verify(state: DecodingState, pick: Pick, proposal: Proposal) -> Iterator[Event]:
    """Hold the guesses against the model and commit the agreed prefix: one pass of the whole model.

    The model's own byte in front (own = 1) needs no check, and where guesses part from the model,
    the byte it wants is the next round's own. Without one (own = 0, the paper's form, Fast BLT
    section 5.2, Algorithm 2) that byte is committed here, and decoded with the next round's block.

        proposal   w a r s        the own byte "w" (own = 1), and k = 3 guesses
        target       a r m e      what the model writes there and behind: t = 4
        follow           m        two are accepted; "m" is the byte it wants there
    """
    since, own = state.lengths, proposal.own
    at = ahead(state, own, proposal.length - own + 1)
    frontier = state.logits[:, None]
    read, ends = _read(state, proposal)
    logits = (
        frontier if read is None else torch.cat([frontier, read], 1)
    )  # fewer where all rows end
    agreed, target, told = _compare(state, pick, proposal, logits[:, own:], at)
    checked = [max(0, min(end + 1, proposal.length) - own) for end in ends]  # EOS too
    accepted = [min(counts) for counts in zip(agreed, checked, strict=True)]
    follow = _follow(target, accepted)
    if told:
        position = [begin + own for begin in since]
        yield from verified(state, position, checked, accepted, follow, *told)
    over = _ended(ends, proposal.length, checked, accepted)
    kept = [end if done else own + n for end, done, n in zip(ends, over, accepted, strict=True)]
    state.rollback([begin + n for begin, n in zip(since, kept, strict=True)])
    if not own:
        over = _extend_by(state, follow, over)
    yield from committed(state, since, over)


def _compare(
    state: DecodingState, pick: Pick, proposal: Proposal, logits: torch.Tensor, at: torch.Tensor
) -> tuple[list[int], Rows, list[Told]]:
    """(how many guesses of each row the model would have written, what it writes, what is told).

    logits (B, t, V): those before each guess and behind the last; at (B, t or more): positions.
    """
    own, t = proposal.own, logits.shape[1]
    target = choose(state, pick, logits, at[:, :t])  # the state has read what is in front
    guesses = proposal.ids[:, own : own + t]  # (B, k)
    k = guesses.shape[1]
    both = []
    if state.record:
        probs = None if proposal.probs is None else proposal.probs[:, own : own + k]
        both = [Weighed(guesses, probs), weigh(state, guesses, logits[:, :k])]
    agreed = accepted_length(guesses, target[:, :k])
    told, (counts, rows) = tell(*both, beside=(agreed, target))
    return counts, rows, told


def _read(
    state: DecodingState, proposal: Proposal, logits: bool = True, open_latent: bool = False
) -> tuple[torch.Tensor | None, list[int]]:
    """Extend the text by a proposal -> (what `extend` returns, how many bytes of each row count).

    Each row is read up to its EOS, if the state stops there; on a device, where nobody has looked
    at the bytes yet, to its end. Raises ValueError for a proposal without bytes.
    """
    if proposal.length == 0:
        raise ValueError("a proposal must hold at least one byte, got none")
    rows, since = proposal.seen(state).rows, state.lengths
    if rows is None:
        read = state.extend(proposal.ids, logits, open_latent, picked=True)
        rows = [row.ids[begin:] for row, begin in zip(state.rows, since, strict=True)]
        return read, _ends(state, rows)
    ends = _ends(state, rows)
    if min(ends) == proposal.length and not state.waits:  # else it would wait to look at them again
        return state.extend(proposal.ids, logits, open_latent), ends
    cut = [row[:end] for row, end in zip(rows, ends, strict=True)]
    return state.extend(cut, logits, open_latent), ends


def _ends(state: DecodingState, rows: Rows) -> list[int]:
    """How many bytes of each row are to be read: those before an EOS, if the state stops there."""
    return ends_of(rows) if state.stop_at_eos else [len(row) for row in rows]


def _follow(target: Rows, accepted: Sequence[int]) -> list[int]:
    """The model's own byte behind the agreed prefix of each row, of target (B, t)."""
    pairs = zip(target, accepted, strict=True)
    return [row[min(n, len(row) - 1)] if row else 0 for row, n in pairs]


def _ended(
    ends: Sequence[int], length: int, checked: Sequence[int], accepted: Sequence[int]
) -> list[bool]:
    """Which rows end here: an EOS was proposed, and the model agrees."""
    rows = zip(ends, checked, accepted, strict=True)
    return [end < length and n == most for end, most, n in rows]


def _extend_by(state: DecodingState, follow: Sequence[int], over: Sequence[bool]) -> list[bool]:
    """Commit the byte that the model wants in rows that go on; returns which rows are over now."""
    stop = vocab.EOS_ID if state.stop_at_eos else None
    over = [done or i == stop for done, i in zip(over, follow, strict=True)]
    state.extend([[] if done else [i] for done, i in zip(over, follow, strict=True)], logits=False)
    return over
