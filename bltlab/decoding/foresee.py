"""The foreseen chain: what `chain` would propose, byte for byte, in fewer decoder passes.

Every decoder pass does three things at once: it reads the bytes that are known and those that were
guessed, one after another as a chain would; it finds the next byte; and it denoises a block of
MASKs behind them. Where all guesses were right, the block holds the next ones; where one was wrong,
the chain goes on from the byte that the decoder wants there.

    known   T h e _ c                        pass 1 reads "c": finds "a", and denoises a block
    known   T h e _ c a                      behind "c", "at s": its "a" is known by now, the others
    guesses             t _ s                are guesses
    known   T h e _ c a t _ o                pass 2 reads "at s" causally, and finds "t", "_", "o":
    guesses                   ...            two agree, "o" is the decoder's own; pass 3 reads "o"

So a pass adds one byte at least, as a step of the chain does, and a whole block at best: a hopeless
guesser costs no pass more than the chain. Ours; the paper's drafts are chains or blocks. A draft
that is itself speculated on is the idea of TriForce (Sun et al., 2024); here all levels are one set
of weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .. import vocab
from ..events import Drafted, Event, Foreseen, Guessed
from ..sampling import Pick, check_picked
from ..state import DecodingState
from ..transfer import send, send_padded
from .moves import Proposing
from .proposal import Proposal, Rows, choose
from .telling import Told, Weighed, tell, weigh


@dataclass
class Row:
    """What is known of one row. known: its chain so far, the model's own byte first; probs of them.

    guesses: what the block says comes next, with the probabilities it gave them.
    """

    known: list[int] = field(default_factory=list)
    probs: list[Any] = field(default_factory=list)
    guesses: list[int] = field(default_factory=list)
    guess_probs: list[Any] = field(default_factory=list)

    def over(self, n: int) -> bool:
        """Is there an EOS among the first n bytes?"""
        return vocab.EOS_ID in self.known[:n]


def foresee(
    state: DecodingState,
    pick: Pick,
    draft_length: int,
    block_size: int,
    latent: str = "closed",
    min_confidence: float = 0.0,
) -> Proposing:
    """The model's own byte and `draft_length` guesses: the proposal of `chain` with these options.

    block_size: bytes that a pass guesses ahead, of a model with a diffusion head. Each row goes on
    at its own pace; a row that is through waits for the others.
    """
    run = Foresight(state, pick, draft_length + 1, block_size, latent, min_confidence)
    yield from run.begin()
    while run.length is None:
        yield from run.step()
    return run.proposal()


class Foresight:
    """One foreseen chain of `count` bytes under way.

    `length` is how many are proposed, once known.
    """

    def __init__(
        self,
        state: DecodingState,
        pick: Pick,
        count: int,
        block_size: int,
        latent: str,
        min_confidence: float,
    ):
        self.state, self.pick, self.count = state, pick, count
        self.block_size, self.latent, self.min_confidence = block_size, latent, min_confidence
        self.rows = [Row() for _ in state.rows]
        shape = state.batch_size, block_size
        self.masks = torch.full(shape, vocab.MASK_ID, device=state.device)
        self.length: int | None = None
        self._columns = 0  # how many columns were looked at by `_find_end`

    def begin(self) -> Iterator[Event]:
        """The model's own byte; where that waits for a decoder pass, a block is denoised in it."""
        state, denoised = self.state, None
        if state.has_pending and self.count > 1:
            denoised = state.denoise(self.masks, (), self.latent)  # (B, S, V)
        yield from self._look(state.logits[:, None], denoised)

    def step(self) -> Iterator[Event]:
        """One decoder pass: read the last byte known and the guesses, denoise a block behind.

        read     a t _ s       the last byte known, "a", and three guesses
        chosen   t _ o ?       what the chain writes behind each: two agree, "o" is known as well
        """
        state = self.state
        texts = [self._unread(row) for row in self.rows]
        counts = [len(text) for text in texts]
        ids = send_padded(texts, state.device)  # (B, T)
        block = self.masks if any(self._wants_more(row) for row in self.rows) else None
        read = state.draft(ids, self.latent, counts, every=True, block=block)
        logits, denoised = (read, None) if block is None else read  # (B, T, V), (B, S, V)
        yield from self._look(logits, denoised)

    def _look(self, logits: torch.Tensor, denoised: torch.Tensor | None) -> Iterator[Event]:
        """What a pass says: the bytes behind those that were read, and guesses behind them.

        logits (B, T, V) behind each byte read; denoised (B, S, V): a block behind them, if any.
        All is looked at at once.
        """
        chosen = self._chosen(logits)
        guessed = self._guesses(denoised, chosen)
        told, _ = tell(*(one for one in (chosen, guessed) if one is not None))
        check_picked(told[0].ids)
        agreed = self._agreed(told[0].ids)
        right = [n == len(row.guesses) for n, row in zip(agreed, self.rows, strict=True)]
        yield from self._foreseen(agreed)
        yield from self._take(told[0], agreed)
        self.state.rollback(self._scratch_ends())
        self._find_end()
        if guessed is not None and self.length is None:
            yield from self._guess(told[1], right)

    def _chosen(self, logits: torch.Tensor) -> Weighed:
        """What the chain writes behind each byte read, (B, T), of logits (B, T, V)."""
        known = [row.known + row.guesses for row in self.rows]
        begins = [len(row.known) for row in self.rows]
        ids = choose(self.state, self.pick, logits, begins, known)
        return weigh(self.state, ids, logits, always=self.min_confidence > 0)

    def _guesses(self, denoised: torch.Tensor | None, chosen: Weighed) -> Weighed | None:
        """What a block (B, S, V) says comes next where all guesses were right: (B, S - 1).

        Its first slot stands where the byte is known then; the others are the guesses.
        """
        if denoised is None or self.block_size < 2:
            return None
        counts = [len(row.guesses) + 1 for row in self.rows]
        begins = [len(row.known) + n for row, n in zip(self.rows, counts, strict=True)]

        def known() -> Rows:
            chains = zip(self.rows, chosen.ids.tolist(), counts, strict=True)
            return [row.known + ids[:n] for row, ids, n in chains]

        ids = choose(self.state, self.pick, denoised[:, 1:], begins, known)
        return weigh(self.state, ids, denoised[:, 1:])

    # -- what to read ----------------------------------------------------------------------------

    def _through(self, row: Row) -> bool:
        """Does a row need nothing more?"""
        return len(row.known) >= self.count or self._is_over(row, len(row.known))

    def _is_over(self, row: Row, n: int) -> bool:
        return self.state.stop_at_eos and row.over(n)

    def _unread(self, row: Row) -> list[int]:
        """The last known byte and the guesses behind it; nothing for a row that is through.

        Drops guesses that the row has no room for.
        """
        if self._through(row):
            row.guesses = []
            return []
        row.guesses = row.guesses[: self.count - len(row.known) - 1]
        return [row.known[-1], *row.guesses]

    def _wants_more(self, row: Row) -> bool:
        """Is a byte still to be guessed if all guesses so far are right?"""
        best = len(row.known) + len(row.guesses) + 1
        return not self._through(row) and best < self.count - 1

    def _scratch_ends(self) -> list[int]:
        """Where each row's scratch ends: before its last known byte, which is still to be read."""
        scratch = [len(row.known) - 1 for row in self.rows]
        held = self.state.scratch_lengths
        kept = [min(n, most) for n, most in zip(scratch, held, strict=True)]
        return [n + more for n, more in zip(self.state.lengths, kept, strict=True)]

    # -- what came of it -------------------------------------------------------------------------

    def _agreed(self, chosen: Rows) -> list[int]:
        """How many guesses of each row are what the chain would have written."""
        counts = []
        for row, wanted in zip(self.rows, chosen, strict=True):
            pairs = zip(row.guesses, wanted[: len(row.guesses)], strict=True)
            wrong = (at for at, (guess, want) in enumerate(pairs) if guess != want)
            counts.append(next(wrong, len(row.guesses)))
        return counts

    def _foreseen(self, agreed: Sequence[int]) -> Iterator[Event]:
        """One `Foreseen` for each row that had guesses."""
        if not self.state.record:
            return
        stamp = self.state.stamp()
        for number, (row, kept) in enumerate(zip(self.rows, agreed, strict=True)):
            if row.guesses:
                yield Foreseen(
                    row=number,
                    position=self.state.lengths[number] + len(row.known),
                    drafted=tuple(row.guesses),
                    accepted=kept,
                    draft_probs=tuple(row.guess_probs[: len(row.guesses)]),
                    **stamp,
                )

    def _take(self, told: Told, agreed: Sequence[int]) -> Iterator[Event]:
        """The guesses that agreed and the byte behind them are known now:

        one `Drafted` for each.
        """
        ids, probs, candidates = told.ids, told.probs, told.candidates
        stamp = self.state.stamp()
        for number, (row, kept) in enumerate(zip(self.rows, agreed, strict=True)):
            if row.known and self._through(row):
                continue
            begin = len(row.known)
            for n in range(kept + 1):
                row.known.append(ids[number][n])
                row.probs.append(probs[number][n])
                if self._is_over(row, len(row.known)):
                    break
            row.guesses, row.guess_probs = [], []
            if self.state.record:
                for n in range(len(row.known) - begin):
                    yield Drafted(
                        row=number,
                        position=self.state.lengths[number] + begin + n,
                        id=ids[number][n],
                        prob=probs[number][n],
                        candidates=candidates[number][n],
                        **stamp,
                    )

    def _guess(self, told: Told, right: Sequence[bool]) -> Iterator[Event]:
        """Take guesses in rows whose earlier ones were right."""
        stamp = self.state.stamp()
        for number, (row, valid) in enumerate(zip(self.rows, right, strict=True)):
            if not valid or self._through(row):
                continue
            row.guesses, row.guess_probs = told.ids[number], list(told.probs[number])
            wanted = self.count - len(row.known) - 1
            if self.state.record and wanted > 0:
                yield self._guessed(number, told.probs[number], told.candidates[number], stamp)

    def _guessed(
        self, number: int, probs: Sequence[Any], candidates: Sequence[Any], stamp: dict[str, Any]
    ) -> Event:
        """The guesses of one row, as far as they will be read."""
        row = self.rows[number]
        n = min(len(row.guesses), self.count - len(row.known) - 1)
        return Guessed(
            row=number,
            position=self.state.lengths[number] + len(row.known),
            block=tuple(row.guesses[:n]),
            probs=tuple(probs[:n]),
            candidates=tuple(candidates[:n]),
            **stamp,
        )

    # -- where it ends ---------------------------------------------------------------------------

    def _find_end(self) -> None:
        """Set `length` once it is known:

        where every row is over or unsure, as `chain` would stop.
        """
        while self.length is None and self._column_is_known(self._columns):
            n = self._columns
            if n == self.count - 1 or all(self._stops(row, n) for row in self.rows):
                self.length = n + 1
            self._columns += 1

    def _column_is_known(self, n: int) -> bool:
        return all(len(row.known) > n or self._is_over(row, n) for row in self.rows)

    def _stops(self, row: Row, n: int) -> bool:
        """Would the chain draft nothing more for a row behind its byte n?"""
        if self._is_over(row, n + 1):
            return True
        return bool(self.min_confidence and n > 0 and row.probs[n] < self.min_confidence)

    def proposal(self) -> Proposal:
        """What is known, as a chain proposes it: EOS all behind a first EOS."""
        n, device = self.length, self.state.device
        rows = [(row.known + [vocab.EOS_ID] * n)[:n] for row in self.rows]
        probs = None
        if self.state.record == "all" or self.min_confidence:
            filled = [(row.probs + [0.0] * n)[:n] for row in self.rows]
            probs = send(torch.tensor(filled), device)
        return Proposal(send(rows, device), probs, own=1, rows=rows)
