"""The command: what it prints, how it ends, and what it says about wrong arguments."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from local.proxy.command import main
from tests.unit.local.proxy.upstream import SECONDS, Upstream, content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def own_signals() -> Iterator[None]:
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in old.items():
        signal.signal(number, handler)


def test_it_prints_what_to_export_and_ends_when_told(behind: tuple[Upstream, str]) -> None:
    command = [sys.executable, "-m", "local", "proxy", "--to", behind[1], "--latency", "1", "--bandwidth", "100M"]
    fault = '{"method": "GET", "count": 1, "answer": 503}'
    with subprocess.Popen([*command, "--fault", fault], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name, _, url = process.stdout.readline().rstrip("\n").partition("=")
        assert name == "export SUPABASE_URL"
        with httpx.Client(base_url=url, timeout=SECONDS) as client:
            assert client.get("/_proxy/line").json() == {"round_trip": 0.001, "bandwidth": 100 << 20}
            assert [client.get("/size/9").status_code for _ in range(2)] == [503, 200]
            assert client.get("/size/9").content == content(9)
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0


@pytest.mark.usefixtures("own_signals")
def test_a_taken_port_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["--to", "http://127.0.0.1:1", "--port", port]) == 1
    assert "Choose another --host or --port" in capsys.readouterr().err


@pytest.mark.usefixtures("own_signals")
def test_a_wrong_address_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--to", "localhost"]) == 1
    assert "'localhost' is not the address of a server, such as http://127.0.0.1:8000. Correct --to" in (
        capsys.readouterr().err
    )


@pytest.mark.usefixtures("own_signals")
def test_a_certificate_that_is_none_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "certificate.pem"
    wrong.write_text("no certificate")
    assert main(["--to", "http://127.0.0.1:1", "--certificate", str(wrong), "--key", str(wrong)]) == 1
    assert f"Cannot use {wrong}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--latency", "soon"],
        ["--latency", "-1"],
        ["--bandwidth", "fast"],
        ["--bandwidth", "0"],
        ["--fault", "{"],
        ["--fault", '{"path": "("}'],
        ["--certificate", "here.pem"],
    ],
)
def test_bad_arguments_are_said(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--to", "http://127.0.0.1:1", *wrong])
    assert wrong[0] in capsys.readouterr().err
