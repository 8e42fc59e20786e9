"""Going on from what an earlier run left."""

import os
from pathlib import Path

from tests.unit.local.trainer.bench import Bench


def bars(stderr: str) -> list[str]:
    return [piece for piece in stderr.split("\r") if piece.startswith("tiny_lora:")]


def interrupted(bench: Bench) -> None:
    """Leaves checkpoints of steps 4 and 8 and no last one."""
    settings = bench.config(train={"steps": 12}, ferry={"misbehave": {"kind": "exit", "step": 9}})
    assert bench.run(settings).code == 0
    assert not (bench.output / "tiny_lora.safetensors").exists()


def test_it_goes_on_from_the_newest_checkpoint(bench: Bench) -> None:
    interrupted(bench)
    ended = bench.run(bench.config(train={"steps": 12}))
    path = f"{bench.output}/tiny_lora_000000008.safetensors"
    start = ended.phases.index(f"#### IMPORTANT RESUMING FROM {path} ####")
    assert ended.phases[start : start + 6] == [
        f"#### IMPORTANT RESUMING FROM {path} ####",
        f"Loading from {path}",
        "Missing keys: []",
        "Found step 8 in metadata, starting from there",
        f"Loading optimizer state from {bench.output}/optimizer.pt",
        "Updating optimizer LR from params",
    ]
    assert "Generating baseline samples before training" not in ended.lines
    assert "Saving at step 8" not in ended.lines
    assert bars(ended.stderr)[0] == "tiny_lora:  67%|██████▋   | 8/12 [00:00<?, ?it/s]"


def test_the_newest_ctime_decides_and_not_the_highest_step(bench: Bench) -> None:
    interrupted(bench)
    (bench.output / "tiny_lora_000000004.safetensors").chmod(0o640)
    assert "Found step 4 in metadata, starting from there" in bench.run(bench.config(train={"steps": 6})).lines


def test_start_step_overrides_the_metadata(bench: Bench) -> None:
    interrupted(bench)
    ended = bench.run(bench.config(train={"steps": 12, "start_step": 11}))
    assert not any(line.startswith("Found step") for line in ended.lines)
    assert "11/12" in bars(ended.stderr)[0]


def test_after_the_end_it_trains_no_step_and_saves_and_samples_again(bench: Bench) -> None:
    settings = bench.config(train={"steps": 6})
    bench.run(settings)
    samples = len(list((bench.output / "samples").glob("*.jpg")))
    ended = bench.run(settings)
    assert ended.code == 0
    assert "Found step 6 in metadata, starting from there" in ended.lines
    assert len(bars(ended.stderr)) == 2
    assert f"Saved checkpoint to {bench.output}/tiny_lora.safetensors" in ended.lines
    assert len(list((bench.output / "samples").glob("*.jpg"))) == samples + 2


def test_a_torn_optimizer_state_is_reported_and_the_training_goes_on(bench: Bench) -> None:
    interrupted(bench)
    path = bench.output / "optimizer.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    ended = bench.run(bench.config(train={"steps": 10}))
    assert ended.code == 0
    assert f"Failed to load optimizer state from {path}" in ended.lines
    assert ended.lines[ended.lines.index(f"Failed to load optimizer state from {path}") + 1] != ""


def test_a_truncated_checkpoint_ends_the_run(bench: Bench) -> None:
    interrupted(bench)
    path = bench.output / "tiny_lora_000000008.safetensors"
    os.truncate(path, path.stat().st_size - 100)
    ended = bench.run(bench.config())
    assert ended.code == 1
    assert any(line.startswith("Error running job: Error while deserializing header") for line in ended.lines)
    assert "SafetensorError" in ended.stderr


def test_any_newer_file_that_begins_with_the_name_is_taken_for_a_checkpoint(bench: Bench) -> None:
    interrupted(bench)
    (bench.output / "tiny_lora_notes.txt").write_text("not a checkpoint, but the newest")
    ended = bench.run(bench.config())
    assert ended.code == 1
    assert f"Loading from {bench.output}/tiny_lora_notes.txt" in ended.lines


def test_hidden_files_and_other_names_are_not_taken(bench: Bench) -> None:
    interrupted(bench)
    for name in (".tiny_lora.part", "other_000000099.safetensors", "tiny_lora_LoRA_000000099.safetensors"):
        Path(bench.output, name).write_bytes(b"?")
    assert "Found step 8 in metadata, starting from there" in bench.run(bench.config(train={"steps": 10})).lines


def test_both_halves_of_wan_2_2_are_loaded(bench: Bench) -> None:
    model = {"arch": "wan22_14b"}
    bench.run(bench.config(model=model, train={"steps": 6, "disable_sampling": True}))
    ended = bench.run(bench.config(model=model, train={"steps": 7, "disable_sampling": True}))
    assert "Missing keys: []" in ended.lines
    assert "Found step 6 in metadata, starting from there" in ended.lines
    (bench.output / "tiny_lora_high_noise.safetensors").unlink()
    ended = bench.run(bench.config(model=model, train={"steps": 8, "disable_sampling": True}))
    assert "Missing keys: ['lora_A.weight', 'lora_B.weight']" in ended.lines
    assert "Found step 7 in metadata, starting from there" in ended.lines


def test_another_rank_than_the_checkpoints_is_refused(bench: Bench) -> None:
    interrupted(bench)
    ended = bench.run(bench.config(network={"linear": 8}))
    assert ended.code == 1
    assert "Error running job: size mismatch for lora_" in ended.stdout
