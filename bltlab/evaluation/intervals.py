"""How sure a score is: intervals, differences between methods, pass@k. Plain numbers, no scipy."""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

RESAMPLES = 1000
Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Estimate:
    """A score and the ends of its 95 % interval."""

    score: float
    low: float
    high: float


def mean_of(scores: Sequence[float]) -> Estimate:
    """The mean of scores, one an item: by Wilson where all are 0 or 1, else by bootstrap.

    >>> mean_of([1, 1, 1, 0])
    Estimate(score=0.75, low=0.30064, high=0.95441)
    """
    if all(score in (0, 1) for score in scores):
        return wilson(int(sum(scores)), len(scores))
    return bootstrap(scores, statistics.fmean)


def wilson(right: int, n: int) -> Estimate:
    """The share of `right` in n and its interval by Wilson."""
    share = right / n
    weight = Z * Z / n
    variance = share * (1 - share) / n
    spread = Z * math.sqrt(variance + weight / (4 * n))
    centre = share + weight / 2
    low = (centre - spread) / (1 + weight)
    high = (centre + spread) / (1 + weight)
    return Estimate(share, round(max(0.0, low), 5), round(min(1.0, high), 5))


def bootstrap(
    items: Sequence, statistic: Callable[[Sequence], float], resamples: int = RESAMPLES
) -> Estimate:
    """A statistic of some items, and its interval over items drawn again, with a seed of its own.

    >>> bootstrap([2.0, 2.0, 2.0], statistics.fmean)
    Estimate(score=2.0, low=2.0, high=2.0)
    """
    rng = random.Random(0)
    drawn = [statistic(rng.choices(items, k=len(items))) for _ in range(resamples)]
    drawn.sort()
    low = drawn[round(0.025 * (resamples - 1))]
    high = drawn[round(0.975 * (resamples - 1))]
    return Estimate(statistic(items), low, high)


def jackknife(items: Sequence, statistic: Callable[[Sequence], float]) -> Estimate:
    """A statistic that items drawn twice would spoil; its interval by leaving out one at a time.

    >>> found = jackknife([1.0, 2.0, 3.0], statistics.fmean)
    >>> found.score, round(found.high - 2, 3)
    (2.0, 1.132)
    """
    n = len(items)
    score = statistic(items)
    if n < 2:
        return Estimate(score, score, score)
    left = []
    for i in range(n):
        others = [*items[:i], *items[i + 1 :]]
        left.append(statistic(others))
    variance = (n - 1) * statistics.pvariance(left)
    spread = Z * math.sqrt(variance)
    return Estimate(score, score - spread, score + spread)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """The mean difference of paired scores and its interval over items drawn again.

    >>> difference([1, 1, 0], [1, 1, 0])
    Estimate(score=0.0, low=0.0, high=0.0)
    """
    pairs = zip(ours, theirs, strict=True)
    return bootstrap([a - b for a, b in pairs], statistics.fmean)


def mcnemar(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The chance of a difference like this or larger between equal methods, scores of 0 and 1.

    >>> mcnemar([1] * 10, [0] * 10), mcnemar([1, 0], [1, 0])
    (0.001953125, 1.0)
    """
    pairs = list(zip(ours, theirs, strict=True))
    better = sum(a > b for a, b in pairs)
    worse = sum(a < b for a, b in pairs)
    n = better + worse
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / 2**n)


def pass_at(k: int, samples: int, right: Sequence[int]) -> float:
    """pass@k, unbiased. right: of each item, how many of its samples pass.

    >>> pass_at(1, 4, [2, 0]), pass_at(2, 2, [1, 0])
    (0.25, 0.5)
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k must be in 1..{samples}, the samples of an item, got {k}")
    all_ways = math.comb(samples, k)
    missed = [math.comb(samples - n, k) / all_ways for n in right]
    return 1 - statistics.fmean(missed)
