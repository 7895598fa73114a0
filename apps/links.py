"""Links: what a page shows, as the query that `page.js` writes. Anyone may have written one.

tab, prompt, model, method (several for a race), the settings, the options of each method
("blt-d.unmasking=confidence:0.7") and where the viewer stands ("view.step=44").
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from controls import filled
from settings import SETTINGS, checked, defaults

from bltlab.decoding import METHODS, branch_of
from bltlab.options import options_of
from bltlab.trace import Trace, traces_of
from bltlab.vocab import to_text

TABS = "watch", "race", "patches", "inside", "tour"
LONGEST = 20_000  # characters of a link


@dataclass
class Link:
    """What a link asks for.

    methods: one name on Watch, up to six on Race. options: by method.
    view: where the viewer stands; it goes there as it is.
    models: names of models; one for all methods, or one for each.
    """

    tab: str
    prompt: str = ""
    methods: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    view: dict[str, Any] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)

    def options_of(self, method: str) -> dict[str, Any]:
        """The options of one method, as far as the link says."""
        return self.options.get(method, {})

    @property
    def lanes(self) -> list[tuple[str, str]]:
        """(model, method) of each decoding; "" is the model that the page opens with."""
        models = self.models or [""]
        if len(models) != len(self.methods):
            models = models[:1] * len(self.methods)
        return list(zip(models, self.methods, strict=True))

    @property
    def all_settings(self) -> dict[str, Any]:
        """All settings: the default where the link does not say."""
        return defaults() | self.settings


def read_link(query: str) -> Link:
    """A `Link` from a query such as "tab=watch&method=blt-d&seed=1".

    Raises ValueError or TypeError, in one sentence, where this page cannot do what it asks for.
    """
    link = parse_link(query)
    checked(link.prompt, link.all_settings)
    for name in link.methods:
        filled(name, link.options_of(name))
    return link


def parse_link(query: str) -> Link:
    """What a query says, whether or not this page knows the methods.

    Raises ValueError or TypeError, in one sentence, if it is not a link.
    """
    if len(query) > LONGEST:
        raise ValueError("this link is too long")
    entries = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=200))
    link = Link(entries.pop("tab", "watch"))
    link.prompt = entries.pop("prompt", "")
    link.models = [name for name in entries.pop("model", "").split(",") if name]
    link.methods = [name for name in entries.pop("method", "").split(",") if name]
    if link.tab not in TABS:
        raise ValueError(f"a link's tab must be one of {', '.join(TABS)}, got {link.tab!r}")
    if link.tab == "watch" and len(link.methods) > 1:
        raise ValueError("a link to Watch names one decoder, a link to Race up to six")
    for key, text in entries.items():
        _read_entry(link, key, text)
    return link


def _read_entry(link: Link, key: str, text: str) -> None:
    """Put one entry of a query where it belongs."""
    owner, dot, name = key.rpartition(".")
    if owner == "view":
        link.view[name] = plain(text)
    elif dot and owner in link.methods:
        link.options.setdefault(owner, {})[name] = _option_value(owner, name, text)
    elif key in SETTINGS:
        link.settings[key] = _setting_value(key, text)
    else:
        raise ValueError(f"a link knows nothing of {key!r}")


def _option_value(method: str, name: str, text: str) -> Any:
    """The value of a method's option from its text; a rule stays a text."""
    one = options_of(METHODS[method]).get(name) if method in METHODS else None
    if one is None:  # `read_link` says so
        return plain(text)
    if one.may_be_open and text == "null":
        return None
    return text if one.rules is not None else one.parse(text)


def _setting_value(name: str, text: str) -> int | float | str:
    """The value of a setting from its text. Raises ValueError if it has to be a number."""
    kind = type(SETTINGS[name].default)
    if kind is str:
        return text
    value = plain(text)
    if type(value) is bool or not isinstance(value, (int, kind)):
        raise ValueError(f"a link's {name} must be a number, got {text!r}")
    return value


def plain(text: str) -> Any:
    """A number, true, false, null or a list of whole numbers from JSON; any other text as it is.

    >>> plain("0.5"), plain("null"), plain("[1, 2]"), plain("[[1]]"), plain("no")
    (0.5, None, [1, 2], '[[1]]', 'no')
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, list):
        return value if all(type(v) is int for v in value) else text
    return text if isinstance(value, (dict, str)) else value


def branch_link(choice: dict[str, Any]) -> tuple[Link, Trace]:
    """What goes on from a byte that was taken by hand, and the trace that it was taken in.

    choice: {"trace", "at", "byte"}. Raises ValueError or TypeError where they do not fit.
    """
    given = choice.get("trace")
    prompt, settings = branch_of(given, choice.get("at"), choice.get("byte"))
    (old,) = traces_of(given)
    link = link_of([old], "watch")
    link.prompt = prompt.decode("utf-8", "surrogateescape")
    most = max(settings["max_new_bytes"], 1)
    link.settings = link.all_settings | dict(max_new_bytes=most, stop=settings["stop"])
    return link, old


def link_of(traces: list[Trace], tab: str) -> Link:
    """A link that would decode these traces again: prompt and settings are those of the first."""
    first = traces[0]
    link = Link(tab, to_text(first.prompt))
    for name, value in first.settings.items():
        if name in SETTINGS and name != "stop":
            link.settings[name] = value
    link.settings["stop"] = next(map(to_text, first.stops), "")
    for trace in traces:
        name = trace.method["name"]
        link.methods.append(name)
        link.models.append(str(trace.model.get("name", "")))
        options = {k: v for k, v in trace.method.items() if k != "name"}
        known = link.options.setdefault(name, options)  # where models differ, each has its own
        link.options[name] = {k: v for k, v in options.items() if known.get(k) == v}
    return link
