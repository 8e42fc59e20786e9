"""A RunPod job, checked as a whole before anything is downloaded: one answer names every mistake by its field."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from handler.config import ConfigError, parse_config
from handler.config.problems import told
from handler.config.reading import config_warnings
from handler.local_job import LOCAL_TEST
from handler.rewrite import required_inputs
from shared import keys
from shared.errors import ErrorCode, FerryError
from shared.links import LEAST_SECONDS, MOST_SECONDS
from shared.place import model_name, prefix_of

# RunPod's own have some forty characters.
MAX_ID = 200
# Below the prefix there must be room for the trainer's own folders and file names.
MAX_PREFIX = keys.MAX_KEY // 2

# What says how a job is run, not what is trained: one that goes on may say otherwise.
_HOW = {"resume", "link_seconds"}
_NO_BUCKET_MARKS = '/\\%?#"'


def _bucket_name(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("ferry", "is empty")
    if text in {".", ".."} or not text.isprintable() or any(mark in text for mark in _NO_BUCKET_MARKS):
        raise PydanticCustomError("ferry", "is no name that a bucket can have")
    return text


def _folder_path(text: str) -> str:
    stripped = text.strip("/")
    segments = stripped.split("/") if stripped else []
    if any(segment in {"", ".", ".."} for segment in segments):
        raise PydanticCustomError("ferry", "must not hold . or .. or an empty folder name")
    if "\\" in text or not text.isprintable():
        raise PydanticCustomError("ferry", "must not hold backslashes or control characters")
    return stripped


class BucketFolder(BaseModel):
    """A folder in a bucket, without slashes around it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bucket_name: Annotated[StrictStr, AfterValidator(_bucket_name)] = Field(description="the bucket, which must exist")
    folder_path: Annotated[StrictStr, AfterValidator(_folder_path)] = Field(
        description="the path of the folder in it, without `.` and `..`; empty: the bucket's root"
    )


class Input(BaseModel):
    """What may stand in a job's input. The configuration has rules of its own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    config: StrictStr | dict[str, Any] = Field(
        description="ai-toolkit's configuration, as YAML text or as a mapping; its paths are led to the staged dataset "
        "and into the session"
    )
    dataset_config: BucketFolder | None = Field(
        description="where the inputs are, everything below the folder; null where the configuration names none"
    )
    upload_config: BucketFolder = Field(description="where the results go: `{folder_path}/{model name}/`")
    resume: StrictBool | None = Field(
        default=None,
        description="true: go on with whatever lies there, even if its configuration was another; false: begin at the "
        "beginning; left out: go on with the same training alone",
    )
    link_seconds: StrictInt | None = Field(
        default=None,
        ge=LEAST_SECONDS,
        le=MOST_SECONDS,
        description="for how many seconds links to the newest samples and the last checkpoint are to be good; left "
        "out: there are none",
    )


class Job(BaseModel):
    """A job that can be run, as far as one can tell without the network.

    ``job_id`` is None where it identifies nothing. ``input_hash`` is the SHA-256 of what is to be trained, in hex:
    ``resume`` and ``link_seconds`` only say how, and are left out. ``warnings`` are for the person who sent the job.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str | None
    config: dict[str, Any]
    dataset: BucketFolder | None
    upload: BucketFolder
    resume: bool | None
    link_seconds: int | None
    input_hash: str
    warnings: tuple[str, ...]

    @property
    def model_name(self) -> str:
        """Return the name that the results are filed under."""
        return model_name(self.config)

    @property
    def prefix(self) -> str:
        """Return the start of every key that this job writes: folder and model name, as Storage takes them."""
        return prefix_of(self.upload.folder_path, self.model_name)


def parse_job(event: Mapping[str, object]) -> Job:
    """Return the job in what RunPod delivers, ``{"id": …, "input": {…}}``.

    Raises FerryError: INVALID_CONFIG where only the configuration is wrong, else INVALID_INPUT.
    """
    raw = event.get("input")
    if not isinstance(raw, Mapping) or not raw:
        raise FerryError(
            ErrorCode.INVALID_INPUT,
            "The job cannot be run: input is missing; it holds config, dataset_config and upload_config.",
        )
    checked, mistakes = _checked_fields(raw)
    config, config_mistakes = _checked_config(raw.get("config"))
    if checked and config is not None:
        job = _job(event, raw, checked, config)
        mistakes = _mistakes_together(job)
        if not mistakes:
            return job
    unknown = [f"{field} is not known{_meant(field)}" for field in _unknown_fields(raw)]
    code = ErrorCode.INVALID_INPUT if mistakes else ErrorCode.INVALID_CONFIG
    raise FerryError(code, f"The job cannot be run: {'; '.join(told((*mistakes, *config_mistakes, *unknown)))}.")


def _checked_fields(raw: Mapping[str, object]) -> tuple[Input | None, list[str]]:
    try:
        return Input.model_validate(dict(raw)), []
    except ValidationError as error:
        described = (_described(detail) for detail in error.errors(include_url=False))
        return None, list(dict.fromkeys(described))


def _checked_config(raw: object) -> tuple[dict[str, Any] | None, list[str]]:
    if not isinstance(raw, str | Mapping):
        return None, []
    try:
        config = parse_config(raw)
        required_inputs(config)
    except ConfigError as error:
        return None, [f"config: {problem}" for problem in error.problems]
    return config, []


def _job(event: Mapping[str, object], raw: Mapping[str, object], checked: Input, config: dict[str, Any]) -> Job:
    identity = event.get("id")
    return Job(
        job_id=str(identity) if identity and identity != LOCAL_TEST else None,
        config=config,
        dataset=checked.dataset_config,
        upload=checked.upload_config,
        resume=checked.resume,
        link_seconds=checked.link_seconds,
        input_hash=_hash(checked.model_dump(exclude=_HOW)),
        warnings=told(
            (
                *(f"{field} is not known and was ignored{_meant(field)}" for field in _unknown_fields(raw)),
                *config_warnings(config),
            )
        ),
    )


def _mistakes_together(job: Job) -> list[str]:
    """Return what is wrong although each field is right by itself."""
    mistakes = []
    if job.job_id is not None and (len(job.job_id) > MAX_ID or not job.job_id.isprintable()):
        mistakes.append(f"id must be text of at most {MAX_ID} printable characters")
    if job.dataset is None and required_inputs(job.config):
        mistakes.append("dataset_config is null, but the configuration names inputs that must come from a bucket")
    if len(job.prefix) > MAX_PREFIX:
        mistakes.append(
            f"upload_config.folder_path and the model's name together are longer than {MAX_PREFIX} characters"
        )
    if any(len(segment) > keys.MAX_SEGMENT for segment in job.prefix.split("/")):
        mistakes.append(
            f"upload_config.folder_path or the model's name has a part that is longer than {keys.MAX_SEGMENT} "
            "characters as Storage writes it"
        )
    return mistakes


def _described(detail: ErrorDetails) -> str:
    # A union's branches stand in the location too; no field is called like them.
    field = ".".join(str(part) for part in detail["loc"] if part in _FIELDS)
    match detail["type"]:
        case "missing":
            null = " (null is right where the configuration names no dataset)" if field == "dataset_config" else ""
            return f"{field} is missing{null}"
        case "ferry":
            return f"{field} {detail['msg']}"
        case "int_type":
            return f"{field} must be a whole number of seconds"
        case "greater_than_equal" | "less_than_equal":
            return f"{field} must be from {LEAST_SECONDS} to {MOST_SECONDS} (seven days)"
        case "bool_type":
            return f"{field} must be true or false"
        case "string_type" | "dict_type" if field == "config":
            return "config must be YAML text or a mapping"
        case "string_type":
            return f"{field} must be text"
        case _:
            return f"{field} must be a mapping with bucket_name and folder_path"


def _unknown_fields(raw: Mapping[str, object]) -> list[str]:
    unknown = [str(field) for field in raw if field not in Input.model_fields]
    for folder in ("dataset_config", "upload_config"):
        inner = raw.get(folder)
        if isinstance(inner, Mapping):
            unknown += [f"{folder}.{field}" for field in inner if field not in BucketFolder.model_fields]
    return unknown


def _meant(field: str) -> str:
    folder, dot, name = field.rpartition(".")
    known = BucketFolder.model_fields if dot else Input.model_fields
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {folder}{dot}{close[0]}?)" if close else ""


def _hash(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


_FIELDS = frozenset({*Input.model_fields, *BucketFolder.model_fields})
