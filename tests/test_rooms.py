"""The architecture, held by a test: who may import whom, how long a file may be, and which rooms never see torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bltlab"
# From the ground up
ROOMS = ["vocab", "clock", "viz.page", "viz.player", "viz.patches", "viz.inside", "costs", "viz.picture", "viz.scene",
         "viz.export", "schema", "trace", "config", "checkpoints", "layers", "patching", "model", "diffusion",
         "state", "sampling", "decoding.moves", "decoding.autoregressive", "decoding.self_speculation",
         "decoding.block_diffusion", "decoding.diffusion_verification", "decoding", "inspection", "data",
         "corpora.phrases", "corpora", "training.optim", "training.options", "training.watch", "training.folder",
         "training.distributed", "training.text", "training.loop", "training.run", "training", "evaluation",
         "evaluation.prompts", "evaluation.measuring", "evaluation.speed", "evaluation.reading",
         "evaluation.training_step", "evaluation.translation", "evaluation.running_text", "evaluation.bench",
         "viz.figures", "viz.widget", "viz.explorer", "viz", "__main__"]
PLAIN = {"vocab", "clock", "viz.page", "viz.player", "viz.patches", "viz.inside", "costs", "viz.picture", "viz.scene",
         "viz.export", "schema", "trace", "config"}
SIDE_BY_SIDE = {"decoding.autoregressive", "decoding.self_speculation", "decoding.block_diffusion",
                "decoding.diffusion_verification"}
MOST_LINES = 400


def room_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {room_of(p): p for p in PACKAGE.rglob("*.py") if room_of(p)}


def imports(room, path):
    """Rooms and top-level packages that a file imports, wherever in the file."""
    package = [] if "." not in room and path.name != "__init__.py" else room.split(".")[:1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("bltlab.") for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[:len(package) - node.level + 1] if package else []
            for alias in node.names:
                whole = ".".join(base + ([node.module] if node.module else []) + [alias.name])
                yield whole if whole in FILES else ".".join(base + [node.module or ""]).strip(".") or whole
        elif isinstance(node, ast.ImportFrom):
            yield node.module.removeprefix("bltlab.")


def test_every_file_is_a_room_of_the_table():
    assert set(FILES) <= set(ROOMS)


@pytest.mark.parametrize("room", FILES)
def test_a_room_imports_only_from_rooms_above_it(room):
    for other in imports(room, FILES[room]):
        if other in ROOMS:
            assert ROOMS.index(other) < ROOMS.index(room), f"{room} imports {other}"
            assert not (room in SIDE_BY_SIDE and other in SIDE_BY_SIDE), f"{room} imports {other}"


@pytest.mark.parametrize("room", sorted(PLAIN))
def test_plain_rooms_never_import_torch(room):
    assert not any(name.split(".")[0] in ("torch", "numpy") for name in imports(room, FILES[room]))
    code = f"import sys; import bltlab.{room}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js"), *(ROOT / "apps").rglob("*.py")]), ids=str)
def test_files_stay_short(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES and max(map(len, lines), default=0) <= 128


@pytest.mark.parametrize("room", sorted(SIDE_BY_SIDE))
def test_a_method_reads_like_an_algorithm_box(room):
    source = FILES[room].read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 80
    rounds = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == "round"]
    assert len(rounds) == 1 and rounds[0].end_lineno - rounds[0].lineno < 10


def test_apps_and_notebooks_define_no_model():
    for path in [*(ROOT / "apps").rglob("*.py"), *(ROOT / "notebooks").rglob("*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        assert "nn.Module" not in text and "def forward" not in text


def test_importing_bltlab_loads_nothing_heavy():
    heavy = {"torch", "gradio", "plotly", "datasets", "PIL", "anywidget", "ipywidgets", "IPython"}
    code = f"import sys, bltlab; bltlab.Trace, bltlab.view; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_top_level_holds_what_it_may():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    top = {name.split("/")[0] for name in listed if name}
    allowed = {"notebooks", "bltlab", "apps", "assets", "tests", "requirements.txt", "README.md", "pyproject.toml", "LICENSE"}
    assert {name for name in top if not name.startswith(".")} <= allowed
