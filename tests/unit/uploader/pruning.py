"""A trainer's checkpoints that come and go, for an uploader on the bench."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from shared.contract.session import Outcome
from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, Harbour, hold_of, safetensors, write
from uploader.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path


def no_clones(*_: object) -> None:
    """Stand for ``fcntl.ioctl`` on a file system that cannot let two files share their bytes."""
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


def clones(target: int, request: int, source: int) -> None:
    """Stand for ``fcntl.ioctl`` on one that can."""
    assert request == 0x40049409
    os.pwrite(target, os.pread(source, 1 << 30, 0), 0)


def name(step: int) -> str:
    return f"pictures/pictures_{step:09d}.safetensors"


def key(step: int) -> str:
    return f"checkpoints/pictures_{step:09d}.safetensors"


def weights(step: int) -> bytes:
    return safetensors(f"weights of step {step:04d}".encode() * 100)


def open_berth(harbour: Harbour) -> Berth:
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    return berth


def closed(berth: Berth) -> bool:
    return berth.carrier.stage is Stage.CLOSED


def away(harbour: Harbour) -> None:
    """Have Storage take no checkpoint until it is back."""
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints/", times=100_000)


def back(harbour: Harbour) -> None:
    harbour.storage.faults.clear()


def end(berth: Berth, outcome: Outcome = Outcome.FINISHED) -> None:
    berth.harbour.drained(outcome=outcome)
    berth.until(lambda: closed(berth))


def missing(harbour: Harbour) -> dict[str, str]:
    manifest = harbour.manifest()
    assert manifest is not None
    return {entry.path: entry.reason for entry in manifest.missing}


def waits(berth: Berth, step: int) -> bool:
    row = hold_of(berth).ledger.file(name(step))
    return row is not None and row.state == "ready"


def save(berth: Berth, *steps: int) -> None:
    """Write the checkpoints of some steps, a moment apart, and wait until each has settled."""
    for step in steps:
        write(berth.run.output / name(step), weights(step))
        berth.until(lambda: waits(berth, step))  # noqa: B023 - waited for at once


def delete(berth: Berth, *steps: int) -> None:
    for step in steps:
        (berth.run.output / name(step)).unlink()


def spooled(berth: Berth) -> set[str]:
    """Return the paths that have a copy in the spool."""
    return {row.path for row in hold_of(berth).ledger.spooled_files()}


def kept(berth: Berth) -> list[Path]:
    return sorted(berth.run.spool.glob("*.kept"))
