"""Whole histories of one run, played against a model: whatever happens on the way, the bucket never lies, and the end
is the same.

``make test`` plays a few hundred of them, always the same ones; ``FERRY_STORM=1`` ten thousand, other ones for each
``FERRY_SEED``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from shared.contract.bucket import Claim, Manifest, Status
from shared.contract.process import identify
from shared.contract.session import Outcome, Saved
from shared.contract.session import Phase as SessionPhase
from shared.contract.upload import Upload
from shared.storage.errors import Trouble
from tests.unit.uploader.bridge import Bridge
from tests.unit.uploader.harbour import WORKER, Harbour, Inline
from tests.unit.uploader.memory_storage import BUCKET
from tests.unit.uploader.trainer_model import CHECKPOINTS, LARGE, LOG, NAMES, Trainer
from tests.unit.uploader.witness import Witness
from uploader.ledger import Ledger
from uploader.requests import leave, wishes
from uploader.run import ADOPTED, Watch
from uploader.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.contract.bucket import Entry
    from uploader.lanes import Lane

settings.register_profile(
    "voyages",
    max_examples=300,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "storm", settings.get_profile("voyages"), max_examples=10_000, stateful_step_count=40, derandomize=False
)
STORM = bool(os.environ.get("FERRY_STORM"))

# Thousands of durable writes: on a disk they take minutes.
MEMORY = Path("/dev/shm")
PREFIX = "run/pictures"
# The product's sizes, made small: an upload of a hundred bytes has several chunks, and a chunk several blocks.
BLOCK, CHUNK = 8, 64
SIZES = {
    "uploader.courier.BLOCK": BLOCK,
    "uploader.delivery.BLOCK": BLOCK,
    "uploader.sending.CHUNK_BYTES": CHUNK,
    "uploader.parcel.STANDARD_LIMIT": LARGE,
    "uploader.flight.STANDARD_LIMIT": LARGE,
}
SILENT_SECONDS = 10.0

names = st.sampled_from(NAMES)
few = st.integers(1, 6)


class KilledError(BaseException):
    """The uploader got SIGKILL."""


class Voyages(RuleBasedStateMachine):
    """Files come, change and go; Storage, claims, ledgers and uploaders do, too."""

    @initialize(
        watched=st.booleans(),
        visible=st.booleans(),
        digests=st.booleans(),
        keeps_parts=st.booleans(),
        hurry=st.booleans(),
        outcome=st.sampled_from([Outcome.FINISHED, Outcome.INTERRUPTED]),
    )
    def begin(
        self, *, watched: bool, visible: bool, digests: bool, keeps_parts: bool, hurry: bool, outcome: Outcome
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.cleanup = ExitStack()
        self.storage = Witness(PREFIX, digests=digests)
        self.storage.keeps_parts = keeps_parts
        self.harbour = Harbour(self.folder, self.storage)
        self.clock = self.storage.clock = self.harbour.clock
        self.storage.while_sending = lambda key: None
        self.storage.step, self.storage.is_writer = self._step, self._is_writer
        self.storage.ambush = self._ambush
        self.watched, self.hurry, self.outcome = watched, watched and hurry, outcome
        self.run = self.harbour.watched_run() if watched else self.harbour.session_run()
        self.trainer = self.storage.trainer = Trainer(self.run.output, self.clock, self.harbour.open_files)
        self.trains = True
        self.saved: tuple[Saved, ...] = ()
        self.ambushes: list[str] = []
        self.steps_left: int | None = None
        self.dead = False
        self.kills = 0
        self.excused: Counter[str] = Counter()
        self.intruder = 0
        self.noted: set[str] = set()
        self.must: set[str] = set()
        self.only_there: set[str] = set()
        self.seen: dict[str, bytes] = {}
        self.promised: dict[str, bytes] = {}
        self._patch(visible=visible)
        self.worker = WORKER
        self.process = self._start()
        if not watched:
            self.harbour.session(trainer=identify())

    def _patch(self, *, visible: bool) -> None:
        write, transaction, settled = Ledger._write, Ledger.transaction, Ledger.settled

        def mortal(ledger: Ledger, query: str, parameters: Any = ()) -> int:
            self._step()
            return write(ledger, query, parameters)

        @contextmanager
        def ending(ledger: Ledger) -> Iterator[None]:
            with transaction(ledger):
                yield
                self._step()

        def noting(ledger: Ledger, file: Any, now: float) -> None:
            self.noted.add(file.path)
            settled(ledger, file, now)

        for name, value in SIZES.items():
            self.cleanup.enter_context(patch(name, value))
        self.cleanup.enter_context(patch.object(Ledger, "_write", mortal))
        self.cleanup.enter_context(patch.object(Ledger, "transaction", ending))
        self.cleanup.enter_context(patch.object(Ledger, "settled", noting))
        self.cleanup.enter_context(patch("uploader.session_view.find", lambda _: object() if self.trains else None))
        self.cleanup.enter_context(patch("uploader.session_view.can_see", lambda _: visible))
        # It is the trainer model that knows who has which file open, not this machine.
        self.cleanup.enter_context(patch("uploader.snapshot.open_for_writing", self.harbour.open_files.__and__))

    # The trainer

    @precondition(lambda self: self.trains)
    @rule(name=names)
    def write(self, name: str) -> None:
        self._forget(name)
        self.trainer.write(name)

    @precondition(lambda self: self.trains)
    @rule(name=names)
    def replace(self, name: str) -> None:
        self._forget(name)
        self.trainer.replace(name)

    @precondition(lambda self: self.trains)
    @rule(name=names, preallocate=st.booleans())
    def begin_writing(self, name: str, *, preallocate: bool) -> None:
        self._forget(name)
        # What the trainer said of the version before is not to be taken for a word on this one.
        self.clock.advance(3)
        self.trainer.begin(name, preallocate=preallocate)

    @precondition(lambda self: self.trains)
    @rule(name=names)
    def finish_writing(self, name: str) -> None:
        self.trainer.finish(name)

    @precondition(lambda self: self.trains)
    @rule(ending=st.sampled_from([b"\n", b""]))
    def append(self, ending: bytes) -> None:
        self.trainer.append(ending)

    @precondition(lambda self: self.trains)
    @rule(name=st.sampled_from([*NAMES, LOG]))
    def delete(self, name: str) -> None:
        self._promise(name)
        self.trainer.delete(name)

    @precondition(lambda self: self.trains)
    @rule(name=names)
    def touch(self, name: str) -> None:
        self.excused[name] += 1
        self.trainer.touch(name)

    @precondition(lambda self: self.trains)
    @rule(name=names, other=st.sampled_from(["renamed.txt", "pictures/samples/b.png"]))
    def rename(self, name: str, other: str) -> None:
        self._promise(name)
        self.promised.pop(name, None)
        self.trainer.rename(name, other)

    @precondition(lambda self: self.trains and not self.watched)
    @rule(name=names)
    def log_as_saved(self, name: str) -> None:
        if self.trainer.is_whole(name):
            self.saved = (*self.saved, Saved(path=name, step=4, at=self.clock.now()))
            self.harbour.session(saved=self.saved)

    @precondition(lambda self: self.trains)
    @rule(what=st.sampled_from(["write", "replace", "delete", "touch", "sneak", "begin"]))
    def lie_in_wait(self, what: str) -> None:
        """Change the next file that is being sent, in the middle of it."""
        self.ambushes.append(what)

    def _ambush(self, path: str, left: int) -> None:
        if not self.ambushes or not self.trains or path == LOG:
            return
        what = self.ambushes.pop()
        if what == "sneak":
            # What has been read already cannot be noticed any more.
            if left > 4 * BLOCK:
                self.trainer.sneak(path)
        elif what == "begin":
            self.begin_writing(path, preallocate=True)
        else:
            getattr(self, what)(path)

    # Time, Storage and death

    @rule(count=st.integers(1, 12), stuck=st.sampled_from([(), (), (), ("office",), ("large",), ("small", "pulse")]))
    def go_on(self, count: int, stuck: tuple[str, ...]) -> None:
        self._mortally(lambda: self._tick(count, stuck=stuck))

    @rule(
        call=st.sampled_from(["put", "append", "info", "move", "remove", "create_upload", "finish", "*"]),
        trouble=st.sampled_from([Trouble.UNREACHABLE, Trouble.BUSY, Trouble.LOCKED]),
        times=few,
        lost_answer=st.booleans(),
    )
    def trouble(self, call: str, trouble: Trouble, times: int, *, lost_answer: bool) -> None:
        self.storage.fail(call, trouble, times=times, after=lost_answer)

    @rule(blocks=st.integers(0, 12))
    def cut(self, blocks: int) -> None:
        """Have the connection break in the middle of a body."""
        self.storage.cut_after = blocks

    @rule(name=names)
    def refuse(self, name: str) -> None:
        """Have Storage refuse a file for good, until somebody asks again."""
        self.storage.fail("put", Trouble.WRONG_TYPE, key=name.rpartition("/")[2])
        self.storage.fail("create_upload", Trouble.TOO_LARGE, key=name.rpartition("/")[2])

    @rule(ticks=few, seconds=st.sampled_from([1.0, 60.0, 3600.0]), denied=st.booleans())
    def outage(self, ticks: int, seconds: float, *, denied: bool) -> None:
        self.storage.away = Trouble.DENIED if denied else Trouble.UNREACHABLE
        self._mortally(lambda: self._tick(ticks, seconds=seconds))
        self.storage.away = None

    @rule()
    def expire(self) -> None:
        """Have the server forget every upload that is not finished."""
        for upload in self.storage.uploads.values():
            self.excused[upload.metadata["path"]] += 1
        self.storage.uploads.clear()

    @rule(steps=st.integers(0, 40))
    def kill(self, steps: int) -> None:
        self.steps_left = steps
        self._mortally(lambda: self._tick(6))
        if self.steps_left is not None:
            self._die()

    @rule(how=st.sampled_from(["deleted", "nonsense", "cut off"]))
    def lose_the_ledger(self, how: str) -> None:
        self._die()
        for path in self.run.state.glob("ledger.*.sqlite3"):
            if how == "deleted":
                path.unlink()
            else:
                path.write_bytes(b"nonsense" * 999 if how == "nonsense" else path.read_bytes()[: 4096 * 2])
        there = self._in_the_bucket()
        self.must &= there.keys()
        self.only_there = set(self.must)
        self.promised = {path: content for path, content in self.promised.items() if there.get(path) == content}
        for known in self.trainer.states:
            self.excused[known] += 1

    @rule()
    def ask_again(self) -> None:
        leave(self.run.requests, "retry")

    # Others

    @rule(waking=st.integers(0, 4), stuck=st.sampled_from([(), ("office", "pulse")]))
    def another_worker_takes_over(self, waking: int, stuck: tuple[str, ...]) -> None:
        """The uploader is frozen, or cannot give a sign of life; another one on the same volume is not."""
        old = self.process
        if not self._holds(old):
            return
        self.worker = "worker-2" if self.worker == WORKER else WORKER
        if not self.watched:
            self._stop_training()
        self.process = self._start()
        self.ambushes.clear()

        def wait() -> None:
            for _ in range(30):
                if self._holds(self.process):
                    return
                self._tick(1, seconds=SILENT_SECONDS)
                if stuck:
                    self._tick(1, seconds=1.0, stuck=stuck, process=old)

        self._mortally(wait)
        if self._holds(self.process):
            self._mortally(lambda: self._tick(waking, process=old), of=old)
        self._let_go(old)
        self._forget_what_was_held()

    @rule(overwritten=st.sets(st.integers(0, 9)), finished=st.booleans(), waking=st.integers(0, 4))
    def another_run_takes_the_prefix(self, overwritten: set[int], waking: int, *, finished: bool) -> None:
        """Another run that found this one silent claims the prefix and writes over some of its objects."""
        if self.storage.owner is None:
            return
        self.clock.advance(100)
        mine = sorted(key for key, thing in self.storage.objects.items() if "path" in thing.metadata)
        theirs = [mine[number] for number in overwritten if number < len(mine)]
        self._intrude(theirs, finished=finished)
        self._mortally(lambda: self._tick(waking))

    def _intrude(self, theirs: list[str], *, finished: bool) -> None:
        epoch = self.intruder = 1 + int(str(self.storage.owner).rpartition("/")[2].partition(".")[0])
        # What is deleted while the prefix is another run's is not held for the case that somebody wishes it back.
        self._forget_what_was_held()
        self.storage.set_aside(f"{PREFIX}/manifest.json")
        claim = Claim(epoch=epoch, token=f"theirs-{epoch}", session_id="another", worker="w", at=self.clock.now())
        self.storage.overwrite(f"{PREFIX}/claims/{epoch}.json", claim.dump())
        status = Status(
            session_id="another", worker="w", epoch=epoch, counter=epoch, at=1.0, phase=SessionPhase.TRAINING
        )
        self.storage.overwrite(f"{PREFIX}/status.json", status.dump())
        content = f"of another run {epoch}".encode()
        for key in theirs:
            path = self.storage.objects[key].metadata["path"]
            self.excused[path] += 1
            self.promised.pop(path, None)
            if path in self.only_there:
                # The last that knew of it is gone before a new ledger has learnt it.
                self.must.discard(path)
            self.storage.overwrite(key, content)
        if finished:
            digest = hashlib.sha256(content).hexdigest()
            files = [{"key": key, "size": len(content), "sha256": digest, "path": "x", "mtime": 1.0} for key in theirs]
            manifest = Manifest.model_validate(
                {
                    "outcome": "finished",
                    "complete": True,
                    "session_id": "another",
                    "model_name": "m",
                    "created_at": 1.0,
                    "files": files,
                }
            )
            self.storage.overwrite(f"{PREFIX}/manifest.json", manifest.dump())

    # One uploader

    def _start(self) -> Bridge:
        watches = (Watch(self.harbour.root / "watched", BUCKET, "run"),) if self.watched else ()
        process = Bridge(self.harbour, *watches, hurry=self.hurry, worker=self.worker)
        for executor in self._lanes(process).values():
            executor.held = True
        self.acting = process
        return process

    def _lanes(self, process: Bridge) -> dict[Lane, Inline]:
        lanes = process.world.lanes._executors
        return {lane: executor for lane, executor in lanes.items() if isinstance(executor, Inline)}

    def _holds(self, process: Bridge) -> bool:
        return any(carrier.hold is not None for carrier in process.daemon.carriers)

    def _stages(self) -> set[Stage]:
        return {carrier.stage for carrier in self.process.daemon.carriers}

    def _is_writer(self, claim: bytes) -> bool:
        held = [carrier._claims.held for carrier in self.acting.daemon.carriers]
        return any(mine is not None and mine.token.encode() in claim for mine in held)

    def _tick(
        self, count: int, *, seconds: float = 1.0, stuck: tuple[str, ...] = (), process: Bridge | None = None
    ) -> None:
        """Let an uploader go on, its lanes after its own thread, but for those that are ``stuck``."""
        for _ in range(count):
            self.acting = process or self.process
            self.acting.daemon.tick()
            for lane, executor in self._lanes(self.acting).items():
                if lane not in stuck:
                    executor.release()
                if self.dead:
                    raise KilledError
            self.clock.advance(seconds)
            self._look()

    def _step(self) -> None:
        """Count a step that is durable or reaches Storage; die when there is none left."""
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.dead = True
        if self.dead:
            raise KilledError

    def _mortally(self, work: Callable[[], None], of: Bridge | None = None) -> None:
        try:
            work()
        except KilledError:
            if of is None:
                self._die()

    def _die(self) -> None:
        """End the uploader as SIGKILL does, and start it again."""
        self.kills += 1
        self.dead, self.steps_left = False, None
        self._let_go(self.process)
        self._forget_what_was_held()
        self.process = self._start()

    def _let_go(self, process: Bridge) -> None:
        """Close what the kernel closes when a process ends; what its lanes had before them ends at its first step."""
        self.acting, self.dead = process, True
        for executor in self._lanes(process).values():
            executor.release()
        self.dead, self.steps_left = False, None
        process.die()

    # What is owed

    def _look(self) -> None:
        """Take note of what the uploader has had the chance to see."""
        noted, self.noted = self.noted, set()
        if self.acting is not self.process:
            # What is written down by somebody who has lost the claim is written for nobody.
            return
        self.must |= noted
        holds = [carrier.hold for carrier in self.process.daemon.carriers if carrier.hold is not None]
        if any(not hold.office.is_rebuilding for hold in holds):
            self.only_there.clear()
        if Stage.OPEN in self._stages() and any(hold.claim.epoch > self.intruder for hold in holds):
            whole = (path for path in CHECKPOINTS if self.trainer.is_whole(path))
            self.seen = {path: (self.trainer.output / path).read_bytes() for path in whole}

    def _promise(self, path: str) -> None:
        """A checkpoint that was there for the uploader to see arrives, although it is deleted now."""
        if path in self.seen and self.trainer.is_whole(path):
            content = (self.trainer.output / path).read_bytes()
            if content == self.seen[path]:
                self.promised[path] = content

    def _forget(self, path: str) -> None:
        """A newer version is what counts."""
        self.promised.pop(path, None)

    def _forget_what_was_held(self) -> None:
        """An open file is lost with its process; what is in the bucket or in the spool is not."""
        self.noted.clear()
        self.seen.clear()
        there = self._in_the_bucket()
        spooled = {path.read_bytes() for path in self.run.spool.glob("*.kept")}
        self.promised = {
            path: content for path, content in self.promised.items() if there.get(path) == content or content in spooled
        }

    def _in_the_bucket(self) -> dict[str, bytes]:
        things = self.storage.objects.values()
        return {thing.metadata["path"]: thing.content for thing in things if "path" in thing.metadata}

    # The end

    def teardown(self) -> None:
        if not hasattr(self, "harbour"):
            return
        try:
            self._drain()
        finally:
            self._let_go(self.process)
            self.cleanup.close()
            shutil.rmtree(self.folder)

    def _stop_training(self) -> None:
        if self.trains:
            self.ended_well = self.watched or (self.outcome is Outcome.FINISHED and self.worker == WORKER)
            self.trainer.end(by_itself=self.ended_well)
            self.trains = False
            if not self.ended_well:
                self.outcome = Outcome.INTERRUPTED

    def _drain(self) -> None:
        self.dead, self.steps_left = False, None
        self.storage.faults.clear()
        self.storage.cut_after = None
        self.ambushes.clear()
        self._stop_training()
        leave(self.run.requests, "retry")
        if self.worker != WORKER and not self.trainer.there() and not self.run.epochs():
            # Nobody adopts a session of which nothing is left.
            return
        self._until_closed()
        manifest = self.harbour.manifest()
        assert manifest is not None
        self._check(manifest)
        self._check_rest(manifest)

    def _until_closed(self) -> None:
        if self.watched:
            # Nobody says that it is over; what was changed last shows some seconds later.
            self._tick(2, seconds=SILENT_SECONDS)
        for _ in range(300):
            if not self.watched and self.worker == WORKER:
                self.harbour.drained(outcome=self.outcome)
            self._tick(1, seconds=SILENT_SECONDS)
            if self._is_closed():
                return
            if self._stages() <= {Stage.REFUSED}:
                leave(self.run.requests, "retry")
        raise AssertionError(f"it does not end: {self._stages()}, {Upload.read(self.run.upload_file)}")

    def _is_closed(self) -> bool:
        manifest = self.harbour.manifest()
        if manifest is None or manifest.session_id != self.run.session_id:
            return False
        # What an adopted session was answered once is no answer to a wish that came later.
        if wishes(self.run.requests, "retry") or not self._stages() <= {Stage.CLOSED}:
            return False
        if self.watched:
            return bool(self._stages())
        upload, token = Upload.read(self.run.upload_file), "drain-1" if self.worker == WORKER else ADOPTED
        return upload is not None and upload.receipt is not None and upload.receipt.token == token

    def _check(self, manifest: Manifest) -> None:
        assert manifest.session_id == self.run.session_id
        listed = {entry.path: entry for entry in manifest.files}
        missing = {entry.path: entry.reason for entry in manifest.missing}
        assert manifest.complete is not bool(missing)
        assert all(missing.values())
        assert self.must <= listed.keys() | missing.keys(), self.must - listed.keys() - missing.keys()
        for path in self.trainer.there():
            assert path not in missing, f"{path}: {missing[path]}"
            self._check_file(path, (self.trainer.output / path).read_bytes(), listed)
        for path, content in self.promised.items():
            self._check_file(path, content, listed)

    def _check_file(self, path: str, content: bytes, listed: dict[str, Entry]) -> None:
        assert path in listed, f"{path} is not listed"
        assert listed[path].sha256 == hashlib.sha256(content).hexdigest(), f"{path} is listed as another version"
        if content in self.trainer.completed[path] and self.ended_well:
            assert not listed[path].incomplete, f"{path} is whole"

    def _check_rest(self, manifest: Manifest) -> None:
        """Hold what it cost against what went wrong; then start once more: nothing is left to do."""
        sizes: dict[str, int] = {}
        # What was renamed is a state of both names.
        paths: defaultdict[str, set[str]] = defaultdict(set)
        for path, states in self.trainer.states.items():
            for state in states:
                digest = hashlib.sha256(state).hexdigest()
                sizes[digest] = len(state)
                paths[digest].add(path)
        for (key, digest), sent in self.storage.sent.items():
            if digest in sizes and LOG not in paths[digest]:
                again = sent - sizes[digest]
                excused = sum(self.excused[path] for path in paths[digest])
                allowed = CHUNK * (self.kills + self.storage.hits) + excused * sizes[digest]
                assert again <= allowed, f"{again} bytes of {key} are sent again, {allowed} may be"
        before = self.storage.sent.copy()
        self._die()
        self._tick(12)
        assert {key for key, digest in self.storage.sent - before if digest} == set()
        last = self.harbour.manifest()
        assert last is not None
        assert last.files == manifest.files


def play(machine: type[Voyages] = Voyages) -> None:
    if STORM:
        run_state_machine_as_test(
            seed(int(os.environ.get("FERRY_SEED", "1")))(machine), settings=settings.get_profile("storm")
        )
    else:
        run_state_machine_as_test(machine, settings=settings.get_profile("voyages"))


def test_whatever_happens_the_bucket_never_lies_and_all_arrives() -> None:
    play()
