"""Nothing but HTTP/1.1 from the standard library: the floor for what any client in Python can do."""

from __future__ import annotations

import base64
import http.client
import queue
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.task import Task

_BLOCK = 256 << 10
_TIMEOUT = 60.0


def resumable(task: Task) -> None:
    """Send one file after the other in chunks of a resumable upload, streamed from the disk over one connection."""
    with closing(_connection(task)) as connection:
        for path in task.files:
            _send_resumable(connection, task, path)


def standard(task: Task) -> None:
    """Send each file in one request, over so many connections at once."""
    _over_all_connections(task, _send)


def download(task: Task) -> None:
    """Fetch each file in one request, over so many connections at once, and stream it onto the disk."""
    _over_all_connections(task, _fetch)


def _over_all_connections(task: Task, act: Callable[[http.client.HTTPConnection, Task, Path], None]) -> None:
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for path in task.files:
        waiting.put(path)

    def lane() -> None:
        with closing(_connection(task)) as connection:
            while True:
                try:
                    path = waiting.get_nowait()
                except queue.Empty:
                    return
                act(connection, task, path)

    with ThreadPoolExecutor(task.connections) as pool:
        for lane_done in [pool.submit(lane) for _ in range(task.connections)]:
            lane_done.result()


def _send(connection: http.client.HTTPConnection, task: Task, path: Path) -> None:
    target = f"/storage/v1/object/{task.bucket}/{quote(f'{task.prefix}/{path.name}')}"
    size = path.stat().st_size
    headers = {"Content-Type": "application/octet-stream", "x-upsert": "true", "Content-Length": str(size)}
    _ask(connection, "POST", target, {**_key(task), **headers}, _blocks(path, 0, size))


def _fetch(connection: http.client.HTTPConnection, task: Task, path: Path) -> None:
    target = f"/storage/v1/object/{task.bucket}/{quote(f'{task.prefix}/{path.name}')}"
    connection.request("GET", target, headers=_key(task))
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"GET {target} is answered by {answer.status}: {answer.read(200)!r}")
    with (task.folder / path.name).open("wb") as file:
        while block := answer.read(_BLOCK):
            file.write(block)


def _send_resumable(connection: http.client.HTTPConnection, task: Task, path: Path) -> None:
    size = path.stat().st_size
    told = {"bucketName": task.bucket, "objectName": f"{task.prefix}/{path.name}"}
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items())
    common = {**_key(task), "Tus-Resumable": "1.0.0", "x-upsert": "true"}
    announcing = {**common, "Upload-Length": str(size), "Upload-Metadata": metadata, "Content-Length": "0"}
    answer = _ask(connection, "POST", "/storage/v1/upload/resumable", announcing)
    target = urlsplit(answer["Location"]).path
    for start in range(0, size, task.chunk):
        count = min(task.chunk, size - start)
        headers = {
            **common,
            "Upload-Offset": str(start),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(count),
        }
        _ask(connection, "PATCH", target, headers, _blocks(path, start, count))


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: dict[str, str],
    body: Iterator[bytes] | None = None,
) -> http.client.HTTPMessage:
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} {target} is answered by {answer.status}: {said[:200]!r}")
    return answer.headers


def _blocks(path: Path, start: int, count: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while count > 0 and (block := file.read(min(_BLOCK, count))):
            count -= len(block)
            yield block


def _connection(task: Task) -> http.client.HTTPConnection:
    parts = urlsplit(task.endpoint.url)
    assert parts.hostname is not None  # noqa: S101 - for the type checker: the address of a server has one
    if parts.scheme == "https":
        trusted = ssl.create_default_context(cafile=task.endpoint.authority)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_TIMEOUT, context=trusted)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT)


def _key(task: Task) -> dict[str, str]:
    return {"Authorization": f"Bearer {task.endpoint.key}"}
