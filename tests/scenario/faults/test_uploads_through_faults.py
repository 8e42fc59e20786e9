"""Uploads of both kinds by the uploader itself, while the exchanges that carry the bytes go wrong."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Manifest
from tests.scenario.faults.ground import OUTPUTS, Ground, Shipping
from tests.scenario.faults.mishaps import HARMLESS, Mishap, Place, at
from tests.unit.uploader.harbour import safetensors
from uploader.sending import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from _pytest.mark import ParameterSet


@dataclass(frozen=True, slots=True)
class Way:
    """A way of uploading. ``passes`` are the mishaps that let so much through that even for ever they only delay.

    ``refuses`` are those by which a server that answers everything else refuses this very file.
    """

    name: str
    file: str
    key: str
    content: bytes
    place: Place
    passes: frozenset[str]
    refuses: frozenset[str]


STANDARD = Way(
    "standard",
    "sample.png",
    "samples/sample.png",
    random.Random(1).randbytes(300_000),
    Place("POST", "/object/outputs/.*/samples/", request=150_000, answer=10),
    passes=HARMLESS,
    refuses=frozenset({"409", "410"}),
)
RESUMABLE = Way(
    "resumable",
    "large.safetensors",
    "checkpoints/large.safetensors",
    safetensors(random.Random(2).randbytes(CHUNK_BYTES + 200_000)),
    Place("PATCH", "/upload/resumable/", request=3_000_000, answer=None),
    # What has arrived stays, so each attempt begins further on.
    passes=HARMLESS
    | {
        "cut in the request",
        "cut before the answer",
        "reset in the request",
        "stalled in the request",
        "stalled before the answer",
        "answer lost",
    },
    refuses=frozenset({"410"}),
)
# What a resumable upload asks besides: that it be announced, and how far it has come.
ANNOUNCED = replace(RESUMABLE, name="announced", place=Place("POST", "/upload/resumable$", request=None, answer=None))
ASKED = replace(RESUMABLE, name="asked", place=Place("HEAD", "/upload/resumable/", request=None, answer=None))
ASIDE = frozenset({"reset at once", "black hole", "answer lost", "409", "410", "423", "500", "502 in HTML"})
TWICE = 2


def cases(wanted: Callable[[Way, Mishap], bool], ways: Sequence[Way] = (STANDARD, RESUMABLE)) -> list[ParameterSet]:
    """Return each way with each mishap that can happen to it and is wanted."""
    return [
        pytest.param(way, mishap, id=f"{way.name}-{mishap.name}")
        for way in ways
        for mishap in at(way.place)
        if wanted(way, mishap)
    ]


def manifest(ground: Ground, prefix: str) -> Manifest | None:
    content = ground.direct.read(OUTPUTS, f"{prefix}/manifest.json")
    return Manifest.parse(content) if content else None


def check_arrived(ground: Ground, way: Way, prefix: str) -> None:
    """Fail unless the file is in the bucket, bit for bit, and the manifest says just that."""
    written = manifest(ground, prefix)
    assert written is not None
    assert written.complete
    assert written.missing == ()
    [entry] = written.files
    assert (entry.key, entry.size) == (f"{prefix}/{way.key}", len(way.content))
    assert entry.sha256 == hashlib.sha256(way.content).hexdigest()
    assert ground.direct.read(OUTPUTS, entry.key) == way.content


@pytest.mark.guarantee("nothing-lost", fault="an upload is cut, reset, stalled, swallowed, refused or not answered")
@pytest.mark.parametrize(
    ("way", "mishap"),
    cases(lambda _way, _mishap: True) + cases(lambda _way, mishap: mishap.name in ASIDE, ways=(ANNOUNCED, ASKED)),
)
def test_an_upload_that_goes_wrong_twice_arrives_bit_for_bit(
    ground: Ground, root: Path, prefix: str, way: Way, mishap: Mishap
) -> None:
    shipping = Shipping(root, ground.client(mishap), prefix)
    shipping.write(way.file, way.content)
    number = ground.rig.faults.add(mishap.fault(way.place, TWICE))
    shipping.until_answered()
    assert ground.rig.faults.hits(number)
    check_arrived(ground, way, prefix)
    sent_again = ground.rig.tally.up(OUTPUTS, f"{prefix}/{way.key}") - len(way.content)
    assert sent_again <= TWICE * min(len(way.content), CHUNK_BYTES)


@pytest.mark.guarantee("told", fault="an upload goes wrong again and again")
@pytest.mark.parametrize(
    ("way", "mishap"),
    cases(lambda way, mishap: mishap.name not in way.passes | way.refuses)
    + cases(lambda _way, mishap: mishap.name == "409", ways=(ASKED,)),
)
def test_an_upload_that_always_goes_wrong_is_told_and_arrives_when_that_is_over(
    ground: Ground, root: Path, prefix: str, way: Way, mishap: Mishap
) -> None:
    shipping = Shipping(root, ground.client(mishap), prefix)
    shipping.write(way.file, way.content)
    ground.rig.faults.add(mishap.fault(way.place, None))
    shipping.until(lambda: mishap.says in shipping.reasons)
    assert shipping.upload.receipt is None
    assert manifest(ground, prefix) is None
    ground.rig.faults.clear()
    shipping.until_answered()
    check_arrived(ground, way, prefix)


@pytest.mark.guarantee("nothing-lost", fault="each request of an upload is cut short, and only a part gets through")
@pytest.mark.parametrize(
    ("way", "mishap"), cases(lambda way, mishap: mishap.name in way.passes and mishap.name not in HARMLESS)
)
def test_an_upload_that_gets_on_by_parts_arrives_bit_for_bit(
    ground: Ground, root: Path, prefix: str, way: Way, mishap: Mishap
) -> None:
    shipping = Shipping(root, ground.client(mishap), prefix)
    shipping.write(way.file, way.content)
    number = ground.rig.faults.add(mishap.fault(way.place, None))
    shipping.until_answered()
    assert ground.rig.faults.hits(number) >= TWICE
    check_arrived(ground, way, prefix)


@pytest.mark.guarantee("true-manifest", fault="Storage refuses one file for ever, and takes the others")
@pytest.mark.parametrize(("way", "mishap"), cases(lambda way, mishap: mishap.name in way.refuses))
def test_an_upload_that_is_refused_for_ever_is_named_as_missing(
    ground: Ground, root: Path, prefix: str, way: Way, mishap: Mishap
) -> None:
    shipping = Shipping(root, ground.client(mishap), prefix)
    shipping.write(way.file, way.content)
    shipping.write("other.txt", b"other")
    ground.rig.faults.add(mishap.fault(way.place, None))
    shipping.until_answered()
    written = manifest(ground, prefix)
    assert written is not None
    assert not written.complete
    assert [entry.path for entry in written.files] == ["other.txt"]
    [missing] = written.missing
    assert missing.path == way.file
    assert mishap.says in missing.reason or "the server forgot the upload again and again" in missing.reason
