"""Who reads the output may die, and the writer goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from handler.unheard import Unheard


@pytest.mark.guarantee("handler-death", fault="supervisord, which reads its output, is killed")
def test_a_broken_pipe_is_no_error_and_stays_none() -> None:
    reading, writing = os.pipe()
    with Unheard(os.fdopen(writing, "wb"), "utf-8") as stream:
        print("one", file=stream, flush=True)
        assert os.read(reading, 100) == b"one\n"
        os.close(reading)
        for text in ("two", "three", "x" * 100_000):
            print(text, file=stream, flush=True)
            assert stream.write(text) == len(text)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_the_streams_of_a_process_outlive_their_readers(name: str) -> None:
    code = f"""
import sys
from handler.unheard import outlive_readers
outlive_readers()
print("ä", file=sys.{name}, flush=True)
sys.stdin.readline()
print("nobody", file=sys.{name}, flush=True)
print("at all", file=sys.{name})
"""
    stdout, stderr = (subprocess.PIPE if each == name else subprocess.DEVNULL for each in ("stdout", "stderr"))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr) as process:
        pipe = process.stdout or process.stderr
        assert pipe is not None
        assert pipe.readline() == "ä\n".encode()
        pipe.close()
        process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
