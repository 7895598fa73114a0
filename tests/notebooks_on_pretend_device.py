"""The notebooks' code cells as they stand, on a GPU's rules: what they assert holds there, too.

In a process of its own, see test_pretend_device.py; all of them, in some six minutes on one core:

    BLTLAB_PRETEND=1 python -m pytest tests/notebooks_on_pretend_device.py
"""

import json
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from pretend_device import DEVICE, PretendDevice

from bltlab import model

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A notebook's place to run in, where "auto" is the device."""
    monkeypatch.setenv("BLTLAB_FAST", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(FOLDER))
    resolve = model.resolve_device
    monkeypatch.setattr(model, "resolve_device", lambda x: DEVICE if x == "auto" else resolve(x))
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_there(shell, name):
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    with PretendDevice() as gpu:
        for cell in cells:
            if cell["cell_type"] == "code":
                shell.run_cell("".join(cell["source"])).raise_error()
    assert gpu.count("kernel") > 0
