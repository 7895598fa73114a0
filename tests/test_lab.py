"""JupyterLab in headless Chromium: the widget plays and obeys Python, an untrusted notebook still
shows its picture.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import pytest
from conftest import CHROMIUM
from test_player import EVIL, evil

from bltlab.trace import Trace

pytest.importorskip("jupyterlab", reason="needs jupyterlab")
pytest.importorskip("anywidget", reason="needs anywidget")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]

TRACE = Path(__file__).parent / "recorded_dv.json"  # by weights of former days
PATIENCE = 120_000  # ms, for a slow machine that starts Lab, a kernel and a page
PLAYER = """
import bltlab
player = bltlab.view(bltlab.Trace.load({path!r}))
player.step = {step}
player
"""


def notebook(path, *cells):
    """Write a notebook; a cell is its source, or (source, output bundle)."""
    made = []
    for n, cell in enumerate(cells):
        source, bundle = cell if isinstance(cell, tuple) else (cell, None)
        outputs = [dict(output_type="display_data", data=bundle, metadata={})] if bundle else []
        made.append(
            dict(
                cell_type="code",
                id=f"cell-{n}",
                metadata={},
                execution_count=None,
                source=source,
                outputs=outputs,
            )
        )
    kernel = dict(kernelspec=dict(name="python3", display_name="Python 3", language="python"))
    path.write_text(
        json.dumps(dict(nbformat=4, nbformat_minor=5, metadata=kernel, cells=made)),
        encoding="utf-8",
    )


@contextmanager
def lab(folder):
    """A JupyterLab of its own, without the user's settings, on a free port of this machine; yields
    its address and token.
    """
    home, work = folder / "home", folder / "work"
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    places = dict(
        HOME=home,
        JUPYTER_CONFIG_DIR=home / "config",
        JUPYTER_DATA_DIR=home / "data",
        IPYTHONDIR=home / "ipython",
        JUPYTER_RUNTIME_DIR=home / "runtime",
        JUPYTERLAB_SETTINGS_DIR=home / "settings",
        JUPYTERLAB_WORKSPACES_DIR=home / "workspaces",
        JUPYTER_TOKEN=secrets.token_hex(16),
        OMP_NUM_THREADS="1",
    )
    arguments = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--port=0",
        "--LabApp.news_url=",
        f"--ServerApp.root_dir={work}",
        "--LabApp.expose_app_in_browser=True",
    ]
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *arguments],
            stdout=log,
            stderr=log,
            cwd=work,
            env=os.environ | {k: str(v) for k, v in places.items()},
        )
    try:
        deadline = time.monotonic() + PATIENCE / 1000
        while not (running := list(home.glob("runtime/jpserver-*.json"))):
            assert server.poll() is None and time.monotonic() < deadline, (
                folder / "lab.log"
            ).read_text()[-2000:]
            time.sleep(0.1)
        told = json.loads(running[0].read_text())
        yield told["url"], told["token"]
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()


def opened(page, address, name):
    """Open a notebook; the news dialog is sent away if it comes all the same."""
    url, token = address
    page.goto(f"{url}lab/tree/{name}?reset&token={token}")
    page.wait_for_function(
        "name => window.jupyterapp?.shell.currentWidget?.sessionContext?.path === name", arg=name
    )
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    for dialog in page.get_by_role("button", name="No", exact=True).all():
        dialog.click()


def run_cell(page, n):
    page.evaluate(
        """async n => {
      const { sessionContext, content } = window.jupyterapp.shell.currentWidget;
      await sessionContext.ready;
      content.activeCellIndex = n;
      window.jupyterapp.commands.execute("notebook:run-cell"); }""",
        n,
    )


def on_screen(page):
    """What the player draws: its sentence, and each byte's text and state."""
    return page.evaluate("""() => {
      const states = ["prompt", "masked", "proposed", "accepted", "replaced", "bonus", "kept"];
      const cells = [...document.querySelectorAll(".jp-OutputArea .bltp-grid [role=option]")];
      return { said: document.querySelector(".jp-OutputArea .bltp-said")?.textContent ?? "",
               cells: cells.map(cell => [cell.textContent,
                  states.find(s => cell.classList.contains(`bltp-${s}`))]) }; }""")


def awaited(page, said):
    page.wait_for_function(
        "said => document.querySelector('.jp-OutputArea .bltp-said')?.textContent.includes(said)",
        arg=said,
    )
    return on_screen(page)


def test_the_widget_plays_in_lab_and_untrusted_notebooks_show_the_picture(tmp_path):
    trace = Trace.load(TRACE)
    (tmp_path / "work").mkdir()
    (tmp_path / "evil.json").write_text(json.dumps(evil() | dict(settings=dict(stop=[EVIL]))))
    cells = (
        PLAYER.format(path=str(TRACE), step=44),
        "player.step = 2",
        "print('step', player.step)",
        PLAYER.format(path=str(tmp_path / "evil.json"), step=20),
    )
    notebook(tmp_path / "work" / "play.ipynb", *cells)
    bundle, _ = trace._repr_mimebundle_()
    notebook(tmp_path / "work" / "untrusted.ipynb", ("trace", bundle))
    asked, dialogs = [], []
    with lab(tmp_path) as address, playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=dict(width=1280, height=1000))
        page.set_default_timeout(PATIENCE)
        page.context.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))

        opened(page, address, "untrusted.ipynb")  # trust has nobody given: no script, no frame
        picture = page.locator(".jp-OutputArea img")
        picture.wait_for()
        box = picture.bounding_box()
        assert page.locator(".jp-OutputArea iframe").count() == 0
        assert (
            box["width"] > 600
            and box["height"] > 500
            and picture.evaluate("node => node.naturalWidth") == 1520
        )
        page.screenshot(path=tmp_path / "untrusted.png")

        opened(page, address, "play.ipynb")
        run_cell(page, 0)
        seen = awaited(page, "5 of 8 guesses accepted, 'h' replaced by 'u'")
        cells = trace.canvas(44).cells
        assert [state for _, state in seen["cells"]] == [cell.state for cell in cells]
        text = "".join(text for text, _ in seen["cells"]).replace("\u2423", " ")
        assert text == "In the beginning of the country of the Philistines, and the sons of Ju"
        assert [seen["cells"][i] for i in (0, 24, 22, 68, 69)] == [
            ["I", "prompt"],
            ["c", "replaced"],
            ["e", "accepted"],
            ["J", "accepted"],
            ["u", "replaced"],
        ]
        page.screenshot(path=tmp_path / "play.png")

        run_cell(page, 1)  # Python sets the step
        seen = awaited(page, "the model's own next byte is 'o'")
        assert [state for _, state in seen["cells"]] == [
            cell.state for cell in trace.canvas(2).cells
        ]
        page.get_by_label("one step forward").click()  # the reader moves it, and Python knows
        awaited(page, "denoising revealed 8 of 8 bytes")
        page.wait_for_timeout(500)
        run_cell(page, 2)
        page.get_by_text("step 3", exact=True).wait_for()

        run_cell(page, 3)  # names, settings and bytes that look like markup
        page.locator(".jp-OutputArea .bltp-head", has_text=EVIL).wait_for()
        assert (
            page.locator(".bltp-view :is(img, script, iframe)").count() == 0
            and "alert" not in dialogs
        )
        browser.close()
    hosts = {
        urlparse(address).hostname
        for address in asked
        if not address.startswith(("data:", "blob:"))
    }
    assert hosts == {"127.0.0.1"}, hosts


def test_an_exported_notebook_plays_without_a_kernel_and_without_a_network(tmp_path):
    pytest.importorskip("nbconvert", reason="needs nbconvert")
    asking = (
        "import course; rows = course.predict('How many rows?')",
        "rows.reveal(8, 'One a patch.')",
    )
    notebook(tmp_path / "play.ipynb", PLAYER.format(path=str(TRACE), step=44), *asking)
    shutil.copy(TRACE.parents[1] / "notebooks" / "course.py", tmp_path)
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "play.ipynb"]
    paths = os.pathsep.join([str(TRACE.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "data:image/png;base64," in (tmp_path / "play.html").read_text(encoding="utf-8")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(offline=True)
        page.set_default_timeout(PATIENCE)
        page.goto((tmp_path / "play.html").as_uri(), wait_until="domcontentloaded")
        player = page.frame_locator("iframe[srcdoc]")
        player.get_by_role("button", name="one step forward").click()
        assert player.locator(".bltp-bytes [role=option]").count() > 10
        assert page.get_by_placeholder("your guess").count() == 1  # the widgets are not there
        page.get_by_text("or unfold it").click()
        page.get_by_text("It is 8. One a patch.").wait_for()
        browser.close()
