"""Waiting until the uploader has delivered a run: for as long as anything moves, and not much longer."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.watch import Stop
from shared.clock import Deadline
from shared.contract.session import DrainRequest, Phase
from shared.contract.upload import Upload, Worker
from shared.layout import worker_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from handler.book import Book
    from handler.watch import StopRequest
    from shared.clock import Clock
    from shared.contract.upload import DrainReceipt
    from shared.layout import SessionFolder
    from shared.settings import Settings

# What RunPod leaves a worker after its SIGTERM is about ten seconds; the answer must be out by then.
INTERRUPTED_SECONDS = 6.0
_LOOK_SECONDS = 0.05
# Whatever is sent more often than this, and still is not there, does not bring the end nearer.
_MOST_TIMES = 3
# The uploader beats every five seconds and is restarted at once; after this it is not coming back by itself.
UPLOADER_SILENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Drained:
    """What has come of a drain. ``receipt`` is None when it was given up; ``upload`` is the newest word on it."""

    receipt: DrainReceipt | None
    upload: Upload | None
    uploader_silent: bool = False

    @property
    def complete(self) -> bool:
        """Return whether everything is in the bucket and the manifest says so."""
        return self.receipt is not None and self.receipt.complete


async def drain(
    book: Book,
    settings: Settings,
    clock: Clock,
    stop: StopRequest,
    most_seconds: float | None = None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Drained:
    """Ask for everything to be delivered and wait for the answer.

    Gives up when nothing has moved for ``drain_seconds`` of the settings, or after ``most_seconds`` in all, which
    become few as soon as ``stop`` says that the worker has to go; the uploader goes on by itself afterwards. There is
    nothing to wait for when the uploader has stopped beating, or may not write there any more.
    """
    token = secrets.token_hex(16)
    book.enter(Phase.DRAINING, drain=DrainRequest(token=token, at=clock.now()))
    return await _Waiting(book, settings, clock, token, stop, most_seconds).until_answered(sleep)


def newest_word(session: SessionFolder, attempt: int = 1) -> Upload | None:
    """Return what the uploader says of this ``attempt`` of a session, or of a later one.

    None where it has said nothing yet, and also where the volume does not answer just now.
    """
    try:
        upload = Upload.read(session.upload_file)
    except OSError:
        return None
    return upload if upload is not None and upload.attempt >= attempt else None


class _Waiting:
    def __init__(
        self,
        book: Book,
        settings: Settings,
        clock: Clock,
        token: str,
        stop: StopRequest,
        most_seconds: float | None,
    ) -> None:
        self._book = book
        self._settings = settings
        self._clock = clock
        self._token = token
        self._stop = stop
        self._beats = worker_file(settings.root, settings.worker)
        self._upload: Upload | None = None
        self._whole = None if most_seconds is None else Deadline(clock, most_seconds)
        self._hurried = False
        # What has arrived or failed, and how many bytes had been moved when that was last something new.
        self._reached: Hashable = None
        self._moved_then = 0

    async def until_answered(self, sleep: Callable[[float], Awaitable[None]]) -> Drained:
        still = Deadline(self._clock, self._settings.handler.drain_seconds)
        silent = Deadline(self._clock, UPLOADER_SILENCE_SECONDS)
        moved = beat = None
        while True:
            self._upload = newest_word(self._book.folder, self._book.session.attempt) or self._upload
            receipt = self._upload.receipt if self._upload else None
            if receipt is not None and receipt.token == self._token:
                return Drained(receipt, self._upload)
            if (now := self._movement()) != moved:
                moved, still = now, Deadline(self._clock, self._settings.handler.drain_seconds)
            if (seen := self._beat()) != beat:
                beat, silent = seen, Deadline(self._clock, UPLOADER_SILENCE_SECONDS)
            if still.passed() or silent.passed() or self._is_another_ones() or self._is_time_to_go():
                return Drained(None, self._upload, uploader_silent=silent.passed())
            await sleep(_LOOK_SECONDS)

    def _is_another_ones(self) -> bool:
        """Return whether no answer can come: the prefix is another run's, or the session another worker's by now."""
        return self._book.lost or (self._upload is not None and self._upload.refused is not None)

    def _is_time_to_go(self) -> bool:
        if self._stop.reason is Stop.INTERRUPTED and not self._hurried:
            self._hurried = True
            left = INTERRUPTED_SECONDS if self._whole is None else self._whole.remaining()
            self._whole = Deadline(self._clock, min(left, INTERRUPTED_SECONDS))
        return self._whole is not None and self._whole.passed()

    def _movement(self) -> Hashable:
        upload = self._upload
        if upload is None:
            return None
        reached = (upload.uploaded, upload.failed.files)
        if reached != self._reached:
            self._reached, self._moved_then = reached, upload.moved
        in_vain = 0 < _MOST_TIMES * upload.pending.bytes < upload.moved - self._moved_then
        return reached if in_vain else (upload.moved, *reached)

    def _beat(self) -> int | None:
        try:
            worker = Worker.read(self._beats)
        except OSError:
            return None
        return None if worker is None else worker.beat
