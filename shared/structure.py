"""Whether a file's own structure adds up: the second witness where nobody can see who is writing.

The safetensors format begins with eight bytes, the header's length, little-endian; the JSON header names for each
tensor where its data ends, counted from the end of the header. The last end is the file's end.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_LENGTH_BYTES = 8
# The format's own limit for a header.
_LARGEST_HEADER = 100_000_000
# The largest models have some megabytes; what is larger is not worth the memory that it takes to be understood.
_LARGEST_CHECKED = 16 << 20


def adds_up(path: Path, opened: Path | None = None) -> bool:
    """Return False when ``path`` is a kind of file whose structure can be checked and is not whole.

    ``opened`` is where its bytes are to be read, should its name be gone. Raises OSError where the disk does not let
    it be read, which may pass.
    """
    if path.suffix != ".safetensors":
        return True
    try:
        # A FIFO that has taken the file's place is not waited for.
        descriptor = os.open(opened or path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return _is_whole_safetensors(file, os.fstat(descriptor).st_size)
    except (FileNotFoundError, PermissionError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # Whatever somebody may write into a header.
        return False


def _is_whole_safetensors(file: BinaryIO, size: int) -> bool:
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if not 0 < length <= min(_LARGEST_HEADER, size - _LENGTH_BYTES):
        return False
    if length > _LARGEST_CHECKED:
        return True
    header = json.loads(file.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return bool(_LENGTH_BYTES + length + max(ends, default=0) == size)
