"""A job that is run here, to its answer. Only this module knows the order: stage, rewrite, resume, train, drain."""

from __future__ import annotations

import asyncio
import errno
import sys
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from handler.answer import DEFECT
from handler.book import LOST
from handler.closing import beating, close
from handler.config import dump_config
from handler.drain import newest_word
from handler.ending import Verdict
from handler.expected import expected
from handler.restore import Restored, put_right, restore, trained_halves
from handler.rewrite import put_in_place, rewrite
from handler.stage import Staged, StagedTree, stage
from handler.threads import EndedEarlyError, in_thread
from handler.training import Training
from handler.undisturbed import undisturbed
from handler.watch import Stop
from shared.atomic import write_atomic
from shared.bars import bars
from shared.clock import Deadline
from shared.contract.session import Ending, Outcome, Phase
from shared.errors import ErrorCode, FerryError
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handler.book import Book
    from handler.job import Job
    from handler.preflight import Ready
    from handler.watch import StopRequest
    from handler.workshop import Workshop
    from shared.bars import Bars
    from shared.contract.upload import Upload

CANCELLED_DRAIN_SECONDS = 60.0
# Nothing has been trained, so there is little to deliver, and the answer is not kept waiting for it.
FAILED_EARLY_DRAIN_SECONDS = 20.0
# A claim that a dead owner left behind is free after 90 s of silence, which a bad line may have counted twice.
CLAIM_SECONDS = 240.0
_LOOK_SECONDS = 0.05
_STAGING_LOG_SECONDS = 5.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = EventLog("handler")


def disk_trouble(error: OSError) -> FerryError:
    """Return the error that a person sees when the worker's disk or system refuses."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        sentence = f"The worker's disk is full{where}: make room, or use a larger volume."
        return FerryError(ErrorCode.DISK_FULL, sentence)
    sentence = (
        f"The worker's system refuses to work ({error.strerror or error}){where}: look at the volume and its rights."
    )
    return FerryError(ErrorCode.INTERNAL, sentence)


class JobRun:
    """One job that has a session, from staging to the answer."""

    def __init__(self, job: Job, ready: Ready, book: Book, workshop: Workshop, stop: StopRequest, begun: float) -> None:
        self._job = job
        self._book = book
        self._workshop = workshop
        self._stop = stop
        self._begun = begun
        self._training: Training | None = None
        self._staging_log = Deadline(workshop.clock, 0)
        self._listed = ready.dataset
        self._warnings = (*job.warnings, *ready.warnings)

    async def to_the_end(self) -> dict[str, Any]:
        """Return the answer. A cancellation is raised again when nothing is left running."""
        async with beating(self._book):
            try:
                verdict = await self._train()
                return await self._close(verdict, FAILED_EARLY_DRAIN_SECONDS if self._training is None else None)
            except asyncio.CancelledError:
                log.info("job_cancelled", session=self._book.session.session_id)
                most = FAILED_EARLY_DRAIN_SECONDS if self._training is None else CANCELLED_DRAIN_SECONDS
                await undisturbed(self._close(self._cancelled(), most))
                raise

    async def _train(self) -> Verdict:
        try:
            config = await self._prepare()
            await self._claimed()
            await self._resume(config)
            self._training = Training(self._book, config, self._workshop, fresh=True)
            root = await self._training.begin()
            return await self._training.to_the_end(root, self._stop)
        except EndedEarlyError as early:
            sentence = "The worker was told to stop before the training had begun: run the job again."
            return self._failed(FerryError(ErrorCode.INTERRUPTED, sentence), _OUTCOMES.get(early.reason))
        except FerryError as error:
            return self._failed(error)
        except OSError as error:
            return self._failed(disk_trouble(error))
        except Exception:  # The job's edge: a session that is left open would keep its prefix for ever.
            log.exception("defect", session=self._book.session.session_id)
            return self._failed(FerryError(ErrorCode.INTERNAL, DEFECT))

    async def _prepare(self) -> dict[str, Any]:
        """Stage the dataset, rewrite the configuration, and return it as it will run."""
        self._book.enter(Phase.STAGING)
        self._workshop.reporter.tell(self._book.session)
        folder = self._book.folder
        tree = await self._stage()
        rewritten = rewrite(
            self._job.config, tree=tree, session=folder, toolkit=self._workshop.settings.handler.toolkit
        )
        put_in_place(rewritten)
        write_atomic(folder.config_file, dump_config(rewritten.config))
        self._warnings = (*self._warnings, *rewritten.warnings)
        self._book.enter(Phase.STARTING, warnings=self._warnings)
        return rewritten.config

    async def _stage(self) -> StagedTree:
        folder, source = self._book.folder, self._job.dataset
        listed, self._listed = self._listed, ()
        if source is None:
            folder.dataset.mkdir(mode=0o700, exist_ok=True)
            return StagedTree.of(folder.dataset, ())
        with bars(sys.stderr) as drawn:
            return await in_thread(
                self._stop,
                lambda flag: stage(
                    self._workshop.storage,
                    source,
                    folder.dataset,
                    listed=listed,
                    concurrency=self._workshop.settings.upload.concurrency,
                    stop=flag,
                    report=partial(self._staged, drawn),
                ),
            )

    def _staged(self, drawn: Bars, staged: Staged) -> None:
        drawn.show("dataset", staged.bytes, staged.bytes_total, f"{staged.files}/{staged.files_total} files")
        done = staged.files == staged.files_total
        if not done and (drawn.drawn or not self._staging_log.passed()):
            return
        self._staging_log = Deadline(self._workshop.clock, _STAGING_LOG_SECONDS)
        log.info("staging", session=self._book.session.session_id, **asdict(staged))

    async def _resume(self, config: Mapping[str, Any]) -> None:
        """Have the trainer go on where an earlier one was, if this run goes on with any. The prefix must be ours."""
        session = self._book.session
        if session.attempt == 1 and not session.lineage:
            if self._job.resume:
                nothing = "There was nothing to resume, so the training began at its beginning."
                self._warnings = (*self._warnings, nothing)
            return
        restored = await self._restored(config)
        log.info("resumed", session=session.session_id, step=restored.step, lineage=",".join(session.lineage))
        self._warnings = (*self._warnings, *_told(restored))
        again = {entry.path for entry in restored.saved}
        saved = (*(entry for entry in session.saved if entry.path not in again), *restored.saved)
        self._book.enter(Phase.STARTING, resumed_step=restored.step, saved=saved, warnings=self._warnings)

    async def _restored(self, config: Mapping[str, Any]) -> Restored:
        """Return what the trainer goes on with: what an attempt on this disk has saved, else what the bucket holds.

        An attempt may have ended before it had restored anything.
        """
        session, output = self._book.session, self._book.folder.output
        what, halves = expected(config, session.name), trained_halves(config)
        here, lineage = Restored(), session.lineage
        if session.attempt > 1:
            lineage = (*lineage, session.session_id)
            here = await in_thread(self._stop, lambda flag: put_right(output, session.saved, what, flag))
        if here.whole:
            return here
        storage, bucket, prefix = self._workshop.storage, session.bucket, session.prefix
        # It may take minutes in which nothing else is heard.
        log.info("restoring", session=session.session_id, lineage=",".join(lineage))
        found = await in_thread(
            self._stop, lambda flag: restore(storage, bucket, prefix, lineage, what, halves, output, flag)
        )
        return replace(found, damaged=(*here.damaged, *found.damaged))

    async def _claimed(self) -> None:
        """Return when the uploader holds the prefix. Raises FerryError when it is refused, or takes too long."""
        deadline = Deadline(self._workshop.clock, CLAIM_SECONDS)
        while True:
            if self._book.lost:
                raise FerryError(ErrorCode.PREFIX_IN_USE, LOST)
            upload = newest_word(self._book.folder, self._book.session.attempt)
            if upload is not None and upload.refused is not None:
                raise FerryError(upload.refused, upload.refusal or "The uploader refused this run.")
            if upload is not None and upload.claim_epoch is not None:
                return
            if self._stop.reason is not None:
                raise EndedEarlyError(self._stop.reason)
            if deadline.passed():
                raise self._no_claim(upload)
            await self._stop.wait(_LOOK_SECONDS)

    def _no_claim(self, upload: Upload | None) -> FerryError:
        if upload is None:
            sentence = "The uploader has not taken this run up: look at its log, and start it again."
            return FerryError(ErrorCode.UPLOADER_DOWN, sentence)
        why = " ".join(upload.warnings) or "Somebody else may be writing there."
        where = f"{self._book.session.bucket}/{self._book.session.prefix}"
        return FerryError(ErrorCode.STORAGE_UNREACHABLE, f"The uploader could not claim {where}. {why}")

    def _failed(self, error: FerryError, outcome: Outcome | None = None) -> Verdict:
        log.error("job_failed", session=self._book.session.session_id, code=error.code, reason=error.sentence)
        ending = Ending(
            outcome=outcome or Outcome.FAILED,
            by_itself=True,
            error_code=error.code,
            error=error.sentence,
            at=self._workshop.clock.now(),
        )
        return Verdict(ending)

    async def _close(self, verdict: Verdict, most_seconds: float | None) -> dict[str, Any]:
        noted = Verdict(verdict.ending, (*self._warnings, *verdict.notes))
        tail = self._training.tail if self._training else ()
        seconds = self._workshop.clock.monotonic() - self._begun
        result = await close(self._book, self._workshop, noted, tail, seconds, self._stop, most_seconds)
        return {**result, "refresh_worker": True} if self._stop.reason is Stop.INTERRUPTED else result

    def _cancelled(self) -> Verdict:
        """Return how the job ended: as it had when only the delivery is cancelled."""
        cancelled = Ending(
            outcome=Outcome.CANCELLED,
            by_itself=False,
            error_code=ErrorCode.CANCELLED,
            error="The job was cancelled.",
            at=self._workshop.clock.now(),
        )
        return Verdict(self._book.session.ending or cancelled, self._training.notes if self._training else ())


def _told(restored: Restored) -> tuple[str, ...]:
    """Return what a person should know of a resumption."""
    damaged = [f"{path} was damaged or unfinished and was put aside." for path in restored.damaged]
    if not restored.whole:
        damaged.append("No whole checkpoint of the interrupted run was found, so the training began at its beginning.")
    return tuple(damaged)


_OUTCOMES = {Stop.CANCELLED: Outcome.CANCELLED, Stop.INTERRUPTED: Outcome.INTERRUPTED}
