"""Models stay where they are, unless they came with the dataset; they never come from another session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import FerryError

if TYPE_CHECKING:
    from pathlib import Path

    from handler.rewrite import Rewritten
    from shared.layout import SessionFolder
    from tests.unit.handler.rewrite.conftest import Rewrites


def with_model(**keys: Any) -> dict[str, Any]:
    return {"job": "extension", "config": {"name": "x", "process": [{"type": "t", "model": keys}]}}


def model(rewritten: Rewritten) -> dict[str, Any]:
    found: dict[str, Any] = rewritten.config["config"]["process"][0]["model"]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "black-forest-labs/FLUX.1-dev",
        "ostris/accuracy_recovery_adapters/wan22.safetensors",
        "uint4|ostris/accuracy_recovery_adapters/wan22_14b_t2i_torchao_uint4.safetensors",
        "/app/models/none.safetensors",
        "bf16",
        "1",
    ],
)
def test_what_stays(rewrites: Rewrites, text: str) -> None:
    config = with_model(
        name_or_path=text, model_paths={"a": text}, model_kwargs={"list": [text, {"b": text}], "on": True}
    )
    assert model(rewrites(config, ["wan22.safetensors", "FLUX.1-dev/1.jpg", "bf16/1.jpg", "1/1.jpg"])) == {
        "name_or_path": text,
        "model_paths": {"a": text},
        "model_kwargs": {"list": [text, {"b": text}], "on": True},
    }


def test_a_model_of_the_dataset(rewrites: Rewrites, session: SessionFolder) -> None:
    paths = ["my.safetensors", "base/model_index.json"]
    for text in ("/home/me/my.safetensors", "./my.safetensors", "my.safetensors", "D:\\loras\\my.safetensors"):
        assert model(rewrites(with_model(lora_path=text), paths)) == {"lora_path": f"{session.dataset}/my.safetensors"}
    assert model(rewrites(with_model(name_or_path="/x/base"), paths)) == {"name_or_path": f"{session.dataset}/base"}


def test_a_model_of_the_image_goes_before_one_of_the_dataset(rewrites: Rewrites, tmp_path: Path) -> None:
    (tmp_path / "toolkit").mkdir()
    for folder in (tmp_path, tmp_path / "toolkit"):
        (folder / "my.safetensors").touch()
    for text in (str(tmp_path / "my.safetensors"), "my.safetensors"):
        assert model(rewrites(with_model(lora_path=text), ["my.safetensors"])) == {"lora_path": text}


def test_a_model_that_is_nowhere_is_warned_of(rewrites: Rewrites) -> None:
    (warning,) = rewrites(with_model(lora_path="/x/none.safetensors")).warnings
    assert warning == "config.process[0].model.lora_path (/x/none.safetensors) is neither on this worker nor staged"


@pytest.mark.parametrize(
    "text",
    [
        "{root}/training_session_2/output/a.safetensors",
        "{root}",
        "{root}/./training_session_2",
        "/a/../x",
        "../x",
        "x|../a",
    ],
)
@pytest.mark.parametrize("key", ["name_or_path", "qtype"])
def test_no_model_comes_from_another_session(rewrites: Rewrites, session: SessionFolder, key: str, text: str) -> None:
    with pytest.raises(FerryError, match=rf"config\.process\[0\]\.model\.{key}"):
        rewrites(with_model(**{key: text.format(root=session.path.parent)}))


def test_no_link_leads_to_another_session(rewrites: Rewrites, session: SessionFolder, tmp_path: Path) -> None:
    (tmp_path / "workspace").symlink_to(tmp_path)
    text = f"{tmp_path}/workspace/training/training_session_2/a.safetensors"
    with pytest.raises(FerryError, match="points into another session"):
        rewrites(with_model(name_or_path=text))


def test_no_other_text_points_into_another_session(rewrites: Rewrites, session: SessionFolder) -> None:
    config = {"config": {"process": [{"type": "t", "some": {"new": [f"{session.path.parent}/training_session_2/x"]}}]}}
    with pytest.raises(FerryError, match=r"config\.process\[0\]\.some\.new\[0\]"):
        rewrites(config)


@pytest.mark.parametrize(
    "keys",
    [
        {"network": {"pretrained_lora_path": "{m}"}},
        {"adapter": {"name_or_path": "{m}"}},
        {"adapter": {"image_encoder_path": "{m}"}},
        {"adapter": {"text_encoder_path": "{m}"}},
        {"adapter": {"lora_config": {"pretrained_lora_path": "{m}"}}},
        {"train": {"adapter_assist_name_or_path": "{m}"}},
        {"train": {"latent_feature_extractor_path": "{m}"}},
        {"train": {"diffusion_feature_extractor_path": "{m}"}},
        {"base_model": "{m}"},
        {"vae_path": "{m}"},
    ],
)
def test_models_outside_of_the_model(rewrites: Rewrites, session: SessionFolder, keys: dict[str, Any]) -> None:
    def put(value: Any, text: str) -> Any:
        return {key: put(item, text) for key, item in value.items()} if isinstance(value, dict) else text

    def rewritten(text: str) -> Any:
        found = rewrites({"job": "x", "config": {"process": [{"type": "t", **put(keys, text)}]}}, ["m.safetensors"])
        return {key: found.config["config"]["process"][0][key] for key in keys}

    assert rewritten("google/siglip") == put(keys, "google/siglip")
    assert rewritten("/x/m.safetensors") == put(keys, f"{session.dataset}/m.safetensors")
    with pytest.raises(FerryError, match="another session"):
        rewritten(f"{session.path.parent}/training_session_2/m.safetensors")
