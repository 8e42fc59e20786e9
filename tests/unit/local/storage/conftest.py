"""A running server for the tests of this folder, and a bucket of its own for each of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from local.storage.server import RunningStorage, running_storage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStorage]:
    with running_storage(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture
def server(shared_server: RunningStorage) -> Iterator[RunningStorage]:
    """A server without faults, its counters at nothing."""
    shared_server.stats.reset()
    yield shared_server
    shared_server.faults.clear()


@pytest.fixture
def api(server: RunningStorage) -> Iterator[httpx.Client]:
    """A client with all rights."""
    headers = {"Authorization": f"Bearer {server.service_key}"}
    with httpx.Client(base_url=f"{server.url}/storage/v1", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def bucket(api: httpx.Client) -> str:
    name = f"b{uuid.uuid4().hex[:12]}"
    assert api.post("/bucket", json={"name": name}).status_code == 200
    return name
