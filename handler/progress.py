"""Clean lines in, the state of the run out: phase, numbers, what was saved, and signs of trouble.

The lines are ai-toolkit's, as version 0.12.26 prints them. Of its progress bars the training's is the one whose
description is the job's name.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from handler.activity import Activity, begun, is_download
from handler.bar import Bar, parse_bar
from handler.remarks import Remark, noticed
from handler.saves import expand, relative, step_in_name, written
from shared.contract.document import Record
from shared.contract.session import Progress, Saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from handler.console import Line
    from handler.saves import Run
    from shared.contract.session import Phase

_SAMPLING_BARS = re.compile(r"Generating (images|samples)", re.IGNORECASE)
# The name of a file in a repository, and a little more.
_LONGEST_DOWNLOAD = 120
_METRIC = re.compile(r"(\S+): (\S+)")
# More than any run saves; what is older has long been delivered.
_MOST_SAVED = 2000


class State(Record):
    """What the output has told so far. Steps are as the training's bar counts them.

    ``download``: the file of the newest download, and how much of it is there. ``saving_step``: the step of the save
    under way, None for the last one. ``nan_since``: the step since which every loss was not a number. ``stopped``:
    ai-toolkit said that it was interrupted (and exits with 0 nevertheless).
    """

    activity: Activity = Activity.STARTING
    download: str = ""
    progress: Progress = Progress()
    saved: tuple[Saved, ...] = ()
    start_step: int | None = None
    saving_step: int | None = None
    nan_since: int | None = None
    stopped: bool = False
    remarks: tuple[Remark, ...] = ()

    @property
    def phase(self) -> Phase:
        """Return where the run stands."""
        return self.activity.phase

    @property
    def training(self) -> bool:
        """Return whether the steps have begun."""
        return self.progress.total is not None


def advance(state: State, line: Line, run: Run, at: float) -> State:
    """Return the state after ``line``, which was read at ``at`` (Unix seconds)."""
    bar = parse_bar(line.text)
    if bar is not None:
        return _after_bar(state, bar, line.text, run)
    if line.redraw:
        return _downloading(state, line.text) if is_download(line.text) else state
    if not line.text:
        return state
    return _after_line(_with(state, remarks=noticed(state.remarks, line.text)), line.text, run, at)


# Bars.


def _after_bar(state: State, bar: Bar, drawn: str, run: Run) -> State:
    if bar.name == run.name.strip() and bar.done is not None and bar.total is not None:
        return _after_training_bar(state, bar)
    if _SAMPLING_BARS.match(bar.name):
        return state if state.activity is Activity.BASELINE else _with(state, activity=Activity.SAMPLING)
    if is_download(drawn) and not bar.finished:
        return _downloading(state, f"{bar.name}, {bar.fraction:.0%}")
    # Most bars have no name, and belong to what the line before them says.
    unknown = state.activity in (Activity.STARTING, Activity.DOWNLOADING)
    return _preparing(state, begun(bar.name) or (Activity.LOADING if unknown else state.activity))


def _downloading(state: State, text: str) -> State:
    return _with(_preparing(state, Activity.DOWNLOADING), download=text[:_LONGEST_DOWNLOAD])


def _preparing(state: State, activity: Activity) -> State:
    """Return the state with what is done before the first step; later the same words mean less."""
    return state if state.training else _with(state, activity=activity)


def _after_training_bar(state: State, bar: Bar) -> State:
    metrics = dict(_METRIC.findall(bar.postfix))
    loss = _float(metrics.get("loss"))
    old = state.progress
    progress = Progress(
        step=bar.done or 0,
        total=bar.total,
        loss=old.loss if loss is None else _finite(loss),
        learning_rate=_finite(_float(metrics.get("lr"))) if "lr" in metrics else old.learning_rate,
        seconds_per_step=bar.seconds_per_item or old.seconds_per_step,
        eta_seconds=bar.remaining,
    )
    # tqdm also draws a bar again that has stood still for ten seconds, as during a long save.
    moved = (progress.step, progress.loss) != (old.step, old.loss) or not state.training
    activity = Activity.TRAINING if moved else state.activity
    return _with(state, activity=activity, progress=progress, nan_since=_nan_since(state, loss, progress.step))


def _nan_since(state: State, loss: float | None, step: int) -> int | None:
    if loss is None:
        return state.nan_since
    if not math.isfinite(loss):
        return step if state.nan_since is None else state.nan_since
    # ai-toolkit replaces a loss that is not a number by 0 before it shows it.
    return state.nan_since if loss == 0 else None


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# Ordinary lines.


def _after_line(state: State, text: str, run: Run, at: float) -> State:
    activity = begun(text) or (Activity.LOADING if state.activity is Activity.STARTING else None)
    if activity is not None:
        state = _preparing(state, activity)
    for pattern, rule in _RULES:
        match = pattern.search(text)
        if match is not None:
            return rule(state, match, run, at)
    return state


def _saving(state: State, match: re.Match[str], _run: Run, _at: float) -> State:
    return _with(state, activity=Activity.SAVING, saving_step=int(match.group(1)))


def _saved_checkpoint(state: State, match: re.Match[str], run: Run, at: float) -> State:
    path = relative(match.group(1), run.output)
    if path is None:
        return state
    # The name carries the step, unless it is the last checkpoint's, or that of the JSON file that learnable SNR leaves.
    step = state.saving_step if path.endswith(".json") else step_in_name(path)
    files = expand(path, step, run)
    return _with_saved(state, run, files, state.progress.step if step is None else step, at)


def _saved_optimizer(state: State, match: re.Match[str], run: Run, at: float) -> State:
    path = relative(match.group(1), run.output)
    step = state.progress.step if state.saving_step is None else state.saving_step
    # The save is over, and the last one of all has no line that announces it.
    state = _with(state, saving_step=None)
    return state if path is None else _with_saved(state, run, (path,), step, at)


def _lost_optimizer(state: State, _match: re.Match[str], _run: Run, _at: float) -> State:
    return _with(state, saving_step=None)


def _found_step(state: State, match: re.Match[str], _run: Run, _at: float) -> State:
    step = int(match.group(1))
    return _with(state, start_step=step, progress=state.progress.model_copy(update={"step": step}))


def _nan(state: State, _match: re.Match[str], _run: Run, _at: float) -> State:
    return _with(state, nan_since=state.progress.step if state.nan_since is None else state.nan_since)


def _stopped(state: State, _match: re.Match[str], _run: Run, _at: float) -> State:
    return _with(state, stopped=True)


_RULES: tuple[tuple[re.Pattern[str], Callable[[State, re.Match[str], Run, float], State]], ...] = (
    (re.compile(r"^Saving at step (\d{1,12})$"), _saving),
    (re.compile(r"^Saved checkpoint to (.+)$"), _saved_checkpoint),
    (re.compile(r"^Saved optimizer to (.+)$"), _saved_optimizer),
    (re.compile(r"^Could not save optimizer$"), _lost_optimizer),
    (re.compile(r"^Found step (\d{1,12}) in metadata"), _found_step),
    (re.compile(r"^loss is nan$"), _nan),
    (re.compile(r"^Job stopped$"), _stopped),
)


def _with_saved(state: State, run: Run, paths: tuple[str, ...], step: int | None, at: float) -> State:
    again = tuple(saved for saved in state.saved if saved.path not in paths)
    new = tuple(Saved(path=path, step=step, at=at, mtime=written(run.output / path)) for path in paths)
    return _with(state, activity=Activity.SAVING, saved=(*again, *new)[-_MOST_SAVED:])


def _with(state: State, **changes: object) -> State:
    return state.model_copy(update=changes)
