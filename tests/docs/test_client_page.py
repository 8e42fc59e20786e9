"""What the client's page shows is what there is: calls that RunPod takes, progress, links, exit codes."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from examples import batch, submit
from handler.job import parse_job
from handler.reporter import Reporter
from local.queue.app import QueueApp
from shared.clock import SystemClock
from shared.contract.bucket import Link, Status
from shared.contract.session import Phase, Progress
from tests.docs.documents import PROJECT, page

if TYPE_CHECKING:
    from collections.abc import Mapping

CLIENT = page("client")
_PROGRESS, _LINKS = (json.loads(block) for block in CLIENT.blocks("json"))


def test_the_calls_by_curl_are_ones_that_runpod_takes() -> None:
    lines = "\n".join(CLIENT.blocks("sh")).splitlines()
    calls = [shlex.split(line) for line in lines if line.startswith("curl ")]
    asked = []
    for call in calls:
        [url] = [word for word in call if word.startswith("https://")]
        asked.append(("POST" if {"-X", "-d"} & set(call) else "GET", url.partition("$ENDPOINT/")[2].partition("/")[0]))
        assert "Authorization: Bearer $RUNPOD_API_KEY" in call
    assert asked == [("POST", "run"), ("GET", "status"), ("POST", "cancel")]
    routes = [route for route in QueueApp().app.routes if isinstance(route, Route)]
    assert set(asked) <= {(method, route.path.split("/")[3]) for route in routes for method in route.methods or ()}
    sent = PROJECT / calls[0][-1].removeprefix("@")
    assert parse_job(json.loads(sent.read_bytes())).warnings == ()


def test_the_progress_that_is_shown_is_such_as_a_worker_sends() -> None:
    told: list[Mapping[str, Any]] = []
    progress = Progress(step=1200, total=2000, loss=0.0931, eta_seconds=1683.0)
    status = Status(
        session_id="training_session_1",
        worker="worker",
        epoch=1,
        counter=1,
        at=0.0,
        phase=Phase.TRAINING,
        progress=progress,
    )
    Reporter(told.append, SystemClock()).tell(status)
    assert list(_PROGRESS["output"]) == list(told[0])


def test_the_links_that_are_shown_are_such_as_status_json_has() -> None:
    assert set(_LINKS) <= set(Status.model_fields)
    [link] = _LINKS["links"]
    assert list(link) == list(Link.model_fields)
    assert link["key"] in _LINKS["last_samples"]
    assert f"/object/sign/training-outputs/{link['key']}?token=" in link["url"]


def test_the_options_of_a_batch_are_its_own() -> None:
    common = {action.dest for action in submit.parser()._actions} | {"folder"}
    own = [action for action in batch.parser()._actions if action.dest not in common]
    assert [row[0] for row in CLIENT.table("option")] == [f"`{action.option_strings[0]}`" for action in own]


def test_the_exit_codes_are_the_ones_that_the_client_tells() -> None:
    told = (submit.parser().epilog or "").partition("Exit codes: ")[2]
    assert [row[0] for row in CLIENT.table("exit code")] == [part.split()[0] for part in re.split("; ", told)]
