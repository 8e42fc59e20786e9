"""A short storm. ``make storm`` runs as many rounds as it is told to."""

from __future__ import annotations

import json

import pytest

from shared.contract.bucket import Entry, Manifest, Missing
from shared.contract.session import Outcome
from tests.scenario.storm.storm import run_round
from tests.scenario.storm.verdict import DISK_LOST, Verdict, judge, may_be_sent, versions_of
from uploader.sending import CHUNK_BYTES

PATH, KEY = "cats/cats.safetensors", "run/cats/checkpoints/cats.safetensors"


@pytest.mark.guarantee("nothing-lost", fault="anybody is killed at any moment, on a line that loses, cuts and refuses")
@pytest.mark.parametrize("seed", [12, 19])
def test_a_storm_loses_breaks_and_repeats_nothing(seed: int) -> None:
    told = run_round(seed)
    assert told.verdict.faults == [], told
    assert told.blows
    assert told.files > 20


def line(state: str, digest: str, size: int = 10) -> str:
    return json.dumps({"state": state, "path": f"/volume/s/output/{PATH}", "sha256": digest, "size": size})


def manifest(*entries: Entry, missing: tuple[Missing, ...] = ()) -> Manifest:
    return Manifest(
        outcome=Outcome.FINISHED, complete=True, session_id="s", model_name="cats", created_at=1.0, files=entries,
        missing=missing,
    )  # fmt: skip


def entry(digest: str, *, incomplete: bool = False) -> Entry:
    return Entry(key=KEY, size=10, sha256=digest, path=PATH, mtime=1.0, incomplete=incomplete)


def verdict(record: list[str], shown: Manifest, there: str = "") -> Verdict:
    return judge(versions_of(record), [shown], {KEY: there})


ONE = [line("begun", "a"), line("done", "a")]
TWO = [*ONE, line("begun", "b"), line("done", "b")]


def test_what_is_there_as_it_was_completed_last_is_well() -> None:
    assert verdict(TWO, manifest(entry("b")), "b").faults == []


def test_a_version_whose_end_a_kill_hid_is_well_too() -> None:
    assert verdict([*ONE, line("begun", "b")], manifest(entry("b")), "b").faults == []


def test_a_version_that_was_only_begun_may_be_missing() -> None:
    assert verdict([line("begun", "a")], manifest()).faults == []


def test_a_complete_version_that_is_not_there_is_lost() -> None:
    assert verdict(ONE, manifest()).lost == [PATH]
    for named in (PATH, "cats"):
        assert verdict(ONE, manifest(missing=(Missing(path=named, reason="it was deleted"),))).lost == []


def test_a_folder_that_is_named_as_missing_is_all_of_its_files() -> None:
    record = [line.replace("cats.safetensors", "cats_8/transformer/model.safetensors") for line in ONE]
    assert verdict(record, manifest()).lost != []
    assert verdict(record, manifest(missing=(Missing(path="cats/cats_8", reason="it was deleted"),))).lost == []


def test_an_older_version_than_the_last_is_a_loss() -> None:
    assert verdict(TWO, manifest(entry("a")), "a").lost != []


def test_what_is_not_what_the_manifest_says_is_corrupt() -> None:
    assert verdict(TWO, manifest(entry("a")), "b").corrupt != []
    assert verdict(TWO, manifest(entry("a")), "b").mixed == []


def test_what_nobody_made_is_mixed() -> None:
    assert verdict(TWO, manifest(entry("a mixture")), "a mixture").mixed != []
    assert verdict(TWO, manifest(entry("b", incomplete=True)), "torn").faults == []


def test_a_torn_last_line_of_the_record_is_no_version() -> None:
    assert list(versions_of([*ONE, '{"state": "beg'])) == [PATH]


def test_what_was_lost_with_the_disk_need_not_be_there() -> None:
    assert verdict([*TWO, DISK_LOST], manifest()).faults == []
    assert verdict([*TWO, DISK_LOST], manifest(entry("a")), "a").faults == []
    assert verdict([*TWO, DISK_LOST, *ONE], manifest()).lost == [PATH]


def test_each_version_may_be_sent_once_and_a_chunk_more_for_each_blow() -> None:
    large = 3 * CHUNK_BYTES
    versions = versions_of([line("begun", "a", large), line("done", "a", large)])[PATH]
    assert may_be_sent(versions, 2, 1) == large + 3 * CHUNK_BYTES
    small = versions_of(ONE)[PATH]
    assert may_be_sent(small, 2, 0) == 10 + 2 * 10
