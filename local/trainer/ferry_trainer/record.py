"""A record of every version of a file that the trainer makes, for tests that lose and break what is carried away.

``FERRY_TRAINER_RECORD`` names the file, which must lie outside of everything that is uploaded. Each version is a line
of JSON, ``{"state", "path", "size", "sha256"}``: ``begun`` before its first byte, ``done`` when it is complete, so that
a version whose end a kill hid is known as well. Paths are absolute.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "FERRY_TRAINER_RECORD"


@contextmanager
def recorded(path: Path, content: bytes) -> Iterator[None]:
    """Record ``content`` as the next version of ``path``, which is complete when the block ends."""
    record = os.environ.get(VARIABLE)
    if record is None:
        yield
        return
    version = {"path": str(path), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    _add(record, {"state": "begun", **version})
    yield
    _add(record, {"state": "done", **version})


def _add(record: str, line: dict[str, object]) -> None:
    # One write, so that what a kill tears is the last line at most.
    descriptor = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)
