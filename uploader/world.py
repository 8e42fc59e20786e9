"""What every run of one uploader shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from uploader.disk import Disk
from uploader.open_files import FileId, open_for_writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from shared.clock import WakefulClock
    from shared.settings import UploadSettings
    from shared.storage.client import Storage
    from shared.storage.throttle import Throttle
    from uploader.lanes import Lanes


@dataclass(frozen=True, slots=True)
class World:
    """Storage, the clock and the limits.

    ``hurry``: a watched run is closed as soon as everything is delivered. ``reread``: somebody wishes that the settings
    be read again. ``disk`` is the one under the sessions.
    """

    storage: Storage
    settings: UploadSettings
    worker: str
    clock: WakefulClock
    stop: Event
    lanes: Lanes
    throttle: Throttle | None
    jitter: Random
    hurry: bool = False
    reread: Event = field(default_factory=Event)
    disk: Disk = field(default_factory=Disk)
    opened: Callable[[frozenset[FileId]], frozenset[FileId]] = open_for_writing
