"""The drain waits while anything moves and gives up exactly when nothing has for DRAIN_SECONDS."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from handler.drain import INTERRUPTED_SECONDS, UPLOADER_SILENCE_SECONDS, Drained, drain, newest_word
from handler.watch import Stop, StopRequest
from shared.contract.session import Phase
from shared.contract.upload import Count, DrainReceipt, Upload, Worker
from shared.layout import worker_file
from tests.unit.handler.made import FakeClock, book, settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from handler.book import Book


class Uploader:
    """An uploader that plays a script, a second at a time: until when bytes move, and until when it beats."""

    def __init__(self, made: Book, clock: FakeClock, root: Path, *, moves: float, beats: float = 1e9) -> None:
        self._book = made
        self._clock = clock
        self._file = worker_file(root, "worker")
        self._file.parent.mkdir(parents=True)
        self._moves, self._beats = moves, beats
        self.answer_at: float | None = None
        self.complete = True

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(max(seconds, 1.0))
        now = self._clock.passed
        receipt = None
        drain_request = self._book.session.drain
        if self.answer_at is not None and now >= self.answer_at and drain_request is not None:
            receipt = DrainReceipt(token=drain_request.token, complete=self.complete)
        uploaded = Count(files=1, bytes=int(min(now, self._moves)))
        moved = int(min(now, self._moves) * 10)
        Upload(worker="worker", moved=moved, uploaded=uploaded, receipt=receipt).write(self._book.folder.upload_file)
        beat = int(min(now, self._beats))
        Worker(worker="worker", pid=1, host="", boot_id="", beat=beat, at=now).write(self._file)


@pytest.fixture
def drained(tmp_path: Path) -> Callable[..., tuple[Drained, float, Book]]:
    def run(
        *,
        moves: float,
        beats: float = 1e9,
        answer_at: float | None = None,
        most_seconds: float | None = None,
        stop: StopRequest | None = None,
    ) -> tuple[Drained, float, Book]:
        clock = FakeClock()
        made = book(tmp_path, clock)
        uploader = Uploader(made, clock, tmp_path, moves=moves, beats=beats)
        uploader.answer_at = answer_at
        known = settings(tmp_path, DRAIN_SECONDS="600")
        result = asyncio.run(drain(made, known, clock, stop or StopRequest(), most_seconds, sleep=uploader.sleep))
        return result, clock.passed, made

    return run


def test_an_answer_with_the_same_token_ends_the_wait(drained: Callable[..., tuple[Drained, float, Book]]) -> None:
    result, seconds, made = drained(moves=5, answer_at=5)
    assert result.complete
    assert seconds == pytest.approx(5, abs=1.5)
    assert made.session.phase is Phase.DRAINING


def test_as_long_as_anything_moves_it_waits(drained: Callable[..., tuple[Drained, float, Book]]) -> None:
    result, seconds, _ = drained(moves=1300, answer_at=1300)
    assert result.complete
    assert seconds == pytest.approx(1300, abs=1.5)


def test_it_gives_up_when_nothing_has_moved_for_drain_seconds(
    drained: Callable[..., tuple[Drained, float, Book]],
) -> None:
    result, seconds, _ = drained(moves=100)
    assert result.receipt is None
    assert not result.uploader_silent
    assert seconds == pytest.approx(700, abs=1.5)


def test_an_uploader_that_stops_beating_ends_the_wait_earlier(
    drained: Callable[..., tuple[Drained, float, Book]],
) -> None:
    result, seconds, _ = drained(moves=10, beats=20)
    assert result.uploader_silent
    assert seconds == pytest.approx(20 + UPLOADER_SILENCE_SECONDS, abs=1.5)


def test_a_limit_ends_it_although_bytes_move(drained: Callable[..., tuple[Drained, float, Book]]) -> None:
    result, seconds, _ = drained(moves=1e9, most_seconds=6)
    assert not result.complete
    assert seconds == pytest.approx(6, abs=1.5)


def test_a_worker_that_has_to_go_waits_a_few_seconds_only(drained: Callable[..., tuple[Drained, float, Book]]) -> None:
    stop = StopRequest()
    stop.ask(Stop.INTERRUPTED)
    for most_seconds, waited in ((None, INTERRUPTED_SECONDS), (60, INTERRUPTED_SECONDS), (3, 3)):
        result, seconds, made = drained(moves=1e9, most_seconds=most_seconds, stop=stop)
        assert result.receipt is None
        assert seconds == pytest.approx(waited, abs=1.5)
        shutil.rmtree(made.folder.path.parent)


def test_a_volume_that_does_not_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = book(tmp_path, FakeClock())

    def stale(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("handler.drain.Upload.read", stale)
    assert newest_word(made.folder) is None


def test_the_answer_to_an_earlier_drain_does_not_count(tmp_path: Path) -> None:
    clock = FakeClock()
    made = book(tmp_path, clock)
    old = DrainReceipt(token="of-another-drain", complete=True)
    Upload(worker="worker", receipt=old).write(made.folder.upload_file)
    result = asyncio.run(drain(made, settings(tmp_path), clock, StopRequest(), 3, sleep=clock.sleep))
    assert result.receipt is None
