"""What is kept of checkpoints that wait: copies, room, descriptors."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.contract.upload import Upload
from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, Harbour, hold_of, write
from tests.unit.uploader.pruning import (
    away,
    back,
    clones,
    closed,
    delete,
    end,
    kept,
    key,
    missing,
    name,
    no_clones,
    open_berth,
    save,
    spooled,
    waits,
    weights,
)
from uploader import grips, keeper, scan, spool
from uploader.disk import Space
from uploader.lanes import Lane
from uploader.ledger import Ledger
from uploader.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uploader.scan import Seen


@pytest.fixture
def harbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harbour:
    monkeypatch.setattr(fcntl, "ioctl", no_clones)
    return Harbour(tmp_path)


# While Storage is away


@pytest.mark.guarantee("nothing-lost", fault="checkpoints are deleted while the ledger's disk is in trouble")
def test_what_is_held_outlives_trouble_with_the_ledger(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool.Spool, "keep", refuse)
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    write(berth.run.output / name(8), weights(8))
    berth.tick()
    delete(berth, 4, 8)
    berth.carrier.stumble(OSError(5, "Input/output error"))
    back(harbour)
    berth.until(lambda: (harbour.content(key(4)), harbour.content(key(8))) == (weights(4), weights(8)))
    end(berth)


@pytest.mark.guarantee(
    "nothing-lost", fault="an uploader starts while Storage is away, and the trainer goes on deleting"
)
def test_what_is_deleted_before_the_claim_is_known_to_be_ours_still_arrives(harbour: Harbour) -> None:
    run = harbour.session_run()
    harbour.storage.fail("folder", Trouble.UNREACHABLE, times=100_000)
    berth = Berth(harbour, run)
    write(run.output / name(4), weights(4))
    berth.tick(2)
    (run.output / name(4)).unlink()
    berth.tick(2)
    assert berth.carrier.stage is Stage.CLAIMING
    back(harbour)
    berth.until(lambda: harbour.content(key(4)) == weights(4))
    end(berth)


def refuse(*_: object, **__: object) -> str:
    raise OSError(28, "No space left on device")


def test_a_copy_that_the_disk_refuses_is_tried_again_and_the_file_arrives_without_it(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    with monkeypatch.context() as patch:
        patch.setattr(spool.Spool, "keep", refuse)
        delete(berth, 4)
        berth.tick(3)
    assert kept(berth) == []
    berth.until(lambda: len(kept(berth)) == 1)
    back(harbour)
    end(berth)
    assert harbour.content(key(4)) == weights(4)


# Death


@pytest.mark.guarantee("nothing-lost", fault="a checkpoint is deleted while the uploader is down, and another waited")
def test_what_the_trainer_may_delete_next_is_copied_ahead_and_outlives_a_kill(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    berth.tick(2)
    assert spooled(berth) == set()
    save(berth, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    berth.die()
    delete(berth, 4)
    back(harbour)
    again = Berth(harbour, berth.run)
    end(again)
    assert (harbour.content(key(4)), harbour.content(key(8))) == (weights(4), weights(8))
    assert list(berth.run.spool.iterdir()) == []


def test_a_checkpoint_that_has_waited_long_is_copied_ahead_whatever_the_trainer_does(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    berth.tick(30)
    assert kept(berth) == []
    berth.tick(35)
    assert spooled(berth) == {name(4)}


def test_copies_ahead_take_a_part_of_the_spool_at_most(harbour: Harbour) -> None:
    harbour = Harbour(harbour.root, spool_bytes=4 * (2 * len(weights(4)) + 50))
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8, 12, 16)
    berth.tick(100)
    assert spooled(berth) == {name(4), name(8)}


@pytest.mark.guarantee("nothing-lost", fault="the ledger is lost while the only copy of a checkpoint is in the spool")
def test_a_copy_in_the_spool_finds_its_way_without_the_ledger(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    delete(berth, 4)
    berth.until(lambda: len(kept(berth)) == 1)
    berth.tick()
    berth.die()
    for path in berth.run.state.glob("ledger.*"):
        path.unlink()
    back(harbour)
    again = Berth(harbour, berth.run)
    end(again)
    assert harbour.content(key(4)) == weights(4)
    assert harbour.storage.objects[f"run/pictures/{key(4)}"].metadata["step"] == "4"
    assert list(berth.run.spool.iterdir()) == []


@pytest.mark.guarantee(
    "nothing-lost", fault="the ledger is lost while the only copy of a checkpoint that was named as missing is spooled"
)
def test_a_copy_of_what_was_told_to_be_missing_finds_its_way_without_the_ledger(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    harbour.storage.fail("put", Trouble.LOCKED, key="checkpoints/", times=100_000)
    save(berth, 4)
    delete(berth, 4)
    berth.until(lambda: len(kept(berth)) == 1)
    berth.until(lambda: [failure.path for failure in told(berth).failures] == [name(4)])
    berth.die()
    for path in berth.run.state.glob("ledger.*"):
        path.write_bytes(b"torn")
    back(harbour)
    end(Berth(harbour, berth.run))
    assert harbour.content(key(4)) == weights(4)
    assert missing(harbour) == {}
    assert list(berth.run.spool.iterdir()) == []


@pytest.mark.guarantee("nothing-lost", fault="the uploader is killed between making a copy and noting it")
def test_a_copy_that_was_made_and_not_noted_is_found(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    monkeypatch.setattr(Ledger, "spooled", killed)
    delete(berth, 4)
    with pytest.raises(KeyboardInterrupt):
        berth.tick(5)
    monkeypatch.undo()
    berth.die()
    back(harbour)
    again = Berth(harbour, berth.run)
    end(again)
    assert harbour.content(key(4)) == weights(4)


def killed(*_: object) -> bool:
    raise KeyboardInterrupt


@pytest.mark.guarantee("nothing-lost", fault="the uploader is killed while a delivery is recorded")
def test_a_copy_is_there_until_its_delivery_is_durable(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    delete(berth, 4)
    berth.until(lambda: len(kept(berth)) == 1)
    delivered = Ledger.delivered

    def killed_before_the_commit(ledger: Ledger, row: object, stored: object) -> None:
        delivered(ledger, row, stored)  # type: ignore[arg-type]  # handed on as they are
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "delivered", killed_before_the_commit)
    back(harbour)
    with pytest.raises(KeyboardInterrupt):
        berth.tick(10)
    monkeypatch.undo()
    berth.die()
    again = Berth(harbour, berth.run)
    end(again)
    assert missing(harbour) == {}
    assert harbour.content(key(4)) == weights(4)
    assert list(berth.run.spool.iterdir()) == []


def test_what_is_left_of_interrupted_copies_is_removed(harbour: Harbour) -> None:
    run = harbour.session_run()
    for each in (".1-2-3-x.kept.abc", "1-2-3-x.kept.json", "1-2-3-y.kept"):
        write(run.spool / each, "half")
    berth = Berth(harbour, run)
    end(berth)
    assert list(run.spool.iterdir()) == []


@pytest.mark.guarantee("nothing-lost", fault="somebody empties the spool while the original is still there")
def test_a_copy_ahead_that_vanishes_is_no_loss(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    for path in berth.run.spool.iterdir():
        path.unlink()
    hold_of(berth).observer._next_full_pass = float("inf")
    back(harbour)
    end(berth)
    assert harbour.content(key(4)) == weights(4)
    assert missing(harbour) == {}


@pytest.mark.guarantee("nothing-lost", fault="a copy in the spool cannot be read while the original can")
def test_a_copy_ahead_that_cannot_be_read_is_no_loss(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    make_unreadable(monkeypatch, kept(berth))
    back(harbour)
    end(berth)
    assert harbour.content(key(4)) == weights(4)
    assert missing(harbour) == {}


@pytest.mark.guarantee("nothing-lost", fault="neither a checkpoint nor its copy can be read for a moment")
def test_a_copy_that_cannot_be_read_is_kept_until_its_original_is_seen(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    tried = attempts(berth)
    with monkeypatch.context() as patch:
        hide(patch, name(4))
        make_unreadable(patch, kept(berth))
        back(harbour)
        berth.until(lambda: attempts(berth) > tried)
        assert spooled(berth) == {name(4)}
    end(berth)
    assert harbour.content(key(4)) == weights(4)


def attempts(berth: Berth) -> int:
    row = hold_of(berth).ledger.file(name(4))
    assert row is not None
    return row.attempts


def make_unreadable(patch: pytest.MonkeyPatch, bad: list[Path]) -> None:
    opened = os.open

    def failing(path: Path | str, *how: int, **more: Any) -> int:
        if path in bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *how, **more)

    patch.setattr(os, "open", failing)


@pytest.mark.guarantee("nothing-lost", fault="a volume hides a checkpoint while its copy in the spool is damaged")
def test_an_original_that_a_volume_hides_is_not_taken_for_deleted(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    for path in kept(berth):
        path.write_bytes(b"torn")
    back(harbour)
    with monkeypatch.context() as patch:
        hide(patch, name(4))
        berth.until(lambda: hold_of(berth).ledger.gone > 0 or spooled(berth) == set())
    assert hold_of(berth).ledger.gone == 0
    end(berth)
    assert harbour.content(key(4)) == weights(4)


def told(berth: Berth) -> Upload:
    upload = Upload.read(berth.run.upload_file)
    assert upload is not None
    return upload


def hide(patch: pytest.MonkeyPatch, hidden: str) -> None:
    """Have a volume hide a file from whoever looks at it."""

    def look(root: Path, path: str) -> Seen | None:
        return scan.hidden(path, OSError(5, "Input/output error")) if path == hidden else scan.look(root, path)

    for module in (keeper, grips):
        patch.setattr(module, "look", look)


@pytest.mark.guarantee("nothing-lost", fault="a link takes the name of a checkpoint whose only copy is in the spool")
def test_a_copy_arrives_whatever_takes_the_name_of_its_original_and_that_is_named_then(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    delete(berth, 4)
    berth.until(lambda: spooled(berth) == {name(4)})
    (berth.run.output / name(4)).symlink_to("elsewhere.safetensors")
    berth.tick(20)
    assert waits(berth, 4)
    harbour.drained()
    berth.tick()
    back(harbour)
    for _ in range(20):
        berth.probe()
        berth.carrier.tick(look=False)
        harbour.clock.advance(1.0)
    assert harbour.content(key(4)) == weights(4)
    berth.until(lambda: closed(berth))
    assert missing(harbour) == {name(4): "it is a symbolic link, which cannot be carried"}
    assert list(berth.run.spool.iterdir()) == []


# Room


@pytest.mark.guarantee("nothing-lost", fault="a volume hides a checkpoint while too much is kept")
def test_what_a_volume_hides_for_a_moment_is_not_given_up(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    harbour = Harbour(harbour.root, spool_bytes=len(weights(4)) // 2)
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    berth.until(lambda: not hold_of(berth).flight.paths)
    with monkeypatch.context() as patch:
        hide(patch, name(4))
        berth.tick()
    assert waits(berth, 4)
    back(harbour)
    end(berth)
    assert harbour.content(key(4)) == weights(4)


@pytest.mark.guarantee("nothing-lost", fault="a checkpoint is deleted once its copy was dropped to free the disk")
def test_a_copy_ahead_is_dropped_for_room_only_when_its_original_is_held(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    assert hold_of(berth).drop_leftovers() == len(weights(4))
    delete(berth, 4)
    back(harbour)
    end(berth)
    assert harbour.content(key(4)) == weights(4)
    assert missing(harbour) == {}


@pytest.mark.guarantee("nothing-lost", fault="the disk is full while there is no descriptor left for a checkpoint")
def test_a_copy_ahead_of_what_cannot_be_held_stays(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    monkeypatch.setattr(grips, "MOST_HELD", 0)
    assert hold_of(berth).drop_leftovers() == 0
    assert spooled(berth) == {name(4)}


@pytest.mark.guarantee("told", fault="more is deleted during an outage than the spool may hold")
def test_beyond_the_spools_size_the_oldest_are_given_up_and_named(
    harbour: Harbour, caplog: pytest.LogCaptureFixture
) -> None:
    harbour = Harbour(harbour.root, spool_bytes=2 * len(weights(4)) + 50)
    berth = open_berth(harbour)
    away(harbour)
    for step in (4, 8, 12, 16):
        save(berth, step)
        delete(berth, step)
        berth.tick(3)
        assert sum(path.stat().st_size for path in kept(berth)) <= harbour.settings.spool_bytes
    assert [record.getMessage() for record in caplog.records if "given_up" in record.getMessage()]
    back(harbour)
    end(berth)
    reason = "it was deleted before it could be uploaded, and given up because too much was waiting"
    assert missing(harbour) == {name(4): reason, name(8): reason}
    assert (harbour.content(key(12)), harbour.content(key(16))) == (weights(12), weights(16))
    receipt = berth.carrier.upload.receipt
    assert receipt is not None
    assert [(failure.path, failure.reason) for failure in receipt.missing] == [(name(4), reason), (name(8), reason)]


def test_what_is_held_without_a_name_counts_like_a_copy(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool.Spool, "keep", refuse)
    harbour = Harbour(harbour.root, spool_bytes=len(weights(4)) + 50)
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    delete(berth, 4, 8)
    berth.tick(2)
    back(harbour)
    end(berth)
    assert set(missing(harbour)) == {name(4)}
    assert harbour.content(key(8)) == weights(8)


def test_copies_ahead_go_before_anything_is_given_up(harbour: Harbour, caplog: pytest.LogCaptureFixture) -> None:
    harbour = Harbour(harbour.root, spool_bytes=4 * len(weights(4)) + 50)
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    save(berth, 8)
    berth.until(lambda: spooled(berth) == {name(4)})
    save(berth, 12, 16, 20, 24)
    delete(berth, 8, 12, 16, 20)
    berth.until(lambda: spooled(berth) == {name(8), name(12), name(16), name(20)})
    assert not [record for record in caplog.records if "given_up" in record.getMessage()]
    back(harbour)
    end(berth)
    assert missing(harbour) == {}
    assert all(harbour.content(key(step)) == weights(step) for step in (4, 8, 12, 16, 20, 24))


@pytest.mark.guarantee("undisturbed", fault="what is kept for a Storage that is away fills the trainer's disk")
def test_the_trainers_next_checkpoint_has_room_before_an_old_one_is_kept(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [100 << 30]
    berth = open_berth(harbour)
    monkeypatch.setattr(berth.world.disk, "measure", lambda _: Space(free[0], 200 << 30))
    away(harbour)
    save(berth, 4, 8)
    delete(berth, 4, 8)
    berth.until(lambda: len(kept(berth)) == 2)
    free[0] = (2 << 30) + 10
    berth.tick(int(keeper.LAST_RESORT_SECONDS) - 2)
    assert len(kept(berth)) == 2
    berth.until(lambda: len(kept(berth)) == 1)
    free[0] = 1 << 30
    berth.tick(100)
    assert spooled(berth) == {name(8)}, "giving it up would not help"
    back(harbour)
    end(berth)
    assert set(missing(harbour)) == {name(4)}


def test_the_optimizers_state_waits_for_the_drain_where_no_copy_of_it_fits(harbour: Harbour) -> None:
    harbour = Harbour(harbour.root, spool_bytes=10)
    berth = open_berth(harbour)
    write(berth.run.output / "pictures/optimizer.pt", b"a state that is too large")
    berth.tick(20)
    assert harbour.content("checkpoints/optimizer.pt") is None
    assert not berth.run.spool.exists()
    end(berth)
    assert harbour.content("checkpoints/optimizer.pt") == b"a state that is too large"


# Copies that cost nothing


def test_where_files_can_share_their_bytes_every_waiting_checkpoint_has_a_copy_at_once(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", clones)
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    berth.tick(3)
    assert spooled(berth) == {name(4)}
    berth.die()
    delete(berth, 4)
    back(harbour)
    again = Berth(harbour, berth.run)
    end(again)
    assert harbour.content(key(4)) == weights(4)
    assert list(berth.run.spool.iterdir()) == []


# What the trainer sees


@pytest.mark.guarantee("undisturbed", fault="checkpoints are held, copied, sent and let go beside the trainer")
def test_no_file_of_the_trainers_has_another_ctime_for_what_is_done_with_it(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    before: dict[Path, int] = {}

    def ctimes() -> dict[Path, int]:
        return {path: path.stat().st_ctime_ns for path in before if path.exists()}

    away(harbour)
    for step in (4, 8, 12):
        save(berth, step)
        write(berth.run.output / "pictures/optimizer.pt", f"state {step}")
        before[berth.run.output / name(step)] = (berth.run.output / name(step)).stat().st_ctime_ns
        berth.tick(3)
    berth.until(lambda: spooled(berth) == {name(4), name(8)})
    delete(berth, 4)
    berth.until(lambda: len(kept(berth)) == 2)
    assert ctimes().items() <= before.items()
    berth.die()
    berth = Berth(harbour, berth.run)
    back(harbour)
    berth.until(lambda: harbour.content(key(12)) == weights(12))
    berth.tick(3)
    end(berth)
    assert kept(berth) == []
    assert ctimes() == {path: before[path] for path in before if path != berth.run.output / name(4)}


# Descriptors


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_descriptors")
def test_where_descriptors_are_few_the_ledger_and_the_connections_have_them(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    for step in range(1, 61):
        write(berth.run.output / name(step), weights(step))
    berth.tick(10)
    back(harbour)
    end(berth)
    assert missing(harbour) == {}
    assert all(harbour.content(key(step)) == weights(step) for step in range(1, 61))


def test_of_more_than_can_be_held_the_longest_waiting_are_and_the_others_move_up(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = open_berth(harbour)
    away(harbour)
    for module in (grips, keeper):
        monkeypatch.setattr(module, "MOST_HELD", 8)
    count = 18
    before = open_descriptors()
    for step in range(1, count + 1):
        write(berth.run.output / name(step), weights(step))
    berth.until(lambda: all(waits(berth, step) for step in range(1, count + 1)))
    assert open_descriptors() - before <= 8 + 4
    for step in range(1, count + 1):
        delete(berth, step)
        berth.until(lambda: name(step) in spooled(berth))  # noqa: B023 - waited for at once
    back(harbour)
    end(berth)
    assert missing(harbour) == {}
    assert open_descriptors() <= before + 4


def test_what_has_nothing_left_but_its_descriptor_is_held_whatever_waits_longer(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool.Spool, "keep", refuse)
    monkeypatch.setattr(keeper, "MOST_HELD", 2)
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4, 8)
    write(berth.run.output / name(12), weights(12))
    berth.tick()
    delete(berth, 12)
    berth.until(lambda: waits(berth, 12))
    berth.tick(3)
    back(harbour)
    end(berth)
    assert missing(harbour) == {}
    assert harbour.content(key(12)) == weights(12)


def open_descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_copy_that_is_ready_when_its_file_has_been_delivered_is_removed(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    away(harbour)
    save(berth, 4)
    berth.executors[Lane.COPY].held = True
    delete(berth, 4)
    berth.tick(2)
    back(harbour)
    berth.until(lambda: harbour.content(key(4)) == weights(4))
    berth.executors[Lane.COPY].release()
    assert len(kept(berth)) == 1
    berth.tick(2)
    assert list(berth.run.spool.iterdir()) == []
    assert hold_of(berth).ledger.sources() == frozenset()


def test_large_copies_hold_up_neither_the_claim_nor_the_documents(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    for lane in (Lane.SMALL, Lane.COPY):
        berth.executors[lane].held = True
    write(berth.run.output / name(4), weights(4))
    berth.tick(5)
    delete(berth, 4)
    berth.tick(5)
    status = harbour.status()
    berth.tick(60)
    later = harbour.status()
    assert status is not None
    assert later is not None
    assert later.counter > status.counter
    assert kept(berth) == []
    berth.executors[Lane.COPY].held = False
    berth.executors[Lane.COPY].release()
    berth.until(lambda: len(kept(berth)) == 1)
