"""When a file is complete. A pure rule over what was observed of it.

Size that stands still proves nothing: a writer may pause, or may have preallocated the file. What proves something is
the trainer's own word, or that nobody who could write to it holds it open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from uploader.scan import TIME_RESOLUTION_SECONDS

if TYPE_CHECKING:
    from uploader.scan import Version

# A quiet file whose structure does not add up may still be completed; after this it is what it is.
BROKEN_PATIENCE_SECONDS = 60.0
# File times and log times come from different clocks' ticks.
CLOCK_SLACK_SECONDS = 2.0


class Proof(StrEnum):
    """Why a file is taken as complete. ``SAVED`` and ``CLOSED`` prove it; ``BROKEN`` says that it is not whole."""

    SAVED = "saved"
    CLOSED = "closed"
    QUIET = "quiet"
    ENDED = "ended"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of a file that has changed. Times are monotonic seconds, except ``saved_at`` (Unix seconds).

    ``open_for_writing`` is None where other processes cannot be seen. ``ended``: every writer is gone for good.
    ``whole``: its structure adds up, as far as that can be checked.
    """

    version: Version
    changed: float
    now: float
    open_for_writing: bool | None
    saved_at: float | None
    ended: bool
    whole: bool = True

    @property
    def quiet_seconds(self) -> float:
        """Return for how long size, mtime and inode have stood still."""
        return self.now - self.changed


def settle(seen: Observation, debounce: float) -> Proof | None:
    """Return why the file is complete, or None while it must be waited for. ``debounce`` is seconds."""
    if seen.open_for_writing or (_in_whole_seconds(seen.version) and not seen.ended and _is_young(seen)):
        return None
    if seen.saved_at is not None and seen.version.mtime <= seen.saved_at + CLOCK_SLACK_SECONDS:
        return Proof.SAVED
    if seen.ended:
        return Proof.ENDED if seen.whole else Proof.BROKEN
    if seen.open_for_writing is None and seen.quiet_seconds < debounce:
        return None
    if seen.whole:
        return Proof.QUIET if seen.open_for_writing is None else Proof.CLOSED
    return Proof.BROKEN if seen.quiet_seconds >= BROKEN_PATIENCE_SECONDS else None


def _in_whole_seconds(version: Version) -> bool:
    return version.mtime_ns % 1_000_000_000 == 0


def _is_young(seen: Observation) -> bool:
    """Return whether what is written now could get the same mtime where files have it in whole seconds."""
    return seen.quiet_seconds < TIME_RESOLUTION_SECONDS


def is_torn(proof: Proof, *, checkpoint: bool, ended_by_itself: bool) -> bool:
    """Return whether a file is published as incomplete: a checkpoint that nobody saw finished before the end came."""
    if proof is Proof.BROKEN:
        return True
    return checkpoint and proof is Proof.ENDED and not ended_by_itself
