"""Supabase's own client: what everybody writes first, and the same from a pool of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from storage3 import create_client

if TYPE_CHECKING:
    from pathlib import Path

    from storage3 import SyncStorageClient

    from bench.task import Task


def loop(task: Task) -> None:
    """Upload one file after the other, each given as an open file."""
    client = _client(task)
    for path in task.files:
        _upload(client, task, path)


def threads(task: Task) -> None:
    """Upload from as many threads as there may be connections; they share the client."""
    client = _client(task)
    with ThreadPoolExecutor(task.connections) as pool:
        list(pool.map(lambda path: _upload(client, task, path), task.files))


def content(task: Task) -> None:
    """Upload one file after the other, each read into memory first."""
    client = _client(task)
    for path in task.files:
        client.from_(task.bucket).upload(f"{task.prefix}/{path.name}", path.read_bytes())


def download_loop(task: Task) -> None:
    """Download one file after the other, each into memory and then onto the disk."""
    client = _client(task)
    for path in task.files:
        content = client.from_(task.bucket).download(f"{task.prefix}/{path.name}")
        (task.folder / path.name).write_bytes(content)


def _client(task: Task) -> SyncStorageClient:
    key = task.endpoint.key
    headers = {"apiKey": key, "Authorization": f"Bearer {key}"}
    return create_client(f"{task.endpoint.url}/storage/v1/", headers, is_async=False)


def _upload(client: SyncStorageClient, task: Task, path: Path) -> None:
    with path.open("rb") as file:
        client.from_(task.bucket).upload(
            path=f"{task.prefix}/{path.name}",
            file=file,
            file_options={"cache-control": "3600", "upsert": "true"},
        )
