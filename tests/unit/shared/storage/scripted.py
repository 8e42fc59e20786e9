"""A server that answers from a script and remembers what it was asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from shared.settings import StorageSettings
from shared.storage.client import Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]

KEY = "service-role-key"
PROJECT = "https://x.test"
UPLOAD = f"{PROJECT}/storage/v1/upload/resumable/abc"


@dataclass
class Script:
    """The answers to come, in order, and the requests that were made, each read to its end."""

    answers: list[Answer]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def storage(self, url: str = PROJECT) -> Storage:
        return Storage(StorageSettings(url, KEY), transport=httpx.MockTransport(self))


def storage(*answers: Answer) -> tuple[Storage, Script]:
    script = Script([*answers])
    return script.storage(), script


def refusal(status: str, error: str, message: str, code: str) -> httpx.Response:
    """Return a failure as the REST calls answer it."""
    return httpx.Response(400, json={"statusCode": status, "error": error, "message": message, "code": code})


def no_bucket() -> httpx.Response:
    return refusal("404", "Bucket not found", "Bucket not found", "NoSuchBucket")


def no_object() -> httpx.Response:
    return refusal("404", "not_found", "Object not found", "NoSuchKey")


def denied() -> httpx.Response:
    return refusal("403", "Unauthorized", f"signature of {KEY} failed", "AccessDenied")


def bucket_row(name: str = "b") -> httpx.Response:
    when = "2026-11-23T23:03:23.037Z"
    return httpx.Response(
        200,
        json={
            "id": name,
            "name": name,
            "owner": "",
            "public": False,
            "file_size_limit": None,
            "allowed_mime_types": None,
            "created_at": when,
            "updated_at": when,
        },
    )


def page(*names: str, cursor: str | None = None, folders: tuple[str, ...] = ()) -> httpx.Response:
    when = "2026-11-23T23:03:23.037Z"
    rows = [
        {"id": name, "name": name, "updated_at": when, "created_at": when, "metadata": {"size": 1}} for name in names
    ]
    more = {"nextCursor": cursor} if cursor else {}
    listed = [{"key": name.rstrip("/").split("/")[-1], "name": name} for name in folders]
    return httpx.Response(200, json={"hasNext": bool(cursor), "folders": listed, "objects": rows, **more})


def sent(request: httpx.Request) -> dict[str, object]:
    """Return the JSON that was sent."""
    content: dict[str, object] = json.loads(request.content)
    return content
