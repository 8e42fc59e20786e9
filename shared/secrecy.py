"""What must show nowhere: the values of secret variables, in every form in which a text may hold one."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast
from urllib.parse import quote, unquote, urlsplit

from shared.service_key import FILE_VARIABLE, read_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MASK = "***"
# What is masked by name when a variable's value looks like a secret; short values would blank out ordinary words.
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL")
_SHORTEST_SECRET = 8
# The parts of a signed token that are its own; shorter ones are of some other text with two dots.
_SHORTEST_PART = 16
_LOOK_SECONDS = 1.0
# How a signed token's first part begins, a JSON object in base64. It says how the token is signed, and so stands before
# others of the same server as well, such as those in signed addresses.
_HEADER = "eyJ"
_SIGNED_ADDRESS = re.compile(r"(/object/sign/[^\s\"'<>]*[?&]token=)[^\s\"'<>&\\]+")


def secrets_of(environ: Mapping[str, str]) -> frozenset[str]:
    """Return what must show nowhere of ``environ``: values whose variable's name says so, and passwords in addresses.

    Each line of a value counts for itself, since logs are read line by line. Of the service key's file it is the
    content, not the path.
    """
    named = {name: value for name, value in environ.items() if any(word in name.upper() for word in _SECRET_WORDS)}
    file = named.pop(FILE_VARIABLE, "").strip()
    passwords = (password for value in environ.values() for password in _passwords(value))
    values = (*named.values(), _content(file), *passwords)
    return frozenset(form for value in values for form in _forms(value) if len(form) >= _SHORTEST_SECRET)


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every secret replaced. Longer ones go first, since one may lie inside another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


class Secrets:
    """The secrets of this process's environment. One that was replaced may still open something: it stays secret."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: frozenset[str] = frozenset()
        self._looked: float | None = None
        self._stamp: object = None
        self._environ: Mapping[str, str] = {}

    def __call__(self) -> frozenset[str]:
        """Return every secret that there is, or has been since the first call.

        Each line of a log asks, and finding out costs more than writing it: the answer is that of the last second,
        unless the key's file is another one.
        """
        now, stamp = self._clock(), _stamp(os.environ.get(FILE_VARIABLE, "").strip())
        replaced = stamp != self._stamp
        if self._looked is None or now - self._looked >= _LOOK_SECONDS or replaced:
            environ = dict(os.environ)
            if replaced or environ != self._environ:
                self._known |= secrets_of(environ)
            self._looked, self._stamp, self._environ = now, stamp, environ
        return self._known


def keep_secrets() -> None:
    """Make what this process writes its user's alone: files and folders, and those of every process that it starts.

    Nothing secret leaves through stdout and stderr, whoever writes it: a library, or Python's own traceback.
    """
    os.umask(0o077)
    secrets = Secrets()
    sys.stdout = cast("TextIO", _Masked(sys.stdout, secrets))
    sys.stderr = cast("TextIO", _Masked(sys.stderr, secrets))


class _Masked:
    """A text stream that masks what is written to it; in everything else it is the stream that it stands for."""

    def __init__(self, stream: TextIO, secrets: Callable[[], frozenset[str]]) -> None:
        self._stream = stream
        self._secrets = secrets

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, masked, and return its length."""
        self._stream.write(_without_tokens(mask(text, self._secrets())))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``, masked."""
        for line in lines:
            self.write(line)


def _without_tokens(text: str) -> str:
    """Return ``text`` with the token of every signed address masked: it opens an object for everybody who reads it."""
    return _SIGNED_ADDRESS.sub(rf"\1{MASK}", text)


def _content(file: str) -> str:
    try:
        return read_key(Path(file)) if file else ""
    except ValueError:
        return ""


def _stamp(file: str) -> tuple[int, ...] | None:
    try:
        found = Path(file).stat() if file else None
    except (OSError, ValueError):
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)


def _passwords(value: str) -> Iterator[str]:
    """Yield the password in an address such as a database's or a proxy's, as it stands there and as it is meant."""
    if "://" not in value:
        return
    try:
        password = urlsplit(value).password or ""
    except ValueError:
        return
    yield from (password, unquote(password))


def _forms(value: str) -> Iterator[str]:
    for raw in value.splitlines():
        line = raw.strip()
        yield from (line, quote(line, safe=""), json.dumps(line)[1:-1], repr(line)[1:-1])
        parts = line.split(".")
        if len(parts) == 3:
            own = parts[1:] if parts[0].startswith(_HEADER) else parts
            yield from (part for part in own if len(part) >= _SHORTEST_PART)
