"""The demo: write a prompt, pick a decoder, watch every step.

`python apps/demo.py`, or `python -m bltlab demo`, opens it on this machine only; `--model FOLDER`
decodes with a model of your own, `--method my.module:MyMethod` adds a decoder of your own to Watch
and Race, with its options.
"""

import argparse
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
try:
    import bltlab
except ImportError:  # a checkout that was not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import bltlab

import exports
import gradio as gr
import shown
import torch
from api import endpoints
from calls import AT_ONCE, Page, fair, misfit, visitor_of
from controls import keys, method_controls
from door import Door
from fastapi.exceptions import RequestValidationError
from gradio.components import Component
from links import link_of
from models import Models, Place, Shown
from network import LOCAL, free_port, invitation, keep_local
from session import Demo
from settings import MOST_CHARACTERS, SETTINGS, setting_controls
from starlette.middleware import Middleware

from bltlab.decoding import METHODS, register
from bltlab.inspection import MOST_BYTES
from bltlab.options import load_class, options_of
from bltlab.trace import Trace
from bltlab.viz import inside, patches, player
from bltlab.viz.page import read

HERE = Path(__file__).resolve().parent
QUEUE = 64  # decodings that may wait
DTYPES = "float32", "bfloat16", "float16", "float64"
TABLE = "left: trusted, right: verified. A line each: chain, foreseen chain, unmasked block"
INTRO = "# bltlab\nA language model writes **several bytes at once**. Watch how."

# How callbacks run: one of each visitor what needs the weights, or reads and draws traces; past the
# queue what does not; and none of the page's own appears among the endpoints of the API.
MODEL = dict(concurrency_id="model", concurrency_limit=AT_ONCE)
FILES = dict(concurrency_id="files", concurrency_limit=2)
QUIET = dict(queue=False, show_progress="hidden")
HIDDEN = dict(api_visibility="private")
STEADY = dict(show_progress="hidden", **MODEL, **HIDDEN)  # with the weights, and without a spinner

Box = dict[Any, Component]  # the components of the page by name


def script() -> str:
    """Every viewer and the page's own JavaScript, once, for the head of the page."""
    sources = [player.SOURCE]
    sources += [viewer.SOURCE.removeprefix(player.BASE) for viewer in (patches, inside)]
    sources += [read("tour.js"), (HERE / "page.js").read_text(encoding="utf-8")]
    return "<script>" + "\n".join(sources).replace("</script", "<\\/script") + "</script>"


def view(kind: str, value: Any = None) -> gr.HTML:
    """A component that page.js draws, by its kind; its value is plain data."""
    return gr.HTML(
        value,
        html_template="<div class='host'></div>",
        apply_default_css=False,
        js_on_load=f"bltlabPage.mount('{kind}', element, props, watch)",
        elem_classes=["view", kind],
    )


def named(fn: Callable, box: Box) -> Callable:
    """A callback whose outputs are components, from one whose outputs are their names."""

    def found(what: dict[Any, Any]) -> dict[Component, Any]:
        what = what or dict(note=gr.skip())
        return {box[name]: value for name, value in what.items()}

    @wraps(fn)
    def called(*arguments):
        return found(fn(*arguments))

    @wraps(fn)
    def streamed(*arguments):
        for what in fn(*arguments):
            yield found(what)

    return streamed if inspect.isgeneratorfunction(fn) else called


# -- what is said of a method ----------------------------------------------------------------------


def short_title(kind: type) -> str:
    """The title up to its first comma: "BLT-S"."""
    return shown.title_of(kind).split(",")[0]


def short_titles() -> list[tuple[str, str]]:
    """(short title, name) of every method."""
    return [(short_title(kind), name) for name, kind in METHODS.items()]


def explanation(kind: type) -> str:
    """The docstring of a method's module, or its own where the module has none, as Markdown."""
    module = sys.modules.get(kind.__module__)
    return f"```text\n{inspect.getdoc(module) or inspect.getdoc(kind) or ''}\n```"


# -- the tabs: each fills `box` with its components by name ----------------------------------------


def watch_tab(box: Box, model: Shown) -> None:
    """One decoder: its prompt and options on the left, what it does on the right."""
    first = model.traces[-1]
    start = first.method["name"]
    with gr.Row(elem_classes="stage"):
        with gr.Column(elem_classes="ask"):
            _ask(box, model, first, start)
        with gr.Column(elem_classes="more"):
            cards = _options(box, first, start)
        with gr.Column(elem_classes="hero"):
            explanations = _hero(box, model, first, start)

    def pick(chosen: str) -> dict[Component, dict]:
        """Show the cards of the chosen method."""
        every = [*cards.items(), *explanations.items()]
        return {card: gr.update(visible=name == chosen) for card, name in every}

    box["method"].change(pick, box["method"], [*cards, *explanations], **QUIET, **HIDDEN)


def _ask(box: Box, model: Shown, first: Trace, start: str) -> None:
    """The prompt, the decoder and the two buttons."""
    box["prompt"] = gr.Textbox(
        bltlab.vocab.to_text(first.prompt), label="prompt", lines=2, max_length=MOST_CHARACTERS
    )
    box["examples"] = gr.Dataset(
        components=[box["prompt"]],
        samples=[[prompt] for prompt in model.prompts],
        label="examples",
        type="values",
    )
    box["method"] = gr.Radio(
        short_titles(), value=start, label="decoder", info=TABLE, elem_classes="methods"
    )
    box["able"] = view("able", shown.able(model))
    with gr.Row(elem_classes="buttons"):
        box["run"] = gr.Button("Decode", variant="primary", min_width=80)
        box["halt"] = gr.Button("Stop", min_width=80, elem_classes="halt")


def _options(box: Box, first: Trace, start: str) -> dict[Component, str]:
    """The options of every method and the settings; {card: its method}, of which one is visible."""
    cards, controls = {}, []
    for name, kind in METHODS.items():
        with gr.Column(visible=name == start) as card:
            gr.Markdown(
                f"**{shown.title_of(kind)}.** {shown.first_line(kind)}", elem_classes="card"
            )
            with gr.Accordion("options", open=False, visible=bool(options_of(kind))):
                controls += method_controls(kind)
        cards[card] = name
    held = link_of([first], "watch").settings
    with gr.Accordion("length, temperature, seed, stop", open=False):
        box.update(zip(SETTINGS, setting_controls(held), strict=True))
    box.update(zip(keys(), controls, strict=True))
    return cards


def _hero(box: Box, model: Shown, first: Trace, start: str) -> dict[Component, str]:
    """The player, the text, the numbers; {explanation: its method}, of which one is visible."""
    held = shown.watched(first, pace=shown.pace_of([first], model.traces))
    box["watch"] = view("watch", held["watch"])
    box["text"] = gr.Textbox(
        held["text"],
        label="the text",
        lines=2,
        max_lines=12,
        interactive=False,
        buttons=["copy"],
    )
    explanations = {}
    for name, kind in METHODS.items():
        title = f"how {short_title(kind)} works"
        with gr.Accordion(title, open=False, visible=name == start) as card:
            gr.Markdown(explanation(kind))
        explanations[card] = name
    with gr.Accordion("all numbers of this run", open=False):
        box["totals"] = view("table", held["totals"])
    return explanations


def race_tab(box: Box, model: Shown, models: list[str]) -> None:
    """Up to six decodings of one prompt, side by side: decoders, models, or both."""
    traces = model.traces[: shown.LANES]
    held = shown.raced(traces, pace=shown.pace_of(traces, model.traces))
    with gr.Row(elem_classes="bar"):
        box["race_prompt"] = gr.Textbox(
            bltlab.vocab.to_text(traces[0].prompt),
            label="prompt",
            max_length=MOST_CHARACTERS,
            scale=3,
            min_width=260,
        )
        box["racers"] = gr.CheckboxGroup(
            short_titles(),
            value=[trace.method["name"] for trace in traces],
            label="decoders",
            scale=3,
            min_width=260,
            elem_classes="racers",
            info="with the options, length, temperature and seed of Watch",
        )
        box["race_models"] = gr.Dropdown(
            models,
            value=[model.name],
            multiselect=True,
            label="models",
            scale=2,
            min_width=200,
            info="with two, each decodes with every decoder it has",
        )
        with gr.Row(elem_classes="buttons"):
            box["race_run"] = gr.Button("Race", variant="primary", min_width=80)
            box["race_halt"] = gr.Button("Stop", min_width=80, elem_classes="halt")
    box["race"] = view("race", held["race"])
    with gr.Accordion("all numbers of this race", open=False):
        box["table"] = view("table", held["table"])


def patches_tab(box: Box, model: Shown) -> None:
    """Where the model's patches begin, in shipped texts and in one that is typed."""
    with gr.Row(elem_classes="bar"):
        box["patch_text"] = gr.Textbox(
            label="text",
            placeholder="Type or paste any text, in any script,"
            f" of up to {MOST_CHARACTERS:,} characters",
            lines=2,
            scale=4,
            max_length=MOST_CHARACTERS,
        )
    box["patches"] = view("patches", shown.surveys(model))


def inside_tab(box: Box, model: Shown) -> None:
    """Masks, blocks and hashes of a short text."""
    with gr.Row(elem_classes="bar"):
        box["inside_text"] = gr.Textbox(
            label="text",
            placeholder=f"A short text, up to {MOST_BYTES} bytes",
            scale=4,
            max_length=MOST_BYTES,
            min_width=260,
        )
        box["look"] = gr.Button("Look inside", variant="primary", scale=1, min_width=120)
    box["inside"] = view("inside", shown.insides(model))


# -- the page --------------------------------------------------------------------------------------


def build(models: Models | None = None, queue: int = QUEUE) -> tuple[Page, dict[str, Any]]:
    """The page, and the arguments of its `launch`.

    models: those it offers, blt-d-nano first by default. queue: how many decodings may wait.
    """
    demo = Demo(models)
    box: Box = {}
    with Page(title="bltlab", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        tools = _top(box, demo.models)
        _tabs(box, demo.models)
        box["timer"] = gr.Timer(1.0, active=False)
        box["note"] = view("note")
        box["file"] = view("file")
        box["pending"] = gr.JSON(visible=False)
        box["branch"] = gr.Button(elem_classes=["branch"])
        door = Door(lambda: addresses_in_line(page))
        for fn in endpoints(demo, door.waits):  # before the others: names go to who comes first
            gr.api(fn, api_name=fn.__name__, **MODEL)
            door.public.append(fn.__name__)
        _connect_decoding(demo, box)
        _connect_branches(demo, box)
        _connect_exports(box)
        _connect_models(demo, box)
        _connect_texts(demo, box)
        _connect_files(page, demo, box, tools)
        page.unload(demo.leave)
    page.queue(max_size=queue, api_open=False)  # nobody passes by the line
    page._queue.get_events = fair(page._queue)
    demo.line = lambda: sessions_in_line(page)
    app = dict(
        middleware=[Middleware(door.in_front_of)],
        exception_handlers={RequestValidationError: misfit},
    )
    return page, looks() | dict(app_kwargs=app)


def addresses_in_line(page: gr.Blocks) -> list[str]:
    """The address behind each call that waits or runs."""
    queue = page._queue
    events = [
        event for line in queue.event_queue_per_concurrency_id.values() for event in line.queue
    ]
    events += [event for job in queue.active_jobs if job for event in job]
    return [visitor_of(event) for event in events]


def sessions_in_line(page: gr.Blocks) -> list[str]:
    """The sessions whose calls wait for the weights, in their order. Gradio tells only browsers."""
    line = page._queue.event_queue_per_concurrency_id.get(MODEL["concurrency_id"])
    return [event.session_hash for event in line.queue] if line else []


def _top(box: Box, models: Models) -> tuple[gr.Button, gr.Button, gr.UploadButton]:
    """The heading, the model, and the buttons that copy a link, save a file and open files.

    Those for pages and pictures go into the box by their kinds.
    """
    with gr.Row(elem_classes="top"):
        gr.Markdown(INTRO, elem_classes="intro")
        with gr.Row(elem_classes="tools"):
            box["model"] = gr.Dropdown(
                models.names,
                value=models.first,
                label="model",
                show_label=False,
                container=False,
                filterable=False,
                elem_classes="model",
            )
            copy = gr.Button("Copy link", size="sm")
            save = gr.Button("Save", size="sm")
            for kind in exports.KINDS:
                box[kind] = gr.Button(kind.upper(), size="sm", elem_classes="take")
            files = dict(file_types=[".json"], file_count="multiple")
            return copy, save, gr.UploadButton("Open", size="sm", **files)


def _tabs(box: Box, models: Models) -> None:
    """The five tabs, as the first model fills them."""
    model = models.get()
    with gr.Tabs(overflow_behavior="wrap") as box["tabs"]:
        with gr.Tab("Watch", id="watch"):
            watch_tab(box, model)
        with gr.Tab("Race", id="race"):
            race_tab(box, model, models.names)
        with gr.Tab("Patches", id="patches"):
            patches_tab(box, model)
        with gr.Tab("Inside", id="inside"):
            inside_tab(box, model)
        with gr.Tab("Tour", id="tour"):
            box["tour"] = view("tour", shown.tour())


def _connect_decoding(demo: Demo, box: Box) -> None:
    """Decode, Race and their Stop buttons; another decoder decodes at once."""
    held = [box[key] for key in [*SETTINGS, *keys()]]
    outputs = [box[name] for name in ("watch", "totals", "text", "race", "table", "note")]
    triggers = [box["run"].click, box["prompt"].submit, box["method"].input]
    watch = "prompt", "method", "model", "halt", triggers
    triggers = [box["race_run"].click, box["race_prompt"].submit]
    race = "race_prompt", "racers", "race_models", "race_halt", triggers
    for *names, halt, begin in (watch, race):
        asked = [box[name] for name in names]
        ready = gr.on(begin, named(demo.ready, box), None, box["timer"], **QUIET, **HIDDEN)
        ready.then(
            named(demo.decode, box),
            [*asked, *held],
            outputs,
            trigger_mode="multiple",  # what was asked for before ends
            **STEADY,
        )
        box[halt].click(demo.halt, **QUIET, **HIDDEN)
    told = [box["note"], box["timer"]]
    box["timer"].tick(named(demo.waiting, box), None, told, **QUIET, **HIDDEN)


def _connect_branches(demo: Demo, box: Box) -> None:
    """A candidate that was clicked in Watch: page.js presses this button and knows the choice."""
    outputs = [box[name] for name in ("watch", "totals", "text", "note")]
    ready = box["branch"].click(named(demo.ready, box), None, box["timer"], **QUIET, **HIDDEN)
    ready.then(
        named(demo.branch, box),
        gr.JSON(visible=False),
        outputs,
        js="() => [bltlabPage.choice()]",
        trigger_mode="multiple",
        **STEADY,
    )


def _connect_exports(box: Box) -> None:
    """The buttons that save what is shown as a page, a picture or an animation."""
    view = gr.JSON(visible=False)
    for kind in exports.KINDS:
        box[kind].click(
            named(partial(exports.taken, kind), box),
            view,
            [box["file"], box["note"]],
            js="() => [bltlabPage.seen()]",
            show_progress="hidden",
            **FILES,
            **HIDDEN,
        )


def _connect_models(demo: Demo, box: Box) -> None:
    """Another model fills the page anew; an example fills the prompt."""
    box["model"].select(
        named(demo.choose, box), [box["model"], box["patch_text"]], [*box.values()], **STEADY
    )
    box["examples"].click(lambda row: row[0], box["examples"], box["prompt"], **QUIET, **HIDDEN)


def _connect_texts(demo: Demo, box: Box) -> None:
    """The texts of Patches, at every key, and of Inside, at Enter."""
    box["patch_text"].change(
        named(demo.survey, box),
        [box["patch_text"], box["model"]],
        [box["patches"], box["note"]],
        trigger_mode="always_last",
        **STEADY,
    )
    gr.on(
        [box["look"].click, box["inside_text"].submit],
        named(demo.look, box),
        [box["inside_text"], box["model"]],
        [box["inside"], box["note"]],
        **STEADY,
    )


def _connect_files(page: gr.Blocks, demo: Demo, box: Box, tools: tuple) -> None:
    """Copy link, Save and Open, and the link that a page is opened with. tools: as `_top` says."""
    query = gr.Textbox(visible=False)
    everything = [*box.values()]
    copy, save, put = tools
    copy.click(None, None, box["note"], js="() => bltlabPage.copyLink()", **HIDDEN)
    save.click(None, None, box["note"], js="() => bltlabPage.save()", **HIDDEN)
    opened = put.upload(
        named(demo.opened, box), put, everything, show_progress="hidden", **FILES, **HIDDEN
    )
    loaded = page.load(
        named(demo.followed, box),
        query,
        everything,
        js="() => [location.hash.slice(1)]",
        **QUIET,
        **HIDDEN,
    )
    for asked in opened, loaded:
        asked.then(named(demo.resume, box), box["pending"], everything, **STEADY)


def looks() -> dict[str, Any]:
    """Arguments of `launch`: theme, style sheet, script, and the limits of what visitors send."""
    theme = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return dict(
        theme=theme,
        css=(HERE / "page.css").read_text("utf-8"),
        head=script(),
        share=False,
        _frontend=False,  # no probe, which gives a slow machine three seconds
        footer_links=[],
        enable_monitoring=False,
        run_history=False,
        max_file_size="8mb",
        max_threads=16,
        state_session_capacity=64,
    )


# -- the command line ------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The options of `python apps/demo.py`."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; the default is this machine only"
    )
    options.add_argument(
        "--port", type=int, default=7860, help="default 7860; 0 takes a free one and says which"
    )
    options.add_argument(
        "--model",
        "--checkpoint",
        action="append",
        metavar="MODEL",
        help="shipped name, folder or hub id (default blt-d-nano); may be given several times:"
        " the page opens with the first, and visitors choose among these and those that ship",
    )
    options.add_argument("--dtype", choices=DTYPES, help="of the weights; default: as stored")
    options.add_argument("--device", default="auto", help="cpu, cuda, ...; default: a GPU if any")
    options.add_argument(
        "--queue", type=int, default=QUEUE, help=f"decodings that may wait (default {QUEUE})"
    )
    options.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a decoder of your own, also file.py:Class; may be given several times",
    )
    options.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads; one is fastest for steps of small matrices",
    )
    return options


def main(arguments: list[str] | None = None) -> None:
    """Start the page. arguments: those of the command line by default. Exits with 2 on bad ones."""
    options = parser()
    given = options.parse_args(arguments)
    try:
        page, launch_arguments = built(given)
        port = free_port(given.port, given.host not in LOCAL)
        keep_local(given.host)
        page.launch(
            server_name=given.host,
            server_port=port,
            quiet=True,
            prevent_thread_lock=True,
            **launch_arguments,
        )
    except (*shown.ERRORS, OverflowError) as error:  # a method, a model or a port that is none
        options.error(str(error))
    print(invitation(given.host, port), flush=True)
    if page.is_running:
        page.block_thread()


def built(given: argparse.Namespace) -> tuple[gr.Blocks, dict[str, Any]]:
    """The page that the command line asks for, with its models loaded.

    Raises ValueError, TypeError or OSError, in one sentence, where something of it cannot be.
    """
    if given.threads < 1 or given.queue < 1:
        raise ValueError(
            f"--threads and --queue must be at least 1, got {given.threads} and {given.queue}"
        )
    torch.set_num_threads(given.threads)
    for where in given.method:
        register(load_class(where))
    names = given.model or ["blt-d-nano"]
    dtype = getattr(torch, given.dtype) if given.dtype else None
    print(f"Loading {', '.join(Path(name).name for name in names)} …", flush=True)
    return build(Models(names, Place(given.device, dtype)), given.queue)


if __name__ == "__main__":
    main()
