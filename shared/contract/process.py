"""Who a process is: a pid alone says nothing, since pids are used again and every host counts for itself."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

import psutil

from shared.contract.document import Record

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What a process reads of its age and of the boot's time comes a moment apart, and the latter in whole seconds.
_TOLERANCE_SECONDS = 1.5


class ProcessIdentity(Record):
    """Host, boot, pid and the moment of creation in seconds after the boot: together they name one process for ever.

    ``created`` is that moment in Unix seconds, for showing and reckoning: a clock that is set right moves it.
    """

    host: str
    boot_id: str
    pid: int
    created: float
    after_boot: float


@cache
def host_name() -> str:
    """Return this machine's host name."""
    return socket.gethostname()


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot; empty where the system has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def identify(pid: int | None = None) -> ProcessIdentity:
    """Return the identity of process ``pid`` (default: this one). Raises psutil.NoSuchProcess when there is none."""
    process = psutil.Process(os.getpid() if pid is None else pid)
    return ProcessIdentity(
        host=host_name(),
        boot_id=boot_id(),
        pid=process.pid,
        created=process.create_time(),
        after_boot=_after_boot(process),
    )


def same_machine(identity: ProcessIdentity) -> bool:
    """Return whether that process is, or was, one of this machine in this boot: only then can its pid be looked up."""
    return identity.host == host_name() and identity.boot_id == boot_id()


def find(identity: ProcessIdentity) -> psutil.Process | None:
    """Return the living process of that identity, or None when it is gone, a zombie, or on another machine."""
    if not same_machine(identity):
        return None
    try:
        process = psutil.Process(identity.pid)
        if abs(_after_boot(process) - identity.after_boot) > _TOLERANCE_SECONDS:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def _after_boot(process: psutil.Process) -> float:
    """Return when ``process`` was created. psutil adds the boot's time to what the kernel counts from there."""
    return round(process.create_time() - psutil.boot_time(), 2)
