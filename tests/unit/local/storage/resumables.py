"""Resumable uploads as the tests make them, over plain HTTP."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

TUS = {"Tus-Resumable": "1.0.0"}
UPSERT = {**TUS, "x-upsert": "true"}
BODY = {"Content-Type": "application/offset+octet-stream"}


def metadata(bucket: str, key: str, **more: str) -> dict[str, str]:
    """Return the header that names an object."""
    pairs = {"bucketName": bucket, "objectName": key, **more}
    said = ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items())
    return {"Upload-Metadata": said}


def announce(api: httpx.Client, bucket: str, key: str, length: int, **more: str) -> str:
    """Announce an upload and return its address."""
    response = api.post(
        "/upload/resumable", headers={**UPSERT, **metadata(bucket, key, **more), "Upload-Length": str(length)}
    )
    assert response.status_code == 201, response.text
    return response.headers["location"]


def append(
    api: httpx.Client, url: str, offset: int, data: bytes, headers: dict[str, str] | None = None
) -> httpx.Response:
    """Send bytes from ``offset`` on."""
    return api.patch(url, headers={**(headers or UPSERT), **BODY, "Upload-Offset": str(offset)}, content=data)


def offset(api: httpx.Client, url: str) -> int:
    """Return how far an upload has come."""
    response = api.head(url, headers=TUS)
    assert response.status_code == 200, response.status_code
    return int(response.headers["upload-offset"])


class HalfAppend:
    """A PATCH that promises ``length`` bytes, sends some of them and holds on to its connection."""

    def __init__(self, api: httpx.Client, url: str, length: int, sent: bytes) -> None:
        place = api.base_url
        self._socket = socket.create_connection((place.host, place.port or 80), timeout=30)
        headers = {
            **UPSERT,
            **BODY,
            "Host": place.host,
            "Authorization": api.headers["Authorization"],
            "Upload-Offset": "0",
            "Content-Length": str(length),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"PATCH {url.partition(str(place.port))[2]} HTTP/1.1\r\n{head}\r\n".encode() + sent)

    def cut(self) -> None:
        """Close the connection."""
        self._socket.close()

    def answer(self) -> str:
        """Wait for the server's answer and return its head."""
        with self._socket:
            return self._socket.recv(65536).decode().lower()
