"""The moves that decoders are made of: `chain` and `unmask` propose, `trust` and `verify` commit.

Each is a generator of events over all rows of a state; those that propose also return a `Proposal`,
and may stand behind another one (`after`). `propose` announces the bytes of a drafter of your own.
`pick` turns logits and positions into ids; its draws are keyed by position, so drafter and model
choose alike where they agree. Whatever was proposed, `verify` writes the bytes of autoregression.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch

from .. import vocab
from ..events import Event
from ..sampling import Pick, beliefs
from ..state import DecodingState
from ..unmasking import check_revealed
from .proposal import Proposal, ahead, choose, ends_of, nothing
from .telling import (
    DenoisingStep,
    Weighed,
    check_allowed,
    committed,
    drafted,
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
    over = rows_over(state, before.ids)
    while True:
        at = ahead(state, before.length + len(steps), 1)
        known.append(choose(state, pick, logits[:, None], at, *known))
        steps.append(weigh(state, known[-1], logits[:, None], min_confidence > 0))
        stamps.append(state.stamp())
        over = _or(over, rows_over(state, steps[-1].ids))
        is_own = len(steps) == 1 and after is None
        if len(steps) == count or _settled(over, steps[-1], 0.0 if is_own else min_confidence):
            break
        logits = state.draft(steps[-1].ids, latent)
    guesses = Weighed.join(steps)
    yield from drafted(state, before.length, guesses, stamps)
    return _cut_at_eos(state, _behind_or_own(after, guesses))


def _behind(state: DecodingState, before: Proposal | None, latent: str) -> torch.Tensor:
    """Logits (B, V) behind a proposal; behind none, those at the frontier."""
    if before is None or not before.length:
        return state.logits
    state.rollback(state.lengths)  # what was drafted on the way to the proposal is read again
    return state.draft(before.ids, latent)


def _behind_or_own(before: Proposal | None, guesses: Weighed) -> Proposal:
    """The guesses behind a proposal; behind none, the first of them is the model's own byte."""
    if before is None:
        return Proposal(guesses.ids, guesses.probs, own=1)
    return before.then(guesses.ids, guesses.probs)


def _or(a: Sequence[bool], b: Sequence[bool]) -> list[bool]:
    """Row by row.

    >>> _or([True, False], [False, False])
    [True, False]
    """
    return [x or y for x, y in zip(a, b, strict=True)]


def _settled(over: Sequence[bool], step: Weighed, min_confidence: float) -> bool:
    """Is nothing more to be drafted: is every row over, or was its last guess unsure?"""
    if not min_confidence:
        return all(over)
    return all(_or(over, (step.probs[:, -1] < min_confidence).tolist()))


def _cut_at_eos(state: DecodingState, proposal: Proposal) -> Proposal:
    """The proposal with EOS all behind a first EOS: nothing there will ever be read."""
    if not any(rows_over(state, proposal.ids)):
        return proposal
    over = (proposal.ids == vocab.EOS_ID).cumsum(1) > 0
    return Proposal(proposal.ids.masked_fill(over, vocab.EOS_ID), proposal.probs, proposal.own)


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
    ids = torch.as_tensor(ids, dtype=torch.long, device=state.model.device)
    if ids.ndim != 2 or len(ids) != state.batch_size:
        raise ValueError(
            f"a proposal must be ids (B, n) for {state.batch_size} texts, got {tuple(ids.shape)}"
        )
    before = after or nothing(state)
    if before.length + ids.shape[1] == 0:
        raise ValueError("a proposal must hold at least one byte, got none")
    check_allowed(ids.flatten().tolist())
    if probs is not None:
        probs = torch.as_tensor(probs, device=ids.device).expand(ids.shape)
    guesses = Weighed(ids, probs)
    yield from drafted(state, before.length, guesses, [state.stamp()] * ids.shape[1])
    return _cut_at_eos(state, before.then(ids, probs))


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
    before = after or nothing(state)
    if block_size == 0:
        return before
    at = ahead(state, before.length, block_size)  # (B, S)
    block = torch.full_like(at, vocab.MASK_ID)
    over = rows_over(state, before.ids)  # these rows end in front of the block
    steps: list[DenoisingStep] = []
    clean: torch.Tensor | None = before.ids
    while any(busy := _busy_rows(state, block, over)):
        logits = state.denoise(block, clean, latent, busy)  # (B, S, V)
        clean = None  # read now: the next step goes on behind it
        masked = _masked(block, busy)
        probs = beliefs(logits)
        revealed = check_revealed(rule, rule(probs, masked), masked)
        chosen = choose(state, pick, logits, at, before.ids, block)
        block = torch.where(revealed, chosen, block)
        if state.record:
            steps.append(DenoisingStep(masked, block, probs, state.stamp()))
    block_probs = None  # (B, S): of each byte when it was revealed
    if steps:
        block_probs = yield from unmasked(state, before.length, steps)
    return _cut_at_eos(state, before.then(block, block_probs))


def _masked(block: torch.Tensor, busy: Sequence[bool]) -> torch.Tensor:
    """(B, S): the MASKs of the busy rows."""
    masked = block == vocab.MASK_ID
    return masked if all(busy) else masked & torch.tensor(busy, device=block.device)[:, None]


def rows_over(state: DecodingState, ids: torch.Tensor) -> list[bool]:
    """Which rows of ids (B, n) hold an EOS, so that nothing behind it matters."""
    if not state.stop_at_eos or not ids.shape[1]:
        return [False] * state.batch_size
    return [vocab.EOS_ID in row for row in ids.tolist()]


def _busy_rows(state: DecodingState, block: torch.Tensor, over: Sequence[bool]) -> list[bool]:
    """Which rows have a MASK that matters: one before the first EOS of the block."""
    rows = block.tolist()
    ends = ends_of(rows) if state.stop_at_eos else [len(row) for row in rows]
    return [
        not done and vocab.MASK_ID in row[:end]
        for done, row, end in zip(over, rows, ends, strict=True)
    ]


# -- commit --------------------------------------------------------------------------------------


def trust(
    state: DecodingState, proposal: Proposal, logits: bool = True, open_latent: bool = False
) -> Iterator[Event]:
    """Commit what was proposed. logits, open_latent: as `DecodingState.extend` takes them."""
    since, ends = state.lengths, _ends(state, proposal)
    state.extend(_up_to(proposal.ids, ends), logits, open_latent)
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
    since, own, ends = state.lengths, proposal.own, _ends(state, proposal)
    at = ahead(state, own, proposal.length - own + 1)
    logits = _read(state, proposal.ids, ends)[:, own:]  # (B, t, V); fewer where all rows end
    t = logits.shape[1]
    target = choose(state, pick, logits, at[:, :t])  # (B, t): the state has read what is in front
    guesses = proposal.ids[:, own : own + t]  # (B, k)
    k = guesses.shape[1]
    agreed = accepted_length(guesses, target[:, :k]).tolist()
    checked = [max(0, min(end + 1, proposal.length) - own) for end in ends]  # EOS too
    accepted = [min(counts) for counts in zip(agreed, checked, strict=True)]
    follow = _follow(target, accepted)
    if state.record:
        weighed = weigh(state, guesses, logits[:, :k])
        yield from verified(state, since, proposal, checked, accepted, follow, weighed)
    over = _ended(ends, proposal.length, checked, accepted)
    kept = [end if done else own + n for end, done, n in zip(ends, over, accepted, strict=True)]
    state.rollback([begin + n for begin, n in zip(since, kept, strict=True)])
    if not own:
        over = _extend_by(state, follow, over)
    yield from committed(state, since, over)


def _ends(state: DecodingState, proposal: Proposal) -> list[int]:
    """How many bytes of each row are to be read: those before an EOS, if the state stops there.

    Raises ValueError for a proposal without bytes.
    """
    if proposal.length == 0:
        raise ValueError("a proposal must hold at least one byte, got none")
    if not state.stop_at_eos:
        return [proposal.length] * state.batch_size
    return ends_of(proposal.ids.tolist())


def _up_to(ids: torch.Tensor, ends: Sequence[int]) -> torch.Tensor | list[list[int]]:
    """ids (B, n), each row up to its end."""
    if all(end == ids.shape[1] for end in ends):
        return ids
    return [row[:end] for row, end in zip(ids.tolist(), ends, strict=True)]


def _read(state: DecodingState, ids: torch.Tensor, ends: Sequence[int]) -> torch.Tensor:
    """Logits (B, 1 + T, V) at the frontier and at the bytes that the state is extended by."""
    frontier = state.logits[:, None]
    if not any(ends):
        return frontier
    return torch.cat([frontier, state.extend(_up_to(ids, ends))], 1)


def _follow(target: torch.Tensor, accepted: Sequence[int]) -> list[int]:
    """The model's own byte behind the agreed prefix of each row, of target (B, t)."""
    last = target.shape[1] - 1
    return [
        row[min(n, last)] if row else 0 for row, n in zip(target.tolist(), accepted, strict=True)
    ]


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
