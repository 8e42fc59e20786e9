"""How a path is shown. File names are bytes; documents and headers are Unicode."""

from __future__ import annotations


def printable(path: str) -> str:
    """Return a path as valid Unicode: bytes that are no UTF-8 become ``\\xNN``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
