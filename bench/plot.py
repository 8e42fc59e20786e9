"""The races as a picture: in each situation, how long everybody took, Ferry first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import FERRY
from bench.statistics import summary

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bench.results import Measurement, Results

_COLUMNS = 3
_OWN, _OTHER = "#1b7f5c", "#b8b8b8"


def draw(results: Results, path: Path) -> None:
    """Write a PNG of all situations in which Ferry met somebody else; nothing where there is none."""
    races = [each for each in results.measurements if FERRY in each.series and len(each.series) > 1]
    if not races:
        return
    from matplotlib.figure import Figure

    rows = -(-len(races) // _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 2.1 * rows), layout="constrained")
    places = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for race, axes in zip(races, places, strict=False):
        _draw_race(axes, race)
    for axes in list(places):
        axes.set_visible(False)
    figure.savefig(path, dpi=100)


def _draw_race(axes: Axes, race: Measurement) -> None:
    """Draw medians as bars and the spread as whiskers."""
    told = {name: summary(series.values) for name, series in race.series.items()}
    medians = [each.median for each in told.values()]
    below = [each.median - each.minimum for each in told.values()]
    above = [each.maximum - each.median for each in told.values()]
    colours = [_OWN if name == FERRY else _OTHER for name in told]
    axes.barh(list(told), medians, color=colours, xerr=[below, above], error_kw={"linewidth": 0.8})
    axes.invert_yaxis()
    axes.set_title(race.heading, fontsize=9)
    axes.set_xlabel(race.unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
