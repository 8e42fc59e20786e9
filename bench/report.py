"""The table in Markdown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import FERRY
from bench.statistics import paired_ratio, summary
from bench.targets import TARGETS, judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.results import Measurement, Results

_MB = 1_000_000


def table(results: Results) -> str:
    """Return the targets with their verdicts, and below them everything that was measured."""
    parts = [f"{results.machine}\n"]
    if results.scale != "full":
        parts.append(f"Scale: {results.scale}. These figures only show that the benchmark works.\n")
    parts.append(_markdown(("what", "target", "measured", ""), _verdicts(results)))
    parts += [_situation(each) for each in results.measurements]
    return "\n".join(parts)


def _verdicts(results: Results) -> Iterator[tuple[str, ...]]:
    for target in TARGETS:
        verdict = judge(target, results)
        if verdict is not None:
            yield target.what, target.wanted, verdict.shown, "reached" if verdict.reached else "**not reached**"


def _situation(measured: Measurement) -> str:
    heading = f"**{measured.title}, {measured.condition}**\n"
    columns = ("", "median", "minimum", "spread", *_columns(measured), "memory at most")
    return f"{heading}\n{_markdown(columns, _lines(measured))}"


def _columns(measured: Measurement) -> tuple[str, ...]:
    columns = {
        "MB/s": measured.bytes > 0,
        "files/s": measured.files > 1,
        f"{FERRY} is faster by": _compares(measured),
    }
    return tuple(name for name, shown in columns.items() if shown)


def _lines(measured: Measurement) -> Iterator[tuple[str, ...]]:
    for name, series in measured.series.items():
        told = summary(series.values)
        figures = [_seconds(told.median), _seconds(told.minimum), f"{told.spread:.0%}"]
        if measured.bytes:
            figures.append(f"{measured.bytes / told.median / _MB:.1f}")
        if measured.files > 1:
            figures.append(f"{measured.files / told.median:.0f}")
        if _compares(measured):
            own = measured.series[FERRY].values
            figures.append("" if name == FERRY else f"{paired_ratio(series.values, own):.2f} ×")
        peak = max(series.peaks, default=0)
        yield name, *figures, f"{peak / _MB:.0f} MB" if peak else "–"


def _compares(measured: Measurement) -> bool:
    return FERRY in measured.series and len(measured.series) > 1


def _seconds(value: float) -> str:
    return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def _markdown(columns: Sequence[str], lines: Iterator[tuple[str, ...]]) -> str:
    rows = [tuple(columns), tuple("---" for _ in columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
