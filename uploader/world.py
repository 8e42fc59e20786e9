"""What every run of one uploader shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from uploader.open_files import FileId, open_for_writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random
    from threading import Event

    from shared.clock import Clock
    from shared.settings import UploadSettings
    from shared.storage.client import Storage
    from shared.storage.throttle import Throttle
    from uploader.lanes import Lanes


@dataclass(frozen=True, slots=True)
class World:
    """Storage, the clock and the limits. ``hurry``: a watched run is closed as soon as everything is delivered."""

    storage: Storage
    settings: UploadSettings
    worker: str
    clock: Clock
    stop: Event
    lanes: Lanes
    throttle: Throttle | None
    jitter: Random
    hurry: bool = False
    opened: Callable[[frozenset[FileId]], frozenset[FileId]] = open_for_writing
