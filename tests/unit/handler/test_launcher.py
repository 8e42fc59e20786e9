"""The launcher starts quickly, weighs little, and writes down how the trainer ended in the contract's format."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from handler.launcher import CANNOT_START, Launcher, note, write_exit
from handler.trainer import PROJECT
from shared.contract.trainer_exit import TrainerExit

if TYPE_CHECKING:
    from pathlib import Path

LAUNCHER = [sys.executable, "-ESs", "-m", "handler.launcher"]


def launch(tmp_path: Path, code: str, **options: object) -> TrainerExit:
    exit_file = tmp_path / "trainer.exit"
    subprocess.run([*LAUNCHER, exit_file, tmp_path, sys.executable, "-c", code], cwd=PROJECT, check=True)
    ended = TrainerExit.read(exit_file)
    assert ended is not None
    return ended


def test_the_file_is_what_the_contract_says(tmp_path: Path) -> None:
    path = tmp_path / "trainer.exit"
    write_exit(path, -9, 12.5)
    assert TrainerExit.read(path) == TrainerExit(code=-9, at=12.5)
    assert json.loads(path.read_bytes()) == json.loads(TrainerExit(code=-9, at=12.5).dump())


@pytest.mark.parametrize(
    ("code", "ended"),
    [("", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9), ("raise ValueError", 1)],
)
def test_exit_codes_and_signals(tmp_path: Path, code: str, ended: int) -> None:
    assert launch(tmp_path, code).code == ended


def test_a_command_that_is_not_there_is_said_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    assert Launcher(str(tmp_path), ["/no/such/program"]).run() == CANNOT_START
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert "cannot be started" in capfd.readouterr().err


WAITING = "import signal, sys; print('ready', flush=True); signal.pause()"


@pytest.mark.parametrize(("sent", "ended"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)])
def test_a_polite_signal_reaches_the_trainer_even_when_it_is_ignored_from_outside(
    tmp_path: Path, sent: signal.Signals, ended: int
) -> None:
    exit_file = tmp_path / "trainer.exit"

    def ignore() -> None:
        signal.signal(sent, signal.SIG_IGN)

    with subprocess.Popen(
        [*LAUNCHER, exit_file, tmp_path, sys.executable, "-c", WAITING],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        preexec_fn=ignore,  # noqa: PLW1509 - no other thread is alive in this test
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        launcher.send_signal(signal.SIGHUP)
        launcher.send_signal(sent)
        launcher.wait()
    assert TrainerExit.read(exit_file) == TrainerExit.parse(exit_file.read_bytes())
    ended_as = TrainerExit.read(exit_file)
    assert ended_as is not None
    assert ended_as.code == ended


def test_it_imports_no_library(tmp_path: Path) -> None:
    code = "import sys, handler.launcher; print(sorted({'pydantic', 'psutil', 'asyncio'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


def test_a_full_disk_leaves_a_line_and_no_half_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    exit_file = tmp_path / "absent" / "trainer.exit"
    done = subprocess.run([*LAUNCHER, exit_file, tmp_path, sys.executable, "-c", ""], cwd=PROJECT, env=dict(os.environ))
    assert done.returncode == 0
    assert "cannot be written" in capfd.readouterr().err


@pytest.mark.parametrize("times", [1, 59])
def test_an_exit_code_that_the_disk_does_not_take_is_written_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    path, slept = tmp_path / "trainer.exit", list[float]()

    def refused(*arguments: Any) -> None:
        if len(slept) < times:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_exit(*arguments)

    monkeypatch.setattr("handler.launcher.write_exit", refused)
    note(path, 7, slept.append)
    ended = TrainerExit.read(path)
    assert ended is not None
    assert (ended.code, len(slept)) == (7, times)


def test_a_disk_that_takes_no_exit_code_for_a_minute_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("handler.launcher.write_exit", refused)
    slept = list[float]()
    note(tmp_path / "trainer.exit", 7, slept.append)
    assert sum(slept) == 59
    assert "cannot be written: [Errno 28] No space left on device" in capfd.readouterr().err
