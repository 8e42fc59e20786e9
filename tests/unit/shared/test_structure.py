from __future__ import annotations

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
    ],
)
def test_safetensors(tmp_path: Path, content: bytes, *, whole: bool) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    assert adds_up(path) is whole


def test_what_cannot_be_checked_adds_up(tmp_path: Path) -> None:
    assert adds_up(tmp_path / "a.pt")
    assert not adds_up(tmp_path / "nowhere.safetensors")
