"""A job as RunPod takes it, read from a file: a whole request in JSON, or an ai-toolkit configuration in YAML."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from shared.errors import ErrorCode, FerryError
from shared.place import model_name, prefix_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIXES = frozenset({".json", ".yaml", ".yml"})
# RunPod's own defaults end a training after ten minutes, and forget a job after a day, its time in the queue included.
_DAY = 86_400_000
POLICY = {"executionTimeout": _DAY, "ttl": 7 * _DAY}


@dataclass(frozen=True, slots=True)
class Folders:
    """Where inputs and results of a configuration lie, each as ``bucket/folder``; a whole request says it itself."""

    dataset: str | None = None
    results: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and where the results will lie. ``name`` is the file's."""

    name: str
    body: Mapping[str, Any]
    bucket: str
    prefix: str

    @property
    def place(self) -> str:
        """Return bucket and prefix, as people write them."""
        return f"{self.bucket}/{self.prefix}"

    @property
    def digest(self) -> str:
        """Return the SHA-256, in hex, of what is to be trained."""
        return hashlib.sha256(json.dumps(self.body["input"], sort_keys=True).encode()).hexdigest()


def read_request(path: Path, folders: Folders) -> Request:
    """Return the request in ``path``. Raises FerryError where there is none; the worker checks what is in it."""
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise _wrong(path, f"cannot be read: {reason}") from error
    body = _parsed(path, content) if path.suffix == ".json" else {"input": _input(path, content, folders)}
    given, upload = body["input"], body["input"].get("upload_config")
    if not isinstance(upload, dict) or not isinstance(upload.get("bucket_name"), str):
        raise _wrong(path, "names no upload_config with a bucket_name")
    prefix = prefix_of(str(upload.get("folder_path") or ""), model_name(_config(path, given.get("config"))))
    return Request(path.name, {"policy": POLICY, **body}, upload["bucket_name"], prefix)


def _parsed(path: Path, content: str) -> dict[str, Any]:
    """Return a whole request; the bare input will do, too."""
    try:
        found = json.loads(content)
    except ValueError as error:
        raise _wrong(path, f"is no JSON: {error}") from error
    body = found if isinstance(found, dict) and "input" in found else {"input": found}
    if not isinstance(body["input"], dict):
        raise _wrong(path, "holds no input with config, dataset_config and upload_config")
    return body


def _input(path: Path, content: str, folders: Folders) -> dict[str, Any]:
    if folders.results is None:
        raise _wrong(path, "is a configuration and does not say where its results go: add --results BUCKET/FOLDER")
    dataset = None if folders.dataset is None else _folder(folders.dataset)
    return {"config": content, "dataset_config": dataset, "upload_config": _folder(folders.results)}


def _folder(text: str) -> dict[str, str]:
    bucket, _, folder = text.strip("/").partition("/")
    return {"bucket_name": bucket, "folder_path": folder}


def _config(path: Path, config: object) -> dict[str, Any]:
    try:
        parsed = yaml.safe_load(config) if isinstance(config, str) else config
    except yaml.YAMLError as error:
        raise _wrong(path, f"holds a configuration that is no YAML: {error}") from error
    if not isinstance(parsed, dict):
        raise _wrong(path, "holds no configuration")
    return parsed


def _wrong(path: Path, problem: str) -> FerryError:
    return FerryError(ErrorCode.INVALID_INPUT, f"{path} {problem}.")
