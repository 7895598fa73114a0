"""Controls made from the fields of methods and rules, options made from their values, and back. A new method needs no line.

A link carries what a page shows, as the query that `page.js` writes: tab, prompt, method, settings, the options of each
method ("blt-d.unmasking=confidence:0.7") and where the viewer stands ("view.step=44"). Anyone may have written it.
"""

import json
from dataclasses import dataclass, field, fields
from urllib.parse import parse_qsl

import gradio as gr

from bltlab.decoding import METHODS, method_of
from bltlab.unmasking import RULES, format_rule, parse_rule, rule_title


def control(f, value=None, **more):
    """A control for one field of a dataclass, from its metadata. value: another one than the field's default."""
    value = f.default if value is None else value
    more |= dict(label=f.name.replace("_", " "), info=f.metadata.get("help"))
    if f.metadata.get("rule"):
        return gr.Dropdown(
            [(rule_title(kind).capitalize(), name) for name, kind in RULES.items()],
            value=format_rule(value).split(":")[0],
            **more | dict(info=more["info"].split(":")[0]),
        )
    if "choices" in f.metadata:
        return gr.Radio(list(f.metadata["choices"]), value=value, **more)
    if isinstance(value, bool):
        return gr.Checkbox(value, **more)
    if f.metadata.get("kind") is int:  # an int that may be left open: 0 on the slider
        return gr.Slider(
            0, f.metadata["max"], value or 0, step=1, **more | dict(info=f"{more['info']} (0)")
        )
    if not isinstance(value, (int, float)):
        return gr.Textbox(str(value), **more)
    step, low, high = (
        1 if isinstance(value, int) else 0.01,
        f.metadata.get("min"),
        f.metadata.get("max"),
    )
    if low is None or high is None:
        return gr.Number(
            value, step=step, precision=0 if step == 1 else None, minimum=low, maximum=high, **more
        )
    return gr.Slider(low, high, value, step=step, **more)


def keys():
    """(method, field, part) of every control, in order: part is None, or the rule whose parameter the control sets."""
    return [
        (method, f.name, part)
        for method, kind in METHODS.items()
        for f in fields(kind)
        for part in [
            None,
            *(name for name in RULES if fields(RULES[name]) and f.metadata.get("rule")),
        ]
    ]


def method_controls(kind):
    """The controls of one method, in the order of `keys`. A rule shows the parameter of the rule that is chosen."""
    controls = []
    for f in fields(kind):
        controls.append(chosen := control(f))
        if f.metadata.get("rule"):
            parts = [name for name in RULES if fields(RULES[name])]
            for name in parts:
                (parameter,) = fields(RULES[name])
                default = (
                    getattr(f.default, parameter.name)
                    if isinstance(f.default, RULES[name])
                    else None
                )
                controls.append(control(parameter, default, visible=name == chosen.value))
            chosen.change(
                lambda rule, parts=parts: [gr.update(visible=name == rule) for name in parts],
                chosen,
                controls[-len(parts) :],
                api_visibility="private",
                queue=False,
                show_progress="hidden",
            )
    return controls


def gathered(method, values):
    """The options of one method from the values of all controls; a rule as text: {"unmasking": "confidence:0.7"}."""
    left_open = {
        f.name for kind in METHODS.values() for f in fields(kind) if f.metadata.get("kind") is int
    }
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
    if unknown := set(options) - {f.name for f in fields(kind)}:
        raise ValueError(
            f"{name} has no option {min(unknown)!r}, it has {', '.join(f.name for f in fields(kind)) or 'none'}"
        )
    return kind(
        **{key: parse_rule(value) if key in rules else value for key, value in options.items()}
    )


def filled(name, options):
    """Updates for all controls of one method, in the order of `keys`, so that they hold these options. Raises as the method."""
    method, updates = build_method(name, options), {}
    for f in fields(method):
        value, high = getattr(method, f.name), f.metadata.get("max")
        if high is not None and value is not None and value > high:
            raise ValueError(f"{f.name} must be at most {high}, got {value}")
        if f.metadata.get("rule"):
            chosen = format_rule(value).split(":")[0]
            for rule in (rule for rule in RULES if fields(RULES[rule])):
                held = dict(value=[*vars(value).values()][0]) if rule == chosen else {}
                updates[f.name, rule] = gr.update(visible=rule == chosen, **held)
            value = chosen
        updates[f.name, None] = gr.update(value=0 if value is None else value)
    return {(name, *key): update for key, update in updates.items()}


# -- settings that all methods share ------------------------------------------------------------------------------------

SETTINGS = {  # name: control, its arguments, what its value is
    "max_new_bytes": (gr.Slider, dict(minimum=1, maximum=1024, step=1, label="new bytes"), 96),
    "temperature": (
        gr.Slider,
        dict(
            minimum=0.0, maximum=2.0, step=0.05, label="temperature", info="0 takes the best byte"
        ),
        0.7,
    ),
    "top_k": (
        gr.Slider,
        dict(minimum=0, maximum=256, step=1, label="top k", info="0 keeps every byte"),
        0,
    ),
    "top_p": (gr.Slider, dict(minimum=0.01, maximum=1.0, step=0.01, label="top p"), 1.0),
    "seed": (gr.Number, dict(precision=0, label="seed"), 0),
    "stop": (
        gr.Textbox,
        dict(max_length=200, label="stop after", info="end when this text was written"),
        "",
    ),
}
MOST_CHARACTERS = 2000  # of a prompt


def setting_controls(values):
    """The controls of `SETTINGS`, in order. values: what they hold at first, by name."""
    return [
        kind(value=values.get(name, default), **arguments)
        for name, (kind, arguments, default) in SETTINGS.items()
    ]


def short(text):
    """The text, if it is short enough for this page. Raises ValueError."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"a text may have at most {MOST_CHARACTERS:,} characters here, got {len(text):,}"
        )
    return text


def checked(prompt, values):
    """Settings by name for `bltlab.stream`, inside the limits of this page. Raises ValueError, in one sentence."""
    short(prompt)
    for name, value in values.items():
        low, high = (SETTINGS[name][1].get(end) for end in ("minimum", "maximum"))
        if isinstance(value, (int, float)) and high is not None and not low <= value <= high:
            raise ValueError(f"{name} must be {low} to {high} here, got {value}")
    stop = values["stop"]
    return values | dict(
        seed=values["seed"] or 0, stop=([stop] if stop else []) if isinstance(stop, str) else stop
    )


# -- links --------------------------------------------------------------------------------------------------------------


@dataclass
class Link:
    """What a link asks for. `methods` has one name on Watch, up to four on Race; `view` goes to the viewer as it is."""

    tab: str
    prompt: str = ""
    methods: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    view: dict = field(default_factory=dict)
    model: str = ""


TABS = "watch", "race", "patches", "inside", "tour"


def read_link(query):
    """A `Link` from a query such as "tab=watch&method=blt-d&seed=1". Raises ValueError or TypeError, in one sentence."""
    if len(query) > 20_000:
        raise ValueError("this link is too long")
    entries = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=200))
    link = Link(
        entries.pop("tab", "watch"), entries.pop("prompt", ""), model=entries.pop("model", "")
    )
    link.methods = [name for name in entries.pop("method", "").split(",") if name]
    if link.tab not in TABS:
        raise ValueError(f"a link's tab must be one of {', '.join(TABS)}, got {link.tab!r}")
    if link.tab == "watch" and len(link.methods) > 1:
        raise ValueError("a link to Watch names one decoder, a link to Race up to four")
    for key, text in entries.items():
        owner, dot, name = key.rpartition(".")
        if owner == "view":
            link.view[name] = plain(text)
        elif dot and owner in link.methods:
            link.options.setdefault(owner, {})[name] = plain(text)
        elif key in SETTINGS:
            kind = type(SETTINGS[key][2])
            link.settings[key] = value = text if kind is str else plain(text)
            if kind is not str and (type(value) is bool or not isinstance(value, (int, kind))):
                raise ValueError(f"a link's {key} must be a number, got {text!r}")
        else:
            raise ValueError(f"a link knows nothing of {key!r}")
    checked(
        link.prompt, {name: default for name, (_, _, default) in SETTINGS.items()} | link.settings
    )
    for name in link.methods:
        filled(name, link.options.get(name, {}))
    return link


def plain(text):
    """A number, true, false, null or a list of whole numbers from its JSON; any other text as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    odd = (
        isinstance(value, (dict, str))
        or isinstance(value, list)
        and not all(type(v) is int for v in value)
    )
    return text if odd else value
