from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Manifest
from shared.contract.session import Outcome
from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, Harbour, write
from uploader.stage import Stage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def delivered(harbour: Harbour) -> Berth:
    berth = Berth(harbour, harbour.session_run())
    write(berth.run.output / "a.txt", "a")
    harbour.drained()
    berth.until(lambda: berth.carrier.stage is Stage.CLOSED)
    return berth


def test_an_earlier_sessions_manifest_is_put_aside_before_anything_is_overwritten(harbour: Harbour) -> None:
    old = Manifest(outcome=Outcome.FINISHED, complete=True, session_id="older", model_name="m", created_at=0.0)
    harbour.storage._store("run/pictures/manifest.json", old.dump(), {})
    delivered(harbour)
    kept = Manifest.parse(harbour.storage.objects["run/pictures/manifests/older.json"].content)
    assert kept is not None
    assert (kept.session_id, kept.successor) == ("older", "training_session_1")
    manifest = harbour.manifest()
    assert manifest is not None
    assert manifest.session_id == "training_session_1"


@pytest.mark.parametrize("content", [b"not JSON", b'{"version": 2}'])
def test_a_manifest_that_nobody_understands_is_put_aside_as_it_is(harbour: Harbour, content: bytes) -> None:
    harbour.storage._store("run/pictures/manifest.json", content, {})
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    kept = [thing.content for key, thing in harbour.storage.objects.items() if "/manifests/unknown-" in key]
    assert kept == [content]
    assert "run/pictures/manifest.json" not in harbour.storage.objects


def test_a_manifest_whose_record_does_not_match_is_written_again(harbour: Harbour) -> None:
    store = harbour.storage._store
    broken: list[str] = []

    def once(key: str, content: bytes, metadata: dict[str, str]) -> None:
        if key.endswith("/manifest.json") and not broken:
            broken.append(key)
            content = content[:-10]
        store(key, content, metadata)

    harbour.storage._store = once  # type: ignore[assignment,method-assign]  # the first one is cut short
    delivered(harbour)
    assert harbour.manifest() is not None


def test_what_lies_there_is_learned_once_even_if_learning_was_interrupted(harbour: Harbour) -> None:
    """Killed after the ledger was made and before the listing was read, nothing is sent twice."""
    first = delivered(harbour)
    first.die()
    first.run.ledger(1).unlink()
    harbour.storage.fail("walk", Trouble.UNREACHABLE, key="run/pictures", times=0)
    second = Berth(harbour, first.run)
    second.executors["office"].held = True
    second.tick(2)
    second.executors["office"].release()
    second.tick()
    second.die()
    harbour.drained("again")
    third = Berth(harbour, first.run)
    third.until(lambda: third.carrier.stage is Stage.CLOSED)
    assert harbour.storage.count("put", "outputs/a.txt") == 1


def test_the_manifest_is_json_that_anybody_can_read(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.session_run())
    harbour.drained()
    berth.until(lambda: berth.carrier.stage is Stage.CLOSED)
    document = json.loads(harbour.storage.objects["run/pictures/manifest.json"].content)
    assert (document["version"], document["files"], document["missing"]) == (1, [], [])


def test_the_counter_of_the_status_grows_over_a_restart(harbour: Harbour) -> None:
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: harbour.status() is not None)
    berth.tick(40)
    before = harbour.status()
    berth.die()
    again = Berth(harbour, berth.run)
    again.until(lambda: (now := harbour.status()) is not None and before is not None and now.at > before.at)
    after = harbour.status()
    assert before is not None
    assert after is not None
    assert after.counter > before.counter
