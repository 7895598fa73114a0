"""A run in numbers, and runs side by side, as the rows of tables. No torch, no Gradio."""

from typing import Any

from bltlab.trace import Totals, Trace

DASH = "–"
COLUMNS = [
    "",
    "new bytes",
    "decoder passes",
    "global passes",
    "thrown away",
    "bytes a round",
    "traffic, paper",
    "traffic, measured",
    "seconds",
]

Table = dict[str, list]  # {"head": the titles, "rows": lists of texts}


def number(value: float | None) -> str:
    """A number for a table: three digits, or all of a large one.

    >>> number(1234.5), number(0.12345), number(None)
    ('1,234', '0.123', '–')
    """
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rejected(trace: Trace) -> tuple[int, int]:
    """How many guesses the model threw away, and how many it checked."""
    guessed = sum(guessed for guessed, _ in trace.guesses)
    accepted = sum(accepted for _, accepted in trace.guesses)
    return guessed - accepted, guessed


def totals(trace: Trace) -> Table:
    """All totals of a run, as the rows of a table: what, how much, and how much per new byte."""
    t = trace.totals
    n = t.new_bytes

    def each(total: float, unit: str = "") -> str:
        return number(total / n if n else None) + unit

    rows = [["new bytes", number(n), ""]]
    parts = ("patcher", "encoder", "global", "decoder")
    for part, calls in zip(parts, t.nfe.astuple(), strict=True):
        rows.append([f"{part} passes", number(calls), each(calls)])
    for title, gb in (("paper (eq. 8)", t.paper_gb), ("measured", t.measured_gb)):
        rows.append([f"memory traffic, {title}", f"{number(gb)} GB", each(1000 * gb, " MB")])
    rows.append(["seconds", number(t.seconds), each(1000 * t.seconds, " ms")])
    rows += [[name, value, ""] for name, value in _rates(trace).items()]
    return dict(head=["without the prompt", "this run", "per byte"], rows=rows)


def _rates(trace: Trace) -> dict[str, str]:
    """The totals that are not sums over bytes, as texts by title."""
    t = trace.totals
    return {
        "bytes per second": number(t.new_bytes / t.seconds if t.seconds else None),
        "bytes per patch": number(t.bytes_per_patch),
        "acceptance rate": _percent(t.acceptance_rate),
        "foreseen right": _percent(t.foreseen_rate),
        "mean acceptance length": number(t.mean_acceptance_length),
        "denoising steps per block": number(t.denoising_steps_per_block),
        "ended by": getattr(trace.events[-1], "reason", "not yet"),
    }


def _percent(rate: float | None) -> str:
    """A share in 0..1, if there is one.

    >>> _percent(0.0), _percent(None)
    ('0 %', '–')
    """
    return DASH if rate is None else f"{100 * rate:.0f} %"


def compare(traces: list[Trace]) -> Table:
    """Runs side by side, as the rows of a table.

    Traffic and seconds stand beside those of the same model's autoregression, where it is there.
    """
    bases = {t.model.get("name"): t.totals for t in traces if t.method["name"] == "ar"}
    several = len({trace.model.get("name") for trace in traces}) > 1
    return dict(head=COLUMNS, rows=[_row(trace, bases, several) for trace in traces])


def _row(trace: Trace, bases: dict[Any, Totals], several: bool) -> list[str]:
    """One run of `compare`.

    bases: the totals of autoregression, by model. several: say which model it is.
    """
    t, model = trace.totals, trace.model.get("name")
    base = bases.get(model)
    lost, guessed = rejected(trace)
    return [
        trace.method["name"] + (f", {model}" if several else ""),
        number(t.new_bytes),
        number(t.nfe.decoder),
        number(t.nfe.global_),
        f"{lost} of {guessed}" if guessed else DASH,
        number(t.mean_acceptance_length),
        _beside(t.paper_gb, base and base.paper_gb, "GB"),
        _beside(t.measured_gb, base and base.measured_gb, "GB"),
        _beside(t.seconds, base and base.seconds, "s"),
    ]


def _beside(value: float, base: float | None, unit: str) -> str:
    """A value and how many times the base it is.

    >>> _beside(3.0, 4.0, "GB"), _beside(3.0, None, "GB")
    ('3 GB  (0.75×)', '3 GB')
    """
    return f"{number(value)} {unit}" + (f"  ({value / base:.2f}×)" if base else "")
