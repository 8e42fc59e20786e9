"""The demo's job and its pictures, and the buckets that they go to."""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.storage.body import FileRange

if TYPE_CHECKING:
    from shared.storage.client import Storage

SAMPLE = Path(__file__).resolve().parents[1] / "sample"


def sample_job() -> dict[str, Any]:
    """Return the input of the sample job."""
    job: dict[str, Any] = json.loads((SAMPLE / "job.json").read_bytes())
    return job


def fill(storage: Storage, job: dict[str, Any]) -> int:
    """Make both buckets and upload the pictures; return how many files there are."""
    source = job["dataset_config"]
    for bucket in {source["bucket_name"], job["upload_config"]["bucket_name"]}:
        storage.make_bucket(bucket)
    files = sorted(path for path in (SAMPLE / "dataset").rglob("*") if path.is_file())
    for path in files:
        key = f"{source['folder_path']}/{path.relative_to(SAMPLE / 'dataset').as_posix()}"
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        storage.put(source["bucket_name"], key, FileRange(path, 0, path.stat().st_size), content_type=kind, metadata={})
    return len(files)
