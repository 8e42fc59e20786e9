"""``session.json``: what the handler knows of a run. Written by the handler alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from shared.contract.document import Document, Record
from shared.contract.process import ProcessIdentity
from shared.errors import ErrorCode


class Phase(StrEnum):
    """Where a run stands."""

    PREPARING = "preparing"
    STAGING = "staging"
    STARTING = "starting"
    LOADING = "loading"
    TRAINING = "training"
    SAMPLING = "sampling"
    SAVING = "saving"
    DRAINING = "draining"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a training ended."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Progress(Record):
    """The newest numbers of the trainer's bar."""

    step: int = Field(default=0, description="steps that are done")
    total: int | None = Field(default=None, description="steps in all")
    loss: float | None = Field(default=None, description="the newest loss")
    learning_rate: float | None = Field(default=None, description="the newest learning rate")
    seconds_per_step: float | None = Field(default=None, description="how many seconds a step takes")
    eta_seconds: float | None = Field(default=None, description="how many seconds the rest will take")


class Saved(Record):
    """A file that the trainer logged as saved: path relative to ``output/``, the step, and when (Unix seconds).

    ``mtime``: the newest of the file (or in the folder) then, by the volume's own clock; None where it is not known.
    """

    path: str
    step: int | None = None
    at: float
    mtime: float | None = None


class Ending(Record):
    """How the run ended, as the handler judged it. ``by_itself``: nobody killed or interrupted the trainer."""

    outcome: Outcome
    by_itself: bool
    error_code: ErrorCode | None = None
    error: str | None = None
    at: float


class DrainRequest(Record):
    """The handler's wish that everything be delivered and the manifest written; answered with the same token."""

    token: str
    at: float


class Session(Document):
    """A run from its job to its end. ``beat`` counts the handler's writes; times are Unix seconds.

    ``lineage``: the ids of the sessions, oldest first, whose training this one goes on with, from ``resumed_step`` on.
    ``attempt`` counts how often the session itself was begun: a run that goes on where its folder is goes on in it.
    ``link_seconds``: for how long links to its samples and its last checkpoint are to be good; None: there are none.
    """

    session_id: str
    worker: str
    handler: ProcessIdentity
    job_id: str | None = None
    input_hash: str
    lineage: tuple[str, ...] = ()
    attempt: int = 1
    resumed_step: int | None = None
    model_name: str
    name: str
    bucket: str
    prefix: str
    link_seconds: int | None = None
    created_at: float
    beat: int = 0
    phase: Phase = Phase.PREPARING
    trainer: ProcessIdentity | None = None
    progress: Progress = Progress()
    saved: tuple[Saved, ...] = ()
    log_tail: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    ending: Ending | None = None
    drain: DrainRequest | None = None
