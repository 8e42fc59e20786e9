"""The trainer as a process, in a folder with a data set and a configuration."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

TRAINER = Path(__file__).parents[4] / "local" / "trainer"
SIDE = 16
COLOURS = {"red square": (200, 30, 30), "green meadow": (30, 180, 60), "nested/blue sky": (40, 60, 220)}


@dataclass(frozen=True)
class Ended:
    """A trainer that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    @property
    def phases(self) -> list[str]:
        """Stdout after the configuration, without empty lines."""
        return [line for line in self.lines[self.lines.index("}") + 1 :] if line]


@dataclass
class Bench:
    """A folder in which the trainer is run."""

    folder: Path
    data: Path

    @property
    def output(self) -> Path:
        return self.folder / "output" / "tiny_lora"

    def config(self, *, name: str = "tiny_lora", meta: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
        """A configuration for the tiny data set; ``sections`` are merged into those of its process."""
        process: dict[str, Any] = {
            "type": "sd_trainer",
            "training_folder": str(self.folder / "output"),
            "device": "cpu",
            "network": {"type": "lora", "linear": 4, "linear_alpha": 4},
            "save": {"dtype": "float32", "save_every": 4, "max_step_saves_to_keep": 2},
            "datasets": [{"folder_path": str(self.data), "caption_ext": "txt", "resolution": [SIDE], "num_workers": 0}],
            "train": {"batch_size": 1, "steps": 12, "lr": 0.0001},
            "sample": {"sample_every": 4, "width": 64, "height": 64, "prompts": ["red square", "blue sky"], "seed": 42},
        }
        for key, value in sections.items():
            merge = isinstance(value, dict) and key in process
            process[key] = {**process[key], **value} if merge else value
        return {"job": "extension", "config": {"name": name, "process": [process]}, "meta": meta or {}}

    def write(self, config: object) -> Path:
        path = self.folder / "job.yaml"
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
        return path

    def run(self, config: object, *arguments: str, **variables: str) -> Ended:
        """Run the trainer to its end."""
        return _run(["run.py", *arguments, str(self.write(config))], variables)

    def run_code(self, code: str, config: object) -> Ended:
        """Run ``code`` in the trainer's folder, with the configuration as its argument."""
        return _run(["-c", code, str(self.write(config))], {})

    def start(self, config: object, output: IO[bytes], **variables: str) -> "subprocess.Popen[bytes]":
        """Start the trainer in a session of its own, its output going to a file."""
        return subprocess.Popen(
            [sys.executable, "run.py", str(self.write(config))],
            cwd=TRAINER,
            env=environment(variables),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@dataclass
class Live:
    """A trainer that is running, and what it has printed so far."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait until ``condition`` holds; fails at the deadline or when the trainer ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.005)


def _run(arguments: list[str], variables: dict[str, str]) -> Ended:
    command, env = [sys.executable, *arguments], environment(variables)
    done = subprocess.run(command, cwd=TRAINER, env=env, capture_output=True, timeout=60)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def environment(variables: dict[str, str]) -> dict[str, str]:
    """What the trainer gets to see of the environment."""
    path = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return {**path, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **variables}
