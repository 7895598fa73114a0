"""Figures of a report: quality against traffic and seconds, and how far guesses are accepted."""

from collections.abc import Sequence
from typing import Any

from plotly import graph_objects as go

from ..evaluation.summary import Row
from ..viz.colours import GREY
from ..viz.figures import COLOURS, MARKERS, best_of, lines
from .paper import relative_points

AXES = {
    "projected_1b": "traffic at the paper's 1B shape, autoregression 1",
    "seconds": "seconds, autoregression 1",
}
LEGEND = dict(orientation="v", x=1.02, y=1, xanchor="left", yanchor="top")  # beside a figure


def against_base(rows: Sequence[Row], cost: str) -> list[Row]:
    """Points of a task's rows: cost and score over those of autoregression of the same model."""
    base = {_weights(row): row["score"] for row in rows if row["method"] == "ar"}
    points = []
    for row in rows:
        spent = (row.get("relative") or {}).get(cost)
        if spent is not None and base.get(_weights(row)):
            share = row["score"] / base[_weights(row)]
            points.append(dict(name=row["model"], label=row["method"], cost=spent, score=share))
    return points


def _weights(row: Row) -> str:
    """Which weights a row is of: a name may stand for others by now."""
    return row["key"].get("weights", row["model"])


def trade_off(task: str, rows: Sequence[Row], cost: str) -> go.Figure:
    """Quality against one cost, the line of what no other point beats, and the paper's points."""
    figure = lines({}, AXES[cost], "score, autoregression 1", f"{task}: quality against cost")
    figure.update_layout(height=520, legend=LEGEND)
    if cost == "projected_1b":
        _add_paper(figure, rows)
    points = against_base(rows, cost)
    for look, name in enumerate(dict.fromkeys(point["name"] for point in points)):
        own = [point for point in points if point["name"] == name]
        _add_points(figure, name, own, look % len(COLOURS))
    _add_front(figure, points)
    return figure


def _add_points(figure: go.Figure, name: str, points: Sequence[Row], look: int) -> None:
    figure.add_scatter(
        x=[point["cost"] for point in points],
        y=[point["score"] for point in points],
        text=[point["label"] for point in points],
        mode="markers+text",
        textposition="bottom right",
        textfont=dict(size=10),
        name=name,
        marker=dict(color=COLOURS[look], symbol=MARKERS[look], size=11),
    )


def _add_front(figure: go.Figure, points: Sequence[Row]) -> None:
    front = best_of([(point["cost"], -point["score"]) for point in points])
    figure.add_scatter(
        x=[points[i]["cost"] for i in front],
        y=[points[i]["score"] for i in front],
        mode="lines",
        line=dict(color=GREY, dash="dash", width=1),
        name="no other is better in both",
        hoverinfo="skip",
    )


def _add_paper(figure: go.Figure, rows: Sequence[Row]) -> None:
    """The paper's points of the tasks that are kin to this one."""
    groups: dict[str, list[Row]] = {}
    for point in relative_points(rows[0].get("paper") or ()):
        groups.setdefault(point["name"], []).append(point)
    for look, (name, points) in enumerate(groups.items()):
        figure.add_scatter(
            x=[point["traffic"] for point in points],
            y=[point["score"] for point in points],
            text=[point["label"] for point in points],
            mode="markers",
            name=name,
            marker=dict(color=GREY, symbol=f"{MARKERS[look % len(MARKERS)]}-open", size=7),
        )


def acceptance(task: str, rows: Sequence[Row]) -> go.Figure | None:
    """How far guesses are accepted, by method; None where none were held against the model."""
    series: dict[str, Any] = {}
    for row in rows:
        shares = row["costs"].get("accepted_by_position")
        if shares:
            series[f"{row['model']} {row['method']}"] = enumerate(shares, 1)
    if not series:
        return None
    heading = f"{task}: acceptance by position"
    figure = lines(series, "guess of a round", "share of rounds that accept it", heading)
    figure.update_yaxes(range=[0, 1.03])
    figure.update_layout(height=420, legend=LEGEND)
    return figure
