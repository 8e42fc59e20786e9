"""The trainer's command and environment, and what is found of it later."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from handler.trainer import MARKER, PROJECT, command, environment, live_trainers, marker, start
from handler.tree import Tree
from shared.contract.process import ProcessIdentity, find
from shared.contract.trainer_exit import TrainerExit
from shared.errors import ErrorCode, FerryError
from tests.unit.handler.toolkits import make_session, make_settings, make_toolkit, until

SECRETS = {
    "SUPABASE_SERVICE_KEY": "supabase-secret",
    "SUPABASE_URL": "https://x.supabase.co",
    "RUNPOD_AI_API_KEY": "runpod-secret",
    "RUNPOD_POD_ID": "pod",
    "PYTHONPATH": "/elsewhere",
    "VIRTUAL_ENV": "/venv",
    "AITK_JOB_ID": "7",
}


def test_the_command_runs_the_configuration_by_its_absolute_path(tmp_path: Path) -> None:
    assert command(make_settings(tmp_path), Path("config.yaml")) == [
        sys.executable,
        "run.py",
        f"{Path.cwd()}/config.yaml",
    ]


def test_only_allowed_variables_reach_the_trainer(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    allowed = {
        "HOME": "/root",
        "HF_TOKEN": "hf_token_value",
        "HF_HUB_DISABLE_XET": "1",
        "CUDA_VISIBLE_DEVICES": "0",
        "LC_ALL": "C.UTF-8",
        "SEED": "42",
    }
    refused = {"DATABASE_URL": "x", "AWS_SECRET_ACCESS_KEY": "aws-secret", "HF_TOKEN_OF_SOMEONE": "x"}
    environ = {**SECRETS, **allowed, **refused, "PATH": "/venv/bin:/usr/bin:/bin"}
    assert environment(environ, make_settings(tmp_path), session) == {
        **allowed,
        "PATH": "/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        MARKER: str(session.path),
    }


def test_more_variables_by_name_or_pattern_but_never_the_workers_own_secrets(tmp_path: Path) -> None:
    more = {"WANDB_API_KEY": "wandb-secret", "WANDB_MODE": "offline", "MY_TOKEN": "my-secret-token", "MY_MODE": "x"}
    copies = {"MY_COPY": "supabase-secret", "WANDB_NOTE": "see runpod-secret"}
    settings = make_settings(
        tmp_path, variables=("WANDB_*", "WANDB_API_KEY", "MY_*", "SUPABASE_*", "RUNPOD_POD_ID", "*")
    )
    passed = environment({**SECRETS, **more, **copies, "supabase_key": "x"}, settings, make_session(tmp_path))
    assert {name for name in passed if name not in {"PYTHONUNBUFFERED", MARKER}} == {
        "WANDB_API_KEY",
        "WANDB_MODE",
        "MY_MODE",
    }


def test_the_workers_own_environment_is_not_in_the_path(tmp_path: Path) -> None:
    own = str(Path(sys.prefix, "bin"))
    passed = environment({"PATH": f"{own}:/usr/bin"}, make_settings(tmp_path), make_session(tmp_path))
    assert passed["PATH"] == "/usr/bin"


REPORTING = """
import json, os, signal, sys
print(json.dumps({
    "arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ),
    "leads": os.getsid(0) == os.getpid(), "input": sys.stdin.read(),
    "default": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
}))
print("to stderr", file=sys.stderr)
"""


def test_a_started_trainer_finds_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    toolkit = make_toolkit(tmp_path / "toolkit", REPORTING)
    session.trainer_output.write_text("earlier\n")
    session.trainer_exit.write_text("of an earlier trainer")
    environ = {**os.environ, **SECRETS}
    root = start(session, make_settings(toolkit), environ)
    asyncio.run(until(lambda: find(root) is None))
    earlier, reported, to_stderr = session.trainer_output.read_text().splitlines()
    told = json.loads(reported)
    assert (earlier, to_stderr) == ("earlier", "to stderr")
    assert told["arguments"] == [str(session.config_file)]
    assert told["folder"] == str(toolkit)
    assert (told["leads"], told["input"], told["default"]) == (True, "", True)
    assert told["environment"][MARKER] == str(session.path)
    assert not set(SECRETS) & set(told["environment"])
    ended = TrainerExit.read(session.trainer_exit)
    assert ended is not None
    assert ended.code == 0


def test_an_interpreter_that_cannot_be_started_ends_with_a_code_and_a_line(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    settings = make_settings(make_toolkit(tmp_path / "toolkit", ""), python="/no/such/python")
    root = start(session, settings, os.environ)
    asyncio.run(until(lambda: find(root) is None))
    ended = TrainerExit.read(session.trainer_exit)
    assert ended is not None
    assert ended.code == 127
    assert "/no/such/python" in session.trainer_output.read_text()


def test_a_living_trainer_is_found_by_its_marker_and_an_ended_one_is_not(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    settings = make_settings(make_toolkit(tmp_path / "toolkit", "import signal; signal.pause()"))
    root = start(session, settings, os.environ)
    assert dict(live_trainers())[session.path].pid == root.pid
    assert asyncio.run(Tree(session.path, root).end(polite_seconds=0))
    assert session.path not in dict(live_trainers())


@pytest.mark.guarantee(
    "one-writer", fault="a trainer that outlived its handler still lives when the next job is to start"
)
def test_no_second_trainer_is_started_while_one_of_the_same_root_lives(tmp_path: Path) -> None:
    first, second = make_session(tmp_path, 1), make_session(tmp_path, 2)
    settings = make_settings(make_toolkit(tmp_path / "toolkit", "import signal; signal.pause()"))
    root = start(first, settings, os.environ)
    # A process has its environment a moment after it has begun.
    asyncio.run(until(lambda: marker(psutil.Process(root.pid)) is not None))
    for again in (first, second):
        with pytest.raises(FerryError, match=rf"training_session_1 still lives .*process {root.pid}") as refused:
            start(again, settings, os.environ)
        assert refused.value.code is ErrorCode.BUSY
    assert not second.trainer_output.exists()
    elsewhere = make_session(tmp_path / "another root", 1)
    other = start(elsewhere, settings, os.environ)
    assert asyncio.run(Tree(first.path, root).end(polite_seconds=0))
    last = start(second, settings, os.environ)
    for session, each in ((second, last), (elsewhere, other)):
        assert asyncio.run(Tree(session.path, each).end(polite_seconds=0))


def test_an_interpreter_that_ends_has_no_launcher_left_to_complain_about(tmp_path: Path) -> None:
    toolkit = make_toolkit(tmp_path / "toolkit", "import signal; signal.pause()")
    session = make_session(tmp_path)
    code = f"""
import asyncio, os, pathlib
from handler.trainer import start
from handler.tree import Tree
from shared.layout import SessionFolder
from tests.unit.handler.toolkits import make_settings
session = SessionFolder(pathlib.Path({str(session.path)!r}))
root = start(session, make_settings(pathlib.Path({str(toolkit)!r})), os.environ)
assert asyncio.run(Tree(session.path, root).end(polite_seconds=0))
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_trainer_that_cannot_be_identified_is_not_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session(tmp_path)
    settings = make_settings(make_toolkit(tmp_path / "toolkit", "import signal; signal.pause()"))

    def refuse(_pid: int) -> ProcessIdentity:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("handler.trainer.identify", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        start(session, settings, os.environ)
    monkeypatch.undo()
    asyncio.run(until(lambda: session.path not in dict(live_trainers())))
