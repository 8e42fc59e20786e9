"""``python -m shared.health``: the container's health check. Exit 0 when the uploader of this worker beats."""

from __future__ import annotations

import os
import sys
import time

import psutil

from shared.contract.process import boot_id, host_name
from shared.contract.upload import Worker
from shared.layout import worker_file
from shared.settings import read_root, worker_name

SILENT_SECONDS = 30.0


def lives(beat: Worker, now: float) -> bool:
    """Return whether an uploader has beaten lately (``now`` is Unix seconds), and is not known to have ended since."""
    is_here = (beat.host, beat.boot_id) == (host_name(), boot_id())
    return now - beat.at <= SILENT_SECONDS and not (is_here and not psutil.pid_exists(beat.pid))


def main() -> int:
    """Return the exit code."""
    beat = Worker.read(worker_file(read_root(), worker_name(os.environ)))
    if beat is None or not lives(beat, time.time()):
        print("no uploader beats on this worker", file=sys.stderr)
        return 1
    print(f"the uploader beats; Storage is {beat.storage}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
