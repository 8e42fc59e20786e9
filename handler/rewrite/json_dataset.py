"""A dataset that is a JSON file: its keys are the paths of the files to train on, its values their captions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Some hundred thousand captions.
MAX_BYTES = 64 << 20
# A key that stands for no staged file; told so many of them, one knows what is wrong.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class JsonDataset:
    """A rewritten JSON file: where to put it, and what is in it."""

    path: Path
    content: bytes


def rewrite_keys(content: bytes, locate: Callable[[str], Path | None]) -> bytes:
    """Return the JSON with every key replaced by the path that ``locate`` returns for it.

    Raises ValueError with what is wrong: no JSON, no mapping, keys that no staged file fits, or that fit the same one.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        captions = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON ({error})") from None
    if not isinstance(captions, dict) or not captions:
        raise ValueError("must be a JSON mapping of file paths to captions")
    paths = {key: locate(key) for key in captions}
    missing = [key for key, path in paths.items() if path is None]
    if missing:
        some = ", ".join(repr(key) for key in missing[:_SHOWN])
        raise ValueError(f"names {len(missing)} files that are not in the staged dataset, such as {some}")
    if len(set(paths.values())) < len(paths):
        raise ValueError("names the same staged file twice")
    rewritten = json.dumps({str(paths[key]): caption for key, caption in captions.items()}, ensure_ascii=False)
    try:
        return rewritten.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character") from None
