"""A batch: each training is sent once, whenever this program ends, and followed to its end."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import pytest

import examples.batch
from examples.batch import Batch, main, read_requests
from examples.client.board import Board
from examples.client.book import NAME, Book
from examples.client.endpoint import Endpoint, EndpointError, JobState, Trouble
from examples.client.member import Due, Member
from examples.client.request import Folders, Request
from examples.client.training import How
from shared.contract.session import Outcome
from shared.errors import FerryError
from tests.unit.examples.script import (
    AWAY,
    FAILED,
    FINISHED,
    INTERRUPTED,
    QUEUED,
    REFUSED,
    RUNNING,
    ScriptedEndpoint,
    ScriptedResults,
    Watch,
    manifest,
    status,
)
from tests.unit.uploader.harbour import Inline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from examples.client.results import Results

UNSURE = EndpointError(Trouble.UNSURE, "Nobody knows.")
BUSY = EndpointError(Trouble.BUSY, "Less often, please.")


def request(name: str) -> Request:
    return Request(f"{name}.json", {"input": {"config": name}}, "outputs", f"run/{name}")


class Post(ScriptedEndpoint):
    """Takes jobs as ``refusals`` say, one for each sending, and shows each job's own script."""

    def __init__(self, **scripts: list[JobState | BaseException]) -> None:
        super().__init__()
        self.scripts = {name: deque(script) for name, script in scripts.items()}
        self.refusals: deque[EndpointError | None] = deque()
        self.names: dict[str, str] = {}

    def send(self, body: Mapping[str, Any]) -> str:
        refusal = self.refusals.popleft() if self.refusals else None
        if refusal is not None:
            raise refusal
        job_id = super().send(body)
        self.names[job_id] = body["input"]["config"]
        return job_id

    def look(self, job_id: str) -> JobState:
        script = self.scripts[self.names[job_id]]
        seen = script.popleft() if len(script) > 1 else script[0]
        if isinstance(seen, BaseException):
            raise seen
        return seen


class Folder:
    """A folder's batch, which may be begun again and again, as after a kill."""

    def __init__(self, path: Path, post: Post, *names: str, results: ScriptedResults | None = None) -> None:
        self.path = path
        self.post = post
        self.requests = [request(name) for name in names]
        self.results = results or ScriptedResults()
        self.clock = Watch()
        self.fetched: list[str] = []
        self.fetch_code = 0

    def members(self, again: int = 3) -> list[Member]:
        book, results = Book(self.path), cast("Results", self.results)
        endpoint = cast("Endpoint", self.post)
        return [Member(each, book, endpoint, results, self.clock, again=again) for each in self.requests]

    def run(self, *, to: bool = False, retry: bool = False, unsure: bool = False, again: int = 3) -> int:
        return self.batch(self.members(again), to=to).run(retry=retry, unsure=unsure)

    def batch(self, members: list[Member], *, to: bool = False) -> Batch:
        return Batch(members, Board(), self.path / "out" if to else None, wait=self._wait, fetching=Inline())

    def fetch(self, wanted: Request, folder: Path) -> tuple[int, str]:
        assert folder == self.path / "out" / wanted.name.removesuffix(".json")
        self.fetched.append(wanted.name)
        return self.fetch_code, "what was said last"

    def _wait(self, seconds: float) -> None:
        self.clock.time += seconds
        assert self.clock.time < 1000, "it has no end"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    made = Folder(tmp_path, Post(a=[QUEUED, RUNNING, FINISHED], b=[FINISHED]), "a", "b")
    monkeypatch.setattr(examples.batch, "fetch_quietly", made.fetch)
    return made


def test_all_are_sent_at_once_followed_and_fetched(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert folder.run(to=True) == 0
    assert len(folder.post.sent) == 2
    assert sorted(folder.fetched) == ["a.json", "b.json"]
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "2 of 2 trainings have finished."
    states = [line.removeprefix("a.json: ") for line in said if line.startswith("a.json")]
    assert states == ["sent", "in the queue", "starting", "finished", "finished, fetched"]


def test_what_has_been_sent_is_not_sent_again_nor_fetched(folder: Folder) -> None:
    assert folder.run(to=True) == 0
    assert folder.run(to=True) == 0
    assert len(folder.post.sent) == 2
    assert len(folder.fetched) == 2


@pytest.mark.parametrize("looks", range(4))
def test_wherever_it_is_left_it_goes_on(folder: Folder, looks: int) -> None:
    folder.post.scripts["a"] = deque([*[RUNNING] * looks, KeyboardInterrupt(), FINISHED])
    with pytest.raises(KeyboardInterrupt):
        folder.run()
    assert folder.run() == 0
    assert len(folder.post.sent) == 2


def test_a_kill_in_the_middle_of_sending_sends_nothing_twice(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.post.refusals.extend([cast("EndpointError", KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        folder.run()
    folder.post.refusals.clear()
    assert folder.run() == 1
    assert [body["input"]["config"] for body in folder.post.sent] == ["b"]
    said = capsys.readouterr().err
    assert "a.json: Nobody knows whether it was taken" in said
    assert "With --unsure" in said
    assert folder.run(unsure=True) == 0
    assert [body["input"]["config"] for body in folder.post.sent] == ["b", "a"]


def test_an_answer_that_did_not_come_is_looked_for_in_the_bucket(folder: Folder) -> None:
    folder.post.refusals.append(UNSURE)
    folder.post.names["job-x"] = "a"
    folder.results.of_status = status(job_id="job-x")
    assert folder.run() == 0
    assert folder.members()[0].sent.jobs == ("job-x",)
    assert len(folder.post.sent) == 1


def test_what_another_job_left_there_before_is_not_taken_for_ours(folder: Folder) -> None:
    folder.post.refusals.append(UNSURE)
    folder.clock.time = 500.0
    folder.results.of_status = status(job_id="earlier", at=100.0)
    folder.results.of_manifest = manifest(Outcome.FINISHED, job_id="earlier")
    assert folder.run() == 1
    assert folder.members()[0].due is Due.FINDING


def test_what_was_interrupted_is_sent_again_and_not_for_ever(folder: Folder) -> None:
    folder.post.scripts["a"] = deque([INTERRUPTED, RUNNING, FINISHED])
    assert folder.run() == 0
    assert len(folder.post.sent) == 3
    folder.post.scripts["b"] = deque([INTERRUPTED])
    folder.requests = [request("b"), request("a")]
    made = folder.members()[0]
    made.begin_anew()
    assert folder.run(again=2) == 1
    assert len(folder.post.sent) == 6


def test_a_lost_connection_is_waited_for_once_something_goes_on(folder: Folder) -> None:
    folder.post.scripts["a"] = deque([AWAY, AWAY, *[INTERRUPTED] * 3, FINISHED])
    folder.post.refusals.extend([None, None, AWAY, BUSY])
    assert folder.run() == 0
    assert len(folder.post.sent) == 3


def test_where_nothing_can_be_sent_it_ends(folder: Folder) -> None:
    for refusal in (AWAY, REFUSED):
        folder.post.refusals.append(refusal)
        with pytest.raises(EndpointError):
            folder.run()
    assert [member.due for member in folder.members()] == [Due.SENDING] * 2


def test_failed_ones_stay_so_until_one_wishes_otherwise(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.post.scripts["a"] = deque([FAILED, FINISHED])
    assert folder.run() == 1
    assert folder.run() == 1
    said = capsys.readouterr().err
    assert "a.json: The loss is not a number." in said
    assert "1 of 2 trainings have finished." in said
    assert len(folder.post.sent) == 2
    assert folder.run(retry=True) == 0
    assert len(folder.post.sent) == 3


def test_what_could_not_be_fetched_is_told_and_tried_at_the_next_call(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.fetch_code = 1
    assert folder.run(to=True) == 1
    said = capsys.readouterr().err
    assert "a.json could not be fetched: what was said last" in said
    assert "2 of them could not be fetched whole" in said
    folder.fetch_code = 0
    assert folder.run(to=True) == 0
    assert len(folder.post.sent) == 2


def test_a_batch_can_be_cancelled(folder: Folder) -> None:
    folder.post.scripts["a"] = deque([RUNNING, KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        folder.run()
    assert folder.batch(folder.members()).cancel() == 0
    assert folder.post.cancelled == ["job-1"]
    assert [member.sent.how for member in folder.members()] == [How.CANCELLED, How.FINISHED]


# The book


def test_a_changed_training_is_another_one_and_the_old_one_is_mentioned(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.post.scripts["a"] = deque([RUNNING, KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        folder.run()
    changed = [Request("a.json", {"input": {"config": "b"}}, "outputs", "run/a")]
    folder.batch([]).mention(Book(folder.path).without(changed))
    assert "a.json was deleted or changed; its job job-1 is not followed" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", '{"version": 99}', "[]"])
def test_a_book_that_is_none_is_not_written_over(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(FerryError, match="what was sent is not known"):
        Book(tmp_path)


# The folder


def write(folder: Path, name: str, prefix: str = "p", model: str | None = None) -> None:
    config = {"config": {"name": model or name.partition(".")[0]}}
    upload = {"bucket_name": "outputs", "folder_path": prefix}
    (folder / name).write_text(json.dumps({"input": {"config": config, "upload_config": upload}}))


def test_a_folders_trainings_are_its_requests_and_configurations(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", ".batch.json", ".hidden.json"):
        write(tmp_path, name)
    (tmp_path / "c.yaml").write_text("config: {name: c}")
    (tmp_path / "README.md").write_text("")
    (tmp_path / "d.json").mkdir()
    found = read_requests(tmp_path, Folders(results="outputs/p"))
    assert [each.name for each in found] == ["a.json", "b.json", "c.yaml"]


def test_two_that_would_meet_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    write(tmp_path, "a.json", model="same")
    write(tmp_path, "b.json", model="same")
    with pytest.raises(FerryError, match=r"a\.json and b\.json both go to outputs/p/same: give them different names"):
        read_requests(tmp_path, Folders())
    write(tmp_path, "b.json")
    (tmp_path / "b.yaml").write_text("config: {name: c}")
    with pytest.raises(FerryError, match=r"b\.json and b\.yaml are both called b"):
        read_requests(tmp_path, Folders(results="outputs/p"))


def test_what_is_no_batch_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.delenv("SUPABASE_URL", raising=False)
    for arguments, sentence in (
        ([str(tmp_path / "none")], "is no folder"),
        ([str(tmp_path)], "holds no trainings"),
    ):
        assert main([*arguments, "--endpoint", "abc"]) == 2
        assert sentence in capsys.readouterr().err
    write(tmp_path, "a.json")
    assert main([str(tmp_path), "--endpoint", "abc"]) == 2
    assert "RUNPOD_API_KEY is not set" in capsys.readouterr().err
    assert main([str(tmp_path), "--endpoint", "http://127.0.0.1:9/e"]) == 3
    assert "there is no connection" in capsys.readouterr().err
