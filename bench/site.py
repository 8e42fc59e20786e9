"""The Storage that is measured against: the embedded one in a process of its own, or a real project."""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx
import trustme

from bench.processes import PYTHON, FailedError, Process
from bench.task import Endpoint
from shared.settings import StorageSettings
from shared.storage.client import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.line import Line

_START_SECONDS = 30.0


class Site:
    """A Storage with a bucket of the benchmark's own, and the lines that lead to it. To be closed.

    ``endpoint`` leads there directly; ``embedded``: it is the stand-in, which counts what it is asked.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._folder = folder
        self._processes = ExitStack()
        self._lines: dict[Line, Endpoint] = {}
        self.embedded = not (environ.get("SUPABASE_URL") and environ.get("SUPABASE_SERVICE_KEY"))
        if self.embedded:
            told = self._start("storage", "--root", str(folder / "storage"))
            self.endpoint = Endpoint(told["SUPABASE_URL"], told["SUPABASE_SERVICE_KEY"])
        else:
            self.endpoint = Endpoint(environ["SUPABASE_URL"].rstrip("/"), environ["SUPABASE_SERVICE_KEY"])
        self.storage = Storage(StorageSettings(self.endpoint.url, self.endpoint.key))
        self.bucket = f"ferry-bench-{uuid.uuid4().hex[:8]}"
        self.storage.make_bucket(self.bucket)

    def close(self) -> None:
        """Remove the bucket, which a stand-in takes with it, and end all processes."""
        with self._processes, self.storage:
            if not self.embedded:
                self.storage.remove_bucket(self.bucket)

    def over(self, line: Line) -> Endpoint:
        """Return where Storage is to be reached over ``line``."""
        if line.direct:
            return self.endpoint
        if line not in self._lines:
            options = ["--to", self.endpoint.url, "--latency", str(line.round_trip)]
            if line.bandwidth is not None:
                options += ["--bandwidth", str(line.bandwidth)]
            if line.tls:
                options += ["--certificate", str(self._certificate), "--key", str(self._certificate)]
            told = self._start("proxy", *options)
            authority = self._authority if line.tls else None
            self._lines[line] = Endpoint(told["SUPABASE_URL"], self.endpoint.key, authority)
        return self._lines[line]

    @property
    def _authority(self) -> Path:
        return self._folder / "authority.pem"

    @property
    def _certificate(self) -> Path:
        """Return a certificate for this machine and its key, both in one file, made when they are first wanted."""
        path = self._folder / "certificate.pem"
        if not path.exists():
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(self._authority))
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    @contextmanager
    def room(self) -> Iterator[str]:
        """Yield a fresh prefix; what comes to lie below it is removed afterwards."""
        prefix = uuid.uuid4().hex[:12]
        try:
            yield prefix
        finally:
            keys = [record.key for record in self.storage.walk(self.bucket, prefix)]
            self.storage.remove(self.bucket, keys)

    def count_anew(self) -> None:
        """Set the embedded server's counters back."""
        if self.embedded:
            httpx.delete(f"{self.endpoint.url}/_stats").raise_for_status()

    def requests(self) -> dict[str, int]:
        """Return how many requests of each kind the embedded server has had; nothing is known of a real one."""
        if not self.embedded:
            return {}
        counted: dict[str, int] = httpx.get(f"{self.endpoint.url}/_stats").raise_for_status().json()["requests"]
        return counted

    def received(self, bucket: str, key: str) -> int:
        """Return how many bytes of bodies the embedded server has had for an object, in uploads that have ended."""
        counted = httpx.get(f"{self.endpoint.url}/_stats").raise_for_status().json()["received_by_object"]
        return int(counted.get(f"{bucket}/{key}", 0))

    def _start(self, command: str, *options: str) -> dict[str, str]:
        """Start a command of the local stack; return the variables that it prints."""
        process = Process([PYTHON, "-m", "local", command, *options], os.environ)
        self._processes.callback(process.close)
        last = "SUPABASE_SERVICE_KEY" if command == "storage" else "SUPABASE_URL"
        process.hear(f"export {last}=", _START_SECONDS)
        lines = [line.text.removeprefix("export ").partition("=") for line in process.lines]
        told = {name: value.strip("'\"") for name, _, value in lines}
        if last not in told:
            raise FailedError(f"python -m local {command} has not said where it is:\n{process.tail()}")
        return told
