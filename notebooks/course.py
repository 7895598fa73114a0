"""What all notebooks share: predictions that count, the picture of a BLT, and the glossary.

A prediction takes two calls, in two cells. The first shows the question and a field for the guess;
the second, which computes the answer, shows it only beside a guess:

    rows = course.predict("How many rows does the large stack read?")
    rows.reveal(8, "One a patch.")

In Jupyter, VS Code and Colab the field is a widget. Where widgets do not work it is a plain text
field, the answer is folded, and `predict(..., guess=12)` counts a guess. `course.score()` shows all
guesses beside their results. Automatic runs (BLTLAB_FAST=1) are asked nothing.
"""

import os
import re
from collections.abc import Callable, Sequence
from html import escape
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import HTML, display

from bltlab.viz.colours import BLUE, GREEN, ORANGE, RED, SKY

Guess = float | str | None

# -- predictions -----------------------------------------------------------------------------------


class Prediction:
    """A question, the reader's guess and, once it is computed, the answer.

    choices: what may be chosen; none where the answer is a number. within: how far off a number may
    be and still count, as a share of the answer.
    """

    def __init__(self, question: str, choices: Sequence[str] = (), within: float = 0.2):
        self.question = question
        self.choices = tuple(choices)
        self.within = within
        self.guess: Guess = None
        self.answer: Guess = None
        self.note = ""
        self._watchers: list[Callable[[], None]] = []

    @property
    def settled(self) -> bool:
        """Is there a guess, and an answer beside it? Then neither changes any more."""
        return self.guess is not None and self.answer is not None

    @property
    def near(self) -> bool:
        """Does the guess count?

        >>> prediction = Prediction("How many?", within=0.2)
        >>> prediction.guess, prediction.answer = 12.0, 10
        >>> prediction.near
        True
        """
        if not self.settled or self.choices:
            return self.settled and self.guess == self.answer
        return abs(self.guess - self.answer) <= self.within * abs(self.answer)

    def take(self, text: Any) -> str:
        """Take a guess as it was typed or chosen -> what to say about it.

        >>> Prediction("How many?").take("a lot")
        'A number, please.'
        """
        if self.settled:
            return f"Your guess stands: {say(self.guess)}."
        try:
            self.guess = str(text) if self.choices else number(text)
        except ValueError:
            return "A number, please."
        for told in (*self._watchers, *_scoreboards):
            told()
        following = "Now run the next cell." if self.answer is None else "The answer is below."
        return f"Your guess: {say(self.guess)}. {following}"

    def reveal(self, answer: Guess, note: str = "") -> None:
        """Show the answer beside the guess; without one it stays folded, and waits.

        note: what to say with it. Raises ValueError for an answer that could not be chosen.
        """
        if self.choices and answer not in self.choices:
            raise ValueError(f"the answer {answer!r} is none of {', '.join(self.choices)}")
        if not self.settled:
            self.answer, self.note = answer, note
        _show(self._revealed_widget, self.result())

    def ask(self) -> None:
        """Show the question and a field for the guess."""
        _show(self._field_widget, self.field())

    # -- as HTML, for whoever has no widgets

    def field(self) -> str:
        """The question and a plain text field, or the choices."""
        named = escape(self.question)
        if not self.choices:
            return f'<p>{named} <input type="text" placeholder="your guess"></p>'
        name = re.sub(r"\W+", "-", self.question)
        parts = [
            f'<label><input type="radio" name="{name}"> {escape(choice)}</label>'
            for choice in self.choices
        ]
        return f"<p>{named}<br>{'<br>'.join(parts)}</p>"

    def result(self) -> str:
        """The guess beside the answer, or the answer folded where nobody has guessed."""
        answer = f"<b>{escape(say(self.answer))}</b>"
        note = f" {escape(self.note)}" if self.note else ""
        if self.guess is None:
            folded = f"<details><summary>or unfold it</summary>It is {answer}.{note}</details>"
            return f"<p>{escape(self.question)} <i>Guess first, above</i></p>{folded}"
        right = "right" if self.choices else "near"
        verdict = right if self.near else f"not {right}"
        said = escape(say(self.guess))
        return f"<p>You said <b>{said}</b>, it is {answer}: {verdict}.{note} {_so_far()}</p>"

    # -- as widgets

    def _field_widget(self, ui: Any) -> Any:
        style = {"description_width": "0"}
        wide = ui.Layout(width="auto")
        if self.choices:
            box = ui.RadioButtons(options=self.choices, value=None, style=style, layout=wide)
        else:
            box = ui.Text(placeholder="your guess, then Enter", continuous_update=False)
        told = ui.HTML()

        def on_guess(change: dict[str, Any]) -> None:
            told.value = escape(self.take(change["new"]))
            box.disabled = self.settled

        box.observe(on_guess, "value")
        if self.guess is not None:
            told.value = escape(f"Your guess: {say(self.guess)}.")
            box.disabled = self.settled
        return ui.VBox([ui.HTML(f"<b>{escape(self.question)}</b>"), box, told])

    def _revealed_widget(self, ui: Any) -> Any:
        shown = ui.HTML(self.result())

        def told() -> None:
            shown.value = self.result()

        self._watchers = [told]
        return shown


_asked: dict[str, Prediction] = {}  # by question, in the order in which they were asked
_scoreboards: list[Callable[[], None]] = []  # to be told of every guess


def predict(
    question: str, choices: Sequence[str] = (), within: float = 0.2, guess: Guess = None
) -> Prediction:
    """Ask for a guess, and show a field for it. Reveal the answer in the cell that computes it.

    choices: what may be chosen; without them the answer is a number, and a guess counts `within`
    that share of it. guess: yours, written into the cell. A question that is settled stays so.
    """
    known = _asked.get(question)
    if known is None or not known.settled:
        known = _asked[question] = Prediction(question, choices, within)
    if guess is not None:
        known.take(guess)
    known.ask()
    return known


def score() -> None:
    """Show all guesses of this notebook so far beside their results; later ones come in."""
    _show(_score_widget, score_table())


def _score_widget(ui: Any) -> Any:
    shown = ui.HTML(score_table())

    def told() -> None:
        shown.value = score_table()

    _scoreboards[:] = [told]
    return shown


def score_table() -> str:
    """What `score` shows, as HTML."""
    rows = []
    for one in _asked.values():
        mark = ("✓" if one.near else "✗") if one.settled else ""
        answer = say(one.answer) if one.settled else ""
        cells = (one.question, say(one.guess), answer, mark)
        row = "".join(f'<td style="padding:0 .8em">{escape(cell)}</td>' for cell in cells)
        rows.append(f"<tr>{row}</tr>")
    head = "<tr><th>question</th><th>you said</th><th>it is</th><th></th></tr>"
    return f"<p>{_so_far()}</p><table>{head}{''.join(rows)}</table>"


def _so_far() -> str:
    """How many guesses were near, in words."""
    settled = [one for one in _asked.values() if one.settled]
    near = sum(one.near for one in settled)
    return f"{near} of {len(settled)} guesses right or near so far."


def say(value: Guess) -> str:
    """A guess or an answer as it is shown.

    >>> say(8), say(0.12345), say(None), say("BLT-D"), say(1234.6)
    ('8', '0.123', 'no guess', 'BLT-D', '1235')
    """
    if value is None or isinstance(value, str):
        return "no guess" if value is None else value
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


def number(text: Any) -> float:
    """A number as people type it. Raises ValueError for anything else.

    >>> number("12 %"), number("0,5"), number("about 3")
    (12.0, 0.5, 3.0)
    """
    found = re.findall(r"-?\d+(?:[.,]\d+)?|-?[.,]\d+", str(text))
    if len(found) != 1:
        raise ValueError(f"one number was expected, got {text!r}")
    return float(found[0].replace(",", "."))


_stills = count()  # numbers of the copies that need no kernel


def _show(as_widget: Callable[[Any], Any], html: str) -> None:
    """Show a widget, and HTML that it hides, for whoever opens the notebook without a kernel.

    Only the HTML where there are no widgets, or nobody to ask.
    """
    shell = get_ipython()
    if shell is None:
        return
    asked_nothing = os.environ.get("BLTLAB_FAST") == "1"
    if asked_nothing or not hasattr(shell, "kernel") or find_spec("ipywidgets") is None:
        display(HTML(html))
        return
    import ipywidgets as ui

    still = f"course-still-{next(_stills)}"
    hide = f"<style>.{still} {{ display: none }}</style>"
    box = ui.VBox([as_widget(ui), ui.HTML(hide, layout=ui.Layout(display="none"))])
    display(box._repr_mimebundle_() | {"text/html": ""}, raw=True)
    display(HTML(f'<div class="{still}">{html}</div>'))


# -- the picture of a BLT --------------------------------------------------------------------------

COLOUR_OF = {
    "bytes": SKY,
    "entropy model": ORANGE,
    "encoder": GREEN,
    "global": BLUE,
    "latents": RED,
    "decoder": GREEN,
    "block": ORANGE,
}
STEP, LEFT, WIDTH = 62, 150, 760  # pixels: of one byte, of the names, of all
LEVELS = {"bytes": 34, "encoder": 92, "global": 158, "latents": 222, "decoder": 292, "next": 352}


class Picture:
    """An SVG that takes the colour of the text around it, so that it reads on light and dark."""

    def __init__(self, svg: str):
        self.svg = svg

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return "Picture of a BLT"


def architecture(
    *parts: str, patches: Sequence[str] = ("The", " by"), reads: bool = True
) -> Picture:
    """A BLT from its bytes (top) to its predictions (bottom), with some parts highlighted.

    reads: draw which latent each byte reads.
    parts: of `COLOUR_OF`, drawn in colour and bold while the others fade; none: all alike. A block
    of MASKs is drawn where "block" is one of them. The last patch is open, all others are closed.
    Raises ValueError for an unknown part.
    """
    for part in parts:
        if part not in COLOUR_OF:
            raise ValueError(f"parts must be of {', '.join(COLOUR_OF)}, got {part!r}")
    drawing = _Drawing(parts, ["B", *patches])
    drawing.draw_bytes()
    drawing.draw_stacks()
    drawing.draw_latents(reads)
    if "block" in parts:
        drawing.draw_block()
    return Picture(drawing.svg())


class _Drawing:
    """The shapes of `architecture`, level after level. patches: "B" stands for BOS."""

    def __init__(self, parts: Sequence[str], patches: Sequence[str]):
        self.parts = parts
        self.patches = patches
        self.shapes: list[str] = []
        self.patch_of = [p for p, patch in enumerate(patches) for _ in patch]
        self.letters = ["BOS", *"".join(patches[1:]).replace(" ", "␣")]
        self.last = len(self.letters) - 1

    def svg(self) -> str:
        """All shapes as one element."""
        told = f"A BLT, {', '.join(self.parts) or 'all parts'} highlighted"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 376" role="img" '
            f'aria-label="{told}" style="max-width:{WIDTH}px;width:100%;color:inherit" '
            f'font-family="sans-serif" font-size="13" fill="currentColor">'
            f"{''.join(self.shapes)}</svg>"
        )

    def x(self, position: float) -> float:
        """The middle of a byte."""
        return LEFT + STEP * (position + 0.5)

    def middle(self, patch: int) -> float:
        """The middle of a patch."""
        at = [self.x(t) for t, p in enumerate(self.patch_of) if p == patch]
        return sum(at) / len(at)

    def reads(self, position: int) -> int:
        """The latent that a byte reads: of the last patch closed before the next byte."""
        patch = self.patch_of[position]
        closed = position < self.last and self.patch_of[position + 1] > patch
        return patch if closed else patch - 1

    # -- shapes

    def box(
        self, part: str, left: float, right: float, y: float, text: str, high: int = 30
    ) -> None:
        """A rounded box around a level, with a text inside."""
        size = f'x="{left:.0f}" y="{y - high / 2:.0f}" width="{right - left:.0f}" height="{high}"'
        self.shapes.append(f'<rect {size} rx="5" {self.look(part)}/>')
        self.text(part, (left + right) / 2, y, text)

    def text(self, part: str, x: float, y: float, text: str, anchor: str = "middle") -> None:
        """Words, bold where their part is highlighted."""
        strong = ' font-weight="bold"' if part in self.parts else ""
        place = f'x="{x:.0f}" y="{y + 4:.0f}" text-anchor="{anchor}"'
        self.shapes.append(f"<text {place}{strong} {self.faded(part)}>{escape(text)}</text>")

    def arrow(self, part: str, x1: float, y1: float, x2: float, y2: float) -> None:
        """A line with a dot where it arrives."""
        ends = f'x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"'
        dot = f'<circle cx="{x2:.0f}" cy="{y2:.0f}" r="2.5" stroke="none" fill="{self.ink(part)}"/>'
        self.shapes.append(f"<g {self.look(part)}><line {ends}/>{dot}</g>")

    def ink(self, part: str) -> str:
        """The colour of a part's lines."""
        return COLOUR_OF[part] if part in self.parts else "currentColor"

    def look(self, part: str) -> str:
        """How the lines of a part are drawn: in colour and thick where it is highlighted."""
        strong = part in self.parts
        fill = f'fill="{COLOUR_OF[part]}" fill-opacity=".22"' if strong else 'fill="none"'
        width = 2.5 if strong else 1
        return f'{fill} stroke="{self.ink(part)}" stroke-width="{width}" {self.faded(part)}'

    def faded(self, part: str) -> str:
        """The opacity of a part: less where others are highlighted."""
        return 'opacity=".45"' if self.parts and part not in self.parts else 'opacity="1"'

    # -- levels

    def draw_bytes(self) -> None:
        """The bytes, and the patches that the entropy model cuts them into."""
        y = LEVELS["bytes"]
        self.text("bytes", 8, y, "bytes", "start")
        self.text("entropy model", 8, y + 22, "entropy model: cuts", "start")
        for t, letter in enumerate(self.letters):
            self.box("bytes", self.x(t) - 24, self.x(t) + 24, y, letter, 26)
        for p in range(len(self.patches)):
            at = [self.x(t) for t, patch in enumerate(self.patch_of) if patch == p]
            size = f'x="{at[0] - 28:.0f}" y="{y - 19}" width="{at[-1] - at[0] + 56:.0f}"'
            look = self.look("entropy model")
            self.shapes.append(f'<rect {size} height="38" rx="8" stroke-dasharray="5 3" {look}/>')

    def draw_stacks(self) -> None:
        """Encoder, global transformer and decoder."""
        left, right = self.x(0) - 28, self.x(self.last) + 28
        texts = {"encoder": "encoder: reads every byte", "decoder": "decoder: runs for every byte"}
        for part, text in texts.items():
            self.box(part, left, right, LEVELS[part], text)
        self.box("global", left, right, LEVELS["global"], "global transformer: runs once a patch")
        self.text("decoder", 8, LEVELS["next"], "next byte", "start")
        for t in range(self.last + 1):
            self.arrow(
                "encoder", self.x(t), LEVELS["bytes"] + 19, self.x(t), LEVELS["encoder"] - 15
            )
            self.arrow("decoder", self.x(t), LEVELS["decoder"] + 15, self.x(t), LEVELS["next"] - 12)
            following = self.letters[t + 1] if t < self.last else "?"
            self.text("decoder", self.x(t), LEVELS["next"], following)

    def draw_latents(self, reads: bool) -> None:
        """A latent for each patch, and, if asked for, which byte reads which."""
        y = LEVELS["latents"]
        self.text("latents", 8, y, "latents: by patch", "start")
        for p in range(len(self.patches)):
            at = self.middle(p)
            is_open = p == len(self.patches) - 1
            self.arrow("encoder", at, LEVELS["encoder"] + 15, at, LEVELS["global"] - 15)
            if not is_open:
                self.arrow("global", at, LEVELS["global"] + 15, at, y - 14)
            name = "not yet" if is_open else f"o{p}"
            self.box("latents", at - 28, at + 28, y, name, 26)
        for t in range(self.last + 1 if reads else 0):
            source = self.middle(self.reads(t))
            self.arrow("latents", source, y + 13, self.x(t), LEVELS["decoder"] - 15)

    def draw_block(self) -> None:
        """A block of MASKs behind the text; every slot reads the last closed latent."""
        y, size = LEVELS["decoder"], 2
        first = self.last + 1
        left, right = self.x(first) - 26, self.x(first + size - 1) + 26
        self.box("block", left, right, y, "a block", 30)
        for slot in range(first, first + size):
            source = self.middle(self.reads(self.last))
            self.arrow("block", source, LEVELS["latents"] + 13, self.x(slot), y - 15)
            self.arrow("block", self.x(slot), y + 15, self.x(slot), LEVELS["next"] - 12)
            self.text("block", self.x(slot), LEVELS["next"], "MASK?")


# -- the glossary ----------------------------------------------------------------------------------


def glossary(*words: str) -> HTML:
    """Some words of GLOSSARY.md, or all of them. Raises KeyError for one that is not there."""
    known = _words()
    chosen = words or tuple(known)
    rows = [f"<dt><b>{escape(w)}</b></dt><dd>{escape(known[w])}</dd>" for w in chosen]
    return HTML(f"<dl>{''.join(rows)}</dl>")


def _words() -> dict[str, str]:
    """Each word of GLOSSARY.md and what it means."""
    text = Path(__file__).with_name("GLOSSARY.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^- \*\*(.+?)\*\*: (.+)$", text, re.M))
