"""What a run wrote is told apart from what was there before."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from handler.inventory import Inventory, before_file, take_inventory
from tests.unit.handler.toolkits import make_session, without_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_new_rewritten_and_replaced_files_have_changed_and_others_have_not(tmp_path: Path) -> None:
    for name in ("same", "rewritten", "replaced", "deleted"):
        (tmp_path / name).write_text("a")
        os.utime(tmp_path / name, (1, 1))
    before = take_inventory(tmp_path)
    (tmp_path / "rewritten").write_text("b")
    (tmp_path / "other").write_text("a")
    os.utime(tmp_path / "other", (1, 1))
    (tmp_path / "other").replace(tmp_path / "replaced")
    (tmp_path / "deleted").unlink()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "new").write_text("")
    assert before.changed(take_inventory(tmp_path)) == {"rewritten", "replaced", "folder/new"}


def test_a_later_handler_reads_what_was_there_before(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    (session.output / "ä.safetensors").write_text("a")
    before = take_inventory(session.output)
    before.write(before_file(session))
    assert Inventory.read(before_file(session)) == before


def test_no_output_is_an_empty_inventory(tmp_path: Path) -> None:
    assert take_inventory(tmp_path / "absent") == Inventory()


def test_odd_names_and_folders_without_end_are_taken_note_of(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    (session.output / os.fsdecode(b"odd\xff.txt")).write_text("a")
    (session.output / "link").symlink_to("/")
    with without_end(session.output):
        inventory = take_inventory(session.output)
    assert inventory.files.keys() == {"odd\\xff.txt", "link"}
    inventory.write(before_file(session))
    assert Inventory.read(before_file(session)) == inventory


@pytest.mark.parametrize(("number", "passes"), [(errno.ESTALE, True), (errno.EACCES, False)])
def test_what_the_disk_does_not_show_for_a_moment_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, passes: bool
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/a").write_text("a")
    (tmp_path / "b").write_text("b")
    scandir = os.scandir

    def refuse(path: Path) -> Iterator[os.DirEntry[str]]:
        if path.name == "hidden":
            raise OSError(number, os.strerror(number))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(OSError, match="Stale") if passes else nullcontext():
        assert set(take_inventory(tmp_path).files) == {"b"}
