"""The demo: write a prompt, pick a decoder, watch every step. `python apps/demo.py` opens it on this machine only."""

import argparse
import os
import sys
from dataclasses import fields
from functools import wraps
from inspect import isgeneratorfunction
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
try:
    import bltlab
except ImportError:  # a checkout that was not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import bltlab

import gradio as gr
import shown
import torch
from api import endpoints
from controls import MOST_CHARACTERS, SETTINGS, keys, method_controls, setting_controls
from session import LANES, Demo

from bltlab.decoding import METHODS
from bltlab.inspection import MOST_BYTES
from bltlab.viz import inside, patches, player

HERE = Path(__file__).resolve().parent
EXAMPLES = {
    "phrases": (
        "de: Der 70. Hund schläft im Garten.\nen:",
        "fr: Le train s'arrête à 22 h 53 dans le jardin.\nen:",
        "de: dreitausendsechshundertzwölf\nen:",
    ),
    "": (
        "And he said to them, ",
        "In the beginning ",
        "The king sent his servants to ",
        "Größe, 大きさ, размер: ",
    ),
}
INTRO = """# bltlab
A language model that writes **several bytes at once**: watch what it guesses, keeps and throws away."""
MODEL = dict(
    concurrency_id="model", concurrency_limit=1
)  # whatever needs the weights, one at a time
QUIET = dict(queue=False, show_progress="hidden")
HIDDEN = dict(api_visibility="private")


def script():
    """Every viewer and the page's own JavaScript, once, for the head of the page."""
    viewers = (
        player.SOURCE,
        *(viewer.SOURCE.removeprefix(player.BASE) for viewer in (patches, inside)),
    )
    own = ((HERE / name).read_text(encoding="utf-8") for name in ("tour.js", "page.js"))
    return "<script>" + "\n".join([*viewers, *own]).replace("</script", "<\\/script") + "</script>"


def view(kind, value=None, **more):
    """A component that page.js draws, by its kind; its value is plain data."""
    return gr.HTML(
        value,
        html_template="<div class='host'></div>",
        apply_default_css=False,
        js_on_load=f"bltlabPage.mount('{kind}', element, props, watch)",
        elem_classes=["view", kind],
        **more,
    )


def named(fn, box):
    """A callback whose outputs are components, from one whose outputs are their names."""
    found = lambda what: {
        box[name]: value for name, value in (what or dict(note=gr.skip())).items()
    }

    @wraps(fn)
    def called(*arguments):
        return found(fn(*arguments))

    @wraps(fn)
    def streamed(*arguments):
        for what in fn(*arguments):
            yield found(what)

    return streamed if isgeneratorfunction(fn) else called


def short_title(kind):
    return kind.title.split(",")[0]


def short_titles():
    return [(short_title(kind), name) for name, kind in METHODS.items()]


def examples(model):
    """Prompts for a model, by what its name says that it has learnt."""
    return next(prompts for word, prompts in EXAMPLES.items() if word in model)


def prompt_of(trace):
    return bltlab.vocab.to_text(trace.prompt) if trace else EXAMPLES[""][0]


# -- the tabs: each fills `box` with its components by name -------------------------------------------------------------


def watch_tab(box, first, prompts):
    start = first.method["name"] if first else next(iter(METHODS))
    held = shown.watched(first) if first else dict(watch=None, totals=None, text="")
    settings = {k: v for k, v in first.settings.items() if k != "stop"} if first else {}
    with gr.Row(elem_classes="stage"):
        with gr.Column(elem_classes="ask"):
            box["prompt"] = gr.Textbox(
                prompt_of(first), label="prompt", lines=2, max_length=MOST_CHARACTERS
            )
            gr.Examples([[prompt] for prompt in prompts], box["prompt"], label="examples", **HIDDEN)
            box["method"] = gr.Radio(
                short_titles(), value=start, label="decoder", elem_classes="methods"
            )
            with gr.Row(elem_classes="buttons"):
                box["run"] = gr.Button("Decode", variant="primary", min_width=80)
                box["halt"] = gr.Button("Stop", min_width=80, elem_classes="halt")
        with gr.Column(elem_classes="more"):
            cards, controls = [], []
            for n, kind in METHODS.items():
                with gr.Column(visible=n == start) as card:
                    gr.Markdown(
                        f"**{kind.title}.** {kind.__doc__.splitlines()[0]}", elem_classes="card"
                    )
                    with gr.Accordion("options", open=False, visible=bool(fields(kind))):
                        controls += method_controls(kind)
                cards.append(card)
            with gr.Accordion("length, temperature, seed, stop", open=False):
                box |= dict(zip(SETTINGS, setting_controls(settings)))
            box |= dict(zip(keys(), controls))
        with gr.Column(elem_classes="hero"):
            box["watch"] = view("watch", held["watch"])
            box["text"] = gr.Textbox(
                held["text"],
                label="the text",
                lines=2,
                max_lines=12,
                interactive=False,
                buttons=["copy"],
            )
            for n, kind in METHODS.items():
                with gr.Accordion(
                    f"how {short_title(kind)} works", open=False, visible=n == start
                ) as card:
                    gr.Markdown(f"```text\n{sys.modules[kind.__module__].__doc__}\n```")
                cards.append(card)
            with gr.Accordion("all numbers of this run", open=False):
                box["totals"] = view("table", held["totals"])
    pick = lambda chosen: [gr.update(visible=n == chosen) for n in METHODS] * 2
    box["method"].change(pick, box["method"], cards, **QUIET, **HIDDEN)


def race_tab(box, traces):
    held = shown.raced(traces[:LANES]) if traces else dict(race=None, table=None)
    with gr.Row(elem_classes="bar"):
        box["race_prompt"] = gr.Textbox(
            prompt_of(next(iter(traces), None)),
            label="prompt",
            max_length=MOST_CHARACTERS,
            scale=3,
            min_width=260,
        )
        box["racers"] = gr.CheckboxGroup(
            short_titles(),
            value=[*METHODS][:LANES],
            label="decoders",
            scale=3,
            min_width=260,
            info="with the options, length, temperature and seed of Watch",
        )
        with gr.Row(elem_classes="buttons"):
            box["race_run"] = gr.Button("Race", variant="primary", min_width=80)
            box["race_halt"] = gr.Button("Stop", min_width=80, elem_classes="halt")
    box["race"] = view("race", held["race"])
    with gr.Accordion("all numbers of this race", open=False):
        box["table"] = view("table", held["table"])


def patches_tab(box):
    with gr.Row(elem_classes="bar"):
        box["patch_text"] = gr.Textbox(
            label="text",
            placeholder="Type or paste any text, in any script",
            lines=2,
            scale=4,
            max_length=MOST_CHARACTERS,
        )
    box["patches"] = view("patches", shown.surveys())


def inside_tab(box):
    with gr.Row(elem_classes="bar"):
        box["inside_text"] = gr.Textbox(
            label="text",
            placeholder=f"A short text, up to {MOST_BYTES} bytes",
            scale=4,
            max_length=MOST_BYTES,
            min_width=260,
        )
        box["look"] = gr.Button("Look inside", variant="primary", scale=1, min_width=120)
    box["inside"] = view("inside", shown.insides())


# -- the page ----------------------------------------------------------------------------------------------------------
def build(name="blt-d-nano"):
    """The page, and how it looks: arguments of its `launch`."""
    demo, box, traces = Demo(name), {}, [*shown.recorded().values()]
    with gr.Blocks(title="bltlab", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        with gr.Row(elem_classes="top"):
            gr.Markdown(INTRO, elem_classes="intro")
            with gr.Row(elem_classes="tools"):
                link = gr.Button("Copy link", size="sm")
                keep = gr.Button("Save", size="sm")
                put = gr.UploadButton(
                    "Open", file_types=[".json"], file_count="multiple", size="sm"
                )
        with gr.Tabs(overflow_behavior="wrap") as box["tabs"]:
            with gr.Tab("Watch", id="watch"):
                watch_tab(box, traces[-1] if traces else None, examples(Path(name).name))
            with gr.Tab("Race", id="race"):
                race_tab(box, traces)
            with gr.Tab("Patches", id="patches"):
                patches_tab(box)
            with gr.Tab("Inside", id="inside"):
                inside_tab(box)
            with gr.Tab("Tour", id="tour"):
                box["tour"] = view("tour", shown.tour())
        box["note"] = view("note")
        box["pending"] = gr.JSON(visible=False)
        query, everything = gr.Textbox(visible=False), [*box.values()]

        for fn in endpoints(demo):  # before the others: names go to who comes first
            gr.api(fn, api_name=fn.__name__, **MODEL)
        settings = [box[key] for key in [*SETTINGS, *keys()]]
        for names in (
            ("prompt", "method", "run", "halt"),
            ("race_prompt", "racers", "race_run", "race_halt"),
        ):
            prompt, methods, run, halt = (box[name] for name in names)
            outputs = [box[name] for name in ("watch", "totals", "text", "race", "table", "note")]
            ready = gr.on([run.click, prompt.submit], demo.ready, **QUIET, **HIDDEN)
            ready.then(
                named(demo.decode, box),
                [prompt, methods, *settings],
                outputs,
                show_progress="hidden",
                **MODEL,
                **HIDDEN,
            )
            halt.click(demo.halt, **QUIET, **HIDDEN)
        box["patch_text"].change(
            named(demo.survey, box),
            box["patch_text"],
            [box["patches"], box["note"]],
            trigger_mode="always_last",
            show_progress="hidden",
            **MODEL,
            **HIDDEN,
        )
        gr.on(
            [box["look"].click, box["inside_text"].submit],
            named(demo.look, box),
            box["inside_text"],
            [box["inside"], box["note"]],
            show_progress="hidden",
            **MODEL,
            **HIDDEN,
        )
        link.click(None, None, box["note"], js="() => bltlabPage.copyLink()", **HIDDEN)
        keep.click(None, None, box["note"], js="() => bltlabPage.save()", **HIDDEN)
        file = put.upload(named(demo.opened, box), put, everything, **QUIET, **HIDDEN)
        hash = page.load(
            named(demo.followed, box),
            query,
            everything,
            js="() => [location.hash.slice(1)]",
            **QUIET,
            **HIDDEN,
        )
        for asked in file, hash:
            asked.then(
                named(demo.resume, box),
                box["pending"],
                everything,
                show_progress="hidden",
                **MODEL,
                **HIDDEN,
            )
        page.unload(demo.halt)
    page.queue(max_size=16)
    theme = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return page, dict(
        theme=theme,
        css=(HERE / "page.css").read_text("utf-8"),
        head=script(),
        share=False,
        footer_links=[],
        enable_monitoring=False,
        run_history=False,
        max_file_size="8mb",
        max_threads=8,
        state_session_capacity=64,
    )


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; the default is this machine only"
    )
    options.add_argument("--port", type=int, default=7860)
    options.add_argument(
        "--model", "--checkpoint", default="blt-d-nano", help="shipped name, folder or hub id"
    )
    options.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads; one is fastest for steps of small matrices",
    )
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    page, looks = build(arguments.model)
    try:
        page.launch(server_name=arguments.host, server_port=arguments.port, **looks)
    except (OSError, OverflowError) as error:  # a port that is taken, or none
        options.error(str(error))


if __name__ == "__main__":
    main()
