"""What a bucket's record tells, and how few questions find Storage's limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from shared.storage.records import BucketRecord
from uploader.doctor.bucket import SIZES, ask_limit, check_bucket, check_types
from uploader.doctor.checks import Level

if TYPE_CHECKING:
    from shared.storage.client import Storage


def bucket(limit: int | None = None, types: tuple[str, ...] | None = None, *, public: bool = False) -> BucketRecord:
    return BucketRecord("outputs", public, limit, types)


class Limited:
    """A Storage that takes files of up to ``limit`` bytes, and remembers what it was asked."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.asked: list[int] = []
        self.types: set[str] = set()

    def takes(self, _bucket: str, size: int, content_type: str) -> bool:
        self.asked.append(size)
        self.types.add(content_type)
        return size <= self._limit


def test_the_record_tells_who_may_read_and_the_buckets_own_limit() -> None:
    assert check_bucket(bucket()).says == "it is there, private"
    assert check_bucket(bucket(50 << 20, public=True)).says.endswith("lies in it, with a limit of 50.0 MiB a file")


@pytest.mark.parametrize(
    ("types", "refused"),
    [
        (None, ""),
        (("*/*",), ""),
        (("image/*",), "checkpoints, videos, logs, documents"),
        (("image/*", "application/*", "text/plain"), "videos"),
    ],
)
def test_every_kind_of_file_must_be_allowed(types: tuple[str, ...] | None, refused: str) -> None:
    finding = check_types(bucket(types=types))
    assert finding.level is (Level.FAILURE if refused else Level.OK)
    assert finding.says.endswith(f"not {refused}" if refused else "allowed")


@pytest.mark.parametrize("limit", [0, 1 << 20, 50_000_000, 50 << 20, 5 << 30, 1 << 50])
def test_the_limit_is_found_with_few_questions(limit: int) -> None:
    storage = Limited(limit)
    finding = ask_limit(cast("Storage", storage), bucket())
    assert len(storage.asked) <= 5
    taken = [size for size in SIZES if size <= limit]
    assert set(storage.asked) & {*taken[-1:], *SIZES[len(taken) : len(taken) + 1]}
    assert finding.level is (Level.OK if limit >= 2 << 30 else Level.WARNING)


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (50_000_000, "files of 20.0 MiB are taken, of 50.0 MiB no more"),
        (50 << 20, "files of 50.0 MiB are taken, of 100 MiB no more"),
        (1 << 50, "files of 500 GiB are taken"),
        (0, "files of 0 B are taken, of 1.0 MiB no more"),
    ],
)
def test_the_limit_is_told_between_two_sizes(limit: int, says: str) -> None:
    assert ask_limit(cast("Storage", Limited(limit)), bucket()).says == says


def test_where_the_buckets_own_limit_is_the_lower_one_a_single_question_is_enough() -> None:
    storage = Limited(5 << 30)
    finding = ask_limit(cast("Storage", storage), bucket(3 << 30))
    assert storage.asked == [3 << 30]
    assert (finding.level, finding.says) == (
        Level.OK,
        "files of up to 3.0 GiB are taken, which is the bucket's own limit",
    )
    lower = ask_limit(cast("Storage", Limited(50 << 20)), bucket(3 << 30))
    assert lower.says.startswith("files of 50.0 MiB are taken")


def test_it_asks_with_a_type_that_the_bucket_takes() -> None:
    storage = Limited(5 << 30)
    ask_limit(cast("Storage", storage), bucket(types=("image/*",)))
    ask_limit(cast("Storage", storage), bucket(types=("font/*",)))
    assert storage.types == {"image/jpeg", "font/x"}
