"""Controls made from the options of methods and rules, options read from their values, and back.

All that a control needs is said by `bltlab.options.options_of`: a new method or rule needs no line
here. A rule is chosen in a list, and the options of the chosen one stand below it.
"""

from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from bltlab.decoding import METHODS, method_from_header
from bltlab.options import Option, home_of, options_of
from bltlab.unmasking import rule_title

OPEN = ("left open", "")  # the choice that stands for None: the model or the method decides


class Key(NamedTuple):
    """Names a control: that of a method's option or, with rule and field, of a rule's option."""

    method: str
    option: str
    rule: str | None = None
    field: str | None = None


# -- one option and its control --------------------------------------------------------------------


def rule_parts(one: Option) -> list[tuple[str, Option]]:
    """(name of a rule, option of it) for every option of every rule offered, in order."""
    parts = []
    for name, kind in one.offered.items():
        parts += [(name, part) for part in options_of(kind).values()]
    return parts


def to_control(one: Option, value: Any) -> Any:
    """What the control of an option holds for a value; `from_control` is the way back."""
    if one.rules is not None:
        return one.name_of_rule(value)
    if value is None:
        if one.opens_at_zero:
            return 0
        return None if one.kind in (int, float) else ""
    return str(value).lower() if one.kind is bool and one.is_choice else value


def from_control(one: Option, held: Any) -> Any:
    """The value of an option, for `build_method`, from what its control holds."""
    if one.opens_at_zero:
        return held or None
    return None if one.may_be_open and held == "" else held


def control(one: Option, value: Any, visible: bool = True) -> Component:
    """A control for one option that holds `value`, with its limits, choices and help."""
    held = to_control(one, value)
    told = dict(label=one.name.replace("_", " "), info=one.help, visible=visible)
    if one.rules is not None:
        told["info"] = one.help.split(":")[0]
        titles = [(rule_title(kind).capitalize(), name) for name, kind in one.offered.items()]
        return gr.Dropdown(titles, value=held, **told)
    if one.is_choice:
        words = [str(choice) for choice in one.choices] or ["true", "false"]
        return gr.Radio([*words, OPEN] if one.may_be_open else words, value=held, **told)
    if one.kind is bool:
        return gr.Checkbox(held, **told)
    if one.kind is str:
        return gr.Textbox(held, **told)
    return _number(one, held, told)


def _number(one: Option, held: int | float | None, told: dict[str, Any]) -> Component:
    """A slider where both limits are known, else a box to write in; empty means left open."""
    whole = one.kind is int
    if one.opens_at_zero:
        return gr.Slider(0, one.high, held, step=1, **told | dict(info=f"{one.help} (0)"))
    step = 1 if whole else 0.01
    if one.low is None or one.high is None or one.may_be_open:
        precision = 0 if whole else None
        limits = dict(minimum=one.low, maximum=one.high)
        return gr.Number(held, step=step, precision=precision, **limits, **told)
    return gr.Slider(one.low, one.high, held, step=step, **told)


# -- all controls of a method ----------------------------------------------------------------------


def keys() -> list[Key]:
    """The names of all controls of all methods, in the order of the page."""
    found = []
    for method, kind in METHODS.items():
        for one in options_of(kind).values():
            found.append(Key(method, one.name))
            found += [Key(method, one.name, rule, part.name) for rule, part in rule_parts(one)]
    return found


def method_controls(kind: type) -> list[Component]:
    """The controls of one method, in the order of `keys`."""
    controls = []
    for one in options_of(kind).values():
        chosen = control(one, one.default)
        controls.append(chosen)
        if one.rules is not None:
            controls += _rule_controls(one, chosen)
    return controls


def _rule_controls(one: Option, chosen: Component) -> list[Component]:
    """The controls of all rules offered; those of the chosen one are shown."""
    first = chosen.value
    boxes = {}  # control: the name of its rule
    for rule, part in rule_parts(one):
        value = getattr(one.default, part.name) if rule == first else part.default
        boxes[control(part, value, visible=rule == first)] = rule

    def show(name: str) -> dict[Component, dict]:
        return {box: gr.update(visible=rule == name) for box, rule in boxes.items()}

    if boxes:
        quiet = dict(api_visibility="private", queue=False, show_progress="hidden")
        chosen.change(show, chosen, [*boxes], **quiet)
    return [*boxes]


def gathered(method: str, values: list) -> dict[str, Any]:
    """The options of one method from the values of all controls, in the order of `keys`.

    A rule is its text: {"block_size": None, "unmasking": "confidence:0.7"}.
    """
    held = dict(zip(keys(), values, strict=True))
    options = {}
    for one in options_of(METHODS[method]).values():
        value = held[Key(method, one.name)]
        if one.rules is None:
            options[one.name] = from_control(one, value)
        elif value is not None:  # None: the default is an object that no text could name
            options[one.name] = _gathered_rule(method, one, value, held)
    return options


def _gathered_rule(method: str, one: Option, chosen: str, held: dict[Key, Any]) -> str:
    """The text of the chosen rule: its name, then the values of its options."""
    words = [chosen]
    for rule, part in rule_parts(one):
        if rule == chosen:
            words.append(str(from_control(part, held[Key(method, one.name, rule, part.name)])))
    return ":".join(words)


def build_method(name: str, options: dict[str, Any]) -> Any:
    """A method from its name and its options as links, files and controls give them.

    Raises ValueError or TypeError, in one sentence, for an unknown method, option or rule and for a
    value out of range. Nothing is imported: a text can name only the rules that the page offers.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}")
    if not isinstance(options, dict):
        raise TypeError(f"the options of {name} must be given by name, got {options!r}")
    for one in options_of(METHODS[name]).values():
        if one.rules is not None and isinstance(options.get(one.name), str):
            _check_rule_name(one, options[one.name])
    return method_from_header({"name": name, **options})


def _check_rule_name(one: Option, text: str) -> None:
    """Raises ValueError for the text of a rule that is not offered: anyone may have written it."""
    known = set(one.offered) | {home_of(kind) for kind in one.offered.values()}
    words = text.split(":")
    if words[0] not in known and ":".join(words[:2]) not in known:
        raise ValueError(f"{one.name} must be {one.accepted}, got {text!r}")


def filled(name: str, options: dict[str, Any]) -> dict[Key, dict]:
    """Updates for all controls of one method, so that they hold these options.

    Raises ValueError or TypeError as `build_method` does.
    """
    method = build_method(name, options)
    updates = {}
    for one in options_of(method).values():
        value = getattr(method, one.name)
        updates[Key(name, one.name)] = gr.update(value=to_control(one, value))
        if one.rules is not None:
            updates |= _filled_rule(name, one, value)
    return updates


def _filled_rule(method: str, one: Option, rule: Any) -> dict[Key, dict]:
    """Updates for the controls of all rules: those of the rule's own class hold its values."""
    chosen = one.name_of_rule(rule)
    updates = {}
    for name, part in rule_parts(one):
        key = Key(method, one.name, name, part.name)
        if name == chosen:
            value = to_control(part, getattr(rule, part.name))
            updates[key] = gr.update(visible=True, value=value)
        else:
            updates[key] = gr.update(visible=False)
    return updates
