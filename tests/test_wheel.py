"""Shipped weights and the player are found in an installed wheel, from any directory."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_an_installed_wheel_finds_its_weights_and_its_player(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    for name in ("bltlab", "assets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            source,
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    assert (site / "bltlab" / "py.typed").is_file()  # its types are for others to check against
    assert (site / "bltlab" / "__init__.pyi").is_file()
    code = """
import bltlab
assert bltlab.__file__.startswith({site!r}), bltlab.__file__
model = bltlab.BLT.from_pretrained("blt-d-nano")
out = bltlab.generate(model, "And he ", max_new_bytes=8)
from bltlab.viz import to_html
to_html(out, "page.html")
from bltlab import data
assert len(next(data.documents("plain-english", "test"))) > 1000
"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(
        [sys.executable, "-c", code.format(site=str(site))],
        cwd=elsewhere,
        check=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "HOME": str(tmp_path)},
    )
    assert (elsewhere / "page.html").stat().st_size > 10_000
