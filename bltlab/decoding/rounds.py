"""`stream` runs a method, round by round, and decides where a text ends; `generate` folds it."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from types import GeneratorType
from typing import Any, cast

import torch

from .. import memory, vocab
from ..events import Committed, Event, Finished, Prefilled
from ..model import BLT
from ..options import plain_number
from ..sampling import Pick
from ..state import RECORDS, DecodingState
from ..trace import Trace
from .method import fitted, header_of, lookahead_of

PREFILL = 1024  # bytes of a prompt read at once: masks stay small

End = tuple[int, str]  # where a row ends, and why


class Stream:
    """An iterator of events that keeps what it has yielded: `traces` is right at any time.

    prompts: ids of each row; settings: as `stream` checked them. Rows that have ended leave the
    batch; events carry the number that their row had at the start.
    """

    def __init__(
        self,
        model: BLT,
        prompts: list[list[int]],
        method: Any,
        settings: dict[str, Any],
        record: str,
    ):
        self.model, self.prompts, self.method = model, prompts, method
        self.settings, self.record = settings, record
        self.state: DecodingState | None = None
        self.summary = {
            "name": model.name,
            "parameters": model.parameter_counts(),
            "threshold": model.config.patcher.threshold,
        }
        self._pick = Pick(
            settings["temperature"],
            settings["top_k"],
            settings["top_p"],
            tuple(settings["seed"]),
            settings.get("no_repeat_ngram_bytes", 0),
        )
        self._live = list(range(len(prompts)))  # numbers of the rows that go on
        self._new = [b"" for _ in prompts]  # what each has written
        self._events: list[list[Event]] = [[] for _ in prompts]
        self._running = self._run()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with torch.inference_mode():
            event = next(self._running)
        self._events[event.row].append(event)
        return event

    @property
    def seconds_by_part(self) -> dict[str, float]:
        """Seconds that each part took so far, prefill included."""
        return dict(self.state.seconds_by_part) if self.state else {}

    @property
    def traces(self) -> list[Trace]:
        """One `Trace` a row, of the events so far."""
        header = header_of(self.method)
        return [
            Trace(self.summary, header, self.settings | {"seed": seed}, tuple(events))
            for events, seed in zip(self._events, self.settings["seed"], strict=True)
        ]

    def close(self) -> None:
        """Stop here: rows that were not done are marked as interrupted, and nothing is lost."""
        with torch.inference_mode():  # as it ran
            self._running.close()
        for row, events in enumerate(self._events):
            if not events:  # not even the prompt was read
                events.append(Finished(row=row, position=1, reason="interrupted"))
            elif not isinstance(events[-1], Finished):
                text = [e for e in events if isinstance(e, (Prefilled, Committed))][-1]
                end = text.position + len(text.ids)
                stamp = stamp_of(events[-1])
                events.append(Finished(row=row, position=end, reason="interrupted", **stamp))

    # -- one run ---------------------------------------------------------------------------------

    def _run(self) -> Generator[Event, None, None]:
        longest = max(map(len, self.prompts)) + self.settings["max_new_bytes"]
        longest += lookahead_of(self.method)
        rows = len(self.prompts)
        self.state = DecodingState(self.model, rows, longest, self.record, stop_at_eos=True)
        self.state.clock.start()
        yield from self._prefill()
        while self._live:
            ends = yield from self._round()
            if ends:
                yield from self._retire(ends)
        self.state.clock.stop()

    def _prefill(self) -> Iterator[Event]:
        """Read the prompts, in pieces."""
        for begin in range(0, max(map(len, self.prompts)), PREFILL):
            self.state.extend([prompt[begin : begin + PREFILL] for prompt in self.prompts])
        for number, row in enumerate(self.state.rows):
            yield from self._pause(
                Prefilled(
                    row=number,
                    ids=tuple(row.ids),
                    opens=tuple(row.opens[:-1]),
                    entropies=tuple(row.entropies),
                    **self.state.stamp(),
                )
            )

    def _round(self) -> Generator[Event, None, dict[int, End]]:
        """One round of the method over all rows that go on; returns {row of the batch: its end}."""
        if self.settings["max_new_bytes"] == 0:
            return {at: (row.length, "budget") for at, row in enumerate(self.state.rows)}
        ends: dict[int, End] = {}
        moved = set()
        for event in self._moves():
            if isinstance(event, Committed):
                moved.add(event.row)
                event = self._trimmed(event, ends)
                if not event.ids:
                    continue
            yield from self._pause(replace_row(event, self._live[event.row]))
        if len(moved) < len(self._live):
            raise ValueError(f"method {self.method.name!r} committed nothing in a round")
        return ends

    def _moves(self) -> Iterator[Event]:
        """The events of a round. Raises TypeError for a round that is no generator of events."""
        events = self.method.round(self.state, self._pick)
        if not isinstance(events, (GeneratorType, Iterator)):  # the first is a cheap check
            raise TypeError(
                f"round of method {self.method.name!r} must yield events, got"
                f" {type(events).__name__}"
            )
        return events

    def _trimmed(self, event: Committed, ends: dict[int, End]) -> Committed:
        """What stays of newly committed bytes; notes in `ends` where the row ends with them.

        Raises ValueError where nothing was committed.
        """
        if not event.ids:
            raise ValueError(f"method {self.method.name!r} committed nothing in a round")
        number = self._live[event.row]
        keep, reason = self._end(self._new[number], event.ids)
        self._new[number] += vocab.decode(event.ids[:keep])
        if reason:
            ends[event.row] = event.position + keep, reason
        if keep == len(event.ids):
            return event
        opens, entropies = event.opens[:keep], event.entropies[:keep]
        return replace(event, ids=event.ids[:keep], opens=opens, entropies=entropies)

    def _retire(self, ends: dict[int, End]) -> Iterator[Event]:
        """Roll the rows that end back to their ends, and let the others close ranks."""
        lengths = self.state.lengths
        for at, (position, _) in ends.items():
            lengths[at] = position
        self.state.rollback(lengths)
        for at, (position, reason) in ends.items():
            stamp, number = self.state.stamp(), self._live[at]
            yield from self._pause(Finished(row=number, position=position, reason=reason, **stamp))
        keep = [at for at in range(len(self._live)) if at not in ends]
        self._live, self._pick = [self._live[at] for at in keep], self._pick.rows(keep)
        if keep:
            self.state.select(keep)

    def _pause(self, event: Event) -> Iterator[Event]:
        """Yield with the clock stopped: a slow viewer is not decoding time."""
        self.state.clock.stop()
        yield event
        self.state.clock.start()

    def _end(self, known: bytes, ids: Sequence[int]) -> tuple[int, str | None]:
        """How many of newly committed ids stay, and why the text ends there (or None)."""
        budget, stops = self.settings["max_new_bytes"] - len(known), self.settings["stop"]
        if len(ids) < budget and vocab.EOS_ID not in ids and not stops:
            return len(ids), None
        eos = ids.index(vocab.EOS_ID) if vocab.EOS_ID in ids else len(ids)
        data = vocab.decode(ids[:eos])
        ends = []  # (bytes kept, rank where several fall together, reason)
        if len(data) >= budget:
            ends.append((budget, 1, "budget"))
        if eos < len(ids) and eos < budget:
            ends.append((eos, 2, "eos"))
        for stop in stops:
            end = _end_of_stop(known, data, stop.encode("latin-1"))
            if end is not None:
                ends.append((end, 0, "stop"))
        keep, _, reason = min(ends, default=(len(ids), 0, None))
        return keep, reason


def _end_of_stop(known: bytes, new: bytes, stop: bytes) -> int | None:
    """Where in `new` a stop string ends that began there or in the bytes before; None without one.

    >>> _end_of_stop(b"ab", b"cd", b"bc")
    1
    """
    at = (known + new).find(stop, max(0, len(known) - len(stop) + 1))
    return None if at < 0 else at + len(stop) - len(known)


def replace_row(event: Event, row: int) -> Event:
    """The event under another row number."""
    return event if event.row == row else replace(event, row=row)


def stamp_of(event: Event) -> dict[str, Any]:
    """The counters of an event, for one that follows it without work in between."""
    names = [f.name for f in fields(Event) if f.name not in ("row", "position")]
    return {name: getattr(event, name) for name in names}


# -- what users call -----------------------------------------------------------------------------


def stream(
    model: BLT,
    prompt: str | bytes | Sequence[str | bytes],
    method: Any = "ar",
    *,
    max_new_bytes: int = 128,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    stop: str | bytes | Sequence[str | bytes] = (),
    record: bool | str = True,
    no_repeat_ngram_bytes: int = 0,
) -> Stream:
    """An iterator of events for one prompt, or for a list of prompts (row by row within a step).

    prompt: str, bytes or a list of either; BOS is put in front. method: a name of `METHODS` ("ar",
    "blt-s" and so on), a name with options ("blt-d,block_size=4"), "module:Class" or an object.
    max_new_bytes is exact; a text also ends at EOS, which is not in it, or at any string of `stop`,
    which is. seed: an int for all rows, or one for each. record: True for every event, "totals"
    leaves out probabilities and candidates, False keeps only the bytes. Raises ValueError or
    TypeError before anything runs.

    At temperature 0 long text soon goes in circles: that is for answers, for comparing and for
    short texts. For open text, sample (temperature 0.7 to 1), or forbid repeats:
    no_repeat_ngram_bytes=n writes no run of n bytes that prompt and text hold already, at the price
    of a word broken here and there: more of them below 20 or so (0 forbids nothing). Lossless
    methods stay lossless; in a block, BLT-D minds only what stands unmasked in front of a byte.
    """
    prompts: list[Any] = list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
    if not prompts:
        raise ValueError("prompt must be a text or a list with at least one, got an empty list")
    ids = [_ids_of(p) for p in prompts]
    method = fitted(method, model)
    max_new_bytes = plain_number(max_new_bytes)
    _check_budget(model, ids, max_new_bytes)
    pick = Pick(  # refuses values out of range now, not later
        temperature, top_k, top_p, no_repeat_ngram_bytes=no_repeat_ngram_bytes
    )
    settings = dict(
        max_new_bytes=max_new_bytes,
        temperature=pick.temperature,
        top_k=pick.top_k,
        top_p=pick.top_p,
        seed=_seeds(seed, len(prompts)),
        stop=_stops(stop),
    )
    if pick.no_repeat_ngram_bytes:
        settings["no_repeat_ngram_bytes"] = pick.no_repeat_ngram_bytes
    if isinstance(record, bool):
        record = "all" if record else ""
    if not isinstance(record, str) or record not in RECORDS:
        raise ValueError(f"record must be True, 'totals' or False, got {record!r}")
    return Stream(model, ids, method, settings, record)


def _ids_of(prompt: Any) -> list[int]:
    """A prompt's ids. Raises TypeError for what is no text."""
    text = bytes(prompt) if isinstance(prompt, bytearray) else prompt
    if not isinstance(text, (str, bytes)):
        raise TypeError(
            f"prompt must be str or bytes, or a list of them, got {type(prompt).__name__}"
        )
    return vocab.encode(text)


def _check_budget(model: BLT, ids: list[list[int]], max_new_bytes: Any) -> None:
    if not (type(max_new_bytes) is int and max_new_bytes >= 0):
        raise ValueError(f"max_new_bytes must be an int of at least 0, got {max_new_bytes!r}")
    need, most = max(map(len, ids)) + max_new_bytes, model.config.max_length
    if need > most:
        raise ValueError(
            f"prompt and max_new_bytes need {need} bytes with BOS,"
            f" this model's max_length is {most}"
        )


def _seeds(seed: Any, rows: int) -> list[int]:
    """One seed for each row. Raises ValueError."""
    given = seed if isinstance(seed, (list, tuple)) else [seed] * rows
    seeds = [plain_number(one) for one in given]
    whole = all(type(s) is int and abs(s) < 2**63 for s in seeds)
    if len(seeds) != rows or not whole:
        raise ValueError(
            f"seed must be a 64-bit int, or one for each of the {rows} prompts, got {seed!r}"
        )
    return seeds


def _stops(stop: Any) -> list[str]:
    """Stop strings, each byte as one character.

    Raises ValueError for an empty one, TypeError for what is no text and no list of them.
    """
    given = [stop] if isinstance(stop, (str, bytes)) else stop
    if not isinstance(given, Iterable):
        raise TypeError(f"stop must be a text or a list of them, got {type(stop).__name__}")
    stops = [vocab.to_bytes(s) for s in given]
    if not all(stops):
        raise ValueError("a stop string must not be empty")
    return [s.decode("latin-1") for s in stops]


@dataclass(frozen=True)
class Generation:
    """What `generate` returns: new text and bytes, why it stopped, and the trace of every step."""

    trace: Trace

    @property
    def bytes(self) -> bytes:
        """The new bytes."""
        return self.trace.bytes

    @property
    def text(self) -> str:
        """The new bytes as text; broken UTF-8 shows as U+FFFD."""
        return vocab.to_text(self.bytes)

    @property
    def stopped(self) -> str:
        """Why it ended: "eos", "budget", "stop" or "interrupted"."""
        return cast(Finished, self.trace.events[-1]).reason

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return self.trace._repr_mimebundle_(include, exclude)


@memory.needed()
def generate(
    model: BLT,
    prompt: str | bytes | Sequence[str | bytes],
    method: Any = "ar",
    *,
    max_new_bytes: int = 128,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    stop: str | bytes | Sequence[str | bytes] = (),
    record: bool | str = True,
    no_repeat_ngram_bytes: int = 0,
) -> Any:
    """Run `stream` to its end: a `Generation`, or a list of them for a list of prompts.

    The arguments are those of `stream`, which says when to sample. An interrupt keeps what there
    is.
    """
    settings: dict[str, Any] = dict(
        max_new_bytes=max_new_bytes,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop,
        record=record,
        no_repeat_ngram_bytes=no_repeat_ngram_bytes,
    )
    try:
        events = stream(model, prompt, method, **settings)
    except KeyboardInterrupt:  # before there is anything to run: an empty text says so
        events = stream(model, prompt, method, **settings)
        events.close()
    try:
        for _ in events:
            pass
    except KeyboardInterrupt:
        pass
    finally:
        events.close()
    generations = [Generation(trace) for trace in events.traces]
    return generations if isinstance(prompt, (list, tuple)) else generations[0]
