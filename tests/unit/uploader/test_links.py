"""Links in ``status.json``: only where they were asked for, for what it names, and never such as have run out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, Harbour, safetensors, write

if TYPE_CHECKING:
    from pathlib import Path

    from shared.contract.bucket import Status

SECONDS = 600
CHECKPOINT = "run/pictures/checkpoints/pictures_000000100.safetensors"
SAMPLE = "run/pictures/samples/1__000000100_0.png"


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def berth_with_results(harbour: Harbour, link_seconds: int | None = SECONDS) -> Berth:
    harbour.session(link_seconds=link_seconds)
    berth = Berth(harbour, harbour.session_run())
    write(berth.run.output / "pictures/pictures_000000100.safetensors", safetensors())
    write(berth.run.output / "pictures/samples/1__000000100_0.png", b"picture")
    berth.until(lambda: berth.carrier.upload.uploaded.files == 2)
    return berth


def status_of(harbour: Harbour) -> Status:
    status = harbour.status()
    assert status is not None
    return status


def linked(harbour: Harbour) -> list[str]:
    """Return the keys of the links in the bucket; fail where one does not work, or ends earlier than it says."""
    status = status_of(harbour)
    for link in status.links:
        assert harbour.storage.opened_by(link.url) == link.key
        assert link.expires_at == harbour.storage.signed[link.url] > harbour.clock.now()
    return [link.key for link in status.links]


def test_what_the_status_names_has_a_link_soon_after(harbour: Harbour) -> None:
    berth = berth_with_results(harbour)
    berth.until(lambda: linked(harbour) == [CHECKPOINT, SAMPLE])
    write(berth.run.output / "pictures/samples/2__000000200_0.png", b"another")
    berth.until(lambda: len(linked(harbour)) == 3)
    assert harbour.storage.count("signed_urls") == 2


def test_who_did_not_ask_gets_none(harbour: Harbour) -> None:
    berth = berth_with_results(harbour, None)
    berth.tick(60)
    harbour.drained()
    berth.until(lambda: harbour.manifest() is not None)
    assert status_of(harbour).links == ()
    assert harbour.storage.count("signed_urls") == 0


def test_links_are_renewed_in_good_time(harbour: Harbour) -> None:
    berth = berth_with_results(harbour)
    berth.until(lambda: bool(linked(harbour)))
    for _ in range(3 * SECONDS):
        berth.tick()
        assert linked(harbour) == [CHECKPOINT, SAMPLE]
    assert 5 <= harbour.storage.count("signed_urls") <= 8


def test_the_last_ones_are_good_for_their_whole_time_from_the_end_on(harbour: Harbour) -> None:
    berth = berth_with_results(harbour)
    berth.until(lambda: bool(linked(harbour)))
    berth.tick(SECONDS // 4)
    harbour.drained()
    berth.until(lambda: harbour.manifest() is not None)
    assert linked(harbour) == [CHECKPOINT, SAMPLE]
    assert {link.expires_at for link in status_of(harbour).links} == {status_of(harbour).at + SECONDS}


def test_a_link_that_has_run_out_while_the_machine_slept_is_not_shown(harbour: Harbour) -> None:
    berth = berth_with_results(harbour)
    berth.until(lambda: bool(linked(harbour)))
    harbour.clock.suspend(SECONDS)
    harbour.storage.fail("signed_urls", Trouble.BUSY, times=100)
    berth.until(lambda: status_of(harbour).links == ())


def test_a_storage_that_signs_nothing_stops_nothing_and_is_not_asked_all_the_time(
    harbour: Harbour, caplog: pytest.LogCaptureFixture
) -> None:
    harbour.storage.fail("signed_urls", Trouble.DENIED, times=1000)
    berth = berth_with_results(harbour)
    berth.tick(300)
    assert 4 <= harbour.storage.count("signed_urls") <= 6
    write(berth.run.output / "pictures/samples/2__000000200_0.png", b"another")
    berth.until(lambda: berth.carrier.upload.uploaded.files == 3)
    harbour.drained()
    berth.until(lambda: harbour.manifest() is not None)
    assert status_of(harbour).links == ()
    assert "not_signed" in caplog.text


def test_links_are_in_the_bucket_alone(harbour: Harbour, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    berth = berth_with_results(harbour)
    berth.until(lambda: bool(linked(harbour)))
    harbour.drained()
    berth.until(lambda: harbour.manifest() is not None)
    tokens = [url.partition("token=")[2].encode() for url in harbour.storage.signed]
    assert tokens
    found = {path.name: path.read_bytes() for path in harbour.root.rglob("*") if path.is_file()}
    found |= {key: thing.content for key, thing in harbour.storage.objects.items() if not key.endswith("/status.json")}
    found["log"] = caplog.text.encode()
    assert [name for name, content in found.items() if any(token in content for token in tokens)] == []
