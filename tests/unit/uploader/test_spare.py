"""Which checkpoints a live training can do without: never the newest, never what is not in the bucket."""

from __future__ import annotations

from dataclasses import replace

import pytest

from uploader.kinds import Kind
from uploader.rows import Row, Stored
from uploader.scan import Version
from uploader.settle import Proof
from uploader.spare import save_bytes, spare
from uploader.states import State


def row(step: int | None, name: str = "", *, mtime: int | None = None, state: State = State.DELIVERED) -> Row:
    path = name or f"cats/cats_{step or 0:09d}.safetensors"
    stored = Stored(sha256="digest", size=100, mtime=0.0, version="v", step=step, at=0.0)
    return Row(
        path=path,
        kind=Kind.CHECKPOINT,
        key=f"checkpoints/{path}",
        state=state,
        proof=Proof.SAVED,
        version=Version(100, mtime if mtime is not None else step or 0, 1),
        sha256="digest",
        step=step,
        source=None,
        upload_url=None,
        attempts=0,
        next_try=0.0,
        error=None,
        first_seen=0.0,
        stored=stored if state is State.DELIVERED else None,
    )


def steps(rows: list[Row]) -> list[int | None]:
    return [files[0].step for files in spare(rows)]


def test_all_but_the_two_newest_steps_may_go_the_oldest_first() -> None:
    assert steps([row(step) for step in (400, 100, 300, 200)]) == [100, 200]
    assert steps([row(100), row(200)]) == []


@pytest.mark.guarantee("nothing-lost", fault="the disk is full while checkpoints wait")
@pytest.mark.parametrize("state", [State.READY, State.SENDING, State.FAILED, State.GONE])
def test_what_is_not_in_the_bucket_never_goes(state: State) -> None:
    assert steps([row(100, state=state), row(200), row(300), row(400)]) == [200]


def test_a_delivered_version_that_the_record_does_not_bear_out_stays() -> None:
    doubtful = replace(row(100), stored=None)
    other = replace(row(200), sha256="another")
    assert steps([doubtful, other, row(300), row(400)]) == []


def test_both_halves_of_a_step_go_or_stay_together() -> None:
    low, high = (row(100, f"cats/cats_000000100_{half}_noise.safetensors") for half in ("low", "high"))
    rest = [row(200), row(300)]
    assert spare([low, high, *rest]) == [[low, high]]
    assert spare([replace(low, state=State.READY, stored=None), high, *rest]) == []


@pytest.mark.guarantee("resumed-training", fault="the disk is full after a training went on from an earlier step")
def test_what_was_written_last_stays_whatever_its_step_says() -> None:
    assert steps([row(100, mtime=900), row(200, mtime=800), row(300), row(400), row(500)]) == [300]


def test_what_belongs_to_no_step_and_what_is_torn_stays() -> None:
    torn = replace(row(100), key="incomplete/cats_000000100.safetensors")
    assert steps([row(None, "cats/cats.safetensors"), torn, row(200), row(300)]) == []


def test_a_save_is_as_large_as_the_largest_step() -> None:
    assert save_bytes([row(100), row(100, "cats/half"), row(200), row(None)]) == 200
    assert save_bytes([]) == 0
