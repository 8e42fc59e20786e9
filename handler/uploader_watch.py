"""Whether an uploader is at work while a training runs, and what it warns of. The training goes on in any case."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from handler.drain import UPLOADER_SILENCE_SECONDS, newest_word
from handler.watchdog import FROZEN_SECONDS
from shared.contract.upload import Worker
from shared.layout import worker_file
from shared.log import EventLog

if TYPE_CHECKING:
    from handler.workshop import Workshop
    from shared.layout import SessionFolder

# An uploader beats every five seconds.
_LOOK_SECONDS = 5.0
SILENT = (
    "No uploader shows a sign of life on this worker, so what the training writes waits on its disk: start python -m "
    "uploader run, or see in its log why it ends."
)

log = EventLog("handler")


class UploaderWatch:
    """Looks after the uploader of one worker for the session in ``folder``."""

    def __init__(self, folder: SessionFolder, workshop: Workshop) -> None:
        self._folder = folder
        self._clock = workshop.clock
        self._file = worker_file(workshop.settings.root, workshop.settings.worker)
        self._beat: tuple[int, int] | None = None
        self._looked = self._since = self._clock.monotonic()
        self._silent = False
        self._longest = 0.0
        self._warned: tuple[str, ...] = ()
        self._lag_limit = workshop.settings.upload.lag_alarm_seconds
        self._longest_lag = 0.0
        self._late = False

    @property
    def own(self) -> tuple[str, ...]:
        """Return what the uploader itself cannot tell: that it is silent, or was, and how far it was behind once."""
        return (*self._silence(), *(() if self._late else self._lag()))

    @property
    def finally_told(self) -> tuple[str, ...]:
        """Return what there is to tell of a training's uploads when it has ended."""
        return (*self._silence(), *self._lag())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what there is to warn of now, in the uploader's words, too."""
        return (*self.own, *self._warned)

    def look(self, attempt: int) -> None:
        """Look now and then whether the uploader has moved, and what it says of this ``attempt`` of the session."""
        now = self._clock.monotonic()
        unseen = now - self._looked
        if unseen < _LOOK_SECONDS:
            return
        self._looked = now
        if unseen > FROZEN_SECONDS:
            self._since += unseen
        upload = newest_word(self._folder, attempt)
        self._warned = upload.warnings if upload is not None else ()
        lag = upload.lag_seconds if upload is not None else 0.0
        self._late, self._longest_lag = lag >= self._lag_limit, max(lag, self._longest_lag)
        beat = self._read()
        if beat is not None and beat != self._beat:
            self._moved(beat, now)
        elif not self._silent and now - self._since >= UPLOADER_SILENCE_SECONDS:
            self._silent = True
            log.error("uploader_silent", session=self._folder.session_id, seconds=round(now - self._since))

    def _silence(self) -> tuple[str, ...]:
        if self._silent:
            return (SILENT,)
        if not self._longest:
            return ()
        return (f"The uploader was silent for {self._longest / 60:.0f} minutes; what was written meanwhile waited.",)

    def _lag(self) -> tuple[str, ...]:
        if self._longest_lag < self._lag_limit:
            return ()
        return (f"A checkpoint waited for {self._longest_lag / 60:.0f} minutes to be uploaded.",)

    def _moved(self, beat: tuple[int, int], now: float) -> None:
        if self._silent:
            self._longest = max(self._longest, now - self._since)
            log.info("uploader_back", session=self._folder.session_id, seconds=round(now - self._since))
        self._beat, self._since, self._silent = beat, now, False

    def _read(self) -> tuple[int, int] | None:
        with suppress(OSError):
            worker = Worker.read(self._file)
            return None if worker is None else (worker.pid, worker.beat)
        return None
