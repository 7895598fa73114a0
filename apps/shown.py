"""What the page shows, as plain data by component: traces, what ships, files and links."""

import json
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from typing import Any

import gradio as gr
import tables
from controls import filled
from links import Link

import bltlab
from bltlab import checkpoints
from bltlab.decoding import METHODS
from bltlab.trace import Trace

ERRORS = (ValueError, TypeError, OSError)  # what bad options and files raise
VIEW = "bltlab.view/1"  # a saved view: {"schema", "link", "traces"}


def told(text: str, kind: str = "info") -> dict[str, Any]:
    """A note at the foot of the window. `at` makes the same words news."""
    return dict(text=text, kind=kind, at=time.time())


def refused(error: Exception) -> dict[str, Any]:
    """The one note that bad input leads to; all else on the page stays."""
    return dict(note=told(f"That does not work: {error}", "error"))


def lanes(
    traces: list[Trace],
    run: str | None = None,
    live: bool = False,
    view: dict | None = None,
    pace: dict[str, float] | None = None,
) -> dict[str, Any]:
    """The value of a player.

    run: the values of one run share it, so that the player goes on instead of starting anew.
    live: more is to come. view: where the player stands, from a link.
    pace: by model, the seconds a byte that autoregression takes on it.
    """
    shown = [trace.to_json() for trace in traces]
    return dict(run=run or token_hex(4), live=live, view=view or {}, pace=pace, traces=shown)


def pace_of(traces: Iterable[Trace]) -> dict[str, float]:
    """The seconds a byte that autoregression took, by model, where it is among the traces."""
    pace = {}
    for trace in traces:
        found = trace.totals
        if trace.method["name"] == "ar" and found.new_bytes:
            pace[trace.model["name"]] = found.seconds / found.new_bytes
    return pace


def watched(trace: Trace, **more: Any) -> dict[str, Any]:
    """Everything that Watch shows of a trace. more: as `lanes` takes it."""
    return dict(
        watch=lanes([trace], **more),
        totals=tables.totals(trace),
        text=bltlab.vocab.to_text(trace.prompt + trace.bytes),
    )


def raced(traces: list[Trace], **more: Any) -> dict[str, Any]:
    """Everything that Race shows of some traces. more: as `lanes` takes it."""
    return dict(race=lanes(traces, **more), table=tables.compare(traces))


def played(tab: str, traces: list[Trace], **more: Any) -> dict[str, Any]:
    """Everything that Watch, or Race, shows of some traces."""
    return watched(traces[0], **more) if tab == "watch" else raced(traces, **more)


# -- what ships: something true moves before any weight is loaded ----------------------------------


@lru_cache
def recorded() -> dict[str, Trace]:
    """The shipped traces by method, in the order of the methods."""
    folder = checkpoints.assets() / "traces"
    traces = [Trace.load(path) for path in folder.glob("*.json")]
    by_name = {trace.method["name"]: trace for trace in traces}
    return {name: by_name[name] for name in METHODS if name in by_name}


def shipped(*path: str) -> Any:
    """A JSON file among the assets, or None where it does not ship."""
    file = checkpoints.assets().joinpath(*path)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def surveys() -> dict[str, Any]:
    """The shipped texts cut into patches."""
    return dict(surveys=shipped("views", "patches.json") or [], view={})


def insides() -> dict[str, Any]:
    """The shipped look inside the model."""
    return dict(data=shipped("views", "inside.json"), view={})


def tour() -> dict[str, Any]:
    """The pages of the tour and the traces they show."""
    pages = shipped("tour", "pages.json") or []
    traces = {}
    for page in pages:
        for name in page["traces"]:
            traces[name] = shipped("tour", f"{name}.json")
    timed = [Trace.from_json(trace) for trace in traces.values()]
    return dict(pages=pages, traces=traces, pace=pace_of(timed))


def known(link: Link) -> list[Trace]:
    """The shipped traces that a link would decode again, or [] where one is missing."""
    found = [recorded().get(name) for name in link.methods]
    return found if all(_answers(trace, link) for trace in found) else []


def _answers(trace: Trace | None, link: Link) -> bool:
    """Is this what the link would decode: its model, prompt, settings and options?"""
    if trace is None or trace.prompt != link.prompt.encode():
        return False
    if link.model and trace.model.get("name") != link.model:
        return False
    settings = link.all_settings
    settings["stop"] = [settings["stop"]] if settings["stop"] else []
    options = link.options_of(trace.method["name"])
    same_settings = all(trace.settings.get(k) == v for k, v in settings.items())
    return same_settings and all(trace.method.get(k, v) == v for k, v in options.items())


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
    return values | dict(race_prompt=link.prompt, racers=link.methods)


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
