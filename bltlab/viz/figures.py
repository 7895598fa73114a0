"""Still pictures, as plotly figures: entropies and patches, masks, training curves, evaluations and acceptance.

Numbers come in as plain lists, traces or objects with the named fields; nothing here imports torch. Colours are those of
the player (Okabe-Ito), each with a second cue beside it: a marker, a dash or a hatch.
"""

from plotly import graph_objects as go

from .. import vocab
from ..costs import ratio
from ..events import Verified
from ..trace import printable

BLUE, ORANGE, GREEN, RED, PINK, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#777777",
)
COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY)
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
HATCHES = ("", "/", "x", ".", "-", "+")


def _figure(title, x, y, height=360, **layout):
    """An empty figure with named axes."""
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=height,
        title=title,
        margin=dict(l=60, r=20, t=56, b=52),
        legend=dict(orientation="h", y=1.02, yanchor="bottom", x=1, xanchor="right"),
        **layout,
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure


def lines(series, x, y, title=None):
    """Curves over numbers. series: name -> ((x, y), ...); x and y: the axes' names with their units."""
    figure = _figure(title, x, y)
    for i, (name, points) in enumerate(series.items()):
        figure.add_scatter(
            x=[p[0] for p in points],
            y=[p[1] for p in points],
            name=name,
            mode="lines+markers",
            line=dict(color=COLOURS[i % 6], dash=DASHES[i % 6]),
            marker=dict(symbol=MARKERS[i % 6], size=8),
            showlegend=True,
        )
    return figure


def entropies(patches, threshold):
    """Entropy before each byte of a text, the threshold, and a thin line in front of each byte that opens a patch.

    patches: `TextPatches` and its threshold in nats; or lists of both for the same text, which adds a slider.
    """
    several = isinstance(threshold, (list, tuple))
    patches, threshold = (list(patches), list(threshold)) if several else ([patches], [threshold])
    text, nats = patches[0].text, patches[0].entropies[: len(patches[0].text)]
    figure = _figure("Entropy before each byte", "byte", "entropy (nats)")
    for i, (one, limit) in enumerate(zip(patches, threshold)):
        x, y = [], []
        for start in one.starts[1:]:
            x, y = x + [start - 1.5] * 2 + [None], y + [0, max(nats, default=1), None]
        name = f"{len(one.spans)} patches"
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line=dict(color=GREY, width=1),
            name=name,
            visible=not i,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[-0.5, len(text) - 0.5],
            y=[limit] * 2,
            mode="lines",
            line=dict(color=RED, dash="dash"),
            name=f"threshold {limit:.2f} nats",
            visible=not i,
        )
    figure.add_scatter(
        x=list(range(len(text))),
        y=nats,
        mode="lines+markers",
        line=dict(color=BLUE),
        name="entropy",
        hovertext=[f"before {_glyph(b)}" for b in text],
        marker=dict(size=6),
    )
    figure.update_xaxes(
        tickvals=list(range(len(text))),
        ticktext=[_glyph(b) for b in text],
        tickangle=0,
        showgrid=False,
    )
    if several:
        shown = lambda i: [n // 2 == i for n in range(2 * len(patches))] + [True]
        steps = [
            dict(method="update", label=f"{limit:.2f}", args=[{"visible": shown(i)}])
            for i, limit in enumerate(threshold)
        ]
        slider = dict(steps=steps, currentvalue=dict(prefix="threshold (nats): "), pad=dict(t=40))
        figure.update_layout(height=440, sliders=[slider])
    return figure


def _glyph(byte):
    """One byte as a short tick: a visible space, ASCII as it is, else hex."""
    return "\u2423" if byte == 32 else printable(byte + vocab.OFFSET).removeprefix("\\x")


def mask(rows, labels=None, title=None):
    """A boolean mask as a picture: a row may read the columns that are filled.

    rows: a tensor or nested lists of bools, (queries, keys). labels: one for each row and column of a square mask.
    """
    rows = [[int(v) for v in row] for row in (rows.tolist() if hasattr(rows, "tolist") else rows)]
    figure = _figure(
        title,
        "may read",
        "position",
        height=120 + 22 * len(rows),
        width=max(460, 200 + 22 * len(rows[0])),
    )
    figure.add_heatmap(
        z=rows,
        zmin=0,
        zmax=1,
        colorscale=[[0, "#F2F2F2"], [1, BLUE]],
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


def training_curve(reports):
    """Held-out bits per byte over the text read, one curve a stage, the masked bytes' as one more."""
    series = {}
    for report in reports:
        series.setdefault(f"{report.stage}, next byte", []).append(
            (report.megabytes, report.held_out_bits)
        )
        if report.masked_bits is not None:
            series.setdefault(f"{report.stage}, masked bytes", []).append(
                (report.megabytes, report.masked_bits)
            )
    return lines(series, "text read (MB)", "held-out bits per byte", "Learning")


PARTS = {
    "patcher": "entropy model",
    "encoder": "encoder",
    "global_": "global transformer",
    "decoder": "decoder",
}


def race(traces):
    """Evaluations of each part for a new byte: bars, one group a trace."""
    figure = _figure("Evaluations a byte", "method", "evaluations a new byte", barmode="group")
    names = _names(traces)
    for i, (part, name) in enumerate(PARTS.items()):
        counts = [ratio(getattr(t.totals.nfe, part), t.totals.new_bytes) for t in traces]
        figure.add_bar(
            x=names, y=counts, name=name, marker=dict(color=COLOURS[i], pattern_shape=HATCHES[i])
        )
    return figure


def _names(traces):
    """Names of traces: the method's, with its first option where two would be alike."""
    short = [t.method["name"] for t in traces]
    option = lambda t: ", ".join(
        f"{k} {v}" for k, v in t.method.items() if k in ("draft_length", "block_size", "unmasking")
    )
    return [
        f"{n} ({option(t)})" if short.count(n) > 1 and option(t) else n
        for n, t in zip(short, traces)
    ]


def accepted_share(traces):
    """Share of rounds that accept guess 1, 2, ... of a round: a list of numbers in 0..1.

    A guess counts as accepted when it and all guesses before it are; rounds with fewer guesses are left out of its share.
    """
    rounds = [
        (len(e.drafted), e.accepted) for t in traces for e in t.events if isinstance(e, Verified)
    ]
    longest = max((n for n, _ in rounds), default=0)
    return [
        ratio(sum(accepted > i for n, accepted in rounds if n > i), sum(n > i for n, _ in rounds))
        for i in range(longest)
    ]


def acceptance_by_position(groups):
    """How far drafts survive. groups: name -> traces of one method, pooled."""
    series = {name: list(enumerate(accepted_share(traces), 1)) for name, traces in groups.items()}
    figure = lines(
        series,
        "guess of a round (bytes beyond the model's own)",
        "share of rounds that accept it",
        "Acceptance",
    )
    figure.update_yaxes(range=[0, 1.03])
    return figure
