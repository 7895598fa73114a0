"""The learning rate over a run: it rises, stays, and falls; or rises, and falls as a cosine does.

1.00      ______________
         /              \\____
        /                    \\____
0.02   /                          \\_
       warm-up   constant   decay
"""

import math

END = 0.02  # share of the peak rate at the end of a run


def learning_rate_scale(
    step: int, total: int, warm_up: int = 40, decay: float = 0.6, schedule: str = "linear"
) -> float:
    """The share of the peak learning rate at a step, counted from 0, of a run of `total` steps.

    It rises linearly over `warm_up` steps (at most a tenth of the run), stays at 1, and falls
    linearly to 0.02 over the last share `decay` of the run. schedule "cosine": it falls from the
    end of the rise on, to 0 (Fast BLT A.2).

    >>> [round(learning_rate_scale(step, 1000), 2) for step in (0, 39, 400, 700, 1000)]
    [0.03, 1.0, 1.0, 0.51, 0.02]
    """
    rising_steps = max(1, min(warm_up, total // 10))
    rise = min(1.0, (step + 1) / rising_steps)
    if schedule == "cosine":
        fallen = max(0, step - rising_steps) / max(1, total - rising_steps)
        return rise * (1 + math.cos(math.pi * fallen)) / 2
    left = 1 - step / max(1, total)
    if left >= decay:
        return rise
    return rise * (END + (1 - END) * max(0.0, left) / decay)


rate_at = learning_rate_scale
