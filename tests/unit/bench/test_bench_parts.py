"""The parts that a run is made of: its files, its rounds, its processes, and what its rivals are given."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from bench.material import Material
from bench.processes import FailedError, Process
from bench.results import FERRY
from bench.rivals.handing import handed, received
from bench.rivals.rclone import ACCESS, RCLONE, SECRET, rclone
from bench.rounds import facts_of, play, series_of
from bench.rows.large import chunk_length
from bench.scale import MIB
from bench.task import Endpoint, Outcome, Task
from shared.structure import adds_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.site import Site

SECONDS = 30.0


def task(folder: Path, *files: Path, authority: Path | None = None) -> Task:
    return Task(Endpoint("http://server", "key", authority), "bucket", "prefix", files, folder, 16)


def test_checkpoints_are_whole_ones_of_the_size_and_no_two_alike(tmp_path: Path) -> None:
    paths = Material(tmp_path).checkpoints(2, 3 * MIB + 17)
    assert [path.stat().st_size for path in paths] == [3 * MIB + 17] * 2
    assert all(adds_up(path) for path in paths)
    first, second = (path.read_bytes() for path in paths)
    assert first[200:] != second[200:]


def test_a_dataset_has_sizes_from_the_least_to_the_most(tmp_path: Path) -> None:
    material = Material(tmp_path)
    paths = material.dataset(3, 1000, 2000)
    assert [path.stat().st_size for path in paths] == [1000, 1500, 2000]
    assert material.dataset(3, 1000, 2000) == paths
    assert len({path.read_bytes()[:1000] for path in paths}) == 3


@pytest.mark.parametrize(
    ("size", "chunks", "length"),
    [
        (1024 * MIB, 171, 6 * MIB),
        (1024 * MIB, 21, 49 * MIB),
        (13 * MIB, 3, 5 * MIB),
        (13 * MIB, 1, 13 * MIB),
        (13 * MIB, 0, None),
        (13 * MIB, 0.5, None),
    ],
)
def test_chunks_are_as_long_as_their_number_says(size: int, chunks: float, length: int | None) -> None:
    assert chunk_length(size, chunks) == length


class Rooms:
    """A site that has nothing but rooms."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self._made = 0

    @contextmanager
    def room(self) -> Iterator[str]:
        self._made += 1
        prefix = f"room-{self._made}"
        yield prefix
        self.left.append(prefix)


def test_rounds_are_interleaved_and_begin_with_another_each_time(tmp_path: Path) -> None:
    rooms, met = Rooms(), list[tuple[str, str]]()

    def meet(name: str, seconds: float) -> object:
        def run(given: Task) -> Outcome:
            assert list(given.folder.iterdir()) == []
            (given.folder / "left behind").touch()
            met.append((name, given.prefix))
            if name == "b":
                subprocess.run(script("sum(range(10_000_000))"), check=True)
            return Outcome(seconds, 7, facts={"chunks": seconds})

        return run

    racing = {FERRY: meet(FERRY, 1.0), "a": meet("a", 2.0), "b": meet("b", 3.0)}
    told: list[tuple[str, float]] = []
    outcomes = play(cast("Site", rooms), task(tmp_path), racing, 2, lambda *run: told.append(run))  # type: ignore[arg-type]
    assert [name for name, _ in met] == [FERRY, "a", "b", "a", "b", FERRY]
    assert [prefix for _, prefix in met] == rooms.left
    assert told[:2] == [(FERRY, 1.0), ("a", 2.0)]
    assert series_of(outcomes)["b"].values == (3.0, 3.0)
    assert series_of(outcomes)["b"].peaks == (7, 7)
    # Of these only one has a process of its own that has ended.
    assert min(series_of(outcomes)["b"].cpu) > max(series_of(outcomes)["a"].cpu) == 0.0
    assert facts_of(outcomes) == {"chunks": 1.0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("authority", [None, Path("/authority.pem")])
def test_a_task_arrives_in_another_process_as_it_was(tmp_path: Path, authority: Path | None) -> None:
    given = task(tmp_path, tmp_path / "a file", authority=authority)
    assert received(handed(given)) == given


def test_only_an_encrypted_line_has_an_authority() -> None:
    assert set(Endpoint("u", "k").environ) == {"SUPABASE_URL", "SUPABASE_SERVICE_KEY"}
    assert Endpoint("u", "k", Path("/a")).environ["SSL_CERT_FILE"] == "/a"


def test_rclone_takes_part_where_there_are_keys() -> None:
    assert rclone({}) == {}
    assert rclone({ACCESS: "a"}) == {}
    assert set(rclone({ACCESS: "a", SECRET: "b"})) == {RCLONE}


def script(text: str) -> list[str]:
    return [sys.executable, "-u", "-c", text]


def test_what_a_process_says_is_stamped_and_found_by_event_and_fields() -> None:
    said = "print('2026-01-01T00:00:00 INFO    handler staging files=1 files_total=2'); print('… staging files=2')"
    with closing(Process(script(said), os.environ)) as process:
        process.finish()
        first = process.event("staging", 0.0)
        assert process.event("staging", 0.0, files=2).text == "… staging files=2"
        assert process.started_at <= first.at <= process.event("staging", 0.0, files=2).at
        with pytest.raises(FailedError, match="did not say"):
            process.event("stag", 0.0)
        with pytest.raises(FailedError, match="did not say"):
            process.event("staging", 0.0, files=3)
        with pytest.raises(FailedError, match="did not say"):
            process.event("staging", 0.0, after=process.lines[-1].at + 1)


def test_a_process_is_given_its_task_and_its_memory_is_noted() -> None:
    held = "import sys; given = sys.stdin.read(); block = b'x' * 50_000_000; print(given, len(block))"
    with closing(Process(script(held), os.environ, given="hello")) as process:
        process.hear("hello 50000000", SECONDS)
        process.finish()
        assert process.peak > 10_000_000


def test_a_process_that_fails_is_quoted() -> None:
    with (
        closing(Process(script("print('because'); raise SystemExit(3)"), os.environ)) as process,
        pytest.raises(FailedError, match=r"(?s)ended with 3:\nbecause"),
    ):
        process.finish()


def test_a_process_is_ended_with_what_it_has_started() -> None:
    parent = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    process = Process(script(f"{parent}; print('child', child.pid, flush=True); child.wait()"), os.environ)
    child = int(process.hear("child ", SECONDS).text.split()[1])
    process.close()
    assert process.ended
    assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()
