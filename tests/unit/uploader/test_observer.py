"""What the eyes of a run miss on a bad disk or with coarse times, and what its manifest says of that: nothing is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shared.contract.process import identify
from shared.patience import PATIENCE_SECONDS
from tests.unit.uploader.harbour import Berth, Harbour, hold_of, safetensors, swift_folder, write
from uploader import delivery, scan
from uploader.delivery import Deliverer
from uploader.results import Later, Vanished
from uploader.stage import Stage
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.contract.bucket import Manifest
    from uploader.scan import Seen

STALE = OSError(116, "Stale file handle")
CHECKPOINT = "pictures/pictures.safetensors"


@pytest.fixture
def harbour() -> Iterator[Harbour]:
    with swift_folder() as folder:
        yield Harbour(folder)


def manifest_of(harbour: Harbour) -> Manifest:
    manifest = harbour.manifest()
    assert manifest is not None
    return manifest


def closed(berth: Berth) -> None:
    berth.until(lambda: berth.carrier.stage is Stage.CLOSED)


def in_place(harbour: Harbour, path: Path, content: str, *, at: float | None = None) -> None:
    """Write a file without touching its folder, and have that be now, or at Unix seconds ``at``."""
    with path.open("r+" if path.exists() else "w") as file:
        file.write(content)
        file.truncate()
    moment = int((harbour.clock.now() if at is None else at) * 1e9)
    os.utime(path, ns=(moment, moment))


class Stutter:
    """A volume that hides each file once, at the second look of a name: the first is the listing's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
        self.left: dict[str, int] = {}
        self.times = times
        for module in ("settling", "growing"):
            monkeypatch.setattr(f"uploader.{module}.look", self.look)

    def look(self, root: Path, path: str) -> Seen | None:
        self.left.setdefault(path, self.times)
        self.left[path] -= 1
        return scan.look(root, path) if self.left[path] < 0 else scan.hidden(path, STALE)


# A disk that does not let one look


@pytest.mark.guarantee("true-manifest", fault="a file is not found for a moment after the last look")
def test_what_is_not_found_for_a_moment_after_the_last_look_is_looked_for_again(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = harbour.session()
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    berth.executors["small"].held = True
    sample = folder.output / "pictures/samples/a.png"
    write(sample, b"picture", age=10)
    harbour.drained()
    berth.until(lambda: hold_of(berth).flight.paths != ())
    berth.tick(5)
    hold_of(berth).observer._next_full_pass = float("inf")
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_open", not_found)
        berth.executors["small"].held = False
        berth.executors["small"].release()
    for _ in range(5):
        berth.carrier.tick(look=False)
    assert hold_of(berth).ledger.gone == 1
    closed(berth)
    assert harbour.content("samples/a.png") == b"picture"
    assert (manifest_of(harbour).complete, manifest_of(harbour).missing) == (True, ())


def not_found(*_: object) -> None:
    raise FileNotFoundError(2, "No such file or directory")


@pytest.mark.guarantee("true-manifest", fault="a file is deleted after the last look, before it could be uploaded")
def test_what_stays_away_after_the_last_look_is_named(harbour: Harbour) -> None:
    folder = harbour.session()
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    berth.executors["small"].held = True
    write(folder.output / "pictures/samples/a.png", b"picture", age=10)
    harbour.drained()
    berth.until(lambda: hold_of(berth).flight.paths != ())
    (folder.output / "pictures/samples/a.png").unlink()
    berth.executors["small"].held = False
    berth.executors["small"].release()
    closed(berth)
    assert [entry.path for entry in manifest_of(harbour).missing] == ["pictures/samples/a.png"]


@pytest.mark.guarantee("true-manifest", fault="a volume hides the last checkpoint and the log at the last look")
@pytest.mark.parametrize("times", [1, 20])
def test_what_a_volume_hides_for_a_moment_at_the_last_look_is_delivered(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    folder = harbour.session(trainer=identify())
    berth = Berth(harbour, harbour.session_run())
    write(folder.output / "logs/training.log", "one\n")
    berth.until(lambda: harbour.content("logs/training.log") == b"one\n")
    write(folder.output / CHECKPOINT, safetensors())
    write(folder.output / "logs/training.log", "one\nlast words\n")
    harbour.session(trainer=None)
    harbour.drained()
    Stutter(monkeypatch, times=times)
    closed(berth)
    assert (manifest_of(harbour).complete, manifest_of(harbour).missing) == (True, ())
    assert harbour.content("checkpoints/pictures.safetensors") == safetensors()
    assert harbour.content("logs/training.log") == b"one\nlast words\n"


@pytest.mark.guarantee("true-manifest", fault="a volume hides a file for good")
def test_what_a_volume_hides_for_good_is_named(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = harbour.session(trainer=identify())
    berth = Berth(harbour, harbour.session_run())
    berth.tick(3)
    write(folder.output / CHECKPOINT, safetensors())
    harbour.session(trainer=None)
    harbour.drained()
    Stutter(monkeypatch, times=1_000_000)
    before = harbour.clock.passed
    closed(berth)
    assert PATIENCE_SECONDS <= harbour.clock.passed - before <= PATIENCE_SECONDS + 5
    [missing] = manifest_of(harbour).missing
    assert missing.path == CHECKPOINT
    assert "Stale file handle" in missing.reason


def test_a_checkpoint_that_cannot_be_read_for_a_moment_is_not_taken_for_a_torn_one(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = harbour.session(trainer=identify())
    berth = Berth(harbour, harbour.session_run())
    berth.tick(3)
    write(folder.output / CHECKPOINT, safetensors())
    harbour.session(trainer=None)
    harbour.drained()
    answers = [OSError(5, "Input/output error"), OSError(5, "Input/output error")]

    def adds_up(*_: object) -> bool:
        if answers:
            raise answers.pop()
        return True

    monkeypatch.setattr("uploader.settling.adds_up", adds_up)
    closed(berth)
    assert harbour.content("checkpoints/pictures.safetensors") == safetensors()
    assert manifest_of(harbour).complete


def test_a_folder_that_a_volume_hides_for_a_moment_is_looked_into_before_the_end(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = harbour.session(trainer=identify())
    berth = Berth(harbour, harbour.session_run())
    berth.tick(3)
    write(folder.output / "samples/1.jpg", "sample")
    harbour.session(trainer=None)
    harbour.drained()
    scandir, errors = os.scandir, [STALE, STALE]

    def stuttering(path: Path) -> Iterator[os.DirEntry[str]]:
        if path.name == "samples" and errors:
            raise errors.pop()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", stuttering)
    closed(berth)
    assert errors == []
    assert (manifest_of(harbour).complete, harbour.content("samples/1.jpg")) == (True, b"sample")


def test_a_folder_that_cannot_be_read_is_named_once_and_taken_back_when_it_can(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = Berth(harbour, harbour.watched_run())
    write(berth.run.output / "a.txt", "a")
    write(berth.run.output / "samples/1.jpg", "sample")
    scandir = os.scandir

    def denied(path: Path) -> Iterator[os.DirEntry[str]]:
        if path.name == "samples":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    closed(berth)
    assert [missing.path for missing in manifest_of(harbour).missing] == ["samples"]
    changed = hold_of(berth).observer.changed_at
    berth.tick(100)
    assert hold_of(berth).observer.changed_at == changed
    assert berth.carrier.stage is Stage.CLOSED
    monkeypatch.setattr(os, "scandir", scandir)
    berth.until(lambda: harbour.content("samples/1.jpg") == b"sample")
    closed(berth)
    assert (manifest_of(harbour).complete, manifest_of(harbour).missing) == (True, ())


# Times that tell little


@pytest.mark.guarantee("true-manifest", fault="a file is rewritten within one tick of a volume's clock")
def test_a_file_that_is_rewritten_within_one_second_of_a_coarse_volume_is_sent_as_it_is(harbour: Harbour) -> None:
    folder = harbour.session(trainer=identify())
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    second = int(harbour.clock.now())
    folder.output.mkdir(parents=True, exist_ok=True)
    in_place(harbour, folder.output / "state.json", "1", at=second)
    berth.tick(3, 0.3)
    in_place(harbour, folder.output / "state.json", "2", at=second)
    berth.tick(40)
    assert harbour.content("outputs/state.json") == b"2"


def test_a_database_of_a_day_to_come_is_sent(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.watched_run())
    write(berth.run.output / "m.db", "data", age=-86_400)
    berth.until(lambda: harbour.content("logs/m.db") == b"data")
    closed(berth)


def test_a_clock_that_is_set_back_delays_no_attempt(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    berth = Berth(harbour, harbour.watched_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    deliver, answers = Deliverer.deliver, [Later("the disk stutters")]
    monkeypatch.setattr(Deliverer, "deliver", lambda self, parcel: answers.pop() if answers else deliver(self, parcel))
    write(berth.run.output / "a.txt", "one")
    berth.until(lambda: not answers)
    berth.tick()
    harbour.clock.wall -= 3600
    berth.until(lambda: harbour.content("outputs/a.txt") == b"one", ticks=10)


# A manifest that is written too early, or not again


@pytest.mark.parametrize("seconds", range(50, 61))
def test_what_is_rewritten_in_its_place_in_the_quiet_minute_is_in_the_manifest(harbour: Harbour, seconds: int) -> None:
    berth = Berth(harbour, harbour.watched_run())
    path = berth.run.output / "a.txt"
    write(path, "one")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"one")
    observer = hold_of(berth).observer
    berth.until(lambda: harbour.clock.monotonic() >= observer.changed_at + seconds)
    in_place(harbour, path, "two")
    closed(berth)
    assert harbour.content("outputs/a.txt") == b"two"


def test_the_manifest_of_a_quiet_run_waits_for_no_full_look_that_is_due_much_later(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.watched_run())
    write(berth.run.output / "a.txt", "one")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"one")
    observer = hold_of(berth).observer
    closed(berth)
    assert harbour.clock.monotonic() - observer.changed_at <= 62


def test_the_last_line_of_a_log_that_is_copied_rarely_is_in_the_manifest() -> None:
    with swift_folder() as folder:
        harbour = Harbour(folder, log_seconds=120)
        berth = Berth(harbour, harbour.watched_run())
        write(berth.run.output / "x.log", "one\n")
        berth.until(lambda: harbour.content("logs/x.log") == b"one\n")
        berth.tick(5)
        with (berth.run.output / "x.log").open("a") as file:
            file.write("two\n")
        closed(berth)
        assert harbour.content("logs/x.log") == b"one\ntwo\n"


@pytest.mark.guarantee("true-manifest", fault="something that cannot be carried appears after the manifest")
def test_what_cannot_be_carried_and_appears_after_the_manifest_is_named_there(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.watched_run())
    write(berth.run.output / "a.txt", "one")
    closed(berth)
    (berth.run.output / "link.safetensors").symlink_to("nowhere")
    berth.until(lambda: bool(manifest_of(harbour).missing))
    assert [missing.path for missing in manifest_of(harbour).missing] == ["link.safetensors"]
    (berth.run.output / "link.safetensors").unlink()
    berth.tick(100)
    assert berth.carrier.stage is Stage.CLOSED


# Logs


def test_a_log_that_was_away_when_it_was_to_be_sent_is_sent_when_it_is_back(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.watched_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    path, away = berth.run.output / "x.log", harbour.root / "away"
    for executor in berth.executors.values():
        executor.held = True
    write(path, "line\n", age=100)
    berth.tick()
    path.rename(away)
    for executor in berth.executors.values():
        executor.held = False
        executor.release()
    berth.tick(3)
    row = hold_of(berth).ledger.file("x.log")
    assert row is not None
    assert row.state is State.GONE
    away.rename(path)
    berth.until(lambda: harbour.content("logs/x.log") == b"line\n")


def test_a_log_that_grows_for_days_leaves_no_marks_behind(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.watched_run())
    path = berth.run.output / "x.log"
    write(path, "line\n")
    for _ in range(20):
        berth.tick(25)
        with path.open("a") as file:
            file.write("line\n")
    assert len(hold_of(berth).observer._familiar) <= 1  # nothing else shows it before days have passed


@pytest.mark.guarantee("every-wait-ends", fault="a volume lists a file that nobody can open")
@pytest.mark.parametrize("watched", [True, False])
def test_a_file_that_listings_show_and_nobody_can_open_is_named_in_the_end(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, *, watched: bool
) -> None:
    folder = harbour.session(trainer=identify())
    berth = Berth(harbour, harbour.watched_run() if watched else harbour.session_run())
    berth.tick(3)
    monkeypatch.setattr(Deliverer, "deliver", lambda *_: Vanished())
    write(berth.run.output / "ghost.txt", "boo")
    if not watched:
        assert folder.output == berth.run.output
        harbour.session(trainer=None)
        harbour.drained()
    closed(berth)
    assert [missing.path for missing in manifest_of(harbour).missing] == ["ghost.txt"]
    berth.tick(100)
    assert berth.carrier.stage is Stage.CLOSED
