"""The whole tree is seen, counted and ended, also what lost its parents, its environment or its session."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from handler.trainer import live_trainers, start
from handler.tree import Tree, Usage
from shared.contract.process import ProcessIdentity, find, identify
from shared.contract.trainer_exit import TrainerExit
from tests.unit.handler.toolkits import make_session, make_settings, make_toolkit, until

if TYPE_CHECKING:
    from pathlib import Path

    from shared.layout import SessionFolder

# Children: an ordinary one, one with an environment of its own, one in a session of its own.
FAMILY = """
import signal, subprocess, sys
wait = [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pause()"]
children = [
    subprocess.Popen(wait),
    subprocess.Popen(wait, env={}),
    subprocess.Popen(wait, start_new_session=True),
]
print(*(child.pid for child in children), flush=True)
try:
    signal.pause()
except KeyboardInterrupt:
    print("Job stopped", flush=True)
    raise SystemExit(0)
"""
STUBBORN = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


def begin(tmp_path: Path, script: str) -> tuple[SessionFolder, ProcessIdentity]:
    session = make_session(tmp_path)
    root = start(session, make_settings(make_toolkit(tmp_path / "toolkit", script)), os.environ)
    asyncio.run(until(lambda: session.trainer_output.read_bytes().endswith(b"\n")))
    return session, root


def children(session: SessionFolder) -> list[int]:
    return [int(pid) for pid in session.trainer_output.read_text().split("\n")[0].split()]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def exit_code(session: SessionFolder) -> int | None:
    ended = TrainerExit.read(session.trainer_exit)
    return None if ended is None else ended.code


def test_a_family_is_seen_whole_and_ended_politely(tmp_path: Path) -> None:
    session, root = begin(tmp_path, FAMILY)
    tree = Tree(session.path, root)
    assert tree.alive()
    pids = {process.pid for process in tree.members()}
    assert {root.pid, *children(session)} < pids
    assert len(pids) == 5
    assert os.getpid() not in pids
    assert asyncio.run(tree.end())
    assert "Job stopped" in session.trainer_output.read_text()
    assert exit_code(session) == 0
    assert not [pid for pid in pids if lives(pid)]
    assert not tree.alive()


def test_children_that_lost_their_parents_are_found_and_ended(tmp_path: Path) -> None:
    session, root = begin(tmp_path, FAMILY)
    tree = Tree(session.path, root)
    (trainer,) = psutil.Process(root.pid).children()
    orphans = children(session)
    before = {process.pid for process in tree.members()}
    trainer.kill()
    asyncio.run(until(lambda: find(root) is None))
    assert not tree.alive()
    assert {process.pid for process in tree.members()} == before - {root.pid, trainer.pid} == set(orphans)
    assert asyncio.run(tree.end())
    assert not [pid for pid in orphans if lives(pid)]
    assert exit_code(session) == -signal.SIGKILL


def test_a_handler_that_never_saw_the_family_finds_the_marked_orphans(tmp_path: Path) -> None:
    session, root = begin(tmp_path, FAMILY)
    (trainer,) = psutil.Process(root.pid).children()
    ordinary, without_environment, _ = children(session)
    trainer.kill()
    asyncio.run(until(lambda: find(root) is None))
    later = Tree(session.path, root)
    # The one without an environment is found by the kernel session that it shares with the others.
    assert {process.pid for process in later.members()} >= {ordinary, without_environment}
    assert asyncio.run(later.end(polite_seconds=0))
    assert not [pid for pid in children(session) if lives(pid)]


def test_who_does_not_listen_is_killed_and_the_launcher_still_writes_its_file(tmp_path: Path) -> None:
    session, root = begin(tmp_path, STUBBORN)
    assert asyncio.run(Tree(session.path, root).end(polite_seconds=0.1))
    assert exit_code(session) == -signal.SIGKILL


def test_a_killed_launcher_leaves_a_trainer_that_is_alive_and_can_be_ended(tmp_path: Path) -> None:
    session, root = begin(tmp_path, FAMILY)
    tree = Tree(session.path, root)
    tree.members()
    os.kill(root.pid, signal.SIGKILL)
    asyncio.run(until(lambda: find(root) is None))
    assert tree.alive()
    ((_, new_root),) = [found for found in live_trainers() if found[0] == session.path]
    later = Tree(session.path, new_root)
    assert later.alive()
    assert len(later.members()) == 4
    assert asyncio.run(later.end())
    assert not tree.alive()
    assert exit_code(session) is None


def test_a_frozen_launcher_does_not_hold_up_the_end_for_ever(tmp_path: Path) -> None:
    session, root = begin(tmp_path, STUBBORN)
    os.kill(root.pid, signal.SIGSTOP)
    assert asyncio.run(Tree(session.path, root).end(polite_seconds=0, kill_seconds=0.5))


def test_ending_what_has_ended_is_no_error(tmp_path: Path) -> None:
    session, root = begin(tmp_path, "print('done')")
    asyncio.run(until(lambda: find(root) is None))
    assert asyncio.run(Tree(session.path, root).end())


def test_strangers_are_left_alone(tmp_path: Path) -> None:
    session, root = begin(tmp_path / "a", FAMILY)
    other, other_root = begin(tmp_path / "b", FAMILY)
    assert asyncio.run(Tree(session.path, root).end())
    rest = Tree(other.path, other_root)
    assert len(rest.members()) == 5
    assert asyncio.run(rest.end())


def test_a_root_in_this_process_session_does_not_make_members_of_its_other_processes(tmp_path: Path) -> None:
    wait = [sys.executable, "-c", "import signal; signal.pause()"]
    with subprocess.Popen(wait) as neighbour, subprocess.Popen(wait) as child:
        tree = Tree(tmp_path, identify(child.pid))
        assert [process.pid for process in tree.members()] == [child.pid]
        assert asyncio.run(tree.end(polite_seconds=0))
        assert neighbour.poll() is None
        neighbour.kill()


def test_what_the_tree_takes(tmp_path: Path) -> None:
    busy = "print('on', flush=True)\nwhile True: pass"
    session, root = begin(tmp_path, busy)
    tree = Tree(session.path, root)
    first = tree.usage()
    assert (first.cores, first.processes) == (0.0, 2)
    assert first.memory > 1 << 20
    seen: list[Usage] = []

    def spent() -> bool:
        seen.append(tree.usage())
        return seen[-1].cpu_seconds > first.cpu_seconds + 0.05

    asyncio.run(until(spent))
    assert max(usage.cores for usage in seen) > 0.01
    assert asyncio.run(tree.end())
    after = tree.usage()
    assert (after.memory, after.processes) == (0, 0)
    assert after.cpu_seconds >= seen[-1].cpu_seconds
