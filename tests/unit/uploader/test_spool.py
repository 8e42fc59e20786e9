from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.uploader.pruning import clones, no_clones
from tests.unit.uploader.test_allowance import ROW
from uploader.allowance import Stock
from uploader.kinds import Kind
from uploader.rows import Row, Settled
from uploader.scan import look
from uploader.spool import NotClonedError, Spool, kept_name, names_of

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = bytes(range(256)) * 20_000


@pytest.fixture(autouse=True)
def _no_clones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", no_clones)


def go_on() -> None:
    return


def given(folder: Path, name: str = "pictures_000000004.pt", content: bytes = CONTENT) -> tuple[Row, int]:
    """Write a checkpoint; return its row and a descriptor of it."""
    (folder / name).write_bytes(content)
    seen = look(folder, name)
    assert seen is not None
    row = replace(ROW, path=name, key=f"checkpoints/{name}", version=seen.version, step=4)
    return row, os.open(folder / name, os.O_RDONLY)


def test_a_copy_is_whole_and_says_what_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    row, descriptor = given(tmp_path, os.fsdecode(b"caf\xe9.pt"))
    assert spool.used() == Stock()
    name = spool.keep(row, descriptor, go_on)
    assert name == kept_name(row)
    assert spool.path(name).read_bytes() == CONTENT
    assert spool.path(name).stat().st_mode & 0o077 == 0
    assert spool.used() == Stock(len(CONTENT), len(CONTENT))
    assert spool.kept() == [(name, Settled(row.path, row.kind, row.key, row.proof, row.version, 4, name))]
    assert {path.name for path in (tmp_path / "spool").iterdir()} <= names_of(row)
    spool.discard(row)
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_copies_of_two_names_of_one_file_are_two(tmp_path: Path) -> None:
    row, descriptor = given(tmp_path)
    os.close(descriptor)
    assert kept_name(row) != kept_name(replace(row, path="other.pt"))


def test_of_a_file_that_is_another_version_by_now_there_is_no_copy(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    row, descriptor = given(tmp_path)
    (tmp_path / row.path).write_bytes(CONTENT[::-1])
    assert spool.keep(row, descriptor, go_on) is None
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_that_is_rewritten_while_it_is_copied_gives_no_copy(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    row, descriptor = given(tmp_path)

    def rewrite() -> None:
        (tmp_path / row.path).write_bytes(CONTENT[::-1])

    assert spool.keep(row, descriptor, rewrite) is None
    assert list((tmp_path / "spool").iterdir()) == []


class HaltedError(Exception):
    pass


def test_a_copy_that_is_stopped_leaves_nothing_and_lets_go_of_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    row, descriptor = given(tmp_path)

    def halt() -> None:
        raise HaltedError

    with pytest.raises(HaltedError):
        spool.keep(row, descriptor, halt)
    assert list((tmp_path / "spool").iterdir()) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_where_files_can_share_their_bytes_nothing_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")

    def never() -> None:
        raise AssertionError("bytes were copied")

    monkeypatch.setattr(fcntl, "ioctl", clones)
    row, descriptor = given(tmp_path)
    name = spool.keep(row, descriptor, never, clone_only=True)
    assert name is not None
    assert spool.path(name).read_bytes() == CONTENT


def test_where_they_cannot_a_copy_that_must_cost_nothing_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    row, descriptor = given(tmp_path)
    with pytest.raises(NotClonedError):
        spool.keep(row, descriptor, go_on, clone_only=True)
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("note", [None, b"", b"[]", b'{"note": 1}', b'{"note": 2}', b'{"note": 1, "kind": "new"}'])
def test_a_copy_whose_note_cannot_be_read_is_nobodys(tmp_path: Path, note: bytes | None) -> None:
    (tmp_path / "1.kept").write_bytes(b"weights")
    if note is not None:
        (tmp_path / "1.kept.json").write_bytes(note)
    assert Spool(tmp_path).kept() == [("1.kept", None)]


def test_copies_of_the_optimizers_state_are_those_of_its_newest_version(tmp_path: Path) -> None:
    row, descriptor = given(tmp_path, "optimizer.pt")
    os.close(descriptor)
    row, spool = replace(row, kind=Kind.OPTIMIZER), Spool(tmp_path)
    old = replace(row, version=replace(row.version, mtime_ns=1))
    spool.optimizer(old).write_bytes(b"old")
    spool.optimizer(row).write_bytes(b"state")
    spool.only(row)
    assert not spool.optimizer(old).exists()
    assert spool.forget_optimizer(["pictures/optimizer.pt"]) == 0
    assert spool.optimizer(row).read_bytes() == b"state"
    assert spool.forget_optimizer(["pictures/pictures.pt"]) == len(b"state")
    assert spool.used() == Stock()
