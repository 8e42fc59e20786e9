"""A port for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scenario.uploader.port import Port, port, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def at_work(harbour: Port) -> Port:
    """Return a port whose uploader carries the session: the claim is its own, and something has been delivered."""
    (harbour.session().output / "note.txt").write_text("the first file")
    harbour.start("run", UPLOAD_POLL_SECONDS="0.05")
    until(lambda: harbour.is_there("outputs/note.txt"), "the first file")
    return harbour


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Port]:
    with port(tmp_path) as made:
        yield made
