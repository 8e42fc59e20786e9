"""What is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.local.trainer.bench import Bench, Ended


def error(ended: Ended) -> str:
    assert ended.code == 1, ended.stdout
    assert " - 1 failure" in ended.lines
    (line,) = [line for line in ended.lines if line.startswith("Error running job: ")]
    return line.removeprefix("Error running job: ")


def with_dataset(bench: Bench, **changes: Any) -> dict[str, Any]:
    settings = bench.config(train={"steps": 2, "disable_sampling": True})
    settings["config"]["process"][0]["datasets"][0].update(changes)
    return settings


def test_a_missing_data_set(bench: Bench) -> None:
    missing = str(bench.folder / "nowhere")
    ended = bench.run(with_dataset(bench, folder_path=missing))
    assert error(ended) == f"[Errno 2] No such file or directory: '{missing}'"


def test_a_data_set_without_pictures(bench: Bench) -> None:
    empty = bench.folder / "empty"
    (empty / ".hidden").mkdir(parents=True)
    (empty / "_controls").mkdir()
    for name in ("caption.txt", ".hidden/a.png", "_controls/b.png", ".c.png"):
        (empty / name).write_bytes((bench.data / "red square.png").read_bytes())
    assert error(bench.run(with_dataset(bench, folder_path=str(empty)))) == f"no images found in {empty}"


def test_a_picture_that_cannot_be_read_is_named_and_left_out(bench: Bench) -> None:
    broken = bench.data / "broken.jpg"
    broken.write_bytes(b"not a picture")
    ended = bench.run(with_dataset(bench))
    assert ended.code == 0
    assert f"Error processing image: {broken}" in ended.lines
    assert "  -  Found 3 images" in ended.lines


def test_a_missing_control_picture_of_a_sample(bench: Bench) -> None:
    prompts = [f"red square --ctrl_img {bench.folder}/nowhere.png"]
    assert "nowhere.png" in error(bench.run(bench.config(sample={"prompts": prompts})))


def test_a_configuration_that_is_not_well_formed(bench: Bench) -> None:
    ended = bench.run("job: extension\nconfig:\n  name: 'open\n")
    assert "while scanning a quoted scalar" in ended.stdout
    assert "Error running on_error: cannot access local variable 'job'" in ended.stdout
    assert ended.code == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config: {name: a}", "config file must have a job key"),
        ("job: extension", "config file must have a config section"),
        ("job: extension\nconfig: {process: []}", "config file must have a config.name key"),
        ("job: extension\nconfig: {name: a}", 'config file is invalid. Missing "config.process" key'),
        ("job: dance\nconfig: {name: a}", "Unknown job type dance"),
        (
            "job: extension\nconfig: {name: a, process: [{type: magic}]}",
            "config file is invalid. Unknown process type: magic",
        ),
        (
            "job: extension\nconfig: {name: a, process: [{type: ui_trainer}]}",
            "SQLite database not found at ./aitk_db.db",
        ),
        (
            "job: extension\nconfig: {name: '${NOT_SET}'}",
            "Environment variable NOT_SET not set. Please ensure it's defined before proceeding.",
        ),
    ],
)
def test_configurations_that_make_no_sense(bench: Bench, text: str, message: str) -> None:
    assert error(bench.run(text)) == message


def test_a_wrong_value_is_named_with_its_place(bench: Bench) -> None:
    ended = bench.run(bench.config(train={"steps": "many"}))
    assert error(ended) == "config.process[0].train.steps must be a number, not 'many'"


def test_an_unknown_knob_is_named_with_what_there_is(bench: Bench) -> None:
    ended = bench.run(bench.config(ferry={"misbehave": {"kind": "dance"}}))
    assert error(ended).startswith("config.process[0].ferry.misbehave.kind must be one of hang, error,")


def test_a_file_that_is_not_there(bench: Bench) -> None:
    ended = bench.run(bench.config(train={"steps": 1}), "/nowhere/config.yaml")
    assert error(ended) == "Could not find config file /nowhere/config.yaml"


def test_recovering_goes_on_and_exits_with_0(bench: Bench) -> None:
    ended = bench.run(bench.config(train={"steps": 1}), "-r", "/nowhere/config.yaml")
    assert ended.code == 0
    assert "Running 2 jobs" in ended.lines
    assert (bench.output / "tiny_lora.safetensors").exists()


def test_placeholders_are_filled_from_the_environment_and_the_name(bench: Bench) -> None:
    settings = bench.config(name="${MODEL}_lora", meta={"title": "[name]"}, train={"steps": 1})
    assert bench.run(settings, MODEL="tiny").code == 0
    assert "title: tiny_lora" in (bench.output / "config.yaml").read_text()


def test_a_full_disk_at_a_checkpoint_ends_the_run_and_leaves_no_temporary_file(bench: Bench) -> None:
    settings = bench.config(train={"steps": 2, "disable_sampling": True}, ferry={"pad_mb": 2})
    # The limit on a file's size stands in for a disk that is full.
    limited = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)); {RUN}"
    ended = bench.run_code(limited, settings)
    assert error(ended) == "Error while serializing: I/O error: File too large (os error 27)"
    assert not list(Path(bench.output).glob(".tmp*"))


def test_a_full_disk_at_the_optimizer_is_printed_and_the_training_goes_on(bench: Bench) -> None:
    settings = bench.config(train={"steps": 2, "disable_sampling": True}, save={"dtype": "float16"})
    # 6 kB of weights as float16 go through, the optimizer's state of four times the size does not.
    limited = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); {RUN}"
    ended = bench.run_code(limited, settings)
    assert ended.code == 0, ended.stderr
    assert "Could not save optimizer" in ended.lines


RUN = "sys.argv[0] = 'run.py'; runpy.run_path('run.py', run_name='__main__')"
