"""Runs whole notebooks one by one, and prints the table of .github/TEACHING.md:

    python .ci/course.py [NAME ...]

Seconds are those of the processor, of the kernel and of what it starts: other work on the machine
hardly changes them. Words are those that stand unfolded.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
HEAD = "| notebook | seconds | peak memory, GB | cells | words |\n|---|--:|--:|--:|--:|"
PROBE = """
import json, resource
spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
seconds = sum(one.ru_utime + one.ru_stime for one in spent)
print(json.dumps([seconds, max(one.ru_maxrss for one in spent) / 2**20]))
"""


def measure(notebook: Any) -> tuple[float, float]:
    """Run a notebook -> seconds of the processor, and the most memory that it held, in GB."""
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    place = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=None, resources=place).execute()
    seconds, gigabytes = json.loads(notebook.cells[-1].outputs[0].text)
    return seconds, gigabytes


def row(path: Path) -> str:
    """The row of a notebook."""
    notebook = nbformat.read(path, 4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    words = re.sub(r"<details>.*?</details>", "", prose, flags=re.DOTALL).split()
    title = prose.splitlines()[0].removeprefix("# ")
    cells = len(notebook.cells)
    seconds, gigabytes = measure(notebook)
    link = f"[{path.stem[:2]} {title}](../notebooks/{path.name})"
    return f"| {link} | {seconds:.0f} | {gigabytes:.1f} | {cells} | {len(words)} |"


if __name__ == "__main__":
    print(HEAD)
    for found in sorted(FOLDER.glob("*.ipynb")):
        if found.stem in sys.argv[1:] or not sys.argv[1:]:
            print(row(found), flush=True)
