"""The uploader with a clock that runs faster, so that ninety seconds of silence do not take that long.

Run as ``python -m tests.scenario.takeover.hasty run``, and as any other command of the uploader's.
"""

from __future__ import annotations

import sys
import time
from unittest import mock

from shared.clock import SystemClock
from uploader.commands import serving
from uploader.commands.line import main

# At more, a busy machine is as silent as a dead one.
SPEED = 10.0


class HastyClock(SystemClock):
    """Measures time as if it passed faster."""

    def monotonic(self) -> float:
        return time.monotonic() * SPEED

    def boottime(self) -> float:
        return super().boottime() * SPEED


if __name__ == "__main__":
    with mock.patch.object(serving, "SystemClock", HastyClock):
        sys.exit(main(sys.argv[1:]))
