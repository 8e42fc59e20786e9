"""Keys that ai-toolkit would ignore are found before a training is spent on them, with what was probably meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from handler.config import parse_config
from handler.config.reading import config_warnings
from handler.config.strange import strange_architectures, strange_keys
from handler.config.vocabulary import ARCHITECTURES, KEYS, SYNONYMS
from tests.docs.documents import PROJECT

HERE = "config.process[0]"


def trainer(kind: str = "sd_trainer", **keys: Any) -> dict[str, Any]:
    return {"config": {"name": "cats", "process": [{"type": kind, **keys}]}}


@pytest.mark.parametrize(
    ("keys", "place", "meant"),
    [
        ({"trian": {"lr": 1}}, "trian", "train"),
        ({"train": {"step": 5}}, "train.step", "train.steps"),
        ({"train": {"learning_rate": 1e-4}}, "train.learning_rate", "train.lr"),
        ({"network": {"network_dim": 16}}, "network.network_dim", "network.linear"),
        ({"lr": 1e-4}, "lr", "train.lr"),
        ({"learning_rate": 1e-4}, "learning_rate", "train.lr"),
        ({"model": {"name_or_pth": "a/b"}}, "model.name_or_pth", "model.name_or_path"),
        ({"model": {"save_every": 5}}, "model.save_every", "save.save_every"),
        ({"datasets": [{}, {"zzz": "x"}]}, "datasets[1].zzz", None),
        ({"datasets": [{"caption_extension": "txt"}]}, "datasets[0].caption_extension", "datasets[0].caption_ext"),
        ({"sample": {"samples": [{"promt": "x"}]}}, "sample.samples[0].promt", "sample.samples[0].prompt"),
        ({"first_sample": {"sedd": 1}}, "first_sample.sedd", "first_sample.seed"),
        ({"train": {"ema_config": {"decay": 0.9}}}, "train.ema_config.decay", "train.ema_config.ema_decay"),
        ({"train": {"zzz": 1}}, "train.zzz", None),
        ({"train": {7: 1}}, "train.7", None),
    ],
)
def test_a_strange_key_and_the_nearest_known_one(keys: dict[str, Any], place: str, meant: str | None) -> None:
    hint = f" (did you mean {HERE}.{meant}?)" if meant else ""
    assert list(strange_keys(trainer(**keys))) == [f"{HERE}.{place}{hint}"]


@pytest.mark.parametrize(
    "keys",
    [
        {"ferry": {"anything": 1}},
        {"model": {"model_kwargs": {"match_target_res": True}}, "train": {"optimizer_params": {"weight_decay": 1}}},
        {"network": {"network_kwargs": {"only_if_contains": ["x"]}, "lorm": {"x": 1}}},
        {"slider": {"targets": [{"target_class": ""}]}},
        {"datasets": None, "sample": [], "train": "text"},
    ],
)
def test_what_is_free_may_hold_anything(keys: dict[str, Any]) -> None:
    assert list(strange_keys(trainer(**keys))) == []


def test_only_trainers_are_looked_at() -> None:
    assert list(strange_keys(trainer("concept_slider", train={"zzz": 1}))) == []
    for odd in ({}, {"config": None}, {"config": {"process": [None, 3]}}, {"config": {"process": "x"}}):
        assert list(strange_keys(odd)) == []


def test_an_architecture_that_would_be_taken_for_another() -> None:
    assert list(strange_architectures(trainer(model={"arch": "qwen-image"}))) == [
        f"{HERE}.model.arch is 'qwen-image' (did you mean qwen_image?)"
    ]
    for known in ("qwen_image", "wan22_14b:t2v", None):
        assert list(strange_architectures(trainer(model={"arch": known}))) == []
    assert list(strange_architectures(trainer(model="text"))) == []


def test_both_are_warned_of_when_the_job_comes() -> None:
    config = parse_config(trainer(train={"learning_rate": 1}, model={"arch": "zimg"}))
    ignored, taken = config_warnings(config)
    assert ignored == f"ai-toolkit ignores {HERE}.train.learning_rate (did you mean {HERE}.train.lr?)"
    assert taken.startswith(f"{HERE}.model.arch is 'zimg' (did you mean zimage?), and ai-toolkit takes a model that")


def test_warnings_have_an_end_however_many_keys_are_strange() -> None:
    many = parse_config(trainer(train={f"zzz{number}": 1 for number in range(15_000)}))
    assert len(list(config_warnings(many))) == 20


def test_the_vocabulary_is_one() -> None:
    every = frozenset().union(*KEYS.values())
    assert set(SYNONYMS.values()) <= every
    assert {"flux", "sdxl", "qwen_image", "wan22_14b", "zimage"} <= ARCHITECTURES
    assert all(section.rpartition(".")[2] in KEYS[section.rpartition(".")[0]] for section in KEYS if section)


@pytest.mark.parametrize("name", ["test_input.json", ".runpod/tests.json"])
def test_the_projects_own_jobs_have_no_strange_key(name: str) -> None:
    content = json.loads((PROJECT / name).read_bytes())
    for event in content.get("tests", [content]):
        assert list(strange_keys(yaml.safe_load(event["input"]["config"]))) == []
