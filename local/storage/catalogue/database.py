"""The catalogue's SQLite file."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    public INTEGER NOT NULL,
    file_size_limit INTEGER,
    allowed_mime_types TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    folded TEXT NOT NULL,
    id TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    version TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    content_type TEXT NOT NULL,
    cache_control TEXT NOT NULL,
    written INTEGER NOT NULL,
    user_metadata TEXT,
    PRIMARY KEY (bucket, key)
);
CREATE INDEX IF NOT EXISTS objects_folded ON objects (bucket, folded, key);
CREATE TABLE IF NOT EXISTS uploads (
    version TEXT PRIMARY KEY,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    length INTEGER,
    metadata TEXT NOT NULL,
    created INTEGER NOT NULL
);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, made if need be, each statement its own transaction unless one is begun.

    One thread at a time may use the connection. With the write-ahead log a killed server loses nothing that was
    committed, and no request waits for the disk.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_SCHEMA)
    return connection
