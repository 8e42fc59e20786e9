"""What is sent, and where its results will lie: read from requests and from configurations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from examples.client.request import POLICY, Folders, read_request
from handler.job import parse_job
from shared.errors import FerryError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {"job": "extension", "config": {"name": "Größe 1", "process": [{"type": "sd_trainer"}]}}
INPUT = {
    "config": CONFIG,
    "dataset_config": None,
    "upload_config": {"bucket_name": "outputs", "folder_path": "a b/c"},
}
NOWHERE = Folders()
FOLDERS = Folders("datasets/cats", "outputs/runs/1/")


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize("config", [CONFIG, yaml.safe_dump(CONFIG)], ids=["mapping", "text"])
def test_a_request_is_sent_as_it_is_and_its_results_lie_where_the_worker_puts_them(
    tmp_path: Path, config: object
) -> None:
    body = {"input": {**INPUT, "config": config}, "policy": {"ttl": 5}, "webhook": "https://x"}
    request = read_request(written(tmp_path, "job.json", body), NOWHERE)
    assert request.body == body
    assert (request.bucket, request.prefix) == ("outputs", parse_job(body).prefix)
    assert request.place == "outputs/a b/c/Gr=C3=B6=C3=9Fe 1"


def test_a_bare_input_will_do_and_gets_time_enough(tmp_path: Path) -> None:
    request = read_request(written(tmp_path, "job.json", INPUT), NOWHERE)
    assert request.body == {"input": INPUT, "policy": POLICY}


def test_a_configuration_is_sent_with_the_folders_beside_it(tmp_path: Path) -> None:
    text = yaml.safe_dump(CONFIG)
    request = read_request(written(tmp_path, "cats.yaml", text), FOLDERS)
    assert request.body["input"] == {
        "config": text,
        "dataset_config": {"bucket_name": "datasets", "folder_path": "cats"},
        "upload_config": {"bucket_name": "outputs", "folder_path": "runs/1"},
    }
    assert (request.name, request.prefix) == ("cats.yaml", parse_job(request.body).prefix)
    alone = read_request(written(tmp_path, "cats.yml", text), Folders(results="outputs"))
    assert alone.body["input"]["dataset_config"] is None
    assert alone.body["input"]["upload_config"] == {"bucket_name": "outputs", "folder_path": ""}


def test_the_digest_is_of_what_is_trained_and_not_of_how_it_is_sent(tmp_path: Path) -> None:
    def digest(body: object) -> str:
        return read_request(written(tmp_path, "job.json", body), NOWHERE).digest

    assert digest({"input": INPUT}) == digest({"input": INPUT, "policy": {"ttl": 1}}) == digest(INPUT)
    assert digest({"input": INPUT}) != digest({"input": {**INPUT, "resume": True}})


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", "{", "is no JSON"),
        ("a.json", "[]", "holds no input"),
        ("a.json", '{"input": 3}', "holds no input"),
        ("a.json", {"input": {"config": CONFIG}}, "names no upload_config with a bucket_name"),
        ("a.json", {"input": {**INPUT, "upload_config": {"bucket_name": 3}}}, "names no upload_config"),
        ("a.json", {"input": {**INPUT, "config": "a: ["}}, "holds a configuration that is no YAML"),
        ("a.json", {"input": {**INPUT, "config": "text"}}, "holds no configuration"),
        ("a.json", {"input": {**INPUT, "config": None}}, "holds no configuration"),
        ("a.yaml", "a: [", "holds a configuration that is no YAML"),
    ],
)
def test_what_cannot_be_sent_is_one_sentence(tmp_path: Path, name: str, content: object, problem: str) -> None:
    with pytest.raises(FerryError) as raised:
        read_request(written(tmp_path, name, content), FOLDERS)
    assert problem in raised.value.sentence
    assert str(tmp_path / name) in raised.value.sentence


def test_a_configuration_must_be_told_where_its_results_go(tmp_path: Path) -> None:
    with pytest.raises(FerryError, match="--results BUCKET/FOLDER"):
        read_request(written(tmp_path, "a.yaml", "config: {}"), NOWHERE)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FerryError, match="No such file"):
        read_request(tmp_path / "none.json", NOWHERE)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FerryError, match="no UTF-8"):
        read_request(tmp_path / "bytes.json", NOWHERE)
