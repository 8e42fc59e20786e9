"""A dataset comes to the disk whole, once, and with nothing that does not belong there."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

import handler.stage.download
from handler.stage.beside import Move, put_beside
from handler.stage.record import record_file
from shared.errors import ErrorCode, FerryError
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience
from tests.unit.handler.stage.conftest import zipped

if TYPE_CHECKING:
    from pathlib import Path

    from handler.stage.source import Source
    from shared.storage.client import Storage
    from tests.unit.handler.stage.conftest import FakeStorage, Stages


def the_client_is_a_source(client: Storage) -> Source:
    """Hold the types together: what the tests stand in for is what the Storage client is."""
    return client


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(stages: Stages, folder: str = "cats", **options: object) -> FerryError:
    with pytest.raises(FerryError) as caught:
        stages(folder, **options)
    return caught.value


def test_everything_below_the_folder_comes_with_its_place(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {
        "cats/1.jpg": b"one" * 100,
        "cats/1.txt": b"",
        "cats/deep/er/2.mp4": b"two",
        "cats/deep/.emptyFolderPlaceholder": b"",
        "cats/empty/": b"",
        "cats/notes (old)/ä.bin": b"x",
        "cats2/3.jpg": b"three",
        "3.jpg": b"three",
    }
    tree = stages()
    wanted = {"1.jpg": b"one" * 100, "1.txt": b"", "deep/er/2.mp4": b"two", "notes (old)/ä.bin": b"x"}
    assert files_in(target) == wanted
    assert tree.files == wanted.keys()
    assert (tree.root, tree.name) == (target, "cats")


def test_the_root_of_a_bucket(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"1.jpg": b"one", "deep/2.jpg": b"two"}
    assert stages("").name == "datasets"
    assert files_in(target) == {"1.jpg": b"one", "deep/2.jpg": b"two"}


def test_thousands_of_files_several_at_once(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {f"cats/{number // 100}/{number}.jpg": str(number).encode() for number in range(2500)}
    both = threading.Barrier(2)

    def meet(key: str) -> None:
        if key in {"cats/0/0.jpg", "cats/0/1.jpg"}:
            both.wait(60)

    storage.on_block = meet
    stages(concurrency=2)
    assert len(files_in(target)) == 2500
    assert storage.most_busy == 2


def test_small_objects_come_in_one_piece(
    storage: FakeStorage, stages: Stages, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler.stage.download, "SMALL", 5)
    storage.objects = {"cats/1.jpg": b"small", "cats/2.jpg": b"larger", "cats/3.txt": b""}
    storage.at_once = storage.objects.get
    stages()
    assert files_in(target) == {"1.jpg": b"small", "2.jpg": b"larger", "3.txt": b""}
    assert list(storage.opened) == [("cats/2.jpg", 0)]
    assert (stages.reports[-1].files, stages.reports[-1].bytes) == (3, 11)


@pytest.mark.parametrize("first", [b"wrong", b"cut", b"much longer", None])
def test_what_does_not_come_right_at_once_is_fetched_patiently(
    storage: FakeStorage, stages: Stages, target: Path, first: bytes | None
) -> None:
    storage.objects = {"cats/1.jpg": b"right"}
    storage.at_once = lambda _: first
    storage.broken = {"cats/1.jpg": [2]}
    stages()
    assert files_in(target) == {"1.jpg": b"right"}
    assert list(storage.opened) == [("cats/1.jpg", 0), ("cats/1.jpg", 2)]


def test_progress_is_reported(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/1.jpg": b"12345", "cats/2.jpg": b"1"}
    stages()
    first, last = stages.reports[0], stages.reports[-1]
    assert (first.files, first.files_total, first.bytes_total) == (0, 2, 6)
    assert (last.files, last.bytes) == (2, 6)


def test_what_is_there_and_right_is_not_downloaded_again(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {f"cats/{name}": name.encode() for name in ("same", "changed", "touched", "cut", "lost", "gone")}
    storage.objects["cats/z.zip"] = zipped({"z/1.jpg": b"1", "z/2.jpg": b"2"})
    stages()
    (target / ".aitk_size.json").write_text("kept")
    storage.opened.clear()
    storage.objects["cats/changed"] = b"anew..."
    storage.objects["cats/more"] = b"more"
    del storage.objects["cats/gone"]
    os.utime(target / "touched", ns=(1, 1))
    (target / "cut").write_bytes(b"c")
    (target / "lost").unlink()
    tree = stages()
    assert sorted(key for key, _ in storage.opened) == [
        f"cats/{name}" for name in ("changed", "cut", "lost", "more", "touched")
    ]
    assert tree.files == {"same", "changed", "touched", "cut", "lost", "more", "z/1.jpg", "z/2.jpg"}
    assert (target / "changed").read_bytes() == b"anew..."
    assert (target / ".aitk_size.json").exists()
    storage.opened.clear()
    stages()
    assert not storage.opened


def test_an_archive_that_changed_leaves_nothing_of_the_old_one(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/z.zip": zipped({"old.jpg": b"1", "both.jpg": b"2"})}
    stages()
    storage.objects = {"cats/z.zip": zipped({"new.jpg": b"1", "both.jpg": b"3"})}
    assert stages().files == {"new.jpg", "both.jpg"}


def test_what_was_put_beside_is_not_downloaded_again(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/1.jpg": b"1", "cats/control/1.jpg": b"2"}
    tree = stages()
    put_beside(target, [Move("control", "1/control")])
    assert files_in(target) == {"1.jpg": b"1"}
    storage.opened.clear()
    assert stages() == tree
    assert not storage.opened


def test_a_record_that_a_crash_cut_short(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/1.jpg": b"1", "cats/2.jpg": b"2"}
    stages()
    content = record_file(target).read_bytes()
    record_file(target).write_bytes(content[:-9])
    storage.opened.clear()
    stages()
    assert sum(storage.opened.values()) == 1
    record_file(target).write_bytes(b"\xff\x00[]\nnull\n{}\n")
    assert stages().files == {"1.jpg", "2.jpg"}


def test_nothing_is_left_over(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/1.jpg": b"1", "cats/z.zip": zipped({"2.jpg": b"2"})}
    parts = target.with_name(".dataset.parts")
    parts.mkdir()
    (parts / "0.part").write_text("of an earlier run")
    stages()
    assert sorted(path.name for path in target.parent.iterdir()) == [".dataset.jsonl", "dataset"]


# Trouble on the way


def test_a_broken_connection_goes_on_where_it_broke(storage: FakeStorage, stages: Stages, target: Path) -> None:
    content = bytes(range(100))
    storage.objects = {"cats/1.jpg": content}
    # More often than the patience has attempts: what arrives renews it.
    storage.broken = {"cats/1.jpg": [10, 30, 31, 32, 40, 80, 80]}
    stages()
    assert (target / "1.jpg").read_bytes() == content
    assert set(storage.opened) == {("cats/1.jpg", start) for start in (0, 10, 30, 31, 32, 40, 80)}


def test_patience_has_an_end(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/1.jpg": b"x" * 9, "cats/2.jpg": b"y"}
    storage.broken = {"cats/1.jpg": [4] * 9}
    error = refusal(stages)
    assert isinstance(error, StorageError)
    assert error.code is ErrorCode.STORAGE_UNREACHABLE
    assert "1.jpg" not in files_in(target)
    storage.broken = {}
    assert stages().files == {"1.jpg", "2.jpg"}


def test_the_listing_is_tried_again_too(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/1.jpg": b"1"}
    storage.errors = [StorageError(Trouble.BUSY, "Listing", "busy")] * 2
    assert stages().files == {"1.jpg"}


def test_content_with_another_md5_is_fetched_again(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/1.jpg": b"right"}
    storage.served = {"cats/1.jpg": [b"wrong", b"wrung"]}
    stages()
    assert (target / "1.jpg").read_bytes() == b"right"
    storage.objects = {"cats/2.jpg": b"right"}
    storage.served = {"cats/2.jpg": [b"wrong"] * 9}
    error = refusal(stages)
    assert "Staging datasets/cats/2.jpg failed: what arrives has the MD5 " in error.sentence
    assert not files_in(target)


ODD_ANSWERS = [b"longer than that", b"short", b""]


@pytest.mark.parametrize("served", ODD_ANSWERS)
def test_what_is_not_what_was_listed_is_fetched_again(
    storage: FakeStorage, stages: Stages, target: Path, served: bytes
) -> None:
    """A proxy's page has another length, and nothing else tells the two apart."""
    storage.with_md5 = False
    storage.objects = {"cats/1.jpg": b"ten bytes."}
    storage.served = {"cats/1.jpg": [served]}
    stages()
    assert files_in(target) == {"1.jpg": b"ten bytes."}


@pytest.mark.parametrize("served", ODD_ANSWERS)
def test_an_object_that_stays_another_than_was_listed(
    storage: FakeStorage, stages: Stages, target: Path, served: bytes
) -> None:
    storage.with_md5 = False
    storage.objects = {"cats/1.jpg": b"ten bytes."}
    storage.served = {"cats/1.jpg": [served] * 9}
    error = refusal(stages)
    assert "Perhaps it was changed meanwhile: send the job again." in error.sentence
    assert error.code is ErrorCode.STORAGE_UNREACHABLE
    assert not files_in(target)


@pytest.mark.parametrize("times", [1, 9])
def test_a_listed_object_that_is_not_found(storage: FakeStorage, stages: Stages, target: Path, times: int) -> None:
    storage.objects = {"cats/1.jpg": b"1"}
    storage.missed = {"cats/1.jpg": times}
    if times == 1:
        stages()
        assert files_in(target) == {"1.jpg": b"1"}
    else:
        assert refusal(stages).code is ErrorCode.DATASET_NOT_FOUND


def test_an_object_that_is_replaced_while_a_broken_download_goes_on(
    storage: FakeStorage, stages: Stages, target: Path
) -> None:
    """A record may hold no MD5, as large objects of the hosted service do: then nothing else tells the two apart."""
    storage.with_md5 = False
    storage.objects = {"cats/1.mp4": b"newnewnew"}
    storage.broken = {"cats/1.mp4": [3]}
    storage.served = {"cats/1.mp4": [b"oldoldold"]}
    stages()
    assert files_in(target) == {"1.mp4": b"newnewnew"}


def test_a_server_that_says_no_size(storage: FakeStorage, stages: Stages) -> None:
    storage.with_md5 = storage.says_size = False
    storage.objects = {"cats/1.jpg": b"ten bytes.", "cats/2.jpg": b"ten bytes."}
    storage.served = {"cats/1.jpg": [b"longer than that"] * 3}
    assert "more than the 10 bytes that were listed" in refusal(stages).sentence
    assert stages().files == {"1.jpg", "2.jpg"}


def test_one_failure_ends_the_pauses_of_the_others(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/1.jpg": b"x", "cats/2.jpg": b"y"}
    away = threading.Event()

    def in_order(key: str) -> None:
        if key == "cats/1.jpg":
            away.set()
        else:
            away.wait(60)

    storage.on_block = in_order
    storage.refused = {
        "cats/1.jpg": StorageError(Trouble.UNREACHABLE, "Reading 1", "away", retry_after=3600.0),
        "cats/2.jpg": StorageError(Trouble.DENIED, "Reading 2", "no"),
    }
    assert refusal(stages, patience=Patience()).code is ErrorCode.STORAGE_DENIED


def test_one_failure_ends_all(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {f"cats/{number}.jpg": b"x" for number in range(50)}
    storage.served = {"cats/0.jpg": [b"longer"] * 9}
    assert "cats/0.jpg" in refusal(stages, concurrency=1).sentence
    assert sum(storage.opened.values()) < 50


def test_stopping(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/1.jpg": b"x" * 1000, "cats/2.jpg": b"y"}
    stop = threading.Event()
    storage.on_block = lambda key: stop.set()
    error = refusal(stages, concurrency=1, stop=stop)
    assert error.code is ErrorCode.CANCELLED
    assert not files_in(target)
    assert sum(storage.opened.values()) == 1


def test_stopping_while_storage_is_away(storage: FakeStorage, stages: Stages) -> None:
    stop = threading.Event()
    stop.set()
    storage.errors = [StorageError(Trouble.UNREACHABLE, "Listing", "away")]
    assert refusal(stages, stop=stop).code is ErrorCode.CANCELLED


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(storage: FakeStorage, stages: Stages, target: Path, number: int) -> None:
    def full(key: str) -> None:
        raise OSError(number, os.strerror(number))

    storage.objects = {"cats/1.jpg": b"x" * 10}
    storage.on_block = full
    error = refusal(stages)
    assert error.code is ErrorCode.DISK_FULL
    assert str(target) in error.sentence
    assert not target.with_name(".dataset.parts").exists()


def test_a_disk_that_refuses(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/1.jpg": b"x"}
    target.write_text("a file where the folder should be")
    error = refusal(stages)
    assert error.code is ErrorCode.INTERNAL
    assert "cannot be staged" in error.sentence


# What is not there, or must not come


def test_a_missing_folder_names_what_is_around_it(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"sets/cats/1.jpg": b"", "sets/dogs.zip": b"", "sets/.emptyFolderPlaceholder": b"", "x/1": b""}
    error = refusal(stages, "sets/cat")
    assert error.code is ErrorCode.DATASET_NOT_FOUND
    assert error.sentence == (
        "The dataset folder 'sets/cat' in the bucket datasets does not exist. "
        "The folder 'sets' around it holds cats/, dogs.zip."
    )
    assert "The bucket's root holds sets/, x/." in refusal(stages, "cats").sentence


def test_an_empty_folder(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/.emptyFolderPlaceholder": b"", "cats/deep/": b""}
    error = refusal(stages)
    assert error.code is ErrorCode.DATASET_EMPTY
    assert "'cats' in the bucket datasets holds no files. The bucket's root holds cats/." in error.sentence
    storage.objects = {}
    error = refusal(stages, "")
    assert error.code is ErrorCode.DATASET_EMPTY
    assert "bucket datasets" in error.sentence


def test_a_folder_with_nothing_but_clutter(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/z.zip": zipped({"__MACOSX/1.jpg": b"", ".hidden": b""}), "cats/.DS_Store": b"x"}
    assert refusal(stages).code is ErrorCode.DATASET_EMPTY


def test_a_missing_bucket(stages: Stages) -> None:
    assert refusal(stages, bucket="elsewhere").code is ErrorCode.BUCKET_NOT_FOUND


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("cats/../../evil", "would not lie inside"),
        ("cats//etc/passwd", "would not lie inside"),
        ("cats/./x", "would not lie inside"),
        ("cats/a\x00b", "control character"),
        (f"cats/{'ä' * 128}", "more than 255 bytes"),
    ],
)
def test_a_key_that_is_no_safe_path(storage: FakeStorage, stages: Stages, tmp_path: Path, key: str, said: str) -> None:
    storage.objects = {"cats/1.jpg": b"1", key: b"x"}
    error = refusal(stages)
    assert error.code is ErrorCode.INVALID_INPUT
    assert said in error.sentence
    assert not storage.opened


def test_a_file_and_a_folder_of_one_name(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/a": b"1", "cats/a/b": b"2"}
    assert "cats/a is an object and a folder" in refusal(stages).sentence


def test_archives_are_unpacked_where_they_lie(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {
        "cats/a.ZIP": zipped({"a/1.jpg": b"1", "a/deep/2.txt": b"2"}),
        "cats/sub/b.zip": zipped({"3.jpg": b"3"}),
        "cats/4.jpg": b"4",
    }
    assert stages().files == {"a/1.jpg", "a/deep/2.txt", "sub/3.jpg", "4.jpg"}
    assert files_in(target) == {"a/1.jpg": b"1", "a/deep/2.txt": b"2", "sub/3.jpg": b"3", "4.jpg": b"4"}


@pytest.mark.parametrize(
    "others", [{"cats/1.jpg": b"else"}, {"cats/y.zip": zipped({"1.jpg": b"else"})}], ids=["file", "archive"]
)
def test_an_archive_overwrites_nothing(storage: FakeStorage, stages: Stages, others: dict[str, bytes]) -> None:
    storage.objects = {"cats/z.zip": zipped({"1.jpg": b"1"}), **others}
    for _ in range(2):
        error = refusal(stages)
        assert error.code is ErrorCode.INVALID_INPUT
        assert "would become 1.jpg in the dataset" in error.sentence


def test_an_archive_with_a_file_where_a_folder_is(storage: FakeStorage, stages: Stages) -> None:
    storage.objects = {"cats/z.zip": zipped({"deep": b"1"}), "cats/deep/1.jpg": b"2"}
    assert "would be a file and a folder" in refusal(stages, concurrency=1).sentence


def test_a_broken_archive_says_which(storage: FakeStorage, stages: Stages, target: Path) -> None:
    storage.objects = {"cats/z.zip": b"no archive at all"}
    assert "The archive cats/z.zip is no zip archive" in refusal(stages).sentence
    assert not files_in(target)
