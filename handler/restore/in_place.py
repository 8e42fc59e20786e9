"""Makes ai-toolkit go on in the folder where an interrupted training still lies.

It takes whatever is named like the job and has the newest ctime, so the newest checkpoint that the trainer itself
called saved is made the newest; one that was being written when the end came is never resumed from.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from handler.restore.choice import OPTIMIZER
from handler.restore.from_bucket import Restored
from shared.structure import adds_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from handler.expected import Expected
    from shared.contract.session import Saved

# Hidden, so that neither ai-toolkit nor the uploader takes notice of it.
_ASIDE = ".set-aside"
# File times and log times come from different clocks' ticks.
_SLACK_SECONDS = 2.0


def put_right(output: Path, saved: Sequence[Saved], expected: Expected) -> Restored:
    """Prepare ``output`` for going on from the newest checkpoint of ``saved``; nobody may be writing there.

    Where none of them is whole, what could be taken for one is set aside and the training begins anew. Returns the step
    that it goes on from and what was set aside. Raises OSError as the disk does.
    """
    own = output / expected.name
    weights = [entry for entry in saved if not entry.path.endswith(f"/{OPTIMIZER}") and _resumable(entry, expected)]
    # Of one step all files belong together, the two halves of a model above all.
    broken = {entry.step for entry in weights if not _is_whole(output / entry.path, entry)}
    whole = [entry for entry in weights if entry.step not in broken]
    step = whole[-1].step if whole else None
    newest = [entry for entry in whole if entry.step == step]
    states = [entry for entry in saved if entry.path == f"{expected.name}/{OPTIMIZER}" and entry.step == step]
    aside = [] if newest else list(_like_checkpoints(own, expected))
    if not any(_is_whole(output / entry.path, entry) for entry in states) and (own / OPTIMIZER).exists():
        aside.append(own / OPTIMIZER)
    _set_aside(own, aside)
    # Of a folder that was restored its files are known, and its own ctime is what counts.
    for name in {entry.path.split("/")[1] for entry in newest}:
        # Whatever changes about a file, its ctime becomes now.
        (own / name).chmod(stat.S_IMODE((own / name).stat().st_mode))
    return Restored(whole=bool(newest), step=step, damaged=tuple(str(path.relative_to(output)) for path in aside))


def _is_whole(path: Path, entry: Saved) -> bool:
    if path.is_dir():
        # One that the trainer has begun to write once more has a file that is newer.
        return all(_is_file_whole(file, entry) for file in path.rglob("*") if not file.is_dir())
    return _is_file_whole(path, entry)


def _is_file_whole(path: Path, entry: Saved) -> bool:
    try:
        return path.stat().st_mtime <= entry.at + _SLACK_SECONDS and adds_up(path)
    except OSError:
        return False


def _resumable(entry: Saved, expected: Expected) -> bool:
    parts = entry.path.split("/")
    return len(parts) > 1 and parts[0] == expected.name and parts[1].startswith(_stems(expected))


def _like_checkpoints(own: Path, expected: Expected) -> Iterable[Path]:
    if not own.is_dir():
        return ()
    return sorted(path for path in own.iterdir() if path.name.startswith(_stems(expected)))


def _stems(expected: Expected) -> tuple[str, ...]:
    return (expected.name, expected.trigger) if expected.trigger else (expected.name,)


def _set_aside(own: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        (own / _ASIDE).mkdir(mode=0o700, exist_ok=True)
        path.rename(own / _ASIDE / f"{path.stat().st_mtime_ns}-{path.name}")
