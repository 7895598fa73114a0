"""Shipped weights, the player and the app are found in an installed wheel, from any directory."""

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APP = """
import sys
sys.path.insert(0, {site!r} + "/bltlab/apps")
import demo
page, launch = demo.build()
assert "bltlabPage" in launch["head"] and "tour-head" in launch["head"] and page.fns
assert demo.__file__.startswith({site!r})
"""


@pytest.mark.slow
def test_an_installed_wheel_finds_its_weights_and_its_player(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    for name in ("apps", "bltlab", "assets"):
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
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(site), "HOME": str(tmp_path)}
    how = dict(cwd=elsewhere, env=env)
    subprocess.run([sys.executable, "-c", code.format(site=str(site))], check=True, **how)

    def run(*arguments):
        command = [sys.executable, "-m", "bltlab", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, **how).stdout

    assert (elsewhere / "page.html").stat().st_size > 10_000
    for name in ("apps/demo.py", "apps/page.js", "apps/page.css", "viz/tour.js"):
        assert (site / "bltlab" / name).is_file()
    run("view", "--site", "site")
    assert {"index.html", "patches.html"} <= {path.name for path in (elsewhere / "site").iterdir()}
    if find_spec("gradio"):
        told = run("demo", "--help")
        assert told.startswith("usage: python -m bltlab demo") and "--port" in told
        subprocess.run([sys.executable, "-c", APP.format(site=str(site))], check=True, **how)
