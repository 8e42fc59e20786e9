"""What has changed and is not complete yet. Checkpoints among it are held from the first look on.

So a checkpoint that is deleted before it has settled is judged all the same, by the descriptor that is left of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.structure import adds_up
from uploader.grips import Held
from uploader.kinds import WEIGHTS, Kind, is_database_side_file, nature
from uploader.scan import hidden, look
from uploader.settle import BROKEN_PATIENCE_SECONDS, Observation, Proof, settle
from uploader.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.clock import Clock
    from shared.settings import UploadSettings
    from uploader.grips import Grips
    from uploader.observer import Circumstances
    from uploader.open_files import FileId
    from uploader.run import Run
    from uploader.scan import Seen

# Where nobody sees whether a database is open, this much quiet passes for closed.
DATABASE_QUIET_SECONDS = 60.0


@dataclass(slots=True)
class _Hot:
    """A version that is not in the ledger yet, and since when (monotonic seconds) it has stood still.

    ``lost`` is since when its name has been gone; None while it has one. ``closed``: while it still had its name, it
    was seen not to be open.
    """

    seen: Seen
    changed: float
    lost: float | None = None
    closed: bool = False

    @property
    def inode(self) -> int:
        """Return the inode."""
        return self.seen.version.inode

    @property
    def id(self) -> FileId:
        """Return what the kernel knows the file by."""
        return self.seen.device, self.inode


class Settling:
    """The files of one run that are watched until they are complete."""

    def __init__(
        self,
        run: Run,
        settings: UploadSettings,
        clock: Clock,
        opened: Callable[[frozenset[FileId]], frozenset[FileId]],
        grips: Grips,
    ) -> None:
        self._run = run
        self._debounce = settings.debounce_seconds
        self._clock = clock
        self._opened = opened
        self._grips = grips
        self._hot: dict[str, _Hot] = {}
        self._sight, self._reading = Sight(), Sight()
        # When one of them was last seen to change, in monotonic seconds.
        self.changed_at = clock.monotonic()

    @property
    def waiting(self) -> int:
        """Return how many files are not complete yet."""
        return len(self._hot)

    @property
    def held(self) -> frozenset[Held]:
        """Return what is to be held because it is not complete yet."""
        return frozenset(Held(path, hot.inode) for path, hot in self._hot.items())

    def __contains__(self, path: str) -> bool:
        return path in self._hot

    def notice(self, seen: Seen) -> None:
        """Take note of a version that is not in the ledger."""
        self._heat(seen, lost=None)

    def notice_lost(self, seen: Seen) -> None:
        """Take note of such a version of a held file that has lost its name, unless it has only got another one."""
        if seen.path not in self._hot and not self._grips.is_renamed(seen.path, seen.version.inode):
            self._heat(seen, lost=self._clock.monotonic())

    def look_again(self) -> Iterator[Seen]:
        """Look at each of them as it is now, by its name or by what is held of it; yield what is no file any more."""
        for path, hot in list(self._hot.items()):
            named = look(self._run.output, path)
            seen = named or self._left_of(path, hot)
            if self._sight.hides(seen, path, self._clock.monotonic()):
                continue
            if seen is None or seen.strange or is_empty_journal(seen):
                del self._hot[path]
                if seen is not None and seen.strange:
                    yield seen
            else:
                self._heat(seen, lost=None if named else hot.lost or self._clock.monotonic())

    def complete(self, now: Circumstances) -> Iterator[tuple[Seen, Proof]]:
        """Yield what is complete, and why. Each stays here until it is settled."""
        opened = self._opened(frozenset(hot.id for hot in self._hot.values())) if self._hot else frozenset()
        # Asked afterwards: a trainer that was killed in between closed nothing.
        visible = bool(self._hot) and now.visible()
        for path, hot in list(self._hot.items()):
            if hot.lost is None:
                hot.closed = hot.id not in opened
            proof = self._proof(path, hot, is_open=hot.id in opened, visible=visible, now=now)
            # A writer may have come and gone between the look and the question who has it open.
            still = look(self._run.output, path) or self._left_of(path, hot)
            if self._is_nobodys(hot, proof):
                del self._hot[path]
            elif proof is not None and still == hot.seen:
                # Whoever deleted it may have done so because it was never finished.
                unproved = proof is Proof.ENDED and not hot.closed
                yield hot.seen, Proof.BROKEN if unproved else proof

    def settled(self, path: str) -> None:
        """Take note that a version is in the ledger now."""
        del self._hot[path]

    def _heat(self, seen: Seen, lost: float | None) -> None:
        hot = self._hot.get(seen.path)
        if hot is None or hot.seen != seen:
            self._hot[seen.path] = hot = _Hot(seen, self._clock.monotonic())
            self.changed_at = self._clock.monotonic()
        hot.lost = lost
        if lost is None and nature(seen.path, self._run.name).kind is Kind.CHECKPOINT:
            self._grips.take(seen.path, hot.inode)

    def _left_of(self, path: str, hot: _Hot) -> Seen | None:
        """Return what is held of a file whose name is gone. One that was renamed will be found again."""
        return None if self._grips.is_renamed(path, hot.inode) else self._grips.look(path, hot.inode)

    def _is_nobodys(self, hot: _Hot, proof: Proof | None) -> bool:
        """Return whether a file without a name was thrown away by its writer, or is written on for nobody."""
        if hot.lost is None:
            return False
        waited = self._clock.monotonic() - hot.lost
        return proof is Proof.BROKEN or (proof is None and waited >= BROKEN_PATIENCE_SECONDS)

    def _proof(self, path: str, hot: _Hot, *, is_open: bool, visible: bool, now: Circumstances) -> Proof | None:
        what = nature(path, self._run.name)
        unseen = not visible and not is_open
        if what.kind is Kind.DATABASE and not now.ended and not self._database_closed(path, hot, unseen=unseen):
            return None
        whole = is_open or self._is_whole(path, hot)
        if whole is None:
            return None
        saved = now.saved.get(path)
        observation = Observation(
            version=hot.seen.version,
            changed=hot.changed,
            now=self._clock.monotonic(),
            open_for_writing=None if unseen else is_open,
            saved_at=None if saved is None else saved.at,
            ended=now.ended,
            whole=whole,
        )
        proof = settle(observation, self._debounce)
        if what.kind is Kind.OPTIMIZER and proof in {Proof.CLOSED, Proof.QUIET} and not self._run.watched:
            # It is rewritten in place, and an error in the middle closes it, too. The trainer's own word comes, or its
            # end.
            return None
        # A trainer that was killed in the middle of a checkpoint is as quiet as one that has finished it.
        return None if proof is Proof.QUIET and what.kind in WEIGHTS and now.unjudged() else proof

    def _is_whole(self, path: str, hot: _Hot) -> bool | None:
        """Return whether its structure adds up; None while the disk does not let that be seen."""
        trouble: Seen | None = None
        try:
            whole = adds_up(self._run.output / path, self._grips.where(path, hot.inode))
        except OSError as error:
            whole, trouble = False, hidden(path, error)
        return None if self._reading.hides(trouble, path, self._clock.monotonic()) else whole

    def _database_closed(self, path: str, hot: _Hot, *, unseen: bool) -> bool:
        """Return whether a database, or the journal beside it, is at rest; a journal is a part of what is open."""
        beside = (look(self._run.output, path + side) for side in ("-wal", "-journal"))
        journals = [journal for journal in beside if journal is not None and not is_empty_journal(journal)]
        if not unseen:
            return not journals and not is_database_side_file(path)
        newest = max(seen.version.mtime for seen in (hot.seen, *journals))
        # It may be of a day to come, on a machine whose clock was set back.
        return abs(self._clock.now() - newest) >= DATABASE_QUIET_SECONDS


def is_empty_journal(seen: Seen) -> bool:
    """Return whether a journal holds nothing, and so is none."""
    return seen.version.size == 0 and is_database_side_file(seen.path)
