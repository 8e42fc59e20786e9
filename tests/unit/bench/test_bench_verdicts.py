"""Figures out of what was measured, and whether they are within their bounds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from bench import figures
from bench.figures import LINE_BYTES, fact, memory_beside, of_series, of_two, share_of_the_line
from bench.results import FERRY, Series
from bench.rows.catalogue import ROWS
from bench.targets import TARGETS, Target, judge
from tests.unit.bench.measured import MIB, race, results

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = ("large", "0 ms")


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (figures.median, 2.0),
        (figures.worst, 9.0),
        (figures.p50, 2.0),
        (figures.p99, 9.0),
    ],
)
def test_figures_of_one_series(figure: Callable[[Series], float], expected: float) -> None:
    assert of_series(HERE, figure)(results(race((9.0, 1.0, 2.0)))) == expected


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (figures.times_as_fast, 2.0),
        (figures.times_as_long, 0.5),
        (figures.times_the_rate, 0.5),
        (figures.longer_by, -1.0),
        (figures.memory_of_both, 1.0),
    ],
)
def test_figures_of_two_series(figure: Callable[[Series, Series], float], expected: float) -> None:
    measured = results(race((1.0, 1.0), {"rival": (2.0, 2.0)}))
    assert of_two(HERE, "rival", figure)(measured) == expected


def test_what_was_not_measured_has_no_figure() -> None:
    measured = results(race((1.0,)))
    assert of_series(("large", "20 ms"), figures.median)(measured) is None
    assert of_two(HERE, "rival", figures.times_as_fast)(measured) is None
    assert fact(HERE, "requests a file")(measured) is None
    assert share_of_the_line(("line", "80 ms"))(measured) is None
    assert memory_beside(HERE, ("dataset", "0 ms"))(measured) is None
    assert judge(Target("what", of_series(("small", "0 ms"), figures.median), 1.0), measured) is None


def test_a_share_of_the_line_and_of_another_situations_memory() -> None:
    line = race((10_000_000 / LINE_BYTES * 2,), row="line")
    assert share_of_the_line(("line", "0 ms"))(results(line)) == 0.5
    larger = dataclasses.replace(line, row="other", series={FERRY: Series((1.0,), (3 * MIB,))})
    assert memory_beside(("other", "0 ms"), ("line", "0 ms"))(results(line, larger)) == 3.0


@pytest.mark.parametrize(
    ("at_least", "value", "reached"),
    [(True, 1.0, True), (True, 0.99, False), (False, 1.0, True), (False, 1.01, False)],
)
def test_a_bound_is_reached_by_the_very_value(*, at_least: bool, value: float, reached: bool) -> None:
    target = Target("what", of_series(HERE, figures.median), 1.0, at_least=at_least, unit="s")
    verdict = judge(target, results(race((value,))))
    assert verdict is not None
    assert (verdict.measured, verdict.reached) == (value, reached)
    assert target.wanted == ("≥ 1.00 s" if at_least else "≤ 1.00 s")


def test_a_figure_is_shown_in_its_unit() -> None:
    target = Target("what", of_series(HERE, figures.median), 0.005, unit="%", factor=100)
    verdict = judge(target, results(race((0.004,))))
    assert (target.wanted, verdict and verdict.shown) == ("≤ 0.50 %", "0.40 %")


def test_every_row_has_a_target() -> None:
    asked: set[str] = set()

    class Asked:
        """Notes what is asked for, and has nothing."""

        def find(self, row: str, _condition: str) -> None:
            asked.add(row.partition(",")[0])

    for target in TARGETS:
        assert target.figure(Asked()) is None  # type: ignore[arg-type]
    assert asked == set(ROWS)
