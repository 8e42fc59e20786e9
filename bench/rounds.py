"""Rounds: every contestant once in each, one after the other, so that all meet the machine in the same moods."""

from __future__ import annotations

import resource
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.results import FERRY, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.site import Site
    from bench.task import Contestant, Outcome, Task


def play(
    site: Site,
    task: Task,
    contestants: Mapping[str, Contestant],
    rounds: int,
    tell: Callable[[str, float], None],
) -> dict[str, list[Outcome]]:
    """Return what came of each contestant's runs, a round each. Each run has a fresh prefix and an empty folder.

    Who begins changes from round to round; Ferry begins the first, from which its rivals learn the length of its
    chunks. ``tell`` is told of each run's seconds.
    """
    outcomes: dict[str, list[Outcome]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in _turned(list(contestants), number):
            with site.room() as prefix, _empty(task.folder / "run") as folder:
                before = _used_by_children()
                outcome = contestants[name](replace(task, prefix=prefix, folder=folder))
                outcome = replace(outcome, cpu=_used_by_children() - before)
            outcomes[name].append(outcome)
            tell(name, outcome.seconds)
    return outcomes


def series_of(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Series]:
    """Return the outcomes as series."""
    return {
        name: Series(
            tuple(each.seconds for each in runs), tuple(each.peak for each in runs), tuple(each.cpu for each in runs)
        )
        for name, runs in outcomes.items()
    }


def facts_of(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, float]:
    """Return the counts of Ferry's last run."""
    return dict(outcomes[FERRY][-1].facts)


def _used_by_children() -> float:
    """Return the seconds of processor time that all processes have taken that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _turned(names: list[str], number: int) -> list[str]:
    first = number % len(names)
    return names[first:] + names[:first]


@contextmanager
def _empty(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
