from __future__ import annotations

import pytest

from shared.storage.addresses import api_url, check_bucket, check_key, object_url, upload_url, uploads_url
from shared.storage.errors import StorageError, Trouble


def test_the_api_lies_below_the_project() -> None:
    assert api_url("https://abc.supabase.co/") == "https://abc.supabase.co/storage/v1"


@pytest.mark.parametrize(
    ("project", "url"),
    [
        ("https://abc.supabase.co", "https://abc.storage.supabase.co/storage/v1/upload/resumable"),
        ("https://abc.supabase.co/", "https://abc.storage.supabase.co/storage/v1/upload/resumable"),
        ("https://storage.example.org", "https://storage.example.org/storage/v1/upload/resumable"),
        ("http://abc.supabase.co", "http://abc.supabase.co/storage/v1/upload/resumable"),
        ("http://127.0.0.1:54321", "http://127.0.0.1:54321/storage/v1/upload/resumable"),
        ("https://abc.supabase.com", "https://abc.supabase.com/storage/v1/upload/resumable"),
        ("https://abc.storage.supabase.co", "https://abc.storage.supabase.co/storage/v1/upload/resumable"),
    ],
)
def test_resumable_uploads_go_to_the_direct_host_of_a_hosted_project(project: str, url: str) -> None:
    assert uploads_url(project) == url


@pytest.mark.parametrize(
    "location",
    [
        "https://x.test/storage/v1/upload/resumable/abc",
        "http://x.test:8000/storage/v1/upload/resumable/abc",
        "http://storage:5000/upload/resumable/abc",
        "/storage/v1/upload/resumable/abc",
        "https://thief.test/upload/resumable/abc",
    ],
)
def test_the_key_goes_only_to_the_host_that_the_user_named(location: str) -> None:
    uploads = uploads_url("https://x.test")
    assert upload_url(uploads, location, "x") == "https://x.test/storage/v1/upload/resumable/abc"


@pytest.mark.parametrize("location", ["", "https://thief.test/abc", "https://x.test/upload/resumable/"])
def test_an_address_that_is_no_uploads_is_refused(location: str) -> None:
    with pytest.raises(StorageError) as caught:
        upload_url("https://x.test/upload/resumable", location, "x")
    assert caught.value.trouble is Trouble.BROKEN


def test_a_key_is_quoted_but_for_its_slashes() -> None:
    assert object_url("http://x", "b", "a/b c?=+&.png") == "http://x/object/b/a/b%20c%3F%3D%2B%26.png"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "..\\x", "a%2fb", "a?b", "a#b", "a\n/b"])
def test_a_bucket_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(StorageError) as caught:
        check_bucket(name, "x")
    assert caught.value.trouble is Trouble.BUCKET_NOT_FOUND


@pytest.mark.parametrize("name", ["training-outputs", "a.b", "...", "My bucket"])
def test_other_buckets_are_the_servers_business(name: str) -> None:
    check_bucket(name, "x")


@pytest.mark.parametrize("key", ["", "/a", ".", "a/..", "a/./b", "100%"])
def test_a_key_that_leads_elsewhere_is_refused(key: str) -> None:
    with pytest.raises(StorageError) as caught:
        check_key(key, "x")
    assert caught.value.trouble is Trouble.INVALID_KEY


@pytest.mark.parametrize("key", ["a", "..a/b..", "a//b", "a#b"])
def test_other_keys_are_the_servers_business(key: str) -> None:
    check_key(key, "x")
