"""The console of a whole run, line by line, as ai-toolkit 0.12.26 prints it."""

import json
import re

from tests.unit.local.trainer.bench import Bench

RULE = "#" * 45


def test_a_run_prints_the_lines_of_the_real_one_in_their_order(bench: Bench) -> None:
    ended = bench.run(bench.config(train={"steps": 12}))
    assert ended.code == 0, ended.stderr
    folder = bench.output
    assert ended.lines[0] == "Running 1 job"
    assert json.loads("".join(ended.lines[1 : ended.lines.index("}") + 1]))["type"] == "sd_trainer"
    after = ended.stdout[ended.stdout.index("\n}\n") + 3 :]
    assert after.startswith(f"\n{RULE}\n# Running job: tiny_lora\n{RULE}\n\n\nRunning  1 process\n")
    assert ended.phases[4:] == [
        "create LoRA network. base dim (rank): 4, alpha: 4",
        "neuron dropout: p=None, rank dropout: p=None, module dropout: p=None",
        "create LoRA for Text Encoder: 0 modules.",
        "create LoRA for U-Net: 1 modules.",
        "enable LoRA for U-Net",
        f"Dataset: {bench.data}",
        "  -  Preprocessing image dimensions",
        "  -  Found 3 images",
        f"Bucket sizes for {bench.data}:",
        "16x16: 3 files",
        "1 buckets made",
        "Generating baseline samples before training",
        "Saving at step 4",
        f"Saved checkpoint to {folder}/tiny_lora_000000004.safetensors",
        f"Saved optimizer to {folder}/optimizer.pt",
        "Saving at step 8",
        f"Saved checkpoint to {folder}/tiny_lora_000000008.safetensors",
        f"Saved optimizer to {folder}/optimizer.pt",
        f"Saved checkpoint to {folder}/tiny_lora.safetensors",
        f"Saved optimizer to {folder}/optimizer.pt",
    ]
    saved = f"Saved optimizer to {folder}/optimizer.pt\n"
    assert f"{saved}\n\nSaving at step 8" in ended.stdout
    assert ended.stdout.endswith(f"{saved}\n\n")


def test_the_training_bar_is_tqdms_with_the_name_and_the_loss(bench: Bench) -> None:
    stderr = bench.run(bench.config(train={"steps": 4})).stderr
    bars = [piece for piece in re.split(r"[\r\n]", stderr) if piece.startswith("tiny_lora:")]
    assert bars[0] == "tiny_lora:   0%|          | 0/4 [00:00<?, ?it/s]"
    pattern = r"tiny_lora:  50%\|█████     \| 2/4 \[00:00<00:00, .*it/s, lr: 1\.0e-04 loss: \d\.\d{3}e[+-]\d\d\]"
    assert any(re.fullmatch(pattern, bar) for bar in bars), bars
    assert re.fullmatch(r"tiny_lora: 100%\|██████████\| 4/4 .*", bars[-1])


def test_other_bars_come_before_and_between_and_nested_ones_move_up_again(bench: Bench) -> None:
    stderr = bench.run(bench.config()).stderr
    assert "\rLoading pipeline components...:   0%" in stderr
    assert "\rGenerating Images:   0%|          | 0/2 [00:00<?, ?it/s]" in stderr
    assert re.search(r"\n\rGenerating Images:   0%\|[^\r]*\x1b\[A", stderr)
    assert re.search(r"tiny_lora:[^\r]*4/12[^\r]*\n\rGenerating Images", stderr)


def test_larger_architectures_tell_more_of_loading(bench: Bench) -> None:
    phases = bench.run(bench.config(model={"arch": "flux", "quantize": True}, train={"steps": 1})).phases
    loading = ["Loading transformer", "Quantizing transformer", "Model Loaded"]
    assert [line for line in phases if line in loading] == loading


def test_sampling_can_be_turned_off(bench: Bench) -> None:
    ended = bench.run(bench.config(train={"steps": 5, "disable_sampling": True}))
    assert "Skipping first sample due to config setting" in ended.lines
    assert "Generating Images" not in ended.stderr
    assert not (bench.output / "samples").exists()
