"""A port for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenario.uploader.port import Port, port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Port]:
    with port(tmp_path) as made:
        yield made
