"""Where patches begin: the entropy model, the rule, and `Patches`.

    x      BOS  T  h  e  ␣  b  y  t  e        Position 0 is a patch of its own and position 1 always opens one.
    H      2.9 .9 .2 .1 1.6 .8 .1 .1 .3       Byte t+1 opens a patch where H[t] > threshold (here 1.3), or where the
    patch   0   1  1  1  1  2  2  2  2        open patch is full. So the boundary before a byte is known without it,
    reads   0   0  0  0  1  1  1  1  1        and never changes later (prefix invariance).

`reads`: the latent each position may use, that of the last patch closed before the next byte. The last byte of a patch
reads its own patch, every other byte the one before.
"""

from dataclasses import dataclass

import torch
from torch import nn

from . import vocab
from .layers import RMSNorm, Stack, over_text


class EntropyModel(nn.Module):
    """A small causal byte model; the entropy of its prediction says where a patch should begin.

    Its weights stay in fp32 where the rest is cast to 16 bits: rounding flips boundaries.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab.VOCAB_SIZE, config.dim)
        self.stack = Stack(config)
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, vocab.VOCAB_SIZE, bias=False)

    def forward(self, ids, positions, attend):
        """ids, positions (B, T) -> logits (B, T, V), never autocast: rounding flips boundaries."""
        with torch.autocast(ids.device.type, enabled=False):
            return self.output(self.norm(self.stack(self.embedding(ids), positions, attend)))

    def _apply(self, fn, recurse=True):
        def keep_wide(tensor):
            moved = fn(tensor)
            narrow = moved.is_floating_point() and moved.itemsize < 4
            return tensor.to(moved.device, torch.float32) if narrow else moved

        return super()._apply(keep_wide, recurse)


def entropy(logits):
    """Entropy in nats of softmax(logits) over the last axis, in fp32 at least."""
    log_probs = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


def surprising(config, ids, entropies):
    """(B, T) bool: does the byte after each position open a patch, the length limit apart? After BOS one always does."""
    if config.rule == "entropy":
        opens = entropies > config.threshold
    elif config.rule == "space":
        byte = ids - vocab.OFFSET
        letter_or_digit = (
            ((byte >= 48) & (byte < 58))
            | (((byte | 32) >= 97) & ((byte | 32) < 123))
            | (byte >= 128)
        )
        opens = ~letter_or_digit
    else:  # "stride": the length limit does it all
        opens = torch.zeros_like(ids, dtype=torch.bool)
    return opens | (ids == vocab.BOS_ID)


def next_opens(surprise, positions, open_start, max_patch_length):
    """(B, T) bool: does the byte after each position open a patch, the length limit included?

    surprise, positions (B, T); open_start (B,): where the patch was opened that holds the first of these positions.
    A limit of L cuts every L bytes after the latest surprise, so no loop is needed.

    >>> import torch
    >>> s = torch.tensor([[True, False, False, False, True, False, False]])
    >>> next_opens(s, torch.arange(7)[None], torch.tensor([0]), 2).int().tolist()
    [[1, 0, 1, 0, 1, 0, 1]]
    """
    if max_patch_length is None:
        return surprise
    anchor = torch.where(surprise, positions + 1, open_start[:, None]).cummax(1).values
    return surprise | ((positions + 1 - anchor) % max_patch_length == 0)


@dataclass(frozen=True)
class Patches:
    """Patches of ids (B, T). opens: does a position open a patch; next_opens: does the byte after it, by the rule."""

    opens: torch.Tensor
    next_opens: torch.Tensor
    valid: torch.Tensor  # False at right padding

    @classmethod
    def from_rule(cls, ids, next_opens):
        """ids (B, T), -1 at padding; next_opens (B, T). BOS opens a patch wherever it stands."""
        opens = next_opens.roll(1, 1) | (ids == vocab.BOS_ID)
        opens[:, 0] = True
        valid = ids >= 0
        return cls(opens & valid, next_opens, valid)

    @property
    def ids(self):
        """(B, T): which patch each byte belongs to (padding: the last)."""
        return self.opens.cumsum(1) - 1

    @property
    def reads(self):
        """(B, T): the latent each byte reads, that of the last patch closed before the next byte."""
        return self.ids - (~self.next_opens).long()

    @property
    def lengths(self):
        """(B, P) bytes a patch, zero-padded."""
        counts = torch.zeros(
            len(self.opens), self.count, dtype=torch.long, device=self.opens.device
        )
        return counts.scatter_add(1, self.ids, self.valid.long())

    @property
    def starts(self):
        """(B, P) position of each patch's first byte; past the last patch, the length of the row."""
        lengths = self.lengths
        return lengths.cumsum(1) - lengths

    @property
    def count(self):
        """P, the most patches in a row."""
        return int(self.opens.sum(1).max())


class GrowingPatches:
    """The patches of one text as it grows and is cut back, in plain numbers: what a decoding state knows of each row.

    All lists but `opens` and `starts` have one entry a position.
    """

    def __init__(self, max_patch_length=None):
        self.max_patch_length = max_patch_length
        self.ids, self.entropies, self.reads = [], [], []
        self.opens = [True]  # one ahead: opens[length] is known
        self.starts = [0]  # where patches begin, the one at the frontier included
        self.decoded = 0  # positions that the decoder has committed to its cache

    @property
    def length(self):
        return len(self.ids)

    @property
    def closed(self):
        """How many patches are closed."""
        return len(self.starts) - 1

    @property
    def has_open(self):
        """Does the open patch hold a byte?"""
        return self.starts[-1] < self.length

    def append(self, ids, entropies, surprise):
        """New bytes, the entropy after each, and whether that alone lets the next byte open a patch (`surprising`)."""
        for i, nats, opens_next in zip(ids, entropies, surprise):
            self.ids.append(i)
            self.entropies.append(nats)
            opens_next = opens_next or self.length - self.starts[-1] == self.max_patch_length
            self.opens.append(opens_next)
            if opens_next:
                self.starts.append(self.length)
            self.reads.append(self.closed - 1)

    def truncate(self, length):
        del (
            self.ids[length:],
            self.entropies[length:],
            self.reads[length:],
            self.opens[length + 1 :],
        )
        while self.starts[-1] > length:
            self.starts.pop()
        self.decoded = min(self.decoded, length)


@dataclass(frozen=True)
class TextPatches:
    """The patches of one text, as plain lists. Positions count BOS as 0; spans are byte offsets in the text."""

    text: bytes
    lengths: list
    starts: list
    entropies: list
    next_opens: bool

    @property
    def spans(self):
        """(start, end) of each patch in the text, BOS left out: together they are the text."""
        return [
            (start - 1, start - 1 + length)
            for start, length in zip(self.starts[1:], self.lengths[1:])
        ]

    def __iter__(self):
        return (self.text[start:end] for start, end in self.spans)


def patchify(model, text):
    """`TextPatches` of a `str` or `bytes` under the model's own entropy model and rule."""
    data = vocab.to_bytes(text)
    device = next(model.parameters()).device
    with torch.no_grad():
        patches, entropies = model.patch(torch.tensor([vocab.encode(data)], device=device))
    return TextPatches(
        data,
        patches.lengths[0].tolist(),
        patches.starts[0].tolist(),
        entropies[0].tolist(),
        bool(patches.next_opens[0, -1]),
    )


def patch_text(config, model, ids, document):
    """`Patches` and entropies (B, T) of whole texts. ids (B, T), -1 at padding; document (B, T) numbers them."""
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    known = ids.clamp_min(0)
    entropies = entropy(model(known, positions, over_text(document, config.window)))
    surprise = surprising(config, ids, entropies)
    surprise[:, 0] = True
    start = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
    return Patches.from_rule(
        ids, next_opens(surprise, positions, start, config.max_patch_length)
    ), entropies
