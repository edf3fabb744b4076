"""Medians with their spread, and ratios of paired samples. No clock, no file, no process."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of `count` samples."""

    median: float
    lower: float
    upper: float
    count: int

    def text(self, decimals=1):
        """`41.2 (40.8-42.0)`."""
        return f"{self.median:.{decimals}f} ({self.lower:.{decimals}f}-{self.upper:.{decimals}f})"

    def as_json(self):
        return {
            "median": self.median,
            "lower_quartile": self.lower,
            "upper_quartile": self.upper,
            "count": self.count,
        }


def quantile(values, q):
    """The value at place q (m - 1) of m sorted values, between neighbours by linear interpolation
    (Hyndman and Fan type 7).
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("a quantile needs a value")
    place = q * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values):
    """The spread of `values`; None if there are none."""
    values = list(values)
    if not values:
        return None
    return Spread(
        quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75), len(values)
    )


def paired_ratio(over, under):
    """The spread of over[key] / under[key] over the keys that both have: what was measured on the
    same prompt in the same round.

    A slow quarter of an hour on a shared machine hits both sides of a pair and leaves the ratio
    alone.
    """
    return spread(
        over[key] / under[key] for key in sorted(over.keys() & under.keys()) if under[key] > 0
    )
