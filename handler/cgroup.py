"""What the container's memory controller says: how often the kernel killed a process here for want of memory."""

from __future__ import annotations

import re
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
# Version 2, then version 1; a container sees its own group as the root.
_FILES = ("memory.events", "memory/memory.oom_control")
_OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(root: Path = CGROUPS) -> int | None:
    """Return the number of processes that the kernel has killed in this group for memory; None where it is not told."""
    for name in _FILES:
        try:
            match = _OOM_KILLS.search((root / name).read_text())
        except OSError:
            continue
        if match is not None:
            return int(match.group(1))
    return None
