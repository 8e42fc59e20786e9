"""Keeping checkpoints that wait: the trainer deletes its old ones, delivered or not.

What waits is held open, so that a deletion takes away only the name. What has lost its name is copied to the spool, so
that it outlives this process, too; and ahead of that, what the trainer may delete next. Where the file system can let
two files share their bytes, the copy costs nothing and is made at once. All that is kept takes disk space that the
trainer believes free. When that becomes too much, the oldest is given up.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.log import EventLog
from uploader.allowance import AHEAD_PART, Kept, fits, is_at_risk, stock_of, to_free
from uploader.courier import StoppedError
from uploader.grips import MOST_HELD, Held
from uploader.lanes import Desk, Lane
from uploader.paths import printable
from uploader.scan import NEVER_LOOKED_AT, look
from uploader.spool import NotClonedError, Spool
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from uploader.allowance import Stock
    from uploader.disk import Space
    from uploader.grips import Grips
    from uploader.ledger import Ledger
    from uploader.rows import Row, Settled
    from uploader.run import Run
    from uploader.world import World

# So long may the disk lack room before something is given up for it: whatever else can be deleted goes before.
LAST_RESORT_SECONDS = 30.0
# A disk that refuses a copy is not asked for it again before.
_PAUSE_SECONDS = 10.0
_NO_LIMIT = 1 << 62

log = EventLog("uploader")


@dataclass(frozen=True, slots=True)
class _Copying:
    row: Row
    clone_only: bool


class Keeper:
    """The waiting checkpoints of one run.

    ``alive`` is called now and then by a copy, and may raise to stop it.
    """

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        grips: Grips,
        world: World,
        alive: Callable[[], None],
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._grips = grips
        self._clock = world.clock
        self._limit = world.settings.spool_bytes
        self._disk = world.disk
        self._alive = alive
        self._spool = Spool(run.spool)
        self._desk: Desk[str | None] = Desk(world.lanes, Lane.COPY)
        self._copying: _Copying | None = None
        self._clones = True
        self._refused: dict[str, float] = {}
        self._lacking_since: float | None = None
        with suppress(OSError):
            self._spool.sweep(ledger.next_optimizer(float("inf")))
        self._tidy()

    @property
    def spool(self) -> Spool:
        """Return the copies of this run."""
        return self._spool

    def keep(self, settling: Collection[Held], flying: Collection[str]) -> None:
        """Take hold of what waits, let go of what does not, make room, and have copied what needs it.

        ``settling`` is held by its observer, and ``flying`` are the paths of what is being sent.
        """
        self._take_copy()
        rows = self._ledger.waiting_checkpoints(MOST_HELD)
        self._let_go({Held(row.path, row.version.inode) for row in rows} | set(settling))
        for row in rows:
            self._grips.take(row.path, row.version.inode)
        held = [row for row in rows if self._grips.holds(row.path, row.version.inode)]
        nameless = [row for row in held if self._grips.is_nameless(row.path, row.version.inode)]
        if not self._make_room(nameless, flying):
            self._copy_next(held, nameless)

    def descriptor(self, row: Row) -> int | None:
        """Return a descriptor of the version in ``row``, to be closed by the caller; None when it is not held."""
        return self._grips.duplicate(row.path, row.version)

    def has_room(self, size: int) -> bool:
        """Return whether a copy of ``size`` bytes may be made of what can be read again."""
        return self._fits(size, self._limit)

    def has_original(self, row: Row) -> bool:
        """Return whether the version in ``row`` still lies where the trainer wrote it, or may, where nobody can see."""
        seen = look(self._run.output, row.path)
        return seen is not None and (seen.hidden or seen.version == row.version)

    def sees_original(self, row: Row) -> bool:
        """Return whether the version in ``row`` is seen to lie where the trainer wrote it."""
        seen = look(self._run.output, row.path)
        return seen is not None and seen.version == row.version

    def _let_go(self, first: Collection[Held]) -> None:
        """Let go of what is not among the ``first``: it can be taken again. What has nothing else left stays."""
        self._grips.retain({held for held in self._grips.all if held in first or self._is_all_there_is(held)})

    def _is_all_there_is(self, held: Held) -> bool:
        if not self._grips.is_nameless(held.path, held.inode):
            return False
        row = self._ledger.file(held.path)
        return (
            row is not None
            and row.version.inode == held.inode
            and row.source is None
            and row.state in {State.READY, State.SENDING}
        )

    # Copies

    def _copy_next(self, held: Sequence[Row], nameless: Collection[Row]) -> None:
        if self._desk.busy:
            return
        copying = self._lost(nameless) or self._cloneable(held) or self._at_risk(held)
        descriptor = self.descriptor(copying.row) if copying else None
        if copying is None or descriptor is None:
            return
        self._copying = copying
        self._desk.start(lambda: self._spool.keep(copying.row, descriptor, self._alive, clone_only=copying.clone_only))

    def _lost(self, nameless: Iterable[Row]) -> _Copying | None:
        """Return what has no name any more. Another file in its place is a newer version, which will take its turn."""
        lost = (row for row in nameless if look(self._run.output, row.path) is None)
        fits = (row for row in self._copyable(lost) if self._clones or self._fits(row.version.size, _NO_LIMIT))
        return next((_Copying(row, clone_only=False) for row in fits), None)

    def _cloneable(self, held: Iterable[Row]) -> _Copying | None:
        if not self._clones:
            return None
        used = self._spool.used().bytes
        fits = (row for row in self._copyable(held) if used + row.version.size <= self._limit)
        return next((_Copying(row, clone_only=True) for row in fits), None)

    def _at_risk(self, held: Sequence[Row]) -> _Copying | None:
        now = self._clock.now()
        risky = (row for row in held if is_at_risk(row, held, now))
        fits = (row for row in self._copyable(risky) if self._fits(row.version.size, self._limit // AHEAD_PART))
        return next((_Copying(row, clone_only=False) for row in fits), None)

    def _copyable(self, rows: Iterable[Row]) -> Iterable[Row]:
        now = self._clock.monotonic()
        return (row for row in rows if now >= self._refused.get(row.path, now))

    def _fits(self, size: int, limit: int) -> bool:
        return fits(self._spool.used(), size, limit, self._space())

    def _take_copy(self) -> None:
        future, copying = self._desk.take(), self._copying
        if future is None or copying is None:
            return
        self._copying = None
        path = printable(copying.row.path)
        try:
            name = future.result()
        except StoppedError:
            return
        except NotClonedError:
            self._clones = False
            return
        except OSError as error:
            self._disk.note(error)
            self._refused[copying.row.path] = self._clock.monotonic() + _PAUSE_SECONDS
            log.warning("not_spooled", session=self._run.session_id, path=path, reason=error.strerror)
            return
        if name is None:
            return
        if not self._ledger.spooled(copying.row, name):
            self._spool.remove(name)
        elif not copying.clone_only:
            log.info("spooled", session=self._run.session_id, path=path)

    def _tidy(self) -> None:
        """Give copies that the ledger does not know back to their files, or remove them.

        Their making, or the recording of their delivery, was interrupted; or the ledger has been lost.
        """
        with suppress(OSError):
            kept = self._spool.kept()
            known = self._ledger.sources() if kept else frozenset()
            for name, note in kept:
                if name not in known and (note is None or not self._adopt(note, name)):
                    self._spool.remove(name)

    def _adopt(self, note: Settled, name: str) -> bool:
        row = self._ledger.file(note.path)
        # Of what was only told to be missing, or has never been looked at, the note knows more.
        if row is not None and row.version != NEVER_LOOKED_AT:
            return row.version == note.version and row.source is None and self._ledger.spooled(row, name)
        if self._ledger.key_owner(note.key) not in {None, note.path}:
            return False
        self._ledger.settled(note, self._clock.now())
        return True

    # Room

    def _make_room(self, nameless: Sequence[Row], flying: Collection[str]) -> bool:
        """Free what is beyond the limit, or lacks for the trainer's next checkpoint; return whether anything was."""
        stock = self._spool.used() + stock_of([row.version.size for row in nameless])
        if not stock.bytes:
            return False
        beyond, lacks = stock.bytes - self._limit, self._lacks(stock)
        if max(beyond, lacks) <= 0:
            return False
        # What is freed shows late on some disks.
        self._lacking_since = None
        self._tidy()
        over = max(beyond, lacks) - self._spool.forget_optimizer(flying)
        freed = list(to_free(self._all_kept(nameless, flying), over, only_if_enough=beyond <= 0))
        for kept in freed:
            self._drop(kept.row) if kept.spare else self._give_up(kept.row)
        return bool(freed)

    def _lacks(self, stock: Stock) -> int:
        """Return how many bytes have lacked on the disk for some time: what is in the bucket is deleted before."""
        now = self._clock.monotonic()
        lacks = self._space().lacks(stock.largest)
        if not lacks:
            self._lacking_since = None
            return 0
        self._lacking_since = self._lacking_since or now
        return lacks if now - self._lacking_since >= LAST_RESORT_SECONDS else 0

    def _space(self) -> Space:
        return self._disk.measure(self._run.output)

    def drop_spare(self, flying: Collection[str]) -> int:
        """Remove the copies that can be made again, because their originals are still there; return the bytes."""
        freed = self._spool.forget_optimizer(flying)
        for kept in self._all_kept((), flying):
            if kept.spare and not kept.flying and self._drop(kept.row):
                freed += kept.bytes
        return freed

    def _all_kept(self, nameless: Iterable[Row], flying: Collection[str]) -> list[Kept]:
        busy = {*flying, *([self._copying.row.path] if self._copying else [])}
        spooled = self._ledger.spooled_files()
        return [
            *(Kept(row, spare=self.has_original(row), flying=row.path in busy) for row in spooled),
            *(Kept(row, flying=row.path in busy) for row in nameless),
        ]

    def _drop(self, row: Row) -> bool:
        """Remove a copy made ahead, if its original can be held instead: the trainer may delete that at any time."""
        self._grips.take(row.path, row.version.inode)
        if not self._grips.holds(row.path, row.version.inode):
            return False
        self._ledger.spooled(row, None)
        self._spool.discard(row)
        return True

    def _give_up(self, row: Row) -> None:
        reason = "it was deleted before it could be uploaded, and given up because too much was waiting"
        self._ledger.end(row, row.state, State.GONE, reason)
        self._grips.drop(row.path, row.version.inode)
        self._spool.discard(row)
        log.error("given_up", session=self._run.session_id, path=printable(row.path), bytes=row.version.size)
