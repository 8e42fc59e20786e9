"""The states of a file on its way to the bucket, and the moves between them. Imports nothing."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a settled version of a file stands."""

    READY = "ready"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"


MOVES: dict[State, frozenset[State]] = {
    State.READY: frozenset({State.READY, State.SENDING, State.GONE}),
    State.SENDING: frozenset({State.READY, State.SENDING, State.DELIVERED, State.FAILED, State.GONE}),
    State.DELIVERED: frozenset({State.READY}),
    State.FAILED: frozenset({State.READY, State.GONE}),
    State.GONE: frozenset({State.READY}),
}


class IllegalMoveError(RuntimeError):
    """A defect of the uploader: a file was to go from one state to another that it cannot reach."""


def check(old: State, new: State) -> None:
    """Raise IllegalMoveError unless a file may go from ``old`` to ``new``."""
    if new not in MOVES[old]:
        raise IllegalMoveError(f"a file cannot go from {old} to {new}")
