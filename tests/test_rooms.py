"""The architecture, held by a test: who may import whom, and which rooms never see torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bltlab"

# A room is a file or a folder of the package. It imports only from rooms named before it.
LAYERS = """
    vocab files textfiles hub clock memory costs
    options
    config checkpoints
    events schema canvas trace
    transfer masks layers
    patching model diffusion
    cache passes steps compiling compiled state
    unmasking sampling
    decoding
    data training
    evaluation
    viz inspection
    report
    corpora bench
    __main__
"""
ORDER = LAYERS.split()
# Jupyter asks a trace to show itself; what draws it stands above, and is imported at that moment.
# A model is asked to compile; the steps that are compiled need caches, which stand above it.
EXCEPTIONS = {("trace", "viz"), ("model", "compiled")}
# Rooms that open on a laptop without weights: they never import torch.
PLAIN = [
    "vocab",
    "files",
    "clock",
    "costs",
    "options",
    "config",
    "events",
    "schema",
    "trace",
    "viz",
]
NEEDS_TORCH = {"viz/explorer.py"}  # it decodes
METHODS = ["autoregressive", "self_speculation", "block_diffusion", "diffusion_verification"]
METHODS += ["foreseen_chain", "foreseen_verification"]
HEAVY = {"torch", "gradio", "plotly", "datasets", "PIL", "anywidget", "ipywidgets", "IPython"}
OPTIONAL = HEAVY - {"torch", "datasets"} | {"transformers", "sacrebleu", "num2words", "babel"}
TOP = {"notebooks", "bltlab", "apps", "assets", "tests"}
TOP |= {"requirements.txt", "README.md", "pyproject.toml", "LICENSE"}


def room_of(path):
    """`bltlab/state.py` -> state; `bltlab/viz/page.py` -> viz; `bltlab/__init__.py` -> None."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return None if first == "__init__" else first


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room_of(path))


def modules_imported(path):
    """Full names of the modules and names that a file imports, wherever in the file."""
    package = ["bltlab", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from (".".join([*base, alias.name]) for alias in node.names)


def rooms_imported(path):
    """Names of the rooms that a file imports."""
    for module in modules_imported(path):
        parts = module.split(".")
        if parts[0] == "bltlab" and len(parts) > 1 and parts[1] in ORDER:
            yield parts[1]


def test_every_file_is_in_a_room_of_the_table():
    assert {room_of(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_above_it(path):
    room = room_of(path)
    for other in rooms_imported(path):
        allowed = other == room or (room, other) in EXCEPTIONS
        assert allowed or ORDER.index(other) < ORDER.index(room), f"{room} imports {other}"


def test_no_folder_has_a_circle_of_imports():
    """Files of one folder import each other in one direction; its `__init__` comes last."""
    for folder in {path.parent for path in FILES} - {PACKAGE}:
        inside = {path.stem: path for path in folder.glob("*.py") if path.stem != "__init__"}
        name = ".".join(["bltlab", *folder.relative_to(PACKAGE).parts])
        needs = {}
        for stem, path in inside.items():
            found = [
                module.removeprefix(name + ".").split(".")[0] for module in modules_imported(path)
            ]
            needs[stem] = {other for other in found if other in inside and other != stem}
        while free := [stem for stem, others in needs.items() if not others]:
            needs = {s: others - set(free) for s, others in needs.items() if s not in free}
        assert not needs, f"a circle in {folder.name}: {needs}"


@pytest.mark.parametrize("room", PLAIN)
def test_plain_rooms_never_import_torch(room):
    for path in FILES:
        if room_of(path) == room and str(path.relative_to(PACKAGE)) not in NEEDS_TORCH:
            tops = {module.split(".")[0] for module in modules_imported(path)}
            assert not tops & {"torch", "numpy"}, path
    code = f"import sys; import bltlab.{room}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_reads_like_an_algorithm_box(method):
    path = PACKAGE / "decoding" / f"{method}.py"
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 80
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    (turn,) = [function for function in functions if function.name == "round"]
    assert turn.end_lineno - turn.lineno < 12
    assert not {f"bltlab.decoding.{other}" for other in METHODS} & set(modules_imported(path))


def test_apps_and_notebooks_define_no_model():
    for path in [*(ROOT / "apps").rglob("*.py"), *(ROOT / "notebooks").rglob("*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        assert "nn.Module" not in text and "def forward" not in text


def test_importing_bltlab_loads_nothing_heavy():
    code = f"import sys, bltlab; bltlab.Trace, bltlab.view; assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_top_level_holds_what_it_may():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    top = {name.split("/")[0] for name in listed.split("\n") if name}
    assert {name for name in top if not name.startswith(".")} <= TOP


def test_the_command_line_needs_no_optional_package():
    code = f"import sys; sys.modules |= dict.fromkeys({OPTIONAL}); import bltlab.__main__ as line"
    code += "; line.main(['bench', 'decode', '--figure', 'a.html', '--judge', 'none'])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr.endswith(
        "--figure needs plotly: pip install plotly\n"
    )
