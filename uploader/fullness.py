"""How full the disk is: by its own numbers, by what it refused, and by what the trainer said; and what people are told.

A network volume shows the free space of its whole cluster. What a quota leaves shows only in refusals, and after those
nothing shows that there is room again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.errors import ErrorCode
from shared.log import EventLog
from uploader.disk import Space

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shared.contract.session import Session
    from uploader.world import World

# So long after a refusal the disk still counts as full.
REFUSED_SECONDS = 600.0
# A disk on which each save takes what the last deletion has freed is told of once.
_CALM_SECONDS = 600.0

# What the trainer says of a full disk, as the system, Rust and torch put it.
_FULL = re.compile(r"No space left on device|Disk quota exceeded|unexpected pos \d+ vs \d+")

log = EventLog("uploader")


class Fullness:
    """The disk under ``root``. Its ``warning`` goes to every run."""

    def __init__(self, root: Path, world: World) -> None:
        self._root = root
        self._disk = world.disk
        self._clock = world.clock
        self._space = Space(0, 0)
        self._heard: set[tuple[str, str]] = set()
        self._refused_at: float | None = None
        self._refused_bytes = 0
        self._told_at: float | None = None

    def lacking(self, sessions: Iterable[Session], next_save: int) -> int:
        """Return how many bytes are to be freed for a save of ``next_save`` bytes. Raises OSError."""
        self._space = self._disk.measure(self._root)
        said = {complaint for session in sessions for complaint in _complaints(session)} - self._heard
        self._heard |= said
        if self._disk.take_refusal() or said:
            self._refused_at = self._clock.monotonic()
            self._refused_bytes = Space(0, self._space.total).lacks(next_save)
        return max(self._space.lacks(next_save), self._refused_bytes)

    def freed(self, count: int) -> None:
        """Take note that so many bytes were deleted."""
        self._refused_bytes = max(0, self._refused_bytes - count)

    def tell(self, lacking: int, *, hopeless: bool) -> None:
        """Say how it stands; ``hopeless``: nothing is left to delete."""
        if hopeless:
            self._refused_bytes = 0
        now = self._clock.monotonic()
        refused = self._refused_at is not None and now - self._refused_at < REFUSED_SECONDS
        full = lacking > 0 or refused
        self._log(now, full=full)
        self._disk.warning = self._sentence(refused=refused, hopeless=hopeless) if full else None

    def _log(self, now: float, *, full: bool) -> None:
        if full:
            if self._told_at is None:
                log.warning("disk_nearly_full", folder=self._root, free=self._space.free)
            self._told_at = now
        elif self._told_at is not None and now - self._told_at >= _CALM_SECONDS:
            log.info("disk_has_room", folder=self._root, free=self._space.free)
            self._told_at = None

    def _sentence(self, *, refused: bool, hopeless: bool) -> str:
        shown = f"{self._space.free >> 20} MiB are shown as free at {self._root}"
        begun = f"The worker's disk has refused a write ({shown})" if refused else f"The disk is nearly full ({shown})"
        if hopeless:
            return (
                f"{begun}, and nothing that is in the bucket is left to delete: make room, or keep fewer checkpoints "
                "(save.max_step_saves_to_keep)."
            )
        return f"{begun}: what is in the bucket already is deleted there."


def _complaints(session: Session) -> Iterator[tuple[str, str]]:
    yield from ((session.session_id, line) for line in session.log_tail if _FULL.search(line))
    if session.ending is not None and session.ending.error_code is ErrorCode.DISK_FULL:
        yield session.session_id, ErrorCode.DISK_FULL
