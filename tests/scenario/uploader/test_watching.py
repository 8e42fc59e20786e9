"""The standalone uploader on a folder: one pass, and the daemon."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

from local.storage.faults import Answer, Fault
from tests.scenario.uploader.port import BUCKET, Port, kill, until, write_noise

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def fill(port: Port) -> Path:
    """Write a small run and return its folder."""
    run = port.watched / "pictures"
    write_noise(run / "pictures_000000004.ckpt", 7_000_000)
    write_noise(run / "samples/1__000000004_0.png", 100_000, seed=2)
    (run / "log.txt").write_text("one\ntwo\nthr")
    (run / "config.yaml").write_text("never uploaded")
    (run / ".hidden").write_text("never uploaded")
    (run / "empty.txt").write_text("")
    (run / "größe #1.txt").write_text("size")
    return run


def test_one_pass_brings_everything_with_a_manifest(harbour: Port) -> None:
    fill(harbour)
    assert harbour.ends(harbour.watch("once")) == 0
    manifest = harbour.checked_manifest()
    assert manifest.complete
    assert {entry.key.removeprefix("run/pictures/") for entry in manifest.files} == {
        "checkpoints/pictures_000000004.ckpt",
        "logs/log.txt",
        "outputs/empty.txt",
        "outputs/gr=C3=B6=C3=9Fe =231.txt",
        "samples/1__000000004_0.png",
    }
    assert harbour.content("logs/log.txt") == b"one\ntwo\nthr"
    assert "Everything is uploaded and verified: 5 files" in harbour.printed()


def test_touched_files_and_a_deleted_or_broken_ledger_send_nothing_twice(harbour: Port) -> None:
    run = fill(harbour)
    assert harbour.ends(harbour.watch("once")) == 0
    harbour.server.stats.reset()
    for path in run.rglob("*"):
        path.touch()
    assert harbour.ends(harbour.watch("once")) == 0
    ledger = next((harbour.watched / ".uploader").rglob("ledger.1.sqlite3"))
    ledger.unlink()
    assert harbour.ends(harbour.watch("once")) == 0
    ledger.write_bytes(b"SQLite format 3\0 and then nonsense" * 200)
    assert harbour.ends(harbour.watch("once")) == 0
    assert list(ledger.parent.glob("*.broken"))
    for entry in harbour.checked_manifest().files:
        assert harbour.server.stats.received_for(BUCKET, entry.key) == 0, entry.key


def test_one_bad_file_is_listed_and_holds_up_nothing(harbour: Port) -> None:
    run = fill(harbour)
    refusal = json.dumps({"statusCode": "415", "error": "invalid_mime_type", "message": "mime type is not supported"})
    harbour.server.faults.add(Fault(method="POST", path=r"samples/", answer=Answer(status=400, body=refusal)))
    write_noise(run / "huge.bin", 8_000_000)
    too_large = Answer(status=413, body="Maximum size exceeded", content_type="text/plain")
    harbour.server.faults.add(Fault(method="POST", path=r"/upload/resumable$", count=1, answer=too_large))
    process = harbour.watch("once")
    assert harbour.ends(process) == 1
    manifest = harbour.checked_manifest()
    assert not manifest.complete
    assert len(manifest.missing) == 2
    assert len(manifest.files) == 4
    assert "Traceback" not in harbour.printed()
    assert "samples/1__000000004_0.png" in harbour.printed(process)


def test_the_daemon_carries_what_comes_and_leaves_when_told(harbour: Port) -> None:
    run = fill(harbour)
    process = harbour.watch("run")
    until(lambda: harbour.is_there("checkpoints/pictures_000000004.ckpt"), "the first checkpoint")
    digest = write_noise(run / "pictures_000000008.ckpt", 9_000_000, seed=8)
    process.send_signal(signal.SIGTERM)
    assert harbour.ends(process) == 0
    assert harbour.digest("run/pictures/checkpoints/pictures_000000008.ckpt") == digest


def test_storage_may_be_away_at_the_start_and_come_back(harbour: Port) -> None:
    fill(harbour)
    down = harbour.server.faults.down()
    process = harbour.watch("once")
    until(lambda: "storage_down" in harbour.printed(process), "the log's word on Storage")
    harbour.server.faults.clear(down)
    assert harbour.ends(process) == 0
    assert harbour.checked_manifest().complete


def test_a_wrong_key_is_one_sentence(harbour: Port) -> None:
    fill(harbour)
    process = harbour.watch("once", SUPABASE_SERVICE_KEY=harbour.server.service_key[:-4] + "AAAA")
    assert harbour.ends(process) == 1
    printed = harbour.printed(process)
    assert "SUPABASE_SERVICE_KEY" in printed
    assert "Traceback" not in printed
    assert harbour.server.service_key[:-4] not in printed


def test_a_missing_bucket_is_one_sentence(harbour: Port) -> None:
    fill(harbour)
    process = harbour.start("once", "--watch", str(harbour.watched), "--bucket", "nowhere")
    assert harbour.ends(process) == 1
    assert "Create the bucket in Supabase, or correct its name." in harbour.printed(process)
    assert "Traceback" not in harbour.printed(process)


def test_a_second_uploader_waits_and_one_pass_says_so(harbour: Port) -> None:
    fill(harbour)
    first = harbour.watch("run")
    until(lambda: "ready" in harbour.printed(first), "the first uploader")
    second = harbour.watch("run")
    once = harbour.watch("once")
    until(lambda: "another_uploader_works_here" in harbour.printed(second), "the second one's word")
    assert harbour.ends(once) == 3
    assert "Another uploader works on" in harbour.printed(once)
    kill(first, signal.SIGKILL)
    until(lambda: "ready" in harbour.printed(second), "the second one's turn")
    third = harbour.watch("run")
    until(lambda: "another_uploader_works_here" in harbour.printed(third), "the third one's word")
    third.send_signal(signal.SIGTERM)
    assert harbour.ends(third, 10) == 3


def test_a_root_that_is_watched_as_well_does_not_lock_itself_out(harbour: Port) -> None:
    fill(harbour)
    assert harbour.ends(harbour.watch("once", TRAINING_ROOT=str(harbour.watched))) == 0


def test_links_pipes_and_odd_names_in_the_tree(harbour: Port, tmp_path: Path) -> None:
    run = fill(harbour)
    (run / "link").symlink_to(tmp_path)
    os.mkfifo(run / "pipe")
    (run / os.fsdecode(b"odd\xff.txt")).write_text("odd")
    assert harbour.ends(harbour.watch("once")) == 1
    manifest = harbour.checked_manifest()
    assert {missing.path for missing in manifest.missing} == {"link", "pipe"}
    assert harbour.content("outputs/odd=FF.txt") == b"odd"


def test_many_small_files_take_little_memory(harbour: Port, request: pytest.FixtureRequest) -> None:
    import psutil

    count = 10_000 if os.environ.get("FERRY_HEAVY") else 2_000
    samples = harbour.watched / "pictures" / "samples"
    samples.mkdir(parents=True)
    for number in range(count):
        (samples / f"{number}.png").write_bytes(f"sample {number}".encode())
    started = time.monotonic()
    process = harbour.watch("once")
    peak = 0
    measured = psutil.Process(process.pid)

    def over() -> bool:
        nonlocal peak
        try:
            peak = max(peak, measured.memory_info().rss)
        except psutil.Error:
            return True
        return process.poll() is not None

    until(over, "the end", 170)
    print(f"{count} files: {time.monotonic() - started:.1f} s, {peak / 1e6:.0f} MB")
    assert process.returncode == 0, harbour.printed(process)[-2000:]
    manifest = harbour.manifest()
    assert manifest is not None
    assert len(manifest.files) == count
    assert peak < 150e6
