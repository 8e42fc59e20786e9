"""Sessions outlive their workers: who takes over, when, and what becomes of the one who comes back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Status
from shared.contract.session import DrainRequest, Ending, Outcome, Phase, Saved, Session
from shared.contract.upload import Upload
from shared.errors import ErrorCode
from shared.storage.errors import Trouble
from tests.unit.uploader.fleet import Fleet, receipt, told
from tests.unit.uploader.harbour import Berth, Harbour, safetensors, swift_folder, write
from uploader.lanes import Lane
from uploader.run import ADOPTED, session_run
from uploader.silence import SILENCE_SECONDS
from uploader.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.layout import SessionFolder
    from shared.storage.body import Body

CHUNK = 6 << 20
CHECKPOINT = "pictures/pictures_000000004.safetensors"
STORED = "run/pictures/checkpoints/pictures_000000004.safetensors"


@pytest.fixture
def harbour() -> Iterator[Harbour]:
    with swift_folder() as folder:
        yield Harbour(folder)


def claims(harbour: Harbour) -> list[str]:
    return sorted(key for key in harbour.storage.objects if "/claims/" in key)


def session_of(folder: SessionFolder) -> Session:
    session = Session.read(folder.session_file)
    assert session is not None
    return session


def reopened(harbour: Harbour, folder: SessionFolder, worker: str) -> None:
    """Have the handler of ``worker`` take a session up once more."""
    attempt = session_of(folder).attempt + 1
    harbour.session(worker=worker, attempt=attempt, phase=Phase.PREPARING, ending=None, drain=None, trainer=None)


# A worker that is gone


@pytest.mark.guarantee("nothing-lost", fault="the worker is gone for good in the middle of an upload")
def test_the_session_of_a_dead_worker_is_finished_by_another_in_the_middle_of_the_file(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    content = safetensors(bytes(range(256)) * 28_000)
    write(folder.output / "pictures/samples/1.png", "a picture")
    write(folder.output / CHECKPOINT, content)
    harbour.storage.fail("append", Trouble.UNREACHABLE, times=0)
    append = harbour.storage.append

    def only_one_chunk(url: str, offset: int, body: Body) -> int:
        if offset:
            harbour.storage.fail("append", Trouble.UNREACHABLE, times=100)
        return append(url, offset, body)

    harbour.storage.append = only_one_chunk  # type: ignore[method-assign]  # the line breaks after one chunk
    fleet.until(lambda: harbour.storage.received.get(STORED, 0) >= CHUNK, "a")
    fleet.tick("a", count=3)
    harbour.storage.append = append  # type: ignore[method-assign]
    harbour.storage.faults.clear()
    fleet.kill("a")

    fleet.start("b")
    seconds = fleet.until(lambda: receipt(folder) == ADOPTED, "b")
    assert 2 * SILENCE_SECONDS <= seconds <= 2 * SILENCE_SECONDS + 20
    manifest = harbour.manifest()
    assert manifest is not None
    assert (manifest.outcome, manifest.complete) == (Outcome.INTERRUPTED, True)
    assert [entry.path for entry in manifest.files] == [CHECKPOINT, "pictures/samples/1.png"]
    assert harbour.storage.received[STORED] == len(content)
    assert harbour.storage.count("put", "samples/1.png") == 1
    assert claims(harbour) == ["run/pictures/claims/2.json"]
    asked = len(harbour.storage.calls)
    fleet.tick("b", count=200)
    assert (fleet.workers["b"].daemon.carriers, len(harbour.storage.calls)) == ((), asked)


def test_what_a_dead_worker_kept_in_its_spool_arrives(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints/", times=10_000)
    write(folder.output / CHECKPOINT, safetensors())
    fleet.until(lambda: harbour.storage.count("put", "checkpoints/") >= 4, "a")
    (folder.output / CHECKPOINT).unlink()
    fleet.until(lambda: any(folder.spool.glob("*.kept")), "a")
    fleet.tick("a", count=2)
    fleet.kill("a")
    harbour.storage.faults.clear()
    fleet.start("b")
    fleet.until(lambda: receipt(folder) == ADOPTED, "b")
    manifest = harbour.manifest()
    assert manifest is not None
    assert [entry.path for entry in manifest.files] == [CHECKPOINT]
    assert list(folder.spool.iterdir()) == []


def test_an_uploader_that_comes_back_under_its_own_name_waits_for_nothing(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    fleet.until(lambda: told(folder).claim_epoch == 1 if folder.upload_file.exists() else False, "a")
    fleet.kill("a")
    fleet.start("a")
    assert fleet.until(lambda: fleet.workers["a"].daemon.carriers and fleet.carrier("a").stage is Stage.OPEN, "a") < 5
    assert claims(harbour) == ["run/pictures/claims/1.json"]


@pytest.mark.guarantee("one-writer", fault="several workers find the session of a dead one at once")
@pytest.mark.parametrize("failures", [0, 2], ids=["the winner is done at once", "the other sees the winner at work"])
def test_of_two_that_find_a_dead_workers_session_one_takes_it_and_the_other_writes_nothing(
    harbour: Harbour, failures: int
) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: folder.upload_file.exists() and told(folder).uploaded.files == 1, "a")
    fleet.kill("a")
    write(folder.output / "b.txt", "b")
    fleet.start("b")
    fleet.start("c")
    harbour.storage.fail("put", Trouble.BROKEN, key="b.txt", times=failures)
    writers = set()

    def answered() -> bool:
        writers.add(told(folder).worker)
        return receipt(folder) == ADOPTED

    fleet.until(answered, "b", "c")
    fleet.tick("b", "c", count=200)
    assert writers == {"a", told(folder).worker}
    assert claims(harbour) == ["run/pictures/claims/2.json"]
    assert [bridge.daemon.carriers for bridge in fleet.workers.values()] == [(), ()]


def test_when_the_one_that_took_over_dies_as_well_the_next_one_goes_on(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "b", "c")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    for name in ("b", "c"):
        fleet.lane(name, Lane.SMALL).held = True
    fleet.until(lambda: folder.upload_file.exists() and told(folder).claim_epoch == 1, "b", "c")
    winner = told(folder).worker
    [other] = {"b", "c"} - {winner}
    fleet.tick("b", "c", count=60)
    fleet.kill(winner)
    fleet.lane(other, Lane.SMALL).held = False
    fleet.until(lambda: receipt(folder) == ADOPTED, other)
    assert (told(folder).worker, told(folder).claim_epoch) == (other, 2)


def test_a_dead_workers_session_that_never_had_its_prefix_leaves_it_alone(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "b")
    harbour.session(worker="a")
    fleet.tick("b", count=300)
    assert harbour.storage.objects == {}


@pytest.mark.guarantee("true-manifest", fault="a dead worker's session is found when a later run has used its prefix")
def test_a_dead_workers_session_does_not_come_back_over_a_later_run(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "old")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"old", "a")
    fleet.kill("a")
    write(folder.output / "a.txt", "old, too")
    later = harbour.session("training_session_2", worker="b")
    write(later.output / "a.txt", "new")
    ending = Ending(outcome=Outcome.FINISHED, by_itself=True, at=harbour.clock.now())
    harbour.session("training_session_2", ending=ending, drain=DrainRequest(token="two", at=0.0))
    fleet.start("b")
    fleet.until(lambda: receipt(later) == "two", "b")
    fleet.tick("b", count=400)
    manifest = harbour.manifest()
    assert manifest is not None
    assert (manifest.session_id, harbour.content("outputs/a.txt")) == ("training_session_2", b"new")
    assert receipt(folder) is None
    asked = len(harbour.storage.calls)
    fleet.tick("b", count=200)
    assert len(harbour.storage.calls) == asked


# An owner that comes back


def test_an_adopter_lets_go_as_soon_as_the_handler_moves_again_and_the_owner_goes_on(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a", "b")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a", "b")
    fleet.lane("b", Lane.SMALL).held = True
    write(folder.output / "b.txt", "b")
    fleet.until(lambda: told(folder).worker == "b" and "b.txt" in told(folder).in_flight, "b")
    refused = set()
    harbour.session()
    fleet.tick("a", "b")
    assert fleet.carrier("b").stage is Stage.LEFT
    for _ in range(30):
        harbour.session()
        fleet.tick("a", "b", count=5)
        refused.add(told(folder).refused)
        fleet.lane("b", Lane.SMALL).release()
    assert fleet.workers["b"].daemon.carriers == ()
    harbour.drained()
    fleet.until(lambda: receipt(folder) == "drain-1", "a", "b")
    assert (told(folder).worker, told(folder).claim_epoch) == ("a", 3)
    assert refused == {None}
    assert harbour.content("outputs/b.txt") == b"b"
    assert harbour.storage.count("put", "outputs/b.txt") == 1


@pytest.mark.guarantee("nothing-lost", fault="a worker is frozen until another has finished its session for it")
def test_an_owner_that_was_thought_dead_delivers_what_is_trained_after_all(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a", "b")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a", "b")
    fleet.until(lambda: receipt(folder) == ADOPTED, "b")
    write(folder.output / "a.txt", "after the pause")

    def delivered() -> bool:
        harbour.session()
        return harbour.content("outputs/a.txt") == b"after the pause"

    assert fleet.until(delivered, "a", "b") < 30
    harbour.drained()
    fleet.until(lambda: receipt(folder) == "drain-1", "a", "b")
    manifest = harbour.manifest()
    assert manifest is not None
    assert (manifest.outcome, len(manifest.files)) == (Outcome.FINISHED, 1)


@pytest.mark.guarantee(
    "one-writer", fault="the owner is frozen while it sends a file, and another sends a newer version"
)
@pytest.mark.parametrize("size", [2_000_000, 2 * CHUNK + 1_000_000], ids=["in one request", "in chunks"])
def test_what_a_frozen_owner_was_sending_never_replaces_what_came_after(harbour: Harbour, size: int) -> None:
    old, new = safetensors(b"old-" * (size // 4)), safetensors(b"new!" * (size // 4))
    fleet = Fleet(harbour, "a", "b")
    folder = harbour.session(worker="a")
    write(folder.output / CHECKPOINT, old)
    check, frozen = harbour.storage.while_sending, list[str]()

    def freeze(key: str) -> None:
        check(key)
        if key == STORED and not frozen and harbour.storage.received[key] > size - 800_000:
            # In the middle of the last request of ``a``: all of this happens while it stands still.
            frozen.append(key)
            write(folder.output / ".temporary", new)
            (folder.output / ".temporary").replace(folder.output / CHECKPOINT)
            harbour.session(saved=(Saved(path=CHECKPOINT, step=4, at=harbour.clock.now()),))
            fleet.until(lambda: receipt(folder) == ADOPTED, "b")

    harbour.storage.while_sending = freeze
    fleet.until(lambda: frozen, "a")
    fleet.tick("a", "b", count=30)
    manifest = harbour.manifest()
    assert manifest is not None
    assert [entry.key for entry in manifest.files] == [STORED]
    assert harbour.storage.objects[STORED].content == new
    assert told(folder).worker == "b"


@pytest.mark.parametrize("document", ["manifest.json", "status.json"])
@pytest.mark.guarantee(
    "true-manifest", fault="the owner is frozen while it writes its manifest, and another has finished"
)
def test_a_document_that_a_frozen_owner_was_writing_does_not_replace_the_later_one(
    harbour: Harbour, document: str
) -> None:
    fleet = Fleet(harbour, "a", "b")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "first")
    put, frozen = harbour.storage.put, list[str]()

    def freeze(bucket: str, key: str, body: Body, **more: object) -> None:
        if key == f"run/pictures/{document}" and harbour.content("outputs/a.txt") and not frozen:
            frozen.append(key)
            write(folder.output / "a.txt", "later")
            fleet.until(lambda: receipt(folder) == "drain-1", "b")
        put(bucket, key, body, **more)  # type: ignore[arg-type]  # passed on

    harbour.storage.put = freeze  # type: ignore[method-assign]  # the process stands still before the body leaves
    harbour.drained()
    fleet.until(lambda: frozen, "a")
    harbour.check_manifest()
    fleet.tick("a", "b", count=5)
    harbour.check_manifest()
    status = harbour.status()
    manifest = harbour.manifest()
    assert status is not None
    assert manifest is not None
    assert (status.worker, status.epoch) == ("b", 2)
    assert harbour.content("outputs/a.txt") == b"later"


def test_an_owner_that_was_cut_off_notices_at_its_first_word_and_says_nothing_over_the_other(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a", "b")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a", "b")
    away = fleet.carrier("a").line
    write(folder.output / "b.txt", "b")

    def answered() -> bool:
        away.failed("It is away.", denied=False)
        return receipt(folder) == ADOPTED

    fleet.until(answered, "a", "b")
    assert told(folder).worker == "b"
    fleet.tick("b", "a", count=20)
    assert harbour.storage.count("put", "outputs/b.txt") == 1
    # Its handler has been silent all along, so it leaves the session as the other has closed it.
    assert told(folder).worker == "b"
    assert harbour.manifest() is not None
    fleet.kill("a")
    fleet.start("a")
    fleet.tick("a", "b", count=200)
    assert harbour.manifest() is not None


# One more attempt


def test_a_session_that_another_worker_takes_up_again_is_carried_as_its_own(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "first")
    harbour.drained("of a", outcome=Outcome.INTERRUPTED)
    fleet.until(lambda: receipt(folder) == "of a", "a")
    fleet.kill("a")
    reopened(harbour, folder, "b")
    fleet.start("b")
    fleet.tick("b")
    upload = told(folder)
    assert (upload.worker, upload.attempt) == ("b", 2)
    assert (upload.receipt, upload.claim_epoch) == (None, None)
    office, seen = fleet.lane("b", Lane.OFFICE), []
    office.held = True

    def begun() -> bool:
        seen.append((told(folder).claim_epoch is not None, harbour.manifest() is not None))
        if len(seen) % 4 == 0:
            office.release()
        return told(folder).claim_epoch is not None

    assert fleet.until(begun, "b") < 30
    assert (True, True) not in seen, "the run may begin while an older manifest stands"
    office.held = False
    office.release()
    write(folder.output / "a.txt", "second")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"second", "b")
    assert harbour.manifest() is None
    harbour.drained("of b")
    fleet.until(lambda: receipt(folder) == "of b", "b")
    manifest = harbour.manifest()
    assert manifest is not None
    assert (manifest.outcome, [entry.size for entry in manifest.files]) == (Outcome.FINISHED, [len("second")])


def test_a_worker_that_has_adopted_a_session_carries_it_on_when_its_own_handler_takes_it_up(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "b")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: receipt(folder) == ADOPTED, "b")
    reopened(harbour, folder, "b")
    assert fleet.until(lambda: told(folder).attempt == 2 and told(folder).claim_epoch == 1, "b") < 10
    fleet.tick("b", count=100)
    assert harbour.manifest() is None
    status = harbour.status()
    assert status is not None
    assert harbour.clock.now() - status.at < 20


@pytest.mark.parametrize("moment", range(1, 9))
@pytest.mark.guarantee(
    "true-manifest", fault="a session is taken up again at the very moment at which it is being closed"
)
def test_a_session_that_is_taken_up_again_while_it_is_being_closed_has_no_manifest(
    harbour: Harbour, moment: int
) -> None:
    fleet = Fleet(harbour, "b")
    folder = harbour.session(worker="b")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "b")
    harbour.drained()
    fleet.tick("b", count=1)
    offices = fleet.lane("b", Lane.OFFICE), fleet.lane("b", Lane.PULSE)
    for office in offices:
        office.held = True
    fleet.tick("b", count=moment // 2)
    reopened(harbour, folder, "b")
    fleet.tick("b", count=moment % 3)
    for office in offices:
        office.held = False
        office.release()
    fleet.until(lambda: told(folder).attempt == 2 and told(folder).claim_epoch is not None, "b")
    assert harbour.manifest() is None
    write(folder.output / "a.txt", "b")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"b", "b")
    assert told(folder).receipt is None


@pytest.mark.guarantee("true-manifest", fault="a session is taken up again while its manifest is on the way")
def test_the_next_attempt_waits_for_what_the_last_one_is_still_writing(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "b")
    folder = harbour.session(worker="b")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "b")
    office, put = fleet.lane("b", Lane.OFFICE), harbour.storage.put
    harbour.drained()
    office.held = True
    fleet.until(lambda: fleet.carrier("b").stage is Stage.CONCLUDING, "b")

    def slow(bucket: str, key: str, body: Body, **more: object) -> None:
        if key.endswith("/manifest.json"):
            office.held = False
            reopened(harbour, folder, "b")
            fleet.tick("b", count=10)
        put(bucket, key, body, **more)  # type: ignore[arg-type]  # passed on

    harbour.storage.put = slow  # type: ignore[method-assign]  # the whole rest happens before the manifest arrives
    office.release()
    harbour.storage.put = put  # type: ignore[method-assign]
    fleet.until(lambda: told(folder).attempt == 2 and told(folder).claim_epoch is not None, "b")
    assert harbour.manifest() is None


def test_a_refusal_of_an_earlier_attempt_is_not_said_of_the_next(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "b")
    folder = harbour.session(worker="b")
    said = Upload(worker="b", refused=ErrorCode.PREFIX_IN_USE, refusal="Another run is writing there.", claim_epoch=7)
    said.write(folder.upload_file)
    harbour.session(attempt=2)
    fleet.tick("b")
    upload = told(folder)
    assert (upload.attempt, upload.refused, upload.refusal) == (2, None, None)
    assert upload.claim_epoch in {None, 1}


def test_a_frozen_owner_says_nothing_about_a_session_that_is_another_workers_by_now(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a", "b")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a", "b")
    reopened(harbour, folder, "b")
    fleet.until(lambda: told(folder).claim_epoch == 2, "b")
    asked = len(harbour.storage.calls)
    for _ in range(5):
        fleet.tick("a")
        assert (told(folder).worker, told(folder).attempt) == ("b", 2)
    assert len(harbour.storage.calls) == asked
    assert fleet.workers["a"].daemon.carriers == ()


@pytest.mark.guarantee("one-writer", fault="the owner is frozen while its disk takes its word on the run")
def test_what_a_frozen_owner_was_saying_does_not_replace_the_later_word(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(harbour, "a", "b")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a")
    fsync, frozen = os.fsync, list[str]()

    def freeze(descriptor: int) -> None:
        fsync(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name.startswith(".upload.json.") and not frozen:
            frozen.append(name)
            fleet.until(lambda: receipt(folder) == ADOPTED, "b")

    monkeypatch.setattr(os, "fsync", freeze)
    write(folder.output / "b.txt", "b")
    fleet.until(lambda: frozen, "a")
    assert (told(folder).worker, receipt(folder)) == ("b", ADOPTED)
    fleet.tick("a", "b", count=5)
    assert (told(folder).worker, receipt(folder)) == ("b", ADOPTED)


# Being seen to live


@pytest.mark.guarantee("one-writer", fault="it takes an owner minutes to learn what lies under its prefix")
def test_an_owner_that_is_busy_for_long_is_not_taken_for_dead(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    harbour.session(worker="a")
    office = fleet.lane("a", Lane.OFFICE)
    fleet.tick("a")
    office.held = True
    fleet.tick("a")
    assert fleet.carrier("a").stage is Stage.PREPARING
    counters = set()
    for _ in range(8):
        fleet.tick("a", count=15)
        status = harbour.status()
        counters.add(status.counter if status else None)
    assert len(counters - {None}) >= 7
    office.held = False
    office.release()
    fleet.until(lambda: fleet.carrier("a").stage is Stage.OPEN, "a")


def test_an_owner_whose_logs_are_published_once_an_hour_shows_that_it_lives_all_the_same(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path, log_seconds=3600)
    fleet = Fleet(harbour, "a")
    harbour.session(worker="a")
    fleet.tick("a", count=10)
    before = harbour.status()
    fleet.tick("a", count=30)
    after = harbour.status()
    assert isinstance(before, Status)
    assert isinstance(after, Status)
    assert after.counter > before.counter


def test_an_uploader_that_is_told_to_leave_does_not_wait_for_the_runs_of_others(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a")
    fleet.kill("a")
    fleet.start("b")
    fleet.until(lambda: fleet.workers["b"].daemon.carriers, "b")
    fleet.tick("b", count=10)
    assert fleet.carrier("b").watching
    assert fleet.workers["b"].daemon.at_rest


# Trouble with what lies there


def test_a_bucket_that_is_emptied_by_hand_in_mid_training_is_filled_again(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    folder = harbour.session(worker="a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a")
    harbour.storage.objects.clear()
    write(folder.output / "b.txt", "b")
    harbour.clock.advance(20)
    harbour.drained()
    fleet.until(lambda: receipt(folder) == "drain-1", "a")
    assert (harbour.content("outputs/a.txt"), harbour.content("outputs/b.txt")) == (b"a", b"b")
    assert told(folder).refused is None


def test_a_session_that_cannot_be_read_hides_no_other(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = harbour.session("training_session_0", worker="a")
    folder = harbour.session(worker="a")
    read = Session.read

    def stale(path: Path) -> Session | None:
        if path == broken.session_file:
            raise OSError(116, "Stale file handle")
        return read(path)

    monkeypatch.setattr(Session, "read", stale)
    fleet = Fleet(harbour, "a")
    write(folder.output / "a.txt", "a")
    fleet.until(lambda: harbour.content("outputs/a.txt") == b"a", "a")


def test_a_session_whose_worker_was_refused_for_good_asks_for_nothing_any_more(harbour: Harbour) -> None:
    fleet = Fleet(harbour, "a")
    other = session_run(harbour.session("training_session_9", worker="z"))
    assert other is not None
    holder = Berth(harbour, other, worker="z")
    folder = harbour.session(worker="a")
    for _ in range(40):
        holder.tick()
        fleet.tick("a")
    assert told(folder).refused is ErrorCode.PREFIX_IN_USE
    harbour.session(phase=Phase.CLOSED)
    fleet.tick("a", count=3)
    assert fleet.workers["a"].daemon.carriers == ()
