"""A training process: loads, resumes, trains, saves and samples, in ai-toolkit's order and with its console's lines.

The step whose number is saved is the one just trained: at step 10 the bar shows 10, the checkpoint says 10, and a
resumed run trains step 10 again.
"""

import json
import math
import signal
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np

from .adam import Adam
from .bar import TrainingBar
from .checkpoints import OPTIMIZER, Checkpoints
from .dataset import Item, open_dataset
from .knobs import OutOfMemoryError
from .learner import learn, weights_shapes
from .loader import Batch, open_loader
from .loading import show_loading
from .losslog import LossLog, open_loss_log
from .model import PictureModel
from .samples import Sampler
from .section import ConfigError
from .settings import LARGEST_SIDE, TrainingSettings
from .writes import Writes

MOST_OOMS = 3


class Training:
    """One process of a job. ``meta`` is the configuration's, for the checkpoints' metadata."""

    def __init__(self, settings: TrainingSettings, meta: Mapping[str, Any]) -> None:
        self._settings = settings
        self._misbehaviour = settings.knobs.misbehaviour
        side = min((dataset.side for dataset in settings.datasets), default=LARGEST_SIDE)
        network = settings.network
        self._model = PictureModel(side, network.rank, network.alpha, settings.model.halves, settings.seed)
        self._adam = Adam(settings.train.lr)
        self._checkpoints = _checkpoints(settings, meta)
        self._sampler = Sampler(
            folder=settings.folder / "samples",
            suffix=settings.sample.suffix,
            prompts=settings.sample.prompts,
            trigger=settings.trigger_word,
            seconds=settings.knobs.sample_seconds,
        )
        self._generator = np.random.default_rng(settings.seed)
        self._step = self._start = self._epoch = self._ooms = 0

    def run(self) -> None:
        """Train to the end; any error ends it."""
        if self._settings.knobs.ignore_sigint:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        show_loading(self._settings, self._model, self._misbehaviour)
        self._resume()
        self._load_optimizer()
        items = self._open_datasets()
        self._sample_first()
        with ExitStack() as stack:
            bar = TrainingBar(self._settings.job_name, self._start, self._settings.train.steps)
            log = stack.enter_context(self._open_log())
            batches = self._open_batches(items, stack)
            for step in range(self._start, self._settings.train.steps):
                self._train_step(step, batches, bar, log)
            bar.close()
            self._save(None)
            if not self._settings.train.disable_sampling:
                self._sample()
        print()

    # Before the first step.

    def _resume(self) -> None:
        start = self._settings.train.start_step
        newest = self._checkpoints.newest()
        if newest is not None:
            print(f"#### IMPORTANT RESUMING FROM {newest} ####")
            step = self._checkpoints.load(newest, self._model)
            if start is None and step is not None:
                print(f"Found step {step} in metadata, starting from there")
                start = step
        self._step = self._start = start or 0

    def _load_optimizer(self) -> None:
        path = self._settings.folder / OPTIMIZER
        if not path.exists():
            return
        print(f"Loading optimizer state from {path}")
        try:
            self._adam.load(path.read_bytes(), weights_shapes(self._model))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            print(f"Failed to load optimizer state from {path}\n{error}")
        print("Updating optimizer LR from params")

    def _open_datasets(self) -> list[Item]:
        trigger = self._settings.trigger_word
        items = [item for dataset in self._settings.datasets for item in open_dataset(dataset, trigger)]
        if not items:
            raise ConfigError("no datasets to train on: config.process[*].datasets is empty")
        return items

    def _sample_first(self) -> None:
        train = self._settings.train
        if train.skip_first_sample or train.disable_sampling:
            print("Skipping first sample due to config setting")
        elif self._step <= 1:
            print("Generating baseline samples before training")
            self._sample()

    def _open_log(self) -> AbstractContextManager[LossLog]:
        path = self._settings.folder / "loss_log.db" if self._settings.logging.database else None
        return open_loss_log(path, self._start)

    def _open_batches(self, items: list[Item], stack: ExitStack) -> Iterator[Batch]:
        settings = self._settings
        workers = settings.datasets[0].workers if self._start < settings.train.steps else 0
        return stack.enter_context(open_loader(items, settings.train.batch_size, workers, self._generator))

    # One step.

    def _train_step(self, step: int, batches: Iterator[Batch], bar: TrainingBar, log: LossLog) -> None:
        self._step = step
        end = time.monotonic() + self._settings.knobs.step_seconds
        try:
            loss = self._learn(next(batches))
            bar.set_postfix_str(f"lr: {self._adam.lr:.1e} loss: {loss:.3e}")
            self._log(log, loss)
            self._ooms = 0
        except OutOfMemoryError:
            self._skip_batch()
        if step > self._start:
            self._save_and_sample(bar)
        time.sleep(max(0.0, end - time.monotonic()))
        bar.update(step + 1 - bar.n)
        self._step = step + 1

    def _learn(self, batch: Batch) -> float:
        self._epoch = batch.epoch
        self._misbehaviour.strike(self._step, resumed=self._start > 0)
        if self._misbehaviour.turns_nan(self._step):
            return math.nan
        halves = self._model.halves
        half = halves[self._step // self._settings.train.switch_boundary_every % len(halves)]
        return learn(self._model, half, self._adam, batch, self._generator)

    def _log(self, log: LossLog, loss: float) -> None:
        every = self._settings.logging.every
        if every and self._step != self._start and self._step % every == 0:
            log.add(self._step, {"learning_rate": self._adam.lr, "loss/loss": loss})

    def _skip_batch(self) -> None:
        self._ooms += 1
        if self._ooms > MOST_OOMS:
            raise RuntimeError("OOM during training step 3 times in a row, aborting training")
        frame = "#" * 48
        print(f"\n{frame}\n# OOM during training step, skipping batch {self._ooms}/{MOST_OOMS} #\n{frame}\n")

    # What is written.

    def _save_and_sample(self, bar: TrainingBar) -> None:
        save, sample, step = self._settings.save, self._settings.sample, self._step
        if save.every and step % save.every == 0:
            with bar.paused():
                print(f"\nSaving at step {step}")
                self._save(step)
        due = sample.every and step >= sample.start_step and step % sample.every == 0
        if due and not self._settings.train.disable_sampling:
            with bar.paused():
                self._sample()

    def _save(self, step: int | None) -> None:
        knobs = self._settings.knobs
        padding = max(knobs.pad_bytes, knobs.pad_final_bytes if step is None else 0)
        path = self._checkpoints.save(self._model, step, {"step": self._step, "epoch": self._epoch}, padding)
        if self._settings.train.learnable_snr:
            # The console then names this file and not the checkpoint, as ai-toolkit's does.
            path = self._settings.folder / "learnable_snr.json"
            content = {"offset_1": 0.0, "offset_2": 0.777, "scale": 4.14, "gamma": 2.03}
            path.write_text(json.dumps(content, indent=4), encoding="utf-8")
        print(f"Saved checkpoint to {path}")
        self._checkpoints.save_optimizer(self._adam)
        self._checkpoints.remove_old()

    def _sample(self) -> None:
        self._sampler.sample(self._model, f"_{self._step:09d}_")
        print()


def _checkpoints(settings: TrainingSettings, meta: Mapping[str, Any]) -> Checkpoints:
    return Checkpoints(
        folder=settings.folder,
        job_name=settings.job_name,
        name=settings.name,
        keep=settings.save.keep * len(settings.model.halves),
        dtype=settings.save.dtype,
        as_folder=settings.save.diffusers and not settings.network.present,
        writes=Writes(settings.knobs.writes, settings.knobs.write_seconds),
        meta=meta,
    )
