"""Runs that an earlier handler of this worker left behind: its trainer is watched on, and the run is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
import yaml

from handler.book import Book
from handler.closing import beating, close
from handler.ending import Verdict
from handler.trainer import live_trainers
from handler.training import Training
from shared.contract.process import find, identify
from shared.contract.session import Ending, Outcome, Phase, Session
from shared.errors import ErrorCode, FerryError
from shared.layout import SessionFolder, sessions
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from handler.watch import StopRequest
    from handler.workshop import Workshop
    from shared.contract.process import ProcessIdentity

log = EventLog("handler")


async def finish_left_over(workshop: Workshop, stop: StopRequest) -> list[dict[str, Any]]:
    """Bring every run that this worker left unfinished to its end, those whose trainer lives first; return the answers.

    Must come before the SDK asks for a job: it starts asking as soon as it is started. Once ``stop`` is asked for, only
    runs whose trainer lives are still brought to their end, because the others can wait for the next handler.
    """
    trainers = live_trainers()
    answers = []
    roots = [(folder, _root_of(folder, trainers)) for folder in sessions(workshop.settings.root)]
    for folder, root in sorted(roots, key=lambda found: found[1] is None):
        if root is None and stop.reason is not None:
            continue
        try:
            answer = await _take_over(folder, root, workshop, stop)
        except (OSError, FerryError, psutil.Error) as error:
            # A run whose volume fails must not keep this worker from all others.
            log.error("run_not_finished", session=folder.session_id, reason=error)
            continue
        if answer is not None:
            answers.append(answer)
    return answers


def _root_of(folder: SessionFolder, trainers: Iterable[tuple[Path, ProcessIdentity]]) -> ProcessIdentity | None:
    """Return the root of the trainer of a session, whatever its folder was called when that was started."""
    return next((root for started_for, root in trainers if _is_of(folder, started_for, root)), None)


def _is_of(folder: SessionFolder, started_for: Path, root: ProcessIdentity) -> bool:
    """Return whether a trainer writes to this session: the path that it was given may be another's by now.

    A name would prove nothing: sessions are called by the second, and another root may have one of the same second.
    """
    try:
        return folder.trainer_output.samefile(f"/proc/{root.pid}/fd/1")
    except OSError:
        return folder.path == started_for


async def _take_over(
    folder: SessionFolder, root: ProcessIdentity | None, workshop: Workshop, stop: StopRequest
) -> dict[str, Any] | None:
    session = Session.read(folder.session_file)
    if session is None or not _is_left_over(session, workshop.settings.worker, root is not None):
        return None
    log.info("run_taken_over", session=folder.session_id, phase=session.phase)
    book = Book(folder, session.model_copy(update={"handler": identify()}), workshop.clock)
    async with beating(book):
        return await _finish(book, root or session.trainer, workshop, stop)


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
        ended = await training.to_the_end(root, stop)
        verdict = Verdict(ended.ending, (*book.session.warnings, *ended.notes))
        tail = training.tail
    seconds = workshop.clock.now() - book.session.created_at
    return await close(book, workshop, verdict, tail, seconds, stop)


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
