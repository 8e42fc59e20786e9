"""The drain waits while anything moves and gives up exactly when nothing has for DRAIN_SECONDS."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from handler.answer import Finished, answer
from handler.drain import INTERRUPTED_SECONDS, UPLOADER_SILENCE_SECONDS, Drained, drain, newest_word
from handler.watch import Stop, StopRequest
from shared.contract.session import Phase
from shared.contract.upload import Count, DrainReceipt, Failure, Upload, Worker
from shared.errors import ErrorCode
from shared.layout import worker_file
from tests.unit.handler.made import FakeClock, book, ending, settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from handler.book import Book

DRAIN_SECONDS = 600.0
# The handler looks this often.
LOOK_SECONDS = 0.1

MOVED = [
    pytest.param(lambda word: {"moved": word.moved + 1}, id="one byte reached Storage"),
    pytest.param(
        lambda word: {"uploaded": Count(files=word.uploaded.files + 1)}, id="a file turned out to be there already"
    ),
    pytest.param(lambda word: {"failed": Count(files=word.failed.files + 1)}, id="a file was given up"),
]
STOOD = [
    pytest.param(lambda word: {"beat": word.beat + 1}, id="the uploader is alive"),
    pytest.param(lambda word: {"retries": word.retries + 1}, id="it tries again"),
    pytest.param(lambda word: {"in_flight": (f"{word.beat}.bin",)}, id="another file has its turn"),
    pytest.param(lambda word: {"lag_seconds": word.lag_seconds + 1}, id="it has waited longer"),
]


@dataclass
class Uploader:
    """An uploader that plays a script: what it says, and at which second. It beats for ``beats`` seconds."""

    made: Book
    clock: FakeClock
    root: Path
    script: dict[float, Callable[[Upload], dict[str, object]]] = field(default_factory=dict)
    beats: float = 1e9
    _word: Upload = field(default_factory=lambda: Upload(worker="worker"))
    _beat: int = -1

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        for due in [moment for moment in sorted(self.script) if moment <= self.clock.passed]:
            self._word = self._word.model_copy(update=self.script.pop(due)(self._word))
            self._word.write(self.made.folder.upload_file)
        self._live()

    def _live(self) -> None:
        beat = int(min(self.clock.passed, self.beats) // 5)
        if beat != self._beat:
            self._beat = beat
            file = worker_file(self.root, "worker")
            file.parent.mkdir(parents=True, exist_ok=True)
            Worker(worker="worker", pid=1, host="", boot_id="", beat=beat, at=self.clock.passed).write(file)

    def answers(
        self, *, complete: bool = True, missing: tuple[Failure, ...] = ()
    ) -> Callable[[Upload], dict[str, object]]:
        """Return the answer to the drain that has been asked for."""

        def receipt(_: Upload) -> dict[str, object]:
            asked = self.made.session.drain
            assert asked is not None
            return {"receipt": DrainReceipt(token=asked.token, complete=complete, missing=missing)}

        return receipt


class Bench:
    """One drain on a clock of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.made = book(root, self.clock)
        self.uploader = Uploader(self.made, self.clock, root)
        self.stop = StopRequest()

    def run(self, most_seconds: float | None = None) -> tuple[Drained, float]:
        """Return what came of it, and how many seconds it took."""
        known = settings(self.root, DRAIN_SECONDS=str(int(DRAIN_SECONDS)))
        waiting = drain(self.made, known, self.clock, self.stop, most_seconds, sleep=self.uploader.sleep)
        return asyncio.run(waiting), self.clock.passed


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def moves(word: Upload) -> dict[str, object]:
    return {"moved": word.moved + 1}


def just_after(seconds: float) -> object:
    """Return what a look soon after ``seconds`` is equal to: never before."""
    return pytest.approx(seconds + LOOK_SECONDS, abs=LOOK_SECONDS + 1e-6)


def test_an_answer_with_the_same_token_ends_the_wait(bench: Bench) -> None:
    bench.uploader.script = {3.0: moves, 5.0: bench.uploader.answers()}
    result, seconds = bench.run()
    assert result.complete
    assert seconds == just_after(5)
    assert bench.made.session.phase is Phase.DRAINING


@pytest.mark.guarantee("every-wait-ends", fault="nothing moves any more while the handler waits for the uploads")
@pytest.mark.parametrize("change", MOVED)
def test_it_is_given_up_exactly_drain_seconds_after_the_last_movement(
    bench: Bench, change: Callable[[Upload], dict[str, object]]
) -> None:
    bench.uploader.script = {0.5: moves, 100.0: change}
    result, seconds = bench.run()
    assert (result.receipt, result.uploader_silent) == (None, False)
    assert seconds == just_after(100 + DRAIN_SECONDS)


@pytest.mark.guarantee("every-wait-ends", fault="the uploader shows signs of life, but nothing reaches Storage")
@pytest.mark.parametrize("change", STOOD)
def test_what_is_no_movement_does_not_prolong_the_wait(
    bench: Bench, change: Callable[[Upload], dict[str, object]]
) -> None:
    bench.uploader.script = {0.5: moves, **{float(second): change for second in range(100, 1000, 100)}}
    result, seconds = bench.run()
    assert result.receipt is None
    assert seconds == just_after(0.5 + DRAIN_SECONDS)


@pytest.mark.guarantee("nothing-lost", fault="Storage is so slow that a byte moves only now and then")
def test_as_long_as_anything_moves_it_waits(bench: Bench) -> None:
    last = 0.0
    for _ in range(8):
        last += DRAIN_SECONDS - 1
        bench.uploader.script[last] = moves
    bench.uploader.script[last + DRAIN_SECONDS - 1] = bench.uploader.answers()
    result, seconds = bench.run()
    assert result.complete
    assert seconds == just_after(last + DRAIN_SECONDS - 1)


@pytest.mark.guarantee("told", fault="the waiting for the uploads is given up")
def test_the_answer_to_a_job_whose_drain_was_given_up_lists_what_is_missing(bench: Bench) -> None:
    left = (
        Failure(path="cats/cats_000000004.safetensors", reason="it has not been uploaded yet", permanent=False),
        Failure(path="cats/samples/a.png", reason="Storage takes no file of this type.", permanent=True),
    )
    counts = {"pending": Count(files=1, bytes=9), "failed": Count(files=1, bytes=9)}
    bench.uploader.script = {1.0: lambda _: {"failures": left, **counts}}
    result, _ = bench.run()
    told = answer(Finished(bench.made.session, ending(), result, "/out/cats", (), 1.0, ()))
    assert told["success"] is False
    assert told["error_code"] == ErrorCode.UPLOAD_INCOMPLETE
    assert [entry["path"] for entry in told["missing"]] == [failure.path for failure in left]
    assert all(entry["reason"] for entry in told["missing"])
    assert "2 files had not been uploaded when the waiting was given up" in told["error"]
    assert "the uploader goes on with them" in told["error"]


@pytest.mark.guarantee("told", fault="Storage refuses a file for good")
def test_an_answered_drain_lists_what_is_missing_too(bench: Bench) -> None:
    left = (Failure(path="a.bin", reason="Storage takes no file of that size.", permanent=True),)
    bench.uploader.script = {1.0: bench.uploader.answers(complete=False, missing=left)}
    result, seconds = bench.run()
    told = answer(Finished(bench.made.session, ending(), result, "/out/cats", (), 1.0, ()))
    assert not result.complete
    assert seconds == just_after(1)
    assert told["missing"] == [{"path": "a.bin", "reason": "Storage takes no file of that size."}]


@pytest.mark.guarantee("every-wait-ends", fault="the uploader dies and does not come back")
def test_an_uploader_that_stops_beating_ends_the_wait_earlier(bench: Bench) -> None:
    bench.uploader.script, bench.uploader.beats = {10.0: moves}, 20.0
    result, seconds = bench.run()
    assert result.uploader_silent
    assert seconds == just_after(20 + UPLOADER_SILENCE_SECONDS)


@pytest.mark.guarantee("every-wait-ends", fault="another run takes the prefix while the handler waits for the uploads")
def test_an_uploader_that_may_not_write_there_any_more_ends_the_wait_at_once(bench: Bench) -> None:
    bench.uploader.script = {10.0: lambda _: {"refused": ErrorCode.PREFIX_IN_USE, "refusal": "Another run writes."}}
    result, seconds = bench.run()
    assert (result.receipt, result.uploader_silent) == (None, False)
    assert seconds == just_after(10)


@pytest.mark.guarantee(
    "every-wait-ends", fault="another worker takes the session while the handler waits for the uploads"
)
def test_a_session_that_is_another_workers_by_now_is_not_waited_for(bench: Bench) -> None:
    def taken(_: Upload) -> dict[str, object]:
        bench.made.lost = True
        return {}

    bench.uploader.script = {10.0: taken}
    result, seconds = bench.run()
    assert result.receipt is None
    assert seconds == just_after(10)


def test_a_limit_ends_it_although_bytes_move(bench: Bench) -> None:
    bench.uploader.script = {float(second): moves for second in range(1, 60)}
    result, seconds = bench.run(6)
    assert not result.complete
    assert seconds == just_after(6)


@pytest.mark.parametrize(
    ("most_seconds", "waited"), [(None, INTERRUPTED_SECONDS), (60.0, INTERRUPTED_SECONDS), (3.0, 3.0)]
)
def test_a_worker_that_has_to_go_waits_a_few_seconds_only(
    bench: Bench, most_seconds: float | None, waited: float
) -> None:
    bench.stop.ask(Stop.INTERRUPTED)
    bench.uploader.script = {float(second): moves for second in range(1, 60)}
    result, seconds = bench.run(most_seconds)
    assert result.receipt is None
    assert seconds == just_after(waited)


def test_a_volume_that_does_not_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = book(tmp_path, FakeClock())

    def stale(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("handler.drain.Upload.read", stale)
    assert newest_word(made.folder) is None


def test_the_answer_to_an_earlier_drain_does_not_count(bench: Bench) -> None:
    old = DrainReceipt(token="of-another-drain", complete=True)
    bench.uploader.script = {1.0: lambda _: {"receipt": old}}
    result, seconds = bench.run(3)
    assert result.receipt is None
    assert seconds == just_after(3)


@pytest.mark.guarantee("every-wait-ends", fault="Storage takes the same file again and again and never has it")
def test_what_is_sent_again_and_again_in_vain_is_no_movement(bench: Bench) -> None:
    bench.uploader.script = {
        float(second): lambda word: {"moved": word.moved + 50, "pending": Count(files=1, bytes=100)}
        for second in range(10, 20_000, 10)
    }
    result, seconds = bench.run()
    assert result.receipt is None
    assert seconds <= 100 + DRAIN_SECONDS
