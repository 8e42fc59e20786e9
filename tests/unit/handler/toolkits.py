"""Small toolkits for tests: a folder with a ``run.py`` that behaves as one test needs it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from handler.follow import Follower
from handler.saves import Run
from handler.watch import Report, StopRequest, Watched, watch
from shared.clock import Deadline, SystemClock
from shared.layout import SessionFolder
from shared.settings import HandlerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.contract.process import ProcessIdentity

NAME = "my_lora"
LOGS = Path(__file__).parent / "trainer-logs"
# Longer than any wait of a test should take; only a defect comes near it.
PATIENCE_SECONDS = 60.0


def make_settings(
    toolkit: Path,
    *,
    python: str = sys.executable,
    variables: tuple[str, ...] = (),
    stall_seconds: float = 600,
    max_seconds: float = 0,
) -> HandlerSettings:
    return HandlerSettings(
        toolkit=toolkit,
        python=python,
        trainer_variables=variables,
        stall_seconds=stall_seconds,
        max_seconds=max_seconds,
        drain_seconds=60,
        keep_sessions=3,
    )


def make_toolkit(folder: Path, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.py").write_text(script)
    return folder


def make_session(root: Path, number: int = 1) -> SessionFolder:
    session = SessionFolder(root / f"training_session_{number}")
    session.output.mkdir(parents=True)
    session.config_file.write_text("job: extension\n")
    return session


def make_run(session: SessionFolder, name: str = NAME, trigger: str | None = None) -> Run:
    def exists(path: str) -> bool:
        return (session.output / path).exists()

    return Run(name=name, output=session.output, exists=exists, trigger=trigger)


def make_follower(
    session: SessionFolder, *, fresh: bool = True, console: Callable[[str], None] = lambda _: None
) -> Follower:
    return Follower(session, make_run(session), fresh=fresh, console=console)


async def watched(
    session: SessionFolder,
    root: ProcessIdentity,
    settings: HandlerSettings,
    follower: Follower,
    *,
    stop: StopRequest | None = None,
    report: Callable[[Report], None] = lambda _: None,
) -> Watched:
    return await watch(session, root, follower, settings, stop or StopRequest(), report)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for ``condition``; an error after a minute."""
    deadline = Deadline(SystemClock(), PATIENCE_SECONDS)
    while not condition():
        assert not deadline.passed(), "the condition never came true"
        await asyncio.sleep(0.01)


@contextmanager
def without_end(folder: Path) -> Iterator[None]:
    """Nest more folders in ``folder`` than Python calls itself, while the block lasts."""
    nested = [folder := folder / "d" for _ in range(1200)]
    for each in nested:
        os.mkdir(each)  # noqa: PTH102 - a path of so many parts is slow enough
    try:
        yield
    finally:
        for each in reversed(nested):
            with suppress(FileNotFoundError):
                os.rmdir(each)  # noqa: PTH106 - see above
