"""Folders that are watched: whose they are when two pods watch one, and how one that lost its prefix gets it back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Claim
from shared.contract.upload import Upload
from shared.errors import ErrorCode
from shared.storage.body import BytesBody
from tests.unit.uploader.harbour import Berth, Harbour, swift_folder, write
from tests.unit.uploader.memory_storage import BUCKET
from uploader.requests import leave
from uploader.run import Watch
from uploader.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def harbour() -> Iterator[Harbour]:
    with swift_folder() as folder:
        yield Harbour(folder)


def watched_by(harbour: Harbour, worker: str, *, hurry: bool = False) -> Berth:
    return Berth(harbour, harbour.watched_run(), worker=worker, hurry=hurry)


def test_a_folder_that_two_pods_watch_is_one_pods_until_that_is_gone(harbour: Harbour) -> None:
    first = watched_by(harbour, "a")
    first.until(lambda: first.carrier.stage is Stage.OPEN)
    second = watched_by(harbour, "b")
    for _ in range(300):
        first.tick(seconds=0.5)
        write(first.run.output / "a.txt", str(harbour.clock.passed))
        second.tick(seconds=0.5)
        upload = Upload.read(first.run.upload_file)
        assert upload is not None
        assert upload.worker == "a"
    assert second.carrier.upload.refused is ErrorCode.PREFIX_IN_USE
    first.die()
    write(first.run.output / "b.txt", "b")
    second.until(lambda: harbour.content("outputs/b.txt") == b"b")
    assert second.carrier.hold is not None
    assert second.carrier.hold.claim.epoch == 2


def test_a_watched_folder_whose_prefix_had_another_run_since_is_carried_again_when_somebody_wishes_it(
    harbour: Harbour, tmp_path: Path
) -> None:
    first = watched_by(harbour, "a", hurry=True)
    write(first.run.output / "a.txt", "mine")
    first.until(lambda: first.carrier.stage is Stage.CLOSED)
    first.die()
    (tmp_path / "other/pictures").mkdir(parents=True)
    identity = json.dumps({"session_id": "watched_later", "created_at": harbour.clock.now()})
    write(tmp_path / "other/.uploader/pictures/run.json", identity)
    [run] = Watch(tmp_path / "other", BUCKET, "run").runs()
    write(run.output / "a.txt", "theirs")
    other = Berth(harbour, run, worker="b", hurry=True)
    other.until(lambda: other.carrier.stage is Stage.CLOSED)
    other.die()
    again = watched_by(harbour, "a", hurry=True)
    again.tick(5)
    assert again.carrier.stage is Stage.REFUSED
    assert again.carrier.upload.refused is ErrorCode.PREFIX_IN_USE
    assert harbour.content("outputs/a.txt") == b"theirs"
    leave(first.run.requests, "retry")
    again.until(lambda: again.carrier.stage is Stage.CLOSED)
    assert harbour.content("outputs/a.txt") == b"mine"
    assert again.carrier.upload.refused is None


@pytest.mark.parametrize("hurry", [True, False])
@pytest.mark.parametrize("names", [["a.txt"], []], ids=["with a file", "without any"])
def test_a_closed_run_of_a_watched_folder_notices_that_it_lost_its_prefix_when_somebody_wishes_it(
    harbour: Harbour, names: list[str], *, hurry: bool
) -> None:
    berth = watched_by(harbour, "a", hurry=hurry)
    for name in names:
        write(berth.run.output / name, "mine")
    berth.until(lambda: berth.carrier.stage is Stage.CLOSED)
    theirs = Claim(epoch=2, token="theirs", session_id="another", worker="w", at=harbour.clock.now())
    harbour.storage.remove(BUCKET, [f"run/pictures/{key}" for key in ("manifest.json", "outputs/a.txt")])
    harbour.storage.put(
        BUCKET, "run/pictures/claims/2.json", BytesBody(theirs.dump()), content_type="application/json", metadata={}
    )
    berth.tick(30)
    assert berth.carrier.stage is Stage.CLOSED
    leave(berth.run.requests, "retry")
    berth.until(lambda: berth.carrier.stage is Stage.REFUSED)
    leave(berth.run.requests, "retry")
    berth.until(lambda: berth.carrier.stage is Stage.CLOSED)
    manifest = harbour.manifest()
    assert manifest is not None
    assert (manifest.session_id, [entry.path for entry in manifest.files]) == (berth.run.session_id, names)
    assert all(harbour.content(f"outputs/{name}") == b"mine" for name in names)


def test_a_closed_run_keeps_its_manifest_while_an_uploader_that_was_started_again_has_not_looked_yet(
    harbour: Harbour,
) -> None:
    first = watched_by(harbour, "a")
    write(first.run.output / "a.txt", "a")
    first.until(lambda: first.carrier.stage is Stage.CLOSED)
    first.die()
    again = watched_by(harbour, "a")
    for _ in range(10):
        again.carrier.tick(look=False)
    assert again.carrier.stage is Stage.OPEN
    assert harbour.manifest() is not None
    again.tick(3)
    assert harbour.manifest() is not None
