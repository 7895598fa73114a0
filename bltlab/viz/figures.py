"""Plotly figures of entropies, masks, training, evaluations and acceptance.

Numbers come in as plain lists, traces or objects with the named fields; nothing here imports torch.
Each colour has a second cue beside it: a marker, a dash or a hatch. The ground shows through, and
words and grids are of a grey that reads on light and dark: a figure fits the notebook's theme.
"""

from collections.abc import Iterable, Mapping, Sequence
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


CLEAR, VEIL = "rgba(0, 0, 0, 0)", "rgba(127, 127, 127, 0.2)"  # on any ground
_AXIS = dict(gridcolor=VEIL, zerolinecolor=VEIL, linecolor=VEIL)
io.templates["bltlab"] = go.layout.Template(
    layout=dict(
        paper_bgcolor=CLEAR, plot_bgcolor=CLEAR, font=dict(color=GREY), xaxis=_AXIS, yaxis=_AXIS
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
        figure.add_scatter(
            x=[point[0] for point in points],
            y=[point[1] for point in points],
            name=name,
            mode="lines+markers",
            line=dict(color=COLOURS[look], dash=DASHES[look]),
            marker=dict(symbol=MARKERS[look], size=8),
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
    series = {name: enumerate(accepted_share(traces), 1) for name, traces in groups.items()}
    figure = lines(
        series,
        "guess of a round (bytes beyond the model's own)",
        "share of rounds that accept it",
        "Acceptance",
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


def quality_against_cost(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """What another model thinks of each method's text, over what the text cost.

    rows: of `bench decode --judge`. On the left traffic projected on the 1B shape, on the right
    seconds, both relative to autoregression; a colour a temperature, a line through what is best.
    """
    costs = {
        "projected 1B traffic, autoregression 1": lambda row: row["projected_1b_ratio"],
        "seconds, autoregression 1": lambda row: 1 / row["speed_ratio"],
    }
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    figure.update_layout(_LAYOUT | dict(height=560, title="What quality costs"))
    temperatures = list(dict.fromkeys(row["temperature"] for row in rows))
    for column, (name, cost) in enumerate(costs.items(), 1):
        for look, temperature in enumerate(temperatures):
            some = [row for row in rows if row["temperature"] == temperature]
            points = [(cost(row), row["judge_bits"]) for row in some]
            _add_trade_off(
                figure, column, look, temperature, [row["method"] for row in some], points
            )
        figure.update_xaxes(title=name, rangemode="tozero", col=column)
    figure.update_yaxes(title="bits a byte, by the judge", col=1)
    return figure


def _add_trade_off(
    figure: go.Figure,
    column: int,
    look: int,
    temperature: float,
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
) -> None:
    """The points of one temperature, full ones on the front, and a line through these."""
    front = best_of(points)
    look %= len(COLOURS)
    symbol = MARKERS[look]
    figure.add_scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        text=names,
        mode="markers",
        name=f"T = {temperature:g}",
        showlegend=column == 1,
        marker=dict(
            color=COLOURS[look],
            size=10,
            symbol=[symbol if i in front else f"{symbol}-open" for i in range(len(points))],
        ),
        row=1,
        col=column,
    )
    for name, (x, y) in zip(names, points, strict=True):
        figure.add_annotation(
            x=x,
            y=y,
            text=_short(name),
            textangle=-40,
            showarrow=False,
            xanchor="left",
            yanchor="bottom",
            font=dict(size=10),
            row=1,
            col=column,
        )
    figure.add_scatter(
        x=[points[i][0] for i in front],
        y=[points[i][1] for i in front],
        mode="lines",
        line=dict(color=COLOURS[look], dash=DASHES[look], width=1),
        showlegend=False,
        hoverinfo="skip",
        row=1,
        col=column,
    )


def _short(spec: str) -> str:
    """A method and the values of its options.

    >>> _short("blt-d,block_size=4,unmasking=confidence:0.9")
    'blt-d 4 0.9'
    """
    method, *options = spec.split(",")
    values = [option.partition("=")[2].rpartition(":")[2] for option in options]
    return " ".join([method, *values])
