"""One round of the storm: a job, and SIGKILL for whoever comes up next, until the job has ended well.

Now and then all of a worker is lost with its disk, and another one gets the job.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import tempfile
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from handler.saves import step_in_name
from shared import folders
from shared.clock import Deadline, SystemClock
from shared.contract.bucket import Manifest
from shared.contract.session import Outcome
from shared.errors import ErrorCode
from shared.storage.errors import StorageError, Trouble
from tests.scenario.stack import FINAL, OUTPUTS, job, until
from tests.scenario.storm.site import Site, site
from tests.scenario.storm.verdict import DISK_LOST, Verdict, judge, may_be_sent, versions_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PREFIX = "run/pictures"
VICTIMS = ("handler", "uploader", "trainer", "supervisord", "storage")
WORKER = "worker"
# So few checkpoints are kept that one may be deleted before a killed uploader is back.
FEW = 2
# A worker that is gone is missed for a minute and a half.
_LOSS_CHANCE = 0.15
STEPS = 24
ROUND_SECONDS = 600.0
_MOST_SUBMISSIONS = 20


@dataclass
class Round:
    """What happened in one round.

    ``knobs``: how the trainer wrote. ``floor``: from this step a training had to go on at least, after a disk was lost.
    """

    seed: int
    verdict: Verdict
    blows: list[str] = field(default_factory=list)
    faults: int = 0
    submissions: int = 0
    files: int = 0
    manifests: int = 0
    floor: int = 0
    knobs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the round in a line."""
        told = "; ".join(self.verdict.faults) or "nothing lost, corrupt, mixed, false or sent twice"
        hits = ", ".join(self.blows) or "nobody"
        knobs = ", ".join(f"{name} {value}" for name, value in self.knobs.items())
        return (
            f"seed {self.seed} ({knobs}): killed {hits}; {self.faults} exchanges went wrong; "
            f"{self.submissions} submissions; {self.files} files, {self.manifests} looks at a manifest: {told}"
        )


def run_round(seed: int, most_blows: int = 6) -> Round:
    """Return what came of the round of ``seed``."""
    chance = random.Random(seed)
    with (
        tempfile.TemporaryDirectory(prefix="ferry-storm-") as folder,
        tempfile.TemporaryDirectory(prefix="ferry-") as run,
        site(Path(folder), Path(run), chance) as place,
    ):
        told = _Storm(place, chance, Round(seed, Verdict()), chance.randint(1, most_blows)).run()
        if told.verdict.faults:
            kept = tempfile.mkdtemp(prefix="ferry-storm-kept-")
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            told.verdict.failed.append(f"everything is kept in {kept}")
        return told


class _Storm:
    def __init__(self, place: Site, chance: random.Random, told: Round, blows: int) -> None:
        self._place = place
        self._chance = chance
        self._told = told
        self._blows = blows
        self._clock = SystemClock()
        self._pause = threading.Event()

    def run(self) -> Round:
        deadline = Deadline(self._clock, ROUND_SECONDS)
        self._loses = self._chance.random() < _LOSS_CHANCE
        self._told.knobs = _knobs(self._chance)
        wanted = job(steps=STEPS, step_seconds=0.2, **self._told.knobs)
        job_id = self._submit(wanted)
        blow = self._next_blow()
        while not deadline.passed():
            status = self._place.stack.queue.queue.jobs[job_id].status
            if status == "COMPLETED" or self._lacks_pruned_ones_alone(job_id):
                break
            if status in FINAL:
                if self._told.submissions >= _MOST_SUBMISSIONS:
                    break
                job_id = self._submit(wanted)
            if self._blows and blow():
                self._blows -= 1
                if self._loses and self._place.stack.session_step() > 0:
                    self._loses = False
                    self._lose_worker()
                    job_id = self._submit(wanted)
                else:
                    self._strike(self._chance.choice(VICTIMS))
                blow = self._next_blow()
            self._check_manifest()
            self._pause.wait(0.1)
        return self._judged(job_id)

    def _submit(self, wanted: dict[str, object]) -> str:
        self._told.submissions += 1
        return self._place.stack.send(wanted)

    def _next_blow(self) -> Callable[[], bool]:
        """Return when the next blow is due: from a step of the training on, or a while from now, whichever is later."""
        step, pause = self._chance.randrange(-8, STEPS), Deadline(self._clock, self._chance.uniform(0.2, 3.0))
        return lambda: pause.passed() and self._place.stack.session_step() >= step

    # Blows

    def _strike(self, victim: str) -> None:
        stack = self._place.stack
        if victim == "storage":
            self._place.storage.die()
            self._pause.wait(self._chance.uniform(0.0, 2.0))
            self._place.storage.come_back()
        elif victim == "supervisord":
            process = self._place.supervised.process
            process.send_signal(signal.SIGKILL)
            process.wait()
            self._place.supervised.start()
        else:
            found = stack.trainers() if victim == "trainer" else stack.workers(victim)
            if not found:
                return
            with suppress(psutil.Error):
                self._chance.choice(sorted(found, key=lambda process: process.pid)).kill()
        self._told.blows.append(victim)

    def _lose_worker(self) -> None:
        """Kill everything on the worker and take its disk away. What was not in the bucket yet is lost with it."""
        stack, supervised = self._place.stack, self._place.supervised
        supervised.process.kill()
        supervised.process.wait()
        while left := [*stack.workers(), *stack.trainers()]:
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=5)
        shutil.rmtree(stack.root)
        record = stack.folder / "record"
        lines = record.read_text().splitlines() if record.exists() else []
        self._told.floor = max(self._told.floor, _patiently(lambda: self._restorable(lines)))
        with record.open("a") as file:
            file.write(f"\n{DISK_LOST}\n")
        self._told.blows.append(WORKER)
        supervised.start()

    def _restorable(self, record: list[str]) -> int:
        """Return the highest step of which all that the trainer completed is in the bucket, as it was completed."""
        steps: dict[int, list[bool]] = defaultdict(list)
        for path, versions in versions_of(record).items():
            step = step_in_name(path)
            if step is not None and versions.done is not None:
                key = f"{PREFIX}/checkpoints/{path.partition('/')[2]}"
                digest, _ = versions.begun[versions.done]
                steps[step].append(self._digest(key) == digest)
                if self._told.knobs.get("as_folder"):
                    last = f"{PREFIX}/checkpoints/{path.split('/')[1]}/{folders.LAST}"
                    steps[step].append(self._digest(last) is not None)
        halves = 2 if "arch" in self._told.knobs else 1
        return max((step for step, there in steps.items() if all(there) and len(there) >= halves), default=0)

    # What must hold at any time

    def _check_manifest(self) -> None:
        with suppress(StorageError):
            manifest = self._manifest()
            if manifest is None:
                return
            self._told.manifests += 1
            wrong = [entry.key for entry in manifest.files if self._digest(entry.key) != entry.sha256]
            if wrong and self._manifest() == manifest:
                self._told.verdict.false_manifests += wrong

    def _manifest(self) -> Manifest | None:
        content = self._place.direct.read(OUTPUTS, f"{PREFIX}/manifest.json", limit=1 << 24)
        return Manifest.parse(content) if content else None

    def _digest(self, key: str) -> str | None:
        digest = hashlib.sha256()
        try:
            with self._place.direct.open(OUTPUTS, key) as download:
                for block in download.blocks():
                    digest.update(block)
        except StorageError as error:
            if error.trouble is not Trouble.NOT_FOUND:
                raise
            return None
        return digest.hexdigest()

    # What must hold in the end

    def _judged(self, job_id: str) -> Round:
        told = self._told
        shown = self._place.stack.queue.queue.jobs[job_id].shown()
        pruned = self._lacks_pruned_ones_alone(job_id)
        if shown["status"] != "COMPLETED" and not pruned:
            told.verdict.failed.append(f"the job ended as {shown['status']}: {shown.get('error')}")
            return told
        last = _patiently(self._manifest)
        if last is None or last.outcome is not Outcome.FINISHED or last.complete is pruned:
            told.verdict.failed.append(f"the manifest says {last.outcome if last else 'nothing'}")
            return told
        if (last.resumed_step or 0) < told.floor:
            told.verdict.lost.append(f"{told.floor} steps were in the bucket, it went on from {last.resumed_step}")
        self._check_manifest()
        recorded = versions_of((self._place.stack.folder / "record").read_text().splitlines())
        manifests = [last, *self._earlier()]
        keys = {entry.key for manifest in manifests for entry in manifest.files}
        verdict = judge(recorded, manifests, {key: self._digest(key) or "" for key in keys})
        told.verdict.lost += verdict.lost
        told.verdict.corrupt += verdict.corrupt
        told.verdict.mixed += verdict.mixed
        told.files = len(last.files)
        faults = self._place.proxy.rig.faults.shown()
        told.faults = sum(int(str(fault["hits"])) for fault in faults)
        for entry in last.files:
            if (versions := recorded.get(entry.path)) is not None:
                tally = self._place.proxy.rig.tally
                sent, cuts = tally.up(OUTPUTS, entry.key), tally.interruptions(OUTPUTS, entry.key)
                most = may_be_sent(versions, len(told.blows), cuts)
                if sent > most:
                    told.verdict.sent_twice.append(f"{entry.path}: {sent} bytes for {most}")
        return told

    def _lacks_pruned_ones_alone(self, job_id: str) -> bool:
        """Return whether a job has ended well but for what its trainer deleted while no uploader lived, by name."""
        told = self._place.stack.queue.queue.jobs[job_id].shown().get("output") or {}
        missing = told.get("missing") or []
        deleted = all(_of_a_step(entry["path"]) for entry in missing)
        return told.get("error_code") == ErrorCode.UPLOAD_INCOMPLETE and deleted and self._told.knobs["keep"] == FEW

    def _earlier(self) -> list[Manifest]:
        records = self._place.direct.walk(OUTPUTS, f"{PREFIX}/manifests")
        found = (self._place.direct.read(OUTPUTS, record.key, limit=1 << 24) for record in records)
        return [manifest for content in found if content and (manifest := Manifest.parse(content)) is not None]


def _knobs(chance: random.Random) -> dict[str, Any]:
    """Return how the trainer writes its checkpoints: of what, how, how slowly, and how many it keeps."""
    shape: dict[str, Any] = chance.choice([{}, {}, {"as_folder": True}, {"arch": "wan22_14b"}])
    return {
        **shape,
        "writes": chance.choice(["growing", "preallocated", "renamed"]),
        "write_seconds": chance.choice([0, 0.4]),
        "pad_mb": chance.choice([0, 8]),
        "keep": chance.choice([FEW, 20]),
    }


def _of_a_step(path: str) -> bool:
    """Return whether a file is a checkpoint of some step, or lies in the folder of one."""
    return any(step_in_name(part) is not None for part in path.split("/"))


def _patiently(question: Callable[[], T]) -> T:
    """Return the answer of a Storage that was perhaps just killed."""

    def asked() -> tuple[T] | None:
        with suppress(StorageError):
            return (question(),)
        return None

    return until(asked, "an answer of Storage", 30)[0]
