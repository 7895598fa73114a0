"""Settings that all methods share: their controls, first values, and the limits of this page."""

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

MOST_CHARACTERS = 2000  # of a prompt
LONGEST_STOP = 200  # characters
MOST_STOPS = 16


@dataclass(frozen=True)
class Setting:
    """One setting. component: the class of its control; arguments: what it is made with."""

    component: type[Component]
    default: int | float | str
    arguments: dict[str, Any]

    def control(self, value: Any) -> Component:
        """A control that holds `value`."""
        return self.component(value=value, **self.arguments)

    def check(self, name: str, value: Any) -> None:
        """Raises ValueError where a number is outside the limits of its slider."""
        low, high = self.arguments.get("minimum"), self.arguments.get("maximum")
        if high is None or not isinstance(value, (int, float)):
            return
        if not low <= value <= high:
            raise ValueError(f"{name} must be {low} to {high} here, got {value}")


SETTINGS = {
    "max_new_bytes": Setting(
        gr.Slider,
        96,
        dict(minimum=1, maximum=1024, step=1, label="new bytes", info="how many to write, at most"),
    ),
    "temperature": Setting(
        gr.Slider,
        0.7,
        dict(
            minimum=0.0,
            maximum=2.0,
            step=0.05,
            label="temperature",
            info="how freely bytes are drawn; 0 takes the best (greedy)",
        ),
    ),
    "top_k": Setting(
        gr.Slider,
        0,
        dict(
            minimum=0,
            maximum=256,
            step=1,
            label="top k",
            info="draw among so many best bytes; 0 keeps all",
        ),
    ),
    "top_p": Setting(
        gr.Slider,
        1.0,
        dict(
            minimum=0.01,
            maximum=1.0,
            step=0.01,
            label="top p",
            info="draw among the best bytes that have this probability together (nucleus)",
        ),
    ),
    "seed": Setting(
        gr.Number, 0, dict(precision=0, label="seed", info="the same seed draws the same bytes")
    ),
    "stop": Setting(
        gr.Textbox,
        "",
        dict(max_length=LONGEST_STOP, label="stop after", info="end when this text was written"),
    ),
    "no_repeat_ngram_bytes": Setting(
        gr.Slider,
        0,
        dict(
            minimum=0,
            maximum=64,
            step=1,
            label="no repeats of",
            info="write no run of so many bytes twice; 0 lets text repeat",
        ),
    ),
}


def defaults() -> dict[str, Any]:
    """What the settings hold at first, by name."""
    return {name: setting.default for name, setting in SETTINGS.items()}


def setting_controls(values: dict[str, Any]) -> list[Component]:
    """The controls of `SETTINGS`, in order. values: what they hold at first, if not the default."""
    held = defaults() | values
    return [setting.control(held[name]) for name, setting in SETTINGS.items()]


def short(text: str) -> str:
    """The text itself. Raises ValueError if it is too long for this page."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(
            f"a text may have at most {MOST_CHARACTERS:,} characters here, got {len(text):,}"
        )
    return text


def text_of(given: str | list[int]) -> str:
    """A text as it is, or from bytes as numbers: those that are not UTF-8 become lone surrogates.

    `bltlab.vocab.to_bytes` turns these back. Raises ValueError for anything else, and for too much.

    >>> text_of("é"), text_of([195, 169, 255])
    ('é', 'é\\udcff')
    """
    if isinstance(given, str):
        return short(given)
    whole = isinstance(given, list) and len(given) <= MOST_CHARACTERS
    if not whole or not all(type(byte) is int and 0 <= byte < 256 for byte in given):
        raise ValueError(
            "a text must be a string, or a list of numbers in 0..255, at most"
            f" {MOST_CHARACTERS:,} of them"
        )
    return bytes(given).decode("utf-8", "surrogateescape")


def checked(prompt: str, values: dict[str, Any]) -> dict[str, Any]:
    """The settings for `bltlab.stream`, by name: `stop` as a list, an empty seed as 0.

    Raises ValueError, in one sentence, if the prompt or a value is outside the limits of this page.
    """
    short(prompt)
    for name, value in values.items():
        SETTINGS[name].check(name, value)
    stop = values["stop"]
    if isinstance(stop, str):
        stop = [stop] if stop else []
    if len(stop) > MOST_STOPS or any(len(text) > LONGEST_STOP for text in stop):
        raise ValueError(
            f"stop may be up to {MOST_STOPS} texts of at most {LONGEST_STOP} characters here"
        )
    return values | dict(seed=values["seed"] or 0, stop=stop)
