"""One process at a time, and who only inherited a lock from a killed owner does not keep it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from shared.clock import Deadline, SystemClock
from shared.lock import alone

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parents[3]
HOLDS = """
import multiprocessing, pathlib, signal, sys, threading, time
from shared.lock import alone
role, folder, child = sys.argv[1:]
with alone(role, [pathlib.Path(folder)], None, threading.Event().wait, print):
    if child:
        heir = multiprocessing.get_context("fork").Process(target=signal.pause)
        heir.start()
        print(heir.pid, flush=True)
    print("holds", flush=True)
    signal.pause()
"""


@contextmanager
def holder(folder: Path, *, with_child: bool = False) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a process that has the lock; yields it and the pid of the child that inherits the lock, or 0."""
    command = [sys.executable, "-c", HOLDS, "role", str(folder), "child" if with_child else ""]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        child = int(process.stdout.readline()) if with_child else 0
        assert process.stdout.readline() == b"holds\n"
        yield process, child
    finally:
        process.kill()
        process.communicate()


def waited(folder: Path, seconds: float) -> tuple[bool, list[Path]]:
    told: list[Path] = []
    pause = threading.Event()
    with alone("role", [folder], Deadline(SystemClock(), seconds), lambda _: pause.wait(0.01), told.append) as held:
        return held, told


def test_a_second_one_waits_and_says_so_once_and_gets_it_when_the_first_is_gone(tmp_path: Path) -> None:
    with holder(tmp_path) as (process, _):
        assert waited(tmp_path, 0.1) == (False, [tmp_path])
        process.kill()
        process.wait()
        assert waited(tmp_path, 60)[0] is True
    assert waited(tmp_path, 0) == (True, [])


def test_who_is_told_to_stop_waits_no_longer(tmp_path: Path) -> None:
    with holder(tmp_path), alone("role", [tmp_path], None, lambda _: True, lambda _: None) as held:
        assert held is False


def test_another_role_and_another_folder_are_free_and_the_same_twice_is_one(tmp_path: Path) -> None:
    with holder(tmp_path):
        assert waited(tmp_path / "another", 0)[0] is True
        with alone("another", [tmp_path, tmp_path], None, lambda _: True, lambda _: None) as held:
            assert held is True


def test_the_heir_of_a_killed_owner_is_ended(tmp_path: Path) -> None:
    with holder(tmp_path, with_child=True) as (process, heir):
        assert waited(tmp_path, 0.1)[0] is False
        assert psutil.pid_exists(heir)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert waited(tmp_path, 60)[0] is True
        assert not psutil.pid_exists(heir) or psutil.Process(heir).status() == psutil.STATUS_ZOMBIE


def test_the_children_of_a_living_owner_are_let_alone(tmp_path: Path) -> None:
    with holder(tmp_path, with_child=True) as (_, heir):
        try:
            assert waited(tmp_path, 0.1)[0] is False
            assert psutil.Process(heir).status() != psutil.STATUS_ZOMBIE
        finally:
            os.kill(heir, signal.SIGKILL)
