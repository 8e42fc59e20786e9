"""ai-toolkit as it lies on this machine: its folder, its interpreter, its version, and where its models are kept."""

from __future__ import annotations

import re
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.settings import HandlerSettings

# FLUX.1-dev, which most jobs train, takes 34 GB; Wan 2.2 more, SDXL less.
MODEL_BYTES = 40 << 30


def check_toolkit(settings: HandlerSettings) -> str:
    """Return the toolkit's version, empty where it does not say. Raises FerryError when it cannot be run at all."""
    if not (settings.toolkit / "run.py").is_file():
        raise FerryError(
            ErrorCode.TOOLKIT_NOT_FOUND,
            f"There is no ai-toolkit at {settings.toolkit} (no run.py in it): set AI_TOOLKIT_DIR to its folder.",
        )
    if which(settings.python) is None:
        raise FerryError(
            ErrorCode.TOOLKIT_NOT_FOUND,
            f"The toolkit's interpreter {settings.python} does not exist or is not executable: "
            "set AI_TOOLKIT_PYTHON to the Python that ai-toolkit is installed for.",
        )
    try:
        text = (settings.toolkit / "version.py").read_text(errors="replace")
    except OSError:
        return ""
    match = re.search(r"^VERSION\s*=\s*[\"']([^\"']+)", text, re.MULTILINE)
    return match.group(1) if match else ""


def model_cache(environ: Mapping[str, str]) -> Path:
    """Return where huggingface_hub keeps models, as its documentation says."""
    if given := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(given)
    home = environ.get("HOME") or "/root"
    general = environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    return Path(environ.get("HF_HOME") or f"{general}/huggingface") / "hub"
