"""The ways in which a run ends: by itself, by a signal, and by what a test makes go wrong."""

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.unit.local.trainer.bench import Bench, Ended, Live

Start = Callable[[object], Live]
RESULT = ["=" * 40, "Result:", " - 0 completed jobs", " - 1 failure", "=" * 40]


def misbehave(bench: Bench, **what: Any) -> Ended:
    return bench.run(bench.config(train={"steps": 12, "disable_sampling": True}, ferry={"misbehave": what}))


def hanging(bench: Bench, live: Start, workers: int = 0, **ferry: Any) -> Live:
    """A trainer that hangs before step 5, after it saved step 4."""
    settings = bench.config(train={"disable_sampling": True}, ferry={"misbehave": {"kind": "hang", "step": 5}, **ferry})
    settings["config"]["process"][0]["datasets"][0]["num_workers"] = workers
    trainer = live(settings)
    # The bar is drawn at most ten times a second: what was saved is the surer sign, and after it nothing is slow.
    trainer.wait_for(lambda: "Saved optimizer" in trainer.text)
    main = psutil.Process(trainer.process.pid)
    trainer.wait_for(lambda: main.status() == psutil.STATUS_SLEEPING)
    return trainer


def test_sigint_stops_the_job_with_exit_code_0_and_saves_nothing(bench: Bench, live: Start) -> None:
    trainer = hanging(bench, live)
    trainer.process.send_signal(signal.SIGINT)
    assert trainer.process.wait(30) == 0
    assert f"\n{'=' * 40}\nJob stopped\n{'=' * 40}\n" in trainer.text
    assert [path.name for path in bench.output.glob("*.safetensors")] == ["tiny_lora_000000004.safetensors"]


def test_a_second_sigint_while_it_stops_kills_it(bench: Bench, live: Start) -> None:
    trainer = hanging(bench, live, stop_seconds=30)
    trainer.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        trainer.process.wait(0.2)
    trainer.process.send_signal(signal.SIGINT)
    assert trainer.process.wait(30) == -signal.SIGINT


def test_sigint_can_be_ignored_and_sigterm_ends_it_at_once(bench: Bench, live: Start) -> None:
    trainer = hanging(bench, live, ignore_sigint=True)
    trainer.process.send_signal(signal.SIGINT)
    trainer.process.send_signal(signal.SIGTERM)
    assert trainer.process.wait(30) == -signal.SIGTERM
    assert "Job stopped" not in trainer.text


def test_its_two_data_loader_processes_outlive_a_sigkill_for_some_seconds(bench: Bench, live: Start) -> None:
    trainer = hanging(bench, live, workers=2)
    children = psutil.Process(trainer.process.pid).children()
    assert len(children) == 2
    trainer.process.kill()
    trainer.process.wait()
    assert all(child.is_running() for child in children)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_data_loader_processes_end_with_the_run(bench: Bench) -> None:
    settings = bench.config(train={"steps": 8, "disable_sampling": True})
    settings["config"]["process"][0]["datasets"][0]["num_workers"] = 2
    # The end of the output is only seen when nobody holds it open any more.
    ended = bench.run(settings)
    assert ended.code == 0
    assert f"Saved checkpoint to {bench.output}/tiny_lora.safetensors" in ended.lines


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_data_loader_process_fails_the_run(bench: Bench, live: Start, victim: int) -> None:
    settings = bench.config(train={"steps": 5000, "disable_sampling": True}, ferry={"step_seconds": 0.02})
    settings["config"]["process"][0]["datasets"][0]["num_workers"] = 2
    trainer = live(settings)
    trainer.wait_for(lambda: "Saved optimizer" in trainer.text)
    child = psutil.Process(trainer.process.pid).children()[victim]
    # In the middle of what it may be saying.
    child.suspend()
    child.kill()
    assert trainer.process.wait(30) == 1
    assert f"DataLoader worker (pid {child.pid}) is killed by signal: Killed. " in trainer.text


def test_an_error_is_printed_with_its_result_and_its_traceback(bench: Bench) -> None:
    ended = misbehave(bench, kind="error", step=3, message="401 Client Error: Cannot access gated repo")
    assert ended.code == 1
    assert ended.lines[-7:] == ["Error running job: 401 Client Error: Cannot access gated repo", "", *RESULT]
    assert "Traceback (most recent call last)" in ended.stderr
    assert "\nRuntimeError: 401 Client Error: Cannot access gated repo\n" in ended.stderr


def test_an_error_while_loading_comes_before_the_data_set(bench: Bench) -> None:
    ended = misbehave(bench, kind="error", message="CUDA out of memory. Tried to allocate 20.00 GiB")
    assert ended.code == 1
    assert "Error running job: CUDA out of memory. Tried to allocate 20.00 GiB" in ended.lines
    assert f"Dataset: {bench.data}" not in ended.lines


def test_telling_everything_goes_to_both_streams_and_may_end_in_an_error(bench: Bench) -> None:
    assert misbehave(bench, kind="tell", step=2, code=1).code == 1
    ended = misbehave(bench, kind="tell", step=3)
    assert (ended.code, f"PATH={os.environ['PATH']}" in ended.lines) == (0, True)
    assert os.environ["PATH"] in ended.stderr


def test_leaving_early_gives_the_asked_code_and_no_last_checkpoint(bench: Bench) -> None:
    assert misbehave(bench, kind="exit", step=6).code == 0
    assert misbehave(bench, kind="exit", step=6, code=3).code == 3
    assert not (bench.output / "tiny_lora.safetensors").exists()


def test_dying_by_a_signal(bench: Bench) -> None:
    assert misbehave(bench, kind="signal", step=6).code == -signal.SIGKILL
    assert misbehave(bench, kind="signal", step=7, signal=11).code == -signal.SIGSEGV


def test_what_goes_wrong_once_does_not_go_wrong_in_the_run_that_resumes(bench: Bench) -> None:
    assert misbehave(bench, kind="signal", step=6, once=True).code == -signal.SIGKILL
    assert misbehave(bench, kind="signal", step=6, once=True).code == 0


def test_a_full_gpu_skips_three_batches_and_gives_up(bench: Bench) -> None:
    ended = misbehave(bench, kind="oom", step=5)
    assert ended.code == 1
    assert [line for line in ended.lines if "OOM" in line] == [
        *[f"# OOM during training step, skipping batch {number}/3 #" for number in (1, 2, 3)],
        "Error running job: OOM during training step 3 times in a row, aborting training",
    ]


def test_a_loss_that_is_no_number_is_shown_and_the_run_goes_on(bench: Bench) -> None:
    ended = misbehave(bench, kind="nan", step=5)
    assert ended.code == 0
    assert "loss: nan" in ended.stderr
