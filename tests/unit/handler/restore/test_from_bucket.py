"""Restoring from the bucket alone, whole or damaged: what lands on the disk, and what is put out of the way."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from handler.expected import Expected
from handler.restore import Restored, restore
from handler.saves import HALVES
from shared import folders
from shared.errors import ErrorCode, FerryError
from shared.storage.client import SMALL_DOCUMENT
from shared.storage.errors import StorageError, Trouble
from tests.unit.handler.crew import FakeDownload
from tests.unit.uploader.memory_storage import BUCKET, MemoryStorage, Thing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.storage.client import Storage
    from shared.storage.download import Download
    from shared.storage.records import ObjectRecord

PREFIX = "run/cats"


class Bucket(MemoryStorage):
    """A Storage in memory with what earlier sessions left.

    ``odd`` holds what comes, by key, in place of the content the next times; ``blind`` how often a call (``info`` of a
    key, ``walk`` of a folder) finds nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.odd: dict[str, list[bytes]] = {}
        self.blind: dict[tuple[str, str], int] = {}

    def digests(self, known: bool) -> None:
        self._digests = known

    def info(self, bucket: str, key: str) -> ObjectRecord | None:
        return None if self._is_blind("info", key) else super().info(bucket, key)

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        return iter(()) if self._is_blind("walk", prefix) else super().walk(bucket, prefix)

    def read(self, bucket: str, key: str, limit: int = SMALL_DOCUMENT) -> bytes | None:
        return self.odd[key].pop(0) if self.odd.get(key) else super().read(bucket, key, limit)

    @contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0) -> Iterator[Download]:
        if self.odd.get(key):
            content = self.odd[key].pop(0)
            yield cast("Download", FakeDownload(len(content), content))
            return
        with super().open(bucket, key, start=start) as download:
            yield download

    def _is_blind(self, call: str, key: str) -> bool:
        left = self.blind.get((call, key), 0)
        self.blind[call, key] = left - 1
        return left > 0

    def keep(self, key: str, path: str, content: bytes, step: int | None = None, session: str = "s1") -> None:
        told = {"path": path, "session": session, "sha256": hashlib.sha256(content).hexdigest()}
        stamped = told if step is None else {**told, "step": str(step)}
        self.objects[f"{PREFIX}/{key}"] = Thing(content, "v1", stamped)

    def keep_folder(self, step: int, parts: dict[str, bytes]) -> None:
        folder = f"cats_{step:09d}"
        for name, content in parts.items():
            self.keep(f"checkpoints/{folder}/{name}", f"cats/{folder}/{name}", content)
        seal = folders.seal({f"cats/{folder}/{name}": hashlib.sha256(part).hexdigest() for name, part in parts.items()})
        self.keep(f"checkpoints/{folder}/{folders.LAST}", f"cats/{folder}/{folders.LAST}", b"step")
        self.objects[f"{PREFIX}/checkpoints/{folder}/{folders.LAST}"].metadata[folders.SEAL] = seal

    def damage(self, key: str) -> None:
        thing = self.objects[f"{PREFIX}/{key}"]
        self.objects[f"{PREFIX}/{key}"] = Thing(b"x" * len(thing.content), "v2", thing.metadata)


@pytest.fixture
def bucket() -> Bucket:
    """Return what a run left that was interrupted after step 20."""
    made = Bucket()
    for step in (10, 20):
        made.keep(
            f"checkpoints/cats_{step:09d}.safetensors", f"cats/cats_{step:09d}.safetensors", b"%d" % step, step=step
        )
    made.keep("checkpoints/optimizer.pt", "cats/optimizer.pt", b"state", step=20)
    made.keep("logs/training.log", "logs/training.log", b"line\n")
    made.keep("logs/loss_log.db", "cats/loss_log.db", b"losses")
    made.keep("samples/1.jpg", "cats/samples/1.jpg", b"picture")
    return made


class Stop(threading.Event):
    """Lets nobody wait."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def run(
    bucket: Bucket, output: Path, *, stop: bool = False, trigger: str | None = None, flag: Stop | None = None
) -> Restored:
    output.mkdir(exist_ok=True)
    flag = flag or Stop()
    if stop:
        flag.set()
    storage = cast("Storage", bucket)
    return restore(storage, BUCKET, PREFIX, ("s1",), Expected("cats", trigger), frozenset(HALVES), output, flag)


def there(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_the_newest_checkpoint_its_optimizer_and_the_logs_come_back(bucket: Bucket, tmp_path: Path) -> None:
    restored = run(bucket, tmp_path / "output")
    assert there(tmp_path / "output") == {
        "cats/cats_000000020.safetensors": b"20",
        "cats/optimizer.pt": b"state",
        "cats/loss_log.db": b"losses",
        "logs/training.log": b"line\n",
    }
    assert restored.step == 20
    assert {entry.path: entry.step for entry in restored.saved} == {
        "cats/cats_000000020.safetensors": 20,
        "cats/optimizer.pt": 20,
    }
    assert all(entry.mtime == (tmp_path / "output" / entry.path).stat().st_mtime for entry in restored.saved)


def test_the_checkpoint_is_the_last_to_appear(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = type(tmp_path).replace

    def noted(self: Path, target: Path) -> Path:
        order.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), "replace", noted)
    run(bucket, tmp_path / "output")
    assert order[-1] == "cats_000000020.safetensors"
    assert len(order) == 4


@pytest.mark.guarantee("resumed-training", fault="the newest checkpoint in the bucket is damaged")
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_is_taken(bucket: Bucket, tmp_path: Path) -> None:
    newest = "checkpoints/cats_000000020.safetensors"
    bucket.damage(newest)
    restored = run(bucket, tmp_path / "output")
    assert (restored.step, restored.damaged) == (10, (f"{PREFIX}/{newest}",))
    # The optimizer's state is of the step that is passed over.
    assert "cats/optimizer.pt" not in there(tmp_path / "output")
    assert f"{PREFIX}/{newest}" not in bucket.objects
    assert bucket.objects[f"{PREFIX}/damaged/cats_000000020.safetensors"].content == b"xx"


@pytest.mark.guarantee(
    "resumed-training", fault="a file of the newest checkpoint's folder is damaged, and the next worker dies"
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_nothing_of_a_damaged_folder_passes_for_whole_afterwards(
    bucket: Bucket, tmp_path: Path, *, interrupted: bool
) -> None:
    bucket.keep_folder(30, {"model.safetensors": b"weights", "a.json": b"{}"})
    bucket.damage("checkpoints/cats_000000030/model.safetensors")
    if interrupted:
        # What says that the folder is whole goes first.
        bucket.fail("move", Trouble.DENIED, key="a.json")
        with pytest.raises(StorageError):
            run(bucket, tmp_path / "interrupted")
        bucket.keep("checkpoints/cats_000000030/model.safetensors", "cats/cats_000000030/model.safetensors", b"weights")
    for output in ("first", "second"):
        assert run(bucket, tmp_path / output).step == 20
    if not interrupted:
        assert {key for key in bucket.objects if "000000030" in key} == {
            f"{PREFIX}/damaged/cats_000000030/{name}" for name in ("model.safetensors", "a.json", folders.LAST)
        }


def test_an_embedding_whose_model_is_damaged_is_no_checkpoint(bucket: Bucket, tmp_path: Path) -> None:
    bucket.keep("checkpoints/sks_000000020.safetensors", "cats/sks_000000020.safetensors", b"embedding")
    bucket.damage("checkpoints/cats_000000020.safetensors")
    for output in ("first", "second"):
        assert run(bucket, tmp_path / output, trigger="sks").step == 10


def test_what_was_put_aside_before_is_kept(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects[f"{PREFIX}/damaged/cats_000000020.safetensors"] = Thing(b"older", "v0", {})
    bucket.damage("checkpoints/cats_000000020.safetensors")
    run(bucket, tmp_path / "output")
    kept = [thing.content for key, thing in bucket.objects.items() if key.startswith(f"{PREFIX}/damaged/")]
    assert sorted(kept) == [b"older", b"xx"]


@pytest.mark.guarantee("resumed-training", fault="a damaged optimizer state or log lies beside the checkpoint")
@pytest.mark.parametrize("key", ["checkpoints/optimizer.pt", "logs/loss_log.db", "logs/training.log"])
def test_what_a_training_can_do_without_is_left_out_when_it_is_damaged(
    bucket: Bucket, tmp_path: Path, key: str
) -> None:
    bucket.damage(key)
    assert run(bucket, tmp_path / "output").step == 20
    assert len(there(tmp_path / "output")) == 3


NEWEST = f"{PREFIX}/checkpoints/cats_000000020.safetensors"
OTHER_LENGTH = b"<html>a page of a proxy's</html>"


@pytest.mark.guarantee(
    "resumed-training", fault="the newest checkpoint in the bucket is answered with 404 once or twice"
)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("digests", [True, False])
def test_a_checkpoint_that_is_not_found_for_a_moment_is_no_damaged_one(
    bucket: Bucket, tmp_path: Path, times: int, *, digests: bool
) -> None:
    bucket.digests(digests)
    bucket.fail("read", Trouble.NOT_FOUND, key=NEWEST)
    bucket.fail("open", Trouble.NOT_FOUND, key=NEWEST, times=times)
    restored = run(bucket, tmp_path / "output")
    assert (restored.step, restored.damaged) == (20, ())
    assert NEWEST in bucket.objects


@pytest.mark.guarantee("resumed-training", fault="a proxy answers in place of the newest checkpoint in the bucket")
@pytest.mark.parametrize("content", [OTHER_LENGTH, b"xx", b""])
@pytest.mark.parametrize("digests", [True, False])
def test_what_a_proxy_sends_for_a_moment_is_not_taken_for_the_checkpoint(
    bucket: Bucket, tmp_path: Path, content: bytes, *, digests: bool
) -> None:
    bucket.digests(digests)
    bucket.odd[NEWEST] = [content] * 2
    restored = run(bucket, tmp_path / "output")
    assert (restored.step, restored.damaged) == (20, ())
    assert there(tmp_path / "output")["cats/cats_000000020.safetensors"] == b"20"
    assert NEWEST in bucket.objects


@pytest.mark.parametrize("digests", [True, False])
def test_what_comes_wrong_in_another_way_each_time_condemns_nothing(
    bucket: Bucket, tmp_path: Path, *, digests: bool
) -> None:
    bucket.digests(digests)
    bucket.odd[NEWEST] = [b"x" * size for size in range(3, 12)]
    with pytest.raises(StorageError, match=r"wrong each time in another way.*Send the job again") as refused:
        run(bucket, tmp_path / "output")
    assert refused.value.code is ErrorCode.STORAGE_UNREACHABLE
    assert NEWEST in bucket.objects


def test_a_checkpoint_that_is_replaced_meanwhile_is_left_alone(bucket: Bucket, tmp_path: Path) -> None:
    bucket.odd[NEWEST] = [OTHER_LENGTH] * 9

    class Replaced(Stop):
        def wait(self, timeout: float | None = None) -> bool:
            bucket.damage("checkpoints/cats_000000020.safetensors")
            return super().wait(timeout)

    with pytest.raises(StorageError, match="replaced meanwhile"):
        run(bucket, tmp_path / "output", flag=Replaced())
    assert NEWEST in bucket.objects


@pytest.mark.guarantee(
    "resumed-training", fault="Storage lists no checkpoint, or knows none of a listed one, for a moment"
)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("call", ["info", "walk"])
def test_what_storage_does_not_know_for_a_moment_is_asked_again(
    bucket: Bucket, tmp_path: Path, call: str, times: int
) -> None:
    bucket.blind[call, NEWEST if call == "info" else f"{PREFIX}/checkpoints"] = times
    restored = run(bucket, tmp_path / "output")
    assert (restored.step, restored.damaged) == (20, ())


def test_an_object_that_is_gone_when_it_is_looked_up_is_passed_over(bucket: Bucket, tmp_path: Path) -> None:
    bucket.blind["info", NEWEST] = 9
    restored = run(bucket, tmp_path / "output")
    assert (restored.step, restored.damaged) == (10, ())


def test_a_file_that_vanishes_meanwhile_is_passed_over(bucket: Bucket, tmp_path: Path) -> None:
    class Vanishing(Stop):
        def wait(self, timeout: float | None = None) -> bool:
            bucket.objects.pop(NEWEST, None)
            return super().wait(timeout)

    bucket.odd[NEWEST] = [OTHER_LENGTH] * 9
    assert run(bucket, tmp_path / "output", flag=Vanishing()).step == 10


def test_content_that_is_not_in_the_bucket_although_its_record_is(bucket: Bucket, tmp_path: Path) -> None:
    for call in ("read", "open"):
        bucket.fail(call, Trouble.NOT_FOUND, key=NEWEST, times=9)
    restored = run(bucket, tmp_path / "output")
    assert (restored.step, restored.damaged) == (10, (NEWEST,))


def test_nothing_whole_means_a_beginning_with_the_old_log(bucket: Bucket, tmp_path: Path) -> None:
    for step in (10, 20):
        bucket.damage(f"checkpoints/cats_{step:09d}.safetensors")
    restored = run(bucket, tmp_path / "output")
    assert (restored.step, len(restored.damaged)) == (None, 2)
    assert set(there(tmp_path / "output")) == {"logs/training.log", "cats/loss_log.db"}


def test_a_storage_that_refuses_is_not_taken_for_damage(bucket: Bucket, tmp_path: Path) -> None:
    for call in ("read", "open"):
        bucket.fail(call, Trouble.DENIED, key="000000020")
    with pytest.raises(StorageError) as refused:
        run(bucket, tmp_path / "output")
    assert refused.value.trouble is Trouble.DENIED
    assert f"{PREFIX}/checkpoints/cats_000000020.safetensors" in bucket.objects
    assert not (tmp_path / "output" / ".restoring").exists()


def test_it_ends_when_it_is_told_to(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(FerryError) as ended:
        run(bucket, tmp_path / "output", stop=True)
    assert ended.value.code is ErrorCode.CANCELLED
