"""The container's own supervisord.conf: what is killed comes back, and a worker that cannot work ends."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import psutil
import pytest

from handler.trainer import LAUNCHER
from shared.contract.session import Outcome, Phase
from tests.scenario.stack import Stack, end, job, until
from tests.scenario.supervised import supervised

PROGRAMS = ("uploader", "handler", "guard")
# A container sees no processes but its own. With it the guard sees no trainer of another test either.
CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
CAN_CONTAIN = shutil.which(CONTAINER[0]) is not None and subprocess.run([*CONTAINER, "true"]).returncode == 0


def test_each_program_comes_back_and_at_the_end_the_handler_goes_before_the_uploader(tmp_path: Path) -> None:
    with supervised(tmp_path) as worker:
        before = {program: worker.up(program) for program in PROGRAMS}
        until(lambda: worker.log().count("handler ready") == 1, "the handler")
        for pid in before.values():
            psutil.Process(pid).kill()
        after = {program: worker.up(program, before[program]) for program in PROGRAMS}
        until(lambda: worker.log().count("handler ready") == 2, "the handler again, ready for jobs")
        beat = until(lambda: worker.beat_of(after["uploader"]), "the new uploader's beat")
        until(lambda: worker.beat_of(after["uploader"]) > beat, "its next beat")
        assert end(worker.process, signal.SIGTERM) == 0
        log = worker.log()
        assert 0 < log.rindex("stopped: handler") < log.rindex("uploader stopped") < log.rindex("stopped: uploader")


class Watch:
    """Looks again and again, as long as the block lasts, at who trains and who carries: ``most`` of each at once."""

    def __init__(self, worker: Stack) -> None:
        self._worker = worker
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self.most = {"trainers": 0, "ledgers": 0}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(0.02):
            launchers = [process for process in self._worker.trainers() if LAUNCHER in cmdline(process)]
            carriers = [process for process in self._worker.workers("uploader") if has_ledger(process)]
            self.most["trainers"] = max(self.most["trainers"], len(launchers))
            self.most["ledgers"] = max(self.most["ledgers"], len(carriers))


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def has_ledger(process: psutil.Process) -> bool:
    try:
        return any(Path(file.path).match("ledger.*.sqlite3") for file in process.open_files())
    except (psutil.Error, OSError):
        return False


@pytest.mark.guarantee("one-writer", fault="supervisord is killed and started again while its programs live on")
def test_the_programs_of_a_killed_supervisord_finish_while_those_of_the_next_one_wait(tmp_path: Path) -> None:
    with supervised(tmp_path) as worker, Watch(worker.stack) as watch:
        first = worker.stack.send(job("first", steps=24, step_seconds=0.1, keep=20))
        until(lambda: worker.stack.session_step() > 4, worker.log)
        trainers = {process.pid for process in worker.stack.trainers()}
        orphans = {program: worker.up(program) for program in PROGRAMS}
        worker.process.kill()
        worker.process.wait()
        worker.start()
        guard = worker.up("guard", orphans["guard"])
        until(lambda: "another_handler_works_here" in worker.log(), worker.log)
        until(lambda: "another_uploader_works_here" in worker.log(), worker.log)
        second = worker.stack.send(job("second", steps=2000, step_seconds=0.1, keep=500))
        assert worker.stack.result(first)["status"] == "COMPLETED"
        assert {pid for pid in trainers if psutil.pid_exists(pid)} == set()
        until(lambda: worker.stack.phase() is Phase.TRAINING, worker.log)
        # The programs that nobody supervises are killed in their turn, and those that have waited take over.
        for program in ("handler", "uploader"):
            psutil.Process(orphans[program]).kill()
        until(lambda: "run_taken_over" in worker.log(), worker.log)
        until(lambda: worker.log().count("uploader ready") == 2, worker.log)
        worker.stack.cancel(second)
        until(lambda: worker.log().count("handler ready") == 2, worker.log)
        for name, outcome in (("first", Outcome.FINISHED), ("second", Outcome.CANCELLED)):
            manifest = worker.stack.manifest(f"run/{name}")
            assert manifest is not None
            assert (manifest.outcome, manifest.complete) == (outcome, True)
        jobs = worker.stack.queue.queue.jobs
        assert [(jobs[each].deliveries, jobs[each].results) for each in (first, second)] == [(1, 1), (1, 0)]
        assert [process.pid for process in worker.stack.workers("handler.guard")] == [guard]
    assert watch.most == {"trainers": 1, "ledgers": 1}


@pytest.mark.skipif(not CAN_CONTAIN, reason="this machine gives no process namespace to its users")
def test_a_handler_that_cannot_start_ends_the_container(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nif [ "$2" = handler ]; then unset SUPABASE_URL; fi\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o700)
    with supervised(tmp_path, python, CONTAINER) as worker:
        assert worker.process.wait(60) == 0
        log = worker.log()
        assert "supervisord started with pid 1\n" in log
        assert log.count("SUPABASE_URL is not set") == 6
        assert 0 < log.index("entered FATAL state") < log.index("the container ends") < log.index("uploader stopped")
