"""A task on its way into another process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.task import Endpoint, Task

if TYPE_CHECKING:
    from collections.abc import Mapping


def handed(task: Task) -> str:
    """Return the task as text."""
    authority = task.endpoint.authority
    return json.dumps(
        {
            "endpoint": [task.endpoint.url, task.endpoint.key, None if authority is None else str(authority)],
            "bucket": task.bucket,
            "prefix": task.prefix,
            "files": list(map(str, task.files)),
            "folder": str(task.folder),
            "connections": task.connections,
            "chunk": task.chunk,
        }
    )


def received(text: str) -> Task:
    """Return the task that ``handed`` wrote."""
    told: Mapping[str, Any] = json.loads(text)
    url, key, authority = told["endpoint"]
    return Task(
        endpoint=Endpoint(url, key, None if authority is None else Path(authority)),
        bucket=told["bucket"],
        prefix=told["prefix"],
        files=tuple(map(Path, told["files"])),
        folder=Path(told["folder"]),
        connections=told["connections"],
        chunk=told["chunk"],
    )
