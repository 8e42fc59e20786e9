"""The trainer of one session: started here or taken over, watched to its end, and judged."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from handler.book import LOST
from handler.config.strange import strange_keys
from handler.ending import Verdict, judge
from handler.eventually import eventually
from handler.expected import Expected, expected
from handler.follow import Follower
from handler.inventory import Inventory, before_file, take_inventory
from handler.log_file import console
from handler.remarks import is_told, told
from handler.saves import Run
from handler.trainer import start
from handler.uploader_watch import SILENT, UploaderWatch
from handler.watch import watch
from shared.contract.session import Phase
from shared.errors import ErrorCode, FerryError
from shared.log import EventLog
from shared.secrecy import secrets_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from handler.book import Book
    from handler.progress import State
    from handler.watch import Report, StopRequest
    from handler.workshop import Workshop
    from shared.contract.process import ProcessIdentity

_TAIL_LINES = 40

log = EventLog("handler")


class Training:
    """One trainer. ``config`` is the configuration that it runs, as parsed."""

    def __init__(self, book: Book, config: Mapping[str, Any], workshop: Workshop, *, fresh: bool) -> None:
        self._book = book
        self._folder = book.folder
        self._workshop = workshop
        self._expected: Expected = expected(config, book.session.name)
        self._strange = next(strange_keys(config), None)
        self._secrets = secrets_of(workshop.environ)
        self._uploader = UploaderWatch(book.folder, workshop)
        # What an earlier handler noted of this trainer is read from its output again.
        self._warnings = tuple(each for each in book.session.warnings if each != SILENT and not is_told(each))
        # Of earlier attempts; what is saved now comes behind them.
        self._earlier = book.session.saved
        run = Run(
            name=book.session.name,
            output=self._folder.output,
            exists=partial(_exists, self._folder.output),
            trigger=self._expected.trigger,
        )
        self._follower = Follower(
            self._folder,
            run,
            fresh=fresh,
            console=console(workshop.settings.log_format, book.session.session_id),
            secrets=self._secrets,
            clock=workshop.clock,
        )

    @property
    def tail(self) -> tuple[str, ...]:
        """Return the newest lines of the log."""
        return self._follower.tail

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what went wrong so far without ending anything: in the training, and with its uploads."""
        return (*told(self._follower.state.remarks), *self._uploader.finally_told)

    async def begin(self) -> ProcessIdentity:
        """Start the trainer and return the root of its tree. Raises as ``start`` of handler.trainer does."""
        before = await eventually(partial(take_inventory, self._folder.output), clock=self._workshop.clock)
        before.write(before_file(self._folder))
        root = start(self._folder, self._workshop.settings.handler, self._workshop.environ)
        self._book.enter(Phase.STARTING, trainer=root)
        log.info("trainer_started", session=self._book.session.session_id, pid=root.pid)
        return root

    async def to_the_end(self, root: ProcessIdentity, stop: StopRequest) -> Verdict:
        """Watch the tree below ``root`` until it is gone, and return how the training ended."""
        watched = await watch(
            self._folder,
            root,
            self._follower,
            self._workshop.settings.handler,
            stop,
            self._report,
            clock=self._workshop.clock,
        )
        before, after = await eventually(self._inventories, clock=self._workshop.clock)
        verdict = judge(watched, before, after, self._expected, self._workshop.clock.now(), self._strange)
        self._note(watched.state, self._warnings)
        log.info("trainer_ended", session=self._book.session.session_id, outcome=verdict.ending.outcome)
        return Verdict(verdict.ending, (*verdict.notes, *self._uploader.finally_told))

    def _inventories(self) -> tuple[Inventory, Inventory]:
        """Return what lay in the output folder before the trainer started, and what lies there now."""
        return Inventory.read(before_file(self._folder)) or Inventory(), take_inventory(self._folder.output)

    def _report(self, report: Report) -> None:
        if self._book.lost:
            raise FerryError(ErrorCode.PREFIX_IN_USE, LOST)
        saved = self._book.session.saved
        self._uploader.look(self._book.session.attempt)
        remarks = told(report.state.remarks)
        self._note(report.state, (*self._warnings, *remarks, *self._uploader.own))
        if self._book.session.saved != saved:
            self._book.announce()
        self._workshop.reporter.tell(self._book.session, (*self._uploader.warnings, *remarks))

    def _note(self, state: State, warnings: tuple[str, ...]) -> None:
        again = {saved.path for saved in state.saved}
        saved = (*(entry for entry in self._earlier if entry.path not in again), *state.saved)
        tail = self._follower.tail[-_TAIL_LINES:]
        self._book.note(phase=state.phase, progress=state.progress, saved=saved, log_tail=tail, warnings=warnings)


def _exists(output: Path, path: str) -> bool:
    return os.path.exists(output / path)  # noqa: PTH110 - Path.exists raises for a name that no disk takes
