from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from shared.structure import adds_up
from tests.unit.uploader.harbour import safetensors

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = safetensors(b"weights")


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (WHOLE, True),
        (WHOLE[:-1], False),
        (WHOLE + b"x", False),
        (WHOLE[:12], False),
        (b"", False),
        (b"\0" * 8, False),
        (b"\xff" * 64, False),
        ((2).to_bytes(8, "little") + b"[]", False),
        ((2).to_bytes(8, "little") + b"{}", True),
        ((7).to_bytes(8, "little") + b'{"a":1}', False),
        ((1 << 62).to_bytes(8, "little") + b"{}", False),
        ((100_000).to_bytes(8, "little") + b"[" * 100_000, False),
        ((26).to_bytes(8, "little") + b'{"a":{"data_offsets":[0]}}', False),
        ((32).to_bytes(8, "little") + b'{"a":{"data_offsets":[0,1e999]}}', False),
        ((28).to_bytes(8, "little") + b'{"a":{"data_offsets":[0,""]}}', False),
        ((3).to_bytes(8, "little") + b"\xff\xfe\x00", False),
    ],
)
def test_safetensors(tmp_path: Path, content: bytes, *, whole: bool) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    assert adds_up(path) is whole


def test_what_cannot_be_checked_adds_up(tmp_path: Path) -> None:
    assert adds_up(tmp_path / "a.pt")
    assert not adds_up(tmp_path / "nowhere.safetensors")


def test_a_header_beyond_all_models_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write((90_000_000).to_bytes(8, "little"))
        file.truncate(90_000_008)
    tracemalloc.start()
    assert adds_up(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_pipe_in_the_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    assert not adds_up(tmp_path / "a.safetensors")
