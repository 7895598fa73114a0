"""Controls to decode with in a notebook, made from the options of methods and rules.

A new method or rule needs no line here. Needs ipywidgets and anywidget. No algorithm: it consumes
`stream`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from html import escape
from typing import Any

import ipywidgets as ui

from ..clock import Pace
from ..decoding import METHODS, Stream, branch_of, method_of, stream
from ..model import BLT
from ..options import Option, build, options_of
from ..trace import Trace
from ..unmasking import rule_title
from . import export
from .prompts import PROMPTS, kind_of
from .widget import TracePlayer, copy_named, show

FRAME = 0.15  # seconds between pictures while decoding
LOOK: dict[str, Any] = dict(style={"description_width": "110px"}, layout={"width": "420px"})
OPEN = ("left open", None)  # the choice that stands for None: the model or the method decides
YES_OR_NO = (("yes", True), ("no", False))

# -- one option and its control --------------------------------------------------------------------


def control(one: Option, value: Any = None) -> ui.Widget:
    """A control for one option, with its limits, choices and help.

    value: another one than the option's default.
    """
    value = one.default if value is None else value
    named = dict(description=one.name.replace("_", " "), tooltip=one.help, **LOOK)
    if one.rules is not None:
        titles = [(rule_title(kind), name) for name, kind in one.offered.items()]
        return ui.Dropdown(options=titles, value=one.name_of_rule(value), **named)
    if one.is_choice:
        return ui.Dropdown(options=_choices(one), value=value, **named)
    if one.kind is bool:
        return ui.Checkbox(value=value, **named)
    if is_written(one):
        return ui.Text(value="" if value is None else str(value), **named)
    return _number(one, value, named)


def is_written(one: Option) -> bool:
    """Is the value written into a box, which is empty where it is left open?"""
    return one.kind is str or (one.may_be_open and not one.opens_at_zero)


def _choices(one: Option) -> list[Any]:
    """What may be chosen: words, or (words, value) pairs where one choice stands for None."""
    if not one.may_be_open:
        return list(one.choices)
    if one.kind is bool:
        return [OPEN, *YES_OR_NO]
    return [OPEN, *((str(choice), choice) for choice in one.choices)]


def _number(
    one: Option,
    value: float | None,
    named: dict[str, Any],
) -> ui.Widget:
    """A slider where both limits are known, else a box to write in."""
    whole = one.kind is int
    if one.opens_at_zero:
        return ui.IntSlider(value=value or 0, min=0, max=one.high, **named)
    if one.low is None or one.high is None:
        return (ui.IntText if whole else ui.FloatText)(value=value, **named)
    slider, step = (ui.IntSlider, 1) if whole else (ui.FloatSlider, 0.01)
    return slider(value=value, min=one.low, max=one.high, step=step, **named)


def value_of(one: Option, held: Any) -> Any:
    """The value of an option from what its control holds.

    >>> size = Option("size", int, None, "", 1, 8)
    >>> value_of(size, 0), value_of(size, 4)
    (None, 4)

    Raises ValueError or TypeError where it is not accepted.
    """
    if one.may_be_open and (held == "" or (one.opens_at_zero and held == 0)):
        return None
    return one.parse(held)


def _with_help(box: ui.Widget, one: Option) -> ui.HBox:
    """A control and, beside it, what it is for; what 0 stands for is said too."""
    words = one.help.split(":")[0]
    if one.opens_at_zero:
        words += " (0)"
    box.layout.flex = "0 0 auto"
    told = ui.HTML(escape(words), layout=ui.Layout(flex="1 1 0"))  # it wraps; a Label is cut off
    return ui.HBox([box, told])


# -- all options of a method -----------------------------------------------------------------------


class MethodControls(ui.VBox):
    """The controls of one method's options. `method` is the object they stand for.

    start: a method, whose options they show at first, or a class of one.
    boxes: the control of each option by its name, those of a rule's options by (option, rule,
    option of the rule); those of the chosen rule are in sight.
    """

    def __init__(self, start: Any) -> None:
        self.start = start() if isinstance(start, type) else start
        self.boxes: dict[Any, ui.Widget] = {}
        rows = []
        for name, one in options_of(self.start).items():
            value = getattr(self.start, name)
            self.boxes[name] = chosen = control(one, value)
            rows.append(_with_help(chosen, one))
            if one.rules is not None:
                rows += self._rule_rows(one, chosen, value)
        super().__init__(rows)

    def _rule_rows(
        self,
        one: Option,
        chosen: ui.Widget,
        value: Any,
    ) -> list[ui.HBox]:
        """A row for each option of each rule; those of the chosen rule are shown."""
        rows: list[ui.HBox] = []
        rule_of: list[str] = []
        for rule, kind in one.offered.items():
            for name, part in options_of(kind).items():
                held = getattr(value, name) if type(value) is kind else None
                self.boxes[one.name, rule, name] = box = control(part, held)
                rows.append(_with_help(box, part))
                rule_of.append(rule)

        def show(change: Any = None) -> None:
            for row, rule in zip(rows, rule_of, strict=True):
                row.layout.display = None if chosen.value == rule else "none"

        chosen.observe(show, "value")
        show()
        return rows

    @property
    def method(self) -> Any:
        """The method with the options that the controls show.

        Raises ValueError or TypeError where they do not go together.
        """
        values = {}
        for name, one in options_of(self.start).items():
            held = self.boxes[name].value
            if one.rules is None:
                values[name] = value_of(one, held)
            else:
                values[name] = self._rule(one, held)
        return type(self.start)(**values)

    def _rule(self, one: Option, rule: str | None) -> Any:
        """The chosen rule; the method's own where it is an object that no control could show."""
        if rule is None:
            return getattr(self.start, one.name)
        kind = one.offered[rule]
        values = {}
        for name, part in options_of(kind).items():
            held = self.boxes[one.name, rule, name].value
            values[name] = value_of(part, held)
        return kind(**values)


# -- the explorer ----------------------------------------------------------------------------------


class Explorer(ui.VBox):
    """Controls to decode with, and the player that shows it as it happens.

    methods: the methods to offer, one of a name.
    chosen: the name of the first. `trace` is the latest decoding; `options` has the
    `MethodControls` by name.
    """

    def __init__(
        self,
        model: BLT,
        prompt: str,
        methods: dict[str, Any],
        chosen: str,
    ) -> None:
        self.model = model
        self.trace: Trace | None = None
        self._halted = False
        self._task: asyncio.Task[None] | None = None
        self._copy: Any = None  # the handle of what is shown where no kernel runs
        self._make_settings(prompt)
        titles = [(getattr(one, "title", "") or name, name) for name, one in methods.items()]
        self.method = ui.Dropdown(options=titles, value=chosen, description="decoder", **LOOK)
        self.options = {name: MethodControls(one) for name, one in methods.items()}
        self.decode = ui.Button(description="Decode", button_style="primary")
        self.stop = ui.Button(description="Stop", disabled=True)
        self.note = ui.Label()
        self.player = TracePlayer([], branch=self.take)  # hidden until there is something to show
        self.player.layout = {"display": "none", "margin": "12px 0 0"}
        self.decode.on_click(lambda _: self.start())
        self.stop.on_click(lambda _: self._halt())
        self.method.observe(lambda _: self._show_options(), "value")
        self._show_options()
        settings = [self.max_new_bytes, self.temperature, self.seed]
        buttons = ui.HBox([self.decode, self.stop, self.note])
        options = self.options.values()
        super().__init__([self.prompt, self.method, *options, *settings, buttons, self.player])

    def _make_settings(self, prompt: str) -> None:
        """The controls that all methods share."""
        most = self.model.config.max_length - 1
        wide = {"width": "640px"}
        self.prompt = ui.Textarea(
            value=prompt, description="prompt", style=LOOK["style"], layout=wide, rows=2
        )
        self.max_new_bytes = ui.IntSlider(
            value=min(96, most), min=1, max=min(1024, most), description="new bytes", **LOOK
        )
        self.temperature = ui.FloatSlider(
            value=0.7, min=0, max=2, step=0.05, description="temperature", **LOOK
        )
        self.seed = ui.IntText(value=0, description="seed", **LOOK)

    def _show_options(self) -> None:
        for name, box in self.options.items():
            box.layout.display = None if name == self.method.value else "none"

    def _halt(self) -> None:
        self._halted = True

    def start(self) -> None:
        """Decode. Between two events the kernel answers, so that Stop works.

        Where no loop of asyncio runs, this returns when the decoding is done.
        """
        self._begin(self.run())

    def take(self, old: Trace, at: int, byte: int) -> None:
        """Go on from a trace with another byte, beside it, as `start` decodes."""
        if self._task is None or self._task.done():  # else one is under way
            self._begin(self._decode(partial(self._branch, old, at, byte), [old]))

    def _begin(self, decoding: Coroutine[Any, Any, None]) -> None:
        try:
            self._task = asyncio.get_running_loop().create_task(decoding)
        except RuntimeError:
            asyncio.run(decoding)

    async def run(self) -> None:
        """One decoding, shown every `FRAME` seconds (less often where drawing is slow) and at its
        end.
        """
        await self._decode(self._events, [])

    async def _decode(self, begin: Callable[[], Stream], beside: list[Trace]) -> None:
        """A decoding, beside others that were done before."""
        self._halted, self.note.value = False, ""
        self._set_busy(True)
        try:
            events = begin()
            self.player.layout.display = None
            await self._follow(events, beside)
        except (ValueError, TypeError) as error:
            self.note.value = f"That does not work: {error}"
        finally:
            self._set_busy(False)

    def _set_busy(self, busy: bool) -> None:
        self.decode.disabled, self.stop.disabled = busy, not busy

    def _events(self) -> Stream:
        """The decoding that the controls ask for. Raises ValueError or TypeError."""
        return stream(
            self.model,
            self.prompt.value,
            self.options[self.method.value].method,
            seed=self.seed.value,
            max_new_bytes=self.max_new_bytes.value,
            temperature=self.temperature.value,
        )

    def _branch(self, old: Trace, at: int, byte: int) -> Stream:
        """The decoding that goes on from a trace. Raises ValueError or TypeError."""
        prompt, settings = branch_of(old, at, byte)
        options = {name: value for name, value in old.method.items() if name != "name"}
        kind = type(self.options[old.method["name"]].start)
        return stream(self.model, prompt, build(kind, options), **settings)

    async def _follow(self, events: Stream, beside: list[Trace]) -> None:
        """Run to the end, or until Stop; the player shows the trace so far."""
        pace = Pace(FRAME)
        try:
            for _ in events:
                if pace.due():
                    self.player.traces = [*beside, *events.traces]
                    pace.drawn()
                await asyncio.sleep(0)
                if self._halted:
                    break
        finally:
            events.close()
            (self.trace,) = events.traces
            self.player.traces = [*beside, self.trace]
            self._update_copy()

    def _ipython_display_(self) -> None:
        self._copy = show(self, self.player.name, self._still())

    def _update_copy(self) -> None:
        if self._copy is not None:
            data, metadata = copy_named(self.player.name, self._still())
            self._copy.update(data, metadata=metadata, raw=True)

    def _still(self) -> tuple[dict, dict]:
        """The latest decoding, as (data, metadata); before any, what this is."""
        if self.trace is not None:
            return export.mimebundle(self.player.traces, repr(self))
        return {"text/plain": repr(self), "text/html": f"<p>{escape(repr(self))}</p>"}, {}

    def __repr__(self) -> str:
        """In words, for where no controls can be shown."""
        decoders = ", ".join(self.options)
        asked = f"an explorer of {self.model.name} with {decoders} after {self.prompt.value!r}"
        return f"{asked}: run this cell, and press Decode"


def explore(
    model: BLT,
    prompt: str | None = None,
    method: Any = None,
    methods: Iterable[Any] | None = None,
) -> Explorer:
    """Controls in a notebook, and the player below that shows what happens.

    They are: prompt, decoder and its options, Decode and Stop.
    prompt: at first, by default one that suits the model.
    method: the decoder that is chosen at first, "blt-s" by default.
    methods: the decoders to offer, by default all that are known. Each is a name, an object or
    "module:Class", as in `generate`, or a class; one of a name. Returns an `Explorer`, whose
    `trace` is the latest decoding and whose controls Python can read and set.

    Raises ValueError or TypeError for a method that is not known or lacks something.
    """
    given = METHODS.values() if methods is None else methods
    offer = {one.name: one for one in map(_method, given)}
    if method is None:
        first = "blt-s" if "blt-s" in offer else next(iter(offer), None)
    else:
        wanted = _method(method)
        first = offer.setdefault(wanted.name, wanted).name
    if first is None:
        raise ValueError("methods must name at least one method, got none")
    if prompt is None:
        prompt = PROMPTS[kind_of(model.name)][0]
    return Explorer(model, prompt, offer, first)


def _method(spec: Any) -> Any:
    """A method from what `method_of` takes, or from its class."""
    return method_of(spec() if isinstance(spec, type) else spec)
