"""What is known is not asked about again, and nothing that has changed passes for known."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.unit.uploader.harbour import Berth, Harbour, hold_of, write
from uploader.familiar import Familiar
from uploader.scan import look
from uploader.states import State

if TYPE_CHECKING:
    from pathlib import Path

A_FULL_PASS = 15


@pytest.fixture
def berth(tmp_path: Path) -> Berth:
    harbour = Harbour(tmp_path)
    harbour.session()
    return Berth(harbour, harbour.session_run())


def file_of(berth: Berth, name: str = "a.txt") -> Path:
    return berth.run.output / "pictures" / name


def arrives(berth: Berth, content: bytes) -> None:
    berth.until(lambda: berth.harbour.content("outputs/a.txt") == content)
    berth.tick(A_FULL_PASS)


def test_a_version_is_known_by_path_size_time_and_inode(tmp_path: Path) -> None:
    familiar = Familiar()
    write(tmp_path / "a", "a")
    seen = look(tmp_path, "a")
    assert seen is not None
    status = (tmp_path / "a").stat()
    familiar.add("a", seen.version)
    assert familiar.knows("a", status)
    assert not familiar.knows("b", status)
    os.utime(tmp_path / "a", ns=(0, 1))
    assert not familiar.knows("a", (tmp_path / "a").stat())
    familiar.drop("a", seen.version)
    assert not familiar.knows("a", status)


def test_what_stands_still_is_not_asked_about_again(berth: Berth, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file_of(berth), "a")
    arrives(berth, b"a")
    asked: list[str] = []
    ledger = hold_of(berth).ledger
    monkeypatch.setattr(ledger, "known", asked.append)
    monkeypatch.setattr(ledger, "in_folder", asked.append)
    berth.tick(2 * A_FULL_PASS)
    assert asked == []


def test_an_old_version_that_is_moved_back_arrives_again(berth: Berth) -> None:
    path, aside = file_of(berth), file_of(berth, ".aside")
    write(path, "first")
    arrives(berth, b"first")
    path.rename(aside)
    write(path, "second")
    arrives(berth, b"second")
    aside.rename(path)
    arrives(berth, b"first")


def test_a_file_that_was_given_up_as_gone_and_is_there_again_arrives(berth: Berth) -> None:
    path, aside = file_of(berth), file_of(berth, ".aside")
    write(path, "here")
    berth.until(lambda: berth.carrier.hold is not None)
    berth.tick(2)
    berth.executors["small"].held = True
    berth.until(lambda: bool(hold_of(berth).flight.paths))
    berth.tick(A_FULL_PASS)
    path.rename(aside)
    berth.executors["small"].held = False
    berth.executors["small"].release()
    berth.until(lambda: hold_of(berth).ledger.totals()[State.GONE].files == 1)
    aside.rename(path)
    arrives(berth, b"here")
