"""Single figures out of what was measured; None where it was not. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.results import FERRY
from bench.statistics import paired_difference, paired_ratio, percentile, summary

if TYPE_CHECKING:
    from bench.results import Results, Series

Figure = Callable[["Results"], "float | None"]
Situation = tuple[str, str]
"""A row and the condition of one of its measurements."""

LINE_BYTES = 25_000_000
"""200 Mbit/s, in bytes a second."""


def of_series(situation: Situation, figure: Callable[[Series], float], name: str = FERRY) -> Figure:
    """Return the figure that ``figure`` makes of one contestant's series."""

    def found(results: Results) -> float | None:
        series = _series(results, situation, name)
        return None if series is None else figure(series)

    return found


def of_two(situation: Situation, rival: str, figure: Callable[[Series, Series], float]) -> Figure:
    """Return the figure that ``figure`` makes of Ferry's series and a rival's, both of the same rounds."""

    def found(results: Results) -> float | None:
        own, other = _series(results, situation, FERRY), _series(results, situation, rival)
        return None if own is None or other is None else figure(own, other)

    return found


def fact(situation: Situation, name: str) -> Figure:
    """Return the figure that was counted."""

    def found(results: Results) -> float | None:
        measured = results.find(*situation)
        return None if measured is None else measured.facts.get(name)

    return found


def share_of_the_line(situation: Situation) -> Figure:
    """Return the part of the line that Ferry's median run filled."""

    def found(results: Results) -> float | None:
        measured, series = results.find(*situation), _series(results, situation, FERRY)
        if measured is None or series is None:
            return None
        return measured.bytes / median(series) / LINE_BYTES

    return found


def memory_beside(situation: Situation, other: Situation) -> Figure:
    """Return how many times the memory of another situation Ferry took at most."""

    def found(results: Results) -> float | None:
        own, known = _series(results, situation, FERRY), _series(results, other, FERRY)
        return None if own is None or known is None else max(own.peaks) / max(known.peaks)

    return found


def _series(results: Results, situation: Situation, name: str) -> Series | None:
    measured = results.find(*situation)
    return None if measured is None else measured.series.get(name)


def median(series: Series) -> float:
    """Return the median of a series."""
    return summary(series.values).median


def worst(series: Series) -> float:
    """Return the largest value of a series."""
    return max(series.values)


def p50(series: Series) -> float:
    """Return what half of the values do not exceed."""
    return percentile(series.values, 50)


def p99(series: Series) -> float:
    """Return what all but a hundredth of the values do not exceed."""
    return percentile(series.values, 99)


def times_as_fast(own: Series, other: Series) -> float:
    """Return how many times as fast Ferry is, where the values are seconds."""
    return paired_ratio(other.values, own.values)


def times_the_rate(own: Series, other: Series) -> float:
    """Return how many times the other's rate Ferry's is."""
    return paired_ratio(own.values, other.values)


def times_as_long(own: Series, other: Series) -> float:
    """Return how many times as long Ferry takes."""
    return paired_ratio(own.values, other.values)


def longer_by(own: Series, other: Series) -> float:
    """Return how many seconds longer Ferry takes."""
    return paired_difference(own.values, other.values)


def memory_of_both(own: Series, other: Series) -> float:
    """Return how many times the other's memory Ferry's is, each at its most."""
    return max(own.peaks) / max(other.peaks)
