"""Whether a file's own structure adds up: the second witness where nobody can see who is writing.

The safetensors format begins with eight bytes, the header's length, little-endian; the JSON header names for each
tensor where its data ends, counted from the end of the header. The last end is the file's end.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LENGTH_BYTES = 8
# The format's own limit for a header.
_LARGEST_HEADER = 100_000_000


def adds_up(path: Path) -> bool:
    """Return False when ``path`` is a kind of file whose structure can be checked and is not whole."""
    if path.suffix != ".safetensors":
        return True
    try:
        return _safetensors_size(path) == path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _safetensors_size(path: Path) -> int:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if not 0 < length <= _LARGEST_HEADER:
            raise ValueError("no safetensors header")
        header = json.loads(file.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return _LENGTH_BYTES + length + max(ends, default=0)
