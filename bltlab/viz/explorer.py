"""Controls to decode with in a notebook, made from the fields of methods and rules: a new method
needs no line here.

Needs ipywidgets and anywidget. No algorithm: it consumes `stream`.
"""

import asyncio
from dataclasses import fields

import ipywidgets as ui

from ..clock import Pace
from ..decoding import METHODS, stream
from ..unmasking import RULES, format_rule, parse_rule, rule_title
from .widget import TracePlayer

FRAME = 0.15  # seconds between pictures while decoding


def control(f, value=None):
    """A control for one field of a dataclass, from its metadata.

    value: another one than the field's default.
    """
    value, limits = f.default if value is None else value, f.metadata
    named = dict(
        description=f.name.replace("_", " "),
        tooltip=limits.get("help", ""),
        style={"description_width": "110px"},
        layout={"width": "420px"},
    )
    low, high = limits.get("min"), limits.get("max")
    if limits.get("rule"):
        return ui.Dropdown(
            options=[(rule_title(kind), name) for name, kind in RULES.items()],
            value=format_rule(value).split(":")[0],
            **named,
        )
    if "choices" in limits:
        return ui.Dropdown(options=list(limits["choices"]), value=value, **named)
    if isinstance(value, bool):
        return ui.Checkbox(value=value, **named)
    if limits.get("kind") is int:  # an int that may be left open: 0 on the slider
        return ui.IntSlider(value=value or 0, min=0, max=high, **named)
    if not isinstance(value, (int, float)):
        return ui.Text(value=str(value), **named)
    whole = isinstance(value, int)
    if low is None or high is None:
        return (ui.IntText if whole else ui.FloatText)(value=value, **named)
    return (ui.IntSlider if whole else ui.FloatSlider)(
        value=value, min=low, max=high, step=1 if whole else 0.01, **named
    )


class MethodControls(ui.VBox):
    """The controls of one method's fields.

    `method` is the object they stand for; a rule shows its own parameter below.
    """

    def __init__(self, kind):
        self.kind, self.boxes, rows = kind, {}, []
        for f in fields(kind):
            self.boxes[f.name] = chosen = control(f)
            rows.append(self._with_help(chosen, f))
            if f.metadata.get("rule"):
                rows += self._rule_controls(f, chosen)
        super().__init__(rows)

    def _with_help(self, box, f):
        told = f.metadata.get("help", "") + " (0)" * (f.metadata.get("kind") is int)
        return ui.HBox([box, ui.Label(told.split(":")[0])])

    def _rule_controls(self, f, chosen):
        """One slider for each rule that has a parameter; that of the chosen rule is shown."""
        for name, kind in RULES.items():
            for parameter in fields(kind):
                default = (
                    getattr(f.default, parameter.name) if isinstance(f.default, kind) else None
                )
                self.boxes[f.name, name] = box = control(parameter, default)
                row = self._with_help(box, parameter)
                show = lambda change=None, row=row, name=name: setattr(
                    row.layout, "display", None if chosen.value == name else "none"
                )
                chosen.observe(show, "value")
                show()
                yield row

    @property
    def method(self):
        """Raises ValueError or TypeError where the values do not go together."""
        values = {}
        for f in fields(self.kind):
            value = self.boxes[f.name].value
            if f.metadata.get("rule"):
                parameter = self.boxes.get((f.name, value))
                value = parse_rule(f"{value}:{parameter.value}" if parameter else value)
            values[f.name] = (value or None) if f.metadata.get("kind") is int else value
        return self.kind(**values)


class Explorer(ui.VBox):
    """Controls to decode with, and the player that shows it as it happens.

    `trace` is the latest; no algorithm here.
    """

    def __init__(self, model, prompt, method):
        self.model, self.trace, self._halted, self._task = model, None, False, None
        named = dict(style={"description_width": "110px"}, layout={"width": "420px"})
        self.prompt = ui.Textarea(
            value=prompt,
            description="prompt",
            style=named["style"],
            layout={"width": "640px"},
            rows=2,
        )
        self.method = ui.Dropdown(
            options=[(kind.title, name) for name, kind in METHODS.items()],
            value=method,
            description="decoder",
            **named,
        )
        self.options = {name: MethodControls(kind) for name, kind in METHODS.items()}
        self.max_new_bytes = ui.IntSlider(
            value=min(96, model.config.max_length - 1),
            min=1,
            description="new bytes",
            max=min(1024, model.config.max_length - 1),
            **named,
        )
        self.temperature = ui.FloatSlider(
            value=0.7, min=0, max=2, step=0.05, description="temperature", **named
        )
        self.seed = ui.IntText(value=0, description="seed", **named)
        self.decode = ui.Button(description="Decode", button_style="primary")
        self.stop, self.note = ui.Button(description="Stop", disabled=True), ui.Label()
        self.player = TracePlayer([])
        self.player.layout = {
            "display": "none",
            "margin": "12px 0 0",
        }  # until there is something to show
        self.decode.on_click(lambda _: self.start())
        self.stop.on_click(lambda _: setattr(self, "_halted", True))
        self.method.observe(lambda _: self._show_options(), "value")
        self._show_options()
        super().__init__(
            [
                self.prompt,
                self.method,
                *self.options.values(),
                self.max_new_bytes,
                self.temperature,
                self.seed,
                ui.HBox([self.decode, self.stop, self.note]),
                self.player,
            ]
        )

    def _show_options(self):
        for name, box in self.options.items():
            box.layout.display = None if name == self.method.value else "none"

    def start(self):
        """Decode: between two events the kernel answers, so that Stop works; where no loop runs,
        until it is done.
        """
        try:
            self._task = asyncio.get_running_loop().create_task(self.run())
        except RuntimeError:
            asyncio.run(self.run())

    async def run(self):
        """One decoding, shown every `FRAME` seconds (less often where drawing is slow); its end is
        always shown.
        """
        self.decode.disabled, self.stop.disabled, self._halted, self.note.value = (
            True,
            False,
            False,
            "",
        )
        try:
            events = stream(
                self.model,
                self.prompt.value,
                self.options[self.method.value].method,
                seed=self.seed.value,
                max_new_bytes=self.max_new_bytes.value,
                temperature=self.temperature.value,
            )
            self.player.layout.display = None
            await self._follow(events)
        except (ValueError, TypeError) as error:
            self.note.value = f"That does not work: {error}"
        finally:
            self.decode.disabled, self.stop.disabled = False, True

    async def _follow(self, events):
        pace = Pace(FRAME)
        try:
            for _ in events:
                if pace.due():
                    self.player.traces = events.traces
                    pace.drawn()
                await asyncio.sleep(0)
                if self._halted:
                    break
        finally:
            events.close()
            self.player.traces = events.traces
            (self.trace,) = self.player.traces


def explore(model, prompt="In the beginning ", method="blt-s"):
    """Controls in a notebook: prompt, decoder and its options, Decode and Stop; the player below
    shows what happens.

    model: a `BLT`.
    method: the name of the decoder that is chosen at first. Returns an `Explorer`, whose `trace` is
    the latest decoding and whose controls Python can read and set.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    return Explorer(model, prompt, method)
