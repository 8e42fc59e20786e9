"""Every refusal is told apart, says what and where, and never shows the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.settings import StorageSettings
from shared.storage.body import BytesBody
from shared.storage.client import Storage
from shared.storage.errors import StorageError, Trouble
from tests.conformance.transfers import TEXT, Way, new_name, put, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAYS = pytest.mark.parametrize("way", ["standard", "resumable"])


def refusal(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    assert not caught.value.transient
    return caught.value


@pytest.fixture(scope="module")
def stranger(settings: StorageSettings) -> Iterator[Storage]:
    """A client whose key is not this project's."""
    with Storage(StorageSettings(settings.url, f"{settings.key[:-6]}xxxxxx")) as client:
        yield client


@WAYS
def test_uploading_to_a_missing_bucket(storage: Storage, way: Way) -> None:
    name = new_name()
    error = refusal(lambda: upload(storage, way, name, "a", b"x"))
    assert error.trouble is Trouble.BUCKET_NOT_FOUND
    assert name in error.sentence


def test_asking_in_a_missing_bucket(storage: Storage) -> None:
    name = new_name()
    for call in (
        lambda: storage.bucket(name),
        lambda: storage.info(name, "a"),
        lambda: storage.read(name, "a"),
        lambda: storage.remove_bucket(name),
        lambda: storage.takes(name, 1),
    ):
        assert refusal(call).trouble is Trouble.BUCKET_NOT_FOUND


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../admin", "a%2Fb", "a?b"])
def test_names_that_lead_elsewhere_are_no_buckets(storage: Storage, name: str) -> None:
    for call in (lambda: storage.bucket(name), lambda: put(storage, name, "a"), lambda: [*storage.walk(name, "")]):
        assert refusal(call).trouble is Trouble.BUCKET_NOT_FOUND


def test_a_missing_object(storage: Storage, bucket: str, folder: str) -> None:
    key = f"{folder}/none"
    assert storage.info(bucket, key) is None
    assert storage.read(bucket, key) is None
    assert storage.signed_urls(bucket, [key], 60) == {}
    for call in (
        lambda: storage.open(bucket, key).__enter__(),
        lambda: storage.move(bucket, key, f"{folder}/b"),
        lambda: storage.copy(bucket, key, f"{folder}/b"),
    ):
        error = refusal(call)
        assert error.trouble is Trouble.NOT_FOUND
        assert key in error.sentence


def test_a_folder_is_no_object(storage: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a")
    assert storage.info(bucket, folder) is None
    assert storage.read(bucket, folder) is None


def test_a_bucket_is_made_once(storage: Storage, bucket: str) -> None:
    assert refusal(lambda: storage.make_bucket(bucket)).trouble is Trouble.EXISTS


def test_a_bucket_tells_its_limits(storage: Storage, bucket: str, narrow_bucket: str) -> None:
    record = storage.bucket(narrow_bucket)
    assert (record.name, record.public) == (narrow_bucket, False)
    assert (record.file_size_limit, record.allowed_mime_types) == (1000, ("text/plain",))
    plain = storage.bucket(bucket)
    assert (plain.file_size_limit, plain.allowed_mime_types) == (None, None)


def test_every_bucket_is_listed_as_it_is_told_alone(storage: Storage, bucket: str, narrow_bucket: str) -> None:
    listed = {each.name: each for each in storage.buckets()}
    assert [listed[name] for name in (bucket, narrow_bucket)] == [
        storage.bucket(name) for name in (bucket, narrow_bucket)
    ]


@WAYS
def test_too_large_for_the_bucket(storage: Storage, narrow_bucket: str, folder: str, way: Way) -> None:
    error = refusal(lambda: upload(storage, way, narrow_bucket, f"{folder}/a", b"x" * 1001))
    assert error.trouble is Trouble.TOO_LARGE
    assert storage.info(narrow_bucket, f"{folder}/a") is None


@WAYS
def test_the_largest_that_the_bucket_takes(storage: Storage, narrow_bucket: str, folder: str, way: Way) -> None:
    upload(storage, way, narrow_bucket, f"{folder}/a", b"x" * 1000)
    storage.remove(narrow_bucket, [f"{folder}/a"])


def test_a_type_that_the_bucket_refuses(storage: Storage, narrow_bucket: str) -> None:
    for call in (
        lambda: storage.put(narrow_bucket, "a.png", BytesBody(b"x"), content_type="image/png", metadata={}),
        lambda: storage.create_upload(narrow_bucket, "a.png", 1, content_type="image/png", metadata={}),
    ):
        assert refusal(call).trouble is Trouble.WRONG_TYPE


@WAYS
@pytest.mark.parametrize("mark", ['"', "#", "%", "<", ">", "[", "\\", "]", "^", "`", "{", "|", "}", "~", "é", "\n"])
def test_a_key_with_a_refused_character(storage: Storage, bucket: str, folder: str, way: Way, mark: str) -> None:
    error = refusal(lambda: upload(storage, way, bucket, f"{folder}/a{mark}b", b"x"))
    assert error.trouble is Trouble.INVALID_KEY
    assert refusal(lambda: storage.info(bucket, f"{folder}/a{mark}b")).trouble is Trouble.INVALID_KEY


@WAYS
@pytest.mark.parametrize("key", ["", "/a", ".", "..", "a/../b", "a/./b", "a/.."])
def test_a_key_that_leads_elsewhere(storage: Storage, bucket: str, way: Way, key: str) -> None:
    assert refusal(lambda: upload(storage, way, bucket, key, b"x")).trouble is Trouble.INVALID_KEY
    for call in (
        lambda: storage.info(bucket, key),
        lambda: storage.read(bucket, key),
        lambda: storage.move(bucket, key, "b"),
        lambda: storage.move(bucket, "b", key),
    ):
        assert refusal(call).trouble is Trouble.INVALID_KEY


def test_a_wrong_key_is_never_a_missing_thing(storage: Storage, stranger: Storage, bucket: str, folder: str) -> None:
    put(storage, bucket, f"{folder}/a")
    made = storage.create_upload(bucket, f"{folder}/b", 5, content_type=TEXT, metadata={})
    for call in (
        lambda: stranger.bucket(bucket),
        lambda: stranger.info(bucket, f"{folder}/a"),
        lambda: stranger.read(bucket, f"{folder}/a"),
        lambda: [*stranger.walk(bucket, folder)],
        lambda: stranger.folder(bucket, folder),
        lambda: put(stranger, bucket, f"{folder}/c"),
        lambda: stranger.move(bucket, f"{folder}/a", f"{folder}/d"),
        lambda: stranger.signed_urls(bucket, [f"{folder}/a"], 60),
        lambda: stranger.remove(bucket, [f"{folder}/a"]),
        lambda: stranger.create_upload(bucket, f"{folder}/c", 5, content_type=TEXT, metadata={}),
        lambda: stranger.upload_offset(made.url),
        lambda: stranger.append(made.url, 0, BytesBody(b"hello")),
        lambda: stranger.terminate(made.url),
    ):
        error = refusal(call)
        assert error.trouble is Trouble.DENIED
        assert "xxxxxx" not in error.sentence
    storage.append(made.url, 0, BytesBody(b"hello"))
    assert storage.info(bucket, f"{folder}/b") is not None
