"""A process is known for ever, whatever becomes of the clock and of its pid."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from shared.contract.process import find, identify


def test_this_process_is_found_and_another_one_with_its_pid_is_not() -> None:
    this = identify()
    assert find(this) == psutil.Process()
    assert find(this.model_copy(update={"after_boot": this.after_boot - 60})) is None
    assert find(this.model_copy(update={"boot_id": "another"})) is None
    assert find(this.model_copy(update={"host": "another"})) is None


@pytest.mark.parametrize("moved", [-3600.0, 2.0])
def test_a_clock_that_is_set_right_changes_nothing(moved: float, monkeypatch: pytest.MonkeyPatch) -> None:
    this = identify()
    boot, created = psutil.boot_time(), psutil.Process().create_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + moved)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + moved)
    assert find(this) == psutil.Process()


def test_a_process_that_ended_is_gone_even_before_anybody_took_note() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identify(child.pid)
    assert find(identity) is not None
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert find(identity) is None
    child.communicate()
    assert find(identity) is None
