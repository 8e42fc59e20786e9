"""The doctor before a real Storage: what it finds wrong with a bucket, and that it leaves nothing behind."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from local.storage.faults import Answer, Fault
from tests.scenario.uploader.port import BUCKET, PROJECT
from tests.scenario.uploader.terminal import at_terminal

if TYPE_CHECKING:
    from tests.scenario.uploader.port import Port


def examined(port: Port, *arguments: str, **environ: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the doctor's exit code and its findings by name."""
    toolkit = {"AI_TOOLKIT_DIR": str(PROJECT / "local" / "trainer"), "AI_TOOLKIT_PYTHON": sys.executable}
    process = port.start("doctor", "--json", *arguments, **{**toolkit, **environ})
    code = port.ends(process)
    told = json.loads(port.printed(process))
    assert told["works"] is (code == 0)
    return code, {check["name"]: check for check in told["checks"]}


def left_behind(port: Port) -> list[str]:
    return [record.key for record in port.storage.walk(BUCKET, "")]


def test_all_is_well_and_nothing_is_left_behind(harbour: Port) -> None:
    harbour.start("run")
    code, found = examined(harbour, "--bucket", BUCKET)
    assert code == 0
    assert {name for name, check in found.items() if check["level"] == "ok"} >= {
        *("project", "settings", "disk", "volume", "toolkit"),
        *("address", "clock", "key", "access", "bucket", "types", "rights", "limit", "large"),
    }
    assert found["limit"]["says"] == "files of 5.0 GiB are taken, of 10.0 GiB no more"
    assert found["rights"]["about"] == BUCKET
    assert left_behind(harbour) == []
    # Four sizes are announced, of which two are too large; those that were not, and the chunk's, are dropped again.
    asked = harbour.server.stats.requests
    assert (asked("POST", "upload/resumable"), asked("DELETE", "upload/resumable")) == (5, 3)


def test_the_buckets_of_the_sessions_are_looked_at_by_themselves(harbour: Port) -> None:
    harbour.session()
    assert examined(harbour)[1]["rights"]["about"] == BUCKET


@pytest.mark.parametrize(
    ("method", "path", "name", "says"),
    [
        ("POST", r"/object/move", "rights", "Moving"),
        ("DELETE", r"/object/", "rights", "Removing"),
        ("PATCH", r"/upload/resumable", "large", "Sending bytes 0"),
    ],
)
def test_what_the_key_may_not_do_is_named(harbour: Port, method: str, path: str, name: str, says: str) -> None:
    refusal = json.dumps({"statusCode": "403", "error": "Unauthorized", "message": "violates row-level security"})
    harbour.server.faults.add(Fault(method=method, path=path, answer=Answer(status=400, body=refusal)))
    code, found = examined(harbour, "--bucket", BUCKET)
    assert code == 1
    assert found[name]["level"] == "failure"
    assert found[name]["says"].startswith(says)
    assert "service_role" in found[name]["remedy"]
    assert left_behind(harbour) == [] or method == "DELETE"


def test_a_proxy_that_takes_no_large_requests_is_found(harbour: Port) -> None:
    page = Answer(status=413, body="<html>413 Request Entity Too Large</html>", content_type="text/html")
    harbour.server.faults.add(Fault(method="PATCH", path=r"/upload/resumable", answer=page))
    code, found = examined(harbour, "--bucket", BUCKET)
    assert code == 1
    assert found["large"]["says"] == "127.0.0.1 refuses a chunk of 6.0 MiB"
    assert "proxy" in found["large"]["remedy"]
    assert left_behind(harbour) == []


def test_a_narrow_bucket_is_told_by_its_types_and_its_limit(harbour: Port) -> None:
    harbour.storage.make_bucket("narrow", file_size_limit=10 << 20, allowed_mime_types=["image/*"])
    code, found = examined(harbour, "--bucket", "narrow")
    assert code == 1
    levels = {name: found[name]["level"] for name in ("bucket", "types", "rights", "limit", "large")}
    assert levels == {"bucket": "ok", "types": "failure", "rights": "ok", "limit": "warning", "large": "ok"}
    assert found["limit"]["says"] == "files of up to 10.0 MiB are taken, which is the bucket's own limit"


def test_where_nobody_answers_nothing_more_is_asked_of_storage(harbour: Port) -> None:
    code, found = examined(harbour, "--bucket", BUCKET, SUPABASE_URL="http://127.0.0.1:9")
    assert code == 1
    assert "check SUPABASE_URL" in found["address"]["remedy"]
    assert {found[name]["level"] for name in ("clock", "access", "bucket", "rights")} == {"left out"}


def test_settings_that_are_wrong_keep_nobody_from_hearing_of_the_rest(harbour: Port) -> None:
    code, found = examined(harbour, SUPABASE_SERVICE_KEY="", UPLOAD_CONCURRENCY="many")
    assert code == 1
    assert "SUPABASE_SERVICE_KEY is not set" in found["project"]["says"]
    assert "UPLOAD_CONCURRENCY is 'many'" in found["settings"]["says"]
    code, found = examined(harbour, SUPABASE_URL="")
    assert (code, found["disk"]["level"]) == (1, "ok")


def test_an_uploader_alone_needs_no_toolkit(harbour: Port) -> None:
    code, found = examined(harbour, "--watch", str(harbour.watched), "--bucket", BUCKET, AI_TOOLKIT_DIR="/nowhere")
    assert code == 0
    assert {"toolkit", "interpreter", "gpu", "models"} & set(found) == set()
    assert str(harbour.watched) in found["disk"]["says"]


def test_at_a_terminal_what_to_do_stands_below_and_in_a_pipe_behind(harbour: Port) -> None:
    narrow = ("doctor", "--bucket", "nowhere")
    seen = at_terminal(harbour, *narrow)
    assert seen.code == 1
    assert max(map(len, seen.text.splitlines())) <= 80
    remedy = "-> Create the bucket in Supabase, or correct its name."
    assert [line.strip() for line in seen.text.splitlines() if "->" in line][-1] == remedy
    assert "\x1b[31mfailure" in seen.drawn
    process = harbour.start(*narrow)
    assert harbour.ends(process) == 1
    [line] = [line for line in harbour.printed(process).splitlines() if remedy in line]
    assert line.startswith("failure  bucket       nowhere: ")
    assert "This will not work yet: " in harbour.printed(process)
