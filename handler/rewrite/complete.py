"""What ai-toolkit cannot do without, added where a configuration leaves it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.place import model_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.layout import SessionFolder

_WITHOUT_TRAINING = frozenset({"generate", "extract", "mod"})


def completed(config: Mapping[str, Any], session: SessionFolder) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return ``config`` with job, name and training folder, and warnings of what was taken for granted.

    The trainer of ai-toolkit's own interface becomes the one that does the same without the interface's database.
    """
    whole, inner = dict(config), dict(config["config"])
    warnings: tuple[str, ...] = ()
    if whole.get("job") is None:
        whole = {**whole, "job": "extension"}
        warnings = ("job is missing and was taken to be extension",)
    if inner.get("name") is None:
        inner["name"] = model_name(config)
    trains = whole["job"] not in _WITHOUT_TRAINING
    folder = {"training_folder": str(session.output)} if trains and not inner.get("training_folder") else {}
    inner["process"] = [_completed_process(process, folder) for process in inner["process"]]
    return {**whole, "config": inner}, warnings


def _completed_process(process: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    whole = {**process, **{key: value for key, value in defaults.items() if not process.get(key)}}
    if whole["type"] == "ui_trainer":
        whole["type"] = "diffusion_trainer"
    return whole
