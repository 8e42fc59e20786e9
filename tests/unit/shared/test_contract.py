"""Exchanged files: read with tolerance, written as they were read, and never half understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from shared.contract.process import identify
from shared.contract.session import DrainRequest, Ending, Outcome, Phase, Progress, Saved, Session
from shared.contract.trainer_exit import TrainerExit
from shared.contract.upload import Count, DrainReceipt, Failure, StorageState, Upload, Worker
from shared.errors import ErrorCode

if TYPE_CHECKING:
    from pathlib import Path

    from shared.contract.document import Document

SESSION = Session(
    session_id="training_session_1",
    worker="w",
    handler=identify(),
    job_id="j",
    input_hash="h",
    model_name="m",
    name="m",
    bucket="b",
    prefix="p/m",
    created_at=1.5,
    phase=Phase.SAVING,
    trainer=identify(),
    progress=Progress(step=3, total=9, loss=0.25),
    saved=(Saved(path="m/m.safetensors", step=9, at=2.0),),
    log_tail=("ä line",),
    config={"config": {"name": "m", "process": [1, None, "x"]}},
    versions={"runpod": "1"},
    ending=Ending(outcome=Outcome.FAILED, by_itself=True, error_code=ErrorCode.STALLED, error="It hung.", at=3.0),
    drain=DrainRequest(token="t", at=4.0),
)
FAILURE = Failure(path="x", reason="y", permanent=True)
UPLOAD = Upload(
    worker="w",
    claim_epoch=2,
    storage=StorageState.DOWN,
    uploaded=Count(files=1, bytes=2),
    failures=(FAILURE,),
    refused=ErrorCode.PREFIX_IN_USE,
    receipt=DrainReceipt(token="t", complete=False, missing=(FAILURE,)),
)
BEAT = Worker(worker="w", pid=1, host="h", boot_id="b", beat=3, at=1.0)


@pytest.mark.parametrize("document", [SESSION, UPLOAD, BEAT, TrainerExit(code=-9, at=1.0)])
def test_what_is_written_is_read_again(document: Document, tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    document.write(path)
    assert type(document).read(path) == document
    assert json.loads(path.read_bytes())["version"] == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"version": 2, "code": 0, "at": 1}',
        b'{"code": 0, "at": 1}',
        b'{"version": 1}',
    ],
)
def test_what_is_no_such_document_is_none(content: bytes, tmp_path: Path) -> None:
    assert TrainerExit.parse(content) is None
    path = tmp_path / "document.json"
    assert TrainerExit.read(path) is None
    path.write_bytes(content)
    assert TrainerExit.read(path) is None


def test_a_field_of_a_later_release_is_no_obstacle() -> None:
    assert TrainerExit.parse(b'{"version": 1, "code": 0, "at": 1, "mood": "good"}') == TrainerExit(code=0, at=1)


def test_a_number_that_json_does_not_know_does_not_make_a_file_unreadable() -> None:
    odd = SESSION.model_copy(update={"progress": Progress(loss=float("nan"))})
    known = Session.parse(odd.dump())
    assert known is not None
    assert known.progress.loss is None


def test_a_disk_that_fails_is_not_taken_for_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        TrainerExit.read(tmp_path)
