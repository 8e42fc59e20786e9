"""What a handful of runs says."""

from __future__ import annotations

import pytest

from bench.statistics import paired_difference, paired_ratio, percentile, summary


def test_minimum_median_and_spread() -> None:
    told = summary([4.0, 1.0, 2.0])
    assert (told.minimum, told.median, told.maximum) == (1.0, 2.0, 4.0)
    assert told.spread == 1.5
    assert summary([1.0, 2.0]).median == 1.5
    assert summary([0.0]).spread == 0.0


def test_there_is_no_summary_of_nothing() -> None:
    with pytest.raises(ValueError, match="empty"):
        summary([])
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


@pytest.mark.parametrize(("part", "expected"), [(50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0), (0, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(part: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], part) == expected


def test_of_few_values_the_largest_is_what_99_percent_do_not_exceed() -> None:
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0


def test_runs_are_compared_round_by_round() -> None:
    # The machine was ten times as slow in the second round; both were, so it says nothing.
    assert paired_ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == 2.0
    assert paired_difference([2.0, 11.0, 2.5], [1.0, 10.0, 1.0]) == 1.0
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0])
