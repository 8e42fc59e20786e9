"""The Storage under test: the one that SUPABASE_URL and SUPABASE_SERVICE_KEY name, else the embedded server."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from shared.settings import StorageSettings
from shared.storage.client import Storage
from tests.conformance.transfers import new_name

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageSettings]:
    url, key = os.environ.get("SUPABASE_URL", ""), os.environ.get("SUPABASE_SERVICE_KEY", "")
    if url and key:
        yield StorageSettings(url.rstrip("/"), key)
        return
    from local.storage.server import running_storage

    with running_storage(tmp_path_factory.mktemp("storage")) as server:
        yield StorageSettings(server.url, server.service_key)


@pytest.fixture(scope="session")
def storage(settings: StorageSettings) -> Iterator[Storage]:
    with Storage(settings) as client:
        yield client


@pytest.fixture(scope="session")
def bucket(storage: Storage) -> Iterator[str]:
    name = new_name()
    storage.make_bucket(name)
    yield name
    storage.remove_bucket(name)


@pytest.fixture(scope="session")
def narrow_bucket(storage: Storage) -> Iterator[str]:
    """A bucket that takes plain text of at most 1,000 bytes."""
    name = new_name()
    storage.make_bucket(name, file_size_limit=1000, allowed_mime_types=["text/plain"])
    yield name
    storage.remove_bucket(name)


@pytest.fixture
def folder() -> str:
    """A prefix that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"
