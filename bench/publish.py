"""``python -m bench.publish [FOLDER]``: puts the table that a run has left in FOLDER into ``docs/performance.md``.

The page has room for two: one against the embedded Storage, which anybody can measure again, and one against a project.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import plot, report, results
from bench.machine import is_embedded
from bench.processes import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = PROJECT / "docs" / "performance.md"
MARK = "<!-- What follows is made of the figures beside this page by python -m bench.publish. -->\n"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one table stands: its title, and its figures and its picture beside the page."""

    title: str
    figures: Path
    picture: Path


EMBEDDED = Place("The embedded Storage", PAGE.with_suffix(".json"), PAGE.with_suffix(".png"))
A_PROJECT = Place(
    "A self-hosted project", PAGE.with_name("performance-project.json"), PAGE.with_name("performance-project.png")
)
PLACES = (EMBEDDED, A_PROJECT)


def place_of(measured: results.Results) -> Place:
    """Return where a table belongs, by what it was measured against."""
    return EMBEDDED if is_embedded(measured.machine) else A_PROJECT


def page(text: str, tables: Sequence[results.Results]) -> str:
    """Return the page ``text`` with ``tables`` below the mark, whatever stood there."""
    return "\n".join([text.partition(MARK)[0] + MARK, *map(_section, tables)])


def published() -> list[results.Results]:
    """Return the tables that stand beside the page."""
    return [results.read(place.figures) for place in PLACES if place.figures.exists()]


def main(folder: Path) -> None:
    """Copy figures, table and picture. Raises OSError where there are none."""
    measured = results.read(folder / "results.json")
    place = place_of(measured)
    results.write(place.figures, measured)
    plot.draw(measured, place.picture)
    PAGE.write_text(page(PAGE.read_text("utf-8"), published()), "utf-8")


def _section(measured: results.Results) -> str:
    place = place_of(measured)
    return f"## {place.title}\n\n{report.table(measured)}\n![The same as a picture]({place.picture.name})\n"


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else ".bench"))
