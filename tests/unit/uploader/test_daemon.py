from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from shared.bell import ring
from shared.contract.session import Phase
from shared.contract.upload import StorageState, Upload, Worker
from shared.layout import worker_file
from shared.storage.errors import Trouble
from tests.unit.uploader.bridge import Bridge
from tests.unit.uploader.harbour import WORKER, Harbour, write
from tests.unit.uploader.memory_storage import BUCKET
from uploader.daemon import LEAVE_SECONDS
from uploader.requests import leave
from uploader.run import Watch
from uploader.silence import SILENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def receipt(harbour: Harbour) -> str | None:
    upload = Upload.read(harbour.root / "training_session_1" / "upload.json")
    return upload.receipt.token if upload and upload.receipt else None


def test_a_session_is_found_carried_and_let_go(harbour: Harbour) -> None:
    bridge = Bridge(harbour)
    bridge.tick(2)
    write(harbour.session().output / "a.txt", "a")
    harbour.drained()
    bridge.until(lambda: receipt(harbour) == "drain-1")
    bridge.tick(3)
    assert bridge.daemon.carriers == ()


@pytest.mark.parametrize("name", [".retry-1.json.abc", "note.txt", "other-1.json"])
def test_anything_else_among_the_requests_wakes_nobody(harbour: Harbour, name: str) -> None:
    bridge = Bridge(harbour)
    harbour.drained()
    bridge.until(lambda: receipt(harbour) == "drain-1")
    write(harbour.session().requests / name, "{}")
    bridge.tick(3)
    asked = len(harbour.storage.calls)
    bridge.tick(30)
    assert len(harbour.storage.calls) == asked


def test_a_session_that_was_let_go_is_taken_up_again_for_a_retry_and_for_a_new_drain(harbour: Harbour) -> None:
    bridge = Bridge(harbour)
    harbour.storage.fail("put", Trouble.TOO_LARGE, key="a.txt")
    write(harbour.session().output / "a.txt", "a")
    harbour.drained()
    bridge.until(lambda: receipt(harbour) == "drain-1" and not bridge.daemon.carriers)
    leave(harbour.session().requests, "retry")
    bridge.until(lambda: harbour.content("outputs/a.txt") == b"a")
    bridge.until(lambda: not bridge.daemon.carriers)
    harbour.drained("drain-2")
    bridge.until(lambda: receipt(harbour) == "drain-2")


def test_news_wait_for_the_next_poll_or_for_the_bell(harbour: Harbour) -> None:
    os.utime(harbour.root, (1, 1))
    bridge = Bridge(harbour)
    bridge.daemon.tick()
    harbour.session()
    os.utime(harbour.root, (1, 1))
    bridge.daemon.tick()
    assert not bridge.daemon.carriers
    for news in (harbour.session, harbour.drained):
        news()
        ring(harbour.root)
        for _ in range(10):
            bridge.daemon.tick()
    assert receipt(harbour) == "drain-1"
    assert harbour.clock.passed == 0


def test_another_workers_session_is_left_alone_until_it_has_been_silent(harbour: Harbour) -> None:
    write(harbour.session(worker="worker-2").output / "a.txt", "a")
    bridge = Bridge(harbour)
    for _ in range(10):
        bridge.tick(20)
        harbour.session(worker="worker-2")
    assert bridge.daemon.carriers == ()
    silent_since = harbour.clock.monotonic()
    bridge.until(lambda: receipt(harbour) == "adopted")
    assert harbour.clock.monotonic() - silent_since >= SILENCE_SECONDS - 1
    bridge.tick(3)
    asked = len(harbour.storage.calls)
    bridge.tick(30)
    assert (bridge.daemon.carriers, len(harbour.storage.calls)) == ((), asked)


def test_a_session_that_was_refused_and_closed_never_claims_the_prefix_later(harbour: Harbour) -> None:
    harbour.session(phase=Phase.CLOSED)
    bridge = Bridge(harbour)
    bridge.tick(30)
    assert (bridge.daemon.carriers, harbour.storage.calls) == ((), [])


def test_storage_is_asked_by_one_probe_while_it_is_away(harbour: Harbour) -> None:
    bridge = Bridge(harbour)
    for number in range(50):
        write(harbour.session().output / f"{number}.txt", "x")
    bridge.tick(3)
    harbour.storage.fail("*", Trouble.UNREACHABLE, times=100_000)
    bridge.tick(10)
    asked = len(harbour.storage.calls)
    bridge.tick(600)
    assert len(harbour.storage.calls) - asked < 30
    beat = Worker.read(worker_file(harbour.root, WORKER))
    assert beat is not None
    assert (beat.storage, bool(beat.problem)) == (StorageState.DOWN, True)
    harbour.storage.faults.clear()
    harbour.drained()
    bridge.until(lambda: receipt(harbour) == "drain-1")
    assert len([key for key in harbour.storage.objects if "/outputs/" in key]) == 50


def test_trouble_with_listing_the_runs_does_not_stop_those_that_are_carried(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = Bridge(harbour)
    harbour.session()
    bridge.tick(3)

    def stale(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("uploader.discovery.sessions", stale)
    write(harbour.session().output / "a.txt", "a")
    bridge.until(lambda: harbour.content("outputs/a.txt") == b"a")


def test_one_runs_trouble_with_its_disk_is_not_the_others(harbour: Harbour) -> None:
    bridge = Bridge(harbour)
    other = harbour.session("training_session_2", prefix="run/other")
    shutil.rmtree(other.output)
    other.ledger(1).mkdir()
    write(harbour.session().output / "a.txt", "a")
    harbour.drained()
    bridge.until(lambda: receipt(harbour) == "drain-1")


def test_told_to_leave_it_looks_once_more_and_delivers_first(harbour: Harbour) -> None:
    bridge, told = Bridge(harbour), threading.Event()
    harbour.session()
    bridge.tick(5)
    write(harbour.session().output / "outputs/a.txt", "a")
    told.set()
    ticks = bridge.daemon.tick

    def tick() -> None:
        ticks()
        bridge.wake.set()
        harbour.clock.advance(0.5)

    bridge.daemon.tick = tick  # type: ignore[method-assign]  # time passes
    bridge.daemon.run(told)
    assert harbour.content("outputs/a.txt") == b"a"


def test_told_to_leave_it_does_not_wait_for_ever(harbour: Harbour) -> None:
    bridge, told = Bridge(harbour), threading.Event()
    harbour.storage.fail("*", Trouble.UNREACHABLE, times=100_000)
    write(harbour.session().output / "a.txt", "a")
    told.set()
    ticks = bridge.daemon.tick

    def tick() -> None:
        ticks()
        bridge.wake.set()
        harbour.clock.advance(1)

    bridge.daemon.tick = tick  # type: ignore[method-assign]  # time passes
    before = harbour.clock.passed
    bridge.daemon.run(told)
    assert LEAVE_SECONDS <= harbour.clock.passed - before <= LEAVE_SECONDS + 30


def test_each_folder_of_a_watched_folder_is_a_run(harbour: Harbour) -> None:
    watched = harbour.root / "watched"
    write(watched / "pictures/a.txt", "a")
    write(watched / "Büro/b.txt", "b")
    write(watched / ".hidden/c.txt", "c")
    write(watched / "loose.txt", "d")
    (watched / "link").symlink_to(harbour.root)
    bridge = Bridge(harbour, Watch(watched, BUCKET, "run"), hurry=True)
    bridge.tick()
    bridge.until(lambda: bridge.daemon.at_rest)
    assert {key for key in harbour.storage.objects if "/outputs/" in key} == {
        "run/B=C3=BCro/outputs/b.txt",
        "run/pictures/outputs/a.txt",
    }
    assert bridge.daemon.delivered() == (2, 2)
