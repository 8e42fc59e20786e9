"""A server of raw answers: what a test has it send goes over a real socket, byte for byte."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Self

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Said:
    """What the server says to a request, whether it reads the request's body before, and hangs up then."""

    content: bytes
    hangs_up: bool = False
    reads_body: bool = True


def said(body: bytes, *, status: str = "200 OK", length: int | None = None, hangs_up: bool = False) -> Said:
    """Return an answer; one that hangs up may have promised another ``length`` than it gives."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return Said(head.encode() + body, hangs_up)


class Server:
    """Answers each request with the next of ``answers``; to be closed.

    ``connections`` counts those that it has had, ``requests`` holds the heads of all requests, and ``bodies`` what came
    behind them.
    """

    def __init__(self, *answers: Said, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._answers = list(answers)
        self._context = context
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listening, *self._open):
            with suppress(OSError):  # What is closed already.
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()

    def _accept(self) -> None:
        lanes: list[threading.Thread] = []
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                break
            self.connections += 1
            lanes.append(threading.Thread(target=self._serve, args=(accepted,)))
            lanes[-1].start()
        for lane in lanes:
            lane.join()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            stream = self._context.wrap_socket(accepted, server_side=True) if self._context else accepted
        except OSError:  # Who does not trust the server hangs up.
            return
        self._open.append(stream)
        with stream, stream.makefile("rb") as coming:
            while head := _head(coming):
                self.requests.append(head)
                answer = self._answers.pop(0)
                with suppress(OSError):  # A client that has hung up in the middle of its body hears nothing.
                    if answer.reads_body and (length := _length(head)):
                        self.bodies.append(coming.read(length))
                    stream.sendall(answer.content)
                if answer.hangs_up:
                    return


def _head(coming: BinaryIO) -> str:
    """Return the head of the next request, empty where there is none."""
    lines: list[bytes] = []
    try:
        while (line := coming.readline()) not in {b"", b"\r\n"}:
            lines.append(line)
    except OSError:
        return ""
    return b"".join(lines).decode()


def _length(head: str) -> int:
    found = re.search(r"^Content-Length: (\d+)", head, re.MULTILINE)
    return int(found.group(1)) if found else 0
