"""What the page and the API ask of one shared model.

Callbacks return {name of a component: its value}. No algorithm here.
"""

import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from secrets import token_hex
from typing import Any

import gradio as gr
import shown
from calls import AT_ONCE
from controls import build_method, gathered
from links import Link, branch_link, link_of, parse_link, read_link
from models import Models, Shown
from settings import SETTINGS, checked, short
from shown import ERRORS, LANES, refused, told
from turns import Turns, in_turn

import bltlab
from bltlab import inspection
from bltlab.clock import Pace
from bltlab.decoding import METHODS, Stream
from bltlab.trace import Finished, Trace

FRAME = 0.15  # seconds between pictures while decoding

Update = dict[Any, Any]  # {name of a component: its value}


def never() -> bool:
    """The answer of a decoding that nobody can stop."""
    return False


def frames(events: Stream, turns: Turns, stopped: Callable[[], bool] = never) -> Iterator[Trace]:
    """The trace of a decoding so far, every FRAME seconds, and at last the whole.

    They come less often where drawing is slow. stopped: asked after every event, so that Stop and a
    closed tab end it within the round under way. A decoding that nobody reads on is closed too.
    turns: for every event, so that others decode meanwhile.
    """
    try:
        pace = Pace(FRAME)
        for event in in_turn(events, turns):
            if stopped() or isinstance(event, Finished):
                break
            if pace.due():
                yield events.traces[0]
                pace.drawn()
        events.close()  # marks what is not finished as interrupted
        yield events.traces[0]
    finally:
        events.close()


def held(back: bool) -> Update:
    """The buttons that decode, held back or not."""
    return {name: gr.update(interactive=not back) for name in ("run", "race_run")}


class Demo:
    """The models, and what the visitors do with them, in turns.

    running: by visitor what ends their decoding, in the order of their clicks.
    line: whose calls wait, in their order; with the page's own, it knows those of the API too.
    """

    def __init__(self, models: Models | None = None) -> None:
        self.models = models or Models()
        self.turns = Turns()  # of decodings, a pass each
        self.looks = Turns()  # of what is looked at whole, beside them
        self.running: dict[str, threading.Event] = {}
        self.line: Callable[[], list[str]] = lambda: [*self.running][1:]
        self._clicks: Counter[str] = Counter()  # of visitors, that were not answered yet
        self._met: dict[str, tuple[float, int]] = {}  # when they first saw the line, and how long
        self._now: set[str] = set()  # the visitors whose decodings run
        self._took: deque[float] = deque([1.0], maxlen=8)  # seconds of the latest decodings

    @property
    def model(self) -> bltlab.BLT:
        """The model that the page opens with."""
        return self.models.get().model

    def shown(self, name: str) -> Shown:
        """A model by its name; the one that the page opens with where it offers no such name."""
        return self.models.get(name if name in self.models.names else None)

    def loading(self, *names: str) -> Iterator[Update]:
        """A note, if the weights of one of these models are still to be read."""
        for name in names:
            if name in self.models.names and not self.models.is_ready(name):
                yield dict(note=told(f"Loading {name} …"))

    def choose(self, name: str, text: str) -> Iterator[Update]:
        """The page for another model. text: what stands in Patches.

        Nothing can be decoded before the page is filled: what stands in it is the other model's.
        """
        try:
            yield held(True)
            yield from self.loading(name)
            yield dict(note=told("")) | shown.opening(self.models.get(name)) | held(False)
            if text:
                yield from self.survey(text, name)
        except ERRORS as error:
            yield refused(error) | held(False)

    # -- decoding

    def streams(self, link: Link) -> list[Stream]:
        """The decodings asked for, none of them begun. Raises ValueError or TypeError."""
        if not 1 <= len(link.methods) <= LANES:
            raise ValueError(f"a race needs 1 to {LANES} decoders, got {len(link.methods)}")
        settings = checked(link.prompt, link.settings)
        streams = []
        for model, name in link.lanes:
            method = build_method(name, link.options_of(name))
            streams.append(bltlab.stream(self.shown(model).model, link.prompt, method, **settings))
        return streams

    def ready(self, request: gr.Request) -> Update:
        """A click on Decode: from now on Stop means this one, also while it waits in the queue.

        What the same visitor asked for before ends.
        """
        self.halt(request)
        visitor = request.session_hash
        self.running.pop(visitor, None)
        self._met.pop(visitor, None)
        self.running[visitor] = threading.Event()
        self._clicks[visitor] += 1
        return dict(timer=gr.Timer(active=True))

    def halt(self, request: gr.Request) -> None:
        """A click on Stop."""
        if request.session_hash in self.running:
            self.running[request.session_hash].set()

    def leave(self, request: gr.Request) -> None:
        """A closed tab: what it asked for ends, or never begins."""
        self.halt(request)
        if request.session_hash not in self._now:
            self.running.pop(request.session_hash, None)
        self._clicks.pop(request.session_hash, None)
        self._met.pop(request.session_hash, None)

    def waiting(self, request: gr.Request) -> Update:
        """How many are before a visitor who waits, and for how long; nothing once it is their turn.

        They are asked for again and again.
        """
        visitor, order = request.session_hash, self.line()
        if visitor not in self.running or visitor in self._now:
            return dict(timer=gr.Timer(active=False))
        if visitor not in order:  # not yet in the queue, or just out of it
            return {}
        before = order.index(visitor) + 1
        seconds = before * self._seconds_each(visitor, before)
        people = "1 decoding is" if before == 1 else f"{before} decodings are"
        return dict(note=told(f"{people} before yours: it begins in about {seconds:.0f} s."))

    def _seconds_each(self, visitor: str, before: int) -> float:
        """How long a decoding takes: as the line moved since this visitor asked, if it did."""
        since, length = self._met.setdefault(visitor, (time.monotonic(), before))
        if before < length:
            return (time.monotonic() - since) / (length - before)
        return sum(self._took) / len(self._took) / AT_ONCE

    def decode(
        self,
        request: gr.Request,
        prompt: str | None,
        methods: str | list[str],
        models: str | list[str],
        *values: Any,
    ) -> Iterator[Update]:
        """Decode on Watch (methods and models: names) or Race (lists), and show it as it goes.

        In a race every model decodes with every method that it has. values: those of the settings,
        then of all controls. Where one is bad, a note says so and the page keeps what it shows.
        """
        link = Link("race", prompt or "")
        if isinstance(methods, str):
            link.tab, methods, models = "watch", [methods], [models]
        try:
            yield from self.loading(*models)
            lanes = self._race(models, methods)
        except ERRORS as error:
            yield self._refuse(request, error)
            return
        link.models, link.methods = [list(names) for names in zip(*lanes, strict=True)] or [[], []]
        link.settings = dict(zip(SETTINGS, values, strict=False))
        for name in link.methods:
            if name in METHODS:
                link.options[name] = gathered(name, values[len(SETTINGS) :])
        yield from self.show(request, link)

    def branch(self, request: gr.Request, choice: dict[str, Any] | None) -> Iterator[Update]:
        """Take a byte by hand in a trace that Watch shows, and go on from there beside it."""
        choice = choice or {}
        try:
            link, old = branch_link(choice)
        except ERRORS as error:
            yield self._refuse(request, error)
            return
        yield from self.show(request, link, old, choice.get("pace"))

    def _refuse(self, request: gr.Request, error: Exception) -> Update:
        """A note for a visitor whose decoding cannot begin."""
        self._clicks.pop(request.session_hash, None)
        self.running.pop(request.session_hash, None)
        return refused(error)

    def _race(self, models: list[str], methods: list[str]) -> list[tuple[str, str]]:
        """(model, method) of every lane: what a model cannot do is left out. Raises ValueError."""
        lanes, reasons = [], []
        for model in map(self.models.get, models):
            for method in methods:
                if method in model.reasons:
                    reasons.append(model.reasons[method])
                else:
                    lanes.append((model.name, method))
        if reasons and not lanes:
            raise ValueError(reasons[0])
        return lanes

    def show(
        self,
        request: gr.Request,
        link: Link,
        beside: Trace | None = None,
        pace: float | None = None,
    ) -> Iterator[Update]:
        """Decode with one method after the other, and yield what the tab shows.

        beside: a trace that stands before them, and its pace as the page knew it.
        """
        visitor, begin = request.session_hash, time.monotonic()
        self._clicks[visitor] -= 1
        if self._clicks[visitor] > 0:  # a later click of theirs is in the queue too
            return
        del self._clicks[visitor]
        stop = self.running.setdefault(visitor, threading.Event())
        self._now.add(visitor)
        try:
            yield from self.loading(*link.models)
            with self.turns, warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                streams = self.streams(link)
            notes = [f"Note: {w.message}." for w in warned if w.category is UserWarning]
            note = dict(note=told(" ".join(notes)))
            with self.turns:
                paces = [self.shown(name).pace() for name, _ in link.lanes]
            done = [] if beside is None else [beside]
            paces = [pace] * len(done) + paces
            for pictures in self._pictures(link, streams, stop, done, paces):
                yield note | pictures
        except ERRORS as error:
            yield refused(error)
        finally:
            self._now.discard(visitor)
            self._took.append(time.monotonic() - begin)
            if self.running.get(visitor) is stop:
                del self.running[visitor]

    def _pictures(
        self,
        link: Link,
        streams: list[Stream],
        stop: threading.Event,
        done: list[Trace],
        paces: list[float | None],
    ) -> Iterator[Update]:
        """What the tab shows while decodings run, one after the other. A stop ends them all.

        done: what stands before them. paces: of these and of the decodings.
        """
        run = token_hex(4)
        for events in streams:
            is_last = events is streams[-1]
            with closing(frames(events, self.turns, stop.is_set)) as traces:
                for trace in traces:
                    ended = isinstance(trace.events[-1], Finished)
                    live = not (ended and (is_last or stop.is_set()))
                    view = None if live else link.view
                    more = dict(run=run, live=live, view=view, pace=paces)
                    yield shown.played(link.tab, [*done, trace], **more)
            if trace.events[-1].reason == "interrupted":
                yield dict(note=told("Stopped: this is the trace so far."))
                return
            done.append(trace)

    # -- patches and the inside of the model

    def survey_of(self, text: str, model: str = "") -> dict[str, Any]:
        """The patches of a text, as plain data. Raises ValueError where it is too long."""
        checked, of = short(text), self.shown(model)
        with self.looks:
            return of.survey(checked)

    def look_at(self, text: str, seed: int = 0, model: str = "") -> dict[str, Any]:
        """What the model does with a short text, as plain data. Raises ValueError if it is long."""
        of = self.shown(model)
        with self.looks:
            return inspection.describe(of.model, text, seed=seed)

    def survey(self, text: str, model: str = "", view: dict | None = None) -> Iterator[Update]:
        """Patches of a text that was typed, before the shipped ones."""
        try:
            yield from self.loading(model)
            found = shown.surveys(self.shown(model))
            if text:
                mine = self.survey_of(text, model) | dict(typed=True)
                found = dict(surveys=[mine, *found["surveys"]], view=view or {})
            yield dict(patches=found, note=told(""))
        except ERRORS as error:
            yield refused(error)

    def look(self, text: str | None, model: str = "", view: dict | None = None) -> Iterator[Update]:
        """Inside the model, for a short text."""
        try:
            yield from self.loading(model)
            found = shown.insides(self.shown(model))
            if text:
                found = dict(typed=True, data=self.look_at(text, model=model), view=view or {})
            yield dict(inside=found, note=told(""))
        except ERRORS as error:
            yield refused(error)

    # -- files and links

    def opened(self, paths: list[str]) -> Update:
        """Saved traces and views from disk, or a note that says what is wrong with one."""
        try:
            traces, links = [], []
            for path in paths:
                found, query = shown.read(path)
                traces += found
                links.append(query)
            if len(traces) > LANES:
                raise ValueError(f"at most {LANES} traces can be shown together, got {len(traces)}")
            if traces:
                return self._opened_traces(traces, links)
            link = _link_or_none(links, read_link) or Link("watch")
            return self.restored(link) | dict(note=told(""))
        except ERRORS as error:
            return refused(error)

    def _opened_traces(self, traces: list[Trace], links: list[str]) -> Update:
        """Show some traces, and fill the controls as they were decoded, where this page can."""
        link = _link_or_none(links, parse_link)  # its method may be unknown here
        race = len(traces) > 1 or (link is not None and link.tab == "race")
        tab = "race" if race else "watch"
        what = dict(tabs=gr.Tabs(selected=tab), pending=None, note=told(""))
        try:
            what |= shown.filled_in(link_of(traces, tab))
        except ERRORS as error:
            what["note"] = told(f"Shown without controls: {shown.reason(error)}")
        return what | shown.played(tab, traces, view=link.view if link else None)

    def followed(self, query: str) -> Update:
        """What a link asks for, when the page opens; `pending` is what still has to be computed."""
        try:
            return self.restored(read_link(query)) if query else {}
        except ERRORS as error:
            return refused(error)

    def restored(self, link: Link) -> Update:
        """Everything that a link changes on the page."""
        if link.tab in ("watch", "race"):
            return self._restored_run(link)
        what = dict(tabs=gr.Tabs(selected=link.tab), pending=None)
        model = self._asked_for(link)
        if model.name != self.models.first:
            what |= shown.opening(model)
        if not link.prompt:
            return what | {link.tab: _shipped(link.tab, model) | dict(view=link.view)}
        if link.tab != "tour":
            box = dict(patches="patch_text", inside="inside_text")[link.tab]
            what[box] = link.prompt
        return what | dict(pending=asdict(link))

    def _restored_run(self, link: Link) -> Update:
        """What a link to Watch or Race changes: what ships is shown, the rest is pending."""
        what = dict(tabs=gr.Tabs(selected=link.tab), pending=None)
        model = self._asked_for(link)
        if model.name != self.models.first:
            what |= shown.opening(model)
        if link.methods:
            models = [self.shown(name) for name, _ in link.lanes]
            traces = shown.known(link, models)
            what["race_models"] = list(dict.fromkeys(model.name for model in models))
        else:
            traces = model.traces[-1:] if link.tab == "watch" else model.traces[:LANES]
        what |= shown.filled_in(link_of(traces, link.tab) if traces else link)
        if not traces:
            return what | dict(pending=asdict(link))
        more = dict(view=link.view, pace=shown.pace_of(traces, model.traces))
        return what | shown.played(link.tab, traces, **more)

    def _asked_for(self, link: Link) -> Shown:
        """The model that a link names, or that the page opens with."""
        return self.shown(next(iter(link.models), ""))

    def resume(self, request: gr.Request, pending: dict | None) -> Iterator[Update]:
        """Compute what a link asked for."""
        yield {}  # without any, Gradio would clear the page
        if not pending:
            return
        link = Link(**pending)
        if link.tab in ("watch", "race"):
            link.settings = link.all_settings
            yield from self.show(request, link)
        elif link.tab == "patches":
            yield from self.survey(link.prompt, self._asked_for(link).name, link.view)
        elif link.tab == "inside":
            yield from self.look(link.prompt, self._asked_for(link).name, link.view)
        for name in link.models:
            if name not in self.models.names:
                text = f"This link was made with {name}; this page runs {self.models.first}."
                yield dict(note=told(text))


def _shipped(tab: str, model: Shown) -> dict[str, Any]:
    """What a viewer shows before anybody asks."""
    if tab == "tour":
        return shown.tour()
    return shown.surveys(model) if tab == "patches" else shown.insides(model)


def _link_or_none(links: list[str], read: Callable[[str], Link]) -> Link | None:
    """The link of the one file that was opened, if it has one that can be read."""
    if len(links) == 1:
        with suppress(*ERRORS):
            return read(links[0])
    return None
