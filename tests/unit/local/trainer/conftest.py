"""A tiny data set, and trainers to run on it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.local.trainer.bench import COLOURS, SIDE, Bench, Live


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A data set of three plain pictures (one in a sub-folder), whose captions are their names."""
    data = tmp_path / "data"
    grain = np.random.default_rng(7)
    for name, colour in COLOURS.items():
        path = data / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(np.array(colour) + grain.normal(0, 8, (SIDE, SIDE, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        path.with_suffix(".txt").write_text(path.stem)
    return Bench(tmp_path, data)


@pytest.fixture
def live(bench: Bench) -> Iterator[Callable[[object], Live]]:
    """Starts trainers, and kills those that are left over."""
    started: list[Live] = []

    def start(config: object) -> Live:
        log = bench.folder / f"trainer-{len(started)}.out"
        with log.open("wb") as output:
            started.append(Live(bench.start(config, output), log))
        return started[-1]

    yield start
    for trainer in started:
        # Its session is its own, so this finds its children too, also when it has itself ended.
        with suppress(ProcessLookupError):
            os.killpg(trainer.process.pid, signal.SIGKILL)
        trainer.process.wait()
