"""Measurements as a run would have made them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from bench.results import FERRY, Measurement, Results, Series

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20


def race(
    ferry: tuple[float, ...],
    rivals: Mapping[str, tuple[float, ...]] = MappingProxyType({}),
    row: str = "large",
    condition: str = "0 ms",
) -> Measurement:
    """Return a race over 10 MB in one file, in which everybody took a mebibyte of memory and half a second of CPU."""
    values = {FERRY: ferry, **rivals}
    series = {name: Series(seconds, (MIB,) * len(seconds), (0.5,) * len(seconds)) for name, seconds in values.items()}
    return Measurement(row, "one file", condition, series, files=1, bytes=10_000_000)


def results(*measurements: Measurement, scale: str = "full") -> Results:
    return Results("2 cores", scale, measurements)
