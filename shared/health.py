"""``python -m shared.health``: the container's health check. Exit 0 when the uploader of this worker beats."""

from __future__ import annotations

import os
import sys
import time

from shared.contract.upload import Worker
from shared.layout import worker_file
from shared.settings import read_root, worker_name

SILENT_SECONDS = 30.0


def main() -> int:
    """Return the exit code."""
    beat = Worker.read(worker_file(read_root(), worker_name(os.environ)))
    if beat is None or time.time() - beat.at > SILENT_SECONDS:
        print("no uploader beats on this worker", file=sys.stderr)
        return 1
    print(f"the uploader beats; Storage is {beat.storage}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
