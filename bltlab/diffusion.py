"""BLT-D: blocks to fill in, their corruption, what a block may read, and the two losses (Fast BLT section 3.1).

clean    T h e _ b y t e _ i s        causal; unaware of any block
block        [_ b y t]                reads the clean prefix "The" and all of itself, both ways, never the
              # b # #                 clean bytes under it; every slot reads the latent of the last patch
                                      closed before the block
"""

import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from . import vocab
from .layers import over_text, pieces, scores, with_piece_before
from .masks import block_reads_prefix, same_document, training_mask  # noqa: F401

STARTS = ("anywhere", "patches")
WEIGHTINGS = ("inverse_t", "mean")
T_MIN = 0.05


@dataclass(frozen=True)
class Blocks:
    """Training blocks of one batch. starts (B, M) positions; ids (B, M, S) clean bytes, -1 where no loss may fall;
    masked (B, M, S); t (B, M) masking rates."""

    starts: torch.Tensor
    ids: torch.Tensor
    masked: torch.Tensor
    t: torch.Tensor

    @property
    def size(self):
        return self.ids.shape[2]

    @property
    def positions(self):
        """(B, M, S): each slot's original byte index."""
        return self.starts[..., None] + torch.arange(self.size, device=self.starts.device)

    @property
    def corrupted(self):
        """(B, M, S): what the decoder is fed; slots past the end are MASK too."""
        return self.ids.masked_fill(self.masked | (self.ids < 0), vocab.MASK_ID)


def lay_out(encoded, ids, block_size, starts="anywhere", generator=None):
    """Where blocks begin: `starts` (B, M) and their clean ids (B, M, S).

    "anywhere": side by side from a random offset, as decoding starts them at any byte; "patches": at every patch start
    (the paper). -1 marks slots past the end of a row or of a packed document.
    """
    B, T = ids.shape
    if starts == "anywhere":
        offset = torch.randint(1, block_size + 1, (B, 1), generator=generator).to(ids.device)
        at = offset + torch.arange(0, max(T - 1, 1), block_size, device=ids.device)
        at = at.clamp_max(T)
    else:
        lengths = encoded.patches.lengths
        at = encoded.patches.starts[:, 1:].masked_fill(lengths[:, 1:] == 0, T)
    slots = at[..., None] + torch.arange(block_size, device=ids.device)  # (B, M, S)
    row = torch.arange(B, device=ids.device)[:, None, None]
    inside = slots < T
    slots = slots.clamp_max(T - 1)
    begun_in = encoded.document[row[..., 0], at.clamp_max(T) - 1]
    inside &= encoded.document[row, slots] == begun_in[..., None]
    return at, ids[row, slots].masked_fill(~inside, vocab.PAD_ID)


def corrupt(starts, ids, fully_masked=0.0, generator=None):
    """Draw a masking rate t for each block and hide its bytes with probability t.

    Rates are stratified over the batch (uniform in all, evenly spread in each); a share `fully_masked` gets t = 1.
    """
    B, M, S = ids.shape
    draw = lambda *shape: torch.rand(shape, generator=generator).to(ids.device)
    t = (torch.randperm(B * M, generator=generator).to(ids.device).view(B, M) + draw(B, M)) / (
        B * M
    )
    t = torch.where(draw(B, M) < fully_masked, 1.0, t).clamp_min(T_MIN)
    return Blocks(starts, ids, (draw(B, M, S) < t[..., None]) & (ids >= 0), t)


def _pieces(blocks, length, window):
    """(slots, clean keys) that are read together, as slices: by pieces of a window where blocks stand side by side."""
    (M, S), starts = blocks.ids.shape[1:], blocks.starts
    offset = starts - S * torch.arange(M, device=starts.device)
    if window and window < length and window % S == 0 and ((offset >= 1) & (offset <= S)).all():
        slots = [q for q, _ in pieces(M * S, window)]
        return window, [(q, kv) for q, (_, kv) in zip(slots, pieces(length, window))]
    return max(length, M * S), [(slice(0, M * S), slice(0, length))]


def _attend(encoded, blocks, window):
    """`attend` for [clean ; blocks] that never builds their square: blocks read the clean keys and their own."""
    B, T = encoded.ids.shape
    M, S = blocks.ids.shape[1:]
    t = torch.arange(T, device=blocks.starts.device)
    q, begin = (
        blocks.positions.flatten(1)[..., None],
        blocks.starts.repeat_interleave(S, 1)[..., None],
    )
    row = torch.arange(B, device=t.device)[:, None]
    document = encoded.document[row, (begin[..., 0] - 1).clamp_max(T - 1)]  # (B, M*S)
    size, parts = _pieces(blocks, T, window)
    prefix = [
        (
            block_reads_prefix(q[:, of], t[kv], begin[:, of], window)
            & same_document(document[:, of, None], encoded.document[:, None, kv])
        )[:, None]
        for of, kv in parts
    ]
    over_clean = over_text(encoded.document, window)

    def attend(layer, q, kv):
        (q, bq), (kv, bkv) = q.split((T, M * S), -2), kv.split((T, M * S), -2)
        bk, bv = (x.unflatten(2, (M, S)) for x in bkv.unbind(1))  # (B, H, M, S, head)
        to_own = (bq.unflatten(2, (M, S)) * bq.shape[-1] ** -0.5 @ bk.mT).flatten(
            2, 3
        )  # (B, H, M*S, S)
        read, weights = [], []
        for bq, own, kv_near, mask in zip(
            bq.split(size, 2), to_own.split(size, 2), with_piece_before(kv, size), prefix
        ):
            k, v = kv_near.unbind(1)
            near, own = (
                torch.cat([scores(bq, k, mask), own], -1).softmax(-1).split((k.shape[2], S), -1)
            )
            read.append(near @ v)
            weights.append(own)
        own = (torch.cat(weights, 2).unflatten(2, (M, S)) @ bv).flatten(2, 3)
        return torch.cat([over_clean(layer, q, kv), torch.cat(read, 2) + own], 2)

    return attend


def decode_blocks(model, encoded, blocks):
    """One decoder pass over the clean text and all corrupted blocks -> logits (B, T, V) and (B, M, S, V)."""
    B, T = encoded.ids.shape
    M, S = blocks.ids.shape[1:]
    row = torch.arange(B, device=encoded.ids.device)[:, None]
    reads = encoded.patches.reads
    block_reads = reads[row, (blocks.starts - 1).clamp_max(T - 1)].repeat_interleave(
        S, 1
    )  # (B, M*S)
    x = torch.cat(
        [
            model.decoder.inputs(encoded.ids, encoded.states),
            model.decoder.embedding(blocks.corrupted.flatten(1)),
        ],
        1,
    )
    positions = torch.cat([encoded.positions, blocks.positions.flatten(1)], 1)
    all_reads = torch.cat([reads, block_reads], 1)
    logits = model.decoder(
        x,
        positions,
        lambda layer: encoded.keys[layer][row, all_reads],
        _attend(encoded, blocks, model.config.decoder.window),
    )
    return logits[:, :T], logits[:, T:].unflatten(1, (M, S))


@dataclass(frozen=True)
class DiffusionLoss:
    """Nats per byte. next_byte: mean over clean targets; masked_byte: see `diffusion_loss`; total = next + weight * masked."""

    total: torch.Tensor
    next_byte: torch.Tensor
    masked_byte: torch.Tensor


def next_targets(ids):
    """(B, T-1): the id that each position but the last should predict; -100 for PAD and the BOS of a packed document."""
    return ids[:, 1:].masked_fill((ids[:, 1:] < 0) | (ids[:, 1:] == vocab.BOS_ID), -100)


def next_byte_loss(logits, ids, reduction="mean"):
    """Cross-entropy of each id given those before it, EOS in, PAD and the BOS of a packed document out."""
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1), next_targets(ids).flatten(), reduction=reduction
    )


def loss_counts(ids, blocks, weighting="inverse_t"):
    """What the two losses are divided by: clean targets; block bytes that may carry loss, or for "mean" that do."""
    hidden = blocks.ids >= 0 if weighting == "inverse_t" else blocks.masked
    return (next_targets(ids) >= 0).sum().clamp_min(1), hidden.sum().clamp_min(1)


def diffusion_loss(
    model,
    ids,
    block_size=None,
    generator=None,
    *,
    weight=1.0,
    block_starts="anywhere",
    fully_masked=0.0,
    weighting="inverse_t",
    patches=None,
    blocks=None,
    counts=None,
    decode=decode_blocks,
):
    """The BLT-D training loss of ids (B, T), each row from BOS on, -1 at right padding (Fast BLT eq. 4).

    masked_byte = sum of CE / t over masked bytes, divided by the block bytes that may carry loss ("inverse_t"), or the
    plain mean over masked bytes ("mean"). blocks: `Blocks` that were drawn before, then `generator` is not used; counts:
    `loss_counts` of a larger batch that these rows are a share of; decode: another `decode_blocks`, to compare with.
    Raises ValueError for a model without a diffusion head.
    """
    if model.config.block_size is None:
        raise ValueError("diffusion_loss needs a BLT-D (config.block_size set), got a plain BLT")
    block_size = model.config.block_size if block_size is None else block_size
    if type(block_size) is not int or block_size < 1:
        raise ValueError(f"block_size must be an int of at least 1 byte, got {block_size!r}")
    if block_size > model.config.block_size:
        warnings.warn(
            f"block_size {block_size} is above the model's {model.config.block_size}", stacklevel=2
        )
    if block_starts not in STARTS or weighting not in WEIGHTINGS:
        raise ValueError(
            f"block_starts must be one of {STARTS} and weighting one of {WEIGHTINGS}, "
            f"got {block_starts!r} and {weighting!r}"
        )
    encoded = model.encode(ids, patches)
    if blocks is None:
        blocks = corrupt(
            *lay_out(encoded, ids, block_size, block_starts, generator), fully_masked, generator
        )
    targets, hidden = counts or loss_counts(ids, blocks, weighting)
    clean_logits, block_logits = decode(model, encoded, blocks)
    next_byte = next_byte_loss(clean_logits, ids, "sum") / targets
    ce = F.cross_entropy(
        block_logits.flatten(0, 2),
        blocks.ids.flatten().masked_fill(~blocks.masked.flatten(), -100),
        reduction="none",
    ).view_as(blocks.ids)
    masked_byte = (ce / blocks.t[..., None] if weighting == "inverse_t" else ce).sum() / hidden
    return DiffusionLoss(next_byte + weight * masked_byte, next_byte, masked_byte)
