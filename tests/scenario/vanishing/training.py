"""The small trainer in one folder, once alone and once beside an uploader that keeps what it deletes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from PIL import Image

from tests.scenario.uploader.port import PROJECT, until

if TYPE_CHECKING:
    from collections.abc import Callable
TRAINER = PROJECT / "local" / "trainer"
NAME = "pictures"
_SAVED_AS = re.compile(rb"Saved checkpoint to \S*/(\S+)")
_SAVED = b"#### SAVED ####"
_PROGRAM = f"""
import runpy, sys
from ferry_trainer.checkpoints import Checkpoints

def prune(self, prune=Checkpoints.remove_old):
    print({_SAVED.decode()!r})
    sys.stdin.readline()
    prune(self)

Checkpoints.remove_old = prune
sys.argv = ["run.py", *sys.argv[1:]]
runpy.run_path("run.py", run_name="__main__")
"""
# A line's path, without the folder that it lies in.
_TELLING = re.compile(r"(?:IMPORTANT RESUMING FROM|Removing old save:|Found step|Loading from) ?(.*)")


@dataclass(frozen=True)
class Leg:
    """One start of the trainer: how many steps, how many checkpoints it keeps, and at which step it dies."""

    steps: int
    keep: int
    dies_at: int | None = None


def config(output: Path, data: Path, leg: Leg) -> dict[str, Any]:
    """Return a configuration that saves at every second step and samples nothing."""
    process = {
        "type": "sd_trainer",
        "training_folder": str(output),
        "device": "cpu",
        "network": {"type": "lora", "linear": 4, "linear_alpha": 4},
        "save": {"dtype": "float32", "save_every": 2, "max_step_saves_to_keep": leg.keep},
        "datasets": [{"folder_path": str(data), "caption_ext": "txt", "resolution": [16], "num_workers": 0}],
        "train": {"batch_size": 1, "steps": leg.steps, "lr": 0.0001, "disable_sampling": True},
        "sample": {"sample_every": 1000, "width": 64, "height": 64, "prompts": [], "seed": 42},
    }
    if leg.dies_at is not None:
        process["ferry"] = {"misbehave": {"kind": "signal", "step": leg.dies_at}}
    return {"job": "extension", "config": {"name": NAME, "process": [process]}, "meta": {}}


def dataset(folder: Path) -> Path:
    """Write two pictures with captions."""
    folder.mkdir(parents=True)
    for number, colour in enumerate([(200, 30, 30), (30, 180, 60)]):
        Image.new("RGB", (16, 16), colour).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a colour")
    return folder


class Trainer:
    """The trainer's process. Before it prunes it waits for a line on its standard input, or for its end."""

    def __init__(self, output: Path, data: Path, leg: Leg, log: Path, *, waits: bool) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.with_suffix(".yaml")
        file.write_text(yaml.safe_dump(config(output, data, leg)))
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", _PROGRAM, str(file)],
                cwd=TRAINER,
                stdin=subprocess.PIPE if waits else subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def saved(self) -> list[str]:
        """Return the names of the checkpoints that it has saved, in order."""
        text = self._log.read_bytes()
        return [name.decode() for name in _SAVED_AS.findall(text)][: text.count(_SAVED)]

    def told(self) -> list[str]:
        """Return what it said of pruning and resuming, without the folders."""
        lines = self._log.read_text(errors="replace").splitlines()
        found = (match for line in lines if (match := _TELLING.search(line)))
        return [re.sub(r"\S*/", "", match.group()) for match in found]

    def run(self, noticed: Callable[[str], None]) -> None:
        """Let it run to its end, each pruning when ``noticed`` has returned for the checkpoint that was just saved."""
        gone = 0
        try:
            while self.process.poll() is None:
                until(lambda: len(self.saved) > gone or self.process.poll() is not None, "the next save")  # noqa: B023
                saved = self.saved
                if len(saved) > gone and self.process.stdin is not None:
                    noticed(saved[gone])
                    gone += 1
                    self.process.stdin.write(b"\n")
                    self.process.stdin.flush()
        finally:
            self.process.kill()
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()


def holds(process: subprocess.Popen[bytes], name: str) -> bool:
    """Return whether the process has a file of that name open, or one that had it."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):
            if os.fspath(descriptor.readlink()).removesuffix(" (deleted)").endswith(f"/{name}"):
                return True
    return False


def step_of(checkpoint: bytes) -> int:
    """Return the step in a checkpoint's metadata; raise ValueError when its structure does not add up."""
    length = int.from_bytes(checkpoint[:8], "little")
    header = json.loads(checkpoint[8 : 8 + length])
    info = json.loads(header.pop("__metadata__")["training_info"])
    if 8 + length + max(tensor["data_offsets"][1] for tensor in header.values()) != len(checkpoint):
        raise ValueError("it is not whole")
    return int(info["step"])


def names(folder: Path) -> list[str]:
    """Return what lies directly in a folder."""
    return sorted(path.name for path in folder.iterdir())
