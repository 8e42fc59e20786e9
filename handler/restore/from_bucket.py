"""Restores an interrupted training from the bucket alone: the newest whole checkpoint, and what goes with it."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.restore.choice import left
from handler.restore.leavings import PAUSES, Leavings
from handler.restore.stopping import pause
from handler.saves import written
from handler.stage.download import ODD, Downloads
from shared.clock import SystemClock
from shared.contract.session import Saved
from shared.log import EventLog
from shared.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from threading import Event

    from handler.expected import Expected
    from handler.restore.choice import Checkpoint, Kept, Left
    from shared.storage.client import Storage

# Hidden, so that neither ai-toolkit nor the uploader takes notice of what is not whole yet.
_TEMPORARY = ".restoring"

log = EventLog("handler")


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back. ``whole``: there was a whole checkpoint; the training goes on at its ``step``, where known."""

    whole: bool = False
    step: int | None = None
    saved: tuple[Saved, ...] = ()
    damaged: tuple[str, ...] = ()


def restore(
    storage: Storage,
    bucket: str,
    prefix: str,
    lineage: Sequence[str],
    expected: Expected,
    halves: frozenset[str],
    output: Path,
    stop: Event,
) -> Restored:
    """Put into ``output`` what the sessions of ``lineage`` left below ``prefix``, as ai-toolkit goes on with it.

    A checkpoint of which something is not what was uploaded, whenever it is asked for, is put aside, all of it, and the
    one before it is taken. Raises StorageError where Storage does not answer, or gives another wrong answer each time,
    OSError as the disk does, FerryError (CANCELLED) when ``stop`` is set.
    """
    return _Restoring(storage, bucket, prefix, output, stop).run(lineage, expected, halves)


class _DamagedError(Exception):
    """An object is not what its own record says it was when it was uploaded."""

    def __init__(self, file: Kept) -> None:
        super().__init__(file.record.key)
        self.file = file


class _Restoring:
    def __init__(self, storage: Storage, bucket: str, prefix: str, output: Path, stop: Event) -> None:
        self._leavings = Leavings(storage, bucket, prefix, stop)
        self._output = output
        self._parts = output / _TEMPORARY
        self._stop = stop
        self._downloads = Downloads(storage, bucket, stop=stop, arrived=self._arrived, tries=1)
        self._damaged: list[str] = []

    def run(self, lineage: Sequence[str], expected: Expected, halves: frozenset[str]) -> Restored:
        found = left(self._leavings.of(lineage), expected, halves, lineage)
        shutil.rmtree(self._parts, ignore_errors=True)
        self._parts.mkdir(mode=0o700)
        try:
            # What an attempt on this disk has written since is newer.
            self._restore_each(each for each in found.logs if not (self._output / each.path).exists())
            checkpoint = self._newest_whole(found)
            if checkpoint is None:
                return Restored(damaged=tuple(self._damaged))
            optimizer = found.optimizer_of(checkpoint)
            restored = self._restore_each([optimizer] if optimizer else [])
            # Last, because ai-toolkit goes by the newest ctime.
            self._put(checkpoint.files)
        finally:
            shutil.rmtree(self._parts, ignore_errors=True)
        saved = tuple(self._saved(file, checkpoint.step) for file in (*checkpoint.files, *restored))
        return Restored(whole=True, step=checkpoint.step, saved=saved, damaged=tuple(self._damaged))

    def _saved(self, file: Kept, step: int | None) -> Saved:
        mtime = written(self._output / file.path)
        return Saved(path=str(file.path), step=step, at=SystemClock().now(), mtime=mtime)

    def _newest_whole(self, found: Left) -> Checkpoint | None:
        """Return the newest checkpoint that could be downloaded as it was uploaded; its parts lie ready."""
        for checkpoint in found.checkpoints:
            try:
                for file in checkpoint.files:
                    self._fetch(file)
            except _DamagedError as damage:
                # What is left of it must not pass for whole at the next restoring, nor when this one is interrupted.
                for file in checkpoint.without(damage.file):
                    self._leavings.move_aside(file)
                self._put_aside(damage.file)
            else:
                return checkpoint
        return None

    def _restore_each(self, files: Iterable[Kept]) -> list[Kept]:
        """Restore what a training can do without; return what was there."""
        restored = []
        for file in files:
            try:
                self._fetch(file)
            except _DamagedError:
                self._put_aside(file)
            else:
                self._put([file])
                restored.append(file)
        return restored

    def _fetch(self, file: Kept) -> None:
        """Download an object beside its place and compare it with what was uploaded.

        Raises _DamagedError where the very object comes wrong each time in the same way, and where it is gone.
        StorageError where it comes wrong in several ways or is replaced meanwhile: that tells nothing about it.
        """
        seen: list[str] = []
        for seconds in (*PAUSES, 0.0):
            wrong = self._download(file)
            if wrong is None:
                return
            log.warning("object_came_wrong", key=file.record.key, reason=wrong)
            seen.append(wrong)
            pause(self._stop, seconds)
            if not self._leavings.has(file):
                raise _DamagedError(file)
        if len(set(seen)) > 1:
            raise self._leavings.odd(file, f"it comes wrong each time in another way, at last so: {seen[-1]}")
        raise _DamagedError(file)

    def _download(self, file: Kept) -> str | None:
        """Return what was wrong, None where nothing was."""
        part = self._part(file)
        try:
            self._downloads.fetch(file.record, part)
        except StorageError as error:
            if error.trouble not in ODD:
                raise
            return error.sentence
        with part.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            if digest != file.sha256:
                return f"what arrives has the SHA-256 {digest}"
            os.fsync(content.fileno())
        return None

    def _put(self, files: Iterable[Kept]) -> None:
        for file in files:
            target = self._output / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._part(file).replace(target)

    def _put_aside(self, file: Kept) -> None:
        """Move a damaged object out of the way: nothing lists it any more, and nothing is deleted."""
        log.warning("object_damaged", key=file.record.key)
        self._damaged.append(file.record.key)
        self._leavings.move_aside(file)

    def _part(self, file: Kept) -> Path:
        return self._parts / hashlib.sha256(file.record.key.encode()).hexdigest()

    def _arrived(self, _count: int) -> None:
        pause(self._stop, 0)
