"""Where a job's results go: the worker files by this rule, and whoever sent the job finds them by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import keys

DEFAULT_MODEL_NAME = "default_model"


def model_name(config: Mapping[str, Any]) -> str:
    """Return the name that the results of an ai-toolkit configuration (as parsed) are filed under in the bucket."""
    inner = inner_config(config)
    for holder, key in ((inner, "name"), (first_process(inner), "name"), (config, "name"), (config, "model_name")):
        name = holder.get(key)
        if isinstance(name, str) and name.strip():
            return name
    return DEFAULT_MODEL_NAME


def prefix_of(folder_path: str, name: str) -> str:
    """Return the start of every key that a job writes: its folder and its model's name, as Storage takes them."""
    return keys.join(keys.escape(folder_path), keys.escape_segment(name))


def inner_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what stands under ``config``, empty where that is nothing usable."""
    inner = config.get("config")
    return inner if isinstance(inner, Mapping) else {}


def first_process(inner: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first process of what stands under ``config``, empty where there is none."""
    processes = inner.get("process")
    first = processes[0] if isinstance(processes, list) and processes else None
    return first if isinstance(first, Mapping) else {}
