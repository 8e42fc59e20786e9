"""Reading, renaming, copying, removing; and every key that Ferry makes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from shared import keys
from shared.storage.errors import StorageError, Trouble
from tests.conformance.transfers import Way, content, put, read, upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.storage.client import Storage

RIVALS = 8
ODD_KEYS = [
    "plain.txt",
    "_!-.*'()&$@=;:+,? .txt",
    "a b+c=d/e?f&g=h;i.png",
    "..a/...b/c..",
    "=23/100=25 50=25.txt",
    keys.escape('dépôt/日本 #1%20~[x]{y}|"z"\\^`<>.png'),
    "s" * keys.MAX_SEGMENT,
    "/".join(["t" * 100] * 8),
]


@pytest.mark.parametrize("odd", ODD_KEYS)
def test_every_key_that_ferry_makes_works_in_every_call(storage: Storage, bucket: str, folder: str, odd: str) -> None:
    ways: tuple[Way, Way] = ("standard", "resumable")
    for way in ways:
        key = f"{folder}/{way}/{odd}"
        upload(storage, way, bucket, key, b"hello")
        record = storage.info(bucket, key)
        assert record is not None
        assert record.key == key
        assert read(storage, bucket, key) == b"hello"
        assert [found.key for found in storage.walk(bucket, f"{folder}/{way}")] == [key]
        assert httpx.get(storage.signed_urls(bucket, [key], 60)[key]).content == b"hello"
        storage.move(bucket, key, f"{folder}/m/{odd}")
        storage.copy(bucket, f"{folder}/m/{odd}", key)
        assert read(storage, bucket, key) == b"hello"
        storage.remove(bucket, [key, f"{folder}/m/{odd}"])
        assert storage.info(bucket, key) is None
    assert [*storage.walk(bucket, folder)] == []


def test_keys_that_differ_in_case_are_two_objects(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/A.txt", b"upper")
    put(storage, bucket, f"{folder}/a.txt", b"lower")
    assert read(storage, bucket, f"{folder}/A.txt") == b"upper"
    assert read(storage, bucket, f"{folder}/a.txt") == b"lower"


@pytest.mark.parametrize("start", [0, 1, 199_999])
def test_a_download_starts_anywhere(storage: Storage, bucket: str, folder: str, start: int) -> None:
    data = content(200_000)
    put(storage, bucket, f"{folder}/a", data)
    record = storage.info(bucket, f"{folder}/a")
    with storage.open(bucket, f"{folder}/a", start=start) as download:
        assert download.size == len(data)
        assert b"".join(download.blocks()) == data[start:]
    assert record is not None
    assert download.etag == record.etag
    assert download.md5 == record.md5


def test_a_download_from_behind_the_end_says_that_the_object_is_another(
    storage: Storage, bucket: str, folder: str
) -> None:
    put(storage, bucket, f"{folder}/a", b"short")
    with pytest.raises(StorageError) as caught, storage.open(bucket, f"{folder}/a", start=100):
        pass
    assert caught.value.trouble is Trouble.CHANGED


def test_a_download_may_be_given_up(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", content(5_000_000))
    for _ in range(20):
        with storage.open(bucket, f"{folder}/a") as download:
            assert next(download.blocks())
    assert storage.info(bucket, f"{folder}/a") is not None


def test_a_small_document_is_small(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"12345")
    assert storage.read(bucket, f"{folder}/a", limit=5) == b"12345"
    with pytest.raises(StorageError) as caught:
        storage.read(bucket, f"{folder}/a", limit=4)
    assert caught.value.trouble is Trouble.TOO_LARGE


def test_a_move_takes_content_and_metadata_along(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"hello", {"k": "v"})
    storage.move(bucket, f"{folder}/a", f"{folder}/b")
    moved = storage.info(bucket, f"{folder}/b")
    assert storage.info(bucket, f"{folder}/a") is None
    assert moved is not None
    assert moved.metadata == {"k": "v"}
    assert read(storage, bucket, f"{folder}/b") == b"hello"


def test_a_move_overwrites_nothing(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"a")
    put(storage, bucket, f"{folder}/b", b"b")
    with pytest.raises(StorageError) as caught:
        storage.move(bucket, f"{folder}/a", f"{folder}/b")
    assert caught.value.trouble is Trouble.EXISTS
    assert read(storage, bucket, f"{folder}/a") == b"a"
    assert read(storage, bucket, f"{folder}/b") == b"b"


def rivals(call: Callable[[int], None]) -> tuple[list[int], list[StorageError]]:
    """Return who of the rivals succeeded, and the others' errors, when all start at once."""
    start = threading.Barrier(RIVALS)
    winners: list[int] = []
    errors: list[StorageError] = []

    def rival(number: int) -> None:
        start.wait(30)
        try:
            call(number)
            winners.append(number)
        except StorageError as error:
            errors.append(error)

    with ThreadPoolExecutor(RIVALS) as pool:
        list(pool.map(rival, range(RIVALS)))
    return winners, errors


@pytest.mark.parametrize("attempt", range(5))
def test_of_moves_to_one_key_exactly_one_wins(storage: Storage, bucket: str, folder: str, attempt: int) -> None:
    for number in range(RIVALS):
        put(storage, bucket, f"{folder}/mine-{number}", str(number).encode())
    winners, errors = rivals(lambda number: storage.move(bucket, f"{folder}/mine-{number}", f"{folder}/claim"))
    assert len(winners) == 1
    assert {error.trouble for error in errors} == {Trouble.EXISTS}
    assert read(storage, bucket, f"{folder}/claim") == str(winners[0]).encode()
    left = {record.key for record in storage.walk(bucket, folder)} - {f"{folder}/claim"}
    assert left == {f"{folder}/mine-{number}" for number in range(RIVALS) if number != winners[0]}


def test_of_moves_of_one_object_exactly_one_wins(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"x")
    winners, errors = rivals(lambda number: storage.move(bucket, f"{folder}/a", f"{folder}/to-{number}"))
    assert len(winners) == 1
    assert {error.trouble for error in errors} <= {Trouble.NOT_FOUND, Trouble.BUSY}
    assert [record.key for record in storage.walk(bucket, folder)] == [f"{folder}/to-{winners[0]}"]


def test_a_copy_is_an_object_of_its_own(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"hello", {"k": "v"})
    storage.copy(bucket, f"{folder}/a", f"{folder}/b")
    put(storage, bucket, f"{folder}/a", b"changed")
    copied = storage.info(bucket, f"{folder}/b")
    assert copied is not None
    assert copied.metadata == {"k": "v"}
    assert read(storage, bucket, f"{folder}/b") == b"hello"
    with pytest.raises(StorageError) as caught:
        storage.copy(bucket, f"{folder}/a", f"{folder}/b")
    assert caught.value.trouble is Trouble.EXISTS


def test_removing_what_is_not_there_is_no_failure(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a")
    put(storage, bucket, f"{folder}/ab")
    storage.remove(bucket, [])
    storage.remove(bucket, [f"{folder}/a", f"{folder}/none"])
    storage.remove(bucket, [f"{folder}/a"])
    assert [record.key for record in storage.walk(bucket, folder)] == [f"{folder}/ab"]


def test_a_signed_address_needs_no_key_and_no_other_object(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"hello")
    put(storage, bucket, f"{folder}/b", b"other")
    keys = [f"{folder}/{name}" for name in ("a", "b", "none")]
    signed = storage.signed_urls(bucket, keys, 60)
    assert list(signed) == keys[:2]
    url = signed[f"{folder}/a"]
    assert httpx.get(url).content == b"hello"
    assert httpx.get(url.replace(f"{folder}/a", f"{folder}/b")).status_code == 400
