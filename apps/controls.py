"""Controls made from the fields of methods and rules, and options made from their values. A new method needs no line here."""

import re
from dataclasses import fields

import gradio as gr

from bltlab.decoding import METHODS, method_of
from bltlab.sampling import RULES, format_rule, parse_rule


def control(f, value=None, **more):
    """A control for one field of a dataclass, from its metadata. value: another one than the field's default."""
    value = f.default if value is None else value
    more |= dict(label=f.name.replace("_", " "), info=f.metadata.get("help"))
    if f.metadata.get("rule"):
        return gr.Dropdown([(title(kind), name) for name, kind in RULES.items()], value=format_rule(value).split(":")[0],
                           **more | dict(info=more["info"].split(":")[0]))
    if "choices" in f.metadata:
        return gr.Radio(list(f.metadata["choices"]), value=value, **more)
    if isinstance(value, bool):
        return gr.Checkbox(value, **more)
    if f.metadata.get("kind") is int:                                # an int that may be left open: 0 on the slider
        return gr.Slider(0, f.metadata["max"], value or 0, step=1, **more | dict(info=f"{more['info']} (0)"))
    if not isinstance(value, (int, float)):
        return gr.Textbox(str(value), **more)
    step, low, high = 1 if isinstance(value, int) else 0.01, f.metadata.get("min"), f.metadata.get("max")
    if low is None or high is None:
        return gr.Number(value, step=step, precision=0 if step == 1 else None, minimum=low, maximum=high, **more)
    return gr.Slider(low, high, value, step=step, **more)


def title(kind):
    """The name of a rule in words: EntropyBound -> "Entropy bound"."""
    return re.sub(r"(?<!^)([A-Z])", lambda m: f" {m[1].lower()}", kind.__name__)


def keys():
    """(method, field, part) of every control, in order: part is None, or the rule whose parameter the control sets."""
    return [(method, f.name, part) for method, kind in METHODS.items() for f in fields(kind)
            for part in [None, *(name for name in RULES if fields(RULES[name]) and f.metadata.get("rule"))]]


def method_controls(kind):
    """The controls of one method, in the order of `keys`. A rule shows the parameter of the rule that is chosen."""
    controls = []
    for f in fields(kind):
        controls.append(chosen := control(f))
        if f.metadata.get("rule"):
            parts = [name for name in RULES if fields(RULES[name])]
            for name in parts:
                parameter, = fields(RULES[name])
                default = getattr(f.default, parameter.name) if isinstance(f.default, RULES[name]) else None
                controls.append(control(parameter, default, visible=name == chosen.value))
            chosen.change(lambda rule, parts=parts: [gr.update(visible=name == rule) for name in parts], chosen,
                          controls[-len(parts):], api_visibility="private", queue=False, show_progress="hidden")
    return controls


def gathered(method, values):
    """The options of one method from the values of all controls; a rule as text: {"unmasking": "confidence:0.7"}."""
    left_open = {f.name for kind in METHODS.values() for f in fields(kind) if f.metadata.get("kind") is int}
    options = {}
    for (owner, name, part), value in zip(keys(), values, strict=True):
        if owner == method and part is None:
            options[name] = (value or None) if name in left_open else value
        elif owner == method and part == options[name]:
            options[name] = f"{part}:{value}"
    return options


def build_method(name, options):
    """A method from its name and options; a rule is its text. Raises ValueError or TypeError."""
    kind = type(method_of(name))
    rules = {f.name for f in fields(kind) if f.metadata.get("rule")}
    return kind(**{key: parse_rule(value) if key in rules else value for key, value in options.items()})
