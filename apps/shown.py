"""What the page shows, as plain data by name of a component: traces, what ships, and what files and links ask for."""

import json
import time
from functools import lru_cache
from pathlib import Path
from secrets import token_hex

import gradio as gr
import tables
from controls import SETTINGS, Link, filled

import bltlab
from bltlab import checkpoints
from bltlab.decoding import METHODS
from bltlab.trace import Trace

ERRORS = (ValueError, TypeError, OSError)  # what bad options and files raise
VIEW = "bltlab.view/1"  # a saved view: {"schema", "link", "traces"}


def told(text, kind="info"):
    """A note at the foot of the window. `at` makes the same words news."""
    return dict(text=text, kind=kind, at=time.time())


def refused(error, kind="error"):
    return dict(note=told(f"That does not work: {error}", kind))


def lanes(traces, run=None, live=False, view=None):
    """The value of a player. run: pictures of one run share it, so that the player goes on instead of starting anew."""
    return dict(
        run=run or token_hex(4),
        live=live,
        view=view or {},
        traces=[trace.to_json() for trace in traces],
    )


def watched(trace, **more):
    """Everything that Watch shows of a trace."""
    return dict(
        watch=lanes([trace], **more),
        totals=tables.totals(trace),
        text=bltlab.vocab.to_text(trace.prompt + trace.bytes),
    )


def raced(traces, **more):
    """Everything that Race shows of some traces."""
    return dict(race=lanes(traces, **more), table=tables.compare(traces))


# -- what ships: something true moves before any weight is loaded --------------------------------------------------------


@lru_cache
def recorded():
    """The shipped traces by method, in the order of the methods."""
    traces = [Trace.load(path) for path in (checkpoints.assets() / "traces").glob("*.json")]
    return {name: t for name in METHODS for t in traces if t.method["name"] == name}


def shipped(*path):
    """A JSON file among the assets, or None where it does not ship."""
    file = checkpoints.assets().joinpath(*path)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def surveys():
    return dict(surveys=shipped("views", "patches.json") or [], view={})


def insides():
    return dict(data=shipped("views", "inside.json"), view={})


def tour():
    """The pages of the tour and the traces they show."""
    pages = shipped("tour", "pages.json") or []
    return dict(
        pages=pages,
        traces={name: shipped("tour", f"{name}.json") for page in pages for name in page["traces"]},
    )


def known(link):
    """The shipped traces that a link would decode again, or [] where one is missing."""
    found = [recorded().get(name) for name in link.methods]
    stop = [link.settings["stop"]] if link.settings.get("stop") else []
    settings = (
        {name: default for name, (_, _, default) in SETTINGS.items()}
        | link.settings
        | dict(stop=stop)
    )
    fits = lambda t: (
        t
        and t.prompt == link.prompt.encode()
        and t.model.get("name") == (link.model or t.model.get("name"))
        and all(t.settings.get(k) == v for k, v in settings.items())
        and all(t.method.get(k, v) == v for k, v in link.options.get(t.method["name"], {}).items())
    )
    return found if all(map(fits, found)) else []


# -- files and links -----------------------------------------------------------------------------------------------------


def filled_in(link, traces):
    """Values for the prompt, the decoders, the settings and the options, so that Decode would write this again."""
    if traces:  # as the traces say, where this page knows their methods
        if not all(t.method["name"] in METHODS for t in traces):
            return {}
        first = traces[0]
        link = Link(
            link.tab,
            bltlab.vocab.to_text(first.prompt),
            [t.method["name"] for t in traces],
            view=link.view,
            settings={k: v for k, v in first.settings.items() if k in SETTINGS and k != "stop"},
            options={
                t.method["name"]: {k: v for k, v in t.method.items() if k != "name"} for t in traces
            },
        )
        link.settings["stop"] = next(iter(first.settings.get("stop") or []), "")
    shown = {name: gr.update(value=value) for name, value in link.settings.items()}
    for name in link.methods:
        shown |= filled(name, link.options.get(name, {}))
    if link.methods:
        watch = link.tab == "watch"
        shown |= {"prompt" if watch else "race_prompt": link.prompt} | (
            dict(method=link.methods[0]) if watch else dict(racers=link.methods)
        )
    return shown


def read(path):
    """(traces, link) of a saved trace or view. Raises ValueError or OSError, in one sentence."""
    name = Path(path).name
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # `Trace.load` says what is wrong
        data = {}
    try:
        saved = isinstance(data, dict) and data.get("schema") == VIEW
        if saved and not isinstance(data.get("traces"), list):
            raise ValueError(f"{name} is not a saved view: it has no list of traces")
        traces = (
            [Trace.from_json(trace) for trace in data["traces"]] if saved else [Trace.load(path)]
        )
        return traces, data["link"] if isinstance(data.get("link"), str) else ""
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), name)) from None
