"""A port with machines that share its volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenario.takeover.machines import Machines
from tests.scenario.uploader.port import port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with port(tmp_path) as made:
        yield Machines(made)
