"""How all runs stand, as their uploaders last wrote it down: what ``status`` shows. Reads files and changes none."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.contract.session import Phase, Session
from shared.contract.upload import Upload, Worker
from shared.health import lives
from shared.layout import workers_folder
from uploader.commands.known_runs import states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SPEED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """One run. ``session`` is None in a watched folder; ``alive``: the uploader that carries it shows that it lives."""

    run: str
    session: Session | None
    upload: Upload
    alive: bool

    @property
    def phase(self) -> str:
        """Return where the run stands: its phase, or, when it is over, how it ended."""
        if self.upload.refused is not None:
            return "refused"
        if self.session is None:
            return "watched"
        over = self.session.phase is Phase.CLOSED and self.session.ending is not None
        return self.session.ending.outcome if over and self.session.ending else self.session.phase

    @property
    def model(self) -> str:
        """Return what the run trains."""
        return self.session.model_name if self.session else self.run

    @property
    def eta_seconds(self) -> float | None:
        """Return when the training ends, as far as its uploader is there to be believed; None where it is not known."""
        return self.session.progress.eta_seconds if self.session and self.moving else None

    @property
    def moving(self) -> bool:
        """Return whether something is still to come, and somebody is there to carry it."""
        trains = self.session is not None and self.session.phase is not Phase.CLOSED
        return self.alive and self.upload.refused is None and (trains or self.upload.pending.files > 0)

    @property
    def settled(self) -> bool:
        """Return whether everything is in the bucket and nothing is said of it."""
        upload = self.upload
        return not (self.moving or upload.pending.files or upload.failed.files or upload.refusal or upload.warnings)

    def fields(self) -> dict[str, Any]:
        """Return the run as JSON has it."""
        session = self.session
        return {
            "run": self.run,
            "model": self.model,
            "bucket": session.bucket if session else None,
            "prefix": session.prefix if session else None,
            "phase": session.phase if session else None,
            "outcome": session.ending.outcome if session and session.ending else None,
            "step": session.progress.step if session else None,
            "total": session.progress.total if session else None,
            "eta_seconds": self.eta_seconds,
            "alive": self.alive,
            **self.upload.model_dump(mode="json", exclude={"version"}),
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """All runs, sessions first and the oldest first of all, and the uploaders that live."""

    rows: tuple[Row, ...]
    workers: tuple[Worker, ...]

    @property
    def moving(self) -> bool:
        """Return whether there is anything to wait for."""
        return any(row.moving for row in self.rows)

    @property
    def failed(self) -> bool:
        """Return whether a file of any run has been given up."""
        return any(row.upload.failed.files for row in self.rows)

    def fields(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        workers = [worker.model_dump(mode="json", exclude={"version"}) for worker in self.workers]
        return {"version": 1, "runs": [row.fields() for row in self.rows], "uploaders": workers}


def look(root: Path, watch: Path | None, now: float) -> Overview:
    """Return how the runs under ``root`` and in the folder ``watch`` stand; ``now`` is Unix seconds."""
    workers = tuple(_living(root, now))
    names = {worker.worker for worker in workers}
    rows = (_row(state, names) for state in states(root, watch))
    return Overview(tuple(row for row in rows if row is not None), workers)


def _living(root: Path, now: float) -> Iterator[Worker]:
    for file in sorted(workers_folder(root).glob("*.json")):
        worker = Worker.read(file)
        if worker is not None and lives(worker, now):
            yield worker


def _row(state: Path, living: set[str]) -> Row | None:
    session = Session.read(state / "session.json")
    upload = Upload.read(state / "upload.json")
    if upload is None:
        if session is None:
            return None
        # The uploader has not said a word yet.
        upload = Upload(worker=session.worker)
    return Row(state.name, session, upload, upload.worker in living)


class Speeds:
    """How fast each run's bytes have gone lately."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def note(self, overview: Overview, now: float) -> None:
        """Take in how the runs stand; ``now`` is seconds on a monotonic clock."""
        for row in overview.rows:
            seen = self._seen.setdefault(row.run, deque())
            seen.append((now, row.upload.moved))
            while now - seen[0][0] > _SPEED_SECONDS:
                seen.popleft()

    def of(self, row: Row) -> float:
        """Return bytes a second; 0 where nothing has moved, or nobody has looked twice."""
        seen = self._seen.get(row.run)
        if not seen or len(seen) < 2:
            return 0.0
        (began, before), (ended, after) = seen[0], seen[-1]
        return max(0, after - before) / (ended - began)
