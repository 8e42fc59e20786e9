"""What an earlier handler of this worker left behind: whose it is, and that it is brought to its end and answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psutil

from handler.eventually import eventually
from handler.left_over import LeftOver
from handler.reporter import Reporter
from handler.trainer import live_trainers, root_of
from handler.tree import Tree
from shared.clock import Deadline
from shared.contract.process import find, same_machine
from shared.contract.session import Phase, Session
from shared.errors import ErrorCode, FerryError
from shared.layout import SessionFolder, sessions
from shared.log import EventLog
from shared.patience import PATIENCE_SECONDS, may_pass

if TYPE_CHECKING:
    from handler.lifeline import Lifeline
    from handler.stop import StopRequest
    from handler.workshop import Workshop
    from shared.contract.process import ProcessIdentity

_AGAIN_SECONDS = 5.0

log = EventLog("handler")


async def finish_left_over(
    workshop: Workshop, stop: StopRequest, lifeline: Lifeline | None = None
) -> list[dict[str, Any]]:
    """Bring every run that this worker left unfinished to its end, all at once, and return the answers.

    Must come before the SDK asks for a job: it starts asking as soon as it is started. ``lifeline`` carries the jobs of
    these runs meanwhile. Once ``stop`` is asked for, only runs whose trainer lives are still brought to their end,
    because the others can wait for the next handler. Afterwards no trainer lives that this worker would have to watch.
    """
    recovery = _Recovery(workshop, stop, lifeline)
    folders = await eventually(lambda: list(sessions(workshop.settings.root)), clock=workshop.clock)
    trainers = live_trainers()
    roots = [(folder, root_of(folder, trainers)) for folder in folders]
    # The newest first: of two runs of one job it is the one that answers.
    runs = [recovery.see_to(*each) for each in reversed(roots) if each[1] is not None or stop.reason is None]
    return [answer for answer in await asyncio.gather(*runs) if answer is not None]


@dataclass(frozen=True, slots=True)
class _Recovery:
    workshop: Workshop
    stop: StopRequest
    lifeline: Lifeline | None

    async def see_to(self, folder: SessionFolder, root: ProcessIdentity | None) -> dict[str, Any] | None:
        """Return the answer of the run in ``folder``, whose trainer lives below ``root``; None where there is none.

        What fails is tried again as long as the trainer lives, and for a minute where it may pass.
        """
        patience = Deadline(self.workshop.clock, PATIENCE_SECONDS)
        while True:
            soon = Deadline(self.workshop.clock, PATIENCE_SECONDS)
            try:
                return await self._take_over(folder, root)
            except (OSError, FerryError, psutil.Error) as error:
                # A run whose volume fails must not keep this worker from all others.
                log.error("run_not_finished", session=folder.session_id, reason=error)
                passes = isinstance(error, OSError) and may_pass(error)
            except Exception:  # The run's edge: the others have trainers that live.
                log.exception("defect", session=folder.session_id)
                passes = False
            if soon.passed():
                # It went well for long: this is another trouble than the one before.
                patience = Deadline(self.workshop.clock, PATIENCE_SECONDS)
            root = _root_now(folder, root)
            if self.stop.reason is not None or (root is None and (not passes or patience.passed())):
                return None
            # As long as its trainer has the GPU, this worker has no use for another job.
            await self.stop.wait(_AGAIN_SECONDS)

    async def _take_over(self, folder: SessionFolder, root: ProcessIdentity | None) -> dict[str, Any] | None:
        session = Session.read(folder.session_file)
        worker = self.workshop.settings.worker
        if session is None:
            if root is None:
                return None
            raise FerryError(ErrorCode.INTERNAL, f"A trainer writes to {folder.path}, which has no session.json.")
        if root is not None and _is_nobodys(session, worker):
            log.warning("stray_trainer_ended", session=folder.session_id, pid=root.pid)
            await Tree(folder.path, root, self.workshop.clock).end()
            return None
        if not _is_left_over(session, worker, root is not None):
            return None
        log.info("run_taken_over", session=folder.session_id, phase=session.phase)
        if self.lifeline is None or session.job_id is None:
            return await LeftOver(folder, session, root, self.workshop, self.stop).to_the_end()
        reporter = Reporter(self.lifeline.sender(session.job_id), self.workshop.clock)
        run = LeftOver(folder, session, root, replace(self.workshop, reporter=reporter), self.stop)
        return await self.lifeline.carry(session.job_id, run.to_the_end(), self.stop)


def _root_now(folder: SessionFolder, before: ProcessIdentity | None) -> ProcessIdentity | None:
    """Return the root of the trainer that lives for a session; the one of ``before`` where the system does not say."""
    try:
        return root_of(folder, live_trainers())
    except (OSError, psutil.Error):
        return before


def _is_nobodys(session: Session, worker: str) -> bool:
    """Return whether nobody waits for the trainer of a session: it has been closed, or goes on on another machine."""
    if session.phase is Phase.CLOSED:
        return True
    return session.worker != worker and not same_machine(session.handler)


def _is_left_over(session: Session, worker: str, is_alive: bool) -> bool:
    # A run that this very handler could not finish is tried again.
    if session.phase is Phase.CLOSED or find(session.handler) not in {None, psutil.Process()}:
        return False
    return is_alive or session.worker == worker
