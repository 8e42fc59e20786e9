"""Reading what the trainer is given: configurations, prompts, data sets, the ``.env`` file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local.trainer.ferry_trainer import config
from local.trainer.ferry_trainer.dotenv import load_dotenv
from local.trainer.ferry_trainer.prompts import Prompt, apply_flags
from local.trainer.ferry_trainer.section import Section
from local.trainer.ferry_trainer.settings import TrainingSettings, read_training
from tests.unit.local.trainer.bench import TRAINER, Bench, environment


def settings(text: str) -> TrainingSettings:
    process = config.ConfigLoader("training_folder: /out\n" + text).get_single_data()
    return read_training(Section("config.process[0]", process), "a_lora", None)


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "0.0001", "'1e-4'"])
def test_a_learning_rate_is_read_however_it_is_written(number: str) -> None:
    assert settings(f"train: {{lr: {number}}}").train.lr == pytest.approx(1e-4)


def test_the_defaults_are_ai_toolkits() -> None:
    defaults = settings("network: {linear: 16}")
    assert (defaults.save.every, defaults.save.keep, defaults.save.dtype) == (1000, 5, "float16")
    assert (defaults.train.steps, defaults.sample.every, defaults.sample.suffix) == (1000, 100, "jpg")
    assert (defaults.network.rank, defaults.network.alpha) == (16, 16)
    assert settings("datasets: [{folder_path: /d}]").datasets[0].workers == 2


def test_a_null_interval_means_never() -> None:
    assert settings("save: {save_every: null}").save.every == 0


def test_prompts_come_from_either_list_and_seeds_walk() -> None:
    listed = settings("sample: {prompts: [a, b], seed: 42, walk_seed: true}").sample.prompts
    assert [(prompt.text, prompt.seed) for prompt in listed] == [("a", 42), ("b", 43)]
    whole = settings("sample: {seed: 1, samples: [{prompt: a, seed: 9, ctrl_img_1: /c.png}]}").sample.prompts
    assert [(prompt.text, prompt.seed, prompt.control) for prompt in whole] == [("a", 9, Path("/c.png"))]


def test_flags_in_a_prompt_are_obeyed_and_taken_out() -> None:
    text = "a cat, sitting --w 515 --h 96 --d 7 --m -3 --ctrl_img /a b/c.png --s 20"
    prompt = apply_flags(Prompt("", 64, 64, 0), text)
    assert prompt == Prompt("a cat, sitting", 512, 96, 7, -3.0, Path("/a b/c.png"))


def test_the_process_names_the_folder_and_the_job_the_files(bench: Bench) -> None:
    ended = bench.run(bench.config(name="files", train={"steps": 1, "disable_sampling": True}) | {})
    assert ended.code == 0
    named = bench.config(name="files", train={"steps": 1, "disable_sampling": True})
    named["config"]["process"][0]["name"] = "folder"
    bench.run(named)
    assert (bench.folder / "output" / "folder" / "files.safetensors").exists()


def test_a_json_file_lists_pictures_with_their_captions(bench: Bench) -> None:
    listing = bench.folder / "list.json"
    captions = {str(path): {"caption": path.stem} for path in bench.data.rglob("*.png")}
    listing.write_text(json.dumps(captions))
    process = bench.config(train={"steps": 2, "disable_sampling": True})
    process["config"]["process"][0]["datasets"] = [{"dataset_path": str(listing), "resolution": 16, "num_workers": 0}]
    ended = bench.run(process)
    assert ended.code == 0, ended.stderr
    assert f"Dataset: {listing}" in ended.lines
    assert "  -  Found 3 images" in ended.lines


def test_json_configurations_are_read_too(bench: Bench) -> None:
    path = bench.folder / "a.json"
    path.write_text(json.dumps(bench.config()))
    assert config.load(config.find(str(path), TRAINER)) == config.load(bench.write(bench.config()))


def test_a_dotenv_file_adds_what_the_environment_lacks(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# a comment\nA=1\nexport B='two'\n\nC = 3\nnothing\n")
    variables = {"A": "kept"}
    load_dotenv(file, variables)
    assert variables == {"A": "kept", "B": "two", "C": "3"}


def test_the_folder_works_wherever_it_is_copied_to(bench: Bench) -> None:
    elsewhere = bench.folder / "toolkit"
    shutil.copytree(TRAINER, elsewhere, ignore=shutil.ignore_patterns("__pycache__"))
    (elsewhere / ".env").write_text("MODEL_NAME=tiny_lora\n")
    (elsewhere / "config").mkdir()
    text = yaml.safe_dump(bench.config(name="${MODEL_NAME}", train={"steps": 1}))
    (elsewhere / "config" / "by_name.yaml").write_text(text)
    # -I keeps the project off the path; run.py then needs its folder put back, as a script has it.
    code = "import sys, runpy; sys.path.insert(0, '.'); runpy.run_path('run.py', run_name='__main__')"
    command = [sys.executable, "-I", "-c", code, "by_name"]
    done = subprocess.run(command, cwd=elsewhere, env=environment({}), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (bench.output / "tiny_lora.safetensors").exists()
