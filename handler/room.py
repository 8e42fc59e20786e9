"""How much room a job takes: its dataset, its checkpoints, and the models that are still to be downloaded."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from handler.stage.listing import Item

# A LoRA's checkpoints, as many as ai-toolkit keeps by default, and samples, and what of it waits to be uploaded.
OUTPUT_BYTES = 2 << 30

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def dataset_bytes(items: Iterable[Item]) -> int:
    """Return what staging takes. An archive of pictures is as large as they, and stays until it is unpacked."""
    return sum(item.record.size * (2 if item.is_archive else 1) for item in items)


def free_bytes(folder: Path) -> int:
    """Return what is free where ``folder`` is, or will be made. On a network volume it is the whole cluster's."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - pathlib raises where one may not look
    return shutil.disk_usage(there).free


def models_to_download(config: Mapping[str, Any], cache: Path) -> tuple[str, ...]:
    """Return the hub ids of the models that a (parsed) configuration trains and that ``cache`` does not hold."""
    processes = config["config"]["process"]
    models = (process.get("model") for process in processes)
    names = [model.get("name_or_path") for model in models if isinstance(model, dict)]
    ids = dict.fromkeys(name for name in names if isinstance(name, str) and _HUB_ID.fullmatch(name))
    return tuple(each for each in ids if not os.path.exists(cache / f"models--{each.replace('/', '--')}"))  # noqa: PTH110 - see above
