"""Batches of pictures, read in the training process itself or by child processes ahead of it.

The children behave as torch's: they read ahead, they leave SIGINT to the training process, and when that is killed they
notice only at their next look, up to five seconds later, and hold its output open until then. That a child was killed
interrupts the training process wherever it is: what the child was about to say may never be finished.
"""

import multiprocessing
import os
import queue
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .dataset import Item, read_pixels

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import Queue

    from .pictures import Pixels

# How often a child looks whether the training process is there.
LOOK_SECONDS = 5.0
AHEAD = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Some items, with their pixels one a row, and how often all items had been seen before."""

    epoch: int
    items: Sequence[Item]
    pixels: "Pixels"


def schedule(count: int, size: int, generator: np.random.Generator) -> Iterator[tuple[int, Sequence[int]]]:
    """For ever: the epoch, and up to ``size`` of ``count`` indices; each epoch has all of them, in its own order."""
    epoch = 0
    while True:
        order = [int(index) for index in generator.permutation(count)]
        for start in range(0, count, size):
            yield epoch, order[start : start + size]
        epoch += 1


@contextmanager
def open_loader(
    items: Sequence[Item], size: int, workers: int, generator: np.random.Generator
) -> Iterator[Iterator[Batch]]:
    """Batches for ever, read by so many child processes (or by none)."""
    tasks = schedule(len(items), size, generator)
    if workers <= 0:
        yield (Batch(epoch, [items[i] for i in indices], _read(items, indices)) for epoch, indices in tasks)
        return
    pool = _Pool(items, workers)
    try:
        yield pool.batches(tasks)
    finally:
        pool.close()


class _Pool:
    def __init__(self, items: Sequence[Item], workers: int) -> None:
        # Forked children share what is loaded and start at once, as torch's do on Linux.
        context = multiprocessing.get_context("fork")
        self._items = items
        self._results: Queue[tuple[int, Pixels]] = context.Queue()
        self._tasks: list[Queue[tuple[int, Sequence[int]] | None]] = [context.Queue() for _ in range(workers)]
        self._processes: list[BaseProcess] = [
            context.Process(target=_serve, args=(items, tasks, self._results, os.getpid()), daemon=True)
            for tasks in self._tasks
        ]
        for process in self._processes:
            process.start()
        self._before = signal.signal(signal.SIGCHLD, self._ended)
        self._ended()

    def batches(self, tasks: Iterator[tuple[int, Sequence[int]]]) -> Iterator[Batch]:
        waiting: dict[int, tuple[int, Sequence[int]]] = {}
        finished: dict[int, Pixels] = {}
        sent = taken = 0
        while True:
            while sent - taken < AHEAD * len(self._tasks):
                waiting[sent] = next(tasks)
                self._tasks[sent % len(self._tasks)].put((sent, waiting[sent][1]))
                sent += 1
            while taken not in finished:
                number, pixels = self._results.get()
                finished[number] = pixels
            epoch, indices = waiting.pop(taken)
            yield Batch(epoch, [self._items[index] for index in indices], finished.pop(taken))
            taken += 1

    def close(self) -> None:
        signal.signal(signal.SIGCHLD, self._before)
        for tasks in self._tasks:
            tasks.put(None)
        for process in self._processes:
            process.join(LOOK_SECONDS)
            process.kill()

    def _ended(self, *_: object) -> None:
        for process in self._processes:
            # One that SIGINT has reached ends well, as torch's does: the training process is interrupted itself.
            if process.exitcode:
                raise RuntimeError(f"DataLoader worker (pid {process.pid}) {_how(process.exitcode)}")


def _serve(
    items: Sequence[Item],
    tasks: "Queue[tuple[int, Sequence[int]] | None]",
    results: "Queue[tuple[int, Pixels]]",
    parent: int,
) -> None:
    # What nobody will read must not keep this process from ending.
    results.cancel_join_thread()
    try:
        while os.getppid() == parent:
            try:
                task = tasks.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if task is None:
                return
            number, indices = task
            results.put((number, _read(items, indices)))
    except KeyboardInterrupt:
        return


def _how(exitcode: int) -> str:
    """How a child ended, in torch's words."""
    if exitcode >= 0:
        return f"exited unexpectedly with exit code {exitcode}."
    return f"is killed by signal: {signal.strsignal(-exitcode)}. "


def _read(items: Sequence[Item], indices: Sequence[int]) -> "Pixels":
    return np.stack([read_pixels(items[index]) for index in indices])
