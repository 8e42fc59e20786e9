"""A checkpoint that is a folder, from the trainer to whoever restores it: it is whole, or it is passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from handler.expected import Expected
from handler.restore.choice import kept, left
from shared import folders
from shared.storage.errors import Trouble
from shared.storage.records import ObjectRecord
from tests.unit.uploader.harbour import Berth, Harbour, safetensors, write
from uploader.requests import leave
from uploader.run import session_run

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "pictures/pictures_000000010"
WEIGHTS, CONFIG, LAST = (f"{FOLDER}/{part}" for part in ("transformer/w.safetensors", "config.json", folders.LAST))
FIRST, SECOND = "training_session_1", "training_session_2"


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def save(output: Path, weights: bytes = b"\0" * 64) -> None:
    for path, content in ((WEIGHTS, safetensors(weights)), (CONFIG, b"{}"), (LAST, b"step: 10\n")):
        write(output / path, content)


def deliver(harbour: Harbour, session: str = FIRST) -> Berth:
    """Deliver everything of a session that has ended."""
    run = session_run(harbour.session(session))
    assert run is not None
    berth = Berth(harbour, run)
    harbour.drained(session=session)
    berth.until(lambda: berth.carrier.answered)
    return berth


def restorable(harbour: Harbour) -> list[bytes]:
    """Return the weights of each whole checkpoint in the bucket, the newest first."""
    lineage = (FIRST, SECOND)
    records = (ObjectRecord(key, 1, metadata=thing.metadata) for key, thing in harbour.storage.objects.items())
    found = [known for record in records if (known := kept(record, lineage)) is not None]
    whole = left(found, Expected("pictures"), frozenset(), lineage).checkpoints
    keys = [file.record.key for checkpoint in whole for file in checkpoint.files if file.path.suffix == ".safetensors"]
    return [harbour.storage.objects[key].content for key in keys]


def missing(harbour: Harbour) -> dict[str, str]:
    manifest = harbour.manifest()
    assert manifest is not None
    return {entry.path: entry.reason for entry in manifest.missing}


def test_a_folder_that_has_arrived_can_be_restored(harbour: Harbour) -> None:
    save(harbour.session().output)
    deliver(harbour)
    assert restorable(harbour) == [safetensors()]
    assert missing(harbour) == {}


@pytest.mark.guarantee("resumed-training", fault="Storage refuses a file of the newest checkpoint's folder for good")
@pytest.mark.parametrize("refused", [WEIGHTS, CONFIG])
def test_a_folder_of_which_a_part_failed_for_good_is_never_taken_for_whole(harbour: Harbour, refused: str) -> None:
    harbour.storage.fail("put", Trouble.TOO_LARGE, key=refused.rpartition("/")[2])
    save(harbour.session().output)
    berth = deliver(harbour)
    assert restorable(harbour) == []
    assert set(missing(harbour)) == {refused, LAST}
    assert "folder" in missing(harbour)[LAST]
    # Somebody raises the limit.
    leave(berth.run.requests, "retry")
    berth.until(lambda: berth.carrier.answered and restorable(harbour) != [])
    assert missing(harbour) == {}


@pytest.mark.guarantee("resumed-training", fault="a checkpoint's folder is written once more, with other weights")
def test_a_folder_that_is_written_once_more_is_whole_with_its_new_weights_alone(harbour: Harbour) -> None:
    output = harbour.session().output
    save(output)
    berth = deliver(harbour)
    new = safetensors(b"\1" * 64)
    write(output / WEIGHTS, new)
    berth.until(lambda: harbour.content("checkpoints/pictures_000000010/transformer/w.safetensors") == new)
    assert restorable(harbour) == []
    # The file that completes it says the same as before, byte for byte.
    write(output / LAST, b"step: 10\n")
    berth.until(lambda: restorable(harbour) == [new])


def test_a_later_session_completes_what_an_earlier_one_has_begun(harbour: Harbour) -> None:
    first = harbour.session().output
    save(first)
    (first / LAST).unlink()
    deliver(harbour)
    assert restorable(harbour) == []
    save(harbour.session(SECOND, lineage=(FIRST,)).output)
    deliver(harbour, SECOND)
    assert restorable(harbour) == [safetensors()]
    assert (
        harbour.storage.objects["run/pictures/checkpoints/pictures_000000010/config.json"].metadata["session"] == FIRST
    )


def test_a_restored_folder_is_not_sent_again(harbour: Harbour) -> None:
    save(harbour.session().output)
    deliver(harbour)
    before = dict(harbour.storage.received)
    save(harbour.session(SECOND, lineage=(FIRST,)).output)
    deliver(harbour, SECOND)
    again = {key for key, count in harbour.storage.received.items() if count > before.get(key, 0)}
    assert {key for key in again if "/checkpoints/" in key} == set()
    assert restorable(harbour) == [safetensors()]


def test_a_later_session_that_makes_the_step_anew_seals_it_anew(harbour: Harbour) -> None:
    save(harbour.session().output)
    deliver(harbour)
    save(harbour.session(SECOND, lineage=(FIRST,)).output, b"\1" * 64)
    deliver(harbour, SECOND)
    assert restorable(harbour) == [safetensors(b"\1" * 64)]
