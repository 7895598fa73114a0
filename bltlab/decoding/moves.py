"""The four moves that decoders are made of: `chain` and `unmask` propose, `trust` and `verify` commit.

Each is a generator of events over all rows of a state; `chain` and `unmask` also return what they propose. `pick` turns
logits and positions into ids; as its draws are keyed by position, drafter and model choose alike where they agree.
"""

import warnings
from dataclasses import dataclass, replace

import torch

from ..events import Committed, Drafted, Unmasked, Verified
from ..sampling import allowed_logits
from ..vocab import MASK_ID

N_CANDIDATES = 5


@dataclass(frozen=True)
class Proposal:
    """Bytes put forward. ids (B, n); probs (B, n), the drafter's, or None where nobody asked; own: how many in front are the
    model's own choice."""

    ids: torch.Tensor
    probs: torch.Tensor | None
    own: int


def accepted_length(drafted, target):
    """Length of the agreed prefix of each row, (..., k) and (..., k) -> (...).

    >>> accepted_length(torch.tensor([[5, 6, 7]]), torch.tensor([[5, 9, 7]]))
    tensor([1])
    """
    return (torch.as_tensor(drafted) == torch.as_tensor(target)).long().cumprod(-1).sum(-1)


def chain(state, pick, draft_length=0, latent="closed", min_confidence=0.0):
    """The model's own next byte, then up to `draft_length` guesses: decoder step after decoder step on one latent.

    Drafting ends early where the last guess of every row was less probable than `min_confidence`.
    """
    logits, steps, stamps = state.logits, [], []
    for n in range(draft_length + 1):
        byte = pick(logits[:, None], ahead(state, n, 1))  # (B, 1)
        steps.append(weigh(state, logits[:, None], byte, always=min_confidence > 0))
        stamps.append(state.stamp())
        if n == draft_length or n and min_confidence and (steps[-1].probs < min_confidence).all():
            break
        logits = state.draft(byte, latent)
    guess = Weighed.join(steps)
    if state.record:
        ids, probs, candidates = guess.ids.tolist(), *guess.plain()
        for n, stamp in enumerate(stamps):
            for row, length in enumerate(state.lengths):
                yield Drafted(
                    row=row,
                    position=length + n,
                    id=ids[row][n],
                    prob=probs[row][n],
                    candidates=candidates[row][n],
                    **stamp,
                )
    return Proposal(guess.ids, guess.probs, own=1)


def unmask(state, pick, rule, block_size, after=None, latent="closed"):
    """A block of MASKs, denoised until no MASK is left; each step reveals the slots that `rule` is sure of.

    after: a `Proposal` that stands clean between frontier and block (the model's own byte).
    """
    own = (
        after.ids
        if after
        else torch.empty(state.batch_size, 0, dtype=torch.long, device=state.model.device)
    )
    at = ahead(state, own.shape[1], block_size)  # (B, S)
    block = torch.full_like(at, MASK_ID)
    masked, steps = block == MASK_ID, []
    while masked.any():
        logits = state.denoise(block, own, latent, masked.any(1))  # (B, S, V)
        probs = beliefs(logits)
        revealed = rule(probs, masked) & masked
        if not revealed.any():
            raise ValueError(
                f"an unmasking rule must reveal at least one slot a step, {rule} revealed none"
            )
        block = torch.where(revealed, pick(logits, at), block)
        if state.record:
            steps.append((masked, block, probs, state.stamp()))
        masked = block == MASK_ID
    final = (yield from _unmasked(state, own.shape[1], steps)) if steps else None
    before = [after.probs] if after and after.probs is not None else []
    return Proposal(
        torch.cat([own, block], 1),
        None if final is None else torch.cat([*before, final], 1),
        own.shape[1],
    )


def _unmasked(state, offset, steps):
    """One `Unmasked` a step for each row that had masks before it; returns how sure each byte was when it was revealed,
    (B, S), or None. Numbers of all steps are weighed and fetched at once: n steps, B rows, S slots.
    """
    masked, block, probs = (
        torch.stack(part) for part in list(zip(*steps))[:3]
    )  # (n, B, S) twice, (n, B, S, V)
    n, still = len(steps), block == MASK_ID
    ids = torch.where(still, probs.argmax(-1), block) if state.record == "all" else block
    step = weigh(state, None, ids.flatten(0, 1), probs.flatten(0, 1))
    if step.probs is not None:  # a byte keeps that of its step
        revealed_at = (masked.sum(0) - 1).clamp_max(
            torch.arange(n, device=block.device)[:, None, None]
        )
        step = replace(
            step, probs=step.probs.unflatten(0, (n, -1)).gather(0, revealed_at).flatten(0, 1)
        )
    sure, candidates = step.plain()
    shown = zip(masked.any(-1).tolist(), block.tolist(), (masked & ~still).tolist())
    for at, (busy, blocks, slots) in enumerate(shown):
        for row in (row for row, was_busy in enumerate(busy) if was_busy):
            one = at * state.batch_size + row
            yield Unmasked(
                row=row,
                position=state.lengths[row] + offset,
                block=tuple(blocks[row]),
                revealed=tuple(slot for slot, now in enumerate(slots[row]) if now),
                probs=sure[one],
                candidates=candidates[one],
                **steps[at][-1],
            )
    return None if step.probs is None else step.probs[-state.batch_size :]


def trust(state, proposal, logits=True, open_latent=False):
    """Commit what was proposed."""
    since = state.lengths
    state.extend(proposal.ids, logits, open_latent)
    yield from committed(state, since)


def verify(state, pick, proposal):
    """Hold the guesses against the model and commit the agreed prefix: one pass of the whole model.

    The model's own byte in front (own = 1) needs no check, and where guesses part from the model, the byte it wants is
    the next round's own. Without one (own = 0, the paper's form) that byte is committed here, by a second pass.
    """
    since, own = state.lengths, proposal.own
    guesses, frontier = proposal.ids[:, own:], state.logits[:, None]  # (B, k), (B, 1, V)
    at = ahead(state, own, guesses.shape[1] + 1)  # (B, k + 1)
    logits = torch.cat([frontier, state.extend(proposal.ids)], 1)[:, own:]  # (B, k + 1, V)
    target = pick(logits, at)  # (B, k + 1)
    agreed = accepted_length(guesses, target[:, :-1])
    follow = target.gather(1, agreed[:, None])  # (B, 1)
    accepted = agreed.tolist()
    if state.record:
        yield from _verified(
            state, since, proposal, accepted, follow, weigh(state, logits[:, :-1], guesses)
        )
    state.rollback([n + own + kept for n, kept in zip(since, accepted)])
    if not own:
        state.extend(follow)
    yield from committed(state, since)


def _verified(state, since, proposal, accepted, follow, step):
    """One `Verified` a row."""
    own, drafted, follow = (
        proposal.own,
        proposal.ids[:, proposal.own :].tolist(),
        follow[:, 0].tolist(),
    )
    draft_probs = Weighed(
        step.ids, None if proposal.probs is None else proposal.probs[:, own:], None
    ).plain()[0]
    stamp, (probs, candidates) = state.stamp(), step.plain()
    for row, kept in enumerate(accepted):
        yield Verified(
            row=row,
            position=since[row] + own,
            drafted=tuple(drafted[row]),
            accepted=kept,
            replacement=follow[row] if kept < len(drafted[row]) else None,
            draft_probs=draft_probs[row],
            target_probs=probs[row],
            candidates=candidates[row],
            **stamp,
        )


def committed(state, since):
    """One `Committed` a row for everything past `since`."""
    stamp = state.stamp()
    for row, (known, start) in enumerate(zip(state.rows, since)):
        yield Committed(
            row=row,
            position=start,
            ids=tuple(known.ids[start:]),
            opens=tuple(known.opens[start : known.length]),
            entropies=tuple(known.entropies[start:]),
            **stamp,
        )


def ahead(state, offset, n):
    """(B, n): the positions from `offset` bytes past each row's frontier on."""
    if state.batch_size == 1:
        return torch.arange(
            state.length + offset, state.length + offset + n, device=state.model.device
        )[None]
    start = torch.tensor(state.lengths, device=state.model.device)[:, None]
    return start + offset + torch.arange(n, device=start.device)


def beliefs(logits):
    """Probabilities (..., V) at temperature 1, specials removed: what rules and events see."""
    return allowed_logits(logits).softmax(-1)


@dataclass(frozen=True)
class Weighed:
    """How sure a part was: ids (B, n); probs (B, n) of them; top, the best candidates' ids and probabilities (B, n, 5).

    probs and top are None where nobody asked; events then carry None and no candidates.
    """

    ids: torch.Tensor
    probs: torch.Tensor | None
    top: tuple | None

    @classmethod
    def join(cls, steps):
        """Steps of one byte each, side by side."""
        cat = lambda parts: None if parts[0] is None else torch.cat(parts, 1)
        tops = [s.top or (None, None) for s in steps]
        top = tuple(cat([t[i] for t in tops]) for i in (0, 1))
        return cls(
            cat([s.ids for s in steps]),
            cat([s.probs for s in steps]),
            None if top[0] is None else top,
        )

    def plain(self):
        """probs and candidates as tuples, a row each: what events carry."""
        B, n = self.ids.shape
        probs = (
            [(None,) * n] * B if self.probs is None else [tuple(row) for row in self.probs.tolist()]
        )
        if self.top is None:
            return probs, [((),) * n] * B
        return probs, [
            tuple(tuple(zip(i, p)) for i, p in zip(*row))
            for row in zip(*(t.tolist() for t in self.top))
        ]


def weigh(state, logits, ids, probs=None, always=False):
    """`Weighed` ids (B, n) under logits (B, n, V), as far as `state.record` asks; `always` wants the probabilities anyway."""
    if state.record != "all" and not always:
        return Weighed(ids, None, None)
    probs = beliefs(logits) if probs is None else probs
    top = probs.topk(N_CANDIDATES, -1) if state.record == "all" else None
    return Weighed(ids, probs.gather(-1, ids[..., None])[..., 0], top and (top.indices, top.values))


def fit_block(method, model):
    """The method with the model's own block size where none was asked for. Raises ValueError for a plain BLT."""
    trained = model.config.block_size
    if trained is None:
        raise ValueError(
            f"method {method.name!r} needs a BLT-D (a model trained with blocks), got a plain BLT"
        )
    if method.block_size is not None and method.block_size > trained:
        warnings.warn(
            f"block_size {method.block_size} is above the {trained} this model was trained with: "
            "expect worse text",
            stacklevel=4,
        )
    return replace(method, block_size=method.block_size or trained)
