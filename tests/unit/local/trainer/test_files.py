"""What a run leaves on disk."""

import json
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from local.trainer.ferry_trainer import config as config_module
from tests.unit.local.trainer.bench import Bench


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="np") as file:
        return dict(file.metadata())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checkpoints_are_numbered_and_the_oldest_is_removed(bench: Bench) -> None:
    ended = bench.run(bench.config(train={"steps": 16}))
    assert f"Removing old save: {bench.output}/tiny_lora_000000004.safetensors" in ended.lines
    assert names(bench.output) == [
        "config.yaml",
        "optimizer.pt",
        "samples",
        "tiny_lora.safetensors",
        "tiny_lora_000000008.safetensors",
        "tiny_lora_000000012.safetensors",
    ]


def test_the_metadata_say_step_and_epoch_and_what_the_configuration_adds(bench: Bench) -> None:
    bench.run(bench.config(train={"steps": 8}, meta={"name": "[name]", "version": "1.0"}))
    saved = metadata(bench.output / "tiny_lora_000000004.safetensors")
    assert json.loads(saved["training_info"]) == {"step": 4, "epoch": 1}
    assert (saved["name"], saved["version"], saved["format"]) == ("tiny_lora", "1.0", "pt")
    assert json.loads(metadata(bench.output / "tiny_lora.safetensors")["training_info"])["step"] == 8


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "float32"), ("float16", "float16"), ("bf16", "float16")])
def test_weights_are_saved_in_the_type_that_is_asked_for(bench: Bench, dtype: str, expected: str) -> None:
    bench.run(bench.config(save={"dtype": dtype}, train={"steps": 1, "disable_sampling": True}))
    assert {str(tensor.dtype) for tensor in load_file(bench.output / "tiny_lora.safetensors").values()} == {expected}


@pytest.mark.parametrize(("writes", "mode"), [("growing", 0o644), ("preallocated", 0o644), ("renamed", 0o600)])
def test_each_way_of_writing_gives_the_same_file_with_its_own_mode(bench: Bench, writes: str, mode: int) -> None:
    settings = bench.config(train={"steps": 2, "disable_sampling": True})
    assert bench.run(settings, FERRY_TRAINER_WRITES=writes).code == 0
    path = bench.output / "tiny_lora.safetensors"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert set(load_file(path)) == {f"diffusion_model.picture.lora_{part}.weight" for part in "AB"}
    assert not list(bench.output.glob(".tmp*"))


def test_the_last_checkpoint_can_be_made_larger_than_the_others(bench: Bench) -> None:
    ferry = {"pad_mb": 1, "pad_final_mb": 3}
    bench.run(bench.config(train={"steps": 5, "disable_sampling": True}, ferry=ferry))
    sizes = [(bench.output / f"tiny_lora{number}.safetensors").stat().st_size for number in ("_000000004", "")]
    assert 1_000_000 < sizes[0] < 2_000_000
    assert 3_000_000 < sizes[1] < 4_000_000


def test_optimizer_state_is_rewritten_in_the_same_file(bench: Bench) -> None:
    settings = bench.config(train={"steps": 2, "disable_sampling": True})
    bench.run(settings)
    before = (bench.output / "optimizer.pt").stat()
    bench.run(settings)
    after = (bench.output / "optimizer.pt").stat()
    assert before.st_ino == after.st_ino
    assert before.st_mtime_ns < after.st_mtime_ns


def test_samples_are_named_by_time_step_and_number_and_have_thumbnails(bench: Bench) -> None:
    bench.run(bench.config(train={"steps": 6}, sample={"walk_seed": True}))
    samples = bench.output / "samples"
    pictures = sorted(path.name for path in samples.iterdir() if path.is_file())
    assert [re.sub(r"^\d{13}", "MS", name) for name in pictures] == [
        f"MS__{step:09d}_{number}.jpg" for step in (0, 4, 6) for number in (0, 1)
    ]
    assert sorted(path.name for path in (samples / ".thumbs").iterdir()) == [f"{name}.jpg" for name in pictures]
    assert names(samples / ".tmp") == []
    with Image.open(samples / pictures[0]) as picture, Image.open(samples / ".thumbs" / f"{pictures[0]}.jpg") as thumb:
        assert (picture.size, thumb.size) == ((64, 64), (300, 300))


def test_the_copied_configuration_says_the_same_as_the_submitted_one(bench: Bench) -> None:
    text = yaml.safe_dump(bench.config(name="tiny_lora", train={"steps": 1, "disable_sampling": True}))
    bench.run(text.replace("lr: 0.0001", "lr: 1e-4"))
    path = bench.folder / "job.yaml"
    assert yaml.safe_load((bench.output / "config.yaml").read_text()) == config_module.load(path)
    assert config_module.load(path)["config"]["process"][0]["train"]["lr"] == pytest.approx(1e-4)


def test_the_dataset_folder_gets_sizes_and_cached_pixels(bench: Bench) -> None:
    settings = bench.config(train={"steps": 2, "disable_sampling": True})
    settings["config"]["process"][0]["datasets"][0]["cache_latents_to_disk"] = True
    ended = bench.run(settings)
    assert f"Caching latents for {bench.data}" in ended.lines
    assert "Caching latents to disk: 100%" in ended.stderr
    sizes = json.loads((bench.data / ".aitk_size.json").read_text())
    assert sizes["__version__"] == "0.1.2"
    assert sizes["nested/blue sky.png"][:2] == [16, 16]
    assert len(list((bench.data / "_latent_cache").glob("*.safetensors"))) == 2
    assert len(list((bench.data / "nested" / "_latent_cache").glob("blue sky_*.safetensors"))) == 1


def test_the_loss_log_is_a_database_in_wal_mode_with_every_step(bench: Bench) -> None:
    logging = {"use_ui_logger": True, "log_every": 1}
    bench.run(bench.config(train={"steps": 6, "disable_sampling": True}, logging=logging))
    path = bench.output / "loss_log.db"
    with closing(sqlite3.connect(path)) as connection:
        rows: list[Any] = connection.execute("select step, value_real from metrics where key = 'loss/loss'").fetchall()
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("select * from metric_keys where key = 'loss/loss'").fetchone() == ("loss/loss", 1, 5)
    assert [step for step, _ in rows] == [1, 2, 3, 4, 5]
    assert all(loss > 0 for _, loss in rows)


def test_wan_2_2_saves_two_halves_and_names_the_file_without_a_suffix(bench: Bench) -> None:
    settings = bench.config(model={"arch": "wan22_14b"}, train={"steps": 16, "disable_sampling": True})
    ended = bench.run(settings)
    assert f"Saved checkpoint to {bench.output}/tiny_lora_000000008.safetensors" in ended.lines
    # The last halves have something after the name too, so they count among the numbered ones.
    assert sorted(path.name for path in bench.output.glob("*.safetensors")) == [
        "tiny_lora_000000012_high_noise.safetensors",
        "tiny_lora_000000012_low_noise.safetensors",
        "tiny_lora_high_noise.safetensors",
        "tiny_lora_low_noise.safetensors",
    ]
    removed = [line for line in ended.lines if line.startswith("Removing old save: ")]
    assert len(removed) == 4


def test_wan_2_2_may_train_one_half_only(bench: Bench) -> None:
    model = {"arch": "wan22_14b_i2v", "model_kwargs": {"train_high_noise": False}}
    bench.run(bench.config(model=model, train={"steps": 2, "disable_sampling": True}))
    assert [path.name for path in bench.output.glob("*.safetensors")] == ["tiny_lora_low_noise.safetensors"]


def test_a_full_fine_tune_in_the_diffusers_format_is_a_folder(bench: Bench) -> None:
    save = {"save_format": "diffusers", "save_every": 4}
    settings = bench.config(train={"steps": 6, "disable_sampling": True}, network=None, save=save)
    ended = bench.run(settings)
    assert f"Saved checkpoint to {bench.output}/tiny_lora_000000004" in ended.lines
    folder = bench.output / "tiny_lora"
    assert names(folder / "transformer") == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert yaml.safe_load((folder / "aitk_meta.yaml").read_text())["training_info"]["step"] == 6
    assert f"#### IMPORTANT RESUMING FROM {folder} ####" in bench.run(settings).lines


def test_with_a_learnt_snr_the_console_names_its_file_and_not_the_checkpoint(bench: Bench) -> None:
    ended = bench.run(bench.config(train={"steps": 2, "disable_sampling": True, "learnable_snr_gos": True}))
    assert f"Saved checkpoint to {bench.output}/learnable_snr.json" in ended.lines
    assert (bench.output / "tiny_lora.safetensors").exists()


def test_a_generate_job_draws_with_a_trained_checkpoint(bench: Bench) -> None:
    bench.run(bench.config(train={"steps": 80, "batch_size": 3, "disable_sampling": True}))
    process = {
        "type": "to_folder",
        "output_folder": str(bench.folder / "drawn"),
        "model": {"lora_path": str(bench.output / "tiny_lora.safetensors")},
        "generate": {"prompts": ["red square"], "width": 64, "height": 64, "ext": "png"},
    }
    ended = bench.run({"job": "generate", "config": {"name": "drawing", "process": [process]}})
    assert ended.code == 0, ended.stderr
    assert "Generating 1 images" in ended.lines
    (drawn,) = (bench.folder / "drawn").glob("*_0.png")
    with Image.open(drawn) as picture:
        red, green, blue = np.asarray(picture, np.float64).mean(axis=(0, 1))
    assert red > 150 > 90 > max(green, blue)
