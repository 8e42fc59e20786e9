"""A restoring that is told to stop, ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from threading import Event


def pause(stop: Event, seconds: float) -> None:
    """Wait for ``seconds``, 0 not at all. Raises FerryError (CANCELLED) as soon as ``stop`` is set."""
    if stop.is_set() or (seconds and stop.wait(seconds)):
        raise FerryError(ErrorCode.CANCELLED, "The worker was told to stop while the training was restored.")
