"""What a handful of runs says. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Summary:
    """Minimum and median of some runs, and their spread: how far the slowest is from the fastest, in the median's."""

    minimum: float
    median: float
    maximum: float

    @property
    def spread(self) -> float:
        """Return the spread as a part of the median; 0 where all runs are the same."""
        return (self.maximum - self.minimum) / self.median if self.median else 0.0


def summary(values: Sequence[float]) -> Summary:
    """Return the summary of at least one run. Raises ValueError where there is none."""
    return Summary(min(values), statistics.median(values), max(values))


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least ``part`` percent of all do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("there is nothing to take a percentile of")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part / 100 * len(ordered)) - 1)]


def paired_difference(longer: Sequence[float], shorter: Sequence[float]) -> float:
    """Return the median of the differences of runs that were made side by side, round by round."""
    return statistics.median(over - under for over, under in zip(longer, shorter, strict=True))


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Return the median of the ratios of runs that were made side by side, round by round.

    Whatever slows the machine down for a while slows both of a round, and leaves their ratio.
    """
    return statistics.median(over / under for over, under in zip(numerator, denominator, strict=True))
