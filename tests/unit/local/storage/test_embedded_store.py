from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import pytest

from local.storage import times
from local.storage.catalogue.flat import ByTime
from local.storage.catalogue.listing import Folder, Walk, entries
from local.storage.catalogue.records import Bucket, Content, StoredObject, Upload
from local.storage.catalogue.store import Store
from local.storage.options import Options
from local.storage.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path, Options())
    opened.buckets.add(
        Bucket("b", "b", public=False, file_size_limit=None, allowed_mime_types=None, created=1, updated=1)
    )
    yield opened
    opened.close()


def write(store: Store, key: str, data: bytes = b"x") -> StoredObject:
    version = str(uuid.uuid4())
    store.blobs.create(version)
    with store.blobs.open(version) as blob:
        blob.append(data)
    content = Content(version, blob.size, blob.digest.hexdigest(), "text/plain", "no-cache", times.now(), None)
    return store.publish("b", key, content)


def names(store: Store, walk: Walk) -> list[str]:
    return [f"{entry.path}/" if isinstance(entry, Folder) else entry.key for entry in entries(store.connection, walk)]


def test_overwriting_keeps_the_object_and_drops_the_old_version(store: Store) -> None:
    first, second = write(store, "k", b"old"), write(store, "k", b"new")
    assert (first.id, first.created) == (second.id, second.created)
    assert store.blobs.size(first.content.version) is None
    assert store.blobs.path(second.content.version).read_bytes() == b"new"


@pytest.mark.parametrize(("folders", "expected"), [(False, ["a", "c", "b"]), (True, ["c", "b", "a"])])
def test_changes_of_one_millisecond_are_in_their_order_where_no_folders_are_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch, folders: bool, expected: list[str]
) -> None:
    for moment, key in ((1_000_001, "b"), (1_000_002, "c"), (1_000_003, "a")):
        monkeypatch.setattr(times, "now", lambda moment=moment: moment)
        write(store, key)
    newest = ByTime("b", "", "updated_at", descending=True, folders=folders).entries(store.connection, None)
    assert [entry.key for _, entry in newest if isinstance(entry, StoredObject)] == expected


def test_moving_excludes(store: Store) -> None:
    first, second = write(store, "a", b"1"), write(store, "b", b"2")
    store.move(first, "b", "to")
    with pytest.raises(RefusedError, match="already exists"):
        store.move(second, "b", "to")
    moved = store.objects.get("b", "to")
    assert moved.id == first.id
    assert moved.content.version != first.content.version
    assert store.blobs.path(moved.content.version).read_bytes() == b"1"
    assert store.blobs.path(second.content.version).read_bytes() == b"2"
    assert store.blobs.size(first.content.version) is None


def test_a_missing_bucket_takes_nothing(store: Store) -> None:
    content = write(store, "k").content
    with pytest.raises(RefusedError, match="related resource"):
        store.publish("nope", "k", content)


def test_what_nobody_knows_is_swept_at_the_start(store: Store, tmp_path: Path) -> None:
    kept = write(store, "k")
    store.blobs.create("ab-orphan")
    store.uploads.add(Upload("cd-upload", "b", "u", 5, "", times.now()))
    store.blobs.create("cd-upload")
    again = Store(tmp_path, Options())
    assert again.blobs.size("ab-orphan") is None
    assert again.blobs.size("cd-upload") == 0
    assert again.blobs.size(kept.content.version) == 1
    again.close()


def test_expired_uploads_are_swept_at_the_start(store: Store, tmp_path: Path) -> None:
    store.uploads.add(Upload("cd-upload", "b", "u", 5, "", times.now() - 11_000_000))
    store.blobs.create("cd-upload")
    again = Store(tmp_path, Options(upload_expiry=10))
    assert again.uploads.find("cd-upload") is None
    assert again.blobs.size("cd-upload") is None
    again.close()


def test_the_md5_of_what_another_process_wrote_is_read_again(store: Store, tmp_path: Path) -> None:
    store.uploads.add(Upload("cd-upload", "b", "u", 5, "", times.now()))
    store.blobs.create("cd-upload")
    with store.blobs.open("cd-upload") as blob:
        blob.append(b"abc")
    again = Store(tmp_path, Options())
    assert not again.blobs.remembers("cd-upload")
    again.blobs.read_again("cd-upload")
    with again.blobs.open("cd-upload") as blob:
        blob.append(b"de")
    assert blob.digest.hexdigest() == hashlib.md5(b"abcde", usedforsecurity=False).hexdigest()
    again.close()


@pytest.mark.parametrize(
    ("size", "resumable", "parts"),
    [(1, True, "-1"), ((6 << 20) + 1, True, "-2"), (1, False, ""), (17 << 20, False, "-2")],
)
def test_etags_of_the_hosted_service(tmp_path: Path, size: int, resumable: bool, parts: str) -> None:
    store = Store(tmp_path, Options(multipart_etags=True))
    etag = store.etag("0" * 31 + "1", size, resumable=resumable)
    assert (etag != "0" * 31 + "1") == bool(parts)
    assert etag[32:] == parts
    store.close()


def test_a_walk_shows_one_level(store: Store) -> None:
    for key in ("P/a", "P/sub/c", "P/sub/d/e", "p/low", "top", "Q"):
        write(store, key)
    assert names(store, Walk("b", "", "key")) == ["P/", "Q", "p/", "top"]
    assert names(store, Walk("b", "P/", "key")) == ["P/a", "P/sub/"]
    assert names(store, Walk("b", "P/s", "key")) == ["P/sub/"]
    assert names(store, Walk("b", "", "key", after="P")) == ["Q", "p/", "top"]


def test_a_folded_walk_merges_upper_and_lower_case(store: Store) -> None:
    for key in ("P/a", "P/B", "p/low"):
        write(store, key)
    assert names(store, Walk("b", "", "folded")) == ["P/"]
    assert names(store, Walk("b", "p/", "folded")) == ["P/a", "P/B", "p/low"]


def test_a_backward_walk_passes_over_a_folder_of_one_object_behind_a_file(store: Store) -> None:
    for key in ("a/1", "b/1", "b/2", "c"):
        write(store, key)
    assert names(store, Walk("b", "", "key", descending=True)) == ["c", "b/", "a/"]
    store.remove("b", ["b/2"])
    assert names(store, Walk("b", "", "key", descending=True)) == ["c", "a/"]
