"""Checkpoints that the trainer deletes, replaces or rewrites before they have been delivered."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from typing import TYPE_CHECKING

import pytest

from shared.contract.process import identify
from shared.contract.session import Outcome, Saved, Session
from tests.unit.uploader.harbour import Berth, Harbour, hold_of, safetensors, write
from tests.unit.uploader.pruning import (
    away,
    back,
    closed,
    delete,
    end,
    key,
    missing,
    name,
    no_clones,
    open_berth,
    save,
    weights,
)
from uploader.lanes import Lane
from uploader.settle import BROKEN_PATIENCE_SECONDS
from uploader.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def harbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harbour:
    monkeypatch.setattr(fcntl, "ioctl", no_clones)
    return Harbour(tmp_path)


# Before it has settled


@pytest.mark.guarantee("nothing-lost", fault="the trainer deletes a checkpoint before it has settled")
@pytest.mark.parametrize("seen_by", ["its writer's open files", "its standing still"])
def test_a_checkpoint_that_is_deleted_before_it_has_settled_still_arrives(harbour: Harbour, seen_by: str) -> None:
    if seen_by == "its writer's open files":
        harbour.session(trainer=identify())
    berth = open_berth(harbour)
    path = berth.run.output / name(4)
    write(path, weights(4))
    status = path.stat()
    harbour.open_files.add((status.st_dev, status.st_ino))
    berth.tick()
    path.unlink()
    harbour.open_files.clear()
    berth.until(lambda: harbour.content(key(4)) == weights(4))
    harbour.session(trainer=None)
    end(berth)
    assert missing(harbour) == {}


@pytest.mark.guarantee("nothing-lost", fault="the trainer deletes a checkpoint while its last bytes are written")
def test_a_checkpoint_that_is_deleted_while_it_is_written_arrives_once_its_writer_has_closed_it(
    harbour: Harbour,
) -> None:
    harbour.session(trainer=identify())
    berth = open_berth(harbour)
    path = berth.run.output / name(4)
    write(path, weights(4)[:-50])
    with path.open("ab") as writer:
        status = path.stat()
        harbour.open_files.add((status.st_dev, status.st_ino))
        berth.tick()
        path.unlink()
        berth.tick(10)
        assert harbour.content(key(4)) is None
        writer.write(weights(4)[-50:])
    harbour.open_files.clear()
    berth.until(lambda: harbour.content(key(4)) == weights(4))


@pytest.mark.guarantee("whole", fault="a half-written checkpoint is deleted by its writer")
def test_a_half_written_checkpoint_that_its_writer_deletes_is_never_published_and_holds_up_nothing(
    harbour: Harbour,
) -> None:
    harbour.session(trainer=identify())
    berth = open_berth(harbour)
    path = berth.run.output / name(4)
    write(path, weights(4)[:-50])
    berth.tick(2)
    path.unlink()
    berth.tick(int(BROKEN_PATIENCE_SECONDS) + 2)
    harbour.session(trainer=None)
    end(berth)
    assert [each for each in harbour.storage.objects if "pictures_" in each] == []
    assert missing(harbour) == {}


def test_a_file_that_is_written_on_without_a_name_does_not_keep_a_run_open(harbour: Harbour) -> None:
    harbour.session(trainer=identify())
    berth = open_berth(harbour)
    path = berth.run.output / name(4)
    write(path, weights(4))
    status = path.stat()
    harbour.open_files.add((status.st_dev, status.st_ino))
    with path.open("ab") as writer:
        berth.tick()
        path.unlink()
        for _ in range(int(BROKEN_PATIENCE_SECONDS) + 2):
            writer.write(b"scratch")
            writer.flush()
            berth.tick()
        assert hold_of(berth).observer.waiting == 0
    harbour.session(trainer=None)
    end(berth)


def test_a_file_that_is_renamed_before_it_has_settled_is_published_under_its_new_name_alone(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    write(berth.run.output / "pictures/writing.safetensors", weights(4))
    berth.tick()
    (berth.run.output / "pictures/writing.safetensors").rename(berth.run.output / name(4))
    end(berth)
    assert harbour.content(key(4)) == weights(4)
    assert harbour.content("checkpoints/writing.safetensors") is None
    assert missing(harbour) == {}


# Never seen


@pytest.mark.guarantee("told", fault="the trainer saves and deletes a checkpoint between two looks")
def test_a_checkpoint_that_was_saved_and_deleted_between_two_looks_is_missing_by_name(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    berth.tick()
    harbour.session(saved=(Saved(path=name(4), step=4, at=harbour.clock.now()),))
    berth.tick(2)
    assert [failure.path for failure in berth.carrier.upload.failures] == [name(4)]
    end(berth)
    assert missing(harbour) == {name(4): "the trainer saved it, and it was gone before it could be looked at"}
    assert berth.carrier.upload.receipt is not None
    assert not berth.carrier.upload.receipt.complete


def test_what_was_saved_is_not_missing_while_it_is_there_or_known_under_the_names_of_its_parts(
    harbour: Harbour,
) -> None:
    harbour = Harbour(harbour.root, exclude=("*_000000012.*",))
    berth = open_berth(harbour)
    halves = [name(4).replace(".safetensors", f"_{half}_noise.safetensors") for half in ("high", "low")]
    parts = [name(8).replace(".safetensors", "/transformer/weights.safetensors")]
    for path in (*halves, *parts):
        write(berth.run.output / path, weights(4))
    berth.until(lambda: harbour.content(key(4).replace(".saf", "_low_noise.saf")) is not None)
    for path in halves:
        (berth.run.output / path).unlink()
    now = harbour.clock.now()
    named = (name(4), name(8).removesuffix(".safetensors"), name(12))
    harbour.session(saved=tuple(Saved(path=path, step=4, at=now) for path in named))
    write(berth.run.output / name(16), weights(16))
    end(berth)
    assert missing(harbour) == {}


@pytest.mark.guarantee(
    "told", fault="of a checkpoint's folder only the first file is seen before the trainer deletes it all"
)
def test_a_folder_of_which_only_the_beginning_was_seen_is_missing_by_name(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    folder = name(8).removesuffix(".safetensors")
    config = berth.run.output / folder / "transformer/config.json"
    write(config, "{}")
    berth.until(lambda: harbour.content(f"checkpoints/{folder.partition('/')[2]}/transformer/config.json") == b"{}")
    # While nobody looks, the rest is written, and all of it is deleted.
    shutil.rmtree(berth.run.output / folder)
    harbour.session(saved=(Saved(path=folder, step=8, at=harbour.clock.now()),))
    end(berth)
    assert missing(harbour) == {folder: "the trainer saved it, and it was gone before it could be looked at"}


def test_what_a_lost_ledger_may_have_delivered_is_not_called_missing(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    write(berth.run.output / name(4), weights(4))
    harbour.session(saved=(Saved(path=name(4), step=4, at=harbour.clock.now()),))
    berth.until(lambda: harbour.content(key(4)) == weights(4))
    delete(berth, 4)
    berth.die()
    for path in berth.run.state.glob("ledger.*"):
        path.unlink()
    harbour.clock.advance(10)
    again = Berth(harbour, berth.run)
    again.until(lambda: again.carrier.stage is Stage.OPEN)
    harbour.session(saved=(*harbour_saved(harbour), Saved(path=name(8), step=8, at=harbour.clock.now() - 5)))
    again.tick(2)
    end(again)
    assert set(missing(harbour)) == {name(8)}


def harbour_saved(harbour: Harbour) -> tuple[Saved, ...]:
    session = Session.read(harbour.session().session_file)
    assert session is not None
    return session.saved


# Replaced and rewritten


@pytest.mark.guarantee("whole", fault="a checkpoint is replaced before and during its upload")
def test_of_a_replaced_checkpoint_only_whole_versions_are_published_and_the_newest_last(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    path = berth.run.output / "pictures/pictures.safetensors"
    versions = [safetensors(bytes([65 + number]) * 9_000_000) for number in range(3)]
    published: list[bytes] = []
    harbour.storage.while_sending = lambda key: replace(1) if "pictures.saf" in key and not published else None
    store = harbour.storage._store

    def stored(key: str, content: bytes, metadata: dict[str, str]) -> None:
        if "checkpoints/" in key:
            published.append(content)
        store(key, content, metadata)

    def replace(number: int) -> None:
        write(path.with_name(".next"), versions[number])
        path.with_name(".next").replace(path)

    harbour.storage._store = stored  # type: ignore[method-assign,assignment]  # a test's own ear at the server
    write(path, versions[0])
    berth.until(lambda: len(published) >= 1)
    replace(2)
    end(berth)
    assert published[0] == versions[0]
    assert set(published) <= set(versions)
    assert harbour.content("checkpoints/pictures.safetensors") == versions[2]


@pytest.mark.guarantee("nothing-lost", fault="a checkpoint that waits is replaced by one that is still being written")
def test_a_whole_checkpoint_does_not_wait_for_what_is_written_in_its_place(harbour: Harbour) -> None:
    harbour.session(trainer=identify())
    berth = open_berth(harbour)
    berth.executors[Lane.SMALL].held = True
    path = berth.run.output / name(4)
    write(path, weights(4))
    berth.tick(2)
    write(path.with_name(".next"), weights(5)[:-20])
    path.with_name(".next").replace(path)
    status = path.stat()
    harbour.open_files.add((status.st_dev, status.st_ino))
    berth.executors[Lane.SMALL].held = False
    berth.executors[Lane.SMALL].release()
    berth.tick(5)
    assert harbour.content(key(4)) == weights(4)
    write(path, weights(5))
    harbour.open_files.clear()
    berth.until(lambda: harbour.content(key(4)) == weights(5))


@pytest.mark.guarantee("nothing-lost", fault="the trainer is killed while it writes a checkpoint anew that still waits")
def test_a_whole_checkpoint_that_waits_is_not_given_up_for_a_torn_one_in_its_place(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    delete(berth, 4)
    write(berth.run.output / name(4), weights(5)[:-20])
    harbour.drained(outcome=Outcome.INTERRUPTED)
    berth.tick(10)
    back(harbour)
    berth.until(lambda: closed(berth))
    assert harbour.content(key(4)) == weights(4)
    assert harbour.content("incomplete/pictures_000000004.safetensors") == weights(5)[:-20]


@pytest.mark.guarantee("every-wait-ends", fault="a checkpoint that waits is rewritten in place, and then replaced")
def test_what_has_taken_the_place_of_a_whole_checkpoint_that_was_written_over_does_not_wait_for_it(
    harbour: Harbour,
) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    path = berth.run.output / name(4)
    path.write_bytes(weights(5)[:-20])
    write(path.with_name(".next"), weights(6))
    path.with_name(".next").replace(path)
    harbour.drained(outcome=Outcome.INTERRUPTED)
    berth.tick(10)
    back(harbour)
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert [entry.sha256 for entry in manifest.files] == [hashlib.sha256(weights(6)).hexdigest()]


@pytest.mark.guarantee("every-wait-ends", fault="a checkpoint that waits is rewritten in place and deleted")
def test_what_was_rewritten_and_deleted_since_it_settled_arrives_in_its_last_version(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    (berth.run.output / name(4)).write_bytes(weights(5))
    delete(berth, 4)
    berth.tick(5)
    back(harbour)
    berth.until(lambda: harbour.content(key(4)) == weights(5))
    end(berth)
