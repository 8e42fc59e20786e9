"""Whether Storage is there, what time it has, and what the key sees."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.storage.errors import StorageError
from shared.storage.records import BucketRecord
from uploader.doctor.checks import Level
from uploader.doctor.storage import check_access, check_address, check_clock

if TYPE_CHECKING:
    from collections.abc import Callable

DATE = "Fri, 15 Jan 2027 08:00:00 GMT"
THEN = 1_800_000_000.0
HOSTED = "https://abcdefgh.supabase.co"


def answering(**headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _request: httpx.Response(404, headers=headers))


def ticking() -> Callable[[], float]:
    """Return a clock that goes on by a second whenever somebody looks."""
    return itertools.count().__next__


def bucket(name: str) -> BucketRecord:
    return BucketRecord(name, public=False, file_size_limit=None, allowed_mime_types=None)


def test_any_answer_will_do_and_large_files_may_go_elsewhere() -> None:
    assert check_address("http://localhost:8000", ticking(), answering()).says == "localhost answers in 1000 ms"
    hosted = check_address(HOSTED, ticking(), answering())
    assert hosted.says.endswith("; large files go to abcdefgh.storage.supabase.co")


def test_the_key_is_not_shown_to_whoever_answers() -> None:
    asked = list[httpx.Request]()

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    check_address(HOSTED, ticking(), httpx.MockTransport(note))
    assert not {"authorization", "apikey"} & set(asked[0].headers)


def test_nobody_there_is_trouble() -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(StorageError, match="check SUPABASE_URL"):
        check_address("http://localhost:9", ticking(), httpx.MockTransport(nobody))


@pytest.mark.parametrize(
    ("ahead", "level", "says"),
    [
        (0, Level.OK, "agree"),
        (-29, Level.OK, "agree"),
        (90, Level.WARNING, "90 s ahead of"),
        (-90, Level.WARNING, "90 s behind"),
    ],
)
def test_a_clock_that_is_wrong_is_told(ahead: float, level: Level, says: str) -> None:
    finding = check_clock(HOSTED, lambda: THEN + ahead, answering(date=DATE))
    assert finding.level is level
    assert says in finding.says


@pytest.mark.parametrize("date", [{}, {"date": "soon"}])
def test_a_server_without_a_clock_is_none_to_compare_with(date: dict[str, str]) -> None:
    assert check_clock(HOSTED, lambda: THEN, answering(**date)).level is Level.OK


def test_what_the_key_sees_is_named_and_what_to_name_with_it() -> None:
    assert check_access((), ()).level is Level.WARNING
    unnamed = check_access([bucket("datasets"), bucket("outputs")], ())
    assert (unnamed.level, "--bucket" in (unnamed.remedy or "")) == (Level.WARNING, True)
    named = check_access([bucket(f"b{number}") for number in range(12)], ("b0",))
    assert named.level is Level.OK
    assert named.says.endswith("b8, b9, …")
