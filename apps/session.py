"""What the page and the API ask of one shared model. Callbacks return {name of a component: its value}; no algorithm here."""

import threading
import warnings
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from secrets import token_hex

import gradio as gr
import shown
from controls import SETTINGS, Link, build_method, checked, gathered, read_link, short
from shown import ERRORS, refused, told

import bltlab
from bltlab import inspection
from bltlab.clock import Pace
from bltlab.decoding import METHODS
from bltlab.trace import Finished
from bltlab.viz import patches

FRAME = 0.15  # seconds between pictures while decoding
LANES = 4  # of a race, at most


# -- decoding ------------------------------------------------------------------------------------------------------------


def frames(events, stopped=lambda: False):
    """The trace of a decoding every FRAME seconds (less often where drawing is slow), at last the whole; then it is closed.

    stopped: asked after every event, so that Stop and a closed tab end it within the round under way.
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
    """The model, loaded when first needed, and what the visitors do with it."""

    def __init__(self, name):
        self.name, self._model, self._lock = name, None, threading.Lock()
        self.running = {}  # session: the event that ends its decoding

    @property
    def model(self):
        with self._lock:
            if self._model is None:
                self._model = bltlab.BLT.from_pretrained(self.name)
            return self._model

    def loading(self):
        """A note, if the weights are still to be read."""
        if self._model is None:
            yield dict(note=told(f"Loading {self.name} …"))

    def streams(self, prompt, methods, settings, options):
        """The decodings asked for, none of them begun. Raises ValueError or TypeError."""
        if not 1 <= len(methods) <= LANES:
            raise ValueError(f"a race needs 1 to {LANES} decoders, got {len(methods)}")
        settings = checked(prompt, settings)
        return [
            bltlab.stream(self.model, prompt, build_method(name, options.get(name, {})), **settings)
            for name in methods
        ]

    # -- the page

    def ready(self, request: gr.Request):
        """A click on Decode: from now on Stop means this one, also while it waits in the queue."""
        self.running[request.session_hash] = threading.Event()

    def halt(self, request: gr.Request):
        """A click on Stop, or a closed tab."""
        if request.session_hash in self.running:
            self.running[request.session_hash].set()

    def decode(self, request: gr.Request, prompt, methods, *values):
        """Decode on Watch or Race, and show it as it goes. values: those of the settings, then of all controls.

        Bad options come back as a note, and nothing is lost.
        """
        tab, methods = ("watch", [methods]) if isinstance(methods, str) else ("race", list(methods))
        settings = dict(zip(SETTINGS, values))
        options = {
            name: gathered(name, values[len(SETTINGS) :]) for name in methods if name in METHODS
        }
        yield from self.show(request, tab, prompt or "", methods, settings, options)

    def show(self, request, tab, prompt, methods, settings, options, view=None):
        """Decode with one method after the other, and yield what the tab shows; a stopped one is the last."""
        stop, run, done = (
            self.running.setdefault(request.session_hash, threading.Event()),
            token_hex(4),
            [],
        )
        try:
            yield from self.loading()
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                streams = self.streams(prompt, methods, settings, options)
            note = dict(
                note=told(
                    " ".join(f"Note: {w.message}." for w in warned if w.category is UserWarning)
                )
            )
            for events in streams:
                with closing(frames(events, stop.is_set)) as traces:
                    for trace in traces:
                        live = (
                            not isinstance(trace.events[-1], Finished)
                            or events is not streams[-1]
                            and not stop.is_set()
                        )
                        look = dict(run=run, live=live, view=None if live else view)
                        yield note | (
                            shown.watched(trace, **look)
                            if tab == "watch"
                            else shown.raced([*done, trace], **look)
                        )
                if trace.events[-1].reason == "interrupted":
                    yield dict(note=told("Stopped: this is the trace so far."))
                    break
                done.append(trace)
        except ERRORS as error:
            yield refused(error)
        finally:
            self.running.pop(request.session_hash, None)

    def survey_of(self, text):
        """The patches of a text, as plain data."""
        rule = self.model.config.patcher
        return patches.survey(
            bltlab.patchify(self.model, short(text)),
            "your text",
            rule.threshold,
            rule.max_patch_length,
        )

    def look_at(self, text, seed=0):
        """What the model does with a short text, as plain data."""
        return inspection.describe(self.model, text, seed=seed)

    def survey(self, text, view=None):
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

    def look(self, text, view=None):
        """Inside the model, for a short text."""
        try:
            yield from self.loading()
            yield dict(
                inside=dict(typed=True, data=self.look_at(text or ""), view=view or {}),
                note=told(""),
            )
        except ERRORS as error:
            yield refused(error)

    # -- files and links

    def opened(self, paths):
        """Saved traces and views from disk, or the reason why one is none."""
        try:
            files = [shown.read(path) for path in paths]
            traces = [trace for found, _ in files for trace in found]
            if len(traces) > LANES:
                raise ValueError(f"at most {LANES} traces can be shown together, got {len(traces)}")
            link = Link("watch")
            with suppress(*ERRORS):  # a trace is shown even if its link is none
                link = read_link(files[0][1]) if len(files) == 1 else link
            if traces:
                link.tab = "race" if len(traces) > 1 or link.tab == "race" else "watch"
            return self.restored(link, traces) | dict(note=told(""))
        except ERRORS as error:
            return refused(error)

    def followed(self, query):
        """What a link asks for, when the page opens; `pending` is what still has to be computed."""
        try:
            return self.restored(read_link(query)) if query else {}
        except ERRORS as error:
            return refused(error)

    def restored(self, link, traces=()):
        """Everything that a link, or some traces from a file, change on the page."""
        what, watch = dict(tabs=gr.Tabs(selected=link.tab), pending=None), link.tab == "watch"
        if link.tab in ("watch", "race"):
            first = [] if link.methods else list(shown.recorded().values())[-1 if watch else 0 :]
            traces = traces or shown.known(link) or first
            with suppress(*ERRORS):  # a trace from elsewhere may not fit the controls
                what |= shown.filled_in(link, traces)
            if traces:
                return what | (
                    shown.watched(traces[0], view=link.view)
                    if watch
                    else shown.raced(traces, view=link.view)
                )
        elif not link.prompt:
            data = dict(patches=shown.surveys, inside=shown.insides, tour=shown.tour)[link.tab]()
            return what | {link.tab: data | dict(view=link.view)}
        elif link.tab != "tour":
            what[dict(patches="patch_text", inside="inside_text")[link.tab]] = link.prompt
        return what | dict(pending=asdict(link))

    def resume(self, request: gr.Request, pending):
        """Compute what a link asked for."""
        yield {}  # without any, Gradio would clear the page
        link = Link(**pending or dict(tab="none"))
        if link.tab in ("watch", "race"):
            settings = {name: default for name, (_, _, default) in SETTINGS.items()} | link.settings
            yield from self.show(
                request, link.tab, link.prompt, link.methods, settings, link.options, link.view
            )
        elif link.tab in ("patches", "inside"):
            yield from (self.survey if link.tab == "patches" else self.look)(link.prompt, link.view)
        name = self._model.name if self._model else Path(self.name).name
        if link.model and link.model != name:
            yield dict(note=told(f"This link was made with {link.model}; this page runs {name}."))
