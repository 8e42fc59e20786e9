"""``manifest.json``: written last, entry by entry, so that it costs no memory however many files there are."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import Entry, Manifest, Missing
from shared.contract.session import Outcome
from uploader.kinds import INCOMPLETE
from uploader.paths import printable
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.contract.session import Session
    from uploader.ledger import Ledger
    from uploader.rows import Row, StoredFile
    from uploader.run import Run


def missing_of(ledger: Ledger) -> tuple[Missing, ...]:
    """Return what the ledger knows of and the bucket does not hold, each with its reason."""
    return tuple(Missing(path=printable(row.path), reason=reason(row)) for row in ledger.undelivered())


def reason(row: Row) -> str:
    """Return why the newest version of a file is not in the bucket."""
    if row.state is State.GONE:
        return row.error or "it was deleted before it could be uploaded"
    return row.error or "it has not been uploaded yet"


def head(run: Run, session: Session | None, missing: tuple[Missing, ...], now: float) -> Manifest:
    """Return everything of the manifest but its files. ``now`` is Unix seconds.

    A session that nobody ended was interrupted together with its handler.
    """
    if session is None:
        return Manifest(
            outcome=Outcome.UNKNOWN,
            complete=not missing,
            session_id=run.session_id,
            model_name=printable(run.name),
            created_at=run.created_at,
            ended_at=now,
            missing=missing,
        )
    ending = session.ending
    return Manifest(
        outcome=ending.outcome if ending else Outcome.INTERRUPTED,
        complete=not missing,
        session_id=session.session_id,
        job_id=session.job_id,
        input_hash=session.input_hash,
        lineage=session.lineage,
        resumed_step=session.resumed_step,
        model_name=session.model_name,
        error_code=ending.error_code if ending else None,
        error=ending.error if ending else None,
        created_at=session.created_at,
        ended_at=ending.at if ending else now,
        progress=session.progress,
        missing=missing,
        config=session.config,
        log_tail=session.log_tail,
        versions=session.versions,
        warnings=session.warnings,
    )


def entries(run: Run, ledger: Ledger) -> Iterator[Entry]:
    """Yield an entry for every object of the run, by key."""
    for file in ledger.stored():
        yield _entry(run, file)


def write(path: Path, manifest: Manifest, files: Iterator[Entry]) -> None:
    """Write ``manifest`` with ``files`` to ``path``. Raises OSError when the disk refuses."""
    fields = manifest.model_dump(mode="json", exclude={"files"})
    with path.open("w", encoding="utf-8") as out:
        out.write(json.dumps(fields, indent=1).removesuffix("\n}"))
        out.write(',\n "files": [')
        comma = ""
        for entry in files:
            out.write(f"{comma}\n  {entry.model_dump_json()}")
            comma = ","
        out.write("\n ]\n}\n")
        out.flush()
        os.fsync(out.fileno())


def _entry(run: Run, file: StoredFile) -> Entry:
    stored = file.stored
    return Entry(
        key=keys.join(run.prefix, file.key),
        size=stored.size,
        sha256=stored.sha256,
        path=printable(file.path),
        mtime=stored.mtime,
        incomplete=file.key.startswith(f"{INCOMPLETE}/"),
        step=stored.step,
        uploaded_at=stored.at,
    )
