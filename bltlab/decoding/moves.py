"""The four moves that decoders are made of: `chain` and `unmask` propose, `trust` and `verify` commit.

Each is a generator of events over all rows of a state; `chain` and `unmask` also return what they propose. `pick` turns
logits and positions into ids; as its draws are keyed by position, drafter and model choose alike where they agree.
"""

import warnings
from dataclasses import dataclass, fields, replace

import torch

from ..sampling import allowed_logits
from ..trace import Committed, Drafted, Unmasked, Verified
from ..vocab import MASK_ID

N_CANDIDATES = 5


@dataclass(frozen=True)
class Proposal:
    """Bytes put forward. ids (B, n); probs (B, n), the drafter's; own: how many in front are the model's own choice."""
    ids: torch.Tensor
    probs: torch.Tensor
    own: int


def accepted_length(drafted, target):
    """Length of the agreed prefix of each row, (..., k) and (..., k) -> (...).

    >>> accepted_length(torch.tensor([[5, 6, 7]]), torch.tensor([[5, 9, 7]]))
    tensor([1])
    """
    return (torch.as_tensor(drafted) == torch.as_tensor(target)).long().cumprod(-1).sum(-1)


def chain(state, pick, draft_length=0, latent="closed"):
    """The model's own next byte, then `draft_length` guesses: decoder step after decoder step on one latent."""
    logits, ids, probs = state.logits, [], []
    for n in range(draft_length + 1):
        at = ahead(state, n, 1)
        byte = pick(logits[:, None], at)                                                 # (B, 1)
        prob, candidates = weigh(beliefs(logits[:, None]), byte)
        for row, position in enumerate(at[:, 0].tolist()):
            yield Drafted(row=row, position=position, id=byte[row, 0].item(), prob=prob[row, 0].item(),
                          candidates=candidates[row][0], **state.stamp())
        ids, probs = ids + [byte], probs + [prob]
        if n < draft_length:
            logits = state.draft(byte, latent)
    return Proposal(torch.cat(ids, 1), torch.cat(probs, 1), own=1)


def unmask(state, pick, rule, block_size, after=None, latent="closed"):
    """A block of MASKs, denoised until no MASK is left; each step reveals the slots that `rule` is sure of.

    after: a `Proposal` that stands clean between frontier and block (the model's own byte).
    """
    own = after.ids if after else torch.empty(state.batch_size, 0, dtype=torch.long, device=state.model.device)
    at = ahead(state, own.shape[1], block_size)                                          # (B, S)
    block = torch.full_like(at, MASK_ID)
    final = torch.zeros(at.shape, dtype=torch.float64, device=at.device)
    while (masked := block == MASK_ID).any():
        logits = state.denoise(block, own, latent)                                       # (B, S, V)
        probs = beliefs(logits)
        revealed = rule(probs, masked) & masked
        if not revealed.any():
            raise ValueError(f"an unmasking rule must reveal at least one slot a step, {rule} revealed none")
        block = torch.where(revealed, pick(logits, at), block)
        chosen, candidates = weigh(probs, torch.where(block == MASK_ID, probs.argmax(-1), block))
        final = torch.where(revealed, chosen.double(), final)
        shown = torch.where(masked, chosen.double(), final)
        for row in range(state.batch_size):
            if masked[row].any():
                yield Unmasked(row=row, position=at[row, 0].item(), block=tuple(block[row].tolist()),
                               revealed=tuple(revealed[row].nonzero()[:, 0].tolist()),
                               probs=tuple(shown[row].tolist()), candidates=candidates[row], **state.stamp())
    before = after.probs.double() if after else final[:, :0]
    return Proposal(torch.cat([own, block], 1), torch.cat([before, final], 1), own.shape[1])


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
    frontier = state.logits[:, None]
    logits = torch.cat([frontier, state.extend(proposal.ids)], 1)[:, own:]               # (B, k + 1, V)
    guesses, probs = proposal.ids[:, own:], proposal.probs[:, own:]                      # (B, k)
    at = torch.tensor(since, device=guesses.device)[:, None] + own + torch.arange(logits.shape[1], device=guesses.device)
    target = pick(logits, at)                                                            # (B, k + 1)
    accepted = accepted_length(guesses, target[:, :-1])
    follow = target.gather(1, accepted[:, None])                                         # (B, 1)
    target_probs, candidates = weigh(beliefs(logits[:, :-1]), guesses)
    stamp = state.stamp()
    for row, agreed in enumerate(accepted.tolist()):
        yield Verified(row=row, position=since[row] + own, drafted=tuple(guesses[row].tolist()), accepted=agreed,
                       replacement=follow[row, 0].item() if agreed < guesses.shape[1] else None,
                       draft_probs=tuple(probs[row].tolist()), target_probs=tuple(target_probs[row].tolist()),
                       candidates=candidates[row], **stamp)
    state.rollback([n + own + agreed for n, agreed in zip(since, accepted.tolist())])
    if not own:
        state.extend(follow)
    yield from committed(state, since)


def committed(state, since):
    """One `Committed` a row for everything past `since`."""
    stamp = state.stamp()
    for row, (known, start) in enumerate(zip(state.rows, since)):
        yield Committed(row=row, position=start, ids=tuple(known.ids[start:]), opens=tuple(known.opens[start:known.length]),
                        entropies=tuple(known.entropies[start:]), **stamp)


def ahead(state, offset, n):
    """(B, n): the positions from `offset` bytes past each row's frontier on."""
    start = torch.tensor(state.lengths, device=state.model.device)[:, None]
    return start + offset + torch.arange(n, device=start.device)


def beliefs(logits):
    """Probabilities (..., V) at temperature 1, specials removed: what rules and events see."""
    return allowed_logits(logits).softmax(-1)


def weigh(probs, ids):
    """Probability of ids (B, n) under probs (B, n, V), and the best candidates per row and slot: ((id, p), ...)."""
    top = probs.topk(N_CANDIDATES, -1)
    candidates = [tuple(tuple(zip(i, p)) for i, p in zip(*slots)) for slots in zip(top.indices.tolist(), top.values.tolist())]
    return probs.gather(-1, ids[..., None])[..., 0], candidates


def check_options(method):
    """Raise ValueError or TypeError, in one sentence, for a field that its own metadata does not allow."""
    for f in fields(method):
        value, choices, low = getattr(method, f.name), f.metadata.get("choices"), f.metadata.get("min")
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(choices)}, got {value!r}")
        if low is not None and value is not f.default and not (type(value) is int and value >= low):
            raise ValueError(f"{f.name} must be an int of at least {low}, got {value!r}")
        if f.metadata.get("rule") and (isinstance(value, type) or not callable(value)):
            raise TypeError(f"{f.name} must be a rule such as Confidence(0.7), got {value!r}")


def fit_block(method, model):
    """The method with the model's own block size where none was asked for. Raises ValueError for a plain BLT."""
    trained = model.config.block_size
    if trained is None:
        raise ValueError(f"method {method.name!r} needs a BLT-D (a model trained with blocks), got a plain BLT")
    if method.block_size is not None and method.block_size > trained:
        warnings.warn(f"block_size {method.block_size} is above the {trained} this model was trained with: "
                      "expect worse text", stacklevel=4)
    return replace(method, block_size=method.block_size or trained)
