"""What was measured, as it is written to ``results.json`` and read from there again. Times are seconds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
FERRY = "Ferry"


@dataclass(frozen=True, slots=True)
class Series:
    """One contestant's values, a round each, in order.

    ``peaks`` is its largest resident memory in bytes each time, ``cpu`` its processor time in seconds.
    """

    values: tuple[float, ...]
    peaks: tuple[int, ...] = ()
    cpu: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """One situation: ``row`` says what was done, ``condition`` over which line. ``files`` and ``bytes`` are a run's.

    All series were taken in the same rounds, one after the other. ``facts`` are counts that belong to Ferry's runs.
    """

    row: str
    title: str
    condition: str
    series: dict[str, Series]
    unit: str = "s"
    files: int = 0
    bytes: int = 0
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Return what it is called where it stands alone: with the line, where bytes went over one."""
        return f"{self.title}, {self.condition}" if self.bytes else self.title

    @property
    def id(self) -> tuple[str, str]:
        """Return what tells this situation from the others."""
        return self.row, self.condition


@dataclass(frozen=True, slots=True)
class Results:
    """A whole table: the machine in words, the scale, and the situations in the order of the rows."""

    machine: str
    scale: str
    measurements: tuple[Measurement, ...] = ()

    def find(self, row: str, condition: str) -> Measurement | None:
        """Return one situation; None where it was not measured."""
        return next((each for each in self.measurements if each.id == (row, condition)), None)

    def with_measurement(self, new: Measurement) -> Results:
        """Return the results with ``new`` in the place of an older one of the same situation, or at the end."""
        replaced = tuple(new if each.id == new.id else each for each in self.measurements)
        measurements = replaced if new in replaced else (*replaced, new)
        return Results(self.machine, self.scale, measurements)


def write(path: Path, results: Results) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps({"version": VERSION, **asdict(results)}, indent=1) + "\n")


def read(path: Path) -> Results:
    """Return what ``write`` wrote. Raises OSError where there is none, ValueError where it is of another version."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    if content.get("version") != VERSION:
        raise ValueError(f"{path} is not of version {VERSION}")
    return Results(content["machine"], content["scale"], tuple(_measurement(each) for each in content["measurements"]))


def _measurement(content: dict[str, Any]) -> Measurement:
    series = {
        name: Series(tuple(each["values"]), tuple(each["peaks"]), tuple(each["cpu"]))
        for name, each in content.pop("series").items()
    }
    return Measurement(**content, series=series)
