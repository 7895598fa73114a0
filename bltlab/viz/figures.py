"""Plotly figures of entropies, masks, training, evaluations and acceptance.

Numbers come in as plain lists, traces or objects with the named fields; nothing here imports torch.
Each colour has a second cue beside it: a marker, a dash or a hatch. The ground shows through, and
words and grids are of a grey that reads on light and dark: a figure fits the notebook's theme.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotly import graph_objects as go
from plotly import io
from plotly.subplots import make_subplots

from .. import vocab
from ..costs import ratio
from ..trace import Trace, guesses_in, printable
from ..trace import accepted_share as share_of_guesses
from .colours import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY

COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY)
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
HATCHES = ("", "/", "x", ".", "-", "+")
NAMES = {  # of the model's parts
    "patcher": "entropy model",
    "encoder": "encoder",
    "global_": "global transformer",
    "decoder": "decoder",
}
PARTS = NAMES  # its first name
FEW = 12  # points that all have marks
PANEL = 360  # height of one of several panels
APART = 0.06  # of what a panel shows: marks above each other


CLEAR, VEIL = "rgba(0, 0, 0, 0)", "rgba(127, 127, 127, 0.2)"  # on any ground
_SMALL = dict(font=dict(size=12))  # a page may be narrow
_AXIS = dict(gridcolor=VEIL, zerolinecolor=VEIL, linecolor=VEIL, title=_SMALL)
io.templates["bltlab"] = go.layout.Template(
    layout=dict(
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font=dict(color=GREY),
        title=dict(font=dict(size=14)),
        xaxis=_AXIS,
        yaxis=_AXIS,
    )
)
_LAYOUT: dict[str, Any] = dict(
    template="plotly_white+bltlab",
    margin=dict(l=60, r=20, t=56, b=52),
    legend=dict(orientation="h", y=1.02, yanchor="bottom", x=1, xanchor="right"),
)


def _figure(title: str | None, x: str, y: str, height: int = 360, **layout: Any) -> go.Figure:
    """An empty figure with named axes."""
    figure = go.Figure()
    figure.update_layout(_LAYOUT | dict(height=height, title=title) | layout)
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure


def lines(
    series: Mapping[str, Iterable[tuple[float, float]]],
    x: str,
    y: str,
    title: str | None = None,
) -> go.Figure:
    """Curves over numbers. series: name -> ((x, y), ...).

    x and y: the axes' names with their units.
    """
    figure = _figure(title, x, y)
    for i, (name, points) in enumerate(series.items()):
        points, look = list(points), i % len(COLOURS)
        other = (i + i // len(COLOURS)) % len(COLOURS)  # no two of 36 look alike
        figure.add_scatter(
            x=[point[0] for point in points],
            y=[point[1] for point in points],
            name=name,
            mode="lines+markers",
            line=dict(color=COLOURS[look], dash=DASHES[other]),
            marker=dict(symbol=MARKERS[other], size=8),
            showlegend=True,
        )
    return figure


# -- entropies and patches -------------------------------------------------------------------------


def entropies(patches: Any, threshold: float | Sequence[float]) -> go.Figure:
    """Entropy before each byte of a text, the threshold, and where patches begin.

    patches: `TextPatches` and its threshold in nats; or lists of both for the same text, which adds
    a slider.
    """
    several = isinstance(threshold, (list, tuple))
    limits: Any = threshold if several else [threshold]
    patches = patches if several else [patches]
    text, nats = patches[0].text, patches[0].entropies[: len(patches[0].text)]
    figure = _figure("Entropy before each byte", "byte", "entropy (nats)")
    for i, (one, limit) in enumerate(zip(patches, limits, strict=True)):
        _add_patches(figure, one, max(nats, default=1), visible=i == 0)
        _add_threshold(figure, limit, len(text), visible=i == 0)
    glyphs = [_glyph(byte) for byte in text]
    figure.add_scatter(
        x=list(range(len(text))),
        y=nats,
        mode="lines+markers",
        line=dict(color=BLUE),
        name="entropy",
        hovertext=[f"before {glyph}" for glyph in glyphs],
        marker=dict(size=6),
    )
    figure.update_xaxes(
        tickvals=list(range(len(text))), ticktext=glyphs, tickangle=0, showgrid=False
    )
    if several:
        figure.update_layout(height=440, sliders=[_slider(limits)])
    return figure


def _add_patches(
    figure: go.Figure,
    patches: Any,
    height: float,
    visible: bool,
) -> None:
    """A thin line in front of each byte that opens a patch."""
    x, y = [], []
    for start in patches.starts[1:]:
        x += [start - 1.5, start - 1.5, None]
        y += [0, height, None]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line=dict(color=GREY, width=1),
        name=f"{len(patches.spans)} patches",
        visible=visible,
        hoverinfo="skip",
    )


def _add_threshold(
    figure: go.Figure,
    limit: float,
    n: int,
    visible: bool,
) -> None:
    """A dashed line across n bytes."""
    figure.add_scatter(
        x=[-0.5, n - 0.5],
        y=[limit, limit],
        mode="lines",
        line=dict(color=RED, dash="dash"),
        name=f"threshold {limit:.2f} nats",
        visible=visible,
    )


def _slider(thresholds: Sequence[float]) -> dict[str, Any]:
    """Shows one threshold at a time: its two lines and the curve of entropies."""
    steps = []
    for chosen, limit in enumerate(thresholds):
        visible = [n // 2 == chosen for n in range(2 * len(thresholds))] + [True]
        steps.append(dict(method="update", label=f"{limit:.2f}", args=[{"visible": visible}]))
    return dict(steps=steps, currentvalue=dict(prefix="threshold (nats): "), pad=dict(t=40))


def _glyph(byte: int) -> str:
    """One byte as a short tick: a visible space, ASCII as it is, else hex."""
    return "\u2423" if byte == 32 else printable(byte + vocab.OFFSET).removeprefix("\\x")


# -- masks and training ----------------------------------------------------------------------------


def mask(
    rows: Any,
    labels: Sequence[str] | None = None,
    title: str | None = None,
) -> go.Figure:
    """A boolean mask as a picture: a row may read the columns that are filled.

    rows: a tensor or nested lists of bools, (queries, keys).
    labels: one for each row and column of a square mask.
    """
    rows = [list(map(int, row)) for row in (rows.tolist() if hasattr(rows, "tolist") else rows)]
    height, width = 120 + 22 * len(rows), max(460, 200 + 22 * len(rows[0]))
    figure = _figure(title, "may read", "position", height, width=width)
    figure.add_heatmap(
        z=rows,
        zmin=0,
        zmax=1,
        colorscale=[[0, VEIL], [1, BLUE]],
        showscale=False,
        xgap=1,
        ygap=1,
    )
    figure.update_yaxes(autorange="reversed", scaleanchor="x", constrain="domain", showgrid=False)
    figure.update_xaxes(constrain="domain", showgrid=False)
    if labels is not None:
        ticks = dict(tickvals=list(range(len(labels))), ticktext=list(labels))
        figure.update_xaxes(**ticks, tickangle=0)
        figure.update_yaxes(**ticks)
    return figure


def training_curve(reports: Iterable[Any]) -> go.Figure:
    """Held-out bits per byte over the text read: a curve a stage, one more for masked bytes."""
    series: dict[str, list[tuple[float, float]]] = {}
    for report in reports:
        next_byte = series.setdefault(f"{report.stage}, next byte", [])
        next_byte.append((report.megabytes, report.held_out_bits))
        if report.masked_bits is not None:
            masked = series.setdefault(f"{report.stage}, masked bytes", [])
            masked.append((report.megabytes, report.masked_bits))
    return lines(series, "text read (MB)", "held-out bits per byte", "Learning")


# -- runs ------------------------------------------------------------------------------------------


def race(traces: Sequence[Trace]) -> go.Figure:
    """Evaluations of each part for a new byte: bars, one group a trace."""
    figure = _figure("Evaluations a byte", "method", "evaluations a new byte", barmode="group")
    names = _names(traces)
    for i, (part, name) in enumerate(NAMES.items()):
        counts = [ratio(getattr(t.totals.nfe, part), t.totals.new_bytes) for t in traces]
        figure.add_bar(
            x=names, y=counts, name=name, marker=dict(color=COLOURS[i], pattern_shape=HATCHES[i])
        )
    return figure


def _names(traces: Sequence[Trace]) -> list[str]:
    """Names of traces: the method's, with its options where two would be alike."""
    short = [trace.method["name"] for trace in traces]
    names = []
    for name, trace in zip(short, traces, strict=True):
        alike, options = short.count(name) > 1, _options(trace)
        names.append(f"{name} ({options})" if alike and options else name)
    return names


def _options(trace: Trace) -> str:
    shown = ("draft_length", "block_size", "unmasking")
    return ", ".join(f"{name} {value}" for name, value in trace.method.items() if name in shown)


def accepted_share(traces: Iterable[Trace]) -> list[float]:
    """Share of rounds that accept guess 1, 2, ... of a round, in 0..1, over all traces.

    A guess counts as accepted where it and all guesses before it agree; rounds with fewer guesses
    are left out of its share.
    """
    return share_of_guesses([round for trace in traces for round in guesses_in(trace.events)])


def acceptance_by_position(groups: Mapping[str, Sequence[Trace]]) -> go.Figure:
    """How far drafts survive. groups: name -> traces of one method, pooled."""
    return acceptance({name: accepted_share(traces) for name, traces in groups.items()})


def acceptance(shares: Mapping[str, Sequence[float]], title: str = "Acceptance") -> go.Figure:
    """How far drafts survive. shares: name -> shares of rounds that accept guess 1, 2, ..."""
    figure = lines(
        {name: enumerate(found, 1) for name, found in shares.items()},
        "guess of a round (bytes beyond the model's own)",
        "share of rounds that accept it",
        title,
    )
    figure.update_yaxes(range=[0, 1.03])
    return figure


# -- what quality costs ----------------------------------------------------------------------------


def best_of(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other one beats in both numbers, less being better, from left to right.

    >>> best_of([(1, 5), (2, 3), (3, 4), (4, 1)])
    [0, 1, 3]
    """
    order = sorted(range(len(points)), key=lambda i: points[i])
    front: list[int] = []
    for i in order:
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front


@dataclass(frozen=True)
class Point:
    """One setting on a figure of quality against costs.

    name: what it has a colour with. label: of the point itself, shown under the pointer; mark: the
    short one that stands beside it. costs: by name; it is left out where it has none. front: the
    points that it is held against; "" of one that stands beside.
    """

    name: str
    label: str
    quality: float
    costs: Mapping[str, float | None]
    front: str = ""
    mark: str = ""


def trade_off(
    points: Sequence[Point],
    axes: Mapping[str, str],
    quality: str,
    title: str,
    fewer_is_better: bool = False,
) -> go.Figure:
    """Quality over costs, a panel each: a colour a name, a line through what nothing beats in both.

    axes: the costs and what they are called. Points on their front are full, and marked.
    """
    figure = make_subplots(rows=len(axes), vertical_spacing=0.14)
    height = 150 + PANEL * len(axes)
    figure.update_layout(_LAYOUT | dict(height=height, title=title))
    for panel, (cost, heading) in enumerate(axes.items(), 1):
        known = [point for point in points if point.costs.get(cost) is not None]
        fronts = [_front(own, cost, fewer_is_better) for own in _groups(known, "front").values()]
        best = sum(fronts, [])
        for look, own in enumerate(_groups(known, "name").values()):
            _add_points(figure, panel, cost, look % len(COLOURS), own, best)
        _add_marks(figure, panel, cost, known, best, fewer_is_better)
        for front in filter(None, fronts):
            _add_front(figure, panel, cost, front)
        figure.update_xaxes(title=heading, rangemode="tozero", row=panel)
    figure.update_yaxes(title=quality)
    return figure


def _groups(points: Sequence[Point], field: str) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(getattr(point, field), []).append(point)
    return groups


def _front(points: Sequence[Point], cost: str, fewer_is_better: bool) -> list[Point]:
    """The points that none beats in both; none of those that only stand beside."""
    if not points[0].front:
        return []
    sign = 1 if fewer_is_better else -1
    places = [(point.costs[cost], sign * point.quality) for point in points]
    return [points[i] for i in best_of(places)]


def _add_points(
    figure: go.Figure,
    panel: int,
    cost: str,
    look: int,
    points: Sequence[Point],
    best: Sequence[Point],
) -> None:
    """The points of one name. What only stands beside is small, grey and faint."""
    ours = bool(points[0].front)
    symbol = MARKERS[look]
    symbols = [symbol if point in best else f"{symbol}-open" for point in points]
    looks = dict(color=COLOURS[look], size=10)
    if not ours:
        looks = dict(color=GREY, size=7, opacity=0.6)
    figure.add_scatter(
        x=[point.costs[cost] for point in points],
        y=[point.quality for point in points],
        text=[point.label for point in points],
        mode="markers",
        name=points[0].name,
        legendgroup=points[0].name,
        showlegend=panel == 1,
        marker=dict(symbol=symbols, **looks),
        row=panel,
        col=1,
    )


def _add_marks(
    figure: go.Figure,
    panel: int,
    cost: str,
    points: Sequence[Point],
    best: Sequence[Point],
    fewer_is_better: bool,
) -> None:
    """Marks to the left of all points where they are few, else of some of those on a front.

    Where they would overlap, those of better points move on to where no point is.
    """
    if not points:
        return
    sign = -1 if fewer_is_better else 1
    marked = sorted(
        _marked(points, best),
        key=lambda point: (sign * point.quality, point.costs[cost]),
    )
    values = [sign * point.quality for point in points]
    low, high = min(values), max(values)
    unit = APART * (high - low or 1)
    places = spread([sign * point.quality for point in marked], unit)
    for point, place in zip(marked, places, strict=True):
        _add_mark(figure, panel, cost, point, sign * place)
    ends = low - unit, max([high, *places]) + unit
    figure.update_yaxes(range=sorted([sign * end for end in ends]), row=panel)


def _marked(points: Sequence[Point], best: Sequence[Point]) -> Sequence[Point]:
    """All points where they are few, else some of the best; none that only stand beside."""
    ours = [point for point in points if point.front]
    if len(ours) <= FEW:
        return ours
    step = 1 + len(best) // (FEW + 1)
    return best[::step]


def spread(places: Sequence[float], apart: float) -> list[float]:
    """Places in order, moved up where the one before is nearer than `apart`.

    >>> spread([0.0, 0.5, 1.0, 4.0], 1.0)
    [0.0, 1.0, 2.0, 4.0]
    """
    moved: list[float] = []
    for place in places:
        lowest = moved[-1] + apart if moved else place
        moved.append(max(place, lowest))
    return moved


def _add_mark(figure: go.Figure, panel: int, cost: str, point: Point, place: float) -> None:
    """The mark of a point, at a height of its own, and a line from there to the point."""
    figure.add_annotation(
        x=point.costs[cost],
        y=point.quality,
        ax=-12,
        ay=place,
        ayref=f"y{panel if panel > 1 else ''}",
        text=point.mark or point.label,
        arrowhead=0,
        arrowwidth=0.7,
        arrowcolor=GREY,
        standoff=5,
        xanchor="right",
        font=dict(size=10),
        row=panel,
        col=1,
    )


def _add_front(figure: go.Figure, panel: int, cost: str, front: Sequence[Point]) -> None:
    figure.add_scatter(
        x=[point.costs[cost] for point in front],
        y=[point.quality for point in front],
        mode="lines",
        line=dict(color=GREY, dash="dash", width=1),
        showlegend=False,
        hoverinfo="skip",
        row=panel,
        col=1,
    )


def quality_against_cost(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """What another model thinks of each method's text, over what the text cost.

    rows: of `bench decode --judge`; a colour and a front a temperature.
    """
    points = []
    for row in rows:
        temperature = f"T = {row['temperature']:g}"
        costs = dict(traffic=row["projected_1b_ratio"], seconds=1 / row["speed_ratio"])
        label = short_name(row["method"])
        points.append(Point(temperature, label, row["judge_bits"], costs, front=temperature))
    axes = {
        "traffic": "projected 1B traffic, autoregression 1",
        "seconds": "seconds, autoregression 1",
    }
    quality = "bits a byte, by the judge"
    return trade_off(points, axes, quality, "What quality costs", fewer_is_better=True)


def short_name(spec: str) -> str:
    """A method and the values of its options.

    >>> short_name("blt-d,block_size=4,unmasking=confidence:0.9")
    'blt-d 4 0.9'
    """
    method, *options = spec.split(",")
    values = [option.partition("=")[2].rpartition(":")[2] for option in options]
    return " ".join([method, *values])
