"""The tracer itself: what it counts, where it strikes, and what it leaves alone."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scenario.steps.nursery import Launch, Nursery, nursery
from tests.scenario.steps.tracer import Blow, Followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.xdist_group("steps")


@pytest.fixture(scope="module")
def forker() -> Iterator[Nursery]:
    with nursery() as made:
        reason = made.obstacle()
        if reason:
            pytest.skip(reason)
        yield made


def write_in_turns() -> None:
    """Write four files, from two threads that take turns."""
    for number in range(4):
        thread = threading.Thread(target=(Path(os.environ["ROOT"]) / f"file{number}").write_bytes, args=(b"x",))
        thread.start()
        thread.join()


def write_elsewhere() -> None:
    """Write to what is no file below the root."""
    read, write = os.pipe()
    os.write(write, b"x")
    os.close(read)
    Path(os.environ["ROOT"] + "-beside").write_bytes(b"x")


def write_despite_trouble() -> None:
    """Write a file, and write down what that came to."""
    root = Path(os.environ["ROOT"])
    try:
        (root / "file").write_bytes(b"x")
    except OSError as error:
        (root / "trouble").write_text(errno.errorcode[error.errno or 0])


def followed(forker: Nursery, root: Path, program: Callable[[], None], blow: Blow | None = None) -> Followed:
    forker.start(Launch(root, {"ROOT": str(root)}, Path(os.devnull), follow=True, blow=blow, program=program))
    found = forker.ended(60)
    assert found is not None
    return found


def test_the_steps_of_all_threads_are_counted_together(forker: Nursery, tmp_path: Path) -> None:
    assert followed(forker, tmp_path, write_in_turns).steps == [
        step for number in range(4) for step in (f"create file{number}", f"write file{number}")
    ]


def test_a_kill_meets_the_step_of_that_number_whichever_thread_takes_it(forker: Nursery, tmp_path: Path) -> None:
    found = followed(forker, tmp_path, write_in_turns, Blow(6))
    assert (found.struck, os.WTERMSIG(found.status)) == ("write file2", 9)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file0": b"x", "file1": b"x", "file2": b""}


def test_what_is_no_file_below_the_root_is_left_alone(forker: Nursery, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    found = followed(forker, root, write_elsewhere, Blow(1))
    assert (found.steps, found.struck, found.status) == ([], None, 0)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_step_fails_as_it_is_told_to(forker: Nursery, tmp_path: Path, error: int) -> None:
    found = followed(forker, tmp_path, write_despite_trouble, Blow(2, error))
    assert (found.struck, found.status) == ("write file", 0)
    assert (tmp_path / "trouble").read_text() == errno.errorcode[error]
    assert (tmp_path / "file").read_bytes() == b""
