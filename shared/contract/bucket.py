"""The documents that reach the bucket: ``status.json`` while a run lives, ``manifest.json`` last, and claims."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.contract.document import Document, Record
from shared.contract.session import Outcome, Phase, Progress
from shared.contract.upload import Count
from shared.errors import ErrorCode

STATUS = "status.json"
MANIFEST = "manifest.json"
CLAIMS = "claims"
MANIFESTS = "manifests"


class Claim(Document):
    """``claims/{epoch}.json``: who may write under a prefix. ``token`` is the owner's own secret-free random name."""

    epoch: int
    token: str
    session_id: str
    worker: str
    at: float


class Link(Record):
    """An address at which anybody can read the object ``key`` until ``expires_at``, Unix seconds."""

    key: str
    url: str
    expires_at: float


class Status(Document):
    """``status.json``: a run as one can watch it from anywhere. ``counter`` grows with every writing.

    ``lineage``: the sessions, oldest first, whose training this one goes on with; their objects are this run's, too.
    ``links``: to the last checkpoint and the last samples, where the job asked for them.
    """

    session_id: str
    job_id: str | None = None
    input_hash: str | None = None
    lineage: tuple[str, ...] = ()
    worker: str
    epoch: int
    counter: int
    at: float
    phase: Phase
    outcome: Outcome | None = None
    error_code: ErrorCode | None = None
    resumed_step: int | None = None
    progress: Progress = Progress()
    log_tail: tuple[str, ...] = ()
    last_checkpoint: str | None = None
    last_samples: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    uploaded: Count = Count()
    pending: Count = Count()
    failed: Count = Count()
    warnings: tuple[str, ...] = ()


class Entry(Record):
    """A file of the manifest: the object's whole key, its size in bytes, SHA-256, path under ``output/``, mtime."""

    key: str
    size: int
    sha256: str
    path: str
    mtime: float
    incomplete: bool = False
    step: int | None = None
    uploaded_at: float | None = None


class Missing(Record):
    """A file that is not in the bucket, and why."""

    path: str
    reason: str


class Manifest(Document):
    """``manifest.json``: what is in the bucket, bit for bit, how the run ended, and what is missing."""

    outcome: Outcome
    complete: bool
    session_id: str
    job_id: str | None = None
    input_hash: str | None = None
    lineage: tuple[str, ...] = ()
    resumed_step: int | None = None
    model_name: str
    error_code: ErrorCode | None = None
    error: str | None = None
    created_at: float
    ended_at: float | None = None
    progress: Progress = Progress()
    files: tuple[Entry, ...] = ()
    missing: tuple[Missing, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)
    log_tail: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    successor: str | None = None
