"""The lines to Storage, one for each bucket, and the one question that finds out whether one is there again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shared.contract.upload import StorageState
from shared.log import EventLog
from shared.storage.errors import StorageError, Trouble
from uploader.lanes import Desk
from uploader.line import Line

if TYPE_CHECKING:
    from uploader.world import World

_DENIED = frozenset({Trouble.DENIED, Trouble.BUCKET_NOT_FOUND})
_WORST_FIRST = (StorageState.DENIED, StorageState.DOWN, StorageState.OK)

log = EventLog("uploader")


class Lines:
    """All lines of one uploader."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: dict[str, Line] = {}
        self._probes: dict[str, Desk[object]] = {}

    @property
    def state(self) -> StorageState:
        """Return how Storage is, by its worst line."""
        states = {line.state for line in self._lines.values()}
        return next((state for state in _WORST_FIRST if state in states), StorageState.UNKNOWN)

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with Storage, a sentence a bucket."""
        return tuple(line.problem for line in self._lines.values() if line.problem and not line.open)

    def to(self, bucket: str) -> Line:
        """Return the line to ``bucket``."""
        if bucket not in self._lines:
            self._lines[bucket] = Line(self._world.clock, self._world.jitter)
            self._probes[bucket] = Desk(self._world.lanes)
        return self._lines[bucket]

    def hurry(self) -> None:
        """Have whatever is away asked at once whether it is there again."""
        for line in self._lines.values():
            line.hurry()

    def probe(self) -> list[str]:
        """Ask where it is time, take the answers, and return the buckets that are there again."""
        for bucket, line in self._lines.items():
            desk = self._probes[bucket]
            future = desk.take()
            if future is not None:
                _take(bucket, line, future.exception())
            elif line.probe_due() and not desk.busy:
                desk.start(partial(self._world.storage.bucket, bucket))
        back = [bucket for bucket, line in self._lines.items() if line.came_back()]
        for bucket in back:
            log.info("storage_back", bucket=bucket)
        return back


def _take(bucket: str, line: Line, error: BaseException | None) -> None:
    if isinstance(error, StorageError):
        denied = error.trouble in _DENIED
        if not line.asked or denied is not (line.state is StorageState.DENIED):
            log.error("storage_down", bucket=bucket, reason=error.sentence)
        line.failed(error.sentence, denied=denied)
    elif error is not None:
        raise error
    else:
        line.answered()
