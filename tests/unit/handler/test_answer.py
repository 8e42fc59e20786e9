"""The answer: exactly the promised fields on success, one sentence and a code otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from handler.answer import Finished, answer, newest, refusal
from handler.drain import Drained
from shared.contract.bucket import Entry, Link, Manifest
from shared.contract.session import Outcome, Progress
from shared.contract.upload import Count, DrainReceipt, Failure, Upload
from shared.errors import ErrorCode, FerryError
from tests.unit.handler.made import ending, folder, session

if TYPE_CHECKING:
    from pathlib import Path

    from shared.contract.session import Ending

KEYS = ("run/cats/checkpoints/cats.safetensors",)
ALL_THERE = DrainReceipt(token="t", complete=True, manifest_key="run/cats/manifest.json", checkpoints=KEYS)


def answered(root: Path, drained: Drained, how: Ending) -> dict[str, Any]:
    made = session(folder(root), progress=Progress(step=10, total=10, loss=0.25))
    run = Finished(made, how, drained, "/out/cats", tuple(f"line {n}" for n in range(100)), 12.34, ())
    result = answer(run)
    json.dumps(result)
    return result


def test_success_has_the_six_fields_and_the_numbers(tmp_path: Path) -> None:
    upload = Upload(worker="w", uploaded=Count(files=3, bytes=30))
    result = answered(tmp_path, Drained(ALL_THERE, upload), ending())
    assert {name: result[name] for name in list(result)[:6]} == {
        "success": True,
        "message": "Training completed successfully",
        "session_id": "training_session_1",
        "model_name": "cats",
        "upload_folder": "run/cats",
        "output_path": "/out/cats",
    }
    assert (result["steps"], result["final_loss"], result["duration_seconds"]) == (10, 0.25, 12.3)
    assert (result["files_uploaded"], result["bytes_uploaded"]) == (3, 30)
    assert (result["checkpoints"], result["manifest"]) == (list(KEYS), "run/cats/manifest.json")
    assert "error" not in result


def test_a_failed_training_tells_why_and_shows_the_end_of_its_log(tmp_path: Path) -> None:
    how = ending(Outcome.FAILED, ErrorCode.GPU_OUT_OF_MEMORY, "The GPU's memory was full.")
    result = answered(tmp_path, Drained(ALL_THERE, Upload(worker="w")), how)
    assert (result["success"], result["error_code"]) == (False, "gpu_out_of_memory")
    assert result["error"] == "The GPU's memory was full."
    assert result["log_tail"] == [f"line {n}" for n in range(60, 100)]


def test_links_are_there_where_there_are_any(tmp_path: Path) -> None:
    link = Link(key="run/cats/samples/1.png", url="https://x/object/sign/b/k?token=t", expires_at=5.0)
    made = session(folder(tmp_path))
    finished = Finished(made, ending(), Drained(ALL_THERE, Upload(worker="w")), "/out/cats", (), 1.0, ())
    assert "links" not in answer(finished)
    assert answer(replace(finished, links=(link,)))["links"] == [link.model_dump()]


def entry(path: str, mtime: float) -> Entry:
    return Entry(key=f"run/cats/{path}", size=1, sha256="0", path=path, mtime=mtime)


def test_of_a_stored_run_the_last_checkpoint_and_samples_are_the_newest() -> None:
    names = ("checkpoints/a.safetensors", "checkpoints/b.safetensors", "checkpoints/optimizer.pt")
    files = [entry(name, number) for number, name in enumerate(names)]
    files += [entry(f"samples/{number}.png", number) for number in range(6)]
    manifest = Manifest(
        outcome=Outcome.FINISHED, complete=True, session_id="s", model_name="cats", created_at=0.0, files=tuple(files)
    )
    samples = [f"run/cats/samples/{number}.png" for number in range(2, 6)]
    assert list(newest(manifest, "run/cats")) == ["run/cats/checkpoints/b.safetensors", *samples]


def test_a_finished_training_with_a_file_missing_is_no_success(tmp_path: Path) -> None:
    missing = (Failure(path="a.bin", reason="Storage takes no file of that size.", permanent=True),)
    drained = Drained(DrainReceipt(token="t", complete=False, missing=missing), Upload(worker="w"))
    result = answered(tmp_path, drained, ending())
    assert result["error_code"] == "upload_incomplete"
    assert "1 file could not be uploaded (a.bin: Storage takes no file of that size)." in result["error"]
    assert result["missing"] == [{"path": "a.bin", "reason": "Storage takes no file of that size."}]


def test_a_drain_that_was_given_up_says_how_much_is_left(tmp_path: Path) -> None:
    upload = Upload(worker="w", pending=Count(files=4, bytes=9))
    result = answered(tmp_path, Drained(None, upload), ending())
    assert result["error_code"] == "upload_incomplete"
    assert "4 files had not been uploaded" in result["error"]


def test_when_only_the_manifest_is_left_that_is_said(tmp_path: Path) -> None:
    result = answered(tmp_path, Drained(None, Upload(worker="w")), ending())
    assert "The manifest had not been written" in result["error"]


def test_an_answer_stays_small_however_much_went_wrong(tmp_path: Path) -> None:
    long = "x" * 5000
    missing = tuple(Failure(path=f"{number}/{long}", reason=long, permanent=True) for number in range(5000))
    receipt = DrainReceipt(
        token="t", complete=False, missing=missing, checkpoints=tuple(f"{n}.bin" for n in range(5000))
    )
    upload = Upload(worker="w", warnings=tuple(f"{number} {long}" for number in range(5000)))
    how = ending(Outcome.FAILED, ErrorCode.TRAINING_FAILED, long)
    made = session(folder(tmp_path))
    result = answer(Finished(made, how, Drained(receipt, upload), "/out", (long,) * 500, 1.0, ()))
    assert len(json.dumps(result)) < 1 << 20
    assert result["checkpoints"][-1] == "4999.bin"
    assert result["warnings"][-1] == "… and 4800 more"


def test_an_uploader_that_fell_silent_is_named(tmp_path: Path) -> None:
    result = answered(tmp_path, Drained(None, Upload(worker="w"), uploader_silent=True), ending())
    assert result["error_code"] == "uploader_down"


def test_a_job_that_was_not_started_has_an_error_and_a_code() -> None:
    error = FerryError(ErrorCode.INVALID_CONFIG, "config: line 3: …")
    assert refusal(error) == {"success": False, "error": "config: line 3: …", "error_code": "invalid_config"}
    assert refusal(error, "s")["session_id"] == "s"
