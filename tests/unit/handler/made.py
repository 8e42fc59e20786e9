"""What the handler's tests make again and again: a clock that only moves when told, a session, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handler.book import Book
from shared.contract.process import identify
from shared.contract.session import Ending, Outcome, Session
from shared.layout import SessionFolder
from shared.settings import Settings, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from shared.errors import ErrorCode

NOW = 1_700_000_000.0


class FakeClock:
    """Both clocks, moved by hand or by sleeping."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return NOW + self.passed

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


def settings(root: Path, **environ: str) -> Settings:
    """Return settings for a worker called "worker" below ``root``."""
    known = {
        "SUPABASE_URL": "http://127.0.0.1:1",
        "SUPABASE_SERVICE_KEY": "service-key-of-the-test",
        "TRAINING_ROOT": str(root),
        "RUNPOD_POD_ID": "worker",
    }
    return read_settings({**known, **environ}, serverless_volume=root / "no-volume")


def folder(root: Path, name: str = "training_session_1") -> SessionFolder:
    """Return a session's folder that exists."""
    made = SessionFolder(root / name)
    made.output.mkdir(parents=True)
    return made


def session(made: SessionFolder, **changes: object) -> Session:
    """Return a session of this process."""
    known = Session(
        session_id=made.session_id,
        worker="worker",
        handler=identify(),
        input_hash="hash",
        model_name="cats",
        name="cats",
        bucket="outputs",
        prefix="run/cats",
        created_at=NOW,
    )
    return known.model_copy(update=changes)


def book(root: Path, clock: FakeClock, **changes: object) -> Book:
    """Return the book of a session below ``root``."""
    made = folder(root)
    return Book(made, session(made, **changes), clock)


def ending(outcome: Outcome = Outcome.FINISHED, code: ErrorCode | None = None, error: str | None = None) -> Ending:
    """Return how a run ended."""
    return Ending(outcome=outcome, by_itself=True, error_code=code, error=error, at=NOW)
