"""What ai-toolkit prints becomes phase, numbers, saved files and signs of trouble."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import pytest

from handler.activity import Activity
from handler.console import Line, LineReader
from handler.progress import _MOST_SAVED, State, advance
from handler.saves import Run, expand, step_in_name
from handler.training import _exists
from shared.contract.session import Phase, Progress, Saved
from tests.unit.handler.toolkits import LOGS

OUTPUT = Path("/volume/session/output")
FOLDER = OUTPUT / "lora"
IMAGES = "Generating Images:  50%|#####     | 1/2 [00:01<00:01,  1.15s/it]"
FILE = "model-00001-of-00009.safetensors"


def make_run(*existing: str, name: str = "lora", trigger: str | None = None) -> Run:
    return Run(name=name, output=OUTPUT, exists=lambda path: path in existing, trigger=trigger)


def after(*texts: str, run: Run | None = None, state: State | None = None) -> State:
    state = state or State()
    for text in texts:
        state = advance(state, Line(text), run or make_run(), 5.0)
    return state


def bar(step: int, loss: str = "5.000e-01", total: int = 40) -> str:
    return f"lora:  25%|##| {step}/{total} [00:10<00:30,  2.00s/it, lr: 1.0e-04 loss: {loss}]"


def after_log(name: str) -> State:
    data = (LOGS / f"{name}.out").read_bytes()
    folder = re.search(rb'"training_folder": "(.+?)"', data)
    assert folder is not None
    run = Run(name="tiny_lora", output=Path(folder.group(1).decode()), exists=lambda _: False)
    reader = LineReader()
    state = State()
    for line in reader.feed(data) + reader.finish():
        state = advance(state, line, run, 5.0)
    return state


def test_the_training_bar_gives_all_numbers() -> None:
    assert after(bar(10)) == State(
        activity=Activity.TRAINING,
        progress=Progress(step=10, total=40, loss=0.5, learning_rate=0.0001, seconds_per_step=2.0, eta_seconds=30.0),
    )


def test_other_bars_give_a_phase_at_most() -> None:
    assert after("Caching latents:  10%|#| 1/10 [00:01<00:01,  1.15s/it]").phase is Phase.LOADING
    assert after(bar(10), IMAGES) == after(bar(10)).model_copy(update={"activity": Activity.SAMPLING})
    assert after(bar(10), "Caching latents:  10%|#| 1/10 [00:01<00:01]") == after(bar(10))


def test_a_bar_that_is_drawn_again_during_a_save_does_not_end_it() -> None:
    saving = after(bar(10), "Saving at step 10", bar(10))
    assert saving.phase is Phase.SAVING
    assert after(bar(11), state=saving).phase is Phase.TRAINING


def test_a_real_success() -> None:
    state = after_log("success")
    assert state.progress == Progress(
        step=40, total=40, loss=1.193, learning_rate=0.0001, seconds_per_step=1 / 5.68, eta_seconds=0
    )
    assert [(saved.path, saved.step) for saved in state.saved] == [
        ("tiny_lora/tiny_lora_000000010.safetensors", 10),
        ("tiny_lora/tiny_lora_000000020.safetensors", 20),
        ("tiny_lora/tiny_lora_000000030.safetensors", 30),
        ("tiny_lora/tiny_lora.safetensors", 40),
        ("tiny_lora/optimizer.pt", 40),
    ]
    assert not state.stopped


def test_a_real_resume_and_a_run_that_had_finished_before() -> None:
    assert after_log("resume").start_step == 10
    again = after_log("run-again-when-finished")
    assert (again.start_step, again.progress.step) == (12, 12)
    assert [saved.path for saved in again.saved] == ["tiny_lora/tiny_lora.safetensors", "tiny_lora/optimizer.pt"]


@pytest.mark.parametrize(
    ("name", "stopped", "saves"),
    [("sigint", True, [10, 20, 20]), ("sigterm", False, [10, 10]), ("sigkill", False, [10, 20, 30, 30])],
)
def test_real_interruptions(name: str, stopped: bool, saves: list[int]) -> None:
    state = after_log(name)
    assert state.stopped is stopped
    assert [saved.step for saved in state.saved] == saves


def test_an_optimizer_that_could_not_be_saved_is_not_in_the_list_and_ends_its_save() -> None:
    assert [saved.path for saved in after_log("disk-full-at-optimizer").saved] == [
        "tiny_lora/tiny_lora_000000004.safetensors"
    ]
    assert after("Saving at step 4", "Could not save optimizer").saving_step is None


def test_one_line_means_both_halves_of_wan() -> None:
    files = ("lora/lora_000000010_high_noise.safetensors", "lora/lora_000000010_low_noise.safetensors")
    state = after("Saving at step 10", f"Saved checkpoint to {FOLDER}/lora_000000010.safetensors", run=make_run(*files))
    assert state.saved == tuple(Saved(path=path, step=10, at=5.0) for path in files)


def test_when_a_saved_file_or_folder_was_written_is_told_by_its_volume(tmp_path: Path) -> None:
    run = Run(name="lora", output=tmp_path, exists=lambda _: True)
    newest = tmp_path / "lora" / "lora_000000010" / "transformer" / "model.safetensors"
    newest.parent.mkdir(parents=True)
    optimizer = tmp_path / "lora" / "optimizer.pt"
    for path, mtime in ((newest.parent.parent / "index.json", 3.0), (newest, 7.0), (optimizer, 9.0)):
        path.touch()
        os.utime(path, (mtime, mtime))
    folder = f"Saved checkpoint to {tmp_path}/lora/lora_000000010"
    state = after("Saving at step 10", folder, f"Saved optimizer to {optimizer}", run=run)
    told = {saved.path: saved.mtime for saved in state.saved}
    assert (told["lora/lora_000000010"], told["lora/optimizer.pt"]) == (7.0, 9.0)
    assert told["lora/lora_000000010.safetensors"] is None


def test_one_line_means_every_variant_of_the_same_save_and_no_other() -> None:
    files = ("lora/lora_LoRA.safetensors", "lora/lora_ip.safetensors", "lora/word.pt")
    run = make_run(*files, "lora/lora_LoRA_000000010.safetensors", trigger="word")
    assert expand("lora/lora_ip.safetensors", None, run) == (files[1], files[0], files[2])


def test_learnable_snr_hides_the_checkpoint_behind_a_json_file() -> None:
    run = make_run("lora/learnable_snr.json", "lora/lora_000000010.safetensors", "lora/lora.safetensors")
    line = f"Saved checkpoint to {FOLDER}/learnable_snr.json"
    middle = after(bar(10), "Saving at step 10", line, f"Saved optimizer to {FOLDER}/optimizer.pt", run=run)
    assert [saved.path for saved in middle.saved][1] == "lora/lora_000000010.safetensors"
    last = after(bar(40), line, run=run, state=middle)
    assert last.saved[-1] == Saved(path="lora/lora.safetensors", step=40, at=5.0)


def test_a_checkpoint_that_is_gone_again_keeps_its_logged_name() -> None:
    state = after(f"Saved checkpoint to {FOLDER}/lora_000000010.safetensors")
    assert [saved.path for saved in state.saved] == ["lora/lora_000000010.safetensors"]


def test_a_file_saved_again_moves_to_the_end() -> None:
    lines = (f"Saved optimizer to {FOLDER}/optimizer.pt", f"Saved checkpoint to {FOLDER}/lora.safetensors")
    assert [saved.path for saved in after(*lines, lines[0]).saved] == ["lora/lora.safetensors", "lora/optimizer.pt"]


def test_what_lies_outside_the_output_is_not_listed() -> None:
    assert after("Saved checkpoint to /etc/passwd", f"Saved checkpoint to {OUTPUT}/../x.safetensors").saved == ()
    assert after(f"Saved checkpoint to {OUTPUT}2/x.safetensors").saved == ()


def test_an_output_behind_a_link_is_found(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    run = Run(name="lora", output=tmp_path / "link", exists=lambda _: False)
    assert [saved.path for saved in after(f"Saved optimizer to {real}/optimizer.pt", run=run).saved] == ["optimizer.pt"]


def test_signs_of_trouble() -> None:
    skipped = after(bar(10), "# OOM during training step, skipping batch 1/3 #")
    assert [(remark.kind, remark.times) for remark in skipped.remarks] == [("skipped", 1)]
    assert after('    "prompt": "Job stopped"').stopped is False
    assert after("Job stopped").stopped is True


@pytest.mark.parametrize(
    ("lines", "activity"),
    [
        ([], Activity.STARTING),
        (["Running 1 job"], Activity.LOADING),
        (["Loading transformer", "Quantizing Transformer", " - quantizing 60 transformer blocks"], Activity.QUANTIZING),
        (["Quantizing Transformer", " 40%|####      | 24/60 [00:26<00:39,  1.09s/it]"], Activity.QUANTIZING),
        (["Quantizing Transformer", "Moving transformer to CPU"], Activity.LOADING),
        (["Dataset: /d", "100%|##########| 6/6 [00:00<00:00, 19722.43it/s]"], Activity.READING),
        (["Dataset: /d", "Caching latents for /d", " - Keeping latents in memory"], Activity.LATENTS),
        (["Caching latents:  10%|#| 1/10 [00:01<00:01,  1.15s/it]"], Activity.LATENTS),
        (["Caching text_embeddings for /d"], Activity.CAPTIONS),
        (["Caching text embeddings to disk:  10%|#| 1/10 [00:01<00:01,  1.15s/it]"], Activity.CAPTIONS),
        (["Generating baseline samples before training", IMAGES], Activity.BASELINE),
        ([bar(10), IMAGES], Activity.SAMPLING),
        ([bar(10), IMAGES, bar(11)], Activity.TRAINING),
        ([bar(10), "Loading assistant lora", "Quantizing"], Activity.TRAINING),
        ([bar(10), "Saving at step 10"], Activity.SAVING),
        ([bar(40), f"Saved checkpoint to {FOLDER}/lora.safetensors"], Activity.SAVING),
    ],
)
def test_what_the_trainer_is_at(lines: list[str], activity: Activity) -> None:
    assert after(*lines).activity is activity


@pytest.mark.parametrize(
    ("drawn", "download"),
    [
        (f"{FILE}:  45%|####5     | 2.24G/4.98G [00:20<00:25, 108MB/s]", f"{FILE}, 45%"),
        (f"{FILE}:   0%|          | 0.00/4.98G [00:00<?, ?B/s]", f"{FILE}, 0%"),
        ("Fetching 9 files:  33%|###3      | 3/9 [00:20<00:25,  6.00s/it]", "Fetching 9 files, 33%"),
        ("Downloading (incomplete total...): 1.2M [00:01, 1.1MB/s]", "Downloading (incomplete total...): 1.2M"),
        ("Reconstructing (incomplete total...):   0%|     |  0.00B / 51.6GB", "Reconstructing (incomplete total...):"),
    ],
)
def test_a_download_is_known_by_its_bar(drawn: str, download: str) -> None:
    state = advance(after("Loading transformer"), Line(drawn, redraw=True), make_run(), 5.0)
    assert state.activity is Activity.DOWNLOADING
    assert state.download.startswith(download)
    assert advance(after(bar(10)), Line(drawn, redraw=True), make_run(), 5.0).activity is Activity.TRAINING


def test_a_download_is_over_when_its_bar_is_full_or_another_is_drawn() -> None:
    full = f"{FILE}: 100%|##########| 4.98G/4.98G [00:45<00:00, 108MB/s]"
    half = full.replace("100%", " 50%")
    assert after("Loading transformer", half).activity is Activity.DOWNLOADING
    assert after("Loading transformer", half, full).activity is Activity.LOADING
    shards = "Loading checkpoint shards:  11%|#1        | 1/9 [00:01<00:08,  1.00s/it]"
    assert after("Loading transformer", half, shards).activity is Activity.LOADING


def test_nan_counts_from_where_it_began_and_only_while_it_lasts() -> None:
    assert after(bar(10), bar(11, "nan"), bar(12, "nan")).nan_since == 11
    assert after(bar(11, "nan"), bar(12, "4.0e-01")).nan_since is None
    assert after(bar(11, "nan")).progress.loss is None
    replaced = after(bar(10), "loss is nan", bar(10, "0.000e+00"), bar(11, "0.000e+00"))
    assert replaced.nan_since == 10


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("a/lora_000000010.safetensors", 10),
        ("a/lora_000000010_low_noise.safetensors", 10),
        ("a/lora_000000010", 10),
        ("a/lora.safetensors", None),
        ("a/lora_2024.safetensors", None),
    ],
)
def test_the_step_in_a_name(path: str, step: int | None) -> None:
    assert step_in_name(path) == step


@pytest.mark.parametrize("digits", [13, 5000])
def test_a_step_beyond_all_steps_is_not_taken(digits: int) -> None:
    assert after(f"Saving at step {'9' * digits}").saving_step is None
    assert after(f"Found step {'9' * digits} in metadata, starting from there").start_step is None


def test_a_saved_path_that_no_disk_takes_or_that_leads_in_circles_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    run = Run(name="lora", output=tmp_path, exists=partial(_exists, tmp_path))
    for path in ("loop/x.safetensors", "a" * 300 + ".safetensors", "a/" * 3000 + "x.safetensors", "../../etc/passwd"):
        state = after(f"Saved checkpoint to {tmp_path}/{path}", run=run)
        assert all(not saved.path.startswith((".", "/")) for saved in state.saved)


def test_only_so_many_savings_are_remembered() -> None:
    state = State()
    for number in range(_MOST_SAVED + 5):
        state = after(f"Saved checkpoint to {FOLDER}/lora_{number:09d}.safetensors", state=state)
    assert len(state.saved) == _MOST_SAVED
    assert state.saved[-1].step == _MOST_SAVED + 4
