"""Logs as ai-toolkit and its libraries word them, from the bytes that a trainer leaves to the sentence for people.

Beside the logs of real runs: a GPU that is full or missing, models that are not given out, and downloads that break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from handler.ending import Verdict, judge
from handler.expected import Expected
from handler.inventory import Inventory, Mark
from handler.watch import Stop, Watched
from shared.contract.session import Outcome
from shared.errors import ErrorCode
from tests.unit.handler.toolkits import LOGS, NAME, make_follower, make_session

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN = LOGS / "written"
STRANGE = "config.process[0].model.name_or_pth (did you mean config.process[0].model.name_or_path?)"
FULL = "The GPU's memory was full while the trainer was "
FLUX = "black-forest-labs/FLUX.1-dev"


def judged(
    root: Path, name: str, code: int | None = 1, stopped: Stop | None = None, strange: str | None = None
) -> Verdict:
    session = make_session(root)
    session.trainer_output.write_bytes((WRITTEN / f"{name}.out").read_bytes())
    follower = make_follower(session, fresh=False)
    follower.finish()
    watched = Watched(stopped, code, follower.state, follower.tail, oom_kills=0, clean=True)
    made = Inventory(files={f"{NAME}/{NAME}.safetensors": Mark(9, 2, 1)}) if code == 0 else Inventory()
    return judge(watched, Inventory(), made, Expected(NAME), 9.0, strange)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("gpu-full-while-quantizing", ErrorCode.GPU_OUT_OF_MEMORY, f"{FULL}quantizing the model: turn on model.quant"),
        ("gpu-full-while-caching-latents", ErrorCode.GPU_OUT_OF_MEMORY, f"{FULL}caching latents: lower the datasets'"),
        ("gpu-full-while-encoding-captions", ErrorCode.GPU_OUT_OF_MEMORY, f"{FULL}encoding captions: turn on model.qu"),
        ("gpu-full-at-the-baseline", ErrorCode.GPU_OUT_OF_MEMORY, f"{FULL}making the baseline samples: lower sample."),
        ("gpu-full-in-the-steps", ErrorCode.GPU_OUT_OF_MEMORY, f"{FULL}training at step 15: lower train.batch_size"),
        ("gpu-full-at-the-samples", ErrorCode.GPU_OUT_OF_MEMORY, f"{FULL}making samples at step 251: lower sample.wi"),
        ("loader-killed-for-memory", ErrorCode.HOST_OUT_OF_MEMORY, "memory was full while the trainer was training at"),
        ("shared-memory-full", ErrorCode.HOST_OUT_OF_MEMORY, "/dev/shm"),
        ("loader-crashed", ErrorCode.DATA_LOADER_CRASHED, "exited unexpectedly while it was training at step 33"),
        ("gated-without-a-token", ErrorCode.MODEL_ACCESS, f"The model {FLUX} is given out only to accounts that have"),
        ("gated-without-the-licence", ErrorCode.MODEL_ACCESS, f"accept its licence at https://huggingface.co/{FLUX} "),
        ("gated-token-unknown", ErrorCode.MODEL_ACCESS, "does not know the token in HF_TOKEN"),
        ("model-unknown", ErrorCode.MODEL_ACCESS, "has no model black-forest-labs/FLUX.1-dve, or"),
        ("model-file-unknown", ErrorCode.MODEL_ACCESS, "has no file qwen_image_uint3.safetensors: correct"),
        ("no-images", ErrorCode.DATASET_EMPTY, "found no images in /volume/dataset/clips: check"),
        ("control-images-missing", ErrorCode.INVALID_CONFIG, "one with the same name in control_path"),
        (
            "driver-too-old",
            ErrorCode.GPU_UNUSABLE,
            "driver is too old for the trainer's PyTorch: restrict",
        ),
        (
            "driver-too-old-for-something-else",
            ErrorCode.GPU_UNUSABLE,
            "does not see the GPU (The NVIDIA driver on",
        ),
        ("gpu-unknown", ErrorCode.GPU_UNUSABLE, "does not know the worker's kind of GPU"),
        (
            "download-broken",
            ErrorCode.DOWNLOAD_FAILED,
            "while it was downloading a model (model-00001-of-00009.safetensors, 45%)",
        ),
        ("hub-out-of-reach", ErrorCode.DOWNLOAD_FAILED, "failed while it was loading the model: run the job again"),
        ("disk-full-while-downloading", ErrorCode.DISK_FULL, "or put HF_HOME on a larger volume"),
        ("model-file-broken", ErrorCode.CHECKPOINT_BROKEN, "A file of the model is broken"),
        ("optimizer-unknown", ErrorCode.INVALID_CONFIG, "no optimizer adamw8bits (did you mean adamw8bit?): correct"),
        ("process-unknown", ErrorCode.INVALID_CONFIG, "type sd_trianer (did you mean sd_trainer?): correct"),
        ("key-missing", ErrorCode.INVALID_CONFIG, "The configuration lacks config.process[0].training_folder: add it"),
        ("video-broken", ErrorCode.TRAINING_FAILED, "could not read /volume/dataset/2.mp4 of the dataset"),
    ],
)
def test_a_failure_is_explained_in_one_sentence(tmp_path: Path, name: str, code: ErrorCode, said: str) -> None:
    ending = judged(tmp_path, name).ending
    assert (ending.outcome, ending.error_code, ending.by_itself) == (Outcome.FAILED, code, True)
    assert said in (ending.error or "")
    assert not set("{}\n") & set(ending.error or "")


def test_a_key_that_was_ignored_is_named_where_it_may_be_the_cause(tmp_path: Path) -> None:
    ending = judged(tmp_path, "model-not-named", strange=STRANGE).ending
    assert ending.error_code is ErrorCode.INVALID_CONFIG
    assert ending.error == (
        "The configuration lacks config.process[0].model.name_or_path: add it. ai-toolkit ignores "
        "config.process[0].model.name_or_pth (did you mean config.process[0].model.name_or_path?)."
    )


def test_and_not_where_it_is_not(tmp_path: Path) -> None:
    assert "ignores" not in (judged(tmp_path, "no-images", strange=STRANGE).ending.error or "")


def test_a_download_that_stands_still_is_no_ordinary_stall(tmp_path: Path) -> None:
    ending = judged(tmp_path, "download-stands-still", None, Stop.STALLED).ending
    assert ending.error_code is ErrorCode.STALLED
    assert "downloading a model (model-00001-of-00009.safetensors, 45%)" in (ending.error or "")
    assert "HF_HUB_DISABLE_XET=1" in (ending.error or "")


def test_what_was_survived_is_told_and_is_no_failure(tmp_path: Path) -> None:
    verdict = judged(tmp_path, "survived", code=0)
    assert verdict.ending.outcome is Outcome.FINISHED
    assert verdict.notes == (
        "Captions or prompts are longer than the text encoder reads, and it does not see their ends.",
        "The optimizer's state could not be read, so the training went on with a fresh one.",
        "Files of the dataset could not be read and were left out: 1, such as /volume/dataset/9.jpg.",
        "Batches were left out because the GPU's memory was full: 2.",
        "Pictures could not be read, and others were trained on in their place: 1, such as /volume/dataset/3.jpg.",
        "Steps in which the loss was not a number taught nothing: 1.",
        "Checkpoints were saved without the optimizer's state, and a resume begins with a fresh one there: 1.",
    )


def test_what_was_survived_is_told_of_a_failure_and_a_cancellation_too(tmp_path: Path) -> None:
    assert "left out because the GPU's memory was full: 3." in judged(tmp_path, "gpu-full-in-the-steps").notes[0]


def test_what_was_survived_does_not_explain_a_crash_without_words(tmp_path: Path) -> None:
    ending = judged(tmp_path, "survived", code=-11).ending
    assert ending.error == "The trainer ended with SIGSEGV while training at step 270: see its log."
