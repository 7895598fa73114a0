"""The demo: write a prompt, pick a decoder, watch every step. `python apps/demo.py` opens it on this machine only."""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
try:
    import bltlab
except ImportError:                                                  # a checkout that was not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import bltlab

import gradio as gr
import torch

from bltlab import checkpoints
from bltlab.decoding import METHODS
from bltlab.sampling import RULES, format_rule, parse_rule
from bltlab.trace import Trace
from bltlab.viz import player

FRAME = 0.15                                                         # seconds between pictures while decoding
EXAMPLES = ["And he said to them, ", "In the beginning ", "The king sent his servants to ", "Größe, 大きさ, размер: "]
INTRO = """# bltlab
A byte-level language model that can write **several bytes at once**. Pick a decoder, press *Decode*, then step through what
it did: bytes it guessed, bytes it kept, bytes it threw away."""
DRAW = player.SOURCE + """
const host = element.querySelector(".host");
let shown = null;
const draw = () => {
  const lanes = props.value || [];
  const live = lanes.length && !lanes[0].events.some(e => e.type === "Finished");
  host.replaceChildren();
  if (!lanes.length) return;
  shown = bltlabPlayer(host, lanes, { autoplay: !live });
  if (live) shown.show(shown.length);
};
watch("value", draw);
draw();
"""


class Player(gr.HTML):
    """The trace player as a component: its value is a list of trace objects."""

    def __init__(self, value=None, **kwargs):
        super().__init__(value=value, html_template="<div class='host'></div>", js_on_load=DRAW, **kwargs)

    def api_info(self):
        return {"type": "array", "items": {"type": "object"}, "description": "traces, schema bltlab.trace/1"}


def control(f):
    """A control for one field of a method, from its metadata."""
    label, info = f.name.replace("_", " "), f.metadata["help"]
    if f.metadata.get("rule"):
        return gr.Textbox(format_rule(f.default), label=label, info=info)
    if "choices" in f.metadata:
        return gr.Radio(list(f.metadata["choices"]), value=f.default, label=label, info=info)
    return gr.Slider(f.metadata["min"], f.metadata["max"], f.default, step=1, label=label, info=info)


def build_method(name, options):
    """A method from its name and the values of its controls."""
    kind = METHODS[name]
    values = {f.name: parse_rule(options[f.name]) if f.metadata.get("rule") else options[f.name] for f in fields(kind)}
    return kind(**values)


def written(trace):
    """Prompt and new bytes of a trace as text."""
    return bltlab.vocab.to_text(trace.prompt + trace.bytes) if trace else ""


def summary(trace):
    """The totals of a run as rows: name and value."""
    if trace is None:
        return []
    t, n = trace.totals, max(1, trace.totals.new_bytes)
    number = lambda v, unit="": "–" if v is None else f"{v:,.3g}{unit}"
    rows = [[f"{part.rstrip('_')} passes", f"{count} ({count / n:.2f} a byte)"]
            for part, count in zip(("patcher", "encoder", "global", "decoder"), t.nfe.astuple())]
    return rows + [["bytes per patch", number(t.bytes_per_patch)],
                   ["guesses accepted", number(None if t.acceptance_rate is None else 100 * t.acceptance_rate, " %")],
                   ["bytes a round", number(t.mean_acceptance_length)],
                   ["denoising steps a block", number(t.denoising_steps_per_block)],
                   ["traffic, paper's eq. 8", number(t.paper_gb, " GB")], ["traffic, measured", number(t.measured_gb, " GB")],
                   ["seconds", f"{t.seconds:.2f} ({n / t.seconds:,.0f} bytes/s)" if t.seconds else "–"],
                   ["ended by", getattr(trace.events[-1], "reason", "not yet")]]


def shown(trace):
    """What the page shows of a trace: player, text, totals, and no message."""
    return [trace.to_json()], written(trace), summary(trace), gr.update(value="", visible=False)


def refused(error):
    """What the page shows instead, with everything else as it was."""
    return gr.skip(), gr.skip(), gr.skip(), gr.update(value=f"**That does not work:** {error}", visible=True)


class Demo:
    """The model, loaded when first needed, and the decoding that the page asks for."""

    def __init__(self, name):
        self.name, self._model = name, None

    @property
    def model(self):
        if self._model is None:
            self._model = bltlab.BLT.from_pretrained(self.name)
        return self._model

    def decode(self, prompt, method, max_new_bytes, temperature, top_k, top_p, seed, stop, *values):
        """Decode, and yield (lanes, text, totals, message) as it goes; the last is the whole trace.

        values: the controls of all methods, in order. Bad options come back as the message, and nothing is lost.
        """
        events = None
        try:
            names = [(kind.name, f.name) for kind in METHODS.values() for f in fields(kind)]
            options = {field: v for (owner, field), v in zip(names, values) if owner == method}
            events = bltlab.stream(self.model, prompt or "", build_method(method, options), max_new_bytes=int(max_new_bytes),
                                   temperature=temperature, top_k=int(top_k), top_p=top_p, seed=int(seed),
                                   stop=[stop] if stop else ())
            drawn = 0.0
            for _ in events:
                if time.monotonic() - drawn > FRAME:
                    yield shown(events.traces[0])
                    drawn = time.monotonic()
            yield shown(events.traces[0])
        except (ValueError, TypeError, FileNotFoundError) as error:
            yield refused(error)
        finally:
            if events is not None:
                events.close()                                       # Stop and a closed tab end the decoding here


def opened(path):
    """A saved trace from disk, or the reason why it is none."""
    try:
        return shown(Trace.load(path))
    except ValueError as error:
        return refused(str(error).replace(str(path), Path(path).name))


def saved(lanes):
    """The trace on screen as a file to keep."""
    if not lanes:
        raise gr.Error("There is nothing to save yet: decode first.")
    folder = Path(tempfile.mkdtemp(prefix="bltlab-"))
    path = folder / f"{lanes[0]['method']['name']}.json"
    Trace.from_json(lanes[0]).save(path)
    return str(path)


def recorded():
    """A trace that ships: something true moves before any weight is loaded."""
    paths = sorted((checkpoints.assets() / "traces").glob("*.json"))
    return Trace.load(paths[0]) if paths else None


def build(name="blt-d-nano"):
    """The page."""
    demo, shipped = Demo(name), recorded()
    theme = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"],
                              font_mono=["ui-monospace", "monospace"])
    with gr.Blocks(title="bltlab", analytics_enabled=False) as page:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                prompt = gr.Textbox(EXAMPLES[0], label="prompt", lines=2, max_length=1500)
                gr.Examples([[e] for e in EXAMPLES], prompt, label="examples", api_name=False)
                method = gr.Radio([(kind.title, n) for n, kind in METHODS.items()], value="blt-dv", label="decoder")
                groups, controls = {}, []
                for n, kind in METHODS.items():
                    with gr.Group(visible=n == "blt-dv") as groups[n]:
                        controls += [control(f) for f in fields(kind)]
                with gr.Row():
                    run = gr.Button("Decode", variant="primary", min_width=120)
                    halt = gr.Button("Stop", min_width=80)
                with gr.Accordion("length, temperature, seed, stop", open=False):
                    settings = [gr.Slider(1, 512, 96, step=1, label="new bytes"),
                                gr.Slider(0, 2, 0.7, step=0.05, label="temperature", info="0 takes the best byte"),
                                gr.Slider(0, 256, 0, step=1, label="top k", info="0 keeps every byte"),
                                gr.Slider(0.01, 1, 1, step=0.01, label="top p"), gr.Number(0, label="seed", precision=0),
                                gr.Textbox("", label="stop after", info="end when this text was written")]
            with gr.Column(scale=3, min_width=360):
                message = gr.Markdown(visible=False)
                lanes = Player(shipped and [shipped.to_json()], label="steps")
                with gr.Row():
                    with gr.Column(min_width=300):
                        text = gr.Textbox(written(shipped), label="text", lines=6, interactive=False)
                        with gr.Row():
                            keep = gr.DownloadButton("Save trace", size="sm")
                            put = gr.UploadButton("Open trace", file_types=[".json"], file_count="single", size="sm")
                    totals = gr.Dataframe(summary(shipped), headers=["what it took", "this run"], interactive=False, wrap=True)
        outputs = [lanes, text, totals, message]
        method.change(lambda chosen: [gr.update(visible=n == chosen) for n in METHODS], method, list(groups.values()),
                      api_name=False, queue=False)
        running = run.click(demo.decode, [prompt, method, *settings, *controls], outputs, api_name="decode",
                            concurrency_id="model", concurrency_limit=1, show_progress="hidden")
        halt.click(None, cancels=[running], api_name=False)
        put.upload(opened, put, outputs, api_name=False)
        keep.click(saved, lanes, keep, api_name=False)
    page.queue(max_size=16)
    return page, dict(theme=theme, css=".gradio-container {max-width: 1280px !important}")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--host", default="127.0.0.1", help="address to listen on; the default is this machine only")
    options.add_argument("--port", type=int, default=7860)
    options.add_argument("--model", default="blt-d-nano", help="shipped name, folder or hub id")
    options.add_argument("--threads", type=int, default=1, help="CPU threads; one is fastest for steps of small matrices")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    page, looks = build(arguments.model)
    page.launch(server_name=arguments.host, server_port=arguments.port, share=False, enable_monitoring=False,
                run_history=False, max_file_size="2mb", max_threads=8, footer_links=[], **looks)


if __name__ == "__main__":
    main()
