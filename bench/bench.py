"""What every row has at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results import Measurement
from bench.rounds import facts_of, play, series_of
from bench.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.line import Line
    from bench.material import Material
    from bench.scale import Scale
    from bench.site import Site
    from bench.task import Contestant

# Ferry's own default for small files; its rivals get as many connections.
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Bench:
    """Where it is measured, how much is done, how often, over which round trips (ms), and who is told of it."""

    site: Site
    scale: Scale
    runs: int
    round_trips: tuple[int, ...]
    folder: Path
    material: Material
    say: Callable[[str], None]

    def task(self, line: Line, files: tuple[Path, ...]) -> Task:
        """Return the task to carry ``files`` over ``line``; prefix and folder come with each run."""
        return Task(self.site.over(line), self.site.bucket, "", files, self.folder, CONNECTIONS)

    def race(
        self,
        row: str,
        title: str,
        line: Line,
        files: tuple[Path, ...],
        contestants: Mapping[str, Contestant],
    ) -> Measurement:
        """Let all contestants carry ``files`` over ``line``, round by round."""
        size = sum(path.stat().st_size for path in files)

        def tell(name: str, seconds: float) -> None:
            self.say(f"{row}, {line.label}: {name} {seconds:.3f} s ({size / seconds / 1e6:.1f} MB/s)")

        outcomes = play(self.site, self.task(line, files), contestants, self.runs, tell)
        return Measurement(
            row=row,
            title=title,
            condition=line.label,
            series=series_of(outcomes),
            files=len(files),
            bytes=size,
            facts=facts_of(outcomes),
        )
