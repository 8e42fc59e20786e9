"""An uploader lives as long as it beats, and no longer than its process, where that can be told."""

from __future__ import annotations

import os

import pytest

from shared.contract.process import boot_id, host_name
from shared.contract.upload import Worker
from shared.health import SILENT_SECONDS, lives

NOW = 1_795_000_000.0
HERE, ELSEWHERE = host_name(), "another"
# The largest number that Linux gives is 1 << 22.
NOBODY = 1 << 30


@pytest.mark.parametrize(
    ("host", "pid", "silent", "alive"),
    [
        (HERE, os.getpid(), 0.0, True),
        (HERE, os.getpid(), SILENT_SECONDS, True),
        (HERE, os.getpid(), SILENT_SECONDS + 1, False),
        (HERE, NOBODY, 0.0, False),
        (ELSEWHERE, NOBODY, 0.0, True),
    ],
    ids=["it beats", "it is late", "it is silent", "it has ended", "it is another machine's"],
)
def test_who_lives(host: str, pid: int, silent: float, alive: bool) -> None:
    beat = Worker(worker="w", pid=pid, host=host, boot_id=boot_id(), beat=1, at=NOW - silent)
    assert lives(beat, NOW) is alive
