"""Finding what is new in the output tree, and deciding when it is complete.

Files that have not been delivered are looked at in every pass; of the others only those in folders that changed, and
all of them once in a while, since a file that is rewritten in place leaves its folder's mtime alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from shared import keys
from shared.structure import adds_up
from uploader.growing import Growing
from uploader.kinds import Kind, Nature, ignored, is_database_side_file, key_of, nature
from uploader.rows import Settled
from uploader.scan import Folders, Seen, Version, files, look
from uploader.settle import CLOCK_SLACK_SECONDS, Observation, Proof, is_torn, settle
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.clock import Clock
    from shared.contract.session import Saved
    from shared.settings import UploadSettings
    from uploader.ledger import Ledger
    from uploader.open_files import FileId
    from uploader.rows import Known
    from uploader.run import Run

FULL_PASS_SECONDS = 10.0
# Where nobody sees whether a database is open, this much quiet passes for closed.
DATABASE_QUIET_SECONDS = 60.0

_STEP = re.compile(r"_(\d{6,})(?:\D|$)")
_WEIGHTS = frozenset({Kind.CHECKPOINT, Kind.OPTIMIZER})


def _nobody() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the run itself tells: what the trainer logged as saved, and whether anybody still writes.

    ``visible`` asks whether the trainer lives and its open files can be seen from here. ``ended``: every writer is gone
    for good; ``by_itself``: and nobody had to kill it.
    """

    saved: Mapping[str, Saved] = field(default_factory=dict)
    visible: Callable[[], bool] = _nobody
    ended: bool = False
    by_itself: bool = True


@dataclass(slots=True)
class _Hot:
    """A version that is not in the ledger yet, and since when (monotonic seconds) it has stood still."""

    seen: Seen
    changed: float


class Observer:
    """The eyes of one run."""

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        settings: UploadSettings,
        clock: Clock,
        opened: Callable[[frozenset[FileId]], frozenset[FileId]],
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._opened = opened
        self._skip = partial(ignored, exclude=settings.exclude)
        self._folders = Folders(run.output, self._skip)
        self._hot: dict[str, _Hot] = {}
        self._growing = Growing(run.output, settings.log_seconds)
        self._full_pass: float | None = None
        self._stamped: Mapping[str, Saved] = {}
        self._changed = clock.monotonic()

    @property
    def changed_at(self) -> float:
        """Return when (monotonic seconds) anything was last seen to change."""
        return max(self._changed, self._growing.changed_at)

    @property
    def waiting(self) -> int:
        """Return how many files have changed and are not complete yet."""
        return len(self._hot) + self._growing.waiting

    @property
    def has_looked(self) -> bool:
        """Return whether the tree has been looked at, all of it."""
        return self._full_pass is not None

    def observe(self, now: Circumstances, *, everything: bool = False) -> None:
        """Look at the tree once; what is complete goes into the ledger. ``everything`` trusts no folder's mtime."""
        with self._ledger.transaction():
            self._find(everything=everything)
            self._look_again()
            self._settle(now)
            self._stamp(now.saved)
            for path, version in self._growing.due(self._clock.monotonic(), ended=now.ended):
                self._record(path, version, Proof.ENDED if now.ended else Proof.QUIET, now)

    def _find(self, *, everything: bool) -> None:
        monotonic = self._clock.monotonic()
        full = everything or self._full_pass is None or monotonic - self._full_pass >= FULL_PASS_SECONDS
        if full:
            self._full_pass = monotonic
        for folder in self._folders.changed(everything=full, now_ns=int(self._clock.now() * 1e9)):
            # A folder that could not be read before says so again if it still cannot.
            self._ledger.cleared(folder)
            known = self._ledger.in_folder(folder)
            for seen in files(self._run.output, folder, self._skip):
                self._notice(seen, known.get(seen.path))

    def _notice(self, seen: Seen, known: Known | None) -> None:
        if known is not None and known.version == seen.version and known.state is not State.GONE:
            return
        if seen.strange:
            self._refuse(seen, f"it is {seen.strange}, which cannot be carried")
        elif nature(seen.path, self._run.name).growing:
            age = self._clock.now() - seen.version.mtime
            self._growing.notice(seen, known, self._clock.monotonic(), age)
        elif not _is_empty_journal(seen):
            self._heat(seen)

    def _heat(self, seen: Seen) -> None:
        known = self._hot.get(seen.path)
        if known is None or known.seen.version != seen.version:
            self._hot[seen.path] = _Hot(seen, self._clock.monotonic())
            self._changed = self._clock.monotonic()

    def _look_again(self) -> None:
        for path in list(self._hot):
            seen = look(self._run.output, path)
            if seen is None or seen.strange or _is_empty_journal(seen):
                del self._hot[path]
            else:
                self._heat(seen)

    def _settle(self, now: Circumstances) -> None:
        opened = self._opened(frozenset(map(_file_id, self._hot.values()))) if self._hot else frozenset()
        # Asked afterwards: a trainer that was killed in between closed nothing.
        visible = bool(self._hot) and now.visible()
        for path, hot in list(self._hot.items()):
            proof = self._proof(path, hot, is_open=_file_id(hot) in opened, visible=visible, now=now)
            # A writer may have come and gone between the look and the question who has it open.
            if proof is None or look(self._run.output, path) != hot.seen:
                continue
            del self._hot[path]
            self._record(path, hot.seen.version, proof, now)

    def _proof(self, path: str, hot: _Hot, *, is_open: bool, visible: bool, now: Circumstances) -> Proof | None:
        what = nature(path, self._run.name)
        unseen = not visible and not is_open
        if what.kind is Kind.DATABASE and not now.ended and not self._database_closed(path, hot, unseen=unseen):
            return None
        saved = now.saved.get(path)
        observation = Observation(
            version=hot.seen.version,
            changed=hot.changed,
            now=self._clock.monotonic(),
            open_for_writing=None if unseen else is_open,
            saved_at=None if saved is None else saved.at,
            ended=now.ended,
            whole=is_open or adds_up(self._run.output / path),
        )
        return settle(observation, self._settings.debounce_seconds)

    def _database_closed(self, path: str, hot: _Hot, *, unseen: bool) -> bool:
        """Return whether a database, or the journal beside it, is at rest; a journal is a part of what is open."""
        beside = (look(self._run.output, path + side) for side in ("-wal", "-journal"))
        journals = [journal for journal in beside if journal is not None and not _is_empty_journal(journal)]
        if not unseen:
            return not journals and not is_database_side_file(path)
        newest = max(seen.version.mtime for seen in (hot.seen, *journals))
        return self._clock.now() - newest >= DATABASE_QUIET_SECONDS

    def _record(self, path: str, version: Version, proof: Proof, now: Circumstances) -> None:
        what = nature(path, self._run.name)
        torn = is_torn(proof, checkpoint=what.kind in _WEIGHTS, ended_by_itself=now.by_itself)
        self._ledger.settled(
            Settled(
                path=path,
                kind=what.kind,
                key=self._key(path, incomplete=torn),
                proof=proof,
                version=version,
                step=_step(path, what, now.saved),
            ),
            self._clock.now(),
        )
        self._changed = self._clock.monotonic()

    def _stamp(self, saved: Mapping[str, Saved]) -> None:
        """Add the steps that the trainer named only after the files had settled."""
        for path, entry in saved.items():
            if entry.step is not None and self._stamped.get(path) != entry:
                self._ledger.stamp(path, entry.step, entry.at + CLOCK_SLACK_SECONDS)
        self._stamped = saved

    def _refuse(self, seen: Seen, reason: str) -> None:
        kind = nature(seen.path, self._run.name).kind
        key = self._key(seen.path, incomplete=False)
        self._ledger.refused(seen.path, kind, key, seen.version, reason, self._clock.now())

    def _key(self, path: str, *, incomplete: bool) -> str:
        key = key_of(path, self._run.name, self._run.prefix, incomplete=incomplete)
        owner = self._ledger.key_owner(key)
        return key if owner is None or owner == path else keys.disambiguate(key, path)


def saved_by_path(saved: Iterable[Saved]) -> dict[str, Saved]:
    """Return the newest saving of each path."""
    return {entry.path: entry for entry in saved}


def _is_empty_journal(seen: Seen) -> bool:
    return seen.version.size == 0 and is_database_side_file(seen.path)


def _file_id(hot: _Hot) -> FileId:
    return hot.seen.device, hot.seen.version.inode


def _step(path: str, what: Nature, saved: Mapping[str, Saved]) -> int | None:
    entry = saved.get(path)
    if entry is not None:
        return entry.step
    match = _STEP.search(what.inner) if what.kind is Kind.CHECKPOINT else None
    return int(match.group(1)) if match else None
