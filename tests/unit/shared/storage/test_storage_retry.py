from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call


@dataclass
class FakeTime:
    """A clock that moves only when somebody waits."""

    at: float = 0.0
    waits: list[float] = field(default_factory=list)
    stop_at: float | None = None

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.at += seconds
        return self.stop_at is not None and self.at >= self.stop_at


@dataclass
class Failing:
    """Fails as told, once for each error, and then succeeds."""

    errors: list[Exception]
    calls: int = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= len(self.errors):
            raise self.errors[self.calls - 1]
        return "done"


def busy(retry_after: float | None = None) -> StorageError:
    return StorageError(Trouble.BUSY, "x", "y", retry_after=retry_after)


def test_what_succeeds_is_called_once() -> None:
    time, operation = FakeTime(), Failing([])
    assert call(operation, Patience(), clock=time, wait=time.wait) == "done"
    assert (operation.calls, time.waits) == (1, [])


def test_transient_errors_are_tried_again_with_growing_pauses() -> None:
    time, operation = FakeTime(), Failing([busy() for _ in range(9)])
    assert call(operation, Patience(first=1, longest=8), clock=time, wait=time.wait) == "done"
    assert operation.calls == 10
    limits = [1, 2, 4, 8, 8, 8, 8, 8, 8]
    assert all(0 <= pause <= limit for pause, limit in zip(time.waits, limits, strict=True))
    assert len(set(time.waits)) > 1


@pytest.mark.parametrize("error", [StorageError(Trouble.DENIED, "x", "y"), ValueError("defect")])
def test_what_does_not_pass_is_not_tried_again(error: Exception) -> None:
    time, operation = FakeTime(), Failing([error])
    with pytest.raises(type(error)) as caught:
        call(operation, Patience(), clock=time, wait=time.wait)
    assert caught.value is error
    assert (operation.calls, time.waits) == (1, [])


def test_the_servers_wish_is_honoured_beyond_the_longest_pause() -> None:
    time, operation = FakeTime(), Failing([busy(retry_after=100)])
    call(operation, Patience(longest=8), clock=time, wait=time.wait)
    assert time.waits == [100]


def test_attempts_come_to_an_end_with_the_last_error() -> None:
    time, errors = FakeTime(), [busy() for _ in range(5)]
    operation = Failing([*errors])
    with pytest.raises(StorageError) as caught:
        call(operation, Patience(attempts=3), clock=time, wait=time.wait)
    assert caught.value is errors[2]
    assert (operation.calls, len(time.waits)) == (3, 2)


def test_seconds_come_to_an_end_before_a_pause_that_is_too_long() -> None:
    time, operation = FakeTime(), Failing([busy(retry_after=4) for _ in range(9)])
    with pytest.raises(StorageError):
        call(operation, Patience(seconds=10, longest=1), clock=time, wait=time.wait)
    assert time.waits == [4, 4]


def test_time_that_the_calls_themselves_take_counts() -> None:
    time = FakeTime()

    def slow() -> None:
        time.at += 6
        raise busy(retry_after=1)

    with pytest.raises(StorageError):
        call(slow, Patience(seconds=10, longest=1), clock=time, wait=time.wait)
    assert time.at == 13


def test_a_stop_during_a_pause_ends_it_without_another_attempt() -> None:
    time, error = FakeTime(stop_at=5), busy(retry_after=5)
    operation = Failing([error, busy()])
    with pytest.raises(StorageError) as caught:
        call(operation, Patience(), clock=time, wait=time.wait)
    assert caught.value is error
    assert operation.calls == 1


def test_each_error_but_the_last_is_noticed_with_its_pause() -> None:
    time, errors = FakeTime(), [busy(retry_after=50), busy(retry_after=60), StorageError(Trouble.DENIED, "x", "y")]
    noticed: list[tuple[StorageError, float]] = []
    with pytest.raises(StorageError):
        call(
            Failing([*errors]),
            Patience(),
            clock=time,
            wait=time.wait,
            noticed=lambda error, pause: noticed.append((error, pause)),
        )
    assert noticed == [(errors[0], 50), (errors[1], 60)]
