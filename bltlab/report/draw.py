"""Figures of a report: quality against traffic and seconds, acceptance, diversity."""

from collections.abc import Sequence

from plotly import graph_objects as go

from ..evaluation.harness import relative_costs
from ..evaluation.summary import Row
from ..viz.figures import Point, acceptance, lines, short_name, trade_off
from .paper import relative_points

AXES = {
    "projected_1b": "traffic at the paper's 1B shape, autoregression 1",
    "seconds": "seconds, autoregression 1",
}
DIVERSITY = {  # figures of its rows; "" is the score
    "": "different words over words",
    "ratio_of_known": "different words over words, known ones alone",
    "known_percent": "known words, percent",
    "judge_bits": "bits a byte, by the judge",
}
LEGEND = dict(orientation="h", y=-0.16, yanchor="top", x=0, xanchor="left")  # below a figure


def base_of(rows: Sequence[Row]) -> dict[tuple, Row]:
    """What each row is held against, by `settings_of`.

    Autoregression of the one model without blocks, as in the paper; where there is none, or there
    are several, autoregression of the same model.
    """
    chains = [row for row in rows if row["method"] == "ar"]
    found = {settings_of(row): row for row in chains}
    plain = [row for row in chains if row.get("block_size") == 0]
    models = {row["key"]["weights"] for row in plain}
    if len(models) != 1:
        return found
    by_top_p = {}
    for row in plain:
        _, top_p = settings_of(row)
        by_top_p[top_p] = row
    for settings in found:
        _, top_p = settings
        found[settings] = by_top_p.get(top_p, found[settings])
    return found


def settings_of(row: Row) -> tuple:
    """Weights and top-p: a model's name may stand for other weights by now."""
    return row["key"]["weights"], row["key"].get("top_p")


def against_base(rows: Sequence[Row]) -> list[Point]:
    """Points of a task's rows: costs and score over those of autoregression."""
    bases = base_of(rows)
    points = []
    for row in rows:
        base = bases.get(settings_of(row))
        if base and base["score"]:
            mark = short_name(row["method"])
            label = f"{row['model']} {mark}"
            costs = relative_costs(row["costs"], base["costs"])
            share = row["score"] / base["score"]
            points.append(Point(row["model"], label, share, costs, front="all", mark=mark))
    return points


def quality(task: str, rows: Sequence[Row]) -> go.Figure:
    """Quality against traffic and seconds, and the paper's points in the same axes."""
    beside = []
    for point in relative_points(rows[0].get("paper") or ()):
        costs = {"projected_1b": point["traffic"]}
        beside.append(Point(point["name"], point["label"], point["score"], costs))
    points = [*against_base(rows), *beside]
    figure = trade_off(points, AXES, "score, autoregression 1", f"{task}:<br>quality against cost")
    figure.update_layout(legend=LEGEND | dict(y=-0.09))
    return figure


def accepted(task: str, rows: Sequence[Row]) -> go.Figure | None:
    """How far guesses are accepted; None where none were held against the model.

    Of the settings of a method, the one with the longest drafts, and of several the last.
    """
    series: dict[str, list[float]] = {}
    for row in rows:
        shares = row["costs"].get("accepted_by_position") or []
        name = f"{row['model']} {row['key']['method']['name']}"
        if shares and len(shares) >= len(series.get(name, ())):
            series[name] = shares
    if not series:
        return None
    figure = acceptance(series, f"{task}:<br>acceptance by position")
    figure.update_layout(height=520, legend=LEGEND)
    return figure


def diversity(rows: Sequence[Row], figure: str, name: str) -> go.Figure | None:
    """A number of sampled text over the decoder's passes: a line for each top-p.

    figure: which number; "" is the score. None where no method has two settings.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        key = row["key"]
        line = f"{row['model']} {key['method']['name']}, top-p {key['top_p']:g}"
        number = row["figures"][figure] if figure else row["score"]
        series.setdefault(line, []).append((row["costs"]["decoder_per_byte"], number))
    if max(map(len, series.values())) == 1:
        return None
    drawn = lines(
        {line: sorted(points) for line, points in series.items()},
        "decoder passes a byte",
        name,
        f"{name}<br>against decoder passes",
    )
    drawn.update_layout(height=460, legend=LEGEND)
    return drawn
