from __future__ import annotations

import mmap
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from uploader.open_files import can_see, open_for_writing

if TYPE_CHECKING:
    from pathlib import Path

    from uploader.open_files import FileId

_HOLDING = {
    "write": "f = open(p, 'r+b')",
    "append": "f = open(p, 'ab')",
    "map": "import mmap; f = open(p, 'r+b'); m = mmap.mmap(f.fileno(), 4096); f.close()",
    "read": "f = open(p, 'rb')",
    "private map": "import mmap; f = open(p, 'rb'); m = mmap.mmap(f.fileno(), 4096, prot=1, flags=2)",
    "closed": "open(p, 'r+b').close()",
}


def identity(path: Path) -> FileId:
    status = path.stat()
    return status.st_dev, status.st_ino


@pytest.mark.parametrize("how", _HOLDING)
def test_who_writes_is_found(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\0" * mmap.PAGESIZE)
    program = f"import sys; p = sys.argv[1]; {_HOLDING[how]}; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        found = open_for_writing(frozenset({identity(path)}))
        assert can_see(writer.pid)
        writer.kill()
    assert bool(found) is (how in {"write", "append", "map"})


def test_what_this_process_holds_open_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with path.open("wb"):
        assert open_for_writing(frozenset({identity(path)})) == frozenset()


def test_a_process_that_is_gone_or_has_lost_its_files_cannot_be_seen(tmp_path: Path) -> None:
    (tmp_path / "7" / "fd").mkdir(parents=True)
    assert not can_see(7, tmp_path)
    assert not can_see(8, tmp_path)
    (tmp_path / "7" / "fd" / "0").symlink_to("/dev/null")
    assert can_see(7, tmp_path)
    assert can_see(os.getpid())


def test_nothing_is_looked_for_where_nothing_is_wanted(tmp_path: Path) -> None:
    assert open_for_writing(frozenset(), tmp_path / "nowhere") == frozenset()
