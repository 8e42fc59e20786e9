"""A training is watched to its end, whoever started it, and ended with all its processes when there is a reason."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import handler.tree
import handler.watch
from handler.drain import INTERRUPTED_SECONDS
from handler.eventually import eventually
from handler.follow import position_file
from handler.stop import HURRIED_SECONDS
from handler.trainer import PROJECT, live_trainers, start
from handler.watch import Report, Stop, StopRequest, Watched, watch
from shared.clock import Clock, Deadline, SystemClock
from shared.contract.session import Phase
from shared.layout import SessionFolder
from tests.unit.handler.toolkits import (
    make_follower,
    make_session,
    make_settings,
    make_toolkit,
    until,
    watched,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.contract.process import ProcessIdentity
    from shared.settings import HandlerSettings

BAR = r"\rmy_lora:  25%|##| {} /40 [00:10<00:30,  2.00s/it, lr: 1.0e-04 loss: 5.000e-01]".replace(" /", "/")
# Does a step for each line of the file that the test writes, so that the test decides how far it is.
STEPS = f"""
import pathlib, sys, time
gate = pathlib.Path(sys.argv[1]).parent / "gate"
done = 0
while done < 4:
    allowed = int(gate.read_text() or 0) if gate.exists() else 0
    for step in range(done, allowed):
        print(f"{BAR.format("{step + 1}")}", end="", file=sys.stderr, flush=True)
        print(f"\\nline {{step + 1}}", flush=True)
    done = max(done, allowed)
    time.sleep(0.01)
"""
HANGS = "print('ready', flush=True)\nimport signal\nsignal.pause()"
STUBBORN = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready', flush=True)\nsignal.pause()"
# RunPod's are about ten, and the answer is still to be posted.
GRACE_SECONDS = 9.0
SPEAKS = "import time\nwhile True:\n    print('still here', flush=True)\n    time.sleep(0.01)"
WORKS = "print('ready', flush=True)\nwhile True: pass"


def begin(
    session: SessionFolder, script: str, *, stall_seconds: float = 600, max_seconds: float = 0
) -> tuple[HandlerSettings, ProcessIdentity]:
    toolkit = make_toolkit(session.path.parent / "toolkit", script)
    settings = make_settings(toolkit, stall_seconds=stall_seconds, max_seconds=max_seconds)
    return settings, start(session, settings, os.environ)


@pytest.fixture(autouse=True)
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.watch, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(handler.watch, "USAGE_SECONDS", 0.1)


def open_gate(session: SessionFolder, steps: int) -> None:
    (session.path / "new").write_text(str(steps))
    (session.path / "new").replace(session.path / "gate")


def is_at(reports: list[Report], step: int) -> bool:
    return bool(reports) and reports[-1].state.progress.step == step


def is_said(session: SessionFolder, text: str) -> bool:
    return session.trainer_output.exists() and text in session.trainer_output.read_text()


def test_a_training_is_reported_while_it_goes_on_and_judged_at_its_end(tmp_path: Path) -> None:
    session, reports = make_session(tmp_path), list[Report]()
    follower = make_follower(session)
    settings, root = begin(session, STEPS)

    async def scenario() -> Watched:
        watching = asyncio.create_task(watched(session, root, settings, follower, report=reports.append))
        await until(lambda: bool(reports) and reports[-1].usage.processes == 2)
        for step in (1, 2, 4):
            open_gate(session, step)
            await until(partial(is_at, reports, step))
        return await watching

    result = asyncio.run(scenario())
    assert (result.stopped, result.exit_code, result.clean) == (None, 0, True)
    assert result.state.phase is Phase.TRAINING
    assert reports[-1].state == result.state
    assert [line for line in result.tail if line.startswith("line")] == ["line 1", "line 2", "line 3", "line 4"]


@pytest.mark.parametrize("script", [HANGS, WORKS])
def test_a_wish_ends_the_training_and_the_first_reason_counts(tmp_path: Path, script: str) -> None:
    session = make_session(tmp_path)
    follower = make_follower(session)
    settings, root = begin(session, script)

    async def scenario() -> Watched:
        stop = StopRequest()
        watching = asyncio.create_task(watched(session, root, settings, follower, stop=stop))
        await until(lambda: is_said(session, "ready"))
        stop.ask(Stop.CANCELLED)
        stop.ask(Stop.INTERRUPTED)
        return await watching

    result = asyncio.run(scenario())
    assert (result.stopped, result.exit_code, result.clean) == (Stop.CANCELLED, -signal.SIGINT, True)
    assert result.tail[0] == "ready"


class Counted(Deadline):
    """Counts the seconds that are granted, and grants a tenth of them."""

    seconds = 0.0

    def __init__(self, clock: Clock, seconds: float) -> None:
        Counted.seconds += seconds
        super().__init__(clock, seconds / 10)


@pytest.mark.guarantee("every-wait-ends", fault="RunPod ends the worker, and the trainer ignores SIGINT")
def test_the_end_of_a_stubborn_trainer_and_the_drain_fit_into_what_runpod_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler.tree, "Deadline", Counted)
    session = make_session(tmp_path)
    follower = make_follower(session)
    settings, root = begin(session, STUBBORN)

    async def scenario() -> Watched:
        stop = StopRequest()
        watching = asyncio.create_task(watched(session, root, settings, follower, stop=stop))
        await until(lambda: is_said(session, "ready"))
        Counted.seconds = 0.0
        stop.ask(Stop.INTERRUPTED)
        return await watching

    result = asyncio.run(scenario())
    assert (result.stopped, result.clean) == (Stop.INTERRUPTED, True)
    assert 0 < Counted.seconds <= HURRIED_SECONDS
    assert HURRIED_SECONDS + INTERRUPTED_SECONDS <= GRACE_SECONDS


def test_a_cancelled_watch_ends_the_training_and_stays_cancelled(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    follower = make_follower(session)
    settings, root = begin(session, HANGS)

    async def scenario() -> None:
        watching = asyncio.create_task(watched(session, root, settings, follower))
        await until(lambda: is_said(session, "ready"))
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    asyncio.run(scenario())
    assert session.path not in dict(live_trainers())
    assert session.trainer_exit.exists()


def test_a_trainer_that_neither_speaks_nor_works_has_stalled(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    follower = make_follower(session)
    settings, root = begin(session, HANGS, stall_seconds=1)
    result = asyncio.run(watched(session, root, settings, follower))
    assert (result.stopped, result.clean) == (Stop.STALLED, True)


def test_a_trainer_that_works_silently_has_not_stalled_but_is_late_at_last(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    follower = make_follower(session)
    settings, root = begin(session, WORKS, stall_seconds=1, max_seconds=3)
    result = asyncio.run(watched(session, root, settings, follower))
    assert (result.stopped, result.clean) == (Stop.TIMED_OUT, True)


class LaterClock(SystemClock):
    """Hours after the trainer's start."""

    def now(self) -> float:
        return super().now() + 10_000


def test_the_time_before_a_take_over_counts(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    settings, root = begin(session, HANGS, max_seconds=5_000)
    follower = make_follower(session, fresh=False)
    result = asyncio.run(
        watch(session, root, follower, settings, StopRequest(), list[Report]().append, clock=LaterClock())
    )
    assert result.stopped is Stop.TIMED_OUT


# A handler of its own, which the test kills.
HANDLER = """
import asyncio, os, sys
from pathlib import Path
from handler.trainer import start
from shared.layout import SessionFolder
from tests.unit.handler.toolkits import make_follower, make_settings, watched

session, settings = SessionFolder(Path(sys.argv[1])), make_settings(Path(sys.argv[2]))
follower = make_follower(session, console=lambda line: print(line, flush=True))
root = start(session, settings, os.environ)
asyncio.run(watched(session, root, settings, follower))
"""


def test_a_killed_handler_leaves_a_training_that_the_next_one_takes_over(tmp_path: Path) -> None:
    session, printed = make_session(tmp_path), list[str]()
    toolkit = make_toolkit(tmp_path / "toolkit", STEPS)
    first = subprocess.Popen(
        [sys.executable, "-c", HANDLER, session.path, toolkit], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )

    async def scenario() -> Watched:
        open_gate(session, 2)
        await until(lambda: session.training_log.exists() and "line 2" in session.training_log.read_text())
        first.kill()
        printed.extend(first.communicate()[0].splitlines())
        open_gate(session, 3)
        await until(lambda: is_said(session, "line 3"))
        ((folder, root),) = [found for found in live_trainers() if found[0] == session.path]
        follower = make_follower(SessionFolder(folder), fresh=False, console=printed.append)
        watching = asyncio.create_task(watched(session, root, make_settings(toolkit), follower))
        open_gate(session, 4)
        return await watching

    result = asyncio.run(scenario())
    assert (result.stopped, result.exit_code, result.clean) == (None, 0, True)
    assert result.state.progress.step == 4
    said = [line for line in session.training_log.read_text().splitlines() if line.startswith("line")]
    assert said == ["line 1", "line 2", "line 3", "line 4"]
    assert printed == session.training_log.read_text().splitlines()
    assert position_file(session).exists()


def test_a_trainer_that_ended_while_nobody_watched_is_read_to_its_end(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    settings, root = begin(session, "print('last words', end='')\nraise SystemExit(3)")
    asyncio.run(until(session.trainer_exit.exists))
    result = asyncio.run(watched(session, root, settings, make_follower(session, fresh=False)))
    assert (result.exit_code, result.oom_kills, result.tail) == (3, None, ("last words",))


def test_a_killed_launcher_costs_the_exit_code_and_nothing_else(tmp_path: Path) -> None:
    session, reports = make_session(tmp_path), list[Report]()
    follower = make_follower(session)
    settings, root = begin(session, STEPS)

    async def scenario() -> Watched:
        watching = asyncio.create_task(watched(session, root, settings, follower, report=reports.append))
        await until(lambda: any(report.usage.processes == 2 for report in reports))
        os.kill(root.pid, signal.SIGKILL)
        open_gate(session, 3)
        await until(partial(is_at, reports, 3))
        open_gate(session, 4)
        return await watching

    result = asyncio.run(scenario())
    assert (result.stopped, result.exit_code, result.state.progress.step) == (None, None, 4)


def test_who_still_writes_for_a_trainer_that_is_gone_does_not_keep_it_alive(tmp_path: Path) -> None:
    session, reports = make_session(tmp_path), list[Report]()
    follower = make_follower(session)
    settings, root = begin(session, f"import os\nif os.fork():\n    import signal; signal.pause()\n{SPEAKS}")

    async def scenario() -> Watched:
        watching = asyncio.create_task(watched(session, root, settings, follower, report=reports.append))
        await until(lambda: bool(reports) and reports[-1].usage.processes == 3)
        trainers = [process.pid for process in psutil.process_iter() if process.ppid() == root.pid]
        for each in (root.pid, *trainers):
            os.kill(each, signal.SIGKILL)
        return await watching

    result = asyncio.run(scenario())
    assert (result.stopped, result.exit_code, result.clean) == (None, None, True)


class Stuttering:
    """A volume that answers what is asked of ``trainer.exit`` with an error each time, or so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.times = times
        for owner, name in ((Path, "exists"), (Path, "read_bytes")):
            monkeypatch.setattr(owner, name, self.instead_of(getattr(owner, name)))

    def instead_of(self, real: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def ask(path: Path) -> Any:
            if path.name == "trainer.exit" and self.times > 0:
                self.times -= 1
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return real(path)

        return ask


@pytest.mark.guarantee("undisturbed", fault="the volume answers with a stale handle while the training is watched")
def test_a_volume_that_stutters_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, reports = make_session(tmp_path), list[Report]()
    follower = make_follower(session)
    settings, root = begin(session, STEPS)
    monkeypatch.setattr("handler.eventually.PAUSE_SECONDS", 0.01)

    def report(said: Report) -> None:
        reports.append(said)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def scenario() -> Watched:
        watching = asyncio.create_task(watched(session, root, settings, follower, report=report))
        await until(lambda: bool(reports))
        for step in (1, 4):
            Stuttering(monkeypatch, times=2)
            open_gate(session, step)
            await until(partial(is_at, reports, step))
        return await watching

    result = asyncio.run(scenario())
    assert (result.stopped, result.exit_code, result.clean) == (None, 0, True)


def test_an_exit_code_that_the_volume_does_not_give_back_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(tmp_path)
    follower = make_follower(session)
    settings, root = begin(session, "pass")
    monkeypatch.setattr(handler.watch, "eventually", partial(eventually, seconds=0))
    Stuttering(monkeypatch, times=1_000_000)
    result = asyncio.run(watched(session, root, settings, follower))
    assert (result.exit_code, result.clean) == (None, True)
