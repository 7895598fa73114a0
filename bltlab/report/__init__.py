"""Rows of `evaluate` as a report: `report.md`, and `report.html`, which opens from disk.

Nothing is measured here: whoever has the rows has the report. The paper's own numbers stand beside
ours in the same axes (paper.py).
"""

from .paper import told as paper_told
from .write import write_report

__all__ = ["paper_told", "write_report"]
