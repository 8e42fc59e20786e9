"""Runs that an earlier handler of this worker left behind: its trainer is watched on, and the run is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from handler.book import Book
from handler.closing import INTERRUPTED_DRAIN_SECONDS, beating, close
from handler.ending import Verdict
from handler.trainer import live_trainers
from handler.training import Training
from handler.watch import Stop
from shared.contract.process import find, identify
from shared.contract.session import Ending, Outcome, Phase, Session
from shared.errors import ErrorCode
from shared.layout import SessionFolder, sessions
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handler.watch import StopRequest
    from handler.workshop import Workshop
    from shared.contract.process import ProcessIdentity

log = EventLog("handler")


async def finish_left_over(workshop: Workshop, stop: StopRequest) -> list[dict[str, Any]]:
    """Bring every run that this worker left unfinished to its end; return their answers, oldest first.

    Must come before the SDK asks for a job: it starts asking as soon as it is started.
    """
    alive = _live_by_name()
    answers = []
    for folder in sessions(workshop.settings.root):
        session = Session.read(folder.session_file)
        if session is None or not _is_left_over(session, workshop.settings.worker, folder.session_id in alive):
            continue
        log.info("run_taken_over", session=folder.session_id, phase=session.phase)
        book = Book(folder, session.model_copy(update={"handler": identify()}), workshop.clock)
        async with beating(book):
            answers.append(await _finish(book, alive.get(folder.session_id) or session.trainer, workshop, stop))
    return answers


def _live_by_name() -> dict[str, ProcessIdentity]:
    """Return the living trainers by session id: a volume may be mounted elsewhere than when they were started."""
    return {folder.name: root for folder, root in live_trainers()}


def _is_left_over(session: Session, worker: str, is_alive: bool) -> bool:
    if session.phase is Phase.CLOSED or find(session.handler) is not None:
        return False
    return is_alive or session.worker == worker


async def _finish(book: Book, root: ProcessIdentity | None, workshop: Workshop, stop: StopRequest) -> dict[str, Any]:
    tail: tuple[str, ...] = ()
    if book.session.ending is not None:
        verdict = Verdict(book.session.ending, book.session.warnings)
    elif root is None:
        verdict = _never_began(book, workshop)
    else:
        training = Training(book, _config(book.folder), workshop, fresh=False)
        verdict = await training.to_the_end(root, stop)
        tail = training.tail
    seconds = workshop.clock.now() - book.session.created_at
    limit = INTERRUPTED_DRAIN_SECONDS if stop.reason is Stop.INTERRUPTED else None
    return await close(book, workshop, verdict, tail, seconds, limit)


def _never_began(book: Book, workshop: Workshop) -> Verdict:
    sentence = "The handler was killed before the training had begun: run the job again."
    ending = Ending(
        outcome=Outcome.INTERRUPTED,
        by_itself=True,
        error_code=ErrorCode.INTERRUPTED,
        error=sentence,
        at=workshop.clock.now(),
    )
    return Verdict(ending, book.session.warnings)


def _config(folder: SessionFolder) -> Mapping[str, Any]:
    """Return the configuration that runs; what it cannot tell is judged as an ordinary training."""
    try:
        config = yaml.safe_load(folder.config_file.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}
