"""Links are where the job asked for them, they work, and their tokens show nowhere else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.scenario.stack import OUTPUTS, Stack, job, stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.contract.bucket import Status

PREFIX = "run/linked"
STATUS = f"object {PREFIX}/status.json"
# What the claims of every token of a signed address hold; the service key's do not.
_TOKEN = re.compile(rb"token=(ey[\w-]+\.[\w-]+\.[\w-]+)")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Stack]:
    with stack(tmp_path) as made:
        # The SDK then prints what it is given, and what it gives.
        made.environ["RUNPOD_DEBUG_LEVEL"] = "DEBUG"
        yield made


def everywhere(worker: Stack) -> dict[str, bytes]:
    """Return what the worker leaves on its output, on the disk and in the bucket."""
    told = {f"log {path.name}": path.read_bytes() for path in worker.folder.glob("*.log")}
    told |= {str(path): path.read_bytes() for path in worker.root.rglob("*") if path.is_file()}
    for record in worker.storage.walk(OUTPUTS, ""):
        told[f"object {record.key}"] = worker.storage.read(OUTPUTS, record.key) or b""
    return told


def content_behind(links: list[dict[str, Any]]) -> dict[str, bytes]:
    return {link["key"]: httpx.get(link["url"]).raise_for_status().content for link in links}


@pytest.mark.guarantee("secret", fault="a job asks for links, and the SDK prints every answer")
def test_links_work_and_show_where_they_were_asked_for_and_nowhere_else(worker: Stack) -> None:
    worker.start_worker()
    sent = {**job("linked", steps=40, step_seconds=0.1), "link_seconds": 3600}
    number = worker.send(sent)

    def live() -> Status | None:
        status = worker.status(PREFIX)
        return status if status is not None and status.outcome is None and status.links else None

    shown = until(live, worker.log)
    live_links = [link.model_dump() for link in shown.links]
    assert all(content_behind(live_links).values())
    first = worker.result(number)["output"]["links"]
    again = worker.send(sent, number)
    stored = worker.result(again)["output"]
    assert stored["stored_answer"] is True
    manifest = worker.manifest(PREFIX)
    assert manifest is not None
    listed = {entry.key for entry in manifest.files}
    for links in (first, stored["links"]):
        there = content_behind(links)
        assert set(there) <= listed
        assert f"{PREFIX}/checkpoints/linked.safetensors" in there
        assert sum("/samples/" in key for key in there) == 4

    told = everywhere(worker)
    tokens = {link["url"].partition("token=")[2].encode() for link in (*live_links, *first, *stored["links"])}
    tokens |= set(_TOKEN.findall(told[STATUS]))
    assert len(tokens) >= len(first)
    assert {where for where, content in told.items() if any(token in content for token in tokens)} == {STATUS}
    assert b"token=***" in b"".join(content for where, content in told.items() if where.startswith("log handler"))
