"""The report that ships: its tables are those of its rows, and a trial of it can be made again."""

import re
import sys
from pathlib import Path

import pytest

from bltlab import checkpoints
from bltlab.evaluation.rows import read_rows
from bltlab.report import draw, write

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / ".ci"))
import findings  # noqa: E402

FOLDER = checkpoints.assets() / "report"


def row(model="plain", method="ar", task="translation", block_size=0, score=80.0, cost=1.0, **more):
    """A row as `evaluate` writes it, as far as reports read it."""
    name = method.partition(",")[0]
    costs = dict.fromkeys(("decoder_per_byte", "global_per_byte", "seconds_per_byte"), cost)
    traffic = ("projected_1b_mb_per_byte", "projected_3b_mb_per_byte", "paper_mb_per_byte")
    costs |= dict.fromkeys((*traffic, "measured_mb_per_byte"), cost)
    key = dict(weights=model, text="", top_p=1.0, method=dict(name=name))
    return dict(
        model=model,
        method=method,
        task=task,
        block_size=block_size,
        measure="exact",
        n=1,
        score=score,
        low=score - 1,
        high=score + 1,
        agreement=1.0,
        costs=costs | dict(steps_per_block=2.0, accepted_by_position=more.pop("accepted", None)),
        relative=dict(projected_1b=cost, seconds=cost),
        figures={},
        key=key | more.pop("key", {}),
        machine="a machine",
        when="2026-01-01",
        command="evaluate",
        paper=["translation fr-en"],
    )


ROWS = [
    row(),
    row(model="d-8", block_size=8, score=76.0),
    row(model="d-8", method=findings.D[1], block_size=8, score=40.0, cost=0.25),
    row(model="d-8", method=findings.S[1], block_size=8, score=76.0, cost=0.5),
]


def test_tables_are_made_from_rows_again():
    text = "before\n<!-- blocks -->\nold\n<!-- /blocks -->\nafter"
    found = findings.written(text, ROWS)
    assert found == findings.written(found, ROWS) and "old" not in found
    line = "| translation, BLT-D, block 8 | 40.0 (39.0 to 41.0) | 0.5 | 0.25 | 0.25 | 0.25 | 0.25 |"
    assert line in found  # over the model without blocks, whose score is 80
    assert (
        "| paper, translation fr-en, 1B, BLT-D, block 8 |  | 0.856 | 0.365 | 0.256 | 0.277 |"
        in found
    )
    assert "| d-8, k = 8 | 1 | 1 | 0.5 |" in findings.self_speculation(ROWS)  # over its own
    line = "| BLT-D, block 8 | 0.856 | 0.911 | 0.524 | 0.703 | 0.5 |"  # Fr-En, HumanEval, ours
    assert line in findings.code_or_translation(ROWS)


def test_the_last_row_of_a_setting_counts():
    newer = row(score=81.0, key=dict(weights="trained on"))
    assert findings.current([*ROWS, newer])[0] is newer and len(findings.current(ROWS)) == 4


def test_figures_hold_blocks_against_the_model_without():
    points = {point.label: point for point in draw.against_base(ROWS)}
    point = points["d-8 blt-d 0.7"]
    assert point.quality == 0.5 and point.costs["projected_1b"] == 0.25
    own = draw.against_base(ROWS[1:])  # where that was not asked
    assert own[1].quality == 40 / 76
    figure = draw.quality("translation", ROWS)
    names = {trace.name for trace in figure.data if trace.name}
    assert {"plain", "d-8", "paper: translation fr-en, 1B"} <= names
    assert figure.layout.xaxis2.title.text.startswith("seconds")


def test_acceptance_is_drawn_once_a_method():
    rows = [
        row(method="blt-s,draft_length=2", accepted=[1.0, 0.5]),
        row(method="blt-s,draft_length=3", accepted=[1.0, 0.5, 0.25]),
        row(method="blt-d"),
    ]
    figure = draw.accepted("any", rows)
    assert [trace.name for trace in figure.data] == ["plain blt-s"]
    assert figure.data[0].y == (1.0, 0.5, 0.25) and draw.accepted("any", ROWS) is None


def test_diversity_is_a_line_for_each_top_p():
    rows = []
    for top_p in (0.8, 1.0):
        for cost in (0.9, 0.3):
            one = row(method="blt-d", score=cost / 2, cost=cost, key=dict(top_p=top_p))
            rows.append(one | dict(figures=dict(known_percent=70.0)))
    figure = draw.diversity(rows, "", "different words")
    assert [trace.name for trace in figure.data] == [
        "plain blt-d, top-p 0.8",
        "plain blt-d, top-p 1",
    ]
    assert figure.data[0].x == (0.3, 0.9) and figure.data[0].y == (0.15, 0.45)
    assert draw.diversity(rows, "known_percent", "known").data[0].y == (70.0, 70.0)
    assert draw.diversity(rows[::2], "", "different words") is None  # no two settings
    by_task = write.by_task([one | dict(task="diversity") for one in rows])
    assert [*by_task] == ["diversity"]  # one table, one figure


def test_the_shipped_page_of_findings_has_the_tables_of_the_shipped_rows():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = findings.current(read_rows(FOLDER / "rows.jsonl.xz"))
    assert findings.written(text, rows) == text
    assert set(re.findall(r"<!-- (\w+) -->", text)) == set(findings.TABLES)
    page = FOLDER / "report.html"
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 7e6
    assert not re.search(rb"<(script|link|img)[^>]*(src|href)=", page.read_bytes())


@pytest.mark.parametrize("family", findings.FAMILIES)
def test_each_family_has_its_models_the_one_without_blocks_first(family):
    names = findings.models_of(family)
    assert all(family in name for name in names)
    assert not names or not names[0].startswith("blt-d-")
