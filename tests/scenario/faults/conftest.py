"""One Storage and one proxy for all tests of this folder; each has the faults to itself."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.proxy.server import running_proxy
from local.storage.server import running_storage
from local.storage.tus import locks
from shared.settings import StorageSettings
from shared.storage.client import Storage
from tests.scenario.faults.ground import HASTY_SECONDS, Ground

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long Storage waits for a stalled request before it lets the next one have an upload: three seconds, made short.
_DRAIN_SECONDS = 0.2
_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: these tests are about the network, and disks may be slow."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def root(memory: Path) -> Iterator[Path]:
    """A test's own folder."""
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def shared_ground(memory: Path) -> Iterator[Ground]:
    with (
        pytest.MonkeyPatch.context() as patch,
        running_storage(memory / "storage") as server,
        running_proxy(server.url) as proxy,
        Storage(StorageSettings(server.url, server.service_key)) as direct,
        Storage(settings := StorageSettings(proxy.url, server.service_key)) as patient,
        Storage(settings, timeout=HASTY_SECONDS) as hasty,
    ):
        patch.setattr(locks, "DRAIN_SECONDS", _DRAIN_SECONDS)
        ground = Ground(settings, direct, patient, hasty, proxy.rig)
        ground.fill()
        yield ground


@pytest.fixture
def ground(shared_ground: Ground) -> Iterator[Ground]:
    shared_ground.rig.tally.reset()
    yield shared_ground
    shared_ground.rig.faults.clear()


@pytest.fixture
def prefix() -> str:
    """A prefix in the bucket that no other test uses."""
    return f"run-{uuid.uuid4().hex[:12]}"
