"""All rows by name, in the table's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from bench.rows import large, small

if TYPE_CHECKING:
    from bench.bench import Bench
    from bench.results import Measurement

Row = Callable[["Bench"], "Iterator[Measurement]"]

ROWS: dict[str, Row] = {
    "large": large.one,
    "four": large.four,
    "small": small.some,
    "many": small.many,
}
