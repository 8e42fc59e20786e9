"""Both versions of the kernel's memory controller are understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handler.cgroup import oom_kills

if TYPE_CHECKING:
    from pathlib import Path


def test_version_2(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\noom 5\noom_kill 3\noom_group_kill 0\n")
    assert oom_kills(tmp_path) == 3


def test_version_1(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert oom_kills(tmp_path) == 2


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) is None
