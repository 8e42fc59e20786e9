"""A process that has imported the uploader already and forks one whenever it is asked to: no time goes into importing.

It has a single thread, so that what it forks is whole, and so that it can be the tracer of its children.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import ssl
import tempfile
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from shared.clock import SystemClock
from shared.settings import StorageSettings
from shared.storage.client import Storage
from shared.storage.errors import StorageError
from tests.scenario.steps import ptrace
from tests.scenario.steps.tracer import Blow, Followed, follow, traced
from uploader import snapshot, world
from uploader.commands import line, run, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection

    from uploader.open_files import FileId

# Pauses after trouble are made for networks and disks, and take seconds; here they would be all that a run does.
SPEED = 10.0
_START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


class _SwiftClock(SystemClock):
    """Measures time as if it passed faster."""

    def monotonic(self) -> float:
        return super().monotonic() * SPEED

    def boottime(self) -> float:
        return super().boottime() * SPEED


def upload() -> None:
    """Be the uploader's daemon."""
    run.main(line.parser().parse_args(["run"]))


@dataclass(frozen=True, slots=True)
class Launch:
    """A process to be started: its root and variables, where it prints, and, if it is followed, what befalls it.

    ``program`` is a function that the nursery can import.
    """

    root: Path
    environ: Mapping[str, str]
    printed: Path
    follow: bool = False
    blow: Blow | None = None
    program: Callable[[], None] = upload


class Nursery:
    """The forking process, as the test sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(self, launch: Launch) -> int:
        """Start an uploader and return its pid. The one before must have ended."""
        self._connection.send(launch)
        pid: int = self._connection.recv()
        return pid

    def ended(self, seconds: float) -> Followed | None:
        """Return what became of the uploader; None when it still lives after ``seconds``."""
        if not self._connection.poll(seconds):
            return None
        result = self._connection.recv()
        if isinstance(result, OSError):
            raise result
        assert isinstance(result, Followed)
        return result

    def obstacle(self) -> str | None:
        """Return why processes cannot be followed on this machine, or None when they can."""
        if not ptrace.supported():
            return "following system calls is written for Linux on x86-64"
        nowhere = Path(os.devnull)
        self.start(Launch(nowhere, {}, nowhere, follow=True, program=_nothing))
        try:
            followed = self.ended(_START_SECONDS)
        except OSError as error:
            return f"this machine does not allow processes to be traced: {error}"
        return None if followed and followed.status == 0 else "this machine does not allow seccomp filters"


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Yield a nursery; it and what it started are gone at the end."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield Nursery(here)
    finally:
        here.send(None)
        process.join(_START_SECONDS)
        process.kill()


def _serve(connection: Connection) -> None:
    _die_with_parent()
    _hasten()
    _warm_up()
    gc.freeze()
    while (launch := connection.recv()) is not None:
        pid = os.fork()
        if pid == 0:
            _become(launch)
        connection.send(pid)
        try:
            connection.send(_follow(pid, launch))
        except OSError as error:
            connection.send(error)


def _die_with_parent() -> None:
    # A test that is killed has no time to put its uploader away.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _hasten() -> None:
    """Take out of an uploader's life what only takes time: nothing durable is done there.

    The pauses; reading the certificates at each start; and asking every process of the machine what it has open, since
    nobody writes while this uploader looks.
    """
    certificates = ssl.create_default_context()
    nobody = partial(world.World, opened=_nobody_writes)
    mock.patch.object(serving, "SystemClock", _SwiftClock).start()
    mock.patch.object(serving, "World", nobody).start()
    mock.patch.object(snapshot, "open_for_writing", _nobody_writes).start()
    mock.patch.object(ssl, "create_default_context", return_value=certificates).start()


def _warm_up() -> None:
    """Have everything imported that a library imports at its first use; nobody listens there."""
    with Storage(StorageSettings("http://127.0.0.1:9", "key")) as storage, suppress(StorageError):
        storage.bucket("nobody")


def _nobody_writes(_wanted: frozenset[FileId]) -> frozenset[FileId]:
    return frozenset()


def _follow(pid: int, launch: Launch) -> Followed:
    if launch.follow:
        return follow(pid, launch.root, launch.blow)
    return Followed(status=os.waitpid(pid, 0)[1])


def _become(launch: Launch) -> None:
    """Be the uploader, to the end of this process."""
    try:
        _die_with_parent()
        with launch.printed.open("ab") as printed:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
        os.environ.clear()
        os.environ.update(launch.environ)
        tempfile.tempdir = None
        if launch.follow:
            traced(launch.program)
        else:
            launch.program()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the process's edge
        traceback.print_exc()
    finally:
        os._exit(70)


def _nothing() -> None:
    return None
