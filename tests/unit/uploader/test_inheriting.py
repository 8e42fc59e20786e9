"""A run that goes on with an earlier one: what that left is the new run's, too, and is not sent again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Claim
from shared.contract.process import identify
from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, Harbour, safetensors, write
from tests.unit.uploader.memory_storage import Thing
from uploader.requests import leave as leave_request

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "run/pictures"
WEIGHTS = safetensors(b"weights" * 100)


def leave(harbour: Harbour, key: str, content: bytes, session: str = "earlier", path: str | None = None) -> None:
    """Put an object into the bucket as an earlier session's uploader did."""
    told = {
        "path": path or f"pictures/{key.rpartition('/')[2]}",
        "session": session,
        "sha256": hashlib.sha256(content).hexdigest(),
        "mtime": "1700000000.5",
        "step": "10",
    }
    harbour.storage.objects[f"{PREFIX}/{key}"] = Thing(content, f"version-of-{key}", told)


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    made = Harbour(tmp_path)
    leave(made, "checkpoints/pictures_000000010.safetensors", WEIGHTS)
    leave(made, "samples/10.jpg", b"picture", path="pictures/samples/10.jpg")
    leave(made, "samples/strange.jpg", b"another training's", session="somebody-elses")
    leave(made, "damaged/pictures_000000020.safetensors", b"damaged")
    made.session(lineage=("earlier",))
    return made


def closed(harbour: Harbour) -> dict[str, str]:
    """Deliver and close; return the manifest's keys below the prefix with their digests."""
    berth = Berth(harbour, harbour.session_run())
    harbour.session(trainer=identify())
    berth.tick(5)
    harbour.session(trainer=None)
    harbour.drained()
    berth.until(lambda: berth.carrier.answered)
    berth.die()
    manifest = harbour.manifest()
    assert manifest is not None
    assert manifest.lineage == ("earlier",)
    return {entry.key.removeprefix(f"{PREFIX}/"): entry.sha256 for entry in manifest.files}


def test_the_manifest_lists_what_the_earlier_session_left_and_nobody_elses(harbour: Harbour) -> None:
    listed = closed(harbour)
    assert set(listed) == {"checkpoints/pictures_000000010.safetensors", "samples/10.jpg"}
    assert listed["samples/10.jpg"] == hashlib.sha256(b"picture").hexdigest()


def test_what_was_restored_is_not_sent_again(harbour: Harbour) -> None:
    output = harbour.session().output
    write(output / "pictures" / "pictures_000000010.safetensors", WEIGHTS)
    write(output / "pictures" / "pictures_000000020.safetensors", safetensors(b"new"))
    assert set(closed(harbour)) >= {f"checkpoints/pictures_0000000{step}.safetensors" for step in (10, 20)}
    assert f"{PREFIX}/checkpoints/pictures_000000010.safetensors" not in harbour.storage.received


def test_what_is_made_again_takes_the_old_ones_place(harbour: Harbour) -> None:
    again = safetensors(b"made again")
    write(harbour.session().output / "pictures" / "pictures_000000010.safetensors", again)
    assert closed(harbour)["checkpoints/pictures_000000010.safetensors"] == hashlib.sha256(again).hexdigest()


def test_the_same_content_of_another_training_is_sent_as_ones_own(harbour: Harbour) -> None:
    write(harbour.session().output / "pictures" / "samples" / "strange.jpg", b"another training's")
    assert "samples/strange.jpg" in closed(harbour)
    assert harbour.storage.objects[f"{PREFIX}/samples/strange.jpg"].metadata["session"] == "training_session_1"


@pytest.mark.guarantee("true-manifest", fault="Storage does not answer while the earlier session's records are read")
def test_no_manifest_is_written_before_everything_is_on_record(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.session_run())
    berth.tick(3)
    harbour.storage.fail("info", Trouble.UNREACHABLE, key="samples/10.jpg", times=10_000)
    harbour.drained()
    berth.tick(50)
    assert harbour.manifest() is None
    harbour.storage.faults.clear()
    berth.until(lambda: berth.carrier.answered)
    manifest = harbour.manifest()
    assert manifest is not None
    assert len(manifest.files) == 2


@pytest.mark.guarantee(
    "told", fault="another run writes over what an earlier session left, and the prefix is taken back"
)
def test_what_somebody_wrote_over_is_missing_by_name(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.session_run())
    harbour.session(trainer=identify())
    berth.tick(5)
    berth.die()
    harbour.storage.objects[f"{PREFIX}/samples/10.jpg"] = Thing(b"another run's", "v9", {})
    # The ledger is copied to a new epoch: everything in it is in doubt.
    claim = Claim(epoch=7, token="theirs", session_id="another", worker="w", at=1.0)
    harbour.storage.objects[f"{PREFIX}/claims/7.json"] = Thing(claim.dump(), "v9", {})
    harbour.session(trainer=None)
    harbour.drained()
    leave_request(berth.run.requests, "retry")
    again = Berth(harbour, harbour.session_run())
    again.until(lambda: again.carrier.answered)
    manifest = harbour.manifest()
    assert manifest is not None
    assert not manifest.complete
    [missing] = manifest.missing
    assert missing.path == "pictures/samples/10.jpg"
    assert "no longer in the bucket" in missing.reason
    assert [entry.path for entry in manifest.files] == ["pictures/pictures_000000010.safetensors"]


@pytest.mark.guarantee(
    "true-manifest", fault="a later attempt finds an object damaged that is on record, and moves it away"
)
def test_what_a_later_attempt_puts_aside_is_not_listed(harbour: Harbour) -> None:
    assert "checkpoints/pictures_000000010.safetensors" in closed(harbour)
    harbour.session(attempt=2, drain=None, ending=None, trainer=None)
    berth = Berth(harbour, harbour.session_run())
    berth.tick(5)
    del harbour.storage.objects[f"{PREFIX}/checkpoints/pictures_000000010.safetensors"]
    harbour.session(trainer=identify())
    write(berth.run.output / "pictures/pictures_000000020.safetensors", WEIGHTS)
    berth.tick(5)
    harbour.session(trainer=None)
    harbour.drained("second")
    berth.until(lambda: berth.carrier.answered)
    manifest = harbour.manifest()
    assert manifest is not None
    assert [entry.path for entry in manifest.missing] == ["pictures/pictures_000000010.safetensors"]
    assert {entry.key.removeprefix(f"{PREFIX}/") for entry in manifest.files} == {
        "samples/10.jpg",
        "checkpoints/pictures_000000020.safetensors",
    }
