"""What holds for every configuration and every dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from handler.config import dump_config, parse_config
from handler.rewrite import Rewritten, rewrite
from handler.stage import StagedTree
from handler.stage.beside import beside_folder
from shared.errors import ErrorCode, FerryError
from shared.layout import SessionFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSION = SessionFolder(Path("/nowhere/training/training_session_1"))
TOOLKIT = Path("/nowhere/toolkit")

names = st.sampled_from(["a", "b", "images", "control", "mask", "1.jpg", "2.png", "x.txt"])
path_texts = st.one_of(
    st.lists(names, min_size=1, max_size=4).map("/".join),
    st.lists(names, min_size=1, max_size=4).map(lambda parts: "/data/" + "/".join(parts)),
    st.lists(st.sampled_from(["..", "etc", "a", "training_session_2"]), min_size=1, max_size=4).map("/".join),
    st.sampled_from(["/", ".", "", "/etc/passwd", "/nowhere/training/training_session_2/dataset", "C:\\a\\images"]),
)
folders = st.fixed_dictionaries(
    {"folder_path": path_texts},
    optional={
        "control_path": path_texts | st.lists(path_texts, max_size=3),
        "mask_path": path_texts,
        "clip_image_path": path_texts,
        "dataset_path": path_texts.filter(lambda text: not text.endswith(".json")),
        "resolution": st.just([512, 768]),
    },
)
processes = st.fixed_dictionaries(
    {"type": st.sampled_from(["sd_trainer", "ui_trainer"])},
    optional={
        "training_folder": path_texts,
        "log_dir": path_texts,
        "output_path": path_texts,
        "datasets": st.lists(folders, max_size=3),
        "adapter": st.fixed_dictionaries({"test_img_path": path_texts | st.lists(path_texts, max_size=2)}),
        "sample": st.fixed_dictionaries(
            {"prompts": st.lists(path_texts.map(lambda text: f"a cat --ctrl_img {text} --w 8"), max_size=2)}
        ),
        "model": st.fixed_dictionaries({"name_or_path": path_texts}),
        "train": st.fixed_dictionaries({"lr": st.floats(1e-8, 1), "negative_prompt": path_texts}),
    },
)
trees = st.sets(
    st.lists(st.sampled_from(["a", "b", "images", "control", "mask"]), max_size=3).flatmap(
        lambda parts: st.sampled_from(["1.jpg", "2.png", "x.txt"]).map(lambda name: "/".join([*parts, name]))
    ),
    max_size=10,
)


def outcome(config: dict[str, Any], tree: StagedTree) -> Rewritten | FerryError:
    try:
        return rewrite(config, tree=tree, session=SESSION, toolkit=TOOLKIT)
    except FerryError as error:
        return error


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{place}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{place}[{index}]")
    else:
        yield place, value


def paths_of(place: str, value: str) -> list[str]:
    """The absolute paths in a value, models and texts apart."""
    if ".model." in place or place.endswith("negative_prompt"):
        return []
    if ".prompts[" in place:
        return re.findall(r"--ctrl_img (.*?) --", value)
    return value.split(",") if place.endswith("test_img_path") else [value]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(processes, min_size=1, max_size=2), trees)
def test_every_path_leads_into_the_session_or_is_refused(
    given_processes: list[dict[str, Any]], files: set[str]
) -> None:
    config = parse_config({"job": "extension", "config": {"name": "n", "process": given_processes}})
    tree = StagedTree.of(SESSION.dataset, files)
    rewritten = outcome(config, tree)
    if isinstance(rewritten, FerryError):
        assert rewritten.code in {ErrorCode.INVALID_CONFIG, ErrorCode.DATASET_EMPTY}
        assert "config.process[" in rewritten.sentence
        return
    staged = {str(SESSION.dataset)} | {f"{SESSION.dataset}/{path}" for path in tree.files | tree.folders}
    before = dict(leaves(config))
    for place, value in leaves(rewritten.config):
        if place.endswith((".type", ".training_folder")) or value == before[place]:
            continue
        for path in paths_of(place, value):
            assert path.startswith(f"{SESSION.path}/")
            assert ".." not in path.split("/")
            if not path.startswith((str(SESSION.output), str(beside_folder(SESSION.dataset)))):
                assert path in staged
    for place, value in leaves(rewritten.config):
        if isinstance(value, str):
            assert not [
                path
                for path in paths_of(place, value)
                if path.startswith("/") and not path.startswith(str(SESSION.path))
            ]
    _check_side_folders(rewritten.config)
    dump_config(rewritten.config)


def _check_side_folders(config: dict[str, Any]) -> None:
    """No control or mask folder lies inside a folder that is trained on."""
    datasets = [dataset for process in config["config"]["process"] for dataset in process.get("datasets", [])]
    trained = {dataset[key] for dataset in datasets for key in ("folder_path", "dataset_path") if dataset.get(key)}
    for dataset in datasets:
        control = dataset.get("control_path", [])
        sides = [dataset.get("mask_path"), *(control if isinstance(control, list) else [control])]
        assert not [(side, folder) for side in sides if side for folder in trained if side.startswith(f"{folder}/")]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(processes, min_size=1, max_size=2), trees)
def test_what_is_no_path_is_not_touched(given_processes: list[dict[str, Any]], files: set[str]) -> None:
    config = parse_config(
        {"job": "train", "config": {"name": "n", "process": given_processes}, "meta": {"n": "[name]"}}
    )
    rewritten = outcome(config, StagedTree.of(SESSION.dataset, files))
    if isinstance(rewritten, FerryError):
        return
    after = dict(leaves(rewritten.config))
    for place, value in leaves(config):
        if not isinstance(value, str) or place in {".job", ".config.name", ".meta.n"}:
            assert after[place] == value
