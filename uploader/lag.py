"""The alarm for checkpoints that wait too long: in the log when it begins and when it ends, a warning in between."""

from __future__ import annotations

from shared.log import EventLog

log = EventLog("uploader")


class LagAlarm:
    """The alarm of one run. ``limit`` is seconds."""

    def __init__(self, session_id: str, limit: float) -> None:
        self._session_id = session_id
        self._limit = limit
        self._on = False

    def look(self, seconds: float) -> str | None:
        """Return the warning while the oldest undelivered checkpoint has been waiting for too many ``seconds``."""
        late = seconds >= self._limit
        if late and not self._on:
            log.warning("lag_alarm", session=self._session_id, seconds=round(seconds))
        elif self._on and not late:
            log.info("lag_over", session=self._session_id)
        self._on = late
        return f"A checkpoint has been waiting for {seconds / 60:.0f} minutes to be uploaded." if late else None
