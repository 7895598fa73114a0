"""What the page and the API ask of one shared model.

Callbacks return {name of a component: its value}. No algorithm here.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from secrets import token_hex
from typing import Any

import gradio as gr
import shown
from controls import build_method, gathered
from links import Link, link_of, parse_link, read_link
from settings import SETTINGS, checked, short
from shown import ERRORS, refused, told

import bltlab
from bltlab import inspection
from bltlab.clock import Pace
from bltlab.decoding import METHODS, Stream
from bltlab.trace import Finished, Trace
from bltlab.viz import patches

FRAME = 0.15  # seconds between pictures while decoding
LANES = 6  # of a race, at most
LONGEST_REASON = 300  # characters of a note on a file, whose texts may be of any length

Update = dict[Any, Any]  # {name of a component: its value}


def never() -> bool:
    """The answer of a decoding that nobody can stop."""
    return False


def frames(events: Stream, stopped: Callable[[], bool] = never) -> Iterator[Trace]:
    """The trace of a decoding so far, every FRAME seconds, and at last the whole.

    They come less often where drawing is slow. stopped: asked after every event, so that Stop and a
    closed tab end it within the round under way. A decoding that nobody reads on is closed too.
    """
    try:
        pace = Pace(FRAME)
        for event in events:
            if stopped() or isinstance(event, Finished):
                break
            if pace.due():
                yield events.traces[0]
                pace.drawn()
        events.close()  # marks what is not finished as interrupted
        yield events.traces[0]
    finally:
        events.close()


class Demo:
    """The model, loaded when first needed, and what the visitors do with it.

    name: a shipped name, a folder or a hub id.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.running: dict[str, threading.Event] = {}  # session: what ends its decoding
        self._model: bltlab.BLT | None = None
        self._lock = threading.Lock()

    @property
    def model(self) -> bltlab.BLT:
        """The model; the first who asks waits until it is loaded."""
        with self._lock:
            if self._model is None:
                self._model = bltlab.BLT.from_pretrained(self.name)
            return self._model

    def loading(self) -> Iterator[Update]:
        """A note, if the weights are still to be read."""
        if self._model is None:
            yield dict(note=told(f"Loading {self.name} …"))

    # -- decoding

    def streams(self, link: Link) -> list[Stream]:
        """The decodings asked for, none of them begun. Raises ValueError or TypeError."""
        if not 1 <= len(link.methods) <= LANES:
            raise ValueError(f"a race needs 1 to {LANES} decoders, got {len(link.methods)}")
        settings = checked(link.prompt, link.settings)
        streams = []
        for name in link.methods:
            method = build_method(name, link.options_of(name))
            streams.append(bltlab.stream(self.model, link.prompt, method, **settings))
        return streams

    def ready(self, request: gr.Request) -> None:
        """A click on Decode: from now on Stop means this one, also while it waits in the queue."""
        self.running[request.session_hash] = threading.Event()

    def halt(self, request: gr.Request) -> None:
        """A click on Stop, or a closed tab."""
        if request.session_hash in self.running:
            self.running[request.session_hash].set()

    def decode(
        self, request: gr.Request, prompt: str | None, methods: str | list[str], *values: Any
    ) -> Iterator[Update]:
        """Decode on Watch (methods: a name) or Race (a list), and show it as it goes.

        values: those of the settings, then of all controls. Where one is bad, a note says so and
        the page keeps what it shows.
        """
        watch = isinstance(methods, str)
        link = Link("watch" if watch else "race", prompt or "")
        link.methods = [methods] if watch else list(methods)
        link.settings = dict(zip(SETTINGS, values, strict=False))
        for name in link.methods:
            if name in METHODS:
                link.options[name] = gathered(name, values[len(SETTINGS) :])
        yield from self.show(request, link)

    def show(self, request: gr.Request, link: Link) -> Iterator[Update]:
        """Decode with one method after the other, and yield what the tab shows."""
        stop = self.running.setdefault(request.session_hash, threading.Event())
        try:
            yield from self.loading()
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                streams = self.streams(link)
            notes = [f"Note: {w.message}." for w in warned if w.category is UserWarning]
            note = dict(note=told(" ".join(notes)))
            for pictures in self._pictures(link, streams, stop):
                yield note | pictures
        except ERRORS as error:
            yield refused(error)
        finally:
            self.running.pop(request.session_hash, None)

    def _pictures(
        self, link: Link, streams: list[Stream], stop: threading.Event
    ) -> Iterator[Update]:
        """What the tab shows while decodings run, one after the other. A stop ends them all."""
        run = token_hex(4)
        done = []
        for events in streams:
            is_last = events is streams[-1]
            with closing(frames(events, stop.is_set)) as traces:
                for trace in traces:
                    ended = isinstance(trace.events[-1], Finished)
                    live = not (ended and (is_last or stop.is_set()))
                    view = None if live else link.view
                    yield shown.played(link.tab, [*done, trace], run=run, live=live, view=view)
            if trace.events[-1].reason == "interrupted":
                yield dict(note=told("Stopped: this is the trace so far."))
                return
            done.append(trace)

    # -- patches and the inside of the model

    def survey_of(self, text: str) -> dict[str, Any]:
        """The patches of a text, as plain data. Raises ValueError where it is too long."""
        rule = self.model.config.patcher
        found = bltlab.patchify(self.model, short(text))
        return patches.survey(found, "your text", rule.threshold, rule.max_patch_length)

    def look_at(self, text: str, seed: int = 0) -> dict[str, Any]:
        """What the model does with a short text, as plain data. Raises ValueError if it is long."""
        return inspection.describe(self.model, text, seed=seed)

    def survey(self, text: str, view: dict | None = None) -> Iterator[Update]:
        """Patches of a text that was typed, before the shipped ones."""
        try:
            found = shown.surveys()
            if text:
                yield from self.loading()
                mine = self.survey_of(text) | dict(typed=True)
                found = dict(surveys=[mine, *found["surveys"]], view=view or {})
            yield dict(patches=found, note=told(""))
        except ERRORS as error:
            yield refused(error)

    def look(self, text: str | None, view: dict | None = None) -> Iterator[Update]:
        """Inside the model, for a short text."""
        try:
            yield from self.loading()
            found = dict(typed=True, data=self.look_at(text or ""), view=view or {})
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
            reason = str(error)[:LONGEST_REASON]
            what["note"] = told(f"Shown without controls: {reason}")
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
        if not link.prompt:
            shipped = dict(patches=shown.surveys, inside=shown.insides, tour=shown.tour)
            return what | {link.tab: shipped[link.tab]() | dict(view=link.view)}
        if link.tab != "tour":
            box = dict(patches="patch_text", inside="inside_text")[link.tab]
            what[box] = link.prompt
        return what | dict(pending=asdict(link))

    def _restored_run(self, link: Link) -> Update:
        """What a link to Watch or Race changes: what ships is shown, the rest is pending."""
        what = dict(tabs=gr.Tabs(selected=link.tab), pending=None)
        if link.methods:
            traces = shown.known(link)
        else:
            traces = list(shown.recorded().values())
            traces = traces[-1:] if link.tab == "watch" else traces
        what |= shown.filled_in(link_of(traces, link.tab) if traces else link)
        if not traces:
            return what | dict(pending=asdict(link))
        return what | shown.played(link.tab, traces, view=link.view)

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
            yield from self.survey(link.prompt, link.view)
        elif link.tab == "inside":
            yield from self.look(link.prompt, link.view)
        name = self._model.name if self._model else Path(self.name).name
        if link.model and link.model != name:
            yield dict(note=told(f"This link was made with {link.model}; this page runs {name}."))


def _link_or_none(links: list[str], read: Callable[[str], Link]) -> Link | None:
    """The link of the one file that was opened, if it has one that can be read."""
    if len(links) == 1:
        with suppress(*ERRORS):
            return read(links[0])
    return None
