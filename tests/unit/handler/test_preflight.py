"""Everything that a job needs is looked at before the session exists, and what is missing is said with what to do."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from handler.job import parse_job
from handler.preflight import UPLOADER_SECONDS, Preflight, Ready
from handler.room import OUTPUT_BYTES
from handler.stage.listing import list_items
from shared.contract.session import DrainRequest, Phase
from shared.contract.upload import DrainReceipt, Upload, Worker
from shared.errors import ErrorCode, FerryError
from shared.layout import SessionFolder, worker_file
from shared.storage.errors import StorageError, Trouble
from shared.storage.records import BucketRecord
from tests.unit.handler.crew import Place, job, place
from tests.unit.handler.made import NOW, FakeClock, folder, session

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


class Disk:
    """A disk with so much free, and as much more when a session goes."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self, _: object) -> Usage:
        return Usage(self.free, 0, self.free)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


class Flag(threading.Event):
    """A stop flag whose waiting moves the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.passed += timeout or 0
        return self.is_set()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(shutil, "disk_usage", Disk(100 * GIB))
    found = place(tmp_path)
    beat(found)
    return found


def beat(made: Place, at: float = NOW) -> None:
    file = worker_file(made.root, "worker")
    file.parent.mkdir(parents=True, exist_ok=True)
    Worker(worker="worker", pid=1, host="", boot_id="", beat=1, at=at).write(file)


def check(made: Place, clock: FakeClock | None = None, **changes: Any) -> Ready:
    clock = clock or FakeClock()
    workshop = made.workshop
    preflight = Preflight(workshop.settings, workshop.storage, clock, workshop.environ, Flag(clock))
    return preflight.check(parse_job(job(**changes)))


def refusal(made: Place, clock: FakeClock | None = None, **changes: Any) -> FerryError:
    with pytest.raises(FerryError) as caught:
        check(made, clock, **changes)
    return caught.value


def test_all_is_there_and_nothing_is_left_behind(made: Place) -> None:
    before = dict(made.storage.objects)
    listed = list_items(made.workshop.storage, "datasets", "cats")
    assert check(made) == Ready("", listed)
    assert [item.path for item in listed]
    assert made.storage.objects == before
    assert made.storage.calls.count("put") == made.storage.calls.count("remove") == 1


def test_a_bucket_that_is_not_there_is_named_by_its_field(made: Place) -> None:
    error = refusal(made, dataset_config={"bucket_name": "nowhere", "folder_path": "cats"})
    assert error.code is ErrorCode.BUCKET_NOT_FOUND
    assert error.sentence.startswith("dataset_config.bucket_name: there is no bucket 'nowhere'")


@pytest.mark.parametrize(
    ("types", "refused"),
    [
        (None, ""),
        ((), ""),
        (("*/*",), ""),
        (("image/*", "text/plain", "application/json"), "checkpoints"),
        (("application/*",), "samples, logs"),
    ],
)
def test_a_bucket_must_take_what_will_come(made: Place, types: tuple[str, ...] | None, refused: str) -> None:
    made.storage.buckets["outputs"] = BucketRecord("outputs", False, None, types)
    if not refused:
        check(made)
        return
    error = refusal(made)
    assert error.code is ErrorCode.STORAGE_DENIED
    assert f"does not take the types of {refused} (" in error.sentence


def test_a_limit_that_large_checkpoints_exceed_is_warned_of(made: Place) -> None:
    made.storage.largest = 50 << 20
    (warning,) = check(made).warnings
    assert "takes no file of 200 MiB into bucket outputs" in warning


def test_an_uploader_is_waited_for_and_then_missed(made: Place) -> None:
    beat(made, NOW - 100)
    clock = FakeClock()
    error = refusal(made, clock)
    assert error.code is ErrorCode.UPLOADER_DOWN
    assert clock.passed == pytest.approx(UPLOADER_SECONDS, abs=1)


def test_a_storage_that_does_not_answer_is_tried_for_a_bounded_time(made: Place) -> None:
    made.storage.error = StorageError(Trouble.UNREACHABLE, "Looking up the bucket outputs", "no connection")
    clock = FakeClock()
    assert refusal(made, clock).code is ErrorCode.STORAGE_UNREACHABLE
    assert 10 < clock.passed <= 30
    assert len(made.storage.calls) > 3


def test_room_is_needed_for_the_dataset_with_archives_twice_and_for_what_is_written(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.storage.objects = {"cats/a.zip": b"x" * 1000, "cats/b.jpg": b"x" * 10}
    needed = OUTPUT_BYTES + 2010
    monkeypatch.setattr(shutil, "disk_usage", Disk(needed))
    check(made)
    monkeypatch.setattr(shutil, "disk_usage", Disk(needed - 1))
    error = refusal(made)
    assert error.code is ErrorCode.DISK_FULL
    assert "needs 2.0 GiB" in error.sentence
    assert "only 2.0 GiB are free" in error.sentence


def delivered(made: Place, number: int) -> SessionFolder:
    found = folder(made.root, f"training_session_{number}")
    session(found, phase=Phase.CLOSED, drain=DrainRequest(token="t", at=NOW)).write(found.session_file)
    Upload(worker="worker", receipt=DrainReceipt(token="t", complete=True)).write(found.upload_file)
    return found


def test_delivered_sessions_make_room_oldest_first_and_no_more_than_needed(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [delivered(made, number) for number in range(3)]

    def usage(_: object) -> Usage:
        gone = sum(not each.path.exists() for each in kept)
        return Usage(0, 0, OUTPUT_BYTES + (gone - 2) * GIB + 8)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    check(made)
    assert [each.path.exists() for each in kept] == [False, False, True]


def test_a_model_that_may_not_fit_is_warned_of_unless_it_is_there(
    made: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", Disk(10 * GIB))
    config = cast("dict[str, Any]", job()["input"]["config"])
    config["config"]["process"][0]["model"] = {"name_or_path": "black-forest-labs/FLUX.1-dev"}
    (warning,) = check(made, config=config).warnings
    assert "black-forest-labs/FLUX.1-dev must be downloaded" in warning
    assert "only 10.0 GiB are free" in warning
    (tmp_path / "models" / "hub" / "models--black-forest-labs--FLUX.1-dev").mkdir(parents=True)
    assert check(made, config=config).warnings == ()


def test_a_trainer_that_still_lives_here_is_told_before_anything_is_staged(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = FerryError(ErrorCode.BUSY, "One still lives.")

    def one_lives(root: Path) -> None:
        assert root == made.root
        raise stray

    monkeypatch.setattr("handler.preflight.check_none_lives", one_lives)
    assert refusal(made) is stray
    assert made.storage.calls == []


@pytest.mark.guarantee("secret", fault="a job's configuration, or its place, holds the worker's own token")
@pytest.mark.parametrize("field", ["config", "upload_config"])
def test_a_job_that_holds_a_secret_is_refused_before_anything_is_written(made: Place, field: str) -> None:
    token = "hf_canaryOfTheHubToken0123"
    made.workshop.environ["HF_TOKEN"] = token  # type: ignore[index]
    changes: dict[str, Any] = {"upload_config": {"bucket_name": "outputs", "folder_path": f"runs/{token}"}}
    if field == "config":
        config = cast("dict[str, Any]", job()["input"]["config"])
        config["meta"] = {"note": [f"see {token}"]}
        changes = {"config": config}
    error = refusal(made, **changes)
    assert error.code is ErrorCode.INVALID_INPUT
    assert error.sentence.startswith("The job holds the value of HF_TOKEN, which must stay secret: leave it out.")
    assert made.storage.calls == []


def test_a_short_secret_may_be_an_ordinary_word(made: Place) -> None:
    made.workshop.environ["MODEL_KEY"] = "extension"  # type: ignore[index]
    check(made)


def test_a_place_among_another_runs_results_is_refused(made: Place) -> None:
    made.storage.objects["runs/1/claims/1.json"] = b"{}"
    error = refusal(made, upload_config={"bucket_name": "outputs", "folder_path": "runs/1/samples"})
    assert error.code is ErrorCode.INVALID_INPUT
    assert "leads into samples/ of the run whose results are at runs/1" in error.sentence
