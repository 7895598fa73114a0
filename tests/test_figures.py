"""Figures: plain plotly, named axes with units, and the numbers that they were given."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import random_model

import bltlab
from bltlab.layers import causal
from bltlab.patching import TextPatches
from bltlab.training import Report
from bltlab.viz import figures
from bltlab.viz.figures import Point

PATCHES = TextPatches(b'a \xff"', [1, 2, 2], [0, 1, 3], [3.0, 0.5, 2.0, 0.1, 1.0], False)


def traces(*methods):
    model = random_model(1)
    return [bltlab.generate(model, "river", m, max_new_bytes=20).trace for m in methods]


def reports():
    return [
        Report("entropy model", 1, 0.1, 4.0, 3.9, None, 1.0, 1.0),
        Report("BLT-D", 1, 0.1, 4.0, 3.5, 5.0, 1.0, 1.0),
        Report("BLT-D", 2, 0.2, 3.0, 2.5, 4.0, 1.0, 1.0),
    ]


def rows(*found):
    names = ("method", "temperature", "projected_1b_ratio", "speed_ratio", "judge_bits")
    return [dict(zip(names, row, strict=True)) for row in found]


ALL = {
    "quality_against_cost": lambda: figures.quality_against_cost(
        rows(("ar", 0, 1, 1, 0.7), ("blt-d", 0, 0.5, 2, 0.9), ("ar", 0.8, 1, 1, 1.1))
    ),
    "entropies": lambda: figures.entropies(PATCHES, 1.3),
    "slider": lambda: figures.entropies([PATCHES, PATCHES], [1.3, 2.3]),
    "mask": lambda: figures.mask(
        causal(torch.arange(3)[:, None], torch.arange(3)), "abc", "a mask"
    ),
    "training_curve": lambda: figures.training_curve(reports()),
    "race": lambda: figures.race(traces("ar", "blt-s", "blt-d", "blt-dv")),
    "acceptance": lambda: figures.acceptance_by_position(
        {"S": traces("blt-s"), "DV": traces("blt-dv")}
    ),
    "lines": lambda: figures.lines({"a": [(0, 1), (1, 2)]}, "bytes", "bits"),
}


@pytest.mark.parametrize("name", ALL)
def test_a_figure_is_plain_plotly_with_named_axes(name):
    figure = ALL[name]()
    assert type(figure).__name__ == "Figure" and figure.to_json()
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text


def test_entropies_stand_before_their_bytes_and_edges_in_front_of_patches():
    figure = ALL["entropies"]()
    edges, threshold, curve = figure.data
    assert list(curve.y) == [3.0, 0.5, 2.0, 0.1] and set(threshold.y) == {1.3}
    assert list(edges.x[::3]) == [-0.5, 1.5]
    assert list(figure.layout.xaxis.ticktext) == ["a", "\u2423", "ff", '"']


def test_the_slider_shows_one_threshold_at_a_time():
    figure = ALL["slider"]()
    for i, step in enumerate(figure.layout.sliders[0].steps):
        visible = step.args[0]["visible"]
        assert len(visible) == len(figure.data) and [n for n, v in enumerate(visible) if v] == [
            2 * i,
            2 * i + 1,
            4,
        ]


def test_an_empty_text_has_a_figure_too():
    assert figures.entropies(TextPatches(b"", [1], [0], [3.0], True), 1.0).data


def test_a_mask_is_drawn_as_it_is():
    assert [list(row) for row in ALL["mask"]().data[0].z] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_a_training_curve_has_one_line_a_loss():
    assert {line.name: list(line.y) for line in ALL["training_curve"]().data} == {
        "entropy model, next byte": [3.9],
        "BLT-D, next byte": [3.5, 2.5],
        "BLT-D, masked bytes": [5.0, 4.0],
    }


def test_race_counts_evaluations_a_new_byte():
    found = traces("ar", "blt-dv")
    bars = {bar.name: list(bar.y) for bar in figures.race(found).data}
    assert bars["decoder"] == [t.totals.nfe.decoder / 20 for t in found] and bars["decoder"][0] == 1


def test_methods_of_one_name_stay_apart():
    bars = figures.race(traces(bltlab.SelfSpeculation(2), bltlab.SelfSpeculation(4))).data
    assert list(bars[0].x) == ["blt-s (draft_length 2)", "blt-s (draft_length 4)"]


def test_accepted_share_by_hand():
    def verified(accepted, n):
        return bltlab.Verified(
            drafted=(9,) * n,
            accepted=accepted,
            replacement=None,
            draft_probs=(),
            target_probs=(),
            candidates=(),
        )

    trace = SimpleNamespace(events=(verified(2, 2), verified(0, 2), verified(1, 1)))
    assert figures.accepted_share([trace]) == [2 / 3, 1 / 2] and figures.accepted_share([]) == []


@pytest.mark.parametrize("name", ALL)
def test_a_figure_fits_a_light_and_a_dark_page(name):
    figure = ALL[name]()
    theme = figure.layout.template.layout
    assert theme.paper_bgcolor == theme.plot_bgcolor == "rgba(0, 0, 0, 0)"
    ink = theme.font.color
    assert figure.layout.paper_bgcolor is None and figure.layout.font.color is None
    for axis in (theme.xaxis, theme.yaxis):
        assert axis.gridcolor == axis.zerolinecolor == "rgba(127, 127, 127, 0.2)"
    for ground in ("#ffffff", "#111111"):
        assert contrast(ink, ground) > 4


def contrast(one, other):
    """Of two colours, as WCAG counts it: 1 for equal ones, 21 for black on white."""

    def light(colour):
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted([light(one), light(other)], reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_figures_load_no_torch():
    code = "import sys; from bltlab.viz import figures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_quality_against_cost_marks_what_nothing_beats_in_both():
    found = rows(("ar", 0, 1, 1, 0.7), ("blt-d", 0, 0.5, 2, 0.9), ("blt-dv", 0, 1.1, 2.5, 0.7))
    figure = figures.quality_against_cost(found)
    traffic, front, seconds, other_front = figure.data
    assert traffic.x == (1, 0.5, 1.1) and seconds.x == (1, 0.5, 0.4)
    assert traffic.marker.symbol == ("circle", "circle", "circle-open")
    assert seconds.marker.symbol == ("circle-open", "circle-open", "circle")
    assert (front.x, front.y) == ((0.5, 1), (0.9, 0.7)) and other_front.x == (0.4,)
    assert figure.layout.xaxis.title.text.startswith("projected 1B traffic")
    warmer = figures.quality_against_cost(rows(*(("ar", t, 1, 1, 0.7) for t in range(7))))
    assert len(warmer.data) == 28  # more temperatures than colours


@pytest.mark.parametrize("fewer_is_better", [False, True])
@pytest.mark.parametrize("n", [0, 1, 5, 12, 13, 40])
def test_marks_stand_apart_and_each_leads_to_its_point(n, fewer_is_better):
    sign = -1 if fewer_is_better else 1
    points = [
        Point("m", f"m {i}", sign * (1 - 0.9**i), dict(cost=0.2 + i / 1000), "all", f"{i}")
        for i in range(n)
    ]
    points += [Point("beside", "b", sign * 0.5, dict(cost=0.1)), Point("m", "m -", 0, {}, "all")]
    figure = figures.trade_off(points, dict(cost="cost"), "quality", "any", fewer_is_better)
    marks = figure.layout.annotations
    assert {mark.text for mark in marks} == {f"{i}" for i in range(0, n, 1 + n // 13)}
    assert all(mark.y == points[int(mark.text)].quality for mark in marks)
    low, high = figure.layout.yaxis.range
    heights = sorted(mark.ay for mark in marks)
    gaps = [after - before for before, after in zip(heights, heights[1:], strict=False)]
    shown = [*heights, *(point.quality for point in points[: n + 1])]
    assert low < min(shown) and max(shown) < high
    assert all(gap > 0.03 * (high - low) for gap in gaps)  # ten pixels of 360


def test_thirty_six_lines_look_different():
    drawn = figures.lines({f"{i}": [(0, 0)] for i in range(36)}, "x", "y").data
    assert len({(one.line.color, one.line.dash, one.marker.symbol) for one in drawn}) == 36
