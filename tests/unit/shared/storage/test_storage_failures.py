from __future__ import annotations

import httpx
import pytest
from storage3.exceptions import StorageApiError

from shared.storage.errors import StorageError, Trouble
from shared.storage.failures import failed, reading, translated, understood

SECRET = "very-secret-key"


@pytest.mark.parametrize(
    ("error", "trouble", "transient"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), Trouble.UNREACHABLE, True),
        (httpx.ConnectTimeout("timed out"), Trouble.UNREACHABLE, True),
        (httpx.ReadTimeout("timed out"), Trouble.UNREACHABLE, True),
        (httpx.WriteTimeout("timed out"), Trouble.UNREACHABLE, True),
        (httpx.PoolTimeout("timed out"), Trouble.BUSY, True),
        (httpx.ReadError("reset"), Trouble.UNREACHABLE, True),
        (httpx.WriteError("reset"), Trouble.UNREACHABLE, True),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), Trouble.UNREACHABLE, True),
        (httpx.LocalProtocolError("state"), Trouble.UNREACHABLE, True),
        (httpx.ProxyError("407"), Trouble.UNREACHABLE, True),
        (httpx.UnsupportedProtocol("ftp"), Trouble.BROKEN, False),
        (httpx.InvalidURL("port"), Trouble.BROKEN, False),
        (httpx.DecodingError("gzip"), Trouble.BROKEN, True),
        (StorageApiError("Object not found", "not_found", "404"), Trouble.NOT_FOUND, False),
        (StorageApiError("odd", "InternalError", "odd"), Trouble.BUSY, True),
    ],
)
def test_an_exception_is_told_apart(
    error: httpx.HTTPError | httpx.InvalidURL | StorageApiError, trouble: Trouble, transient: bool
) -> None:
    found = failed(error, "Doing it")
    assert (found.trouble, found.transient) == (trouble, transient)
    assert found.sentence.startswith("Doing it failed: ")


def test_no_secret_shows() -> None:
    assert SECRET not in failed(httpx.ReadError(f"Illegal header {SECRET}"), "x", [SECRET]).sentence
    assert SECRET not in failed(StorageApiError(f"bad {SECRET}", "x", "400"), "x", [SECRET]).sentence


def api_error(response: httpx.Response) -> StorageApiError:
    """Return what Supabase's client makes of an answer that it cannot read."""
    try:
        try:
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            try:
                response.json()["message"]
            except ValueError as unreadable:
                raise StorageApiError("Unable to parse", "InternalError", error.response.status_code) from unreadable
    except StorageApiError as error:
        return error
    raise AssertionError("the answer was readable")


def test_the_answer_behind_the_libraries_error_counts() -> None:
    request = httpx.Request("GET", "http://x")
    response = httpx.Response(
        503, headers={"retry-after": "9", "content-type": "text/html"}, text="<html>", request=request
    )
    found = failed(api_error(response), "Doing it")
    assert (found.trouble, found.retry_after, found.status) == (Trouble.BUSY, 9.0, 503)
    assert "HTML" in found.sentence


def test_a_redirect_names_its_target() -> None:
    request = httpx.Request("GET", "http://x")
    response = httpx.Response(301, headers={"location": "https://x/"}, request=request)
    found = failed(httpx.HTTPStatusError("301", request=request, response=response), "x")
    assert found.trouble is Trouble.BROKEN
    assert not found.transient
    assert "https://x/" in found.sentence


def test_an_answer_that_is_not_storages_may_pass() -> None:
    with pytest.raises(StorageError) as caught, understood("Doing it"):
        raise KeyError("id")
    assert caught.value.trouble is Trouble.BROKEN
    assert caught.value.transient


@pytest.mark.parametrize("trouble", [Trouble.EXISTS, Trouble.UPLOAD_GONE, Trouble.OFFSET_CONFLICT])
def test_what_only_a_writer_can_be_told_says_that_the_server_is_confused(trouble: Trouble) -> None:
    with pytest.raises(StorageError) as caught, reading("Listing b"):
        raise StorageError(trouble, "Listing b", "it says so", status=409)
    assert (caught.value.trouble, caught.value.transient, caught.value.status) == (Trouble.BROKEN, True, 409)


def test_a_reader_is_told_the_rest_as_it_is() -> None:
    with pytest.raises(StorageError) as caught, reading("Listing b"):
        raise StorageError(Trouble.DENIED, "Listing b", "it says so")
    assert caught.value.trouble is Trouble.DENIED


def test_other_errors_pass_through() -> None:
    with pytest.raises(OSError, match="disk"), translated("x"), understood("x"):
        raise OSError("disk")
