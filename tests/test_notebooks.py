"""Notebooks argue and never define: their anatomy, held by tests."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
sys.path.insert(0, str(FOLDER))
import checks  # noqa: E402
import course  # noqa: E402

QUESTIONS = {
    "00_tour": "Six passes for 36 bytes: how?",
    "01_patching": "Where should a patch begin?",
    "02_latents": "Which latent may a byte read?",
    "03_training": "Can I train one before the coffee is ready?",
    "04_forgetting": "What may be forgotten?",
    "05_blanks": "How does a decoder learn to fill blanks?",
    "06_block_diffusion": "How many bytes at once?",
    "07_self_speculation": "How far ahead?",
    "08_diffusion_verification": "Is a wrong draft useful?",
    "09_costs": "Was it worth it?",
    "10_released_weights": "Do released weights decode like ours?",
    "11_own_drafter": "Can you beat our drafter?",
}
PRESENT = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# Notebooks that are still in the form of before: they go from here when they are written again
FORMER: set[str] = set()
# STYLE.md 5.1
FORBIDDEN = r"\b(tokens?|chunks?|emits?|finalise\w*|speculate_k|hidden_size|n_embd|alpha|tau)\b"
SETUP = """\
import os, torch, bltlab, checks, course
from bltlab.viz import figures
torch.set_num_threads(1)                     # small matrices: one thread is fastest
FAST = os.environ.get("BLTLAB_FAST") == "1"  # smaller sizes, the same asserts
model = bltlab.BLT.from_pretrained("""


class Notebook:
    def __init__(self, name):
        self.name = name
        self.number = str(int(name[:2]))
        self.json = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
        self.cells = [(c["cell_type"], "".join(c["source"])) for c in self.json["cells"]]
        self.code = [source for kind, source in self.cells if kind == "code"]
        self.prose = "\n\n".join(source for kind, source in self.cells if kind == "markdown")

    @property
    def open_prose(self):
        """What stands there unfolded."""
        return re.sub(r"<details>.*?</details>", "", self.prose, flags=re.S)

    def section(self, heading):
        """The cells from a heading on, up to the next heading."""
        starts = []
        for i, (kind, source) in enumerate(self.cells):
            if kind == "markdown" and re.search(r"^##? ", source, re.M):
                starts.append(i)
        at = next(i for i in starts if f"## {heading}" in self.cells[i][1])
        return self.cells[at : next((i for i in starts if i > at), len(self.cells))]


@pytest.fixture(params=PRESENT)
def notebook(request):
    return Notebook(request.param)


@pytest.fixture(params=sorted(set(PRESENT) - FORMER))
def written(request):
    """A notebook in the form that all of them take."""
    return Notebook(request.param)


# -- anatomy ---------------------------------------------------------------------------------------


def test_every_notebook_is_known_and_asks_its_question(notebook):
    kind, first = notebook.cells[0]
    assert kind == "markdown" and first.splitlines()[0] == f"# {QUESTIONS[notebook.name]}"
    assert set(PRESENT) >= FORMER


def test_it_says_what_it_takes(written):
    first = written.cells[0][1]
    minutes = r"- \*\*Time\.\*\* \d+ minutes with the exercises, \d+ (seconds|minutes) to run"
    assert re.search(minutes, first)
    for word in ("Need", "After", "Paper"):
        assert f"- **{word}.**" in first
    assert "[Glossary](GLOSSARY.md)" in first
    assert re.search(r"\*\*Paper\.\*\*.*(section|appendix)s? \w", first)


def test_one_setup_cell_the_same_everywhere(written):
    kind, setup = written.cells[1]
    assert kind == "code" and setup.startswith(SETUP) and len(setup.splitlines()) <= 6
    for source in written.code:
        assert not re.search(r"pip install|sys\.path|from_pretrained\(.?/", source)


def test_it_is_short(written):
    assert len(written.cells) <= 56 and len(written.open_prose.split()) <= 1200
    assert max(len(source.splitlines()) for source in written.code) <= 20
    wide = [line for source in written.code for line in source.splitlines() if len(line) > 88]
    assert wide == []


def test_it_defines_no_model_and_no_long_function(notebook):
    for node in (n for source in notebook.code for n in ast.walk(ast.parse(source))):
        assert not isinstance(node, ast.ClassDef)
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 8, f"{node.name} is too long for a notebook"
    assert "nn.Module" not in "".join(notebook.code)


def test_a_guess_is_taken_before_the_answer_is_there_to_read(written):
    asked = {}
    for at, (kind, source) in enumerate(written.cells):
        if kind == "markdown":
            continue
        for name in re.findall(r"^(\w+) = course\.predict\(", source, re.M):
            assert len(ast.parse(source).body) == 1, "a prediction is a cell of its own"
            asked[name] = at
        for name in re.findall(r"^(\w+)\.reveal\(", source, re.M):
            between = written.cells[asked.pop(name) + 1 : at]
            assert all(kind == "code" for kind, _ in between), f"{name} is answered in the prose"
    assert asked == {}, "asked and never answered"
    assert len(re.findall(r"course\.predict\(", "".join(written.code))) >= 4
    assert ("code", "course.score()") in written.section("Summary")


def test_it_claims_with_asserts(notebook):
    claims = "".join(source for kind, source in notebook.section("What we claim") if kind == "code")
    assert sum(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(claims))) >= 5


def test_fast_shrinks_sizes_but_skips_no_assert(notebook):
    for tree in map(ast.parse, notebook.code):
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "FAST" in ast.dump(node.test):
                assert not any(isinstance(n, ast.Assert) for n in ast.walk(node))


def test_it_shows_the_picture(written):
    parts = re.findall(r"course\.architecture\(([^)]*)\)", "".join(written.code))
    assert parts, "the picture of the architecture is missing"
    for named in parts:
        course.architecture(*re.findall(r'"(\w[\w ]*)"', named))


def test_it_ends_with_a_summary_exercises_and_what_is_next(written):
    headings = re.findall(r"^## (.*)$", written.prose, re.M)
    assert headings[-4:] == ["What we claim", "Summary", "Exercises", "Next"]
    assert len(re.findall(r"^- ", written.section("Summary")[0][1], re.M)) == 5


def test_exercises_say_what_they_take_and_start_empty(written):
    cells = written.section("Exercises")
    cells = cells[1:] if "**" not in cells[0][1] else cells
    assert len(cells) % 3 == 0 and cells
    for nth, at in enumerate(range(0, len(cells), 3), 1):
        (_, told), (_, stub), (_, check) = cells[at : at + 3]
        head = r"\*\*(\d+\.\d)\*\* difficulty [●○]{3} · importance [●○]{3} · \d+ min"
        number = re.search(head, told)[1]
        assert number == f"{written.number}.{nth}"
        folded = re.findall(r"<details><summary>(.*?)</summary>", told)
        assert folded == ["Hint", "Common bug", "Solution"]
        assert told.count("\n\n</details>") == 3, "markdown inside <details> needs blank lines"
        name = re.fullmatch(r"checks\.(\w+)\((\w+)\)", check)
        assert checks.EXERCISES[name[1]].number == number
        scope = {}
        exec(stub, scope)
        assert checks.comparing.is_empty(scope[name[2]])


def test_it_is_stored_without_outputs_for_any_kernel(notebook):
    assert notebook.json["nbformat"] == 4
    assert notebook.json["metadata"]["kernelspec"]["name"] == "python3"
    assert len({c["id"] for c in notebook.json["cells"]}) == len(notebook.cells)
    for cell in notebook.json["cells"]:
        assert set(cell["metadata"]) <= {"slideshow"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_headings_begin_slides_and_prose_that_leads_to_code_begins_a_page(written):
    following = [*written.cells[1:], ("none", "")]
    for at, cell in enumerate(written.json["cells"]):
        kind, source = written.cells[at]
        wanted = "skip" if at == 1 else None
        if kind == "markdown" and following[at][0] == "code":
            wanted = "subslide"
        if kind == "markdown" and source.startswith(("# ", "## ")):
            wanted = "slide"
        assert cell["metadata"].get("slideshow", {}).get("slide_type") == wanted, source[:60]
        assert not re.search(r"\n## ", source), "a heading begins a cell"


def test_it_keeps_to_the_glossary_and_links_to_what_is_there(notebook):
    assert not re.search(FORBIDDEN, notebook.prose, re.I)
    for target in re.findall(r"\]\(([^)]+)\)", notebook.prose):
        assert (FOLDER / target).is_file(), target


def test_links_carry_the_question_they_lead_to(notebook):
    for number, words, target in re.findall(
        r"\[(\d\d) ([^\]]+\?)\]\((\w+)\.ipynb\)", notebook.prose
    ):
        assert target.startswith(number) and words == QUESTIONS[target]


def test_the_table_for_teachers_says_what_each_notebook_takes():
    text = (FOLDER.parent / ".github" / "TEACHING.md").read_text(encoding="utf-8")
    link = r"^\| \[(\d\d) ([^\]]+)\]\(\.\./notebooks/(\w+)\.ipynb\)"
    rows = re.findall(link + r" \| (\d+) \| ([\d.]+) \| (\d+) \| (\d+) \|$", text, re.M)
    assert [name for _, _, name, *_ in rows] == PRESENT
    for number, title, name, seconds, gigabytes, cells, words in rows:
        one = Notebook(name)
        assert name.startswith(number) and title == QUESTIONS[name] and float(gigabytes) < 4
        sizes = {int(cells): len(one.cells), int(words): len(one.open_prose.split())}
        assert all(abs(told - found) < 0.1 * found for told, found in sizes.items()), name
        amount, unit = re.search(r"exercises, (\d+) (seconds|minutes) to run", one.prose).groups()
        told = int(amount) * (60 if unit == "minutes" else 1)
        assert int(seconds) <= told <= int(seconds) + (60 if unit == "minutes" else 10), name


def test_the_readme_lists_the_notebooks_that_are_there():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d\d)\]\(notebooks/(\w+)\.ipynb\) \| (.*?\?)", readme, re.M)
    assert [name for _, name, _ in rows] == PRESENT
    for number, name, question in rows:
        assert name.startswith(number) and question == QUESTIONS[name]
