"""Listings are whole, tell upper from lower case, and know a missing bucket from an empty one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from shared.storage.errors import StorageError, Trouble
from tests.conformance.transfers import new_name, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.storage.client import Storage

COUNT = 1100


@pytest.fixture(scope="module")
def crowd(storage: Storage) -> Iterator[tuple[str, list[str]]]:
    """A bucket with more than one page of objects, in folders whose names differ only in their case."""
    name = new_name()
    storage.make_bucket(name)
    keys = [f"{'P' if number % 2 else 'P/Sub'}/{'aB_-'[number % 4]}{number}.txt" for number in range(COUNT)]
    others = ["p/lower.txt", "P_/x", "Px/x", "P.txt", "P/.emptyFolderPlaceholder"]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: put(storage, name, key, b""), keys + others))
    yield name, keys
    storage.remove_bucket(name)


def test_a_walk_finds_everything_below_a_folder_and_nothing_else(
    storage: Storage, crowd: tuple[str, list[str]]
) -> None:
    bucket, keys = crowd
    found = [record.key for record in storage.walk(bucket, "P")]
    assert len(found) == len(set(found))
    assert set(found) == {*keys, "P/.emptyFolderPlaceholder"}


@pytest.mark.parametrize("prefix", ["P/Sub", "P/Sub/", "/P/Sub/"])
def test_slashes_around_a_prefix_do_not_matter(storage: Storage, crowd: tuple[str, list[str]], prefix: str) -> None:
    bucket, keys = crowd
    expected = {key for key in keys if key.startswith("P/Sub/")}
    assert {record.key for record in storage.walk(bucket, prefix)} == expected
    assert {record.key for record in storage.folder(bucket, prefix).files} == expected


@pytest.mark.parametrize(("prefix", "key"), [("p", "p/lower.txt"), ("P_", "P_/x")])
def test_folders_that_look_alike_are_told_apart(
    storage: Storage, crowd: tuple[str, list[str]], prefix: str, key: str
) -> None:
    bucket, _ = crowd
    assert [record.key for record in storage.walk(bucket, prefix)] == [key]
    listing = storage.folder(bucket, prefix)
    assert (listing.folders, [record.key for record in listing.files]) == ((), [key])


def test_the_root_is_a_folder_too(storage: Storage, crowd: tuple[str, list[str]]) -> None:
    bucket, keys = crowd
    assert sum(1 for _ in storage.walk(bucket, "")) == len(keys) + 5
    listing = storage.folder(bucket, "")
    assert sorted(listing.folders) == ["P", "P_", "Px", "p"]
    assert [record.key for record in listing.files] == ["P.txt"]


def test_one_level_shows_folders_and_files_apart(storage: Storage, crowd: tuple[str, list[str]]) -> None:
    bucket, keys = crowd
    listing = storage.folder(bucket, "P")
    assert listing.folders == ("Sub",)
    expected = {key for key in keys if not key.startswith("P/Sub/")}
    assert {record.key for record in listing.files} == {*expected, "P/.emptyFolderPlaceholder"}


def test_more_objects_and_folders_than_a_page_in_one_level(storage: Storage, bucket: str, folder: str) -> None:
    keys = [f"{folder}/{number}" if number % 2 else f"{folder}/d{number}/x" for number in range(1050)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: put(storage, bucket, key, b""), keys))
    listing = storage.folder(bucket, folder)
    assert {record.key for record in listing.files} == {key for key in keys if not key.endswith("/x")}
    assert sorted(listing.folders) == sorted({key.split("/")[1] for key in keys if key.endswith("/x")})
    assert len(listing.folders) == len(set(listing.folders))


def test_a_row_tells_what_the_object_is(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/d/a", b"hello", {"k": "v"})
    [walked] = storage.walk(bucket, folder)
    [listed] = storage.folder(bucket, f"{folder}/d").files
    info = storage.info(bucket, f"{folder}/d/a")
    assert walked == listed
    assert info is not None
    assert (walked.key, walked.size, walked.etag, walked.content_type) == (info.key, 5, info.etag, info.content_type)
    assert walked.metadata == {}


def test_nothing_below_a_folder_is_no_failure(storage: Storage, bucket: str, folder: str) -> None:
    assert [*storage.walk(bucket, folder)] == []
    assert storage.folder(bucket, folder).files == ()


def test_a_missing_bucket_is_not_an_empty_folder(storage: Storage) -> None:
    name = new_name()
    for call in (lambda: [*storage.walk(name, "")], lambda: storage.folder(name, "x")):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.trouble is Trouble.BUCKET_NOT_FOUND
        assert name in caught.value.sentence


def test_the_newest_are_listed_first_and_as_they_are_now(storage: Storage, bucket: str, folder: str) -> None:
    for name in ("a-1", "a-2", "b-1", "a-3"):
        put(storage, bucket, f"{folder}/{name}", b"first")
    put(storage, bucket, f"{folder}/a-1", b"rewritten")
    found = storage.newest(bucket, f"{folder}/a-")
    assert [record.key for record in found] == [f"{folder}/{name}" for name in ("a-1", "a-3", "a-2")]
    info = storage.info(bucket, f"{folder}/a-1")
    assert info is not None
    assert (found[0].size, found[0].etag) == (len(b"rewritten"), info.etag)
