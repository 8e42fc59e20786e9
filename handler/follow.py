"""Follows ``trainer.out``: its lines go to ``training.log``, and what they tell becomes the state of the run.

Where reading stands is noted beside the output (``training.log.json``), with the log's length and the run's state. What
is written depends only on what is read, so after a kill at any point the lines since the last note come out again as
they were, and those that the log already holds are skipped: none is repeated, none is lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from handler.bar import parse_bar, part
from handler.blot import Blot
from handler.console import Line, LineReader
from handler.log_file import LogFile, to_stdout
from handler.progress import State, advance
from handler.thinning import Thinning, flush, thin
from shared.clock import Clock, SystemClock
from shared.contract.document import Document
from shared.patience import patiently
from shared.secrecy import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from handler.saves import Run
    from shared.layout import SessionFolder

# So much is dealt with in about a tenth of a second.
CHUNK_BYTES = 1 << 18
# A note costs two fsyncs; without it a restarted handler only reads a little more again.
NOTE_SECONDS = 5.0


class Position(Document):
    """``training.log.json``: ``offset`` bytes of ``trainer.out`` are dealt with, and the log was ``length`` bytes then.

    ``begun``: the log's length when this trainer started; what is before belongs to earlier ones.
    """

    offset: int = 0
    length: int = 0
    begun: int = 0
    after_return: bool = False
    thinning: Thinning = Thinning()
    state: State = State()


def position_file(session: SessionFolder) -> Path:
    """Return where a session's reading position is noted."""
    return session.path / "training.log.json"


class Follower:
    """The output of one session, followed. ``fresh``: a trainer is about to be started; else one is taken over.

    A log that is there before the session's first trainer, as one that a run brought with it, is carried on.
    """

    def __init__(
        self,
        session: SessionFolder,
        run: Run,
        *,
        fresh: bool,
        console: Callable[[str], None] = to_stdout,
        secrets: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self._session = session
        self._run = run
        self._secrets = frozenset(secrets)
        self._blot = Blot(session.trainer_output, self._secrets)
        self._clock = clock or SystemClock()
        self._noted = self._clock.monotonic()
        log = session.training_log
        position = patiently(lambda: Position.read(position_file(session)) or _at_the_end_of(log))
        self._offset = position.offset if position.offset <= patiently(lambda: _size(session.trainer_output)) else 0
        self._reader = LineReader(after_return=position.after_return)
        self._thinning = position.thinning
        self._state = position.state
        self._log = LogFile(log, length=position.length, begun=position.begun, console=console, secrets=self._secrets)
        if fresh:
            self._begin()

    @property
    def state(self) -> State:
        """Return what the output has told, the bar that is just being drawn included."""
        drawn = self._reader.pending()
        if drawn is None or parse_bar(drawn.text) is None:
            return self._state
        return advance(self._state, drawn, self._run, self._clock.now())

    @property
    def tail(self) -> tuple[str, ...]:
        """Return the newest lines of this trainer's log, masked, at most 200."""
        return self._log.tail

    def read(self) -> bool:
        """Deal with some of the new output, 256 KiB at most; return whether there was any."""
        data = self._next_bytes()
        saved = self._state.saved
        self._take(self._reader.feed(data) if data else [])
        if data and (self._state.saved != saved or self._clock.monotonic() - self._noted >= NOTE_SECONDS):
            self._write_note()
        return bool(data)

    def finish(self) -> None:
        """Deal with all that is left, a last line without an end included. The trainer must be gone."""
        while self.read():
            pass
        self._take(self._reader.finish())
        self._thinning, held = flush(self._thinning)
        self._log.add(held)
        self._write_note()

    def _begin(self) -> None:
        self.finish()
        self._state = State()
        self._thinning = Thinning()
        self._log.begin()
        self._write_note()

    def _take(self, lines: Iterable[Line]) -> None:
        shown: list[str] = []
        for line in _parted(self._masked(raw) for raw in lines):
            self._state = advance(self._state, line, self._run, self._clock.now())
            self._thinning, texts = thin(self._thinning, line)
            shown += texts
        self._log.add(shown)

    def _masked(self, line: Line) -> Line:
        """Return the line without secrets. Before anything is remembered of it: what is held back is on the disk."""
        return Line(mask(line.text, self._secrets), redraw=line.redraw)

    def _next_bytes(self) -> bytes:
        try:
            with self._session.trainer_output.open("rb") as file:
                start = self._offset + self._reader.fed
                file.seek(start)
                return self._blot.out(file.read(CHUNK_BYTES), start)
        except OSError:
            return b""  # Not there yet, or the volume does not answer: the next look tells.

    def _write_note(self) -> None:
        self._noted = self._clock.monotonic()
        if not self._log.settled:
            return
        note = Position(
            offset=self._offset + self._reader.consumed,
            length=self._log.length,
            begun=self._log.begun,
            after_return=self._reader.after_return,
            thinning=self._thinning,
            state=self._state,
        )
        with suppress(OSError):  # A full disk must not end the supervision; the older note still holds.
            note.write(position_file(self._session))


def _parted(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the lines, with what stands right behind a bar in a line of its own."""
    for line in lines:
        bar, rest = part(line.text)
        if bar:
            yield Line(bar, redraw=line.redraw)
        if rest or not bar:
            yield Line(rest, redraw=line.redraw and not bar)


def _at_the_end_of(log: Path) -> Position:
    return Position(length=_size(log), begun=_size(log))


def _size(path: Path) -> int:
    """Return how long a file is, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
