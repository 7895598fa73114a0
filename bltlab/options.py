"""What an option is: a dataclass field whose metadata says its range, choices and help; checked here, once."""

import math
from dataclasses import fields


def check_options(method):
    """Raise ValueError or TypeError, in one sentence, for a field that its own metadata does not allow."""
    for f in fields(method):
        value, choices, low = (
            getattr(method, f.name),
            f.metadata.get("choices"),
            f.metadata.get("min"),
        )
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(choices)}, got {value!r}")
        if isinstance(low, float):
            if type(value) not in (int, float) or not low <= value <= f.metadata["max"]:
                raise ValueError(
                    f"{f.name} must be a number in {low:g}..{f.metadata['max']:g}, got {value!r}"
                )
        elif (
            low is not None and value is not f.default and not (type(value) is int and value >= low)
        ):
            raise ValueError(f"{f.name} must be an int of at least {low}, got {value!r}")
        if f.metadata.get("rule") and (isinstance(value, type) or not callable(value)):
            raise TypeError(f"{f.name} must be a rule such as Confidence(0.7), got {value!r}")


def check_limits(f, value):
    """Raise ValueError, in one sentence, for a dataclass field's value outside the range in its metadata."""
    low, high = f.metadata.get("min"), f.metadata.get("max")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{f.name} must be a finite number, got {value}")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(
            f"{f.name} must be {f'at least {low}' if high is None else f'in {low}..{high}'}, got {value}"
        )
