"""A worker whose log is read by a program: every line of Ferry's is an object, and says what it is about."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.scenario.stack import PROJECT, end, job, stack

if TYPE_CHECKING:
    from pathlib import Path


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_worker_logs_json_and_the_trainers_lines_are_among_it(tmp_path: Path) -> None:
    with stack(tmp_path) as worker:
        worker.environ["LOG_FORMAT"] = "json"
        uploader = worker.start("uploader", "run")
        done = subprocess.run(
            [sys.executable, "-m", "handler", "--test_input", json.dumps({"input": job("logged")})],
            cwd=PROJECT,
            env={name: value for name, value in worker.environ.items() if not name.startswith("RUNPOD_WEBHOOK")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        assert end(uploader, signal.SIGTERM) == 0
        carried = worker.log()
    # Nobody but Ferry's own log writes to stderr here, and the uploader writes nothing else at all.
    told = objects(done.stderr)
    assert [line for line in done.stderr.splitlines() if not line.startswith("{")] == []
    sent = objects(carried)
    assert len(sent) == len(carried.splitlines())
    for line in (*told, *sent):
        assert {"level", "program", "event"} <= set(line), line
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
    of_the_session = {line["event"] for line in (*told, *sent) if line.get("session") == answer["session_id"]}
    assert {"session_opened", "staging", "trainer_started", "trainer_output", "trainer_ended"} <= of_the_session
    assert {"run_found", "uploaded", "closed"} <= of_the_session
    assert any("Saving at step" in line["line"] for line in told if line["event"] == "trainer_output")
    assert "Saving at step" not in done.stdout
