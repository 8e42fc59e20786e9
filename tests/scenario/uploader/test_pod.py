"""A pod that stays: the uploader beside ai-toolkit's own page, under supervisord.pod.conf, and what a kill leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from local.storage.faults import Fault
from tests.scenario.stack import until
from tests.scenario.uploader.port import BUCKET, PREFIX, PROJECT, Port

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 6 << 20
SIZE = 30_000_000
CHECKPOINT = "checkpoints/pictures_000000004.ckpt"

# What ai-toolkit's start script does, in small: it leaves a trainer behind that outlives it, and stays.
START = """#!/bin/sh
env > {folder}/environment
setsid {python} {folder}/trainer.py &
exec sleep 3600
"""
# Trains once: a sample, a checkpoint, and half of the next one, which it holds open.
TRAINER = """
import random, struct, threading
from pathlib import Path
run = Path({watched!r}, "pictures")
if not run.exists():
    (run / "samples").mkdir(parents=True)
    (run / "samples" / "1.png").write_bytes(random.Random(2).randbytes(100_000))
    (run / "pictures_000000004.ckpt").write_bytes(random.Random(4).randbytes({size}))
    with (run / "pictures_000000008.safetensors").open("wb") as file:
        header = b'{{"a":{{"dtype":"U8","shape":[1000000],"data_offsets":[0,1000000]}}}}'
        file.write(struct.pack("<Q", len(header)) + header + b"half")
        file.flush()
        threading.Event().wait()
"""


class Pod:
    """One pod, which may be started, killed and stopped."""

    def __init__(self, port: Port, run: Path) -> None:
        self.port = port
        folder = port.folder
        start = folder / "start.sh"
        start.write_text(START.format(folder=folder, python=sys.executable))
        start.chmod(0o700)
        (folder / "trainer.py").write_text(TRAINER.format(watched=str(port.watched), size=SIZE))
        self._log = folder / "pod.log"
        self._environ = {
            "FERRY_PYTHON": sys.executable,
            "FERRY_HOME": str(PROJECT),
            "FERRY_RUN": str(run),
            "TOOLKIT_START": str(start),
            "WATCH_FOLDER": str(port.watched),
            "WATCH_BUCKET": BUCKET,
            "WATCH_PREFIX": "run",
            "SUPABASE_SERVICE_KEY_FILE": "",
        }

    def start(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start what is PID 1 of the pod."""
        supervisord = Path(sys.executable).with_name("supervisord")
        # Appending, because the programs' output is written by another opening of the file than supervisord's own.
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [str(supervisord), "-c", str(PROJECT / "supervisord.pod.conf")],
                cwd=self._environ["FERRY_RUN"],
                env={**self.port.environ, **self._environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.port.processes.append(process)
        return process

    def kill(self) -> None:
        """Kill every process of the pod, as happens to a container that is stopped for good."""
        # What was just being started is there only at the second look.
        while everybody := [process for process in psutil.process_iter() if self._is_ours(process)]:
            for process in everybody:
                process.kill()
            psutil.wait_procs(everybody)
        self.port.processes[-1].wait()

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("FERRY_RUN") == self._environ["FERRY_RUN"]
        except psutil.Error:
            return False

    def log(self) -> str:
        """Return what the pod has printed."""
        return self._log.read_text(errors="replace")


@pytest.fixture
def pod(harbour: Port) -> Iterator[Pod]:
    # A socket's path has little room, less than a test's folder may take.
    with tempfile.TemporaryDirectory(prefix="ferry-") as run:
        made = Pod(harbour, Path(run))
        try:
            yield made
        finally:
            if harbour.processes:
                made.kill()


@pytest.mark.guarantee("resumed-upload", fault="a pod is killed, its trainer too, in the middle of an upload")
def test_a_pod_that_is_killed_in_mid_upload_goes_on_when_it_is_started_again(pod: Pod) -> None:
    port = pod.port
    # The first chunk arrives, and the second waits for ever.
    port.server.faults.add(Fault(method="PATCH", path="/upload/resumable", skip=1, latency=600.0))
    pod.start()
    until(lambda: port.received(CHECKPOINT) >= CHUNK, pod.log)
    pod.kill()
    assert not port.is_there(CHECKPOINT)
    port.server.faults.clear()
    pod.start()
    until(lambda: port.is_there(CHECKPOINT) and port.is_there("samples/1.png"), pod.log)
    assert port.received(CHECKPOINT) <= SIZE + CHUNK
    # Half a checkpoint is none, whoever has died over it.
    assert not port.is_there("checkpoints/pictures_000000008.safetensors")
    (port.watched / "pictures" / "pictures_000000008.safetensors").unlink()
    pod.kill()
    # What is still to come when the pod is gone, any machine with the folder can bring: here only the manifest.
    port.server.stats.reset()
    assert port.ends(port.watch("once")) == 0
    manifest = port.checked_manifest()
    assert manifest.complete
    assert {entry.key for entry in manifest.files} == {f"{PREFIX}/{CHECKPOINT}", f"{PREFIX}/samples/1.png"}
    assert [port.server.stats.received_for(BUCKET, entry.key) for entry in manifest.files] == [0, 0]


@pytest.mark.guarantee("secret", fault="a configuration on a pod prints its trainer's environment")
def test_what_the_page_starts_does_not_see_the_key_and_both_programs_come_back(pod: Pod) -> None:
    port = pod.port
    # A folder that is still to be made, as on the first start.
    process = pod.start(WATCH_FOLDER=str(port.folder / "output"))
    environment = port.folder / "environment"
    until(lambda: environment.is_file() and environment.stat().st_size, pod.log)
    until(lambda: pod.log().count("uploader ready") == 1, pod.log)
    assert port.server.service_key not in environment.read_text()
    assert "SUPABASE_URL" not in environment.read_text()
    environment.unlink()
    for program in psutil.Process(process.pid).children():
        program.kill()
    until(lambda: pod.log().count("uploader ready") == 2, pod.log)
    until(environment.is_file, pod.log)
    process.send_signal(signal.SIGTERM)
    assert port.ends(process) == 0
    log = pod.log()
    assert 0 < log.rindex("stopped: toolkit") < log.rindex("uploader stopped") < log.rindex("stopped: uploader")


def test_a_pod_that_is_not_told_where_results_go_says_so(pod: Pod) -> None:
    pod.start(WATCH_BUCKET="")
    until(lambda: "WATCH_BUCKET: set it to the bucket that results go to" in pod.log(), pod.log)
