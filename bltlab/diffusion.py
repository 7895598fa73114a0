"""BLT-D: blocks to fill in, their corruption, what they read, the losses (Fast BLT section 3.2).

clean    T h e _ b y t e _ i s    causal; unaware of any block
block        [_ b y t]            reads the clean prefix "The" and all of itself, both ways, never
              # b # #             the clean bytes under it; every slot reads the latent of the last
                                  patch closed before the block
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import vocab
from .layers import Attend, chunk_keys, over_text, scores
from .masks import block_chunks, prefix_mask, row_numbers
from .masks import training_mask as training_mask  # also found here
from .model import BLT, Encoded
from .transfer import send

STARTS = ("anywhere", "patches")
RATES = ("blocks", "samples")
WEIGHTINGS = ("inverse_t", "inverse_count", "mean")
T_MIN = 0.05  # smallest masking rate: 1 / t stays bounded
IGNORED = -100  # a target that carries no loss

# -- blocks ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blocks:
    """Training blocks of one batch: M blocks of S slots for each text.

    starts (B, M): position of each block's first slot. ids (B, M, S): the clean bytes, -1 where no
    loss may fall. masked (B, M, S) bool. t (B, M): masking rates.
    """

    starts: Tensor
    ids: Tensor
    masked: Tensor
    t: Tensor

    def to(self, device: torch.device) -> "Blocks":
        """The same blocks on a device."""
        return Blocks(
            self.starts.to(device), self.ids.to(device), self.masked.to(device), self.t.to(device)
        )

    @property
    def size(self) -> int:
        """S, slots of a block."""
        return self.ids.shape[2]

    @property
    def positions(self) -> Tensor:
        """(B, M, S): each slot's position in the text."""
        slots = torch.arange(self.size, device=self.starts.device)
        return self.starts[..., None] + slots

    @property
    def corrupted(self) -> Tensor:
        """(B, M, S): what the decoder is fed; slots past the end are MASK too."""
        past_the_end = self.ids < 0
        return self.ids.masked_fill(self.masked | past_the_end, vocab.MASK_ID)


def lay_out(
    encoded: Encoded,
    ids: Tensor,
    block_size: int,
    starts: str = "anywhere",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Where blocks begin, (B, M), and their clean ids (B, M, S).

    -1 marks slots past the end of a row or of a packed document. ids (B, T), -1 at padding.

    starts: "anywhere": side by side from a random offset, as decoding starts them at any byte;
    "patches": at every patch start (Fast BLT section 3.2.1).
    """
    B, T = ids.shape
    device = encoded.document.device
    ids = send(ids, device)
    if starts == "anywhere":
        offset = torch.randint(1, block_size + 1, (B, 1), generator=generator)
        steps = torch.arange(0, max(T - 1, 1), block_size, device=device)
        begin = (offset.to(device) + steps).clamp_max(T)
    else:
        is_empty = encoded.patches.lengths[:, 1:] == 0
        begin = encoded.patches.starts[:, 1:].masked_fill(is_empty, T)

    slots = begin[..., None] + torch.arange(block_size, device=device)  # (B, M, S)
    known = slots.clamp_max(T - 1)
    row = row_numbers(ids)
    before = begin.clamp_max(T) - 1
    document = encoded.document[row, before]  # (B, M)
    row = row[..., None]
    same = encoded.document[row, known] == document[..., None]
    inside = (slots < T) & same
    clean = ids[row, known].masked_fill(~inside, vocab.PAD_ID)
    return begin, clean


def corrupt(
    starts: Tensor,
    ids: Tensor,
    fully_masked: float = 0.0,
    generator: torch.Generator | None = None,
    rates: str = "blocks",
) -> Blocks:
    """`Blocks` with a masking rate t drawn for each, and bytes hidden with probability t.

    A share `fully_masked` of the blocks gets t = 1. starts (B, M), ids (B, M, S) as `lay_out` gives
    them. rates: "blocks": each has its own t, stratified over the batch: uniform in all, evenly
    spread in each; "samples": those of one text share one (Fast BLT section 3.2.1).
    Raises ValueError for other `rates`.
    """
    if rates not in RATES:
        raise ValueError(f"rates must be one of {', '.join(RATES)}, not {rates!r}")
    B, M, S = ids.shape
    device = ids.device
    drawn = (B, M) if rates == "blocks" else (B, 1)
    strata = torch.randperm(drawn[0] * drawn[1], generator=generator).to(device).view(drawn)
    within = _uniform(drawn, generator, device)
    t = ((strata + within) / strata.numel()).expand(B, M)
    fully = _uniform((B, M), generator, device) < fully_masked
    t = torch.where(fully, 1.0, t).clamp_min(T_MIN)
    hidden = _uniform((B, M, S), generator, device) < t[..., None]
    return Blocks(starts, ids, hidden & (ids >= 0), t)


def _uniform(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Uniform draws, made on the CPU so that a seed means the same on every device."""
    return torch.rand(shape, generator=generator).to(device)


# -- one decoder pass over text and blocks ---------------------------------------------------------


def decode_blocks(model: BLT, encoded: Encoded, blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Logits (B, T, V) of the clean text and (B, M, S, V) of all corrupted blocks, in one pass."""
    T = encoded.ids.shape[1]
    M, S = blocks.ids.shape[1:]
    blocks = blocks.to(encoded.ids.device)
    row = row_numbers(encoded.ids)
    reads = encoded.patches.reads
    before = (blocks.starts - 1).clamp_max(T - 1)
    block_reads = reads[row, before]  # (B, M)
    all_reads = torch.cat([reads, block_reads.repeat_interleave(S, 1)], 1)  # (B, T + M * S)
    clean = model.decoder.inputs(encoded.ids, encoded.states)
    slots = model.decoder.embedding(blocks.corrupted.flatten(1))
    window = model.config.decoder.window
    logits = model.decoder(
        torch.cat([clean, slots], 1),
        torch.cat([encoded.positions, blocks.positions.flatten(1)], 1),
        lambda layer: encoded.keys[layer][row, all_reads],
        over_text_and_blocks(encoded.document, blocks.starts, S, window),
    )
    of_text, of_blocks = logits[:, :T], logits[:, T:]
    return of_text, of_blocks.unflatten(1, (M, S))


def over_text_and_blocks(
    document: Tensor, starts: Tensor, size: int, window: int | None = None
) -> Attend:
    """An `Attend` over T clean bytes and M * S slots behind them that never builds their square.

    Clean bytes read as in `over_text`; a slot reads by `prefix_mask`, and all of its own block.
    document (B, T), starts (B, M), size S.
    """
    n_clean = document.shape[1]
    n_blocks = starts.shape[1]
    chunk, parts = block_chunks(starts, size, n_clean, window)
    masks = [
        prefix_mask(starts, size, document, window, slots, keys)[:, None] for slots, keys in parts
    ]
    attend_clean = over_text(document, window)

    def attend(layer: int, q: Tensor, kv: Tensor) -> Tensor:
        lengths = (n_clean, n_blocks * size)
        clean_q, slot_q = q.split(lengths, -2)
        clean_kv, slot_kv = kv.split(lengths, -2)
        clean = attend_clean(layer, clean_q, clean_kv)
        own_kv = slot_kv.unflatten(3, (n_blocks, size))
        slots = _read_prefix_and_block(slot_q, chunk_keys(clean_kv, chunk), own_kv, masks, chunk)
        return torch.cat([clean, slots], 2)

    return attend


def _read_prefix_and_block(
    q: Tensor,
    prefix_kv: Sequence[Tensor],
    own_kv: Tensor,
    masks: Sequence[Tensor],
    chunk: int,
) -> Tensor:
    """(B, H, M * S, head): what slots read, by one softmax over clean keys and their own block.

    q (B, H, M * S, head), in chunks of `chunk`; prefix_kv: for each chunk clean keys and values
    (B, 2, H, N, head); masks: for each (B, 1, chunk, N); own_kv (B, 2, H, M, S, head).
    """
    own_k, own_v = own_kv.unbind(1)  # (B, H, M, S, head)
    blocks = own_k.shape[2:4]
    scaled = q.unflatten(2, blocks) * q.shape[-1] ** -0.5
    own_scores = (scaled @ own_k.mT).flatten(2, 3)
    read_of_prefix = []
    own_weights = []
    parts = zip(  # there may be more clean bytes than slots
        q.split(chunk, 2), own_scores.split(chunk, 2), prefix_kv, masks, strict=False
    )
    for queries, to_own, keys_and_values, mask in parts:
        k, v = keys_and_values.unbind(1)
        all_scores = torch.cat([scores(queries, k, mask), to_own], -1)
        widths = (k.shape[2], to_own.shape[-1])
        to_prefix, to_own = all_scores.softmax(-1).split(widths, -1)
        read_of_prefix.append(to_prefix @ v)
        own_weights.append(to_own)
    by_block = torch.cat(own_weights, 2).unflatten(2, blocks)
    read_of_own = (by_block @ own_v).flatten(2, 3)
    return torch.cat(read_of_prefix, 2) + read_of_own


# -- losses ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiffusionLoss:
    """Scalars in nats per byte: total = next_byte + weight * masked_byte.

    next_byte: mean over clean targets. masked_byte: see `diffusion_loss`.
    """

    total: Tensor
    next_byte: Tensor
    masked_byte: Tensor


def next_targets(ids: Tensor) -> Tensor:
    """(B, T-1): the id that each position but the last should predict.

    -100, which carries no loss, for PAD and for the BOS of a packed document.

    >>> next_targets(torch.tensor([[1, 70, 2, 1, 71, -1]])).tolist()
    [[70, 2, -100, 71, -100]]
    """
    targets = ids[:, 1:]
    carries_none = (targets < 0) | (targets == vocab.BOS_ID)
    return targets.masked_fill(carries_none, IGNORED)


def next_byte_loss(logits: Tensor, ids: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy of each id given those before it, EOS in, PAD and the BOS of a document out.

    logits (B, T, V), ids (B, T). reduction: "mean", "sum" or "none", as torch has them.
    """
    predictions = logits[:, :-1].flatten(0, 1)
    targets = send(next_targets(ids).flatten(), logits.device)
    return F.cross_entropy(predictions, targets, reduction=reduction, ignore_index=IGNORED)


def loss_counts(ids: Tensor, blocks: Blocks, weighting: str = "inverse_t") -> tuple[Tensor, Tensor]:
    """What the two losses are divided by: clean targets, and block bytes.

    Of block bytes those that may carry loss, or for weighting "mean" those that do.
    """
    hidden = blocks.masked if weighting == "mean" else blocks.ids >= 0
    targets = next_targets(ids) >= 0
    return targets.sum().clamp_min(1), hidden.sum().clamp_min(1)


def effective_rates(blocks: Blocks, weighting: str) -> Tensor:
    """(B, M, 1): what the loss of a block's masked bytes is divided by.

    inverse_t: t. inverse_count: k / (n + 1) where k of its n bytes are masked; its inverse is the
    mean of 1 / t over all t in 0..1 that could have masked so many. So it is the same loss on
    average, with less variance, where no block is fully masked on purpose. mean: 1.
    Raises ValueError for another weighting.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}")
    if weighting == "mean":
        rates = torch.ones_like(blocks.t)
    elif weighting == "inverse_count":
        rates = blocks.masked.sum(2).clamp_min(1) / ((blocks.ids >= 0).sum(2) + 1)
    else:
        rates = blocks.t
    return rates[..., None]


def masked_byte_loss(
    logits: Tensor, blocks: Blocks, weighting: str = "inverse_t", slot_decay: float = 1.0
) -> Tensor:
    """Cross-entropy summed over masked bytes, divided by `effective_rates`. logits (B, M, S, V).

    slot_decay: how much a byte of a block weighs against the one before it; 1 on average.
    """
    blocks = blocks.to(logits.device)
    targets = blocks.ids.masked_fill(~blocks.masked, IGNORED).flatten()
    losses = F.cross_entropy(
        logits.flatten(0, 2), targets, reduction="none", ignore_index=IGNORED
    ).view_as(blocks.ids)
    slots = slot_decay ** torch.arange(blocks.size, device=losses.device)  # (S,)
    return (losses * (slots / slots.mean()) / effective_rates(blocks, weighting)).sum()


def diffusion_loss(
    model: BLT,
    ids: Tensor,
    block_size: int | None = None,
    generator: torch.Generator | None = None,
    *,
    weight: float = 1.0,
    block_starts: str = "anywhere",
    fully_masked: float = 0.0,
    weighting: str = "inverse_t",
    slot_decay: float = 1.0,
    patches: tuple | None = None,
    blocks: Blocks | None = None,
    counts: tuple[Tensor, Tensor] | None = None,
    decode: Callable[..., tuple[Tensor, Tensor]] = decode_blocks,
) -> DiffusionLoss:
    """The BLT-D training loss of ids (B, T), each row from BOS on, -1 at right padding.

    Fast BLT eq. 5 to 7, as means: masked_byte is the sum of CE / t over masked bytes, divided by
    the block bytes that may carry loss (weighting "inverse_t"; "inverse_count" is the same with
    less variance, see `effective_rates`), or the plain mean over masked bytes ("mean").

    block_size: slots of a block, the model's own by default; above it there is a warning.
    block_starts, fully_masked: as `lay_out` and `corrupt` take them.
    slot_decay: as `masked_byte_loss` takes it.
    patches: (`Patches`, entropies) where they are known.
    blocks: `Blocks` that were drawn before; `generator` is not used then.
    counts: `loss_counts` of a larger batch that these rows are a share of.
    decode: another `decode_blocks`, to compare with.
    Raises ValueError for a model without a diffusion head and for options out of range.
    """
    block_size = _checked_block_size(model, block_size)
    if block_starts not in STARTS or weighting not in WEIGHTINGS:
        raise ValueError(
            f"block_starts must be one of {STARTS} and weighting one of {WEIGHTINGS}, "
            f"got {block_starts!r} and {weighting!r}"
        )
    encoded = model.encode(ids, patches)
    if blocks is None:
        starts, clean = lay_out(encoded, ids, block_size, block_starts, generator)
        blocks = corrupt(starts, clean, fully_masked, generator)
    n_targets, n_hidden = counts or loss_counts(ids, blocks, weighting)
    clean_logits, block_logits = decode(model, encoded, blocks)
    next_byte = next_byte_loss(clean_logits, ids, "sum") / n_targets
    masked_byte = masked_byte_loss(block_logits, blocks, weighting, slot_decay) / n_hidden
    return DiffusionLoss(next_byte + weight * masked_byte, next_byte, masked_byte)


def _checked_block_size(model: BLT, block_size: Any) -> int:
    """The block size asked for, or the model's own. Raises ValueError for what cannot be one."""
    trained = model.config.block_size
    if trained is None:
        raise ValueError("diffusion_loss needs a BLT-D (config.block_size set), got a plain BLT")
    if block_size is None:
        return trained
    if type(block_size) is not int or block_size < 1:
        raise ValueError(f"block_size must be an int of at least 1 byte, got {block_size!r}")
    if block_size > trained:
        warnings.warn(f"block_size {block_size} is above the model's {trained}", stacklevel=3)
    return block_size
