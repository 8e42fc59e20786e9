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
    """An address at which anybody can read an object of a private bucket, for a while."""

    key: str = Field(description="the object's whole key in the bucket")
    url: str = Field(description="its address: a secret as long as it works")
    expires_at: float = Field(description="until when it works, in Unix seconds")


class Status(Document):
    """``status.json``: a run as one can watch it from anywhere."""

    session_id: str = Field(description="the run's session")
    job_id: str | None = Field(default=None, description="RunPod's id of the job; null for one without")
    input_hash: str | None = Field(default=None, description="SHA-256 of what is trained, in hex")
    lineage: tuple[str, ...] = Field(
        default=(), description="the sessions, oldest first, that this run goes on with; their objects are its own, too"
    )
    worker: str = Field(description="the worker whose uploader writes this")
    epoch: int = Field(description="the number of the claim to this place")
    counter: int = Field(description="grows with every writing: while it does, the run is alive")
    at: float = Field(description="when this was written, in Unix seconds")
    phase: Phase = Field(description="where the run stands")
    outcome: Outcome | None = Field(default=None, description="how it ended; null while it goes on")
    error_code: ErrorCode | None = Field(default=None, description="why it failed, if it did")
    resumed_step: int | None = Field(default=None, description="the step from which it went on, if it did")
    progress: Progress = Field(default=Progress(), description="the newest numbers of the training")
    log_tail: tuple[str, ...] = Field(default=(), description="the last 40 lines of the log")
    last_checkpoint: str | None = Field(default=None, description="the key of the newest checkpoint in the bucket")
    last_samples: tuple[str, ...] = Field(default=(), description="the keys of the four newest samples, oldest first")
    links: tuple[Link, ...] = Field(default=(), description="links to these, where the job asked for them")
    uploaded: Count = Field(default=Count(), description="what is in the bucket and proved")
    pending: Count = Field(default=Count(), description="what waits or is under way")
    failed: Count = Field(
        default=Count(), description="what is given up until someone acts, or was deleted before its turn"
    )
    warnings: tuple[str, ...] = Field(default=(), description="what goes wrong without ending anything, in sentences")


class Entry(Record):
    """A file of the manifest."""

    key: str = Field(description="the object's whole key in the bucket")
    size: int = Field(description="its size in bytes")
    sha256: str = Field(description="the SHA-256 of its content, in hex")
    path: str = Field(description="where the trainer wrote it, relative to the session's `output/`")
    mtime: float = Field(description="when the trainer wrote it, in Unix seconds")
    incomplete: bool = Field(default=False, description="a checkpoint that was being written when the end came")
    step: int | None = Field(default=None, description="the step that it belongs to, where that is known")
    uploaded_at: float | None = Field(default=None, description="when it was delivered, in Unix seconds")


class Missing(Record):
    """A file that is not in the bucket."""

    path: str = Field(description="where the trainer wrote it, relative to the session's `output/`")
    reason: str = Field(description="why it is not there")


class Manifest(Document):
    """``manifest.json``: what is in the bucket, bit for bit, how the run ended, and what is missing."""

    outcome: Outcome = Field(description="how the training ended")
    complete: bool = Field(description="whether nothing is missing")
    session_id: str = Field(description="the run's session")
    job_id: str | None = Field(default=None, description="RunPod's id of the job; null for one without")
    input_hash: str | None = Field(default=None, description="SHA-256 of what was trained, in hex")
    lineage: tuple[str, ...] = Field(
        default=(), description="the sessions, oldest first, that this run went on with; their files are listed as well"
    )
    resumed_step: int | None = Field(default=None, description="the step from which it went on, if it did")
    model_name: str = Field(description="the name under which the results are filed")
    error_code: ErrorCode | None = Field(default=None, description="why it failed, if it did")
    error: str | None = Field(default=None, description="the same in a sentence, with what to do")
    created_at: float = Field(description="when the run began, in Unix seconds")
    ended_at: float | None = Field(default=None, description="when the training ended, in Unix seconds")
    progress: Progress = Field(default=Progress(), description="the last numbers of the training")
    files: tuple[Entry, ...] = Field(default=(), description="every file that is in the bucket")
    missing: tuple[Missing, ...] = Field(default=(), description="every file that is not, and why")
    config: dict[str, Any] = Field(default={}, description="the submitted configuration, secrets masked")
    log_tail: tuple[str, ...] = Field(default=(), description="the last 40 lines of the log")
    versions: dict[str, str] = Field(default={}, description="of ai-toolkit, RunPod's SDK and Storage's client")
    warnings: tuple[str, ...] = Field(default=(), description="what went wrong without ending anything, in sentences")
    successor: str | None = Field(
        default=None, description="the session that came after this one, once this lies in `manifests/`"
    )
