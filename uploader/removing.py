"""Removing from the disk what is in the bucket, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from shared.retention import delete, remove, sweep
from uploader.scan import look
from uploader.spool import names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shared.layout import SessionFolder
    from uploader.ledger import Ledger
    from uploader.rows import Row
    from uploader.run import Run

# A copy that is being made is written to all the time.
LEFTOVER_SECONDS = 600.0


def drop_leftovers(run: Run, ledger: Ledger, now: float) -> int:
    """Remove what a copy, a delivery or a deletion that was cut off left behind; return the bytes found in the spool.

    ``now`` is Unix seconds.
    """
    for folder in (run.output, run.output / run.name):
        sweep(folder)
    wanted = {name for row in ledger.undelivered() for name in names_of(row)}
    freed = 0
    for path in _files(run.spool):
        with suppress(FileNotFoundError):
            status = path.stat()
            if path.name not in wanted and now - status.st_mtime >= LEFTOVER_SECONDS:
                path.unlink()
                freed += status.st_size
    return freed


def remove_session(folder: SessionFolder) -> int:
    """Delete a session that nobody needs; return the bytes. Raises OSError where it cannot be done at all."""
    freed = sum(path.lstat().st_size for path in _files(folder.path))
    delete(folder)
    return freed


def remove_rows(run: Run, rows: Iterable[Row]) -> int:
    """Remove the files in ``rows`` where they are still the versions that were delivered; return the bytes.

    A checkpoint that is a folder goes as a whole or not at all: to ai-toolkit a folder that has just lost a file is the
    newest of all.
    """
    things: dict[Path, dict[str, Row]] = {}
    for row in rows:
        things.setdefault(_thing(run, row.path), {})[row.path] = row
    return sum(_remove(run, thing, files) for thing, files in things.items())


def _thing(run: Run, path: str) -> Path:
    """Return what directly below the run's own folder is, or holds, the file at ``path``."""
    inner = path.removeprefix(f"{run.name}/")
    return run.output / path[: len(path) - len(inner)] / inner.partition("/")[0]


def _remove(run: Run, thing: Path, rows: dict[str, Row]) -> int:
    there = [path.relative_to(run.output).as_posix() for path in _files(thing)]
    for path in there:
        seen = look(run.output, path)
        if path not in rows or seen is None or seen.version != rows[path].version:
            return 0
    if there and thing.is_dir():
        remove(thing)
    elif there:
        thing.unlink(missing_ok=True)
    return sum(rows[path].version.size for path in there)


def _files(thing: Path) -> Iterator[Path]:
    """Yield ``thing`` if it is no folder, else everything below it that is none."""
    if thing.is_dir() and not thing.is_symlink():
        yield from (path for path in thing.rglob("*") if path.is_symlink() or not path.is_dir())
    elif thing.exists():
        yield thing
