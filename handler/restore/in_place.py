"""Makes ai-toolkit go on in the folder where an interrupted training still lies.

It takes whatever is named like the job and has the newest ctime, so the newest checkpoint that the trainer itself
called saved is made the newest; one that was being written when the end came is never resumed from.
"""

from __future__ import annotations

import stat
from functools import partial
from typing import TYPE_CHECKING

from handler.restore.choice import OPTIMIZER
from handler.restore.from_bucket import Restored
from handler.restore.stopping import pause
from handler.saves import files_of
from shared.patience import PATIENCE_SECONDS, patiently
from shared.structure import adds_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event

    from handler.expected import Expected
    from shared.contract.session import Saved

# Hidden, so that neither ai-toolkit nor the uploader takes notice of it.
_ASIDE = ".set-aside"
# What a volume tells of a file's times may be older than the file by so much.
_SLACK_SECONDS = 2.0


def put_right(output: Path, saved: Sequence[Saved], expected: Expected, stop: Event) -> Restored:
    """Prepare ``output`` for going on from the newest checkpoint of ``saved``; nobody may be writing there.

    Where none of them is whole, what could be taken for one is set aside and the training begins anew. Returns the step
    that it goes on from and what was set aside. A disk that does not answer says nothing against a checkpoint: it is
    waited for, then its OSError is raised, or FerryError (CANCELLED) when ``stop`` is set.
    """
    own = output / expected.name
    patient = partial(patiently, sleep=partial(pause, stop), seconds=PATIENCE_SECONDS)
    newest, aside = patient(partial(_judged, output, saved, expected))
    for path in aside:
        patient(partial(_set_aside, own, path))
    # Of a folder that was restored its files are known, and its own ctime is what counts.
    for name in {entry.path.split("/")[1] for entry in newest}:
        patient(partial(_touch, own / name))
    step = newest[0].step if newest else None
    return Restored(whole=bool(newest), step=step, damaged=tuple(str(path.relative_to(output)) for path in aside))


def _judged(output: Path, saved: Sequence[Saved], expected: Expected) -> tuple[list[Saved], list[Path]]:
    """Return the newest whole checkpoint's entries, and what must be out of the way. Raises OSError."""
    own = output / expected.name
    weights = [entry for entry in saved if not entry.path.endswith(f"/{OPTIMIZER}") and _resumable(entry, expected)]
    # Of one step all files belong together, the two halves of a model above all.
    broken = {entry.step for entry in weights if not _is_whole(output / entry.path, entry)}
    whole = [entry for entry in weights if entry.step not in broken]
    step = whole[-1].step if whole else None
    newest = [entry for entry in whole if entry.step == step]
    states = [entry for entry in saved if entry.path == f"{expected.name}/{OPTIMIZER}" and entry.step == step]
    there = _listed(own)
    aside = [] if newest else [path for path in there if path.name.startswith(_stems(expected))]
    if own / OPTIMIZER in there and not any(_is_whole(output / entry.path, entry) for entry in states):
        aside.append(own / OPTIMIZER)
    return newest, aside


def _is_whole(path: Path, entry: Saved) -> bool:
    try:
        # One that the trainer has begun to write once more has a file that is newer.
        return all(_is_as_saved(file, entry) and adds_up(file) for file in files_of(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_as_saved(file: Path, entry: Saved) -> bool:
    # Older notes know only this machine's time, which need not be the volume's.
    then = entry.at if entry.mtime is None else entry.mtime
    return file.stat().st_mtime <= then + _SLACK_SECONDS


def _resumable(entry: Saved, expected: Expected) -> bool:
    parts = entry.path.split("/")
    return len(parts) > 1 and parts[0] == expected.name and parts[1].startswith(_stems(expected))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _stems(expected: Expected) -> tuple[str, ...]:
    return (expected.name, expected.trigger) if expected.trigger else (expected.name,)


def _set_aside(own: Path, path: Path) -> None:
    (own / _ASIDE).mkdir(mode=0o700, exist_ok=True)
    path.rename(own / _ASIDE / f"{path.stat().st_mtime_ns}-{path.name}")


def _touch(path: Path) -> None:
    # Whatever changes about a file, its ctime becomes now.
    path.chmod(stat.S_IMODE(path.stat().st_mode))
