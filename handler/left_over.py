"""One run that its handler did not bring to an end: watched on, judged, delivered, and answered for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import yaml

from handler.book import Book
from handler.closing import beating, close
from handler.ending import Verdict
from handler.masking import presentable
from handler.pipeline import CANCELLED_DRAIN_SECONDS
from handler.stop import Stop
from handler.training import Training
from handler.undisturbed import undisturbed
from shared.contract.process import identify
from shared.contract.session import Ending, Outcome, Phase
from shared.errors import ErrorCode
from shared.log import EventLog
from shared.secrecy import secrets_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handler.stop import StopRequest
    from handler.workshop import Workshop
    from shared.contract.process import ProcessIdentity
    from shared.contract.session import Session
    from shared.layout import SessionFolder

NEVER_BEGAN = "The handler was killed before the training had begun: run the job again."
CANCELLED = "The job was cancelled."

log = EventLog("handler")


class LeftOver:
    """The run of ``session``, as its handler left it. ``root`` is that of its trainer's tree, where it lives."""

    def __init__(
        self,
        folder: SessionFolder,
        session: Session,
        root: ProcessIdentity | None,
        workshop: Workshop,
        stop: StopRequest,
    ) -> None:
        self._folder = folder
        self._root = root or session.trainer or _unnoted(folder, session)
        self._book = Book(folder, session.model_copy(update={"handler": identify()}), workshop.clock)
        self._workshop = workshop
        self._stop = stop

    async def to_the_end(self) -> dict[str, Any]:
        """Return the answer, as RunPod gets it. A cancellation ends the training, and is raised again after a drain."""
        async with beating(self._book):
            try:
                verdict, tail = await self._ended()
                answer = await self._close(verdict, tail)
            except asyncio.CancelledError:
                log.info("job_cancelled", session=self._book.session.session_id)
                ending = self._book.session.ending or self._ending(Outcome.CANCELLED, CANCELLED)
                verdict = Verdict(ending, self._book.session.warnings)
                await undisturbed(self._close(verdict, (), CANCELLED_DRAIN_SECONDS))
                raise
        if self._stop.reason is Stop.INTERRUPTED:
            answer["refresh_worker"] = True
        return presentable(answer, secrets_of(self._workshop.environ))

    async def _ended(self) -> tuple[Verdict, tuple[str, ...]]:
        """Return how the run ended, and the end of its log."""
        session = self._book.session
        if session.ending is not None:
            return Verdict(session.ending, session.warnings), ()
        if self._root is None:
            return Verdict(self._ending(Outcome.INTERRUPTED, NEVER_BEGAN), session.warnings), ()
        training = Training(self._book, _config(self._folder), self._workshop, fresh=False)
        verdict = await training.to_the_end(self._root, self._stop)
        return Verdict(verdict.ending, (*self._book.session.warnings, *verdict.notes)), training.tail

    async def _close(
        self, verdict: Verdict, tail: tuple[str, ...], most_seconds: float | None = None
    ) -> dict[str, Any]:
        seconds = self._workshop.clock.now() - self._book.session.created_at
        return await close(self._book, self._workshop, verdict, tail, seconds, self._stop, most_seconds)

    def _ending(self, outcome: Outcome, error: str) -> Ending:
        """Return an ending that is not the trainer's own; both outcomes have an error code of the same name."""
        code = ErrorCode(outcome.value)
        by_itself = self._root is None
        return Ending(outcome=outcome, by_itself=by_itself, error_code=code, error=error, at=self._workshop.clock.now())


def _unnoted(folder: SessionFolder, session: Session) -> ProcessIdentity | None:
    """Return who stands for a trainer that ended before the handler that had started it could note it down."""
    return session.handler if session.phase is Phase.STARTING and folder.trainer_exit.exists() else None


def _config(folder: SessionFolder) -> Mapping[str, Any]:
    """Return the configuration that runs; what it cannot tell is judged as an ordinary training."""
    try:
        config = yaml.safe_load(folder.config_file.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}
