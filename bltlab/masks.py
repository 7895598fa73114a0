"""Who may read whom: boolean algebra on index tensors that broadcast; True means "q may read kv"."""

import torch


def causal(q, kv, window=None):
    """A position reads the past and itself, at most `window` keys.

    >>> import torch; i = torch.arange(4)
    >>> causal(i[:, None], i, window=2).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    mask = kv <= q
    return mask if window is None else mask & (kv > q - window)


def same_document(q_document, kv_document):
    """Documents packed in one sequence do not read each other."""
    return q_document == kv_document


def inside_block(q, kv, start, size):
    """Every slot of a block reads every slot of it, both ways; `start` and `size` in bytes."""
    return (q >= start) & (q < start + size) & (kv >= start) & (kv < start + size)


def block_reads_prefix(q, kv, start, window=None):
    """A block's slot reads the clean bytes before the block (Fast BLT 3.1; never the clean bytes under it)."""
    return causal(q, kv, window) & (kv < start)


def denoising(q, kv, start, size, window=None):
    """While a block is filled in: causal, and inside the block both ways."""
    return causal(q, kv, window) | inside_block(q, kv, start, size)


def additive(mask, dtype):
    """0 where True, -inf where not: the mask as scores take it, made once for all layers."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)


def text_mask(document, window=None, q=slice(None), kv=slice(None)):
    """(B, T, T), or the part for some positions: causal within `window`, cut between documents. document (B, T) numbers
    them."""
    t = torch.arange(document.shape[1], device=document.device)
    return causal(t[q, None], t[kv], window) & same_document(
        document[:, q, None], document[:, None, kv]
    )


def training_mask(length, starts, size, window=None):
    """The (L, L) mask of one text and its blocks, L = length + M * size: the picture, and the test's slow twin.

    Rows and columns: clean bytes 0..length-1, then the blocks one after another. starts (M,).
    """
    M = len(starts)
    index = torch.cat([torch.arange(length), (starts[:, None] + torch.arange(size)).flatten()])
    block = torch.cat([torch.full((length,), -1), torch.arange(M).repeat_interleave(size)])
    begin = torch.cat([torch.zeros(length, dtype=torch.long), starts.repeat_interleave(size)])
    q, kv, q_block, kv_block = index[:, None], index[None], block[:, None], block[None]
    clean = (q_block < 0) & (kv_block < 0) & causal(q, kv, window)
    prefix = (q_block >= 0) & (kv_block < 0) & block_reads_prefix(q, kv, begin[:, None], window)
    own = (
        (q_block >= 0)
        & same_document(q_block, kv_block)
        & inside_block(q, kv, begin[:, None], size)
    )
    return clean | prefix | own
