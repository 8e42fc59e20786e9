"""The training's progress bar: its clock stands still while checkpoints and samples are made."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from typing import Any

    Bar = tqdm[Any]
else:
    Bar = tqdm

# tqdm's own thread, which redraws bars that stand still, would be cut off in the children that are forked.
Bar.monitor_interval = 0


class TrainingBar(Bar):
    """``{name}:  25%|██▌       | 10/40 [00:02<00:08,  3.62it/s, lr: 1.0e-04 loss: 9.070e-01]`` on stderr."""

    def __init__(self, name: str, start: int, total: int) -> None:
        super().__init__(desc=name, initial=start, total=total, smoothing=0.7)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside does not count. (tqdm's clock is the wall clock.)"""
        begin = time.time()
        yield
        now = time.time()
        self.start_t += now - begin
        self.last_print_t = now
