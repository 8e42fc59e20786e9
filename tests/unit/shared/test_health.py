"""An uploader lives as long as it beats, and no longer than its process, where that can be told."""

from __future__ import annotations

import os

import pytest

from shared.contract.process import boot_id, host_name
from shared.contract.upload import Worker
from shared.health import SILENT_SECONDS, lives

NOW = 1_795_000_000.0
HERE = {"host": host_name(), "boot_id": boot_id()}
ELSEWHERE = {"host": "another", "boot_id": boot_id()}
# The largest number that Linux gives is 1 << 22.
NOBODY = 1 << 30


@pytest.mark.parametrize(
    ("where", "pid", "silent", "alive"),
    [
        (HERE, os.getpid(), 0.0, True),
        (HERE, os.getpid(), SILENT_SECONDS, True),
        (HERE, os.getpid(), SILENT_SECONDS + 1, False),
        (HERE, NOBODY, 0.0, False),
        (ELSEWHERE, NOBODY, 0.0, True),
    ],
)
def test_who_lives(where: dict[str, str], pid: int, silent: float, alive: bool) -> None:
    assert lives(Worker(worker="w", pid=pid, beat=1, at=NOW - silent, **where), NOW) is alive
