"""What notebooks share: predictions that count, the picture of the architecture, the glossary."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
sys.path.insert(0, str(FOLDER))
import course  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    monkeypatch.setattr(course, "_asked", {})
    monkeypatch.setattr(course, "_scoreboards", [])


@pytest.fixture
def shown(monkeypatch):
    """What predictions show where there are widgets."""
    ui = pytest.importorskip("ipywidgets")
    widgets = []
    monkeypatch.setattr(course, "_show", lambda as_widget, html: widgets.append(as_widget(ui)))
    return widgets


# -- predictions -----------------------------------------------------------------------------------


def test_a_guess_before_the_answer_is_shown_beside_it_and_counts(shown):
    rows = course.predict("How many rows?")
    _, box, told = shown[0].children
    box.value = "9,5"
    assert rows.guess == 9.5 and "9.5" in told.value
    rows.reveal(8, "One a patch.")
    assert "You said <b>9.5</b>, it is <b>8</b>: near. One a patch." in shown[1].value
    assert "1 of 1 guesses right" in course.score_table()


def test_without_a_guess_the_answer_stays_folded_until_there_is_one(shown):
    which = course.predict("Which?", ["a lane", "a <row>"])
    which.reveal("a <row>")
    before = shown[1].value
    assert "<details>" in before and "Guess first" in before and "You said" not in before
    assert "0 of 0" in course.score_table()
    shown[0].children[1].value = "a lane"
    assert "it is <b>a &lt;row&gt;</b>: not right" in shown[1].value
    assert "0 of 1" in course.score_table()


def test_a_guess_does_not_change_once_its_answer_is_known(shown):
    rows = course.predict("How many rows?", guess=3)
    rows.reveal(8)
    assert "stands" in rows.take("8") and rows.guess == 3
    again = course.predict("How many rows?", guess=8)
    assert again is rows and not again.near
    rows.reveal(3)
    assert rows.answer == 8


def test_the_score_takes_in_later_guesses(shown):
    rows = course.predict("How many rows?")
    rows.reveal(8)
    course.score()
    assert "0 of 0" in shown[-1].value and "no guess" in shown[-1].value
    rows.take("8")
    assert "1 of 1" in shown[-1].value and "✓" in shown[-1].value


def test_what_is_no_number_is_refused_and_asked_again(shown):
    rows = course.predict("How many rows?")
    box = shown[0].children[1]
    box.value = "many"
    assert rows.guess is None and "number" in shown[0].children[2].value
    box.value = "0.4 bits"
    assert rows.guess == 0.4 and not box.disabled


@pytest.mark.parametrize(
    "guess, answer, near", [(10, 8, False), (9.5, 8, True), (0, 0, True), (-1, -1.1, True)]
)
def test_a_number_counts_within_a_fifth(guess, answer, near):
    one = course.Prediction("How many?")
    one.guess, one.answer = guess, answer
    assert one.near == near


def test_an_answer_that_cannot_be_chosen_is_a_mistake_of_the_author():
    with pytest.raises(ValueError, match="none of a, b"):
        course.predict("Which?", ["a", "b"]).reveal("c")


def test_without_widgets_there_is_a_text_field_and_a_folded_answer():
    one = course.Prediction('How many "rows" <b>?')
    assert 'type="text"' in one.field() and "<b>?" not in one.field()
    one.answer = 8
    assert "<details>" in one.result() and "<b>8</b>" in one.result()


def test_automatic_runs_are_asked_nothing():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell; InteractiveShell.instance();"
        "import course; rows = course.predict('How many?'); rows.reveal(8); course.score();"
        "assert 'ipywidgets' not in __import__('sys').modules"
    )
    environment = {"BLTLAB_FAST": "1", "PYTHONPATH": f"{FOLDER}:{FOLDER.parent}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# -- the picture -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(), ("latents",), ("encoder", "global"), ("block",)])
def test_the_picture_highlights_parts_on_any_ground(parts):
    picture = course.architecture(*parts)
    root = ElementTree.fromstring(picture._repr_html_())
    words = "".join(root.itertext())
    assert "global transformer" in words and ("MASK" in words) == ("block" in parts)
    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', picture.svg)) - {"none", "currentColor"}
    assert colours == {course.COLOUR_OF[part] for part in parts}
    bold = [text for text in root.iter() if text.get("font-weight") == "bold"]
    assert bool(bold) == bool(parts)


def test_bytes_read_the_latent_of_the_last_closed_patch():
    drawing = course._Drawing((), ["B", "The", " by"])
    assert [drawing.reads(t) for t in range(7)] == [0, 0, 0, 1, 1, 1, 1]


def test_what_bytes_read_can_be_left_out():
    lines = [course.architecture(reads=reads).svg.count("<line") for reads in (True, False)]
    assert lines[0] - lines[1] == 7  # a line for each byte


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="parts must be of bytes"):
        course.architecture("stack")


# -- slides ----------------------------------------------------------------------------------------


def test_slides_have_pages_and_fetch_nothing():
    exporters = pytest.importorskip("nbconvert").exporters
    made = exporters.SlidesExporter(
        template_name="slides", extra_template_basedirs=[str(FOLDER)]
    ).from_filename(str(FOLDER / "02_latents.ipynb"))[0]
    outer = re.findall(r"<section[^>]*>\s*<section", made)
    pages = made.count("<section") - len(outer)
    cells = json.loads((FOLDER / "02_latents.ipynb").read_text(encoding="utf-8"))["cells"]
    begins = [cell["metadata"].get("slideshow", {}).get("slide_type") for cell in cells]
    assert pages == begins.count("slide") + begins.count("subslide") > 12
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//|@import|require\(""", made)


# -- the glossary ----------------------------------------------------------------------------------


def test_the_glossary_has_each_word_once_and_shows_those_asked_for():
    words = re.findall(r"^- \*\*(.+?)\*\*:", (FOLDER / "GLOSSARY.md").read_text(), re.M)
    assert len(words) == len(set(words)) > 30
    assert course.glossary().data.count("<dt>") == len(words)
    one = course.glossary("latent").data
    assert "<dt><b>latent</b></dt>" in one and one.count("<dt>") == 1
    with pytest.raises(KeyError):
        course.glossary("chunk")


# -- the page for teachers -------------------------------------------------------------------------


def test_plans_for_a_class_add_up():
    text = (FOLDER.parent / ".github" / "TEACHING.md").read_text(encoding="utf-8")
    plans = re.findall(r"^### ([^\n]+)\n(.+?)^\| \*\*(\d+)\*\*", text, re.M | re.S)
    assert [name for name, _, _ in plans][:2] == ["90 minutes", "An afternoon"]
    for name, rows, total in plans:
        assert sum(map(int, re.findall(r"^\| (\d+) \|", rows, re.M))) == int(total), name
