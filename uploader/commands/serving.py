"""Setting an uploader up for ``run`` and ``once``: settings, the lock, signals, and putting it all away again."""

from __future__ import annotations

import random
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shared.clock import Deadline, SystemClock
from shared.errors import ErrorCode, FerryError
from shared.lock import alone
from shared.log import EventLog
from shared.settings import Settings, read_settings
from shared.storage.client import Storage
from shared.storage.throttle import Throttle
from uploader.daemon import Daemon
from uploader.lanes import Lanes
from uploader.run import Watch
from uploader.world import World

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator
    from pathlib import Path

log = EventLog("uploader")


@dataclass(frozen=True, slots=True)
class Serving:
    """An uploader that is ready to tick.

    ``stop`` ends it at once, ``leave`` as soon as everything is delivered; ``wake`` makes it tick.
    """

    daemon: Daemon
    stop: threading.Event
    leave: threading.Event
    wake: threading.Event


def watches(options: Namespace) -> tuple[Watch, ...]:
    """Return the watched folder of the command line. Raises FerryError when it is not said where it goes."""
    if options.watch is None:
        return ()
    if not options.bucket:
        raise FerryError(ErrorCode.INVALID_INPUT, "--watch needs --bucket: say which bucket the folder goes to.")
    folder = options.watch.resolve()
    if not folder.is_dir():
        raise FerryError(ErrorCode.INVALID_INPUT, f"--watch {options.watch} is not a folder.")
    return (Watch(folder=folder, bucket=options.bucket, prefix=options.prefix.strip("/")),)


@contextmanager
def serving(options: Namespace, *, hurry: bool, lock_seconds: float | None) -> Iterator[Serving]:
    """Set an uploader up and put it away. ``lock_seconds``: how long to wait for another one (None: for ever).

    Raises FerryError when settings are wrong or another uploader works here.
    """
    settings = read_settings()
    watched = watches(options)
    stop, leave, wake = threading.Event(), threading.Event(), threading.Event()
    reread = threading.Event()
    _end_at_signals(stop, leave, wake)
    _reread_at_hangup(reread, wake)
    clock = SystemClock()
    deadline = None if lock_seconds is None else Deadline(clock, lock_seconds)
    folders = [settings.root, *(watch.folder for watch in watched)]
    with alone("uploader", folders, deadline, partial(_wait, wake, (stop, leave)), _waiting) as free:
        if not free and (stop.is_set() or leave.is_set()):
            raise FerryError(ErrorCode.BUSY, "Told to stop while another uploader works here.")
        if not free:
            raise FerryError(ErrorCode.BUSY, f"Another uploader works on {settings.root}: stop it first, or leave it.")
        world = _world(settings, stop, wake, reread, hurry=hurry)
        daemon = Daemon(world, settings.root, watched, wake)
        try:
            yield Serving(daemon, stop, leave, wake)
        finally:
            stop.set()
            daemon.close()


def _world(
    settings: Settings, stop: threading.Event, wake: threading.Event, reread: threading.Event, *, hurry: bool
) -> World:
    clock = SystemClock()
    upload = settings.upload
    lanes = Lanes(upload.concurrency, wake.set)
    return World(
        storage=Storage(settings.storage, connections=lanes.width),
        settings=upload,
        worker=settings.worker,
        clock=clock,
        stop=stop,
        lanes=lanes,
        throttle=None if upload.bandwidth is None else Throttle(upload.bandwidth, clock, stop.wait),
        jitter=random.Random(),  # noqa: S311 - spreads retries, guards nothing
        hurry=hurry,
        reread=reread,
    )


def _end_at_signals(stop: threading.Event, leave: threading.Event, wake: threading.Event) -> None:
    """Let SIGINT end the loop at once and SIGTERM when all is delivered; the next signal, as ever, ends the process."""
    asked = {signal.SIGINT: stop, signal.SIGTERM: leave}
    old = {number: signal.getsignal(number) for number in asked}

    def end(number: int, _frame: object) -> None:
        for each, handler in old.items():
            signal.signal(each, handler)
        asked[signal.Signals(number)].set()
        wake.set()

    for number in asked:
        signal.signal(number, end)


def _reread_at_hangup(reread: threading.Event, wake: threading.Event) -> None:
    """Let SIGHUP have the settings read again; on a terminal it says that this is gone, and ends the process."""
    if sys.stderr.isatty():
        return

    def ask(_number: int, _frame: object) -> None:
        reread.set()
        wake.set()

    signal.signal(signal.SIGHUP, ask)


def _wait(wake: threading.Event, ends: tuple[threading.Event, ...], seconds: float) -> bool:
    wake.wait(seconds)
    return any(end.is_set() for end in ends)


def _waiting(folder: Path) -> None:
    log.warning("another_uploader_works_here", folder=folder)
