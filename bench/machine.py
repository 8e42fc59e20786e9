"""The machine in words, so that figures can be judged."""

from __future__ import annotations

import platform
import sys

import psutil

_EMBEDDED = "the embedded Storage on the same machine"


def described(*, embedded: bool) -> str:
    """Return what a reader needs to know: processor cores, memory, Python, and which Storage it was."""
    cores = psutil.cpu_count() or 1
    memory = psutil.virtual_memory().total / (1 << 30)
    python = ".".join(map(str, sys.version_info[:3]))
    storage = _EMBEDDED if embedded else "a Supabase project"
    return f"{cores} cores, {memory:.0f} GiB of memory, {platform.system()}, Python {python}, against {storage}."


def is_embedded(machine: str) -> bool:
    """Return whether the words say that it was measured against the embedded Storage."""
    return _EMBEDDED in machine
