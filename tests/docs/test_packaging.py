"""The image holds what the worker needs, and RunPod's files offer what it reads."""

from __future__ import annotations

import configparser
import json
import os
import re
import struct
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from shared.settings import read_settings
from tests.docs.documents import PROJECT, README, quoted

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = (PROJECT / "Dockerfile").read_text()
RUNTIME = {"handler", "shared", "uploader"}
REQUIRED = {"SUPABASE_URL": "https://project.supabase.co", "SUPABASE_SERVICE_KEY": "key"}


def hub() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((PROJECT / ".runpod" / "hub.json").read_bytes())
    return content


def image_variables() -> dict[str, str]:
    return dict(re.findall(r"([A-Z_]+)=(\S+)", DOCKERFILE.partition("\nENV ")[2].partition("\n\n")[0]))


def test_the_toolkit_is_pinned() -> None:
    assert re.search(r"^ARG AI_TOOLKIT_VERSION=\d+\.\d+\.\d+$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^FROM ostris/aitoolkit:\$\{AI_TOOLKIT_VERSION\}$", DOCKERFILE, re.MULTILINE)


def test_what_runs_is_copied_and_nothing_else() -> None:
    copied = {source for source, _ in re.findall(r"^COPY (\S+) (\S+)$", DOCKERFILE, re.MULTILINE)}
    assert copied == {*RUNTIME, "supervisord.conf", "supervisord.pod.conf", "requirements.lock", "bin/uploader"}
    let_in = re.findall(r"^!(\S+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(let_in) == copied


def test_in_the_image_the_commands_are_there_from_any_folder(tmp_path: Path) -> None:
    # What lies in that folder is not taken for the uploader.
    (tmp_path / "uploader.py").write_text("raise SystemExit('another uploader')")
    done = subprocess.run(
        [PROJECT / "bin" / "uploader", "status", "--json"],
        cwd=tmp_path,
        env={"FERRY_HOME": str(PROJECT), "FERRY_PYTHON": sys.executable, "TRAINING_ROOT": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["runs"] == []
    script = (PROJECT / "bin" / "uploader").read_text()
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", script))
    assert {**image_variables(), **defaults} == image_variables()
    assert "COPY bin/uploader /usr/local/bin/uploader" in DOCKERFILE


def test_what_runs_is_compiled_in_the_image() -> None:
    (compiled,) = re.findall(r"-m compileall .*unchecked-hash (.+)$", DOCKERFILE, re.MULTILINE)
    assert set(compiled.split()) == RUNTIME
    assert DOCKERFILE.index("compileall") > max(DOCKERFILE.index(f"COPY {name} ") for name in RUNTIME)


def test_supervisord_finds_what_it_names() -> None:
    text = (PROJECT / "supervisord.conf").read_text()
    assert set(re.findall(r"%\(ENV_(\w+)\)s", text)) <= set(image_variables())
    sections = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    sections.read_string(text)
    modules = [sections[name]["command"].split()[2] for name in sections.sections() if "command" in sections[name]]
    assert len(modules) == 3
    for module in modules:
        path = PROJECT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
    assert (
        f'CMD ["/opt/ferry/bin/supervisord", "-c", "{image_variables()["FERRY_HOME"]}/supervisord.conf"]' in DOCKERFILE
    )


def test_the_images_variables_are_the_defaults() -> None:
    names = {name: value for name, value in image_variables().items() if name.startswith("AI_")}
    assert read_settings({**REQUIRED, **names}) == read_settings(REQUIRED)


def test_the_hub_offers_every_variable_with_its_default() -> None:
    offered = {field["key"]: field["input"] for field in hub()["config"]["env"]}
    known = {quoted(row[0])[0] for row in README.table("variable")}
    assert set(offered) == known | {"HF_TOKEN", "HF_HOME", "HF_HUB_DISABLE_XET"}
    assert {name for name, field in offered.items() if field.get("required")} == set(REQUIRED)
    defaults = {name: str(field["default"]) for name, field in offered.items() if name not in REQUIRED}
    assert read_settings({**REQUIRED, **defaults}) == read_settings(REQUIRED)


def test_the_hub_lets_nobody_choose_what_a_worker_refuses() -> None:
    for name, field in ((field["key"], field["input"]) for field in hub()["config"]["env"]):
        choices = [option["value"] for option in field.get("options", ())]
        match field["type"]:
            case "number":
                assert field["min"] <= field["default"] <= field["max"]
                choices = [field["min"], field["max"]]
            case "boolean":
                choices = [field["trueValue"], field["falseValue"]]
            case kind:
                assert kind == "string"
                assert not choices or field["default"] in choices
        for choice in choices:
            read_settings({**REQUIRED, name: str(choice)})


def test_the_hubs_presets_are_settings() -> None:
    keys = {field["key"] for field in hub()["config"]["env"]}
    for preset in hub()["config"]["presets"]:
        assert set(preset["defaults"]) <= keys
        read_settings({**REQUIRED, **{name: str(value) for name, value in preset["defaults"].items()}})


def test_the_hub_finds_its_icon_and_its_handler() -> None:
    folder = PROJECT / ".runpod"
    assert hub()["iconUrl"].endswith("/.runpod/icon.png")
    header = (folder / "icon.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (256, 256)
    assert (folder / "icon.svg").read_text("utf-8").startswith("<svg")
    environ = {name: value for name, value in os.environ.items() if name not in REQUIRED}
    started = subprocess.run(
        [sys.executable, folder / "handler.py"], env=environ, capture_output=True, text=True, check=False
    )
    assert (started.returncode, started.stderr.startswith("handler: SUPABASE_URL is not set")) == (2, True)


def test_the_hub_file_has_what_the_hub_asks_for() -> None:
    assert {"title", "description", "type", "category", "config"} <= set(hub())
    config = hub()["config"]
    assert (hub()["type"], config["runsOn"], config["gpuCount"]) == ("serverless", "GPU", 1)
    assert config["containerDiskInGb"] > 0
    assert re.fullmatch(r"[A-Z]+_\d+(_PRO)?(,[A-Z]+_\d+(_PRO)?)*", config["gpuIds"])
    tests = json.loads((PROJECT / ".runpod" / "tests.json").read_bytes())
    assert tests["config"]["allowedCudaVersions"] == config["allowedCudaVersions"]
    assert set(REQUIRED) == {field["key"] for field in tests["config"]["env"]}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_dependency_is_locked_with_its_hash(lock: str) -> None:
    text = (PROJECT / lock).read_text()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[^\w-]", requirement)[0]
        locked = rf"^{re.escape(name)}==\S.*\\\n +--hash=sha256:"
        assert re.search(locked, text, re.MULTILINE), name
    assert not re.search(r"https?://", text)


def test_the_licence_is_the_one_that_the_project_names() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    text = (PROJECT / "LICENSE").read_text()
    assert text.startswith(f"{project['license']} License\n")
    assert "Copyright (c) 2026 Ferry contributors" in text
