"""The table in Markdown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import FERRY
from bench.statistics import paired_ratio, summary
from bench.targets import TARGETS, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.results import Measurement, Results

_MB = 1_000_000


def table(results: Results) -> str:
    """Return the targets with their verdicts, and below them everything that was measured."""
    parts = [f"{results.machine}\n"]
    if results.scale != "full":
        parts.append(f"Scale: {results.scale}. These figures only show that the benchmark works.\n")
    parts.append(_markdown(("what", "target", "measured", ""), _verdicts(results)))
    races = [each for each in results.measurements if _compares(each)]
    parts += [_race(each) for each in races]
    others = [each for each in results.measurements if not _compares(each)]
    if others:
        columns = ("Ferry alone", "median", "minimum", "largest", "runs")
        parts.append(_markdown(columns, map(_alone, others)))
    return "\n".join(parts)


def _verdicts(results: Results) -> Iterator[tuple[str, ...]]:
    for target in TARGETS:
        verdict = judge(target, results)
        if verdict is not None:
            yield target.what, target.wanted, verdict.shown, "reached" if verdict.reached else "**not reached**"


def _race(measured: Measurement) -> str:
    columns = ("", "median", "minimum", "spread", *_more_columns(measured), "Ferry beside it", "CPU", "memory at most")
    return f"**{measured.heading}**\n\n{_markdown(columns, _lines(measured))}"


def _more_columns(measured: Measurement) -> tuple[str, ...]:
    columns = {"MB/s": measured.bytes > 0, "files/s": measured.files > 1}
    return tuple(name for name, shown in columns.items() if shown)


def _lines(measured: Measurement) -> Iterator[tuple[str, ...]]:
    own = measured.series[FERRY].values
    for name, series in measured.series.items():
        told = summary(series.values)
        figures = [_shown(told.median, measured.unit), _shown(told.minimum, measured.unit), f"{told.spread:.0%}"]
        if measured.bytes:
            figures.append(f"{measured.bytes / told.median / _MB:.1f}")
        if measured.files > 1:
            figures.append(f"{measured.files / told.median:.0f}")
        ahead = paired_ratio(series.values, own) if measured.unit == "s" else paired_ratio(own, series.values)
        peak = max(series.peaks, default=0)
        cpu = summary(series.cpu).median if series.cpu else 0.0
        figures += ["" if name == FERRY else f"{ahead:.2f} ×", f"{cpu:.2f} s" if cpu else "–"]
        yield name, *figures, f"{peak / _MB:.0f} MB" if peak else "–"


def _alone(measured: Measurement) -> tuple[str, ...]:
    [series] = measured.series.values()
    told = summary(series.values)
    figures = (_shown(value, measured.unit) for value in (told.median, told.minimum, told.maximum))
    return measured.heading, *figures, str(len(series.values))


def _compares(measured: Measurement) -> bool:
    return FERRY in measured.series and len(measured.series) > 1


def _shown(value: float, unit: str) -> str:
    match unit:
        case "s":
            return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"
        case "cores":
            return f"{value:.2%}"
        case _:
            return f"{value:.1f} {unit}"


def _markdown(columns: Sequence[str], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [tuple(columns), tuple("---" for _ in columns), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
