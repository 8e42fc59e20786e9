"""The uploader is killed while Storage is away, and the trainer goes on deleting what waits."""

from __future__ import annotations

import hashlib
import signal
from typing import TYPE_CHECKING

import pytest

from shared.clock import SystemClock
from shared.contract.process import identify
from shared.contract.session import Saved
from shared.contract.upload import Upload
from tests.scenario.uploader.port import kill, until
from tests.scenario.vanishing.training import holds

if TYPE_CHECKING:
    import subprocess

    from tests.scenario.uploader.port import Port

# Saves at each line and keeps the newest two, as ai-toolkit does.
_TRAINER = """
import os, sys
os.makedirs("pictures", exist_ok=True)
for step, _ in enumerate(sys.stdin, 1):
    path = f"pictures/pictures_{step:09d}.ckpt"
    with open("pictures/.tmp", "wb") as file:
        file.write(step.to_bytes(8, "big") * 100_000)
    os.rename("pictures/.tmp", path)
    if step > 2:
        os.unlink(f"pictures/pictures_{step - 2:09d}.ckpt")
"""


def name(step: int) -> str:
    return f"pictures_{step:09d}.ckpt"


def save(port: Port, trainer: subprocess.Popen[bytes], step: int) -> None:
    """Have the trainer save, and prune."""
    assert trainer.stdin is not None
    trainer.stdin.write(b"\n")
    trainer.stdin.flush()
    folder = port.session().output / "pictures"
    until(lambda: (folder / name(step)).exists() and not (folder / name(step - 2)).exists(), f"step {step}")
    now = SystemClock().now()
    port.session(saved=tuple(Saved(path=f"pictures/{name(each)}", step=each, at=now) for each in range(1, step + 1)))


@pytest.mark.guarantee("nothing-lost", fault="the uploader is killed in an outage while the trainer deletes")
def test_what_waits_arrives_although_the_uploader_is_killed_and_the_trainer_deletes_meanwhile(at_work: Port) -> None:
    harbour, folder = at_work, at_work.session()
    first = harbour.processes[-1]
    down = harbour.server.faults.down()
    trainer = harbour.trainer(_TRAINER)
    harbour.session(trainer=identify(trainer.pid))

    def pending(count: int) -> bool:
        upload = Upload.read(folder.upload_file)
        return upload is not None and upload.pending.files >= count

    for step in (1, 2, 3):
        save(harbour, trainer, step)
        until(lambda: pending(step), f"the uploader's notice of step {step}")  # noqa: B023 - waited for at once
    until(lambda: len(list((folder.path / "spool").glob("*.kept"))) == 2, "copies of all but the newest")

    kill(first, signal.SIGKILL)
    save(harbour, trainer, 4)
    second = harbour.start("run")
    until(lambda: holds(second, name(3)) and holds(second, name(4)), "the second uploader's hold")
    save(harbour, trainer, 5)
    until(lambda: holds(second, name(5)), "its hold of the newest")

    harbour.server.faults.clear(down)
    kill(trainer, signal.SIGKILL)
    harbour.session(trainer=None)
    receipt = harbour.drain().receipt
    assert receipt is not None
    assert receipt.complete, receipt.missing
    listed = {entry.key.rpartition("/")[2]: entry.sha256 for entry in harbour.checked_manifest().files}
    contents = {name(step): step.to_bytes(8, "big") * 100_000 for step in range(1, 6)}
    assert listed.pop("note.txt")
    assert listed == {each: hashlib.sha256(content).hexdigest() for each, content in contents.items()}
    assert list((folder.path / "spool").iterdir()) == []
