"""Every path-valued key of ai-toolkit, in every form, leads into the session; nothing else changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from handler.config import parse_config
from handler.rewrite import put_in_place, required_inputs
from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from shared.layout import SessionFolder
    from tests.unit.handler.rewrite.conftest import Rewrites


def process(**keys: Any) -> dict[str, Any]:
    return {"job": "extension", "config": {"name": "cats", "process": [{"type": "sd_trainer", **keys}]}}


def first(rewritten: Any) -> Any:
    return rewritten.config["config"]["process"][0]


def refusal(rewrites: Rewrites, config: dict[str, Any], paths: Iterable[str] = ("1.jpg",)) -> FerryError:
    with pytest.raises(FerryError) as caught:
        rewrites(config, paths)
    return caught.value


def test_outputs_go_into_the_session(rewrites: Rewrites, session: SessionFolder) -> None:
    config = process(
        training_folder="out", log_dir="/logs", sqlite_db_path="./aitk_db.db", output_path="/x/y.safetensors"
    )
    config["config"].update(training_folder="output/LoRA", log_dir="output/.tensorboard")
    config["config"]["process"].append({"type": "t", "output_folder": "/o", "output_path": "y.safetensors"})
    rewritten = rewrites(config)
    output = str(session.output)
    assert first(rewritten) == {
        "type": "sd_trainer",
        "training_folder": output,
        "log_dir": f"{output}/logs",
        "sqlite_db_path": f"{output}/aitk_db.db",
        "output_path": f"{output}/y.safetensors",
    }
    inner = rewritten.config["config"]
    assert (inner["training_folder"], inner["log_dir"]) == (output, f"{output}/logs")
    assert inner["process"][1] == {
        "type": "t",
        "output_folder": output,
        "output_path": f"{output}/process_1/y.safetensors",
    }


def test_what_ai_toolkit_cannot_do_without_is_added(rewrites: Rewrites, session: SessionFolder) -> None:
    rewritten = rewrites({"config": {"process": [{"type": "ui_trainer", "name": "own", "training_folder": None}]}})
    assert rewritten.config["job"] == "extension"
    assert rewritten.config["config"]["name"] == "own"
    assert first(rewritten) == {"type": "diffusion_trainer", "name": "own", "training_folder": str(session.output)}
    assert rewritten.warnings == ("job is missing and was taken to be extension",)


def test_a_job_that_trains_nothing_gets_no_training_folder(rewrites: Rewrites) -> None:
    rewritten = rewrites(
        {"job": "extract", "config": {"process": [{"type": "lora", "filename": "[name]_4.safetensors"}]}}
    )
    assert first(rewritten) == {"type": "lora", "filename": "[name]_4.safetensors"}


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x"])
def test_a_file_name_that_leads_out_is_refused(rewrites: Rewrites, name: str) -> None:
    assert "config.process[0].filename" in refusal(rewrites, process(filename=name)).sentence


DATASET_KEYS = [
    *("control_path", "control_path_1", "control_path_2", "control_path_3", "inpaint_path", "mask_path"),
    *("unconditional_path", "clip_image_path", "control_path_4", "depth_dir"),
]


@pytest.mark.parametrize("key", DATASET_KEYS)
def test_every_folder_of_a_dataset(rewrites: Rewrites, session: SessionFolder, key: str) -> None:
    config = process(
        datasets=[{"folder_path": "/d/images", key: "/d/side"}, {"folder_path": "/d/images", key: ["/e/side"]}]
    )
    datasets = first(rewrites(config, ["images/1.jpg", "side/1.jpg"]))["datasets"]
    assert datasets[0] == {"folder_path": f"{session.dataset}/images", key: f"{session.dataset}/side"}
    assert datasets[1][key] == [f"{session.dataset}/side"]
    error = refusal(rewrites, config, ["images/1.jpg"])
    assert error.code is ErrorCode.INVALID_CONFIG
    assert f"config.process[0].datasets[0].{key} (/d/side) is not in the staged dataset" in error.sentence
    assert f"config.process[0].datasets[1].{key}[0]" in error.sentence
    assert "holds the folders images and the files images/1.jpg" in error.sentence


FILES = [
    (("sample", "samples", 0, "ctrl_img"), "/x/c.png"),
    (("sample", "samples", 0, "ctrl_img_1"), "c.png"),
    (("sample", "samples", 0, "ctrl_img_3"), "C:\\x\\c.png"),
    (("first_sample", "samples", 0, "ctrl_img_2"), "/x/c.png"),
    (("adapter", "test_img_path", 0), "/x/c.png"),
    (("train", "validation_config", "validation_items", 0, "image_path"), "/x/c.png"),
    (("slider", "prompt_file"), "/x/c.png"),
    (("datasets", 0, "random_triggers"), "/x/c.png"),
    (("generate", "prompts"), "/x/c.png"),
    (("input_path",), "/x/c.png"),
]
FOLDERS = [
    (("adapter", "image_dir"), "/x/pics"),
    (("slider", "adapter_img_dir"), "/x/pics"),
    (("slider", "datasets", 0, "pair_folder"), "/x/pics"),
    (("slider", "datasets", 0, "pos_folder"), "/x/pics"),
    (("slider", "datasets", 0, "neg_folder"), "/x/pics"),
]


def nested(keys: tuple[str | int, ...], value: Any) -> Any:
    for key in reversed(keys):
        value = [value] if isinstance(key, int) else {key: value}
    return value


def at(value: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        value = value[key]
    return value


@pytest.mark.parametrize(("keys", "text"), FILES + FOLDERS)
def test_every_other_input(rewrites: Rewrites, session: SessionFolder, keys: tuple[str | int, ...], text: str) -> None:
    config = process(**nested(keys, text))
    assert required_inputs(parse_config(config))
    found = at(first(rewrites(config, ["deep/c.png", "pics/1.jpg"])), keys)
    assert found == f"{session.dataset}/{'pics' if text.endswith('pics') else 'deep/c.png'}"
    assert str(keys[-1] if isinstance(keys[-1], str) else keys[-2]) in refusal(rewrites, config, ["other.txt"]).sentence


@pytest.mark.parametrize("keys", [keys for keys, _ in FILES + FOLDERS])
@pytest.mark.parametrize("value", [None, "", False])
def test_what_is_left_empty_stays_empty(rewrites: Rewrites, keys: tuple[str | int, ...], value: object) -> None:
    config = process(**nested(keys, value))
    assert not required_inputs(parse_config(config))
    assert at(first(rewrites(config)), keys) == value


def test_control_images_inside_prompts(rewrites: Rewrites, session: SessionFolder) -> None:
    prompts = [
        "smile  --ctrl_img /x/a b.png --w 512",
        "--ctrl_img c.png",
        "no flag /x/c.png",
        "two --ctrl_img_1 /x/c.png --ctrl_img_2 /y/c.png",
        "--ctrl_image c.png --ctrl_idx 1",
    ]
    config = process(sample={"prompts": prompts, "samples": [{"prompt": "x --ctrl_img /x/c.png"}]})
    sample = first(rewrites(config, ["c.png", "a b.png"]))["sample"]
    folder = session.dataset
    assert sample["prompts"] == [
        f"smile  --ctrl_img {folder}/a b.png --w 512",
        f"--ctrl_img {folder}/c.png",
        "no flag /x/c.png",
        f"two --ctrl_img_1 {folder}/c.png --ctrl_img_2 {folder}/c.png",
        "--ctrl_image c.png --ctrl_idx 1",
    ]
    assert sample["samples"] == [{"prompt": f"x --ctrl_img {folder}/c.png"}]


def test_a_list_between_commas(rewrites: Rewrites, session: SessionFolder) -> None:
    config = process(adapter={"test_img_path": "/x/a.png, /x/b c.png ,"})
    folder = session.dataset
    assert (
        first(rewrites(config, ["a.png", "b c.png"]))["adapter"]["test_img_path"]
        == f"{folder}/a.png, {folder}/b c.png ,"
    )


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (process(sample={"prompts": ["x --ctrl_img c.png"]}), ["a--b/c.png"]),
        (process(adapter={"test_img_path": "c.png"}), ["a,b/c.png"]),
        (process(slider={"prompt_file": "c.png"}), ["[name]/c.png"]),
    ],
)
def test_a_staged_name_that_would_be_misread_is_refused(
    rewrites: Rewrites, config: dict[str, Any], paths: list[str]
) -> None:
    assert "rename" in refusal(rewrites, config, paths).sentence


def test_lists_of_words_and_prompts_are_no_files(rewrites: Rewrites) -> None:
    config = process(datasets=[{"random_triggers": ["a", "b"]}], generate={"prompts": ["a cat", "b"]})
    rewritten = first(rewrites(config))
    assert rewritten["datasets"][0]["random_triggers"] == ["a", "b"]
    assert rewritten["generate"]["prompts"] == ["a cat", "b"]


def test_a_negative_prompt_is_a_file_only_where_one_is_staged(rewrites: Rewrites, session: SessionFolder) -> None:
    def negative(text: str) -> object:
        return first(rewrites(process(train={"negative_prompt": text}), ["neg.txt", "blurry"]))["train"][
            "negative_prompt"
        ]

    assert negative("/x/neg.txt") == f"{session.dataset}/neg.txt"
    assert [negative(text) for text in ("blurry", "blurry, low/quality", "n.a/b")] == [
        "blurry",
        "blurry, low/quality",
        "n.a/b",
    ]
    for text in ("/proc/self/environ", "../.env", ".env", "config/../.env"):
        error = refusal(rewrites, process(train={"negative_prompt": text}))
        assert "config.process[0].train.negative_prompt" in error.sentence


def test_a_prompt_cache_that_is_not_there_is_an_output(rewrites: Rewrites, session: SessionFolder) -> None:
    config = process(slider={"prompt_tensors": "/x/p.safetensors"})
    assert first(rewrites(config))["slider"]["prompt_tensors"] == f"{session.output}/p.safetensors"
    assert first(rewrites(config, ["p.safetensors"]))["slider"]["prompt_tensors"] == f"{session.dataset}/p.safetensors"


def test_the_only_dataset_may_be_called_anything(rewrites: Rewrites, session: SessionFolder) -> None:
    config = process(
        datasets=[{"folder_path": "/path/to/it", "resolution": 512}, {"folder_path": "/path/to/it/", "resolution": 768}]
    )
    datasets = first(rewrites(config))["datasets"]
    assert [dataset["folder_path"] for dataset in datasets] == [str(session.dataset)] * 2


def test_a_second_dataset_must_be_found(rewrites: Rewrites, session: SessionFolder) -> None:
    config = process(datasets=[{"folder_path": "/d/cats"}, {"dataset_path": "/d/dogs"}])
    sentence = refusal(rewrites, config, ["cats/1.jpg"]).sentence
    assert "config.process[0].datasets[1].dataset_path (/d/dogs) is not in the staged dataset" in sentence
    assert "datasets[0]" not in sentence
    datasets = first(rewrites(config, ["cats/1.jpg", "dogs/1.png"]))["datasets"]
    assert datasets == [{"folder_path": f"{session.dataset}/cats"}, {"dataset_path": f"{session.dataset}/dogs"}]


def test_the_name_is_put_in_before_a_path_is_looked_for(rewrites: Rewrites, session: SessionFolder) -> None:
    config = process(datasets=[{"folder_path": "/d/[name]"}, {"folder_path": "/d/reg"}])
    assert (
        first(rewrites(config, ["cats/1.jpg", "reg/1.jpg"]))["datasets"][0]["folder_path"] == f"{session.dataset}/cats"
    )


def test_two_folders_never_become_one_unnoticed(rewrites: Rewrites) -> None:
    config = process(datasets=[{"folder_path": "/d/images/folder", "control_path": "/d/control/folder"}])
    sentence = refusal(rewrites, config, ["folder/1.jpg"]).sentence
    assert "differ, but would mean the same staged folder, folder" in sentence
    same = process(datasets=[{"folder_path": "/d/images/folder", "clip_image_path": "/d/clip/folder"}])
    assert "mean the same staged folder" in rewrites(same, ["folder/1.jpg"]).warnings[0]
    two = process(datasets=[{"folder_path": "/d/cats/images"}, {"folder_path": "/d/dogs/images"}])
    assert "differ" in refusal(rewrites, two, ["images/1.jpg"]).sentence


@pytest.mark.parametrize("keys", [("folder_path", "control_path"), ("control_path", "folder_path")])
def test_the_whole_dataset_is_not_its_own_control(rewrites: Rewrites, keys: tuple[str, str]) -> None:
    texts = {"folder_path": "/d/anything", "control_path": "."}
    sentence = refusal(rewrites, process(datasets=[{key: texts[key] for key in keys}])).sentence
    assert "differ, but would mean the same staged folder, the whole dataset" in sentence


def test_a_folder_belongs_to_the_path_that_agrees_with_more_of_it(rewrites: Rewrites, session: SessionFolder) -> None:
    config = process(datasets=[{"folder_path": "/d/images/folder", "control_path": "/d/control/folder"}])
    rewritten = first(rewrites(config, ["1.jpg", "control/folder/1.jpg"]))
    assert rewritten["datasets"] == [
        {"folder_path": str(session.dataset), "control_path": f"{session.dataset}-beside/1/folder"}
    ]
    sentence = refusal(rewrites, config, ["images/folder/1.jpg"]).sentence
    assert "control_path (/d/control/folder) is not in the staged dataset" in sentence
    assert "folder_path" not in sentence


def test_a_folder_that_several_fit_is_refused(rewrites: Rewrites) -> None:
    config = process(datasets=[{"folder_path": "/d/x"}])
    assert "fits a/x and b/x equally well" in refusal(rewrites, config, ["a/x/1.jpg", "b/x/1.jpg"]).sentence


def test_the_same_mistake_is_told_once(rewrites: Rewrites) -> None:
    config = process(sample={"prompts": ["a --ctrl_img /x/c.png"] * 10})
    sentence = refusal(rewrites, config).sentence
    assert "config.process[0].sample.prompts[0] and 9 more (/x/c.png)" in sentence
    assert "prompts[1]" not in sentence


def test_nothing_to_train_on(rewrites: Rewrites) -> None:
    config = process(datasets=[{"folder_path": "/d/images", "control_path": "/d/images/control"}])
    error = refusal(rewrites, config, ["images/1.txt", "images/control/1.jpg"])
    assert error.code is ErrorCode.DATASET_EMPTY
    assert "config.process[0].datasets[0].folder_path (images) holds no picture" in error.sentence


def test_a_path_must_be_text(rewrites: Rewrites) -> None:
    sentence = refusal(
        rewrites, process(datasets=[{"folder_path": 3, "mask_path": {"a": 1}}], log_dir=["a", 2])
    ).sentence
    for said in (
        "folder_path must be text, not a number",
        "mask_path must be text, not a mapping",
        "log_dir[1] must be text",
    ):
        assert said in sentence


def test_json_datasets(rewrites: Rewrites, session: SessionFolder) -> None:
    captions = {"/home/me/images/1.jpg": {"caption": "ä"}, "2.jpg": {"caption": "b"}, "images/3.jpg": {}}
    session.dataset.mkdir(parents=True)
    (session.dataset / "captions.json").write_text(json.dumps(captions))
    config = process(datasets=[{"dataset_path": "/home/me/captions.json"}, {"dataset_path": "/home/me/captions.json"}])
    paths = ["captions.json", "images/1.jpg", "2.jpg", "images/2.jpg", "images/3.jpg"]
    rewritten = rewrites(config, paths)
    put_in_place(rewritten)
    path = first(rewritten)["datasets"][0]["dataset_path"]
    assert first(rewritten)["datasets"][1]["dataset_path"] == path
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as ai-toolkit opens it
        assert json.load(file) == {
            f"{session.dataset}/images/1.jpg": {"caption": "ä"},
            f"{session.dataset}/2.jpg": {"caption": "b"},
            f"{session.dataset}/images/3.jpg": {},
        }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"/etc/passwd": {}, "1.jpg": {}}', "names 1 files that are not in the staged dataset, such as '/etc/passwd'"),
        ('{"../../other/dataset/9.jpg": {}}', "names 1 files"),
        ('{"/a/1.jpg": {}, "/b/1.jpg": {}}', "names the same staged file twice"),
        ("[1]", "must be a JSON mapping"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_json_dataset_that_is_wrong(rewrites: Rewrites, session: SessionFolder, content: str, said: str) -> None:
    session.dataset.mkdir(parents=True)
    (session.dataset / "c.json").write_text(content)
    error = refusal(rewrites, process(datasets=[{"dataset_path": "c.json"}]), ["c.json", "1.jpg"])
    assert "config.process[0].datasets[0].dataset_path (c.json)" in error.sentence
    assert said in error.sentence


def test_a_json_dataset_that_is_not_staged(rewrites: Rewrites) -> None:
    assert "(/x/c.json) is not in" in refusal(rewrites, process(datasets=[{"dataset_path": "/x/c.json"}])).sentence


def test_what_is_no_path_stays(rewrites: Rewrites) -> None:
    config = process(
        train={"lr": 1e-4, "steps": 10, "dtype": "bf16", "optimizer_params": {"weight_decay": 0.01}},
        sample={"neg": "/x/y", "seed": 42, "width": 1024},
        caption="/some/text",
        trigger_word="1.jpg",
        training_folder="x",
    )
    rewritten = first(rewrites({**config, "meta": {"name": "[name]", "home": "/home/me/1.jpg"}}))
    given = config["config"]["process"][0]
    assert {**rewritten, "training_folder": "x"} == given


def test_a_configuration_is_not_changed_in_place(rewrites: Rewrites, tmp_path: Path) -> None:
    config = process(datasets=[{"folder_path": "/d/x"}])
    before = json.dumps(config)
    rewrites(config)
    assert json.dumps(config) == before
