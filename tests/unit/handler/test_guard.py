"""The container ends when the handler is FATAL and nothing trains, and only then."""

from __future__ import annotations

from xmlrpc.client import Fault

import pytest

from handler.guard import Guard, _state


@pytest.mark.parametrize(
    ("state", "trains", "ends"),
    [("FATAL", False, 1), ("FATAL", True, 0), ("RUNNING", False, 0), ("BACKOFF", False, 0), ("", False, 0)],
)
def test_it_ends_an_idle_container_only(state: str, trains: bool, ends: int) -> None:
    ended: list[None] = []
    Guard(lambda: state, lambda: trains, lambda: ended.append(None)).look()
    assert len(ended) == ends


def test_a_handler_that_somebody_started_again_and_a_trainer_that_ends_later() -> None:
    states, trainers, ended = ["FATAL", "RUNNING", "FATAL", "FATAL"], [True, True, False], list[None]()
    guard = Guard(lambda: states.pop(0), lambda: trainers.pop(0), lambda: ended.append(None))
    counts = []
    for _ in range(4):
        guard.look()
        counts.append(len(ended))
    assert counts == [0, 0, 0, 1]


class Supervisor:
    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def getProcessInfo(self, name: str) -> dict[str, str]:  # noqa: N802 - supervisord's own name
        if self._error is not None:
            raise self._error
        return {"name": name, "statename": "FATAL"}


def test_a_supervisord_that_is_being_shut_down_is_not_taken_for_a_failed_handler() -> None:
    assert _state(Supervisor(None)) == "FATAL"  # type: ignore[arg-type]  # stands in for the proxy
    for error in (Fault(6, "SHUTDOWN_STATE"), ConnectionRefusedError()):
        assert _state(Supervisor(error)) == ""  # type: ignore[arg-type]  # stands in for the proxy
