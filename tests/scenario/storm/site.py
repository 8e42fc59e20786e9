"""The place of a storm: a worker under the container's own supervisord, a Storage that can be killed, a bad line."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from local.background import served
from local.proxy.faults import Fault
from local.proxy.rig import Rig
from local.proxy.server import RunningProxy, running_proxy
from local.queue.app import QueueApp
from shared.settings import StorageSettings
from shared.storage.client import Storage
from tests.scenario.stack import PROJECT, Stack
from tests.scenario.supervised import Supervised

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from local.storage.server import RunningStorage


class StorageProcess:
    """The embedded Storage as a process of its own, always at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self.service_key = ""
        self.process = self._start()

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self._port}"

    def come_back(self) -> None:
        """Start it once more, with what was in it."""
        self.process = self._start()

    def die(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "storage", "--root", str(self._folder), "--port", str(self._port)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        told = dict(
            cast("str", process.stdout and process.stdout.readline()).split(maxsplit=1)[1].strip().split("=", 1)
            for _ in range(2)
        )
        self._port = int(told["SUPABASE_URL"].rpartition(":")[2])
        self.service_key = told["SUPABASE_SERVICE_KEY"]
        return process


class Site:
    """Everything that a storm can hit. ``direct`` reads the bucket past the bad line."""

    def __init__(self, stack: Stack, storage: StorageProcess, proxy: RunningProxy, supervised: Supervised) -> None:
        self.stack = stack
        self.storage = storage
        self.proxy = proxy
        self.supervised = supervised
        self.direct = Storage(StorageSettings(storage.url, storage.service_key))


def bad_line(chance: random.Random) -> Rig:
    """Return a line on which every third percent of all exchanges goes wrong, each time in another way."""
    rig = Rig()
    for fault in (
        Fault(reset=True),
        Fault(lose_answer=True),
        Fault(answer=503),
        Fault(answer=502),
        Fault(cut_after=chance.randrange(1 << 22)),
        Fault(latency=0.2),
    ):
        rig.faults.add(fault.model_copy(update={"probability": 0.015, "seed": chance.randrange(1 << 30)}))
    return rig


@contextmanager
def site(folder: Path, run: Path, chance: random.Random) -> Iterator[Site]:
    """Yield a site whose worker has been started. ``run`` must be a short path: supervisord's socket lies there."""
    queue = QueueApp()
    storage = StorageProcess(folder / "storage")
    try:
        with (
            served(queue.app, queue.connections.attach) as queue_url,
            running_proxy(storage.url, bad_line(chance)) as proxy,
        ):
            stack = Stack(folder, cast("RunningStorage", storage), queue, queue_url)
            stack.fill()
            stack.environ["SUPABASE_URL"] = proxy.url
            stack.environ["FERRY_TRAINER_RECORD"] = str(folder / "record")
            stack.environ["TRAINER_ENV"] = "FERRY_TRAINER_RECORD"
            try:
                yield Site(stack, storage, proxy, Supervised(stack, run, Path(sys.executable), ()))
            finally:
                stack.close()
    finally:
        storage.die()
