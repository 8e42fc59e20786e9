"""``python run.py CONFIG``: writes as ai-toolkit would, by the section ``bench`` of the configuration's first process.

=================== ==================================================================================================
``seconds``         For so long it trains, or until a file ``enough`` lies beside the configuration.
``step_seconds``    A step takes so long, and the progress bar is drawn anew at each.
``sample_bytes``    The size of a sample; 0: there are none. One comes every ``sample_seconds`` or, by chance, up to a
                    half sooner or later, so that it meets whoever looks at regular times in all his moods.
``checkpoint_bytes`` After ``checkpoint_after`` seconds a checkpoint of that size is written; 0: there is none.
``log_bytes``       Over the whole time so many bytes of log are printed, in lines that carry the time.
=================== ==================================================================================================

It prints ``closed PATH SECONDS`` for each file as soon as that has its name, in Unix seconds.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

_LINE = 1000
_LOOK_SECONDS = 0.05


class Writer:
    """Writes the files of one run into ``folder``, which is called ``name``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._samples = 0

    def sample(self, size: int) -> None:
        """Write a sample as ai-toolkit does: in a hidden folder, renamed when it is whole."""
        hidden, name = self._folder / "samples" / ".tmp", f"{time.time_ns() // 1_000_000}__{self._samples:09d}_0.jpg"
        hidden.mkdir(parents=True, exist_ok=True)
        (hidden / name).write_bytes(os.urandom(size))
        (hidden / name).rename(hidden.parent / name)
        self._samples += 1
        _closed(hidden.parent / name)

    def checkpoint(self, size: int, step: int | None) -> None:
        """Write a checkpoint; ``step`` is None for the last one."""
        name = self._name if step is None else f"{self._name}_{step:09d}"
        hidden, path = self._folder / ".tmp_checkpoint", self._folder / f"{name}.safetensors"
        block = os.urandom(1 << 20)
        with hidden.open("wb") as file:
            file.write(safetensors_head(size))
            while (left := size - file.tell()) > 0:
                file.write(block[:left])
        hidden.rename(path)
        _closed(path)
        print(f"Saved checkpoint to {path}", flush=True)


def main(config_file: Path) -> None:
    """Run one configuration to its end."""
    config = yaml.safe_load(config_file.read_text())["config"]
    [process] = config["process"]
    script: dict[str, Any] = process["bench"]
    name: str = config["name"]
    folder = Path(process["training_folder"]) / name
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(folder, name)
    _train(name, script, writer, config_file.with_name("enough"))
    writer.checkpoint(script.get("last_bytes", 1000), None)


def _train(name: str, script: dict[str, Any], writer: Writer, enough: Path) -> None:
    """Do what is due until the time is over."""
    start, seconds = time.monotonic(), float(script["seconds"])
    chance = random.Random(start)  # noqa: S311 - it spreads the samples, and guards nothing
    wanted = [
        _steps(name, seconds, float(script.get("step_seconds", 0))),
        _samples(writer, script, chance),
        _checkpoint(writer, script),
        _log(float(script.get("log_bytes", 0)) / seconds if seconds else 0.0),
    ]
    due = [each for each in wanted if each is not None]
    while (passed := time.monotonic() - start) < seconds and not enough.exists():
        for act in due:
            act(passed)
        time.sleep(_LOOK_SECONDS / 5)


def _steps(name: str, seconds: float, every: float) -> Callable[[float], None] | None:
    if not every:
        return None
    total, shown = max(1, round(seconds / every)), 0

    def act(passed: float) -> None:
        nonlocal shown
        step = min(total, int(passed / every))
        if step > shown:
            shown = step
            bar = f"\r{name}: {100 * step // total:3d}%|##        | {step}/{total} [00:01<00:01,  4.00it/s, "
            print(f"{bar}lr: 1.0e-04 loss: 4.567e-01]", end="", file=sys.stderr, flush=True)

    return act


def _samples(writer: Writer, script: dict[str, Any], chance: random.Random) -> Callable[[float], None] | None:
    size, every = int(script.get("sample_bytes", 0)), float(script.get("sample_seconds", 1))
    due = every

    def act(passed: float) -> None:
        nonlocal due
        if passed >= due:
            due = passed + every * chance.uniform(0.5, 1.5)
            writer.sample(size)

    return act if size else None


def _checkpoint(writer: Writer, script: dict[str, Any]) -> Callable[[float], None] | None:
    size, after = int(script.get("checkpoint_bytes", 0)), float(script.get("checkpoint_after", 0))
    written = False

    def act(passed: float) -> None:
        nonlocal written
        if passed >= after and not written:
            written = True
            writer.checkpoint(size, 1)

    return act if size else None


def _log(rate: float) -> Callable[[float], None] | None:
    printed = 0

    def act(passed: float) -> None:
        nonlocal printed
        while printed + _LINE <= passed * rate:
            line = f"log {time.time():.3f} {printed:012d} "
            print(line.ljust(_LINE - 1, "x"), flush=True)
            printed += _LINE

    return act if rate else None


def _closed(path: Path) -> None:
    print(f"\nclosed {path} {time.time():.6f}", flush=True)


def safetensors_head(size: int) -> bytes:
    """Return the beginning of a safetensors file that has ``size`` bytes in all: one tensor, whose data follow."""
    length = 128
    data = size - 8 - length
    header = json.dumps({"data": {"dtype": "U8", "shape": [data], "data_offsets": [0, data]}}).encode()
    return length.to_bytes(8, "little") + header.ljust(length)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
