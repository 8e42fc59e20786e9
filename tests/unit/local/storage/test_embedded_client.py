"""The official client's view."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import httpx
import pytest
from storage3 import SyncStorageClient
from storage3.exceptions import StorageApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.storage.server import RunningStorage


@pytest.fixture
def client(server: RunningStorage) -> Iterator[SyncStorageClient]:
    headers = {"Authorization": f"Bearer {server.service_key}", "apikey": server.service_key}
    with SyncStorageClient(f"{server.url}/storage/v1/", headers) as opened:
        yield opened


def test_a_file_goes_in_and_comes_out(client: SyncStorageClient, bucket: str) -> None:
    files = client.from_(bucket)
    options = {"content-type": "text/plain", "cache-control": "60", "metadata": {"sha256": "ab"}}
    assert files.upload("d/a b.txt", b"hello", options).path == "d/a b.txt"  # type: ignore[arg-type]
    assert files.download("d/a b.txt") == b"hello"
    info = files.info("d/a b.txt")
    assert info["size"] == 5
    assert info["content_type"] == "text/plain"
    assert info["cache_control"] == "max-age=60"
    assert info["etag"] == f'"{hashlib.md5(b"hello", usedforsecurity=False).hexdigest()}"'
    assert info["metadata"] == {"sha256": "ab"}
    assert [row["name"] for row in files.list("d")] == ["a b.txt"]


def test_refusals_have_the_clients_names(client: SyncStorageClient, bucket: str) -> None:
    files = client.from_(bucket)
    files.upload("a", b"1")
    with pytest.raises(StorageApiError) as caught:
        files.upload("a", b"2")
    assert (caught.value.status, caught.value.code) == ("409", "Duplicate")
    with pytest.raises(StorageApiError) as caught:
        files.download("none")
    assert (caught.value.status, caught.value.code) == ("404", "not_found")


def test_copying_moving_and_removing(client: SyncStorageClient, bucket: str) -> None:
    files = client.from_(bucket)
    files.upload("a", b"1")
    files.copy("a", "b")
    files.move("a", "c")
    assert [row["name"] for row in files.list()] == ["b", "c"]
    assert [row["name"] for row in files.remove(["b", "none"])] == ["b"]
    assert files.download("c") == b"1"


def test_a_signed_address_needs_no_key(client: SyncStorageClient, bucket: str, server: RunningStorage) -> None:
    client.from_(bucket).upload("a", b"1")
    signed = client.from_(bucket).create_signed_url("a", 60)["signedURL"] or ""
    assert httpx.get(signed).content == b"1"


def test_a_server_that_is_down(client: SyncStorageClient, bucket: str, server: RunningStorage) -> None:
    server.faults.down()
    with pytest.raises(StorageApiError) as caught:
        client.from_(bucket).info("a")
    assert caught.value.code == "InternalError"
