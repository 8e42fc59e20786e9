"""The key that opens Storage: given for good, or kept in a file that may be replaced while the program runs."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

KEY_VARIABLE = "SUPABASE_SERVICE_KEY"
FILE_VARIABLE = "SUPABASE_SERVICE_KEY_FILE"
# A key has some hundred characters; what is longer is another file.
_LONGEST_FILE = 1 << 16


def is_key(text: str) -> bool:
    """Return whether ``text`` can be sent as a key: the errors of the HTTP libraries would show one that cannot."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def read_key(file: Path) -> str:
    """Return the key in ``file``. Raises ValueError, which says what the file must be, where it holds none."""
    try:
        # Neither a FIFO nor a device: those would be waited for, and can be read only once.
        if not file.is_file():
            raise ValueError("a file that holds the key and nothing else (there is no such file)")
        with file.open("rb") as opened:
            text = opened.read(_LONGEST_FILE).decode(errors="replace").strip()
    except OSError as error:
        raise ValueError(f"a file that holds the key and nothing else ({error.strerror or error})") from None
    if not is_key(text):
        raise ValueError("a file that holds the key and nothing else (what it holds is no key)")
    return text


class ServiceKey:
    """The key in force. Thread-safe.

    One in a file is read again whenever the file is another one, so that a key can be rotated while trainings run. As
    long as the file holds no key, as in the middle of being written, the old one stays in force.
    """

    def __init__(self, key: str, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._had = [key]
        self._stamp: tuple[int, ...] | None = None

    @property
    def had(self) -> Collection[str]:
        """Return every key that is or has been in force, those to come included: none may show anywhere."""
        return self._had

    def current(self) -> str:
        """Return the key to send now. Costs one look at the file's times."""
        with self._lock:
            stamp = self._look()
            if self._file is not None and stamp is not None and stamp != self._stamp:
                self._stamp = stamp
                with suppress(ValueError):
                    self._take(read_key(self._file))
            return self._had[-1]

    def renew(self) -> None:
        """Read the file now, whatever its times say.

        Raises FerryError where the file holds no key; the old one then stays in force.
        """
        if self._file is None:
            return
        try:
            key = read_key(self._file)
        except ValueError as error:
            sentence = f"{FILE_VARIABLE} is '{self._file}', but it must be {error}."
            raise FerryError(ErrorCode.INVALID_INPUT, sentence) from None
        with self._lock:
            self._take(key)

    def _take(self, key: str) -> None:
        if key != self._had[-1]:
            self._had.append(key)

    def _look(self) -> tuple[int, ...] | None:
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
