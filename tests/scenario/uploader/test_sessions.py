"""The daemon on a session, with a real process that writes as a trainer does."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from local.storage.faults import Fault
from shared.contract.process import identify
from shared.contract.session import Outcome, Saved
from shared.contract.upload import Upload
from tests.scenario.uploader.port import PREFIX, Port, kill, until, write_noise

if TYPE_CHECKING:
    import subprocess

CHUNK = 6 << 20

# Each line on stdin lets the trainer take one more step; ``hold`` on stdout says that it is in the middle of a file.
_TRAINER = """
import os, sys
os.makedirs("pictures/samples", exist_ok=True)
def step(): sys.stdin.readline()
{body}
step()
"""
_GROWING = """
file = open("pictures/pictures_000000004.{suffix}", "wb", buffering=0)
file.write(b"a" * 4_000_000)
step()
file.write(b"b" * 4_000_000)
file.close()
"""
_PREALLOCATED = """
file = open("pictures/pictures_000000004.{suffix}", "wb", buffering=0)
os.posix_fallocate(file.fileno(), 0, 8_000_000)
file.write(b"a" * 4_000_000)
step()
file.write(b"b" * 4_000_000)
file.close()
"""
_RENAMED = """
file = open("pictures/.tmp123", "wb", buffering=0)
os.posix_fallocate(file.fileno(), 0, 8_000_000)
file.write(b"a" * 4_000_000)
step()
file.write(b"b" * 4_000_000)
file.close()
os.rename("pictures/.tmp123", "pictures/pictures_000000004.{suffix}")
"""
_MAPPED = """
import mmap
file = open("pictures/pictures_000000004.{suffix}", "w+b", buffering=0)
os.posix_fallocate(file.fileno(), 0, 8_000_000)
memory = mmap.mmap(file.fileno(), 8_000_000)
file.close()
memory[:4_000_000] = b"a" * 4_000_000
step()
memory[4_000_000:] = b"b" * 4_000_000
memory.flush()
memory.close()
"""
WHOLE = b"a" * 4_000_000 + b"b" * 4_000_000


def train(port: Port, body: str) -> subprocess.Popen[bytes]:
    """Start a trainer and tell the uploader who it is."""
    process = port.trainer(_TRAINER.format(body=body))
    port.session(trainer=identify(process.pid))
    return process


def step(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def looked_twice(port: Port) -> None:
    """Wait until the uploader has had the time to make a mistake: two more beats of the run's status."""
    before = status_counter(port)
    until(lambda: status_counter(port) >= before + 2, "two more looks")


def status_counter(port: Port) -> int:
    status = port.status()
    return status.counter if status else 0


@pytest.mark.parametrize("body", [_GROWING, _PREALLOCATED, _RENAMED, _MAPPED])
def test_a_file_is_not_published_before_it_is_complete(harbour: Port, body: str) -> None:
    trainer = train(harbour, body.format(suffix="ckpt"))
    harbour.start("run")
    until(lambda: harbour.status() is not None, "the first status")
    looked_twice(harbour)
    assert harbour.received("checkpoints/pictures_000000004.ckpt") == 0
    step(trainer)
    until(lambda: harbour.is_there("checkpoints/pictures_000000004.ckpt"), "the checkpoint")
    assert harbour.content("checkpoints/pictures_000000004.ckpt") == WHOLE
    step(trainer)
    trainer.wait(10)
    receipt = harbour.drain().receipt
    assert receipt is not None
    assert receipt.complete
    assert harbour.received("checkpoints/pictures_000000004.ckpt") == len(WHOLE)
    harbour.checked_manifest()


@pytest.mark.parametrize("body", [_GROWING, _PREALLOCATED])
def test_what_a_killed_trainer_was_writing_is_torn(harbour: Port, body: str) -> None:
    trainer = train(harbour, body.format(suffix="ckpt"))
    harbour.start("run")
    until(lambda: harbour.status() is not None, "the first status")
    path = harbour.session().output / "pictures/pictures_000000004.ckpt"
    until(lambda: path.exists() and path.read_bytes()[:1] == b"a", "the trainer's first bytes")
    kill(trainer, signal.SIGKILL)
    harbour.drain(Outcome.INTERRUPTED)
    [entry] = harbour.checked_manifest().files
    assert (entry.key, entry.incomplete) == (f"{PREFIX}/incomplete/pictures_000000004.ckpt", True)


def test_what_the_trainer_said_was_saved_is_whole_although_it_was_killed(harbour: Port) -> None:
    trainer = train(harbour, _RENAMED.format(suffix="ckpt"))
    step(trainer)
    path = harbour.session().output / "pictures/pictures_000000004.ckpt"
    until(path.exists, "the file")
    kill(trainer, signal.SIGKILL)
    harbour.session(saved=(Saved(path="pictures/pictures_000000004.ckpt", step=4, at=time.time()),))
    now_gone = harbour.start("run")
    harbour.drain(Outcome.INTERRUPTED)
    [entry] = harbour.checked_manifest().files
    assert (entry.key, entry.step) == (f"{PREFIX}/checkpoints/pictures_000000004.ckpt", 4)
    assert now_gone.poll() is None


def test_a_log_is_published_while_it_grows_and_is_whole_at_the_end(harbour: Port) -> None:
    folder = harbour.session()
    # So long a cadence that the log is not taken for quiet, and published whole, before the test has looked.
    harbour.start("run", UPLOAD_LOG_SECONDS="5")
    until(lambda: harbour.status() is not None, "the first status")
    log = folder.training_log
    log.parent.mkdir(parents=True)
    log.write_text("one\nhal")
    until(lambda: harbour.content("logs/training.log") == b"one\n", "the log's first whole line")
    with log.open("a") as file:
        file.write("f\ntwo")
    until(lambda: harbour.content("logs/training.log") == b"one\nhalf\n", "the next lines")
    harbour.drain()
    assert harbour.content("logs/training.log") == b"one\nhalf\ntwo"
    harbour.checked_manifest()


@pytest.mark.parametrize("how", ["throttled", "slow server"])
def test_a_killed_uploader_sends_at_most_one_chunk_again(harbour: Port, how: str) -> None:
    size = 200_000_000
    if how == "slow server":
        harbour.server.faults.add(Fault(method="PATCH", path="/upload/resumable", latency=0.15))
    environ = {"UPLOAD_BANDWIDTH": "60M"} if how == "throttled" else {}
    digest = write_noise(harbour.session().output / "pictures/pictures_000000004.ckpt", size)
    key = "checkpoints/pictures_000000004.ckpt"
    for part in (0.25, 0.6):
        process = harbour.start("run", **environ)
        enough = part * size
        until(lambda: harbour.received(key) > enough, "some of it")  # noqa: B023 - waited for at once
        kill(process, signal.SIGKILL)
    harbour.server.faults.clear()
    harbour.start("run")
    harbour.drain()
    assert harbour.received(key) <= size + 2 * CHUNK
    assert harbour.digest(f"{PREFIX}/{key}") == digest


@pytest.mark.parametrize(
    "size", [64 << 20, pytest.param(2 << 30, marks=pytest.mark.skipif("FERRY_HEAVY" not in os.environ, reason="heavy"))]
)
def test_a_large_checkpoint_takes_little_memory(harbour: Port, size: int) -> None:
    import psutil

    folder = harbour.session()
    digest = write_noise(folder.output / "pictures/pictures_000000004.ckpt", size)
    process = harbour.start("run")
    measured, peak = psutil.Process(process.pid), 0

    def there() -> bool:
        nonlocal peak
        peak = max(peak, measured.memory_info().rss)
        return harbour.is_there("checkpoints/pictures_000000004.ckpt")

    until(there, "the checkpoint", 170)
    harbour.drain()
    assert harbour.digest(f"{PREFIX}/checkpoints/pictures_000000004.ckpt") == digest
    print(f"{size >> 20} MiB: peak {peak / 1e6:.0f} MB")
    assert peak < 150e6


def test_an_uploader_that_was_away_brings_what_was_written_meanwhile(harbour: Port) -> None:
    process = harbour.start("run")
    folder = harbour.session()
    write_noise(folder.output / "pictures/samples/1.png", 1000)
    until(lambda: (upload := Upload.read(folder.upload_file)) and upload.uploaded.files == 1, "the first sample")
    kill(process, signal.SIGKILL)
    write_noise(folder.output / "pictures/samples/2.png", 2000)
    harbour.start("run")
    harbour.drain()
    assert [entry.size for entry in harbour.checked_manifest().files] == [1000, 2000]
    assert harbour.received("samples/1.png") == 1000
