"""A run in numbers, and runs side by side, as the rows of tables. No torch, no Gradio."""

from bltlab.trace import Verified

DASH = "–"


def number(value):
    return DASH if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rejected(trace):
    """How many guesses the model threw away, and how many it checked."""
    verified = [e for e in trace.events if isinstance(e, Verified)]
    return sum(len(e.drafted) - e.accepted for e in verified), sum(len(e.drafted) for e in verified)


def totals(trace):
    """All totals of a run, as the rows of a table."""
    t, n = trace.totals, trace.totals.new_bytes
    each = lambda total, scale=1: number(scale * total / n if n else None)
    rows = [
        ("new bytes", n, ""),
        *(
            (f"{part} passes", calls, each(calls))
            for part, calls in zip(("patcher", "encoder", "global", "decoder"), t.nfe.astuple())
        ),
        (
            "memory traffic, paper (eq. 8)",
            f"{number(t.paper_gb)} GB",
            f"{each(t.paper_gb, 1000)} MB",
        ),
        (
            "memory traffic, measured",
            f"{number(t.measured_gb)} GB",
            f"{each(t.measured_gb, 1000)} MB",
        ),
        ("seconds", t.seconds, f"{each(t.seconds, 1000)} ms"),
        ("bytes per second", n / t.seconds if t.seconds else None, ""),
        ("bytes per patch", t.bytes_per_patch, ""),
        ("acceptance rate", t.acceptance_rate and f"{100 * t.acceptance_rate:.0f} %", ""),
        ("mean acceptance length", t.mean_acceptance_length, ""),
        ("denoising steps per block", t.denoising_steps_per_block, ""),
        ("ended by", getattr(trace.events[-1], "reason", "not yet"), ""),
    ]
    return dict(
        head=["without the prompt", "this run", "per byte"],
        rows=[
            [name, run if isinstance(run, str) else number(run), byte] for name, run, byte in rows
        ],
    )


def compare(traces):
    """Runs side by side, as the rows of a table; traffic and seconds beside those of autoregression, where it ran."""
    base = next((t.totals for t in traces if t.method["name"] == "ar"), None)

    def beside(value, of, unit):
        share = f"  ({value / of:.2f}×)" if base and of else ""
        return f"{number(value)} {unit}{share}"

    rows = []
    for trace in traces:
        t, (lost, guessed) = trace.totals, rejected(trace)
        rows.append(
            [
                trace.method["name"],
                number(t.new_bytes),
                number(t.nfe.decoder),
                number(t.nfe.global_),
                f"{lost} of {guessed}" if guessed else DASH,
                number(t.mean_acceptance_length),
                beside(t.paper_gb, base and base.paper_gb, "GB"),
                beside(t.measured_gb, base and base.measured_gb, "GB"),
                beside(t.seconds, base and base.seconds, "s"),
            ]
        )
    return dict(
        head=[
            "",
            "new bytes",
            "decoder passes",
            "global passes",
            "thrown away",
            "bytes a round",
            "traffic, paper",
            "traffic, measured",
            "seconds",
        ],
        rows=rows,
    )
