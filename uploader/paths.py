"""How a path is shown. File names are bytes; documents and headers are Unicode."""

from __future__ import annotations


def printable(path: str) -> str:
    """Return a path as valid Unicode: bytes that are no UTF-8 become ``\\xNN``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def on_terminal(text: str) -> str:
    """Return ``text`` for somebody's terminal: what ends a line there, moves the cursor or colours is an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in printable(text)
    )
