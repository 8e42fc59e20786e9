"""Whole histories of one run, played against the bucket: whatever happens on the way, the end is the same."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.contract.session import Outcome
from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, Harbour, safetensors, write
from uploader.carrier import Stage
from uploader.ledger import Ledger

NAMES = (
    "pictures/pictures_000000004.safetensors",
    "pictures/optimizer.pt",
    "pictures/samples/a.png",
    "outputs/note.txt",
    "note.txt",
    "logs/training.log",
    "pictures/loss_log.db",
)
# Thousands of durable writes: on a disk they take minutes.
MEMORY = Path("/dev/shm")
names = st.sampled_from(NAMES)


class Killed(BaseException):
    """The uploader got SIGKILL."""


class Voyage(RuleBasedStateMachine):
    """Files come, change and go; Storage comes and goes; the uploader is killed between any two durable steps."""

    @initialize(watched=st.booleans())
    def begin(self, *, watched: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.harbour = Harbour(self.folder)
        self.watched = watched
        run = self.harbour.watched_run() if watched else self.harbour.session_run()
        self.berth = Berth(self.harbour, run, hurry=watched)
        self.output = self.berth.run.output
        self.number = 0
        self.disturbed = 0
        self.sent: dict[tuple[str, bytes], int] = {}
        self._steps_left: int | None = None
        self._count_puts()
        self._make_mortal()

    def _count_puts(self) -> None:
        store = self.harbour.storage._store

        def counted(key: str, content: bytes, metadata: Any) -> None:
            self._step()
            self.sent[key, content] = self.sent.get((key, content), 0) + 1
            store(key, content, metadata)

        self.harbour.storage._store = counted  # type: ignore[method-assign]  # a test's own ear at the server

    def _make_mortal(self) -> None:
        self._write = Ledger._write
        machine, original = self, Ledger._write

        def mortal(ledger: Ledger, query: str, parameters: Any = ()) -> int:
            machine._step()
            return original(ledger, query, parameters)

        Ledger._write = mortal  # type: ignore[method-assign,assignment]  # kills between two writes

    def _step(self) -> None:
        if self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left < 0:
                raise Killed

    def _content(self, name: str) -> bytes:
        self.number += 1
        text = f"{name} {self.number}".encode()
        return safetensors(text) if name.endswith(".safetensors") else text

    # The trainer

    @rule(name=names)
    def write(self, name: str) -> None:
        write(self.output / name, self._content(name))

    @rule(name=names)
    def replace(self, name: str) -> None:
        temporary = self.output / ".temporary"
        write(temporary, self._content(name))
        (self.output / name).parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(self.output / name)

    @rule(ending=st.sampled_from([b"\n", b""]))
    def append(self, ending: bytes) -> None:
        path = self.output / "logs/training.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            log.write(self._content("line") + ending)

    @rule(name=names)
    def delete(self, name: str) -> None:
        (self.output / name).unlink(missing_ok=True)

    @rule(name=names)
    def touch(self, name: str) -> None:
        if (self.output / name).exists():
            (self.output / name).touch()

    @rule(name=names, other=st.sampled_from(["renamed.txt", "pictures/samples/b.png"]))
    def rename(self, name: str, other: str) -> None:
        if (self.output / name).exists():
            (self.output / other).parent.mkdir(parents=True, exist_ok=True)
            (self.output / name).rename(self.output / other)

    # Time, Storage and death

    @rule(count=st.integers(1, 12))
    def go_on(self, count: int) -> None:
        self._alive(lambda: self.berth.tick(count))

    @rule(call=st.sampled_from(["put", "info", "*"]), times=st.integers(1, 6), after=st.booleans())
    def trouble(self, call: str, times: int, *, after: bool) -> None:
        self.disturbed += times
        self.harbour.storage.fail(call, Trouble.UNREACHABLE, times=times, after=after)

    @rule(steps=st.integers(0, 12))
    def kill(self, steps: int) -> None:
        self._steps_left = steps
        self._alive(lambda: self.berth.tick(6))
        self._restart()

    @rule()
    def lose_the_ledger(self) -> None:
        self._restart()
        for path in self.berth.run.state.glob("ledger.*"):
            path.unlink()

    def _alive(self, work: Any) -> None:
        try:
            self.berth.probe()
            work()
        except Killed:
            self._restart()

    def _restart(self) -> None:
        self.disturbed += 1
        self._steps_left = None
        self.berth.die()
        self.berth = Berth(self.harbour, self.berth.run, hurry=self.watched)

    # What must hold

    @invariant()
    def manifest_is_true(self) -> None:
        if hasattr(self, "harbour"):
            self.harbour.check_manifest()

    def teardown(self) -> None:
        if not hasattr(self, "harbour"):
            return
        try:
            self._drain()
        finally:
            Ledger._write = self._write  # type: ignore[method-assign]
            shutil.rmtree(self.folder)

    def _drain(self) -> None:
        self._steps_left = None
        self.harbour.storage.faults.clear()
        self.harbour.drained(outcome=Outcome.FINISHED)
        self.berth.tick(12)
        self.berth.until(lambda: self.berth.carrier.stage is Stage.CLOSED)
        manifest = self.harbour.manifest()
        assert manifest is not None
        listed = {entry.path: entry.key for entry in manifest.files}
        for folder, _, files in os.walk(self.output):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self.output).as_posix()
                if not file.startswith("."):
                    assert self.harbour.storage.objects[listed[name]].content == path.read_bytes(), name
        again = {key: times for key, times in self.sent.items() if "/outputs/" in key[0] and times > 1}
        assert self.disturbed or not again


Voyage.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestVoyage = Voyage.TestCase
