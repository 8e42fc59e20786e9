"""Logs that grow: published while they grow, as prefixes that end with a whole line, and whole at the end.

The larger a log, the rarer its live copies, so that they cost less than 64 KiB a second on average.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from uploader.scan import Version, look
from uploader.sight import Sight
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from uploader.rows import Known
    from uploader.scan import Seen

LIVE_BYTES_PER_SECOND = 64 * 1024
_LONGEST_LINE = 64 * 1024


@dataclass(slots=True)
class _Log:
    """What was published last and when, and what was seen last and since when (monotonic seconds).

    ``hidden``: it cannot be looked at for the moment.
    """

    published: Version | None
    published_at: float | None
    seen: Version
    since: float
    hidden: bool = False

    @property
    def awaited(self) -> bool:
        """Return whether it has not been published as it is, and may not change any more."""
        if self.hidden:
            return True
        return self.published != self.seen and (self.published_at is None or self.since <= self.published_at)


class Growing:
    """The growing logs of one run. A log that has been quiet for ``every_seconds`` is published to its last byte."""

    def __init__(self, root: Path, every_seconds: float) -> None:
        self._root = root
        self._every = every_seconds
        self._logs: dict[str, _Log] = {}
        self._sight = Sight()
        # When one of them was last seen to change, in monotonic seconds.
        self.changed_at = float("-inf")

    @property
    def waiting(self) -> int:
        """Return how many logs have yet to be published whole. One that never stops growing is not waited for."""
        return sum(log.awaited for log in self._logs.values())

    def notice(self, seen: Seen, known: Known | None, now: float, age: float) -> None:
        """Take note of a log that is not in the ledger as it is at ``now`` (monotonic seconds).

        ``age`` is for how many seconds it has been quiet, by its own mtime.
        """
        # One that was away when it was to be sent, and is back as it was, has not been published for all that.
        given_up = known is not None and known.state is State.GONE
        if seen.path not in self._logs or given_up:
            since = now - min(max(age, 0.0), self._every)
            published = None if known is None or given_up else known.version
            self._logs[seen.path] = _Log(published, None, seen.version, since)
            self.changed_at = now

    def look_again(self, now: float) -> Iterator[Seen]:
        """Look at each log as it is at ``now`` (monotonic seconds); yield what is no file any more."""
        for path, log in list(self._logs.items()):
            seen = look(self._root, path)
            log.hidden = self._sight.hides(seen, path, now)
            if log.hidden:
                continue
            if seen is None or seen.strange:
                del self._logs[path]
                if seen is not None:
                    yield seen
            elif seen.version != log.seen:
                log.seen, log.since = seen.version, now
                self.changed_at = now

    def due(self, now: float, *, ended: bool) -> Iterator[tuple[str, Version]]:
        """Yield each log to be published now, with the version that its whole lines make up.

        ``ended``: nobody writes any more, so everything is published to the last byte.
        """
        for path, log in self._logs.items():
            version = None if log.hidden else self._to_publish(path, log, now, ended=ended)
            if version is not None and version != log.published:
                log.published, log.published_at = version, now
                yield path, version

    def _to_publish(self, path: str, log: _Log, now: float, *, ended: bool) -> Version | None:
        if ended or now - log.since >= self._every:
            return log.seen
        pause = max(self._every, log.seen.size / LIVE_BYTES_PER_SECOND)
        if log.published_at is not None and now - log.published_at < pause:
            return None
        version = self._whole_lines(path, log.seen)
        known = log.published
        if known is not None and known.inode == version.inode and version.size <= known.size <= log.seen.size:
            # Nothing new, or less than is there already.
            return None
        return version if version.size else None

    def _whole_lines(self, path: str, version: Version) -> Version:
        if ".tfevents." in path:
            return version
        try:
            with (self._root / path).open("rb") as file:
                start = max(0, version.size - _LONGEST_LINE)
                tail = os.pread(file.fileno(), version.size - start, start)
        except OSError:
            # Whatever is wrong with the file, its delivery will say.
            return version
        end = tail.rfind(b"\n")
        return version if end < 0 else replace(version, size=start + end + 1)
