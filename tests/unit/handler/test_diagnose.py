"""What a failed trainer left in its log becomes a code and a sentence that says what to do."""

from __future__ import annotations

import pytest

from handler.activity import Activity
from handler.console import LineReader
from handler.diagnose import MAX_SENTENCE, diagnose, doing, last_error
from handler.progress import State
from shared.contract.session import Progress
from shared.errors import ErrorCode
from tests.unit.handler.toolkits import LOGS

TRACEBACK = "Traceback (most recent call last):"


def real_lines(name: str) -> list[str]:
    return [line.text for line in LineReader().feed((LOGS / f"{name}.out").read_bytes())]


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
            ErrorCode.GPU_OUT_OF_MEMORY,
            "model.low_vram",
        ),
        ("RuntimeError: OOM during training step 3 times in a row", ErrorCode.GPU_OUT_OF_MEMORY, "more memory"),
        ("OSError: [Errno 28] No space left on device", ErrorCode.DISK_FULL, "disk"),
        ("RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed.", ErrorCode.HOST_OUT_OF_MEMORY, "RAM"),
        (
            "RuntimeError: DataLoader worker (pid 7) is killed by signal: Bus error.",
            ErrorCode.HOST_OUT_OF_MEMORY,
            "shm",
        ),
        (
            "Cannot access gated repo for url https://huggingface.co/black-forest-labs/FLUX.1-dev/resolve/main/x.json.",
            ErrorCode.MODEL_ACCESS,
            "model black-forest-labs/FLUX.1-dev:",
        ),
        (
            "Access to model black-forest-labs/FLUX.1-dev is restricted. You must have access",
            ErrorCode.MODEL_ACCESS,
            "model black-forest-labs/FLUX.1-dev is given out only",
        ),
        (
            "OSError: a/b is not a local folder and is not a valid model identifier",
            ErrorCode.MODEL_ACCESS,
            "no model a/b,",
        ),
        ("requests.exceptions.HTTPError: 401 Client Error: Unauthorized", ErrorCode.MODEL_ACCESS, "HF_TOKEN"),
        ("AssertionError: no images found in /data/cats", ErrorCode.DATASET_EMPTY, "/data/cats"),
        ("SafetensorError: MetadataIncompleteBuffer", ErrorCode.CHECKPOINT_BROKEN, "A file of the model is broken"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/mask'",
            ErrorCode.TRAINING_FAILED,
            "did not find /data/mask",
        ),
        ("ModuleNotFoundError: No module named 'torchao'", ErrorCode.TRAINING_FAILED, "AI_TOOLKIT_PYTHON"),
        ("RuntimeError: Found no NVIDIA driver on your system", ErrorCode.GPU_UNUSABLE, "another worker"),
        ("ConnectionError: Max retries exceeded with url", ErrorCode.DOWNLOAD_FAILED, "run the job again"),
        ("ValueError: steps must be positive", ErrorCode.TRAINING_FAILED, "ValueError: steps must be positive"),
    ],
)
def test_the_cause_is_named_and_what_to_do(line: str, code: ErrorCode, said: str) -> None:
    found = diagnose([TRACEBACK, '  File "run.py", line 1, in main', line], State(activity=Activity.LOADING))
    assert found is not None
    assert found.code is code
    assert said in found.sentence
    assert found.sentence.count("{") == 0


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("disk-full-at-checkpoint", ErrorCode.DISK_FULL, "saving a checkpoint"),
        (
            "broken-checkpoint-at-resume",
            ErrorCode.CHECKPOINT_BROKEN,
            "tiny_lora/tiny_lora.safetensors is broken",
        ),
    ],
)
def test_real_failures(name: str, code: ErrorCode, said: str) -> None:
    found = diagnose(real_lines(name), State(activity=Activity.SAVING))
    assert found is not None
    assert (found.code, said in found.sentence) == (code, True)


@pytest.mark.parametrize("name", ["success", "sigterm", "sigkill", "sigint", "resume-with-torn-optimizer"])
def test_a_log_without_an_error_says_nothing(name: str) -> None:
    assert diagnose(real_lines(name), State()) is None


def test_trouble_that_was_survived_is_not_the_cause() -> None:
    lines = ["# OOM during training step, skipping batch 1/3 #", *[f"line {number}" for number in range(40)]]
    assert diagnose([*lines, "Error running job: boom", TRACEBACK, "ValueError: boom"], State()) == diagnose(
        ["Error running job: boom", TRACEBACK, "ValueError: boom"], State()
    )


def test_what_went_on_when_the_gpu_was_full_says_what_to_make_smaller() -> None:
    sentences = set()
    for activity in Activity:
        found = diagnose(["Error running job: CUDA out of memory."], State(activity=activity))
        assert found is not None
        assert f"while the trainer was {activity}" in found.sentence
        sentences.add(found.sentence.partition(": ")[2])
    assert len(sentences) == 5


def test_the_source_that_a_traceback_shows_is_no_evidence() -> None:
    frames = ["    raise ValueError(f'Unknown optimizer type {name}')", "    except torch.cuda.OutOfMemoryError:"]
    found = diagnose([TRACEBACK, *frames, "RuntimeError: something else"], State())
    assert found is not None
    assert (found.code, "something else" in found.sentence) == (ErrorCode.TRAINING_FAILED, True)


def test_an_error_without_words_is_one_all_the_same() -> None:
    assert last_error(["Error running job:", TRACEBACK, "AssertionError"]) == "AssertionError"
    assert last_error(["Error running job:"]) is None


def test_the_last_exception_of_a_chain_is_named_without_its_frames() -> None:
    lines = [
        TRACEBACK,
        "KeyError: 'a'",
        "During handling of the above exception, another exception occurred:",
        TRACEBACK,
        "    raise ValueError: no",
        "toolkit.errors.ConfigError: bad key",
    ]
    assert last_error(lines) == "toolkit.errors.ConfigError: bad key"
    assert last_error(["Error running job: bad key"]) == "bad key"
    assert last_error(["all is well"]) is None


def test_the_cause_may_stand_at_the_beginning_of_a_chain() -> None:
    cause = "requests.HTTPError: 401 Client Error for url: https://huggingface.co/a/b/resolve/main/x.json"
    found = diagnose([TRACEBACK, cause, "", TRACEBACK, "OSError: cannot load it"], State())
    assert found is not None
    assert "model a/b:" in found.sentence


def test_a_very_long_error_is_cut() -> None:
    found = diagnose([TRACEBACK, "ValueError: " + "x" * 9999], State())
    assert found is not None
    assert len(found.sentence) == MAX_SENTENCE


def test_what_the_trainer_was_at_names_the_step_once_there_is_one() -> None:
    assert doing(State()) == "starting"
    assert doing(State(activity=Activity.TRAINING, progress=Progress(step=7, total=40))) == "training at step 7"
