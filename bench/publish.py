"""``python -m bench.publish [FOLDER]``: puts the table that a run has left in FOLDER into ``docs/performance.md``."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import plot, report, results
from bench.processes import PROJECT

PAGE = PROJECT / "docs" / "performance.md"
FIGURES, PICTURE = PAGE.with_suffix(".json"), PAGE.with_suffix(".png")
MARK = "<!-- What follows is made of performance.json by python -m bench.publish. -->\n"


def page(text: str, measured: results.Results) -> str:
    """Return the page ``text`` with the table of ``measured`` below the mark, whatever stood there."""
    return f"{text.partition(MARK)[0]}{MARK}\n{report.table(measured)}"


def main(folder: Path) -> None:
    """Copy figures, table and picture. Raises OSError where there are none."""
    measured = results.read(folder / "results.json")
    results.write(FIGURES, measured)
    plot.draw(measured, PICTURE)
    PAGE.write_text(page(PAGE.read_text("utf-8"), measured), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else ".bench"))
