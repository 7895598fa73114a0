"""Where patches begin: the entropy model, the rules, and `Patches`.

    x      BOS  T  h  e  ␣  b  y  t  e
    H      2.9 .9 .2 .1 1.6 .8 .1 .1 .3
    patch   0   1  1  1  1  2  2  2  2
    reads   0   0  0  0  1  1  1  1  1

Position 0 is a patch of its own and position 1 always opens one. Byte t+1 opens a patch where
H[t] > threshold (here 1.3), or where the open patch is full. So the boundary before a byte is known
without it, and never changes later (prefix invariance).

`reads`: the latent each position may use, that of the last patch closed before the next byte. The
last byte of a patch reads its own patch, every other byte the one before.

A patcher of your own is one function and one entry in `PATCH_RULES`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import memory, vocab
from .config import PatcherConfig
from .layers import Attend, RMSNorm, Stack, check_numbers, over_pieces
from .transfer import send

# -- the entropy model -----------------------------------------------------------------------------


class EntropyModel(nn.Module):
    """A small causal byte model; the entropy of its prediction says where a patch should begin.

    Its weights stay in fp32 where the rest is cast to 16 bits: rounding moves boundaries.
    Raises ValueError for a config whose rule is not in `PATCH_RULES`.
    """

    def __init__(self, config: PatcherConfig):
        super().__init__()
        rule_of(config)
        self.config = config
        self.embedding = nn.Embedding(vocab.VOCAB_SIZE, config.dim)
        self.stack = Stack(config)
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, vocab.VOCAB_SIZE, bias=False)

    def forward(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Logits (B, T, V) of ids at positions, both (B, T); never autocast."""
        with torch.autocast(ids.device.type, enabled=False):
            return self.output(self.norm(self.stack(self.embedding(ids), positions, attend)))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True):
        """What `.to`, `.half` and the like call on every weight: 16 bits become fp32 here."""

        def keep_wide(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            narrow = moved.is_floating_point() and moved.itemsize < 4
            return tensor.to(moved.device, torch.float32) if narrow else moved

        return super()._apply(keep_wide, recurse)


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax(logits) over the last axis, in fp32 at least."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    log_probs = wide.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


# -- the rules -------------------------------------------------------------------------------------

# A rule takes the config, ids (B, T) and the entropy (B, T) in nats after each of them, and returns
# (B, T) bool: does the byte after each position open a patch? Text arrives in parts of any length,
# so a rule decides on each position by what stands there alone. That BOS, and what follows it, open
# patches, and the length limit, are not a rule's business.
PatchRule = Callable[[PatcherConfig, Tensor, Tensor], Tensor]


def above_threshold(config: PatcherConfig, ids: Tensor, entropies: Tensor) -> Tensor:
    """A patch opens where the entropy model is unsure of the byte (BLT's own rule)."""
    return entropies > config.threshold


def only_when_full(config: PatcherConfig, ids: Tensor, entropies: Tensor) -> Tensor:
    """A patch opens every max_patch_length bytes: the length limit does it all."""
    return torch.zeros_like(ids, dtype=torch.bool)


def after_spaces(config: PatcherConfig, ids: Tensor, entropies: Tensor) -> Tensor:
    """A patch opens after each byte that is no letter or digit; bytes beyond ASCII are letters."""
    byte = ids - vocab.OFFSET
    lower = byte | 32  # the lower case of an ASCII letter
    digit = (byte >= ord("0")) & (byte <= ord("9"))
    letter = (lower >= ord("a")) & (lower <= ord("z"))
    return ~(digit | letter | (byte >= 128))


PATCH_RULES: dict[str, PatchRule] = {
    "entropy": above_threshold,
    "stride": only_when_full,
    "space": after_spaces,
}


def rule_of(config: PatcherConfig) -> PatchRule:
    """The rule that a config names. Raises ValueError, with the known names, for another one."""
    if config.rule not in PATCH_RULES:
        raise ValueError(f"rule must be one of {', '.join(PATCH_RULES)}, got {config.rule!r}")
    return PATCH_RULES[config.rule]


def opens_by_rule(config: PatcherConfig, ids: Tensor, entropies: Tensor) -> Tensor:
    """(B, T) bool: does the byte after each position open a patch, the length limit apart?

    After BOS one always does. ids (B, T), entropies (B, T) in nats. Raises ValueError for a rule
    that is not in `PATCH_RULES`.

    >>> config = PatcherConfig(16, 1, 2, 24, rule="space")
    >>> ids = torch.tensor([vocab.encode("a bc")])
    >>> opens_by_rule(config, ids, torch.zeros(1, 5)).int().tolist()
    [[1, 0, 1, 0, 0]]
    """
    return rule_of(config)(config, ids, entropies) | (ids == vocab.BOS_ID)


surprising = opens_by_rule  # its first name


def next_opens(
    by_rule: Tensor,
    positions: Tensor,
    open_start: Tensor,
    max_patch_length: int | None,
) -> Tensor:
    """(B, T) bool: does the byte after each position open a patch, the length limit included?

    by_rule (B, T): what `opens_by_rule` says; positions (B, T); open_start (B,): where the patch
    was opened that holds the first of these positions. A limit of L cuts every L bytes after the
    latest boundary of the rule, so no loop is needed.

    >>> by_rule = torch.tensor([[True, False, False, False, True, False, False]])
    >>> next_opens(by_rule, torch.arange(7)[None], torch.tensor([0]), 2).int().tolist()
    [[1, 0, 1, 0, 1, 0, 1]]
    """
    if max_patch_length is None:
        return by_rule
    following = positions + 1
    anchor = torch.where(by_rule, following, open_start[:, None]).cummax(1).values
    is_full = (following - anchor) % max_patch_length == 0
    return by_rule | is_full


# -- patches ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patches:
    """Patches of ids (B, T).

    opens (B, T): does a position open a patch? next_opens (B, T): does the byte after it?
    valid (B, T): False at right padding.

    >>> ids = torch.tensor([vocab.encode("abc")])
    >>> patches = Patches.from_rule(ids, torch.tensor([[True, False, True, False]]))  # BOS | ab | c
    >>> patches.ids.tolist(), patches.lengths.tolist(), patches.starts.tolist()
    ([[0, 1, 1, 2]], [[1, 2, 1]], [[0, 1, 3]])
    >>> patches.reads.tolist()
    [[0, 0, 1, 1]]
    """

    opens: Tensor
    next_opens: Tensor
    valid: Tensor

    @classmethod
    def from_rule(cls, ids: Tensor, next_opens: Tensor) -> "Patches":
        """The patches of ids (B, T), -1 at padding, by next_opens (B, T).

        BOS opens a patch wherever it stands.
        """
        ids = send(ids, next_opens.device)
        opens = next_opens.roll(1, 1) | (ids == vocab.BOS_ID)
        opens[:, 0] = True
        valid = ids >= 0
        return cls(opens & valid, next_opens, valid)

    @property
    def ids(self) -> Tensor:
        """(B, T): which patch each byte belongs to (padding: the last)."""
        return self.opens.cumsum(1) - 1

    @property
    def reads(self) -> Tensor:
        """(B, T): the latent each byte reads: of the last patch closed before the next byte."""
        return self.ids - (~self.next_opens).long()

    @property
    def lengths(self) -> Tensor:
        """(B, P): bytes of each patch, zero-padded."""
        shape = len(self.opens), self.count
        counts = torch.zeros(shape, dtype=torch.long, device=self.opens.device)
        return counts.scatter_add(1, self.ids, self.valid.long())

    @property
    def starts(self) -> Tensor:
        """(B, P): where each patch begins; past the last patch, the length of the row."""
        lengths = self.lengths
        return lengths.cumsum(1) - lengths

    @property
    def count(self) -> int:
        """P, the most patches in a row."""
        return int(self.opens.sum(1).max())


def patch_text(
    config: PatcherConfig, model: EntropyModel, ids: Tensor, document: Tensor
) -> tuple[Patches, Tensor]:
    """`Patches` and entropies (B, T) in nats of whole texts, in memory for a piece of them.

    ids (B, T), -1 at padding; document (B, T) numbers the documents packed in a row. Raises
    ValueError where an entropy is not a number.
    """
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    known = ids.clamp_min(0)
    parts = []
    for piece, attend in over_pieces(document, config.window):
        logits = model(known[:, piece], positions[:, piece], attend)
        parts.append(entropy(logits))
    entropies = check_numbers(torch.cat(parts, 1), "the entropies")
    by_rule = opens_by_rule(config, ids, entropies)
    by_rule[:, 0] = True
    start = torch.zeros(len(ids), dtype=torch.long, device=ids.device)
    opens = next_opens(by_rule, positions, start, config.max_patch_length)
    return Patches.from_rule(ids, opens), entropies


class GrowingPatches:
    """The patches of one text as it grows and is cut back, in plain numbers.

    A decoding state has one for each row. `ids`, `entropies` and `reads` have one entry a position,
    `opens` one more: whether the next byte opens a patch is known. `starts` has the position where
    each patch begins, the one at the frontier included. `decoded` counts the positions that the
    decoder has committed to its cache.

    >>> patches = GrowingPatches(max_patch_length=3)
    >>> patches.append([1, 70, 71, 72], [2.0, 0.1, 0.1, 0.1], [True, False, False, False])
    >>> patches.starts, patches.opens, patches.reads
    ([0, 1, 4], [True, True, False, False, True], [0, 0, 0, 1])
    >>> patches.truncate(2)
    >>> patches.starts, patches.closed, patches.has_open
    ([0, 1], 1, True)
    """

    def __init__(self, max_patch_length: int | None = None):
        self.max_patch_length = max_patch_length
        self.ids: list[int] = []
        self.entropies: list[float] = []
        self.reads: list[int] = []
        self.opens = [True]
        self.starts = [0]
        self.decoded = 0

    @property
    def length(self) -> int:
        """Bytes so far, BOS included."""
        return len(self.ids)

    @property
    def closed(self) -> int:
        """How many patches are closed."""
        return len(self.starts) - 1

    @property
    def has_open(self) -> bool:
        """Does the open patch hold a byte?"""
        return self.starts[-1] < self.length

    def append(
        self, ids: Sequence[int], entropies: Sequence[float], by_rule: Sequence[bool]
    ) -> None:
        """Add bytes, the entropy after each, and whether the rule opens a patch after it."""
        # A state hands in padded rows: entropies and by_rule may go on past the ids.
        for i, nats, opens_next in zip(ids, entropies, by_rule, strict=False):
            self.ids.append(i)
            self.entropies.append(nats)
            opens_next = opens_next or self.length - self.starts[-1] == self.max_patch_length
            self.opens.append(opens_next)
            if opens_next:
                self.starts.append(self.length)
            self.reads.append(self.closed - 1)

    def truncate(self, length: int) -> None:
        """Forget everything past the first `length` bytes."""
        del self.ids[length:]
        del self.entropies[length:]
        del self.reads[length:]
        del self.opens[length + 1 :]
        while self.starts[-1] > length:
            self.starts.pop()
        self.decoded = min(self.decoded, length)


# -- thresholds -----------------------------------------------------------------------------------


def choose_threshold(
    config: PatcherConfig, entropies: Tensor, ids: Tensor, patch_length: float
) -> float:
    """The threshold in nats that gives a mean patch of `patch_length` bytes, to about 1 %.

    entropies, ids: (N, T), windows of text and the entropy of the byte after each position.
    It stands in the middle of the widest gap between entropies thereabouts, so that rounding moves
    no boundary.
    """
    entropies, ids = entropies.cpu(), ids.cpu()  # it looks at them some forty times
    low, high = 0.0, float(entropies.max())
    for _ in range(40):
        middle = (low + high) / 2
        if _mean_patch(replace(config, threshold=middle), entropies, ids) < patch_length:
            low = middle
        else:
            high = middle
    return _middle_of_widest_gap(entropies, middle)


def _mean_patch(config: PatcherConfig, entropies: Tensor, ids: Tensor) -> float:
    """Bytes a patch, by the rule of this config."""
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    start = torch.zeros(len(ids), dtype=torch.long)
    by_rule = opens_by_rule(config, ids, entropies)
    opens = next_opens(by_rule, positions, start, config.max_patch_length)
    return opens.numel() / opens.sum().item()


def _middle_of_widest_gap(entropies: Tensor, near: float) -> float:
    """The middle of the widest gap among the 0.4 % of the values that lie nearest to `near`."""
    values = entropies.flatten().sort().values
    at = int(torch.searchsorted(values, near))
    reach = 1 + len(values) // 500
    values = values[max(0, at - reach) : at + reach]
    gap = values.diff().argmax()
    return (values[gap] + values[gap + 1]).item() / 2


# -- the patches of one text, to look at -----------------------------------------------------------


@dataclass(frozen=True)
class TextPatches:
    """The patches of one text, as plain lists; iterating gives the bytes of each patch.

    lengths in bytes, and starts as positions, count BOS, which is at 0 and a patch of its own.
    entropies: nats after each position. next_opens: would another byte open a patch?
    """

    text: bytes
    lengths: list[int]
    starts: list[int]
    entropies: list[float]
    next_opens: bool

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(start, end) of each patch as byte offsets in the text; together they are the text."""
        starts = [start - 1 for start in self.starts[1:]]  # BOS left out
        return [
            (start, start + length) for start, length in zip(starts, self.lengths[1:], strict=True)
        ]

    def __iter__(self) -> Iterator[bytes]:
        return (self.text[start:end] for start, end in self.spans)


@memory.needed()
def patchify(model: Any, text: str | bytes, threshold: float | None = None) -> TextPatches:
    """The patches of a text under a `BLT`'s own entropy model and rule.

    threshold: in nats, instead of the model's own; `threshold_for` finds one. Raises TypeError for
    what is neither `str` nor `bytes`, ValueError for a threshold that is none.
    """
    data = vocab.to_bytes(text)
    ids = _ids_of(model, data)
    config = model.config.patcher
    if threshold is not None:
        config = with_threshold(config, threshold)
    with torch.no_grad():
        patches, entropies = patch_text(config, model.patcher, ids, torch.ones_like(ids))
    return TextPatches(
        data,
        patches.lengths[0].tolist(),
        patches.starts[0].tolist(),
        entropies[0].tolist(),
        bool(patches.next_opens[0, -1]),
    )


def threshold_for(model: Any, text: str | bytes, patch_length: float = 4.0) -> float:
    """The threshold in nats that cuts a text into patches of `patch_length` bytes on average.

    Under a `BLT`'s own entropy model; patches come within about 1 % of the length where the text
    allows it. Raises ValueError for an empty text, for a length below 1 byte, and for a model whose
    patches follow no threshold.
    """
    config = with_threshold(model.config.patcher, 0.0)
    if not 1 <= patch_length < float("inf"):
        raise ValueError(f"patch_length must be at least 1 byte, got {patch_length!r}")
    ids = _ids_of(model, vocab.to_bytes(text))
    if ids.shape[1] < 2:
        raise ValueError("threshold_for needs a text of at least one byte, got an empty one")
    with torch.no_grad():
        _, entropies = patch_text(config, model.patcher, ids, torch.ones_like(ids))
    return choose_threshold(config, entropies, ids, patch_length)


def with_threshold(config: PatcherConfig, threshold: float) -> PatcherConfig:
    """The config with another threshold, in nats.

    Raises ValueError for one that is not a number of at least 0, and for a rule without one.
    """
    if config.rule != "entropy":
        raise ValueError(f"a threshold is for the rule entropy, this model has {config.rule!r}")
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise ValueError(f"threshold must be a number of nats, got {threshold!r}")
    if not 0 <= threshold < float("inf"):
        raise ValueError(f"threshold must be at least 0 nats and finite, got {threshold!r}")
    return replace(config, threshold=float(threshold))


def _ids_of(model: Any, data: bytes) -> Tensor:
    """The ids of a text (1, T), BOS in front, where the model is."""
    device = next(model.parameters()).device
    return torch.tensor([vocab.encode(data)], device=device)
