"""Canary values for every secret that a worker may have, and every place where one could come to light."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt
import pytest
import yaml

from shared.log_lines import LogFormat
from shared.secrecy import MASK
from tests.scenario.stack import OUTPUTS, PROJECT, Stack, end, job, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What the trainer is given, because it needs it; everything else it must not even see.
FOR_THE_TRAINER = {
    "HF_TOKEN": "hf_CanaryOfTheHubTokenOnly0123456789",
    "WANDB_API_KEY": "canary0of0wandb0key0123456789abcdef",
    "MY_PRIVATE_KEY": "-----BEGIN CANARY KEY-----\nY2FuYXJ5LWxpbmUtb25l\nY2FuYXJ5/bGluZS10d28+\n-----END CANARY KEY",
}
FOR_OTHERS = {
    "RUNPOD_AI_API_KEY": "rpa_canaryOfTheEndpointsOwnKey",
    "RUNPOD_API_KEY": "rpa_canaryOfTheUsersOwnRunPodKey",
    "AWS_SECRET_ACCESS_KEY": "canary/of+the/AWS/key=0123456789",
    "DATABASE_URL": "postgres://me:canary%40of-the-database@127.0.0.1/x",
    "GITHUB_TOKEN": "ghp_canaryOfTheForgeToken0123456789",
}


def pieces(value: str) -> list[str]:
    """Return what of a secret must show nowhere: its lines, the parts of a signed token, the password in an address."""
    if "://" in value:
        return [value.partition("://")[2].partition(":")[2].partition("@")[0]]
    lines = [line for line in value.splitlines() if "CANARY KEY" not in line]
    return [piece for line in lines for piece in ([*line.split(".")[1:], line] if line.count(".") == 2 else [line])]


def forms(piece: str) -> set[bytes]:
    """Return the ways in which programs write a text: plainly, in JSON, in an address, in hex, and in base64."""
    raw = piece.encode()
    found = {raw, json.dumps(piece)[1:-1].encode(), quote(piece, safe="").encode(), raw.hex().encode()}
    for shift in range(3):
        # Where the text lies in a longer one decides how its bytes fall into groups of three; the edges are others'.
        coded = base64.b64encode(b"\0" * shift + raw)[-(-shift * 4 // 3) :]
        found |= {
            coded[: len(coded) // 4 * 4 - 4],
            coded[: len(coded) // 4 * 4 - 4].translate(bytes.maketrans(b"+/", b"-_")),
        }
    return found


class Canaries:
    """A worker full of canaries, and what is found of them."""

    def __init__(self, worker: Stack) -> None:
        key = worker.server.tokens.sign({"role": "service_role", "ref": "canaryOfTheServiceKeysClaims"}, 86_400)
        assert jwt.get_unverified_header(key)
        worker.environ |= {**FOR_THE_TRAINER, **FOR_OTHERS, "SUPABASE_SERVICE_KEY": key}
        self.worker = worker
        self.key = key
        self._forms = {
            (name, form)
            for name in (*FOR_THE_TRAINER, *FOR_OTHERS, "SUPABASE_SERVICE_KEY")
            for piece in (*pieces(worker.environ[name]), *(["canaryOfTheServiceKeysClaims"] if name[0] == "S" else []))
            for form in forms(piece)
        }

    def found_in(self, told: dict[str, bytes], among: dict[str, str] | None = None) -> list[tuple[str, str]]:
        """Return where which variable shows; with ``among`` only those are looked for."""
        return [
            (where, name)
            for where, content in told.items()
            for name, form in self._forms
            if (among is None or name in among) and form in content
        ]

    def everywhere(self) -> dict[str, bytes]:
        """Return everything that a worker leaves behind: on the disk, in the bucket, at RunPod, and on its output."""
        worker = self.worker
        told = {f"log of {path.name}": path.read_bytes() for path in worker.folder.glob("*.log")}
        for path in (path for folder in (worker.root, worker.folder / "tmp") for path in folder.rglob("*")):
            if path.is_file():
                told[str(path)] = path.read_bytes()
        for record in worker.storage.walk(OUTPUTS, ""):
            with worker.storage.open(OUTPUTS, record.key) as download:
                told[f"object {record.key}"] = b"".join(download.blocks())
            known = worker.storage.info(OUTPUTS, record.key)
            told[f"record of {record.key}"] = repr(known).encode()
        for number, each in worker.queue.queue.jobs.items():
            # What was sent is the sender's own; what came back is not.
            told[f"answer to {number}"] = json.dumps(each.shown(), default=repr).encode()
            told[f"progress of {number}"] = repr(each.progress).encode()
        for arguments in (("status",), ("status", "--json"), ("verify",), ("doctor",), ("doctor", "--json")):
            done = subprocess.run(
                [sys.executable, "-m", "uploader", *arguments],
                cwd=PROJECT,
                env=worker.environ,
                capture_output=True,
                timeout=60,
                check=False,
            )
            told[f"uploader {arguments}"] = done.stdout + done.stderr
        return told


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    with stack(tmp_path) as worker:
        (tmp_path / "tmp").mkdir()
        worker.environ |= {
            "TMPDIR": str(tmp_path / "tmp"),
            "TRAINER_ENV": "WANDB_*,WANDB_API_KEY,MY_PRIVATE_KEY,GITHUB_*,AWS_*,RUNPOD_API_KEY,SUPABASE_*,DATA*",
            "RUNPOD_DEBUG_LEVEL": "DEBUG",
        }
        before = os.umask(0)
        try:
            yield Canaries(worker)
        finally:
            os.umask(before)


def with_a_secret(sent: dict[str, Any], secret: str) -> dict[str, Any]:
    config = yaml.safe_load(sent["config"])
    config["meta"]["note"] = f"token {secret}"
    return {**sent, "config": yaml.safe_dump(config)}


def is_private(mode: int) -> bool:
    return not mode & (stat.S_IRWXG | stat.S_IRWXO)


@pytest.mark.guarantee(
    "secret", fault="the trainer prints its environment and dies of it, and jobs ask for variables or hold them"
)
@pytest.mark.parametrize("log_format", list(LogFormat))
def test_no_canary_shows_anywhere_and_no_file_is_for_others(canaries: Canaries, log_format: str) -> None:
    worker = canaries.worker
    worker.environ["LOG_FORMAT"] = log_format
    handler = worker.start_worker()
    dying = worker.send(job("dying", steps=6, misbehave={"kind": "tell", "step": 5, "code": 1}))
    trainers = until(lambda: [process for process in worker.trainers() if process.is_running()], worker.log)
    seen = {f"process {process.pid}": repr((process.environ(), process.cmdline())).encode() for process in trainers}
    holding = worker.send(with_a_secret(job("holding"), FOR_THE_TRAINER["HF_TOKEN"]))
    asking = worker.send(with_a_secret(job("asking"), "${HF_TOKEN}"))
    died, held, asked = (worker.result(number) for number in (dying, holding, asking))

    # The trainer has what it needs, and nothing else.
    assert canaries.found_in(seen, {**FOR_OTHERS, "SUPABASE_SERVICE_KEY": ""}) == []
    assert {name for _, name in canaries.found_in(seen)} == FOR_THE_TRAINER.keys()
    # It did tell: where its secrets would show there are asterisks.
    assert (died["status"], MASK in died["error"]) == ("FAILED", True), died
    [raw] = worker.root.rglob("trainer.out")
    for content in (raw.read_bytes(), worker.storage.read(OUTPUTS, "run/dying/logs/training.log") or b""):
        assert [name for name in FOR_THE_TRAINER if f"{name}=***".encode() not in content] == []
    # Who puts one into a job hears so, and nothing of it is kept.
    assert "The job holds the value of HF_TOKEN" in held["error"]
    assert "holds ${" in asked["error"]
    assert worker.storage.folder(OUTPUTS, "run").folders == ("dying",)

    assert end(handler, signal.SIGTERM) == 0
    _check_the_way_by_hand(canaries)
    assert canaries.found_in(canaries.everywhere()) == []
    modes = {path: path.lstat().st_mode for path in (*worker.root.rglob("*"), *(worker.folder / "tmp").rglob("*"))}
    assert len(modes) > 40
    assert [str(path) for path, mode in modes.items() if not is_private(mode)] == []


def _check_the_way_by_hand(canaries: Canaries) -> None:
    """The SDK prints a job that is given by hand, and what its handler raises, at this level of its log."""
    sent = with_a_secret(job("by_hand"), FOR_OTHERS["GITHUB_TOKEN"])
    environ = {name: value for name, value in canaries.worker.environ.items() if not name.startswith("RUNPOD_WEBHOOK")}
    canaries.worker.environ = environ
    process = canaries.worker.start("handler", "--test_input", json.dumps({"input": sent}))
    assert process.wait(90) == 1
    printed = max(canaries.worker.folder.glob("handler-*.log"), key=lambda path: path.stat().st_mtime).read_text()
    assert "Retrieved local job" in printed
    assert f"token {MASK}" in printed
    assert json.loads(printed.splitlines()[-1])["error_code"] == "invalid_input"
