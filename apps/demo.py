"""The demo: write a prompt, pick a decoder, watch every step. `python apps/demo.py` opens it on this machine only."""

import argparse
import os
import sys
import time
import warnings
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
try:
    import bltlab
except ImportError:                                                  # a checkout that was not installed
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import bltlab

import gradio as gr
import torch
from controls import build_method, gathered, method_controls

from bltlab import checkpoints
from bltlab.decoding import METHODS, replace_stamp
from bltlab.trace import Finished, Trace
from bltlab.viz import player

FRAME = 0.15                                                         # seconds between pictures while decoding
ERRORS = (ValueError, TypeError, FileNotFoundError)                  # what bad options raise
EXAMPLES = "And he said to them, ", "In the beginning ", "The king sent his servants to ", "Größe, 大きさ, размер: "
INTRO = """# bltlab
A byte-level language model that can write **several bytes at once**. Pick a decoder, press *Decode*, then step through
what it did: bytes it guessed, bytes it kept, bytes it threw away."""
TABLE = """| | **trust** the guesses | **verify** them |
|---|---|---|
| **chain**, byte after byte | Autoregressive | BLT-S |
| **unmask** a whole block | BLT-D | BLT-DV |"""
STYLE = """
.gradio-container { max-width: 1320px !important; }
.prose table { width: 100%; font-variant-numeric: tabular-nums; }
.prose :is(table, thead, tbody, tr, th, td) { border: 0 !important; box-shadow: none !important; outline: 0 !important; }
.prose :is(td, th) { padding: 4px 8px !important; border-bottom: 1px solid #8884 !important;
  overflow-wrap: normal !important; word-break: normal !important; }
.totals :is(td, th):not(:first-child) { text-align: right !important; white-space: nowrap; }
.host.host select { appearance: auto; background-image: none; max-width: 160px; }
.notes { position: fixed !important; z-index: 999; bottom: 12px; left: 12px; right: 12px; width: auto !important; }
.notes p { width: fit-content; max-width: 100%; margin: 0 auto; padding: 10px 14px; overflow-wrap: anywhere; color: #1e293b;
  background: #fff7ed; border: 1px solid #d55e00; border-left-width: 4px; border-radius: 4px; }
.notes:not(:has(p)) { display: none; }
"""

# -- the player: its value is a list of trace objects ------------------------------------------------------------------
DRAW = player.SOURCE + """
const host = element.querySelector(".host");
let live = false;
function draw() {
  const lanes = props.value || [], last = lanes[0]?.events.at(-1), began = last && last.type !== "Finished" && !live;
  if (!lanes.length) return host.replaceChildren();
  live = last?.type !== "Finished";
  const still = live || last.reason === "interrupted", shown = bltlabPlayer(host, lanes, { autoplay: !still });
  if (still) shown.show(shown.length);
  if (began && host.getBoundingClientRect().top > innerHeight) host.scrollIntoView({ block: "start" });   // on a phone
}
watch("value", draw);
draw();
"""
SAVE = """lanes => {
  if (!lanes?.length) return "There is nothing to save yet: decode first.";
  const data = new Blob([JSON.stringify(lanes[0])], { type: "application/json" });
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(data), download: `${lanes[0].method.name}.json` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  return "";
}"""

SETTLE = "() => new Promise(done => setTimeout(done, 400))"          # after Stop, pictures on their way still arrive


# -- what the page shows: (lanes, text, totals, note) ------------------------------------------------------------------
def number(value):
    return "–" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def summary(trace):
    """The totals of a run as a table in Markdown."""
    if trace is None:
        return ""
    t, n = trace.totals, trace.totals.new_bytes
    each = lambda total, scale=1: number(scale * total / n if n else None)
    rows = [("new bytes", n, ""),
            *((f"{part} passes", calls, each(calls)) for part, calls in
              zip(("patcher", "encoder", "global", "decoder"), t.nfe.astuple())),
            ("memory traffic, paper (eq. 8)", f"{number(t.paper_gb)} GB", f"{each(t.paper_gb, 1000)} MB"),
            ("memory traffic, measured", f"{number(t.measured_gb)} GB", f"{each(t.measured_gb, 1000)} MB"),
            ("seconds", t.seconds, f"{each(t.seconds, 1000)} ms"),
            ("bytes per second", n / t.seconds if t.seconds else None, ""),
            ("bytes per patch", t.bytes_per_patch, ""),
            ("acceptance rate", t.acceptance_rate and f"{100 * t.acceptance_rate:.0f} %", ""),
            ("mean acceptance length", t.mean_acceptance_length, ""),
            ("denoising steps per block", t.denoising_steps_per_block, ""),
            ("ended by", getattr(trace.events[-1], "reason", "not yet"), "")]
    return "\n".join(["| without the prompt | this run | per byte |", "|---|--:|--:|",
                      *(f"| {name} | {run if isinstance(run, str) else number(run)} | {byte} |" for name, run, byte in rows)])


def written(trace):
    """Prompt and new bytes of a trace as text."""
    return bltlab.vocab.to_text(trace.prompt + trace.bytes) if trace else ""


def shown(trace, note=""):
    return [trace.to_json()], written(trace), summary(trace), note


def noted(note):
    """A note, and everything else as it was."""
    return gr.skip(), gr.skip(), gr.skip(), note


# -- callbacks ---------------------------------------------------------------------------------------------------------
def frames(events):
    """The trace of a decoding every FRAME seconds (less often where drawing is slow), at last the whole; then it is closed."""
    try:
        due = 0.0
        for _ in events:
            if (now := time.monotonic()) >= due:
                yield events.traces[0]
                due = (done := time.monotonic()) + max(FRAME, 2 * (done - now))
        yield events.traces[0]
    finally:
        events.close()                                               # Stop and a closed tab end the decoding here


class Demo:
    """The model, loaded when first needed, and the decodings that the page and the API ask for."""

    def __init__(self, name):
        self.name, self._model = name, None

    @property
    def model(self):
        if self._model is None:
            self._model = bltlab.BLT.from_pretrained(self.name)
        return self._model

    def decode(self, prompt, method, max_new_bytes, temperature, top_k, top_p, seed, stop, *values):
        """Decode, and yield (lanes, text, totals, note) as it goes; the last is the whole trace.

        values: those of all controls, in the order of `keys`. Bad options come back as the note, and nothing is lost.
        """
        try:
            if self._model is None:
                yield noted(f"Loading {self.name} …")
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                events = bltlab.stream(self.model, prompt or "", build_method(method, gathered(method, values)),
                                       max_new_bytes=max_new_bytes, temperature=temperature, top_k=top_k, top_p=top_p,
                                       seed=seed or 0, stop=[stop] if stop else ())
            note = " ".join(f"Note: {w.message}." for w in told if w.category is UserWarning)
            with closing(frames(events)) as traces:
                for trace in traces:
                    yield shown(trace, note)
        except ERRORS as error:
            yield noted(f"That does not work: {error}")

    def api(self, prompt: str, method: str = "ar", options: dict = {}, max_new_bytes: int = 128, temperature: float = 0.0,
            top_k: int = 0, top_p: float = 1.0, seed: int = 0, stop: list[str] = []) -> dict:
        """Decode, and stream the trace (bltlab.trace/1). options: the method's own, {"unmasking": "confidence:0.7"}."""
        try:
            events = bltlab.stream(self.model, prompt, build_method(method, options), max_new_bytes=max_new_bytes,
                                   temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, stop=stop)
            with closing(frames(events)) as traces:
                for trace in traces:
                    yield trace.to_json()
        except ERRORS as error:
            raise gr.Error(str(error), print_exception=False) from None


def stopped(lanes):
    """After Stop: the trace so far, marked as interrupted; a finished one stays as it is."""
    trace = Trace.from_json(lanes[0]) if lanes else None
    if trace is None or not trace.events or isinstance(trace.events[-1], Finished):
        return noted("")
    end = Finished(position=1 + len(trace.prompt) + len(trace.bytes), reason="interrupted", **replace_stamp(trace.events[-1]))
    return shown(replace(trace, events=(*trace.events, end)), "Stopped: this is the trace so far.")


def opened(path):
    """A saved trace from disk, or the reason why it is none."""
    try:
        trace = Trace.load(path)
        return shown(trace) if trace.events else noted("That does not work: this trace has no events.")
    except (*ERRORS, ArithmeticError, RecursionError) as error:      # a file may hold anything
        told = str(error) if "not a trace" in str(error) else f"{path} is not a trace: {error}"
        return noted(f"That does not work: {told.replace(str(path), Path(path).name)}")


def recorded():
    """A trace that ships, of the latest method that has one: something true moves before any weight is loaded."""
    traces = [Trace.load(path) for path in sorted((checkpoints.assets() / "traces").glob("*.json"))]
    return max(traces, key=lambda t: [*METHODS].index(t.method["name"]) if t.method["name"] in METHODS else -1, default=None)


# -- the page ----------------------------------------------------------------------------------------------------------
def build(name="blt-d-nano"):
    """The page, and how it looks: arguments of its `launch`."""
    demo, first = Demo(name), recorded()
    start = first.method["name"] if first and first.method["name"] in METHODS else next(iter(METHODS))
    theme = gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"],
                              font_mono=["ui-monospace", "monospace"])
    hidden = dict(api_visibility="private")
    with gr.Blocks(title="bltlab", analytics_enabled=False) as page:
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                gr.Markdown(INTRO)
            with gr.Column(scale=4, min_width=320):
                gr.Markdown(TABLE)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                prompt = gr.Textbox(EXAMPLES[0], label="prompt", lines=2, max_length=2000)
                gr.Examples([[e] for e in EXAMPLES], prompt, label="examples", **hidden)
                method = gr.Radio([(kind.title, n) for n, kind in METHODS.items()], value=start, label="decoder")
                with gr.Row():
                    run = gr.Button("Decode", variant="primary", min_width=100)
                    halt = gr.Button("Stop", min_width=100)
                groups, boxes, controls = [], [], []
                for n, kind in METHODS.items():
                    with gr.Column(visible=n == start) as column:
                        if fields(kind):
                            with gr.Group():
                                controls += method_controls(kind)
                    groups.append(column)
                with gr.Accordion("length, temperature, seed, stop", open=False):
                    settings = [gr.Slider(1, 1024, 96, step=1, label="new bytes"),
                                gr.Slider(0, 2, 0.7, step=0.05, label="temperature", info="0 takes the best byte"),
                                gr.Slider(0, 256, 0, step=1, label="top k", info="0 keeps every byte"),
                                gr.Slider(0.01, 1, 1, step=0.01, label="top p"), gr.Number(0, label="seed", precision=0),
                                gr.Textbox("", label="stop after", info="end when this text was written")]
            with gr.Column(scale=3, min_width=320):
                lanes = gr.HTML(first and [first.to_json()], html_template="<div class='host'></div>", js_on_load=DRAW)
                with gr.Row():
                    with gr.Column(min_width=300):
                        text = gr.Textbox(written(first), label="text", lines=6, max_lines=16, interactive=False)
                        with gr.Row():
                            keep = gr.Button("Save trace", size="sm", min_width=100)
                            put = gr.UploadButton("Open trace", file_types=[".json"], size="sm", min_width=100)
                    with gr.Column(min_width=300):
                        totals = gr.Markdown(summary(first), elem_classes="totals")
                for n, kind in METHODS.items():
                    with gr.Accordion(f"How it works: {kind.title.split(',')[0]}", open=False, visible=n == start) as box:
                        gr.Markdown(f"{kind.__doc__}\n\n```text\n{sys.modules[kind.__module__].__doc__}\n```")
                    boxes.append(box)
        note = gr.HTML("", html_template="{{#if value}}<p role='status'>{{value}}</p>{{/if}}", js_on_load=None,
                       elem_classes="notes")                         # at the foot of the window, wherever one has scrolled to
        outputs, alone = [lanes, text, totals, note], dict(concurrency_id="model", concurrency_limit=1)
        gr.api(demo.api, api_name="decode", **alone)                 # before the others: names go to who comes first
        pick = lambda chosen: [gr.update(visible=n == chosen) for n in METHODS] * 2
        method.change(pick, method, groups + boxes, queue=False, show_progress="hidden", **hidden)
        running = run.click(demo.decode, [prompt, method, *settings, *controls], outputs, show_progress_on=text,
                            **alone, **hidden)
        halted = halt.click(None, js=SETTLE, cancels=[running], **hidden)
        halted.then(stopped, lanes, outputs, queue=False, show_progress="hidden", **hidden)
        put.upload(opened, put, outputs, show_progress="hidden", **hidden)
        keep.click(None, lanes, note, js=SAVE, **hidden)
    page.queue(max_size=16)
    return page, dict(theme=theme, css=STYLE)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--host", default="127.0.0.1", help="address to listen on; the default is this machine only")
    options.add_argument("--port", type=int, default=7860)
    options.add_argument("--model", "--checkpoint", default="blt-d-nano", help="shipped name, folder or hub id")
    options.add_argument("--threads", type=int, default=1, help="CPU threads; one is fastest for steps of small matrices")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    page, looks = build(arguments.model)
    try:
        page.launch(server_name=arguments.host, server_port=arguments.port, share=False, enable_monitoring=False,
                    run_history=False, max_file_size="8mb", max_threads=8, state_session_capacity=64, footer_links=[], **looks)
    except OSError as error:
        options.error(str(error))


if __name__ == "__main__":
    main()
