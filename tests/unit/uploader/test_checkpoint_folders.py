"""A checkpoint that is a folder, from the trainer to whoever restores it: it is whole, or it is passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from handler.expected import Expected
from handler.restore.choice import kept, left
from shared import folders
from shared.storage.errors import Trouble
from shared.storage.records import ObjectRecord
from tests.unit.uploader.harbour import Berth, Harbour, hold_of, safetensors, write
from uploader import grips, scan
from uploader.requests import leave
from uploader.run import session_run
from uploader.stage import Stage
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from uploader.scan import Seen

FOLDER = "pictures/pictures_000000010"
WEIGHTS, CONFIG, LAST = (f"{FOLDER}/{part}" for part in ("transformer/w.safetensors", "config.json", folders.LAST))
SENT_CONFIG, SENT_LAST = (f"checkpoints/pictures_000000010/{part}" for part in ("config.json", folders.LAST))
STALE = OSError(116, "Stale file handle")
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
    # More may be about to be written anew.
    berth.tick(20)
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


# What is not there yet when the trainer's last word on the folder is


@pytest.mark.guarantee("resumed-training", fault="a part of a checkpoint's folder is complete later than its last file")
def test_a_folder_is_not_called_whole_before_all_its_parts_are_complete(harbour: Harbour) -> None:
    berth = under_way(harbour)
    save(berth.run.output)
    status = (berth.run.output / CONFIG).stat()
    harbour.open_files.add((status.st_dev, status.st_ino))
    berth.tick(20)
    assert harbour.content(SENT_LAST) is None
    harbour.open_files.clear()
    berth.until(lambda: harbour.content(SENT_LAST) is not None)
    assert restorable(harbour) == [safetensors()]


@pytest.mark.guarantee("resumed-training", fault="a volume hides a part of a checkpoint's folder for some seconds")
@pytest.mark.parametrize("hidden", [WEIGHTS, f"{FOLDER}/transformer"])
def test_a_folder_is_not_called_whole_while_a_part_of_it_is_hidden(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    berth = under_way(harbour)
    real = scan.Tree.changed

    def changed(tree: scan.Tree, **how: Any) -> Iterator[tuple[str, Iterable[Seen]]]:
        for folder, files in real(tree, **how):
            seen = [scan.hidden(hidden, STALE) if hidden in {folder, file.path} else file for file in files]
            yield folder, seen

    with monkeypatch.context() as patch:
        patch.setattr(scan.Tree, "changed", changed)
        save(berth.run.output)
        berth.tick(20)
        assert harbour.content(SENT_CONFIG) is not None
        assert harbour.content(SENT_LAST) is None
    berth.until(lambda: harbour.content(SENT_LAST) is not None)
    assert restorable(harbour) == [safetensors()]


@pytest.mark.guarantee("resumed-training", fault="a part of a checkpoint's folder is torn, and its last file is there")
def test_a_folder_with_a_torn_part_is_not_called_whole(harbour: Harbour) -> None:
    output = harbour.session().output
    save(output)
    write(output / WEIGHTS, safetensors()[:-10])
    deliver(harbour)
    assert harbour.content(SENT_LAST) is None
    assert set(missing(harbour)) == {LAST}


@pytest.mark.guarantee("resumed-training", fault="a part of a checkpoint's folder is not found for a moment")
def test_a_folder_is_whole_once_a_part_that_was_away_for_a_moment_is_there(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = under_way(harbour)
    monkeypatch.setattr(grips, "MOST_HELD", 0)
    save(berth.run.output)
    berth.executors["small"].held = True
    berth.until(lambda: state(berth, CONFIG) is State.SENDING)
    away = (berth.run.output / CONFIG).rename(harbour.root / "away")
    berth.executors["small"].held = False
    berth.executors["small"].release()
    berth.until(lambda: state(berth, LAST) is State.FAILED)
    away.rename(berth.run.output / CONFIG)
    berth.until(lambda: state(berth, LAST) is State.DELIVERED)
    assert restorable(harbour) == [safetensors()]
    harbour.drained()
    berth.until(lambda: berth.carrier.answered)
    assert missing(harbour) == {}


@pytest.mark.guarantee("resumed-training", fault="a part of a checkpoint's folder is found after its last one was sent")
@pytest.mark.parametrize("until", ["it is being sent", "it has arrived"])
def test_a_folder_is_sealed_anew_with_a_part_that_is_found_late(harbour: Harbour, until: str) -> None:
    berth = under_way(harbour)
    save(berth.run.output)
    away = (berth.run.output / CONFIG).rename(harbour.root / "away")
    berth.until(lambda: state(berth, WEIGHTS) is State.DELIVERED)
    berth.executors["proof"].held = until == "it is being sent"
    berth.until(lambda: harbour.content(SENT_LAST) is not None)
    assert restorable(harbour) == [safetensors()]
    away.rename(berth.run.output / CONFIG)
    berth.until(lambda: state(berth, CONFIG) is not None)
    berth.executors["proof"].held = False
    berth.executors["proof"].release()
    berth.until(lambda: (state(berth, CONFIG), state(berth, LAST)) == (State.DELIVERED, State.DELIVERED))
    assert restorable(harbour) == [safetensors()]


def under_way(harbour: Harbour) -> Berth:
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    return berth


def state(berth: Berth, path: str) -> State | None:
    row = hold_of(berth).ledger.file(path)
    return None if row is None else row.state
