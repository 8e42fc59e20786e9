"""Finding what is new in the output tree, and deciding when it is complete.

Files that are not complete yet are looked at in every pass; of the others only those in folders that changed, and all
of them once in a while, since a file that is rewritten in place leaves its folder's mtime alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from shared import folders, keys
from shared.log import EventLog
from uploader.familiar import Familiar
from uploader.growing import Growing
from uploader.kinds import WEIGHTS, Kind, Nature, ignored, key_of, named_step, nature
from uploader.logged import Logged
from uploader.paths import printable
from uploader.rows import Settled
from uploader.scan import Seen, Tree, Version, look
from uploader.settle import Proof, is_torn
from uploader.settling import Settling, is_empty_journal
from uploader.sight import Sight
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shared.clock import Clock
    from shared.contract.session import Saved
    from shared.settings import UploadSettings
    from uploader.grips import Grips, Held
    from uploader.ledger import Ledger
    from uploader.open_files import FileId
    from uploader.rows import Known
    from uploader.run import Run

NEVER_SEEN = "the trainer saved it, and it was gone before it could be looked at"
FULL_PASS_SECONDS = 10.0
# And of many files so rarely that it takes no more than some thousandths of the time: a file takes some 4 µs.
FULL_PASS_FILES_PER_SECOND = 800
_MOST_RETURNS = 5


log = EventLog("uploader")


def _nobody() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the run itself tells: what the trainer logged as saved, and whether anybody still writes.

    ``visible`` asks whether the trainer lives and its open files can be seen from here, ``unjudged`` whether it is gone
    and nobody has said yet how it ended. ``ended``: every writer is gone for good; ``by_itself``: and nobody had to
    kill it.
    """

    saved: Mapping[str, Saved] = field(default_factory=dict)
    visible: Callable[[], bool] = _nobody
    unjudged: Callable[[], bool] = _nobody
    ended: bool = False
    by_itself: bool = True


class Observer:
    """The eyes of one run. ``grips`` hold checkpoints from the first look on, so that none vanishes unfinished."""

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        settings: UploadSettings,
        clock: Clock,
        opened: Callable[[frozenset[FileId]], frozenset[FileId]],
        grips: Grips,
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._clock = clock
        self._grips = grips
        self._skip = partial(ignored, exclude=settings.exclude, name=run.name)
        self._tree = Tree(run.output, self._skip, clock.monotonic)
        self._sight = Sight()
        # How often a version has come back that was given up as gone.
        self._returned: Counter[tuple[str, Version]] = Counter()
        # What cannot be carried and has taken the name of what waits in the spool.
        self._behind: set[str] = set()
        self._settling = Settling(run, settings, clock, opened, grips)
        self._growing = Growing(run.output, settings.log_seconds)
        self._familiar = Familiar()
        self._visited: set[str] = set()
        self._gone = ledger.gone
        self._next_full_pass: float | None = None
        # When all of the tree was looked at last, and when anything was seen to change, in monotonic seconds.
        self.looked_at = float("-inf")
        self._logged = Logged(ledger, self._skip, lambda path: self._key(path, incomplete=False))
        self._changed = clock.monotonic()

    @property
    def changed_at(self) -> float:
        """Return when (monotonic seconds) anything was last seen to change."""
        return max(self._changed, self._settling.changed_at, self._growing.changed_at)

    @property
    def waiting(self) -> int:
        """Return how many files have changed and are not complete yet."""
        hidden = self._sight.awaited(self._clock.monotonic())
        return self._settling.waiting + self._growing.waiting + len(hidden) + len(self._behind)

    @property
    def has_looked(self) -> bool:
        """Return whether the tree has been looked at, all of it."""
        return self._next_full_pass is not None

    @property
    def misses(self) -> bool:
        """Return whether anything has been given up as gone since the last look: one answer alone is not believed."""
        return self._gone != self._ledger.gone

    @property
    def settling(self) -> frozenset[Held]:
        """Return what is held because it is not complete yet."""
        return self._settling.held

    def observe(self, now: Circumstances, *, everything: bool = False) -> None:
        """Look at the tree once; what is complete goes into the ledger. ``everything`` trusts no folder's mtime."""
        with self._ledger.transaction():
            self._find(everything=everything)
            self._find_nameless()
            self._look_again()
            self._settle(now)
            self._logged.stamp(now.saved)
            self._name_unseen(now.saved)
            for path, version in self._growing.due(self._clock.monotonic(), ended=now.ended):
                self._forget(path)
                self._record(path, version, Proof.ENDED if now.ended else Proof.QUIET, now)

    def _find(self, *, everything: bool) -> None:
        monotonic = self._clock.monotonic()
        missed = self.misses
        if missed:
            # What was given up as gone may be there again, as it was.
            self._gone = self._ledger.gone
            self._familiar.clear()
            self._visited.clear()
        full = everything or missed or self._next_full_pass is None or monotonic >= self._next_full_pass
        for folder, files in self._tree.changed(everything=full, familiar=self._familiar.knows):
            self._recall(folder)
            readable = True
            for seen in files:
                readable = readable and seen.path != folder
                if not self._sight.hides(seen, seen.path, monotonic):
                    self._notice(seen, self._ledger.known(seen.path))
            if readable:
                self._sight.hides(None, folder, monotonic)
                if self._ledger.cleared(folder):
                    self._changed = monotonic
        if full:
            many = 0 if self._sight.awaited(monotonic) else len(self._familiar)
            self._next_full_pass = monotonic + max(FULL_PASS_SECONDS, many / FULL_PASS_FILES_PER_SECOND)
            self.looked_at = monotonic

    def _is_given_up(self, seen: Seen) -> bool:
        """Return whether a version that was given up as gone has come back too often to be believed once more.

        What listings show and nobody can open would keep a run from its end for ever.
        """
        back = (seen.path, seen.version)
        self._returned[back] += 1
        return self._returned[back] > _MOST_RETURNS

    def _look_again(self) -> None:
        """Look at what is not complete yet; what is no file any more is named, unless a folder has taken its place."""
        now = self._clock.monotonic()
        behind = [seen for path in self._behind if (seen := look(self._run.output, path)) is not None]
        self._behind.clear()
        behind = [seen for seen in behind if not self._sight.hides(seen, seen.path, now)]
        for seen in (*behind, *self._settling.look_again(), *self._growing.look_again(now)):
            if not seen.is_folder:
                self._notice(seen, self._ledger.known(seen.path))

    def _recall(self, folder: str) -> None:
        """Learn what the ledger knows of a folder that is looked at for the first time."""
        if folder in self._visited:
            return
        self._visited.add(folder)
        for path, known in self._ledger.in_folder(folder):
            if known.state is not State.GONE:
                self._familiar.add(path, known.version)

    def _notice(self, seen: Seen, known: Known | None) -> None:
        if known is not None:
            if known.version == seen.version and known.state is not State.GONE:
                self._familiar.add(seen.path, seen.version)
                return
            self._familiar.drop(seen.path, known.version)
            if known.version == seen.version and seen.path not in self._settling and self._is_given_up(seen):
                return
        if seen.strange:
            self._refuse(seen, f"it is {seen.strange}, which cannot be carried")
        elif nature(seen.path, self._run.name).growing:
            age = self._clock.now() - seen.version.mtime
            self._growing.notice(seen, known, self._clock.monotonic(), age)
        elif not is_empty_journal(seen):
            self._settling.notice(seen)

    def _forget(self, path: str) -> None:
        """Take what the ledger knows of a file for unknown, as another version is about to take its place."""
        known = self._ledger.known(path)
        if known is not None:
            self._familiar.drop(path, known.version)

    def _find_nameless(self) -> None:
        """Notice what has lost its name in a version that is not in the ledger, and is still held.

        It was rewritten and deleted since the last look, or was found before the ledger was opened.
        """
        for seen in self._grips.nameless():
            known = self._ledger.file(seen.path)
            strayed = known is None or (known.version.inode == seen.version.inode and known.version != seen.version)
            if strayed and look(self._run.output, seen.path) is None:
                self._settling.notice_lost(seen)

    def _settle(self, now: Circumstances) -> None:
        # What completes a folder comes after the others that are complete as well.
        for seen, proof in sorted(self._settling.complete(now), key=lambda found: folders.completes(found[0].path)):
            # There is one place for both in the ledger, and the whole one goes first.
            shadowed = self._torn(seen.path, proof, now) and self._whole_one_waits(seen)
            if not shadowed and not self._awaits_others(seen.path):
                self._settling.settled(seen.path)
                self._record(seen.path, seen.version, proof, now)

    def _awaits_others(self, path: str) -> bool:
        """Return whether a file says that its folder is whole while another one there is not complete, or hidden."""
        if not folders.completes(path) or nature(path, self._run.name).kind is not Kind.CHECKPOINT:
            return False
        below = f"{path.rpartition('/')[0]}/"
        awaited = (*(held.path for held in self._settling.held), *self._sight.awaited(self._clock.monotonic()))
        return any(other != path and f"{other}/".startswith(below) for other in awaited)

    def _whole_one_waits(self, torn: Seen) -> bool:
        """Return whether another file that had this path before, a whole one, is kept as it was and waits."""
        known = self._ledger.file(torn.path)
        if known is None or known.state not in {State.READY, State.SENDING}:
            return False
        held = self._grips.look(torn.path, known.version.inode)
        # One that was written over before its name was taken can be sent no more.
        kept = known.source is not None or (held is not None and held.version == known.version)
        return kept and known.version.inode != torn.version.inode

    def _torn(self, path: str, proof: Proof, now: Circumstances) -> bool:
        weights = nature(path, self._run.name).kind in WEIGHTS
        return is_torn(proof, checkpoint=weights, ended_by_itself=now.by_itself)

    def _record(self, path: str, version: Version, proof: Proof, now: Circumstances) -> None:
        what = nature(path, self._run.name)
        self._ledger.settled(
            Settled(
                path=path,
                kind=what.kind,
                key=self._key(path, incomplete=self._torn(path, proof, now)),
                proof=proof,
                version=version,
                step=_step(path, what, now.saved),
            ),
            self._clock.now(),
        )
        self._changed = self._clock.monotonic()

    def _name_unseen(self, saved: Mapping[str, Saved]) -> None:
        """List what the trainer saved and deleted between two looks as missing."""
        for entry in self._logged.unseen(saved, self._is_there, self._clock.now()):
            kind = nature(entry.path, self._run.name).kind
            key = self._key(entry.path, incomplete=False)
            self._ledger.never_seen(entry.path, kind, key, entry.at, NEVER_SEEN, self._clock.now())
            log.warning("vanished_unseen", session=self._run.session_id, path=printable(entry.path))

    def _is_there(self, path: str) -> bool:
        return path in self._settling or look(self._run.output, path) is not None

    def _refuse(self, seen: Seen, reason: str) -> None:
        if self._copy_waits(seen.path):
            # There is one place for both in the ledger, and what can be sent goes first.
            self._behind.add(seen.path)
            return
        kind = nature(seen.path, self._run.name).kind
        key = self._key(seen.path, incomplete=False)
        self._ledger.refused(seen.path, kind, key, seen.version, reason, self._clock.now())
        self._changed = self._clock.monotonic()

    def _copy_waits(self, path: str) -> bool:
        """Return whether what was at ``path`` before lies in the spool and has yet to be sent."""
        row = self._ledger.file(path)
        return row is not None and row.source is not None and row.state in {State.READY, State.SENDING}

    def _key(self, path: str, *, incomplete: bool) -> str:
        key = key_of(path, self._run.name, self._run.prefix, incomplete=incomplete)
        owner, apart = self._ledger.key_owner(key), keys.disambiguate(key, path)
        # Where it went apart from another file before the ledger was lost, it goes again, whichever is first.
        free = owner in {path, printable(path)} or (owner is None and self._ledger.known_object(apart) is None)
        return key if free else apart


def saved_by_path(saved: Iterable[Saved]) -> dict[str, Saved]:
    """Return the newest saving of each path."""
    return {entry.path: entry for entry in saved}


def _step(path: str, what: Nature, saved: Mapping[str, Saved]) -> int | None:
    entry = saved.get(path)
    if entry is not None:
        return entry.step
    return named_step(what.inner) if what.kind is Kind.CHECKPOINT else None
