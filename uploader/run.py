"""One run as the uploader sees it: a session of the handler's, or a first-level folder of a watched folder."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared import keys
from shared.atomic import write_atomic
from shared.contract.bucket import Claim
from shared.contract.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from shared.contract.upload import Upload
    from shared.layout import SessionFolder

STATE_FOLDER = ".uploader"
# What is answered where nobody is left to ask.
ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run's files lie, where the uploader keeps its own, and where in which bucket they go.

    ``name`` is the folder that ai-toolkit writes into below ``output``; it is left out of the keys. ``watched``: there
    is no handler, so nobody says when it ends. ``worker`` is the one whose session it is, ``attempt`` how often it was
    begun. ``lineage``: the sessions whose training it goes on with; what they left under the prefix is this run's, too.
    """

    session_id: str
    name: str
    bucket: str
    prefix: str
    output: Path
    state: Path
    created_at: float
    watched: bool
    worker: str | None = None
    attempt: int = 1
    lineage: tuple[str, ...] = ()

    @property
    def session_file(self) -> Path:
        """Return the handler's ``session.json``; there is none in a watched folder."""
        return self.state / "session.json"

    @property
    def upload_file(self) -> Path:
        """Return the uploader's ``upload.json``."""
        return self.state / "upload.json"

    @property
    def requests(self) -> Path:
        """Return the folder that commands put their wishes in."""
        return self.state / "requests"

    @property
    def spool(self) -> Path:
        """Return the folder of copies that must outlive the originals."""
        return self.state / "spool"

    def claim_file(self, worker: str) -> Path:
        """Return the file that remembers a claim of ``worker`` over a restart: on a shared volume there are several."""
        return self.state / f"claim.{worker}.json"

    def ledger(self, epoch: int) -> Path:
        """Return the ledger that belongs to one epoch of the claim."""
        return self.state / f"ledger.{epoch}.sqlite3"

    def epochs(self) -> list[int]:
        """Return the epochs that have a ledger here."""
        names = (path.name.split(".") for path in self.state.glob("ledger.*.sqlite3"))
        return sorted(int(name[1]) for name in names if len(name) == 3 and name[1].isdecimal())

    def is_own(self, session_id: str | None) -> bool:
        """Return whether an object that session ``session_id`` left is this run's. A watched folder asks nobody."""
        return self.watched or session_id == self.session_id or session_id in self.lineage

    def known_claims(self) -> list[Claim]:
        """Return the newest claim of each worker that has ever carried this run."""
        return [claim for path in self.state.glob("claim.*.json") if (claim := Claim.read(path))]


def answered_token(upload: Upload | None, attempt: int) -> str | None:
    """Return the token of the drain that an uploader has answered in this attempt of a session, if any."""
    if upload is None or upload.receipt is None or upload.attempt != attempt:
        return None
    return upload.receipt.token


def drain_token(session: Session, worker: str) -> str | None:
    """Return the token of the drain that ``worker`` is to answer, if any.

    The handler of a session that was adopted is gone with its host and can ask for nothing.
    """
    if session.drain is not None:
        return session.drain.token
    return None if session.worker == worker else ADOPTED


def session_run(folder: SessionFolder) -> Run | None:
    """Return the run of a session; None while the handler has not written ``session.json``."""
    session = Session.read(folder.session_file)
    if session is None:
        return None
    return Run(
        session_id=session.session_id,
        name=session.name,
        bucket=session.bucket,
        prefix=session.prefix,
        output=folder.output,
        state=folder.path,
        created_at=session.created_at,
        watched=False,
        worker=session.worker,
        attempt=session.attempt,
        lineage=session.lineage,
    )


@dataclass(frozen=True, slots=True)
class Watch:
    """A folder of a persistent pod whose first-level folders are runs, each with a prefix of its own."""

    folder: Path
    bucket: str
    prefix: str

    def runs(self) -> list[Run]:
        """Return the runs that are there now. Each gets a session id, which is kept."""
        if not self.folder.is_dir():
            return []
        found = sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [self._run(path) for path in found if not path.is_symlink()]

    def _run(self, output: Path) -> Run:
        state = self.folder / STATE_FOLDER / output.name
        session_id, created_at = _identity(state)
        return Run(
            session_id=session_id,
            name=output.name,
            bucket=self.bucket,
            prefix=keys.fit(keys.join(keys.escape(self.prefix), keys.escape_segment(output.name))),
            output=output,
            state=state,
            created_at=created_at,
            watched=True,
        )


def _identity(state: Path) -> tuple[str, float]:
    file = state / "run.json"
    try:
        known = json.loads(file.read_bytes())
        return str(known["session_id"]), float(known["created_at"])
    except (OSError, ValueError, KeyError, TypeError):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        created = time.time()
        session_id = f"watched_{int(created)}_{keys.escape_segment(state.name)}"
        write_atomic(file, json.dumps({"version": 1, "session_id": session_id, "created_at": created}).encode())
        return session_id, created
