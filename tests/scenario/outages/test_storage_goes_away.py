"""A Storage that is stopped under a running training and comes back with another key: the whole worker, for real."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from local.background import served
from local.queue.app import QueueApp
from local.storage.server import running_storage
from shared.contract.upload import StorageState, Upload
from shared.layout import sessions
from shared.settings import StorageSettings
from shared.storage.client import Storage
from tests.scenario.stack import OUTPUTS, Stack, job, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.storage.server import RunningStorage


class Away:
    """A Storage that can be stopped, and started again at the same address with another secret."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self._running = ExitStack()

    def start(self) -> RunningStorage:
        secret = secrets.token_hex(32)
        server = self._running.enter_context(running_storage(self._folder, port=self._port, secret=secret))
        self._port = urlsplit(server.url).port or 0
        return server

    def stop(self) -> None:
        self._running.close()


class Scene(Stack):
    """A worker whose key is in a file."""

    away: Away

    @property
    def key_file(self) -> Path:
        return self.folder / "service-key"

    def give_key(self, key: str) -> None:
        """Replace the key as an operator should."""
        fresh = self.folder / "fresh"
        fresh.write_text(f"{key}\n")
        fresh.replace(self.key_file)

    def is_seen(self, state: StorageState) -> bool:
        """Return whether the uploader says so of Storage."""
        uploads = (Upload.read(folder.upload_file) for folder in sessions(self.root))
        return any(upload is not None and upload.storage is state for upload in uploads)

    def check_manifest(self, prefix: str) -> set[str]:
        """Fail unless the bucket holds what the manifest says; return the paths."""
        manifest = self.manifest(prefix)
        assert manifest is not None
        assert (manifest.complete, manifest.missing) == (True, ())
        for entry in manifest.files:
            content = self.storage.read(OUTPUTS, entry.key)
            assert content is not None, entry.key
            assert hashlib.sha256(content).hexdigest() == entry.sha256, entry.key
        return {entry.path for entry in manifest.files}


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    queue, away = QueueApp(), Away(folder / "storage")
    with served(queue.app) as queue_url:
        made = Scene(folder, away.start(), queue, queue_url)
        made.away = away
        try:
            made.fill()
            made.give_key(made.server.service_key)
            yield made
        finally:
            made.close()
            away.stop()


@pytest.mark.guarantee("undisturbed", fault="Storage is stopped for a while and comes back with another key")
def test_the_training_runs_on_and_everything_arrives_with_the_new_key(tmp_path: Path) -> None:
    with scene(tmp_path) as worker:
        old = worker.server.service_key
        environ = {"SUPABASE_SERVICE_KEY": "", "SUPABASE_SERVICE_KEY_FILE": str(worker.key_file)}
        uploader = worker.start("uploader", "run", **environ)
        worker.start("handler", **environ)
        first = worker.send(job("pictures", steps=36, step_seconds=0.15, keep=20))
        until(lambda: worker.session_step() >= 8, f"eight steps\n{worker.log()[-3000:]}")

        worker.away.stop()
        stopped_at = worker.session_step()
        until(lambda: worker.is_seen(StorageState.DOWN), "the outage is noticed")
        # Two checkpoints further, without Storage.
        until(lambda: worker.session_step() >= min(36, stopped_at + 12), "the training goes on")

        server = worker.away.start()
        until(lambda: worker.is_seen(StorageState.DENIED), "the refusal is noticed")
        worker.give_key(server.service_key)
        uploader.send_signal(signal.SIGHUP)
        worker.storage.close()
        worker.storage = Storage(StorageSettings(server.url, server.service_key))
        result = worker.result(first, 120)
        assert result["status"] == "COMPLETED", result
        paths = worker.check_manifest("run/pictures")
        saved = {f"pictures/pictures_{step:09d}.safetensors" for step in range(4, 36, 4)}
        assert saved | {"pictures/pictures.safetensors"} <= paths

        # The handler, too, has the new key, without a restart.
        second = worker.result(worker.send(job("more")))
        assert second["status"] == "COMPLETED", second
        log = worker.log()
        assert "settings_read_again" in log
        assert log.count(" storage_down ") <= 2
        assert not [key for key in (old, server.service_key) if key in log + json.dumps([result, second])]
