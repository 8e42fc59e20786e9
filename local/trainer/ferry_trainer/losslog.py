"""``loss_log.db``: learning rate and loss by step, in a SQLite database in WAL mode, open during the training.

Tables and columns are those of ai-toolkit, whose UI reads them.
"""

import math
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

_TABLES = """
create table if not exists steps (step integer primary key, wall_time real not null);
create table if not exists metric_keys (key text primary key, first_seen_step integer, last_seen_step integer);
create table if not exists metrics (
    step integer not null references steps (step) on delete cascade,
    key text not null,
    value_real real,
    value_text text,
    primary key (step, key)
);
create index if not exists idx_metrics_key_step on metrics (key, step);
"""
_FORGET_LATER_STEPS = "delete from steps where step > ?"
_PUT_STEP = "insert into steps values (?, ?) on conflict (step) do update set wall_time = excluded.wall_time"
_PUT_KEY = """
insert into metric_keys values (:key, :step, :step) on conflict (key) do update set
    first_seen_step = min(first_seen_step, excluded.first_seen_step),
    last_seen_step = max(last_seen_step, excluded.last_seen_step)
"""
_PUT_METRIC = "insert or replace into metrics values (:step, :key, :real, :text)"


class LossLog:
    """Entries by step. Without a connection it takes them and keeps nothing."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Put down the metrics of a step."""
        if self._connection is None:
            return
        with self._connection as connection:
            connection.execute(_PUT_STEP, (step, time.time()))
            for key, value in metrics.items():
                # SQLite takes no NaN: it would be stored as null.
                real, text = (None, str(value)) if math.isnan(value) else (value, None)
                connection.execute(_PUT_KEY, {"key": key, "step": step})
                connection.execute(_PUT_METRIC, {"step": step, "key": key, "real": real, "text": text})


@contextmanager
def open_loss_log(path: Path | None, start_step: int) -> Iterator[LossLog]:
    """The log at ``path`` (none: no log), without what an earlier run put down for steps after ``start_step``."""
    if path is None:
        yield LossLog(None)
        return
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        connection.execute("pragma foreign_keys = on")
        connection.executescript(_TABLES)
        with connection:
            connection.execute(_FORGET_LATER_STEPS, (start_step,))
        yield LossLog(connection)
