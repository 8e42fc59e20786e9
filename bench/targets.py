"""What is to be reached, and the rule for each by which a table says whether it was. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results import FERRY
from bench.rivals.catalogue import BARE_MANY, BARE_SAME, CLIENT, TUSPY
from bench.statistics import paired_ratio, summary

if TYPE_CHECKING:
    from bench.results import Measurement, Results

Rule = Callable[["Measurement"], "float | None"]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of one situation, and its bound. ``at_least``: the figure is to be no smaller, else no larger.

    ``unit`` is what the figure is shown in, and ``factor`` what it is multiplied with for that.
    """

    what: str
    row: str
    condition: str
    figure: Rule
    bound: float
    at_least: bool = False
    unit: str = ""
    factor: float = 1.0

    @property
    def wanted(self) -> str:
        """Return the bound in words."""
        return f"{'≥' if self.at_least else '≤'} {_shown(self.bound * self.factor, self.unit)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure, as it is shown, and whether it is within its bound."""

    measured: float
    shown: str
    reached: bool


def judge(target: Target, results: Results) -> Verdict | None:
    """Return the verdict; None where the situation, or somebody in it, was not measured."""
    measurement = results.find(target.row, target.condition)
    measured = None if measurement is None else target.figure(measurement)
    if measured is None:
        return None
    reached = measured >= target.bound if target.at_least else measured <= target.bound
    return Verdict(measured, _shown(measured * target.factor, target.unit), reached)


def faster_than(rival: str) -> Rule:
    """Return the rule for how many times as fast as a rival Ferry is, judged round by round."""

    def ratio(measured: Measurement) -> float | None:
        own, other = measured.series.get(FERRY), measured.series.get(rival)
        return None if own is None or other is None else paired_ratio(other.values, own.values)

    return ratio


def fact(name: str) -> Rule:
    """Return the rule for something that was counted."""
    return lambda measured: measured.facts.get(name)


def median_of(name: str) -> Rule:
    """Return the rule for the median of a series."""
    return lambda measured: summary(measured.series[name].values).median if name in measured.series else None


def _speed(what: str, row: str, condition: str, rival: str, bound: float) -> Target:
    return Target(what, row, condition, faster_than(rival), bound, at_least=True, unit="×")


def _shown(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}".rstrip()


TARGETS = (
    _speed("one large file, against the bare loop in the same chunks", "large", "0 ms", BARE_SAME, 0.85),
    _speed("one large file, against tuspy", "large", "0 ms", TUSPY, 1.0),
    _speed("one large file at 20 ms with TLS, against tuspy", "large", "20 ms, TLS", TUSPY, 1.3),
    _speed("four large files in a row, against the bare loop in the same chunks", "four", "0 ms", BARE_SAME, 0.92),
    _speed("300 small files, against bare connections, as many", "small", "0 ms", BARE_MANY, 0.90),
    _speed("300 small files, against the client in a loop", "small", "0 ms", CLIENT, 1.7),
    _speed("300 small files at 20 ms, against the client in a loop", "small", "20 ms", CLIENT, 8.0),
    Target("requests for each of 10,000 files", "many", "0 ms", fact("requests a file"), 1.05),
)
