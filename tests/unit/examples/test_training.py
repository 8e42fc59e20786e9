"""A training as its sender sees it, whoever says something of it and whoever does not."""

from __future__ import annotations

from collections import deque

import pytest

from examples.client.endpoint import EndpointError, JobState
from examples.client.training import SILENCE_SECONDS, End, How, Standing
from shared.contract.bucket import Missing
from shared.contract.session import Outcome, Progress
from tests.unit.examples.script import (
    AWAY,
    FAILED,
    FINISHED,
    GONE,
    INTERRUPTED,
    LOST,
    QUEUED,
    REFUSED,
    RUNNING,
    ScriptedEndpoint,
    ScriptedResults,
    Watch,
    manifest,
    status,
    training,
)


def look(seen: JobState | Exception, results: ScriptedResults | None = None) -> Standing | End:
    return training(ScriptedEndpoint(deque([seen])), results or ScriptedResults(), Watch()).look()


def how(seen: JobState | Exception, results: ScriptedResults | None = None) -> How:
    end = look(seen, results)
    assert isinstance(end, End)
    return end.how


def test_the_workers_own_progress_is_shown() -> None:
    told = {"sequence": 3, "session_id": "s", "phase": "training", "step": 5, "total": 10, "loss": 0.5}
    seen = look(JobState("IN_PROGRESS", {**told, "warnings": ["slow"]}))
    assert seen == Standing("training", Progress(step=5, total=10, loss=0.5), ("slow",))


def test_what_is_no_progress_is_none() -> None:
    for output in ({}, {"step": "many", "phase": "x"}, {"step": 5}):
        assert look(JobState("IN_PROGRESS", output)) == Standing("starting")


def test_where_runpod_says_nothing_the_bucket_does() -> None:
    assert look(QUEUED, ScriptedResults(status())) == Standing("in the queue")
    assert look(RUNNING, ScriptedResults(status())) == Standing("training", Progress(step=5, total=10))
    assert look(RUNNING, ScriptedResults(status(job_id="another"))) == Standing("starting")


def test_without_a_connection_the_bucket_is_watched_and_says_the_end_as_well() -> None:
    assert look(AWAY) == Standing("unknown", trouble=AWAY.sentence)
    seen = look(AWAY, ScriptedResults(status()))
    assert seen == Standing("training", Progress(step=5, total=10), trouble=AWAY.sentence)
    assert how(AWAY, ScriptedResults(status(), manifest(Outcome.FINISHED))) is How.FINISHED
    assert isinstance(look(AWAY, ScriptedResults(status(), manifest(Outcome.FINISHED, job_id="earlier"))), Standing)


def test_a_refused_key_is_not_waited_for() -> None:
    with pytest.raises(EndpointError, match="The key is refused"):
        look(REFUSED)


def test_the_ends_that_the_worker_tells() -> None:
    finished = look(FINISHED)
    assert finished == End(
        How.FINISHED, "The training has finished: 12 steps, 18 files in the bucket.", None, ("a warning",)
    )
    assert look(FAILED) == End(How.FAILED, "The loss is not a number.", "nan_loss")
    assert look(INTERRUPTED) == End(How.INTERRUPTED, "The worker was told to stop.", "interrupted")


def test_the_ends_that_runpod_makes() -> None:
    assert how(JobState("CANCELLED")) is How.CANCELLED
    assert how(JobState("TIMED_OUT")) is How.INTERRUPTED


def test_a_job_that_was_refused_stays_so() -> None:
    refused = JobState("FAILED", {}, "The job cannot be run: config is missing.")
    assert look(refused) == End(How.FAILED, "The job cannot be run: config is missing.")
    assert look(JobState("FAILED")) == End(How.FAILED, "RunPod says FAILED, and nothing more.")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.FINISHED, How.FINISHED),
        (Outcome.FAILED, How.FAILED),
        (Outcome.INTERRUPTED, How.INTERRUPTED),
        (Outcome.CANCELLED, How.CANCELLED),
    ],
)
@pytest.mark.parametrize("seen", [LOST, GONE], ids=["lost", "forgotten"])
def test_where_an_answer_was_lost_the_manifest_is_one(
    seen: JobState | Exception, outcome: Outcome, expected: How
) -> None:
    assert how(seen, ScriptedResults(of_manifest=manifest(outcome))) is expected


def test_a_manifest_that_misses_files_is_no_success() -> None:
    missing = (Missing(path="a", reason="too large"),)
    end = look(GONE, ScriptedResults(of_manifest=manifest(Outcome.FINISHED, complete=False, missing=missing)))
    assert end == End(How.FAILED, "The training finished, but 1 files are not in the bucket.", "upload_incomplete", ())


def test_a_lost_worker_is_one_when_nothing_moves_any_more() -> None:
    clock, results = Watch(), ScriptedResults(status(counter=1))
    made = training(ScriptedEndpoint(deque([LOST])), results, clock)
    assert isinstance(made.look(), Standing)
    clock.time += SILENCE_SECONDS - 1
    results.of_status = status(counter=2)
    assert isinstance(made.look(), Standing)
    clock.time += SILENCE_SECONDS - 1
    assert isinstance(made.look(), Standing)
    clock.time += 1
    end = made.look()
    assert isinstance(end, End)
    assert end.how is How.INTERRUPTED


def test_a_job_that_nobody_knows_goes_on_when_it_is_sent_again_and_blindly_nothing_is() -> None:
    assert how(GONE) is How.INTERRUPTED
    assert how(GONE, ScriptedResults(known=False)) is How.FAILED


def test_each_sending_is_a_job_of_its_own() -> None:
    endpoint = ScriptedEndpoint(deque([QUEUED]))
    made = training(endpoint, ScriptedResults(of_manifest=manifest(Outcome.INTERRUPTED)), Watch(), jobs=())
    assert (made.send(), made.has_manifest()) == ("job-1", True)
    assert (made.send(), made.has_manifest()) == ("job-2", False)
    assert (made.jobs, endpoint.sent) == (("job-1", "job-2"), [made.request.body] * 2)
