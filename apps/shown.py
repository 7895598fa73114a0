"""What the page shows, as plain data by component: traces, what ships, files and links."""

import inspect
import json
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import gradio as gr
import tables
from controls import filled
from links import Link, link_of
from models import Shown
from settings import defaults

import bltlab
from bltlab import checkpoints
from bltlab.decoding import METHODS
from bltlab.trace import Trace
from bltlab.viz import site
from bltlab.viz.site import pace_of

ERRORS = (ValueError, TypeError, OSError)  # what bad options and files raise
LANES = 6  # of a race, at most
PLAIN = (  # to who decodes with a model that did not learn blocks
    "Nor was this model taught to guess ahead, so BLT-S may cost more than it saves."
    " With the option min confidence at 0.3 it guesses only where it is sure."
)
LONGEST_REASON = 300  # characters of a note on what was sent, which may be of any length
VIEW = "bltlab.view/1"  # a saved view: {"schema", "link", "traces"}


def told(text: str, kind: str = "info") -> dict[str, Any]:
    """A note at the foot of the window. `at` makes the same words news."""
    return dict(text=text, kind=kind, at=time.time())


def reason(error: Exception) -> str:
    """What an error says, cut where it repeats a long input.

    >>> len(reason(ValueError("x" * 1000)))
    300
    """
    text = str(error)
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 2]} …"


def refused(error: Exception) -> dict[str, Any]:
    """The one note that bad input leads to; all else on the page stays."""
    return dict(note=told(f"That does not work: {reason(error)}", "error"))


def lanes(
    traces: list[Trace],
    run: str | None = None,
    live: bool = False,
    view: dict | None = None,
    pace: Sequence[float | None] = (),
) -> dict[str, Any]:
    """The value of a player.

    run: the values of one run share it, so that the player goes on instead of starting anew.
    live: more is to come. view: where the player stands, from a link.
    pace: for each trace, the seconds a byte that autoregression took when it was made.
    """
    shown = [trace.to_json() for trace in traces]
    return dict(run=run or token_hex(4), live=live, view=view or {}, pace=[*pace], traces=shown)


def watched(*traces: Trace, **more: Any) -> dict[str, Any]:
    """Everything that Watch shows of a trace, the last; before it that of which it is a branch.

    more: as `lanes` takes it.
    """
    trace = traces[-1]
    return dict(
        watch=lanes([*traces], **more),
        totals=tables.totals(trace),
        text=bltlab.vocab.to_text(trace.prompt + trace.bytes),
    )


def raced(traces: list[Trace], **more: Any) -> dict[str, Any]:
    """Everything that Race shows of some traces. more: as `lanes` takes it."""
    return dict(race=lanes(traces, **more), table=tables.compare(traces))


def played(tab: str, traces: list[Trace], **more: Any) -> dict[str, Any]:
    """Everything that Watch, or Race, shows of some traces."""
    return watched(*traces, **more) if tab == "watch" else raced(traces, **more)


# -- what a model shows before anything is asked ---------------------------------------------------


def opening(model: Shown) -> dict[Any, Any]:
    """Everything on the page that a model decides: what it can do, its prompts, its own traces."""
    traces, (*_, last) = model.traces[:LANES], model.traces
    what = filled_in(link_of(traces, "race")) | filled_in(link_of([last], "watch"))
    what |= watched(last, pace=pace_of([last], model.traces))
    what |= raced(traces, pace=pace_of(traces, model.traces))
    return what | dict(
        model=model.name,
        race_models=[model.name],
        examples=gr.Dataset(samples=[[prompt] for prompt in model.prompts]),
        able=able(model),
        patches=surveys(model),
        inside=insides(model),
    )


def able(model: Shown) -> dict[str, Any]:
    """For each method what it does, and why the model cannot do it; a hint to a plain BLT."""
    tips = {name: tip(kind) for name, kind in METHODS.items()}
    return dict(tips=tips, reasons=model.reasons, hint=PLAIN if model.reasons else "")


def tip(kind: type) -> str:
    """A method in two lines: its title, and the first line of its docstring."""
    return f"{title_of(kind)}. {first_line(kind)}"


def first_line(kind: type) -> str:
    """The first line of what a class says of itself."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def title_of(kind: type) -> str:
    """The title of a method, or its name where it has none."""
    return getattr(kind, "title", kind.name)


def surveys(model: Shown) -> dict[str, Any]:
    """The shipped texts cut into patches."""
    return dict(surveys=model.surveys, view={})


def insides(model: Shown) -> dict[str, Any]:
    """A look inside the model."""
    return dict(data=model.inside, view={})


@lru_cache
def tour() -> dict[str, Any]:
    """The pages of the tour, the traces they show, and the pace of autoregression in them."""
    return site.tour(checkpoints.assets())


def known(link: Link, models: list[Shown]) -> list[Trace]:
    """What the models show already of what a link would decode, or [] where one is missing.

    models: of each decoding.
    """
    found = []
    for model, method in zip(models, link.methods, strict=True):
        same = [trace for trace in model.traces if trace.method["name"] == method]
        found += [trace for trace in same if _answers(trace, link)]
    return found if len(found) == len(link.methods) else []


def _answers(trace: Trace, link: Link) -> bool:
    """Is this what the link would decode: its prompt, settings and options?"""
    settings = link.all_settings
    settings["stop"] = [settings["stop"]] if settings["stop"] else []
    options = link.options_of(trace.method["name"])
    held = defaults() | trace.settings | dict(stop=[*map(bltlab.vocab.to_text, trace.stops)])
    same_settings = all(held[k] == v for k, v in settings.items())
    same_options = all(trace.method.get(k, v) == v for k, v in options.items())
    return trace.prompt == link.prompt.encode() and same_settings and same_options


# -- files and links -------------------------------------------------------------------------------


def filled_in(link: Link) -> dict[Any, Any]:
    """Values for the prompt, the decoders, the settings and the options, as a link asks for them.

    Raises ValueError or TypeError where this page does not know a method or its options.
    """
    values = {name: gr.update(value=value) for name, value in link.settings.items()}
    for name in link.methods:
        values |= filled(name, link.options_of(name))
    if not link.methods:
        return values
    if link.tab == "watch":
        return values | dict(prompt=link.prompt, method=link.methods[0])
    return values | dict(race_prompt=link.prompt, racers=list(dict.fromkeys(link.methods)))


def read(path: str | Path) -> tuple[list[Trace], str]:
    """(traces, link) of a saved trace or view; the link is "" where the file has none.

    Raises OSError, or ValueError in one sentence that names the file and not its folder.
    """
    name = Path(path).name
    try:
        data = _json_object(path)
        traces = _saved_traces(data, name) if data.get("schema") == VIEW else [Trace.load(path)]
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), name)) from None
    link = data.get("link")
    return traces, link if isinstance(link, str) else ""


def _json_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where it has none: then `Trace.load` says why."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _saved_traces(data: dict[str, Any], name: str) -> list[Trace]:
    """The traces of a saved view. Raises ValueError."""
    traces = data.get("traces")
    if not isinstance(traces, list):
        raise ValueError(f"{name} is not a saved view: it has no list of traces")
    return [Trace.from_json(trace) for trace in traces]
