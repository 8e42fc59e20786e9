"""``upload.json``: what the uploader knows of a run. Written by the uploader alone."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from shared.contract.document import Document, Record
from shared.errors import ErrorCode


class StorageState(StrEnum):
    """Storage as the uploader sees it."""

    UNKNOWN = "unknown"
    OK = "ok"
    DOWN = "down"
    DENIED = "denied"


class Failure(Record):
    """A file that is not in the bucket, and why. ``permanent``: it is not tried again until someone acts."""

    path: str
    reason: str
    permanent: bool


class Count(Record):
    """A number of files and their bytes."""

    files: int = Field(default=0, description="how many files")
    bytes: int = Field(default=0, description="how many bytes they have together")


class DrainReceipt(Record):
    """The answer to a drain request: the same token, and whether everything is delivered."""

    token: str
    complete: bool
    manifest_key: str | None = None
    checkpoints: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    missing: tuple[Failure, ...] = ()


class Upload(Document):
    """Counters of one run. ``moved`` is a count of bytes that grows as long as anything moves.

    ``attempt`` is the one of the session that this is about: an older one's word says nothing about it.
    """

    beat: int = 0
    worker: str
    attempt: int = 1
    claim_epoch: int | None = None
    storage: StorageState = StorageState.UNKNOWN
    uploaded: Count = Count()
    pending: Count = Count()
    failed: Count = Count()
    in_flight: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    moved: int = 0
    retries: int = 0
    lag_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    refused: ErrorCode | None = None
    refusal: str | None = None
    receipt: DrainReceipt | None = None


class Worker(Document):
    """``.workers/{worker}.json``: an uploader is alive here. ``at`` is Unix seconds of the last beat."""

    worker: str
    pid: int
    host: str
    boot_id: str
    beat: int
    at: float
    storage: StorageState = StorageState.UNKNOWN
    problem: str | None = None
