"""Who may read whom: boolean algebra on index tensors that broadcast; True means "q may read kv".

    rules     causal, same_document, inside_block, block_reads_prefix, denoising
    masks     text_mask, prefix_mask, training_mask: the rules on the positions of whole texts
    chunks    chunk_slices, block_chunks: the parts of a mask that a window leaves to look at

Training, decoding, the tests' slow twins and the pictures take their masks from here.
"""

import torch
from torch import Tensor

# -- rules -----------------------------------------------------------------------------------------


def causal(q: Tensor, kv: Tensor, window: int | None = None) -> Tensor:
    """A position reads the past and itself, at most `window` keys.

    >>> i = torch.arange(4)
    >>> causal(i[:, None], i, window=2).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    mask = kv <= q
    return mask if window is None else mask & (kv > q - window)


def same_document(q_document: Tensor, kv_document: Tensor) -> Tensor:
    """Documents packed in one sequence do not read each other.

    >>> document = torch.tensor([1, 1, 2])
    >>> same_document(document[:, None], document).int().tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    return q_document == kv_document


def inside_block(q: Tensor, kv: Tensor, start: int | Tensor, size: int | Tensor) -> Tensor:
    """Every slot of a block reads every slot of it, both ways; `start` and `size` in bytes.

    >>> i = torch.arange(4)
    >>> inside_block(i[:, None], i, 1, 2).int().tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    end = start + size
    q_inside = (q >= start) & (q < end)
    kv_inside = (kv >= start) & (kv < end)
    return q_inside & kv_inside


def block_reads_prefix(
    q: Tensor, kv: Tensor, start: int | Tensor, window: int | None = None
) -> Tensor:
    """A block's slot reads the clean bytes before the block, never those under it.

    Fast BLT section 3.2.2.

    >>> i = torch.arange(4)
    >>> block_reads_prefix(i[2:, None], i, 2).int().tolist()  # the slots at 2 and 3
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    return causal(q, kv, window) & (kv < start)


def denoising(
    q: Tensor,
    kv: Tensor,
    start: int | Tensor,
    size: int | Tensor,
    window: int | None = None,
) -> Tensor:
    """While a block is filled in: causal, and inside the block both ways (Fast BLT section 3.1.1).

    >>> i = torch.arange(4)
    >>> denoising(i[:, None], i, 2, 2).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    """
    return causal(q, kv, window) | inside_block(q, kv, start, size)


def row_numbers(rows: Tensor) -> Tensor:
    """(B, 1): the number of each row of (B, ...), to index by row and position.

    >>> row_numbers(torch.zeros(3, 8)).tolist()
    [[0], [1], [2]]
    """
    return torch.arange(rows.shape[0], device=rows.device)[:, None]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as attention scores take it: 0 where True, -inf where not.

    >>> additive(torch.tensor([True, False]), torch.float32)
    tensor([0., -inf])
    """
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)


# -- masks -----------------------------------------------------------------------------------------


def text_mask(
    document: Tensor,
    window: int | None = None,
    q: slice = slice(None),
    kv: slice = slice(None),
) -> Tensor:
    """(B, T, T), or the part for some positions: causal in a window, cut between documents.

    document (B, T) numbers the documents packed in each row.

    >>> text_mask(torch.tensor([[1, 1, 2, 2]])).int().tolist()
    [[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]]
    """
    t_q, t_kv = _indices(document, q), _indices(document, kv)
    together = same_document(document[:, q, None], document[:, None, kv])
    in_reach = causal(t_q[:, None], t_kv, window)
    return in_reach & together


def _indices(document: Tensor, part: slice) -> Tensor:
    """The positions of a part of document (B, T), made without those of the whole."""
    positions = range(document.shape[1])[part]
    return torch.arange(positions.start, positions.stop, device=document.device)


def prefix_mask(
    starts: Tensor,
    size: int,
    document: Tensor,
    window: int | None = None,
    slots: slice = slice(None),
    kv: slice = slice(None),
) -> Tensor:
    """(B, M * S, T), or the part for some slots and keys: what blocks read of the clean text.

    A block belongs to the document of the byte before it. starts (B, M), size S; document (B, T).

    >>> prefix_mask(torch.tensor([[1, 3]]), 2, torch.ones(1, 4)).int().tolist()
    [[[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]]
    """
    T = document.shape[1]
    device = document.device
    clean = torch.arange(T, device=device)[kv]
    offsets = torch.arange(size, device=device)
    positions = (starts[..., None] + offsets).flatten(1)[:, slots]  # (B, slots)
    begin = starts.repeat_interleave(size, 1)[:, slots]
    before = (begin - 1).clamp_max(T - 1)
    block_document = document[row_numbers(document), before]
    reads = block_reads_prefix(positions[..., None], clean, begin[..., None], window)
    together = same_document(block_document[..., None], document[:, None, kv])
    return reads & together


def training_mask(length: int, starts: Tensor, size: int, window: int | None = None) -> Tensor:
    """The (L, L) mask of one text and its blocks, L = length + M * size, as it is trained.

    Rows and columns: clean bytes 0..length-1, then the blocks one after another. starts (M,).
    For pictures, and for tests of what never builds it.

    >>> training_mask(3, torch.tensor([1]), 2).int().tolist()
    [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 1, 1], [1, 0, 0, 1, 1]]
    """
    clean_bytes = torch.arange(length)
    no_block = torch.full((length,), -1)
    slots = (starts[:, None] + torch.arange(size)).flatten()

    position = torch.cat([clean_bytes, slots])
    numbers = torch.arange(len(starts)).repeat_interleave(size)
    block = torch.cat([no_block, numbers])
    begin = torch.cat([no_block, starts.repeat_interleave(size)])[:, None]

    q = position[:, None]
    kv = position
    q_block = block[:, None]
    of_block = q_block >= 0
    to_clean = block < 0
    clean = ~of_block & to_clean & causal(q, kv, window)
    prefix = of_block & to_clean & block_reads_prefix(q, kv, begin, window)
    own = of_block & (q_block == block) & inside_block(q, kv, begin, size)
    return clean | prefix | own


# -- chunks ----------------------------------------------------------------------------------------


def chunk_slices(length: int, size: int) -> list[tuple[slice, slice]]:
    """Positions in chunks of `size`, each with the keys that it may read under a window of `size`.

    They are those of the chunk and of the chunk before it. A list of (queries, keys).

    >>> chunk_slices(5, 2)
    [(slice(0, 2, None), slice(0, 2, None)),
     (slice(2, 4, None), slice(0, 4, None)),
     (slice(4, 5, None), slice(2, 5, None))]
    """
    chunks = []
    for start in range(0, length, size):
        end = min(start + size, length)
        queries = slice(start, end)
        keys = slice(max(0, start - size), end)
        chunks.append((queries, keys))
    return chunks


def block_chunks(
    starts: Tensor, size: int, length: int, window: int | None = None
) -> tuple[int, list[tuple[slice, slice]]]:
    """Slots of blocks in chunks, each with the clean keys that it may read: (chunk size, chunks).

    Where blocks stand side by side from one of the positions 1..size, slot j stands at j + 1 to
    j + size. So chunks of a window's slots read the clean chunk of that number and the one before
    it, as `chunk_slices` has them. Otherwise all slots are one chunk that reads all keys.

    starts (B, M), size S; length: clean bytes T.

    >>> block_chunks(torch.tensor([[1, 3, 5, 7]]), 2, 8, window=4)
    (4, [(slice(0, 4, None), slice(0, 4, None)), (slice(4, 8, None), slice(0, 8, None))])
    >>> block_chunks(torch.tensor([[1, 2, 5, 7]]), 2, 8, window=4)
    (8, [(slice(0, 8, None), slice(0, 8, None))])
    """
    n_blocks = starts.shape[1]
    n_slots = n_blocks * size
    offset = starts - size * torch.arange(n_blocks, device=starts.device)
    fits = window and window < length and window % size == 0
    if fits and ((offset >= 1) & (offset <= size)).all():
        slots = [queries for queries, _ in chunk_slices(n_slots, window)]
        keys = [keys for _, keys in chunk_slices(length, window)]
        return window, list(zip(slots, keys, strict=False))  # text may go on past the last block
    return max(length, n_slots), [(slice(0, n_slots), slice(0, length))]
