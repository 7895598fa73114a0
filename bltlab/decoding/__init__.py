"""Decoding: `stream` runs a method round by round and decides where a text ends; `generate` is a fold of it.

|                                     | trust           | verify  |
| chain: decoder step by decoder step | autoregressive  | BLT-S   |
| unmask: denoise a block             | BLT-D           | BLT-DV  |
"""

from dataclasses import dataclass, fields, replace

from .. import vocab
from ..events import Committed, Event, Finished, Prefilled
from ..sampling import Pick
from ..state import RECORDS, DecodingState
from ..trace import Trace
from ..unmasking import format_rule
from .autoregressive import Autoregressive
from .block_diffusion import BlockDiffusion
from .diffusion_verification import DiffusionVerification
from .moves import accepted_length  # noqa: F401
from .self_speculation import SelfSpeculation

METHODS = {
    kind.name: kind
    for kind in (Autoregressive, SelfSpeculation, BlockDiffusion, DiffusionVerification)
}
PREFILL = 1024  # bytes of a prompt read at once: masks stay small


def method_of(method):
    """A method object from itself or its name. Raises ValueError or TypeError with what is accepted."""
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        return METHODS[method]()
    if isinstance(method, type) or not hasattr(method, "round"):
        raise TypeError(
            f"method must be a name or an object with a round, got {type(method).__name__}"
        )
    return method


class Stream:
    """An iterator of events that keeps what it has yielded: `traces` is right at any time, also after an interrupt."""

    def __init__(self, model, prompts, method, settings, record):
        self.model, self.prompts, self.method, self.settings, self.record = (
            model,
            prompts,
            method,
            settings,
            record,
        )
        self.state = None
        self.summary = {
            "name": model.name,
            "parameters": model.parameter_counts(),
            "threshold": model.config.patcher.threshold,
        }
        self._events = [[] for _ in prompts]
        self._running = self._run()

    def __iter__(self):
        return self

    def __next__(self):
        event = next(self._running)
        self._events[event.row].append(event)
        return event

    @property
    def seconds_by_part(self):
        """Seconds that each part took so far, prefill included."""
        return dict(self.state.seconds_by_part) if self.state else {}

    def close(self):
        """Stop here: rows that were not done are marked as interrupted, and nothing is lost."""
        self._running.close()
        for row, events in enumerate(self._events):
            if not events:  # not even the prompt was read
                events.append(Finished(row=row, position=1, reason="interrupted"))
            elif not isinstance(events[-1], Finished):
                text = [e for e in events if isinstance(e, (Prefilled, Committed))][-1]
                last = replace_stamp(events[-1])
                events.append(
                    Finished(
                        row=row,
                        position=text.position + len(text.ids),
                        reason="interrupted",
                        **last,
                    )
                )

    @property
    def traces(self):
        """One `Trace` a row, of the events so far."""
        method = {"name": self.method.name}
        for f in fields(self.method):
            value = getattr(self.method, f.name)
            method[f.name] = format_rule(value) if f.metadata.get("rule") else value
        return [
            Trace(self.summary, method, self.settings | {"seed": seed}, tuple(events))
            for events, seed in zip(self._events, self.settings["seed"])
        ]

    def _run(self):
        s = self.settings
        pick = Pick(s["temperature"], s["top_k"], s["top_p"], tuple(s["seed"]))
        longest = max(map(len, self.prompts)) + s["max_new_bytes"] + self.method.room
        self.state = state = DecodingState(self.model, len(self.prompts), longest, self.record)
        state.clock.start()
        for begin in range(0, max(map(len, self.prompts)), PREFILL):
            state.extend([p[begin : begin + PREFILL] for p in self.prompts])
        for b, row in enumerate(state.rows):
            yield from self._pause(
                Prefilled(
                    row=b,
                    ids=tuple(row.ids),
                    opens=tuple(row.opens[:-1]),
                    entropies=tuple(row.entropies),
                    **state.stamp(),
                )
            )
        live, new = list(range(len(self.prompts))), [b"" for _ in self.prompts]
        while live:
            ends = {}
            if s["max_new_bytes"] == 0:
                ends = {b: (state.rows[b].length, "budget") for b in live}
            else:
                for event in self.method.round(state, pick):
                    b = live[event.row]
                    if isinstance(event, Committed):
                        keep, reason = self._end(new[b], event.ids)
                        new[b] += vocab.decode(event.ids[:keep])
                        if reason:
                            ends[event.row] = event.position + keep, reason
                        if keep < len(event.ids):
                            event = replace(
                                event,
                                ids=event.ids[:keep],
                                opens=event.opens[:keep],
                                entropies=event.entropies[:keep],
                            )
                    if not (isinstance(event, Committed) and not event.ids):
                        yield from self._pause(event if event.row == b else replace(event, row=b))
            if ends:
                state.rollback(
                    [ends[r][0] if r in ends else row.length for r, row in enumerate(state.rows)]
                )
                for r, (position, reason) in ends.items():
                    yield from self._pause(
                        Finished(row=live[r], position=position, reason=reason, **state.stamp())
                    )
                keep = [r for r in range(len(live)) if r not in ends]
                live, pick = [live[r] for r in keep], pick.rows(keep)
                if live:
                    state.select(keep)
        state.clock.stop()

    def _pause(self, event):
        """Yield with the clock stopped: a slow viewer is not decoding time."""
        self.state.clock.stop()
        yield event
        self.state.clock.start()

    def _end(self, known, ids):
        """How many of newly committed ids stay, and why the text ends there (or None)."""
        budget = self.settings["max_new_bytes"] - len(known)
        eos = ids.index(vocab.EOS_ID) if vocab.EOS_ID in ids else len(ids)
        data = vocab.decode(ids[:eos])
        ends = [(budget, 1, "budget")] if len(data) >= budget else []
        if eos < len(ids) and eos < budget:
            ends.append((eos, 2, "eos"))
        for stop in self.settings["stop"]:
            stop = stop.encode("latin-1")
            at = (known + data).find(stop, max(0, len(known) - len(stop) + 1))
            if at >= 0:
                ends.append((at + len(stop) - len(known), 0, "stop"))
        keep, _, reason = min(ends, default=(len(ids), 0, None))
        return keep, reason


def replace_stamp(event):
    """The counters of an event, for one that follows it without work in between."""
    return {
        f.name: getattr(event, f.name) for f in fields(Event) if f.name not in ("row", "position")
    }


def stream(
    model,
    prompt,
    method="ar",
    *,
    max_new_bytes=128,
    temperature=0.0,
    top_k=0,
    top_p=1.0,
    seed=0,
    stop=(),
    record=True,
):
    """An iterator of events for one prompt, or for a list of prompts (row by row within a step).

    prompt: str, bytes or a list of either; BOS is put in front. method: a name ("ar", "blt-s", "blt-d", "blt-dv") or an
    object. max_new_bytes is exact; a text also ends at EOS or at any string of `stop`, which stays in it. seed: an int
    for all rows, or one per row. record: True for every event, "totals" leaves out probabilities and candidates, False
    keeps only the bytes. Raises ValueError or TypeError, before anything runs.
    """
    prompts = list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
    if not prompts:
        raise ValueError("prompt must be a text or a list with at least one, got an empty list")
    ids = [vocab.encode(p) for p in prompts]
    method = method_of(method).fit(model)
    if not (isinstance(max_new_bytes, int) and max_new_bytes >= 0):
        raise ValueError(f"max_new_bytes must be an int of at least 0, got {max_new_bytes!r}")
    if (need := max(map(len, ids)) + max_new_bytes) > model.config.max_length:
        raise ValueError(
            f"prompt and max_new_bytes need {need} bytes with BOS, "
            f"this model's max_length is {model.config.max_length}"
        )
    seeds = list(seed) if isinstance(seed, (list, tuple)) else [seed] * len(prompts)
    if len(seeds) != len(prompts) or not all(isinstance(s, int) and abs(s) < 2**63 for s in seeds):
        raise ValueError(
            f"seed must be a 64-bit int, or one for each of the {len(prompts)} prompts, got {seed!r}"
        )
    stops = [vocab.to_bytes(s) for s in ([stop] if isinstance(stop, (str, bytes)) else stop)]
    if not all(stops):
        raise ValueError("a stop string must not be empty")
    settings = dict(
        max_new_bytes=max_new_bytes,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seeds,
        stop=[s.decode("latin-1") for s in stops],
    )
    Pick(settings["temperature"], top_k, top_p)  # refuses values out of range now, not later
    if (record := {True: "all", False: ""}.get(record, record)) not in RECORDS:
        raise ValueError(f"record must be True, 'totals' or False, got {record!r}")
    return Stream(model, ids, method, settings, record)


@dataclass(frozen=True)
class Generation:
    """What `generate` returns: the new text and bytes, why it stopped ("eos", "budget", "stop", "interrupted"), the trace."""

    trace: Trace

    @property
    def bytes(self):
        return self.trace.bytes

    @property
    def text(self):
        """The new bytes as text; broken UTF-8 shows as U+FFFD."""
        return vocab.to_text(self.bytes)

    @property
    def stopped(self):
        return self.trace.events[-1].reason

    def __str__(self):
        return self.text

    def _repr_mimebundle_(self, include=None, exclude=None):
        return self.trace._repr_mimebundle_(include, exclude)


def generate(model, prompt, method="ar", **settings):
    """Run `stream` to its end: a `Generation`, or a list of them for a list of prompts. An interrupt keeps what there is."""
    events = stream(model, prompt, method, **settings)
    try:
        for _ in events:
            pass
    except KeyboardInterrupt:
        pass
    finally:
        events.close()
    generations = [Generation(trace) for trace in events.traces]
    return generations if isinstance(prompt, (list, tuple)) else generations[0]
