"""Standard uploads, reading and listing over plain HTTP, where the official client hides what is answered."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from local.storage.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from local.storage.server import RunningStorage


def blocks(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * 1000


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("Bearer abc", "Invalid Compact JWS"),
        ("", "Invalid Compact JWS"),
        (None, "headers must have required property 'authorization'"),
    ],
)
def test_tokens(api: httpx.Client, bucket: str, authorization: str | None, message: str) -> None:
    del api.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}
    response = api.post(f"/object/{bucket}/a", headers=headers, content=b"x")
    assert (response.status_code, response.json()["message"]) == (400, message)


def test_a_bad_token_looks_like_a_missing_bucket(api: httpx.Client, bucket: str) -> None:
    api.post(f"/object/{bucket}/a", content=b"x")
    headers = {"Authorization": "Bearer abc"}
    assert api.get(f"/object/info/{bucket}/a", headers=headers).json()["code"] == "NoSuchBucket"
    assert api.get(f"/object/info/authenticated/{bucket}/a", headers=headers).json()["code"] == "AccessDenied"


def test_a_role_without_rights(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    api.headers["Authorization"] = f"Bearer {server.anon_key}"
    refused = api.post(f"/object/{bucket}/a", content=b"x").json()
    assert (refused["statusCode"], refused["message"]) == ("403", "new row violates row-level security policy")
    assert api.post(f"/object/list/{bucket}", json={"prefix": ""}).json() == []


def test_user_metadata_by_header(api: httpx.Client, bucket: str) -> None:
    header = {"x-metadata": base64.b64encode(b'{"sha256":"ab","m":1}').decode()}
    api.post(f"/object/{bucket}/a", headers=header, content=b"x")
    assert api.get(f"/object/info/{bucket}/a").json()["metadata"] == {"m": 1, "sha256": "ab"}
    api.put(f"/object/{bucket}/a", content=b"x")
    assert api.get(f"/object/info/{bucket}/a").json()["metadata"] == {}


def test_overwriting_gives_a_new_version(api: httpx.Client, bucket: str) -> None:
    api.post(f"/object/{bucket}/a", content=b"1")
    before = api.get(f"/object/info/{bucket}/a").json()
    assert api.post(f"/object/{bucket}/a", headers={"x-upsert": "true"}, content=b"2").status_code == 200
    after = api.get(f"/object/info/{bucket}/a").json()
    assert (before["id"], before["created_at"]) == (after["id"], after["created_at"])
    assert before["version"] != after["version"]


def test_limits_of_a_bucket(api: httpx.Client, bucket: str) -> None:
    narrow = f"{bucket}-narrow"
    api.post("/bucket", json={"name": narrow, "file_size_limit": 1000, "allowed_mime_types": ["text/*"]})
    text = {"Content-Type": "text/plain"}
    assert api.post(f"/object/{narrow}/a", headers=text, content=b"x" * 1001).json()["code"] == "EntityTooLarge"
    assert api.post(f"/object/{narrow}/a", headers=text, content=b"x" * 1000).status_code == 200
    assert api.post(f"/object/{narrow}/b", content=b"x").json()["code"] == "InvalidMimeType"
    # Nobody counts a body that does not say how long it is.
    assert api.post(f"/object/{narrow}/c", headers=text, content=blocks(5)).status_code == 200


def test_ranges_and_versions_that_the_client_has(api: httpx.Client, bucket: str) -> None:
    etag = f'"{"781e5e245d69b566979b86e28d23f2c7"}"'
    api.post(f"/object/{bucket}/a", content=b"0123456789")
    response = api.get(f"/object/{bucket}/a", headers={"Range": "bytes=2-5"})
    assert (response.status_code, response.content) == (206, b"2345")
    assert response.headers["content-range"] == "bytes 2-5/10"
    assert api.get(f"/object/{bucket}/a", headers={"Range": "bytes=10-"}).status_code == 416
    assert api.get(f"/object/{bucket}/a", headers={"If-None-Match": etag}).status_code == 304
    assert api.head(f"/object/{bucket}/a").headers["etag"] == etag


def test_a_public_bucket_needs_no_token(api: httpx.Client, bucket: str) -> None:
    api.put(f"/bucket/{bucket}", json={"public": True})
    api.post(f"/object/{bucket}/a", content=b"x")
    del api.headers["Authorization"]
    assert api.get(f"/object/public/{bucket}/a").content == b"x"
    assert api.get(f"/object/{bucket}/a").content == b"x"


def test_a_missing_bucket_lists_as_an_empty_one(api: httpx.Client) -> None:
    assert api.post("/object/list/nope", json={"prefix": ""}).json() == []
    assert api.post("/object/list-v2/nope", json={}).json() == {"hasNext": False, "folders": [], "objects": []}


def test_both_listings(api: httpx.Client, bucket: str) -> None:
    for key in ("P/a", "P/sub/c", "p/low", "top"):
        api.post(f"/object/{bucket}/{key}", content=b"x")
    folded = api.post(f"/object/list/{bucket}", json={"prefix": "P"}).json()
    assert [(row["name"], row["id"] is None) for row in folded] == [("a", False), ("low", False), ("sub", True)]
    flat = api.post(f"/object/list-v2/{bucket}", json={"prefix": "P/"}).json()
    assert [row["name"] for row in flat["objects"]] == ["P/a", "P/sub/c"]
    one = api.post(f"/object/list-v2/{bucket}", json={"prefix": "P/", "with_delimiter": True}).json()
    assert [row["key"] for row in one["folders"]] == ["sub"]


def test_an_underscore_is_no_pattern_where_a_folder_is_ordered_by_a_time(api: httpx.Client, bucket: str) -> None:
    for key in ("a_b/x", "axb/x", "A_B/y"):
        api.post(f"/object/{bucket}/{key}", content=b"x")
    asked = {"prefix": "a_b", "sortBy": {"column": "created_at", "order": "asc"}}
    assert [row["name"] for row in api.post(f"/object/list/{bucket}", json=asked).json()] == ["x", "y"]


@pytest.mark.parametrize("sort", [{}, {"sortBy": {"column": "created_at", "order": "desc"}}])
@pytest.mark.parametrize("folders", [False, True])
def test_pages_by_cursor_show_everything_once(
    api: httpx.Client, bucket: str, sort: dict[str, object], folders: bool
) -> None:
    keys = [f"{folder}{number}" for folder in ("", "f/", "g/") for number in range(3)]
    for key in keys:
        api.post(f"/object/{bucket}/{key}", content=b"x")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        asked = {"limit": 2, "with_delimiter": folders, **sort, **cursor}
        page = api.post(f"/object/list-v2/{bucket}", json=asked).json()
        seen += [row["name"] for row in [*page["folders"], *page["objects"]]]
        if not page["hasNext"]:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert sorted(seen) == (["0", "1", "2", "f/", "g/"] if folders else keys)


def test_exactly_one_of_eight_moves_wins(api: httpx.Client, bucket: str) -> None:
    for number in range(8):
        api.post(f"/object/{bucket}/{number}", content=b"x")

    def move(number: int) -> int:
        body = {"bucketId": bucket, "sourceKey": str(number), "destinationKey": "to"}
        return api.post("/object/move", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(move, range(8))) == [200] + [400] * 7


def test_creation_is_no_lock(api: httpx.Client, bucket: str, server: RunningStorage) -> None:
    slow = server.faults.add(Fault(method="POST", stall=600.0, count=1))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.post, f"/object/{bucket}/a", content=b"first")
        deadline = time.monotonic() + 30
        while not server.faults.hits(slow):
            assert time.monotonic() < deadline
        assert api.post(f"/object/{bucket}/a", content=b"second").status_code == 200
        server.faults.clear()
        assert first.result(30).status_code == 200
    assert api.get(f"/object/{bucket}/a").content == b"first"


def test_unknown_routes(api: httpx.Client) -> None:
    assert api.get("/nothing").json() == {
        "message": "Route GET:/nothing not found",
        "error": "Not Found",
        "statusCode": 404,
    }
