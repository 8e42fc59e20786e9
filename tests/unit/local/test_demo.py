"""The demo empties its own folder and nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local.demo.command import main, make_room

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_of_its_own_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert make_room(folder)
    (folder / "of the last run").touch()
    assert make_room(folder)
    assert not (folder / "of the last run").exists()


def test_a_folder_with_something_else_in_it_is_let_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(SystemExit) as ended:
        main(["--folder", str(tmp_path)])
    assert ended.value.code == 2
    assert "name another one" in capsys.readouterr().err
    assert (tmp_path / "holiday.jpg").exists()
