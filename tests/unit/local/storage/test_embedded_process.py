"""The server as a process: its command, its end, and what survives its death."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from local.storage.command import main
from local.storage.server import running_storage
from tests.unit.local.storage.resumables import HalfAppend, announce, append, offset

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 60


class Process:
    """The command, run on a folder."""

    def __init__(self, root: Path) -> None:
        code = "import sys; from local.storage.command import main; sys.exit(main(sys.argv[1:]))"
        arguments = [sys.executable, "-c", code, "--port", "0", "--root", str(root)]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        lines = [self._process.stdout.readline().removeprefix("export ").rstrip("\n") for _ in range(2)]
        self.exports = dict(line.split("=", 1) for line in lines)

    def client(self) -> httpx.Client:
        """Return a client with all rights."""
        headers = {"Authorization": f"Bearer {self.exports['SUPABASE_SERVICE_KEY']}"}
        return httpx.Client(base_url=f"{self.exports['SUPABASE_URL']}/storage/v1", headers=headers, timeout=30)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(number)
        code = self._process.wait(_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


def test_it_prints_what_to_export_and_ends_when_told(tmp_path: Path) -> None:
    process = Process(tmp_path)
    assert list(process.exports) == ["SUPABASE_URL", "SUPABASE_SERVICE_KEY"]
    with process.client() as api:
        assert api.get("/bucket").json() == []
        assert process.end(signal.SIGTERM) == 0


def test_a_killed_server_has_lost_nothing(tmp_path: Path) -> None:
    process = Process(tmp_path)
    with process.client() as api:
        api.post("/bucket", json={"name": "b"})
        api.post("/object/b/whole", content=b"whole")
        url = announce(api, "b", "half", 10)
        HalfAppend(api, url, 10, b"01234")
        deadline = time.monotonic() + _SECONDS
        while not any(path.stat().st_size == 5 and path.read_bytes() == b"01234" for path in tmp_path.glob("*/*/*")):
            assert time.monotonic() < deadline
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    again = Process(tmp_path)
    try:
        with again.client() as api:
            assert api.get("/object/b/whole").content == b"whole"
            url = f"{api.base_url}upload/resumable/{url.rpartition('/')[2]}"
            assert offset(api, url) == 5
            assert append(api, url, 5, b"56789").status_code == 204
            info = api.get("/object/info/b/half").json()
            assert info["etag"] == f'"{hashlib.md5(b"0123456789", usedforsecurity=False).hexdigest()}"'
    finally:
        assert again.end(signal.SIGINT) == 0


def test_keys_stay_the_same_after_a_restart(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        with running_storage(tmp_path) as server:
            keys.append(server.service_key)
    assert keys[0] == keys[1]


def test_it_stops_with_requests_under_way(tmp_path: Path) -> None:
    with running_storage(tmp_path) as server:
        headers = {"Authorization": f"Bearer {server.service_key}"}
        api = httpx.Client(base_url=f"{server.url}/storage/v1", headers=headers, timeout=30)
        api.post("/bucket", json={"name": "b"})
        half = HalfAppend(api, announce(api, "b", "a", 10), 10, b"01")
    with pytest.raises(httpx.TransportError):
        api.get("/bucket")
    half.cut()
    api.close()


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    with running_storage(tmp_path), pytest.raises(OSError, match="another server uses"), running_storage(tmp_path):
        pass
    with running_storage(tmp_path):
        pass


def test_a_taken_port_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_storage(tmp_path / "a") as server:
        port = server.url.rpartition(":")[2]
        old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            assert main(["--port", port, "--root", str(tmp_path / "b")]) == 1
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
    assert "Choose another --root or --port" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--size-limit", "0"], ["--upload-expiry", "soon"], ["--secret", "short"]])
def test_bad_arguments_are_said(tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path), *wrong])
    assert wrong[0] in capsys.readouterr().err
