from __future__ import annotations

import pytest

from local.storage import names
from local.storage.refusals import RefusedError


@pytest.mark.parametrize("key", ["a", "a b/c.txt", "!-_.*'()&$@=;:+,?", "a//b", "x/"])
def test_a_key_of_allowed_characters(key: str) -> None:
    names.check_key(key)


@pytest.mark.parametrize("key", ["", *(f"a{mark}b" for mark in '"#%<>[\\]^`{|}~\n\0é')])
def test_a_key_with_a_refused_character(key: str) -> None:
    with pytest.raises(RefusedError) as caught:
        names.check_key(key)
    assert caught.value.body() == {
        "statusCode": "400",
        "error": "InvalidKey",
        "message": f"Invalid key: {key}",
        "code": "InvalidKey",
    }


@pytest.mark.parametrize("key", ["./a", "a/../b", "a/.", ".."])
def test_dot_segments_are_refused(key: str) -> None:
    with pytest.raises(RefusedError, match="shown contains dot path segment"):
        names.check_path(key, "shown")


def test_the_longest_segment_has_255_characters() -> None:
    names.check_path(f"a/{'s' * 255}/...", "shown")
    with pytest.raises(RefusedError) as caught:
        names.check_path(f"a/{'s' * 256}", "shown")
    assert caught.value.http_status == 500


@pytest.mark.parametrize("name", ["a/b", "", " a", "a ", "l" * 101, "é", "x--iceberg"])
def test_refused_names_of_buckets(name: str) -> None:
    with pytest.raises(RefusedError, match="Bucket name invalid"):
        names.check_bucket(name)


def test_types_by_pattern() -> None:
    names.check_type("image/png", ["text/plain", "image/*"])
    names.check_type("text/plain", ["text/plain"])
    with pytest.raises(RefusedError, match="mime type video/mp4 is not supported"):
        names.check_type("video/mp4", ["text/plain", "image/*"])


@pytest.mark.parametrize(("value", "size"), [(5, 5), ("5b", 5), ("1.5MB", 1_500_000), ("2kb", 2000)])
def test_a_limit_in_bytes_or_as_text(value: int | str, size: int) -> None:
    assert names.size_limit(value, 10**9) == size


def test_a_limit_above_the_servers_own() -> None:
    with pytest.raises(RefusedError, match="exceeded the maximum"):
        names.size_limit(11, 10)
