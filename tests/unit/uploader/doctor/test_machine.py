"""Disk, volume, models, interpreter and GPU: what is good enough, and what is told to whom it is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.unit.handler.toolkits import make_settings, make_toolkit
from uploader.disk import Space
from uploader.doctor.checks import Level, examine
from uploader.doctor.disk import check_disk, check_models, check_volume
from uploader.doctor.training import (
    Interpreter,
    answer,
    ask_interpreter,
    check_gpu,
    check_interpreter,
    check_token,
    training_checks,
)
from uploader.doctor.volume import Mount, mount_of, mounts

GIB = 1 << 30
OVERLAY, VOLUME, DISK = Mount("/", "overlay"), Mount("/runpod-volume", "fuse.mfs"), Mount("/workspace", "ext4")
NEW, OLD = Interpreter("3.12.3", "2.9.1+cu130"), Interpreter("3.10.1", "2.7.0+cu128")


def test_little_room_is_warned_of_and_a_folder_that_is_still_to_be_made_is_none_the_worse(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    assert check_disk(folder, Space(free=20 * GIB, total=40 * GIB)).level is Level.OK
    assert check_disk(folder, Space(free=5 * GIB, total=40 * GIB)).says == f"5.0 GiB free of 40.0 GiB at {folder}"
    assert check_disk(folder, Space(free=5 * GIB, total=40 * GIB)).level is Level.WARNING
    assert not (tmp_path / "not").exists()


def test_a_folder_that_cannot_be_written_is_a_failure() -> None:
    finding = check_disk(Path("/proc"), Space(free=20 * GIB, total=40 * GIB))
    assert (finding.level, "/proc cannot be written" in finding.says) == (Level.FAILURE, True)


@pytest.mark.parametrize(
    ("mount", "level", "says"),
    [
        (VOLUME, Level.OK, "fuse.mfs at /runpod-volume: a network file system"),
        (DISK, Level.OK, "ext4 at /workspace: a disk of its own"),
        (Mount("/", "ext4"), Level.OK, "this machine's own disk"),
        (OVERLAY, Level.WARNING, "goes with the container"),
        (Mount("/", "fuse.fuse-overlayfs"), Level.WARNING, "goes with the container"),
        (None, Level.WARNING, "does not say"),
    ],
)
def test_what_does_not_outlive_the_worker_is_warned_of(mount: Mount | None, level: Level, says: str) -> None:
    finding = check_volume(mount)
    assert finding.level is level
    assert says in finding.says


def test_a_folder_lies_on_the_nearest_mount_and_the_last_of_several_there() -> None:
    among = (OVERLAY, Mount("/a", "ext4"), Mount("/a/b", "xfs"), Mount("/a/b", "nfs4"), Mount("/a/bc", "ext4"))
    assert mount_of(Path("/a/b/c"), among) == Mount("/a/b", "nfs4")
    assert mount_of(Path("/a/d"), among) == Mount("/a", "ext4")
    assert mount_of(Path("/"), ()) is None
    assert mount_of(Path.cwd(), mounts()) is not None


@pytest.mark.parametrize(
    ("volume", "mount", "named", "free", "level"),
    [
        (VOLUME, VOLUME, True, 100, Level.OK),
        (VOLUME, VOLUME, True, 30, Level.WARNING),
        (VOLUME, OVERLAY, False, 100, Level.WARNING),
        (VOLUME, OVERLAY, True, 100, Level.WARNING),
        (VOLUME, DISK, True, 100, Level.OK),
        (DISK, OVERLAY, False, 100, Level.WARNING),
        (OVERLAY, OVERLAY, False, 100, Level.OK),
    ],
)
def test_models_belong_on_the_volume_where_there_is_one(
    volume: Mount, mount: Mount, named: bool, free: int, level: Level
) -> None:
    space = Space(free=free * GIB, total=200 * GIB)
    finding = check_models(Path("/cache"), space, volume, mount, named=named)
    assert finding.level is level
    if level is Level.WARNING and mount is OVERLAY:
        assert f"HF_HOME to a folder on the volume, such as {volume.path}/huggingface" in (finding.remedy or "")


@pytest.mark.parametrize(
    ("found", "level", "says"),
    [
        (NEW, Level.OK, "Python 3.12.3 with torch 2.9.1+cu130"),
        (Interpreter("3.12.3", None), Level.WARNING, "has no torch"),
        (None, Level.FAILURE, "does not run"),
    ],
)
def test_the_interpreter_must_run_and_should_have_torch(found: Interpreter | None, level: Level, says: str) -> None:
    finding = check_interpreter("/usr/bin/python3", found)
    assert finding.level is level
    assert says in finding.says


def test_an_interpreter_is_asked_without_importing_what_takes_long() -> None:
    assert ask_interpreter(sys.executable, answer) == Interpreter(".".join(map(str, sys.version_info[:3])), None)
    assert ask_interpreter("/no/such/python", answer) is None
    assert ask_interpreter("python", lambda _command: "nonsense") is None
    assert ask_interpreter("python", lambda _command: json.dumps(["3.12.3", "2.9.1+cu130"])) == NEW


@pytest.mark.parametrize(
    ("driver", "told", "interpreter", "level", "says"),
    [
        (False, None, NEW, Level.WARNING, "no NVIDIA driver"),
        (True, None, NEW, Level.FAILURE, "does not answer"),
        (True, "No devices were found\n", NEW, Level.FAILURE, "finds no GPU"),
        (True, "NVIDIA L4, 23034 MiB, 580.65.06\n", NEW, Level.OK, "NVIDIA L4 with 23034 MiB, driver 580.65.06"),
        (True, "NVIDIA L4, 23034 MiB, 570.10\n", NEW, Level.FAILURE, "driver 570.10 is too old for torch 2.9.1+cu130"),
        (True, "NVIDIA L4, 23034 MiB, 570.10\n", OLD, Level.OK, "driver 570.10"),
        (True, "NVIDIA L4, 23034 MiB, 570.10\n", None, Level.OK, "driver 570.10"),
        (True, "A, 1 MiB, 600\nB, 2 MiB, 600\n", NEW, Level.OK, "A with 1 MiB, B with 2 MiB"),
    ],
)
def test_the_driver_must_be_new_enough_for_torch(
    driver: bool, told: str | None, interpreter: Interpreter | None, level: Level, says: str
) -> None:
    finding = check_gpu(driver, told, interpreter)
    assert finding.level is level
    assert says in finding.says


def test_without_a_toolkit_its_interpreter_is_not_asked_for(tmp_path: Path) -> None:
    asked = list[list[str]]()
    missing = examine(training_checks(make_settings(tmp_path), None, asked.append))
    assert [result.finding and result.finding.level for result in missing][:2] == [Level.FAILURE, None]
    there = make_toolkit(tmp_path / "toolkit", "")
    (there / "version.py").write_text('VERSION = "0.12.26"\n')
    found = [result.finding for result in examine(training_checks(make_settings(there), "token", answer))]
    assert found[0] is not None
    assert found[0].says == f"ai-toolkit 0.12.26 at {there}"


def test_a_missing_token_is_warned_of_and_one_that_is_there_is_not_shown() -> None:
    assert check_token(None).level is check_token("").level is Level.WARNING
    found = check_token("hf_a-secret")
    assert (found.level, "hf_a-secret" in found.says) == (Level.OK, False)
