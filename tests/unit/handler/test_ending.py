"""How a run ended is judged by who ended it, what it said, what it wrote, and only then by its exit code."""

from __future__ import annotations

import pytest

from handler.activity import Activity
from handler.ending import Verdict, judge
from handler.expected import Expected, expected, made_what_it_should
from handler.inventory import Inventory, Mark
from handler.progress import State
from handler.remarks import Remark
from handler.watch import Stop, Watched
from shared.contract.session import Ending, Outcome, Progress, Saved
from shared.errors import ErrorCode

FINAL = "lora/lora.safetensors"
STEP = "lora/lora_000000010.safetensors"
TRAINING = State(activity=Activity.TRAINING, progress=Progress(step=7, total=40))


def inventory(*paths: str, at: int = 1) -> Inventory:
    return Inventory(files={path: Mark(9, at, 1) for path in paths})


def judged(
    code: int | None,
    *written: str,
    stopped: Stop | None = None,
    state: State = TRAINING,
    tail: tuple[str, ...] = (),
    oom_kills: int | None = 0,
    before: Inventory | None = None,
    want: Expected | None = None,
) -> Verdict:
    watched = Watched(stopped=stopped, exit_code=code, state=state, tail=tail, oom_kills=oom_kills, clean=True)
    return judge(watched, before or Inventory(), inventory(*written, at=2), want or Expected("lora"), at=9.0)


def test_exit_0_with_a_new_final_checkpoint_is_finished() -> None:
    assert judged(0, FINAL, STEP) == Verdict(Ending(outcome=Outcome.FINISHED, by_itself=True, at=9.0))


def test_the_final_checkpoint_must_be_new() -> None:
    assert judged(0, FINAL, before=inventory(FINAL, at=1)).ending.outcome is Outcome.FINISHED
    old = judged(0, FINAL, before=inventory(FINAL, at=2)).ending
    assert (old.outcome, old.error_code, old.by_itself) == (Outcome.FAILED, ErrorCode.NO_CHECKPOINT, True)


def test_exit_0_without_a_final_checkpoint_has_failed() -> None:
    ending = judged(0, STEP).ending
    assert (ending.outcome, ending.error_code) == (Outcome.FAILED, ErrorCode.NO_CHECKPOINT)
    assert "lora.safetensors among 1 new files" in (ending.error or "")


def test_job_stopped_is_an_interruption_whatever_the_exit_code_and_files_say() -> None:
    ending = judged(0, FINAL, state=TRAINING.model_copy(update={"stopped": True})).ending
    assert (ending.outcome, ending.by_itself) == (Outcome.INTERRUPTED, False)


@pytest.mark.parametrize("code", [-2, 130, -15, 143])
def test_dying_of_a_signal_that_asks_for_the_end_is_an_interruption(code: int) -> None:
    ending = judged(code).ending
    assert (ending.outcome, ending.error_code) == (Outcome.INTERRUPTED, ErrorCode.INTERRUPTED)
    assert "training at step 7" in (ending.error or "")


@pytest.mark.parametrize(
    ("stop", "outcome", "code"),
    [
        (Stop.CANCELLED, Outcome.CANCELLED, ErrorCode.CANCELLED),
        (Stop.INTERRUPTED, Outcome.INTERRUPTED, ErrorCode.INTERRUPTED),
        (Stop.STALLED, Outcome.FAILED, ErrorCode.STALLED),
        (Stop.TIMED_OUT, Outcome.FAILED, ErrorCode.TIMED_OUT),
    ],
)
@pytest.mark.parametrize("exit_code", [-9, 0, None, 1])
def test_what_we_ended_ended_for_our_reason(
    stop: Stop, outcome: Outcome, code: ErrorCode, exit_code: int | None
) -> None:
    ending = judged(exit_code, stopped=stop, tail=("Error running job: boom",)).ending
    assert (ending.outcome, ending.error_code, ending.by_itself) == (outcome, code, False)
    assert "training at step 7" in (ending.error or "")


def test_a_trainer_that_finished_before_our_wish_reached_it_has_finished() -> None:
    assert judged(0, FINAL, stopped=Stop.CANCELLED).ending.outcome is Outcome.FINISHED


@pytest.mark.parametrize(
    ("kills", "outcome", "code"),
    [
        (1, Outcome.FAILED, ErrorCode.HOST_OUT_OF_MEMORY),
        (None, Outcome.FAILED, ErrorCode.HOST_OUT_OF_MEMORY),
        (0, Outcome.INTERRUPTED, ErrorCode.INTERRUPTED),
    ],
)
def test_a_kill_that_was_not_ours(kills: int | None, outcome: Outcome, code: ErrorCode) -> None:
    ending = judged(-9, STEP, oom_kills=kills).ending
    assert (ending.outcome, ending.error_code, ending.by_itself) == (outcome, code, False)
    # Where the kernel does not tell, it is only the likeliest reason.
    assert ("probably" in (ending.error or "")) == (kills is None)


def test_a_failure_is_explained_by_the_log_and_else_by_its_code() -> None:
    explained = judged(1, tail=("Error running job: CUDA out of memory.",)).ending
    assert (explained.outcome, explained.error_code) == (Outcome.FAILED, ErrorCode.GPU_OUT_OF_MEMORY)
    assert explained.by_itself
    assert judged(3).ending.error == "The trainer ended with exit code 3 while training at step 7: see its log."
    crashed = judged(-11).ending
    assert crashed.error == "The trainer ended with SIGSEGV while training at step 7: see its log."
    assert not crashed.by_itself


def test_a_loss_that_is_not_a_number_spoils_a_success_and_explains_a_failure() -> None:
    lost = TRAINING.model_copy(update={"nan_since": 5})
    for ending in (judged(0, FINAL, state=lost).ending, judged(1, state=lost, tail=("ValueError: x",)).ending):
        assert (ending.outcome, ending.error_code) == (Outcome.FAILED, ErrorCode.NAN_LOSS)
        assert "step 5" in (ending.error or "")
    full = judged(1, state=lost, tail=("Error running job: No space left on device",)).ending
    assert full.error_code is ErrorCode.DISK_FULL


def test_without_an_exit_code_the_disk_decides_and_the_answer_says_so() -> None:
    saved = TRAINING.model_copy(update={"saved": (Saved(path=FINAL, at=1.0),)})
    finished = judged(None, FINAL, state=saved)
    assert (finished.ending.outcome, finished.ending.by_itself) == (Outcome.FINISHED, False)
    assert "Nobody saw" in finished.notes[0]
    said = judged(None, FINAL, state=saved, tail=("Error running job: DataLoader worker is killed",)).ending
    assert (said.outcome, said.by_itself) == (Outcome.FAILED, False)
    torn = judged(None, FINAL)
    assert (torn.ending.outcome, torn.ending.by_itself) == (Outcome.INTERRUPTED, False)
    assert "Nobody saw" in torn.notes[0]
    failed = judged(None, STEP, tail=("Error running job: No space left on device",))
    assert failed.ending.error_code is ErrorCode.DISK_FULL


@pytest.mark.parametrize(
    ("code", "stopped", "tail"),
    [
        (0, None, ()),
        (1, None, ("Error running job: boom",)),
        (None, Stop.CANCELLED, ()),
        (-2, None, ()),
        (-9, None, ()),
    ],
)
def test_what_went_wrong_on_the_way_is_mentioned_however_it_ended(
    code: int | None, stopped: Stop | None, tail: tuple[str, ...]
) -> None:
    state = TRAINING.model_copy(update={"remarks": (Remark(kind="skipped", times=2),)})
    written = (FINAL,) if code == 0 else ()
    notes = judged(code, *written, stopped=stopped, state=state, tail=tail).notes
    assert notes == ("Batches were left out because the GPU's memory was full: 2.",)


@pytest.mark.parametrize(
    "written",
    [
        ["lora/lora.safetensors"],
        ["other/lora.safetensors"],
        ["lora/lora_high_noise.safetensors"],
        [
            "lora/lora_high_noise.safetensors",
            "lora/lora_low_noise.safetensors",
            "lora/lora_000000010_low_noise.safetensors",
        ],
        ["lora/lora_LoRA.safetensors"],
        ["lora/lora_adapter.safetensors"],
        ["lora/word.pt"],
        ["lora/lora.pth"],
        ["lora/lora/transformer/model.safetensors", "lora/lora/aitk_meta.yaml"],
        ["lora/lora_diffusers/diffusion_pytorch_model.safetensors"],
    ],
)
def test_final_checkpoints_of_every_kind(written: list[str]) -> None:
    assert made_what_it_should(written, Expected("lora", trigger="word"))


@pytest.mark.parametrize(
    "written",
    [
        [],
        ["lora/lora_000000010.safetensors", "lora/optimizer.pt", "lora/config.yaml"],
        ["lora/aitk_meta.yaml", "lora/lora_000000010/aitk_meta.yaml"],
        ["lora/lora/transformer/model.safetensors"],
        ["lora/lora_high_noise.safetensors", "lora/lora_000000010_low_noise.safetensors"],
        ["lora/lora_2.safetensors"],
    ],
)
def test_what_is_no_final_checkpoint(written: list[str]) -> None:
    assert not made_what_it_should(written, Expected("lora", trigger="word"))


def test_jobs_without_a_checkpoint_are_judged_by_what_they_write() -> None:
    want = Expected("lora", checkpoint=False)
    assert judged(0, "pictures/1.png", want=want).ending.outcome is Outcome.FINISHED
    nothing = judged(0, "logs/training.log", "lora/config.yaml", ".hidden/1.png", want=want).ending
    assert (nothing.outcome, nothing.error_code) == (Outcome.FAILED, ErrorCode.TRAINING_FAILED)


@pytest.mark.parametrize(
    ("job", "types", "checkpoint"),
    [
        ("extension", ["sd_trainer"], True),
        ("train", ["slider"], True),
        ("generate", ["to_folder"], False),
        ("extract", ["lora"], False),
        ("mod", ["rescale_lora"], False),
        ("extension", ["batch_img2img"], False),
        ("extension", ["Qwen3VLCaptioner", "super_tagger"], False),
        ("extension", ["sd_trainer", "reference_generator"], True),
        ("extension", ["concept_slider"], True),
    ],
)
def test_which_jobs_make_a_checkpoint(job: str, types: list[str], checkpoint: bool) -> None:
    config = {"job": job, "config": {"process": [{"type": kind} for kind in types]}}
    assert expected(config, "lora") == Expected("lora", checkpoint=checkpoint)


def test_the_trigger_of_an_embedding_is_expected_and_odd_configurations_do_no_harm() -> None:
    config = {"config": {"process": [{"type": "sd_trainer", "embedding": {"trigger": "word"}}, None]}}
    assert expected(config, "lora") == Expected("lora", trigger="word")
    for odd in ({}, {"config": None}, {"config": {"process": "x"}}):
        assert expected(odd, "lora") == Expected("lora")
