"""A job is checked as a whole, and its mistakes are named by their fields."""

from __future__ import annotations

from typing import Any

import pytest

from handler.job import Job, parse_job
from shared.contract.session import Session
from shared.errors import ErrorCode, FerryError

CONFIG = """\
job: extension
config:
  name: cats
  process:
    - type: sd_trainer
      datasets: [{folder_path: /data/cats}]
      train: {lr: 1e-4}
"""
SLIDER = "job: train\nconfig: {name: detail, training_folder: out, process: [{type: slider}]}"


def event(**changes: object) -> dict[str, Any]:
    """A job that can be run, with some fields changed; ``...`` takes one away."""
    given = {
        "config": CONFIG,
        "dataset_config": {"bucket_name": "datasets", "folder_path": "cats"},
        "upload_config": {"bucket_name": "outputs", "folder_path": "runs/1"},
        **changes,
    }
    return {"id": "job-1", "input": {field: value for field, value in given.items() if value is not ...}}


def refusal(raw: dict[str, Any]) -> FerryError:
    with pytest.raises(FerryError) as caught:
        parse_job(raw)
    assert caught.value.sentence.startswith("The job cannot be run: ")
    return caught.value


def test_a_job_that_can_be_run() -> None:
    job = parse_job(event())
    assert job.job_id == "job-1"
    assert job.dataset
    assert (job.dataset.bucket_name, job.dataset.folder_path) == ("datasets", "cats")
    assert job.prefix == "runs/1/cats"
    assert (job.resume, job.link_seconds) == (None, None)
    assert job.warnings == ()


def test_a_mapping_is_a_configuration_too() -> None:
    config = {"config": {"name": "dogs", "process": [{"type": "slider"}]}}
    assert parse_job(event(config=config)).prefix == "runs/1/dogs"


def test_a_job_fits_into_the_session_file() -> None:
    job = parse_job(event(config=CONFIG + "meta: {made: 2024-01-02}"))
    session = Session.model_construct(config=job.config)
    assert '"lr": 0.0001' in session.model_dump_json(indent=1, include={"config"})


@pytest.mark.parametrize("identity", ["local_test", "", None, ...])
def test_what_identifies_no_job(identity: object) -> None:
    raw = event()
    if identity is ...:
        del raw["id"]
    else:
        raw["id"] = identity
    assert parse_job(raw).job_id is None


@pytest.mark.parametrize("field", ["config", "dataset_config", "upload_config"])
def test_a_missing_field_is_named(field: str) -> None:
    error = refusal(event(**{field: ...}))
    assert error.code is ErrorCode.INVALID_INPUT
    assert f"{field} is missing" in error.sentence


@pytest.mark.parametrize("raw", [{}, {"input": None}, {"input": []}, {"input": "x"}, {"input": {}}])
def test_no_input_at_all(raw: dict[str, Any]) -> None:
    assert "input is missing" in refusal(raw).sentence


def test_every_mistake_is_named_in_one_answer() -> None:
    error = refusal(
        event(
            config="config:\n  name: 'x",
            dataset_config={"bucket_name": 3, "folder_path": "../secrets"},
            upload_config={"folder_pth": "x"},
            resume="yes",
            priority=1,
        )
    )
    assert error.code is ErrorCode.INVALID_INPUT
    for said in (
        "config: line 2, column 11",
        "dataset_config.bucket_name must be text",
        "dataset_config.folder_path must not hold . or ..",
        "upload_config.bucket_name is missing",
        "upload_config.folder_path is missing",
        "upload_config.folder_pth is not known (did you mean upload_config.folder_path?)",
        "resume must be true or false",
        "priority is not known",
    ):
        assert said in error.sentence


def test_where_only_the_configuration_is_wrong_the_code_says_so() -> None:
    assert refusal(event(config="- a")).code is ErrorCode.INVALID_CONFIG
    wrong = {"config": {"process": [{"type": "t", "datasets": [{"folder_path": {}}]}]}}
    error = refusal(event(config=wrong))
    assert error.code is ErrorCode.INVALID_CONFIG
    assert "config.process[0].datasets[0].folder_path must be text" in error.sentence


@pytest.mark.parametrize("config", [None, 3, ["a"], True])
def test_a_configuration_of_another_kind(config: object) -> None:
    assert "config must be YAML text or a mapping" in refusal(event(config=config)).sentence


@pytest.mark.parametrize("folder", ["..", "a/../b", "./a", "a//b", "a\\b", "a\x00b", "a\nb", "/../a", "a/.."])
@pytest.mark.parametrize("field", ["dataset_config", "upload_config"])
def test_a_folder_that_leads_elsewhere_is_refused(field: str, folder: str) -> None:
    error = refusal(event(**{field: {"bucket_name": "b", "folder_path": folder}}))
    assert f"{field}.folder_path must not hold" in error.sentence


@pytest.mark.parametrize("bucket", ["", "a/b", "..", "a\\b", "a\x00", "a%2fb"])
def test_a_name_that_no_bucket_has_is_refused(bucket: str) -> None:
    assert (
        "upload_config.bucket_name" in refusal(event(upload_config={"bucket_name": bucket, "folder_path": ""})).sentence
    )


@pytest.mark.parametrize(
    ("folder", "prefix"), [("", "cats"), ("/", "cats"), ("/a/b/", "a/b/cats"), ("Übung", "=C3=9Cbung/cats")]
)
def test_prefix(folder: str, prefix: str) -> None:
    job = parse_job(event(upload_config={"bucket_name": "b", "folder_path": folder}))
    assert job.prefix == prefix


def test_a_prefix_that_leaves_no_room_is_refused() -> None:
    for folder in ("x" * 201, "/".join(["x" * 100] * 5)):
        assert (
            "upload_config.folder_path"
            in refusal(event(upload_config={"bucket_name": "b", "folder_path": folder})).sentence
        )


def test_null_is_right_only_where_no_dataset_is_named() -> None:
    assert parse_job(event(config=SLIDER, dataset_config=None)).dataset is None
    assert "dataset_config is null" in refusal(event(dataset_config=None)).sentence


def test_unknown_fields_are_warned_of() -> None:
    job = parse_job(event(resum=True, dataset_config={"bucket_name": "b", "folder_path": "c", "region": "eu"}))
    assert job.warnings == (
        "resum is not known and was ignored (did you mean resume?)",
        "dataset_config.region is not known and was ignored",
    )


@pytest.mark.parametrize("seconds", [60, 3600, 604_800])
def test_links_are_asked_for_in_seconds(seconds: int) -> None:
    assert parse_job(event(link_seconds=seconds)).link_seconds == seconds


@pytest.mark.parametrize("seconds", [59, 0, -1, 604_801, 1 << 70])
def test_links_that_are_good_for_too_short_or_too_long_are_refused(seconds: int) -> None:
    assert "link_seconds must be from 60 to 604800 (seven days)" in refusal(event(link_seconds=seconds)).sentence


@pytest.mark.parametrize("seconds", ["3600", 3600.5, True, [60], {"seconds": 60}])
def test_links_are_asked_for_by_a_number(seconds: object) -> None:
    assert "link_seconds must be a whole number of seconds" in refusal(event(link_seconds=seconds)).sentence


def test_the_hash_tells_inputs_apart_and_nothing_else() -> None:
    def of(**changes: object) -> str:
        job: Job = parse_job(event(**changes))
        return job.input_hash

    assert of() == of(resume=True) == of(resume=False) == of(link_seconds=60)
    reordered = {"folder_path": "runs/1/", "bucket_name": "outputs"}
    assert of() == of(upload_config=reordered)
    assert (
        len({of(), of(config=CONFIG + "# x"), of(dataset_config={"bucket_name": "datasets", "folder_path": "dogs"})})
        == 3
    )


@pytest.mark.parametrize("identity", ["x" * 201, "a\nb", "a\x1b[31m"])
def test_an_id_that_no_log_could_show_is_refused(identity: str) -> None:
    assert "id must be text of at most 200 printable characters" in refusal({**event(), "id": identity}).sentence


def test_warnings_have_an_end() -> None:
    fields = {f"{'x' * 1000}{number}": 1 for number in range(3000)}
    warnings = parse_job(event(**fields)).warnings
    assert len(warnings) == 21
    assert warnings[-1] == "and 2980 more"
    assert max(map(len, warnings)) < 500
