"""Resumable uploads go on where they stopped, whatever stopped them."""

from __future__ import annotations

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.storage.body import BytesBody
from shared.storage.client import Storage
from shared.storage.errors import StorageError, Trouble
from tests.conformance.transfers import TEXT, CutBody, StalledBody, content, offset_once_stored, put, read, resume

if TYPE_CHECKING:
    from shared.settings import StorageSettings

DATA = content(1_000_000)
QUARTER = 262_144
HALF = 524_288


def announce(storage: Storage, bucket: str, key: str, size: int = len(DATA)) -> str:
    made = storage.create_upload(bucket, key, size, content_type=TEXT, metadata={"sha256": "ab"})
    assert made.offset == 0
    return made.url


def test_an_upload_in_parts_is_no_object_before_its_last(storage: Storage, bucket: str, folder: str) -> None:
    key = f"{folder}/a"
    url = announce(storage, bucket, key)
    assert storage.upload_offset(url) == 0
    assert storage.append(url, 0, BytesBody(DATA[:HALF])) == HALF
    assert storage.upload_offset(url) == HALF
    assert storage.info(bucket, key) is None
    assert storage.append(url, HALF, BytesBody(DATA[HALF:])) == len(DATA)
    assert read(storage, bucket, key) == DATA


def test_an_unfinished_upload_leaves_the_old_object(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"old")
    url = announce(storage, bucket, f"{folder}/a")
    storage.append(url, 0, BytesBody(DATA[:HALF]))
    assert read(storage, bucket, f"{folder}/a") == b"old"
    storage.append(url, HALF, BytesBody(DATA[HALF:]))
    assert read(storage, bucket, f"{folder}/a") == DATA


def test_a_cut_takes_nothing_away_and_mixes_nothing_up(storage: Storage, bucket: str, folder: str) -> None:
    url = announce(storage, bucket, f"{folder}/a")
    storage.append(url, 0, BytesBody(DATA[:QUARTER]))
    with pytest.raises(ConnectionAbortedError):
        storage.append(url, QUARTER, CutBody(DATA[QUARTER:], HALF - QUARTER))
    assert QUARTER <= resume(storage, url, DATA) <= HALF
    assert read(storage, bucket, f"{folder}/a") == DATA


def test_another_client_goes_on(settings: StorageSettings, bucket: str, folder: str) -> None:
    with Storage(settings) as first:
        url = announce(first, bucket, f"{folder}/a")
        first.append(url, 0, BytesBody(DATA[:HALF]))
    with Storage(settings) as second:
        assert second.upload_offset(url) == HALF
        second.append(url, HALF, BytesBody(DATA[HALF:]))
        assert read(second, bucket, f"{folder}/a") == DATA
        record = second.info(bucket, f"{folder}/a")
    assert record is not None
    assert record.metadata == {"sha256": "ab"}


def test_whoever_asks_for_the_offset_takes_over_from_a_stalled_sender(
    storage: Storage, bucket: str, folder: str
) -> None:
    url = announce(storage, bucket, f"{folder}/a")
    body = StalledBody(DATA, HALF)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(storage.append, url, 0, body)
        assert body.stalled.wait(30)
        assert offset_once_stored(storage, url) <= HALF
        body.go_on.set()
        error = sending.exception()
        assert error is None or (isinstance(error, StorageError) and error.transient)
        assert error or sending.result() < len(DATA)
    assert resume(storage, url, DATA) > 0
    assert read(storage, bucket, f"{folder}/a") == DATA


def test_a_wrong_offset_is_told_apart_from_an_object_that_exists(storage: Storage, bucket: str, folder: str) -> None:
    url = announce(storage, bucket, f"{folder}/a")
    storage.append(url, 0, BytesBody(DATA[:HALF]))
    with pytest.raises(StorageError) as caught:
        storage.append(url, 0, BytesBody(b"x"))
    assert caught.value.trouble is Trouble.OFFSET_CONFLICT
    assert caught.value.transient
    assert storage.upload_offset(url) == HALF


def test_more_than_was_announced_is_refused(storage: Storage, bucket: str, folder: str) -> None:
    url = announce(storage, bucket, f"{folder}/a", 10)
    with pytest.raises(StorageError) as caught:
        storage.append(url, 0, BytesBody(b"0123456789x"))
    assert caught.value.trouble is Trouble.CHANGED


def test_finishing_twice_does_no_harm(storage: Storage, bucket: str, folder: str) -> None:
    url = announce(storage, bucket, f"{folder}/a")
    storage.append(url, 0, BytesBody(DATA))
    storage.finish(url, len(DATA))
    assert storage.upload_offset(url) == len(DATA)
    assert read(storage, bucket, f"{folder}/a") == DATA


def test_a_terminated_upload_is_gone(storage: Storage, bucket: str, folder: str) -> None:
    url = announce(storage, bucket, f"{folder}/a")
    storage.append(url, 0, BytesBody(DATA[:HALF]))
    storage.terminate(url)
    for call in (
        lambda: storage.upload_offset(url),
        lambda: storage.append(url, HALF, BytesBody(b"x")),
        lambda: storage.finish(url, HALF),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.trouble is Trouble.UPLOAD_GONE
        assert not caught.value.transient
    storage.terminate(url)
    assert storage.info(bucket, f"{folder}/a") is None


def test_terminating_beside_an_object_of_that_key_leaves_the_object(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a", b"old")
    url = announce(storage, bucket, f"{folder}/a")
    storage.terminate(url)
    assert read(storage, bucket, f"{folder}/a") == b"old"


def test_an_upload_that_names_no_metadata_leaves_those_of_the_object_it_replaces(
    storage: Storage, settings: StorageSettings, bucket: str, folder: str
) -> None:
    put(storage, bucket, f"{folder}/a", b"old", {"step": "1"})
    named = {"bucketName": bucket, "objectName": f"{folder}/a"}
    headers = {
        "Authorization": f"Bearer {settings.key}",
        "Tus-Resumable": "1.0.0",
        "x-upsert": "true",
        "Upload-Length": "3",
        "Upload-Metadata": ",".join(f"{name} {b64encode(text.encode()).decode()}" for name, text in named.items()),
    }
    made = httpx.post(f"{settings.url}/storage/v1/upload/resumable", headers=headers)
    storage.append(made.headers["location"], 0, BytesBody(b"new"))
    record = storage.info(bucket, f"{folder}/a")
    assert record is not None
    assert record.metadata == {"step": "1"}
    assert read(storage, bucket, f"{folder}/a") == b"new"


def test_terminating_a_finished_upload_leaves_the_object(storage: Storage, bucket: str, folder: str) -> None:
    url = announce(storage, bucket, f"{folder}/a")
    storage.append(url, 0, BytesBody(DATA))
    storage.terminate(url)
    assert read(storage, bucket, f"{folder}/a") == DATA


@pytest.mark.parametrize("upload", ["zzz", "AAAA", "ZmVycnkvbm9wZS8wMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDA"])
def test_an_upload_that_the_server_does_not_know_is_gone(storage: Storage, upload: str) -> None:
    with pytest.raises(StorageError) as caught:
        storage.upload_offset(f"http://elsewhere/storage/v1/upload/resumable/{upload}")
    assert caught.value.trouble is Trouble.UPLOAD_GONE


def test_of_two_uploads_of_one_key_the_later_to_finish_stays(storage: Storage, bucket: str, folder: str) -> None:
    first = announce(storage, bucket, f"{folder}/a", 5)
    second = announce(storage, bucket, f"{folder}/a", 5)
    storage.append(first, 0, BytesBody(b"AAAAA"))
    storage.append(second, 0, BytesBody(b"BBBBB"))
    assert read(storage, bucket, f"{folder}/a") == b"BBBBB"


@pytest.mark.parametrize(("size", "taken"), [(0, True), (1000, True), (1001, False)])
def test_the_limit_can_be_asked_for(storage: Storage, narrow_bucket: str, size: int, taken: bool) -> None:
    assert storage.takes(narrow_bucket, size, TEXT) is taken
    assert [*storage.walk(narrow_bucket, "")] == []
