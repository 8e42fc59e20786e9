"""The seam to RunPod's SDK: jobs come in here, signals too, and answers and progress go out.

The SDK runs an async handler on its own loop and cancels it when the job is cancelled. It answers SIGTERM by a flag:
the job runs to its end, and an idle worker leaves only when its long poll returns. Both is mended here.

What only a job needs is loaded beside the SDK's own beginning, while that waits for its queue.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handler.answer import DEFECT, refusal
from handler.local_job import LOCAL_TEST, check_local_job, is_local
from handler.masking import presentable
from handler.open_runs import is_any_open
from handler.reporter import Reporter
from handler.stop import Stop, StopRequest
from handler.workshop import Workshop
from shared.clock import SystemClock
from shared.errors import ErrorCode, FerryError
from shared.lock import alone
from shared.log import EventLog, configure
from shared.secrecy import mask, secrets_of
from shared.settings import read_log_format, read_settings
from shared.storage.client import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.settings import Settings

_STARTED_LOOK_SECONDS = 0.05
# By then the SDK has posted an answer, or has given it up after three attempts.
_POSTED_SECONDS = 20.0
_LEAVING_LOOK_SECONDS = 0.2

log = EventLog("handler")


@dataclass(frozen=True, slots=True)
class _Running:
    """The job that is being run, and its answer to be."""

    job: Mapping[str, Any]
    answer: asyncio.Future[dict[str, Any]]

    def is_of(self, job: Mapping[str, Any]) -> bool:
        """Return whether ``job`` is the same, delivered once more. Jobs that are started by hand share one id."""
        known = self.job.get("id") not in {None, LOCAL_TEST}
        return known and (job.get("id"), job.get("input")) == (self.job.get("id"), self.job.get("input"))


class Worker:
    """This process as RunPod's worker: one job at a time."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings = settings
        self._storage = storage
        self._clock = SystemClock()
        self._running: _Running | None = None
        self.last_answer: dict[str, Any] | None = None

    async def handle(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to ``job``, as the SDK wants it. The same job once more gets the same answer."""
        from handler import taken

        if self._running is not None:
            if self._running.is_of(job):
                log.info("job_joined", job=job["id"])
                return dict(await asyncio.shield(self._running.answer))
            return refusal(FerryError(ErrorCode.BUSY, "This worker is training already: send the job again later."))
        running = self._running = _Running(job, asyncio.get_running_loop().create_future())
        job_id = _queued(job)
        if job_id is not None:
            taken.note(self.settings, job_id)
        try:
            self.last_answer = await self._answer(job)
        except asyncio.CancelledError:
            taken.forget(self.settings, job_id)
            running.answer.set_result(refusal(FerryError(ErrorCode.CANCELLED, "The job was cancelled.")))
            raise
        finally:
            self._running = None
        running.answer.set_result(self.last_answer)
        if job_id is not None:
            # It may be that RunPod has never got it, should this process be killed now.
            taken.note(self.settings, job_id, self.last_answer)
            asyncio.get_running_loop().call_later(_POSTED_SECONDS, taken.forget, self.settings, job_id)
        # A copy, because the SDK takes the error out of what it is given.
        return dict(self.last_answer)

    async def _answer(self, job: dict[str, Any]) -> dict[str, Any]:
        from handler.reception import run_job

        stop = StopRequest()
        try:
            with ended_by_signals(stop):
                answer = await run_job(job, self._workshop(_sender(job)), stop)
        except Exception:  # The process's edge: the SDK would answer with a traceback.
            log.exception("defect", job=job.get("id"))
            answer = refusal(FerryError(ErrorCode.INTERNAL, DEFECT))
        return dict(presentable(answer, secrets_of(os.environ)))

    async def finish_left_over(self) -> Stop | None:
        """Bring the runs of an earlier handler to their end; return why to leave instead of going on, if so.

        A worker of RunPod's queue keeps their jobs alive meanwhile and answers them, and the one that had no run yet.
        """
        from handler.lifeline import lifeline
        from handler.recovery import finish_left_over
        from handler.taken import answer_taken
        from handler.wire import is_queue

        stop = StopRequest()
        workshop = self._workshop(_nobody)
        carried = lifeline(os.environ, self._clock) if is_queue(os.environ) else nullcontext()
        with ended_by_signals(stop):
            async with carried as line:
                answers = await finish_left_over(workshop, stop, line)
                for answer in answers:
                    log.info("run_finished", session=answer["session_id"], success=answer["success"])
                if line is not None:
                    await answer_taken(workshop, line, stop, {answer["session_id"] for answer in answers})
        return stop.reason

    def _workshop(self, send: Callable[[Mapping[str, Any]], None]) -> Workshop:
        reporter = Reporter(send, self._clock)
        return Workshop(self.settings, self._storage, self._clock, reporter, dict(os.environ))


@contextmanager
def ended_by_signals(stop: StopRequest) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask for the job's end while the block lasts, and the SDK know of them as well.

    To be entered in the running loop. A worker that is leaving already ends its new job at once.
    """
    loop = asyncio.get_running_loop()
    saved = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(number: signal.Signals) -> None:
        stop.ask(Stop.INTERRUPTED)
        handler = saved[number]
        if (_scaler(handler) is not None or _is_server(handler)) and callable(handler):
            handler(number, None)

    if _is_leaving():
        stop.ask(Stop.INTERRUPTED)
    for number in saved:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number, handler in saved.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def main(arguments: Sequence[str]) -> int:
    """Be the worker until told to stop; with ``--test_input`` run that one job. Returns the exit code."""
    # The SDK's own default is to print every poll.
    os.environ.setdefault("RUNPOD_DEBUG_LEVEL", "INFO")
    local = is_local(arguments, os.environ)
    try:
        configure(read_log_format())
        settings = read_settings()
        storage = Storage(settings.storage, connections=settings.upload.concurrency + 2)
        settings.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FerryError as error:
        print(f"handler: {mask(error.sentence, secrets_of(os.environ))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"handler: TRAINING_ROOT cannot be used: {error}.", file=sys.stderr)
        return 2
    if local:
        try:
            check_local_job(arguments, Path.cwd())
        except FerryError as error:
            return _answer(refusal(error))
    never = threading.Event()
    with alone("handler", [settings.root], None, never.wait, _waiting), storage:
        worker = Worker(settings, storage)
        if is_any_open(settings.root, settings.worker) and asyncio.run(worker.finish_left_over()) is not None:
            return 0
        return _serve(worker, local=local)


def _serve(worker: Worker, *, local: bool) -> int:
    import runpod

    # Again, after the SDK, which sets the root logger up in its own way when it is imported.
    configure(worker.settings.log_format)
    if not local:
        threading.Thread(target=_beside_the_sdk, args=(worker.settings,), name="beside", daemon=True).start()
    log.info("ready", pid=os.getpid())
    try:
        runpod.serverless.start({"handler": worker.handle})
    except SystemExit as end:
        if not local:
            return end.code if isinstance(end.code, int) else 1
    if not local:
        return 0
    return _answer(worker.last_answer or refusal(FerryError(ErrorCode.INTERNAL, "The job was not run.")))


def _answer(answer: Mapping[str, Any]) -> int:
    """Print the answer as the last line, and return the exit code that goes with it."""
    print(json.dumps(answer), flush=True)
    return 0 if answer.get("success") else 1


def _queued(job: Mapping[str, Any]) -> str | None:
    """Return the id of a job that RunPod's queue waits for; None for any other."""
    from handler.wire import is_queue

    job_id = job.get("id")
    return job_id if isinstance(job_id, str) and is_queue(os.environ) else None


def _sender(job: dict[str, Any]) -> Callable[[Mapping[str, Any]], None]:
    from runpod.serverless import progress_update

    def send(progress: Mapping[str, Any]) -> None:
        try:
            progress_update(job, dict(progress))
        except (OSError, RuntimeError) as error:
            # Each update is a thread, and there may be none left. The training goes on.
            log.warning("progress_not_sent", job=job.get("id"), reason=error)

    return send


def _nobody(_progress: Mapping[str, Any]) -> None:
    """Tell nobody: no job of RunPod's waits for this run."""


def _waiting(folder: Path) -> None:
    log.warning("another_handler_works_here", folder=folder)


def _scaler(handler: object) -> Any:
    """Return the SDK's scaler when ``handler`` is its own signal handler."""
    owner = getattr(handler, "__self__", None)
    return owner if hasattr(owner, "is_alive") and hasattr(owner, "current_occupancy") else None


def _is_server(handler: object) -> bool:
    """Return whether ``handler`` is that of the server behind ``--rp_serve_api``: it ends when it has answered."""
    return hasattr(getattr(handler, "__self__", None), "should_exit")


def _is_leaving() -> bool:
    scaler = _scaler(signal.getsignal(signal.SIGTERM))
    return scaler is not None and not scaler.is_alive()


def _beside_the_sdk(settings: Settings) -> None:
    """Load what the first job needs; then end the process as soon as the SDK has been told to stop and has no job.

    By itself it would wait for its long poll, up to 90 s, and a job that RunPod hands over meanwhile would be lost.
    """
    import multiprocessing

    look = threading.Event()
    # Not before it has forked its ping process, in which a module that is half imported would be locked for ever.
    while _scaler(signal.getsignal(signal.SIGTERM)) is None:
        look.wait(_STARTED_LOOK_SECONDS)
    import handler.reception
    import handler.taken

    while not (_is_leaving() and _scaler(signal.getsignal(signal.SIGTERM)).current_occupancy() == 0):
        look.wait(_LEAVING_LOOK_SECONDS)
    # The SDK counts a job until its answer is posted.
    handler.taken.forget(settings)
    log.info("stopped")
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
