"""The environment, read once: every variable with its default, its unit and one clear line when it is wrong."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from shared.contract.process import boot_id, host_name
from shared.errors import ErrorCode, FerryError
from shared.log_lines import LogFormat
from shared.service_key import FILE_VARIABLE, KEY_VARIABLE, read_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SERVERLESS_VOLUME = Path("/runpod-volume")
# A worker's own disk goes with it, so there the drain waits for long; a volume is carried on by the next worker.
DRAIN_SECONDS_WITH_VOLUME = 600.0
DRAIN_SECONDS_WITHOUT_VOLUME = 7200.0

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_BYTE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9_.-]+")

T = TypeVar("T")


def parse_bytes(text: str) -> int:
    """Return the bytes that ``20G``, ``500 MB`` or ``1048576`` stand for; units are powers of 1024."""
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        raise ValueError("a number of bytes such as 20G, 500M or 1048576")
    return int(float(match.group(1)) * _BYTE_UNITS[match.group(2).lower()])


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where Storage is, and the key that opens it, which never shows in a repr; ``key_file`` is where it came from."""

    url: str
    key: str = field(repr=False)
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class HandlerSettings:
    """What the handler needs to know. Times are seconds; 0 for ``max_seconds`` means no limit."""

    toolkit: Path
    python: str
    trainer_variables: tuple[str, ...]
    stall_seconds: float
    max_seconds: float
    drain_seconds: float
    keep_sessions: int


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """What the uploader needs to know. Times are seconds, ``bandwidth`` bytes a second or None."""

    poll_seconds: float
    debounce_seconds: float
    concurrency: int
    bandwidth: int | None
    exclude: tuple[str, ...]
    log_seconds: float
    lag_alarm_seconds: float
    spool_bytes: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment says."""

    storage: StorageSettings
    root: Path
    worker: str
    volume: bool
    log_format: LogFormat
    handler: HandlerSettings
    upload: UploadSettings


class _Reader:
    """Takes variables from a mapping and names the one that is wrong."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str = "") -> str:
        return self._environ.get(name, "").strip() or default

    def required(self, name: str, what: str) -> str:
        value = self.text(name)
        if not value:
            raise FerryError(ErrorCode.INVALID_INPUT, f"{name} is not set: set it to {what}.")
        return value

    def parsed(self, name: str, default: str, parse: Callable[[str], T]) -> T:
        value = self.text(name, default)
        try:
            return parse(value)
        except ValueError as error:
            raise FerryError(ErrorCode.INVALID_INPUT, f"{name} is {value!r}, but it must be {error}.") from None

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.text(name).split(",") if word.strip())


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return parse


def _count(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _url(text: str) -> str:
    if not _is_address(text):
        raise ValueError("an address such as https://<project>.supabase.co")
    return text.rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and " " not in text
    except ValueError:  # Of a port that is none, or of half an address of IPv6.
        return False


def _log_format(text: str) -> LogFormat:
    try:
        return LogFormat(text)
    except ValueError:
        raise ValueError(" or ".join(LogFormat)) from None


def _bandwidth(text: str) -> int | None:
    if text in {"none", "0"}:
        return None
    value = parse_bytes(text)
    if value < 1 << 10:
        raise ValueError("at least 1K a second, or none")
    return value


def _root(reader: _Reader, volume: Path) -> Path:
    default = volume / "training" if volume.is_dir() else Path("/workspace/training")
    root = Path(reader.text("TRAINING_ROOT", str(default)))
    if not root.is_absolute():
        raise FerryError(ErrorCode.INVALID_INPUT, f"TRAINING_ROOT is {str(root)!r}, but it must be an absolute path.")
    return root


def _handler(reader: _Reader, volume: bool) -> HandlerSettings:
    drain = DRAIN_SECONDS_WITH_VOLUME if volume else DRAIN_SECONDS_WITHOUT_VOLUME
    return HandlerSettings(
        toolkit=Path(reader.text("AI_TOOLKIT_DIR", "/app/ai-toolkit")),
        python=reader.text("AI_TOOLKIT_PYTHON", "/usr/bin/python3"),
        trainer_variables=reader.words("TRAINER_ENV"),
        stall_seconds=reader.parsed("TRAINING_STALL_SECONDS", "1800", _number(1, 604800)),
        max_seconds=reader.parsed("TRAINING_MAX_SECONDS", "0", _number(0, 31536000)),
        drain_seconds=reader.parsed("DRAIN_SECONDS", f"{drain:g}", _number(0, 604800)),
        keep_sessions=reader.parsed("KEEP_SESSIONS", "3", _count(0, 100000)),
    )


def _upload(reader: _Reader) -> UploadSettings:
    return UploadSettings(
        poll_seconds=reader.parsed("UPLOAD_POLL_SECONDS", "1", _number(0.05, 3600)),
        debounce_seconds=reader.parsed("UPLOAD_DEBOUNCE_SECONDS", "3", _number(0, 3600)),
        concurrency=reader.parsed("UPLOAD_CONCURRENCY", "16", _count(1, 256)),
        bandwidth=reader.parsed("UPLOAD_BANDWIDTH", "none", _bandwidth),
        exclude=reader.words("UPLOAD_EXCLUDE"),
        log_seconds=reader.parsed("UPLOAD_LOG_SECONDS", "15", _number(1, 3600)),
        lag_alarm_seconds=reader.parsed("UPLOAD_LAG_ALARM_SECONDS", "600", _number(1, 604800)),
        spool_bytes=reader.parsed("SPOOL_BYTES", "20G", parse_bytes),
    )


def _storage(reader: _Reader) -> StorageSettings:
    url = reader.required("SUPABASE_URL", "your project's address, https://<project>.supabase.co")
    reader.parsed("SUPABASE_URL", url, _url)
    file = reader.text(FILE_VARIABLE)
    if file:
        key = reader.parsed(FILE_VARIABLE, file, lambda text: read_key(Path(text)))
        return StorageSettings(url.rstrip("/"), key, Path(file))
    what = f"your project's service_role key, or {FILE_VARIABLE} to a file that holds it"
    return StorageSettings(url.rstrip("/"), reader.required(KEY_VARIABLE, what))


def worker_name(environ: Mapping[str, str]) -> str:
    """Return the name of this worker: RunPod's pod id, else host and boot id, safe as a file's name."""
    name = environ.get("RUNPOD_POD_ID", "").strip() or f"{host_name()}-{boot_id()}"
    return _UNSAFE_IN_FILE_NAME.sub("-", name).lstrip(".-") or "worker"


def read_settings(environ: Mapping[str, str] | None = None, serverless_volume: Path = SERVERLESS_VOLUME) -> Settings:
    """Return what the environment says. Raises FerryError naming the first variable that is missing or wrong."""
    environ = os.environ if environ is None else environ
    reader = _Reader(environ)
    storage = _storage(reader)
    root = _root(reader, serverless_volume)
    volume = serverless_volume.is_dir() and root.is_relative_to(serverless_volume)
    return Settings(
        storage=storage,
        root=root,
        worker=worker_name(environ),
        volume=volume,
        log_format=read_log_format(environ),
        handler=_handler(reader, volume),
        upload=_upload(reader),
    )


def read_root(environ: Mapping[str, str] | None = None, serverless_volume: Path = SERVERLESS_VOLUME) -> Path:
    """Return the training root alone, for commands that need no Storage. Raises FerryError when it is wrong."""
    return _root(_Reader(os.environ if environ is None else environ), serverless_volume)


def read_storage(environ: Mapping[str, str] | None = None) -> StorageSettings:
    """Return where Storage is and its key alone, for machines that are no worker. Raises FerryError as above."""
    return _storage(_Reader(os.environ if environ is None else environ))


def read_log_format(environ: Mapping[str, str] | None = None) -> LogFormat:
    """Return how the log is to be written, which is known before anything else. Raises FerryError when it is wrong."""
    return _Reader(os.environ if environ is None else environ).parsed("LOG_FORMAT", LogFormat.TEXT, _log_format)
