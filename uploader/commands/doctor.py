"""``doctor``: says whether this machine is ready, and what to do if not."""

from __future__ import annotations

import shutil
import time
import uuid
from typing import TYPE_CHECKING

from shared.contract.upload import Worker
from shared.errors import FerryError
from shared.layout import worker_file
from shared.settings import read_settings
from shared.storage.body import BytesBody
from shared.storage.client import Storage
from shared.storage.errors import StorageError, Trouble

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from shared.settings import Settings

_LITTLE_DISK_BYTES = 10 << 30
_SILENT_SECONDS = 30.0
_PATIENCE_SECONDS = 15.0


def main(options: Namespace) -> int:
    """Print a line for each thing that must be right; return 1 when one is not."""
    settings = read_settings()
    with Storage(settings.storage, timeout=_PATIENCE_SECONDS) as storage:
        checks: list[tuple[str, Callable[[], str]]] = [
            ("disk", lambda: _disk(settings)),
            ("uploader", lambda: _uploader(settings)),
            ("storage", lambda: _storage(storage, options.bucket)),
        ]
        return max(_report(name, check) for name, check in checks)


def _report(name: str, check: Callable[[], str]) -> int:
    try:
        print(f"ok       {name}: {check()}")
    except FerryError as error:
        print(f"failure  {name}: {error.sentence}")
        return 1
    except _DoubtError as warning:
        print(f"warning  {name}: {warning}")
    return 0


class _DoubtError(Exception):
    """Something that may be as it should."""


def _disk(settings: Settings) -> str:
    there = next(path for path in (settings.root, *settings.root.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < _LITTLE_DISK_BYTES:
        raise _DoubtError(f"{free >> 20} MiB are free at {there}; checkpoints need more: make room or use a volume")
    return f"{free >> 30} GiB free at {there}"


def _uploader(settings: Settings) -> str:
    beat = Worker.read(worker_file(settings.root, settings.worker))
    if beat is None or time.time() - beat.at > _SILENT_SECONDS:
        raise _DoubtError("no uploader runs on this worker: start it with python -m uploader run")
    return f"process {beat.pid} beats; Storage is {beat.storage}"


def _storage(storage: Storage, bucket: str | None) -> str:
    if bucket is None:
        _ask_for_some_bucket(storage)
        return "it answers and takes the key; name a bucket with --bucket to try writing"
    storage.bucket(bucket)
    key = f".ferry-doctor-{uuid.uuid4().hex}"
    storage.put(bucket, key, BytesBody(b"doctor"), content_type="text/plain", metadata={})
    storage.remove(bucket, [key])
    return f"bucket {bucket} can be written"


def _ask_for_some_bucket(storage: Storage) -> None:
    """Any answer about a bucket that is not there proves that the key is taken."""
    try:
        storage.bucket(f"ferry-doctor-{uuid.uuid4().hex}")
    except StorageError as error:
        if error.trouble is not Trouble.BUCKET_NOT_FOUND:
            raise
