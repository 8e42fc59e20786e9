"""nvidia-smi's answers are read, and its silence does no harm."""

from __future__ import annotations

import asyncio
import sys

import pytest

from handler.gpu import Gpu, GpuMeter, ask, parse
from tests.unit.handler.toolkits import until

MIB = 1 << 20


def test_the_answer_of_two_cards_one_of_which_does_not_tell() -> None:
    assert parse("97, 23000, 24564\n[N/A], 10, [N/A]\nfailed\n") == (
        Gpu(utilisation=97, memory_used=23000 * MIB, memory_total=24564 * MIB),
        Gpu(memory_used=10 * MIB),
    )


@pytest.mark.parametrize(
    ("program", "code"),
    [("/no/such/program", ""), (sys.executable, "import sys; print('1, 2, 3'); sys.exit(9)")],
)
def test_no_answer_is_empty(program: str, code: str) -> None:
    assert asyncio.run(ask(program, ("-c", code))) == ""


def test_a_program_that_hangs_is_given_up_and_ended() -> None:
    assert asyncio.run(ask(sys.executable, ("-c", "import signal; signal.pause()"), seconds=0.2)) == ""


def test_an_answer_comes_through() -> None:
    assert asyncio.run(ask(sys.executable, ("-c", "print('1, 2, 3')"))) == "1, 2, 3\n"


def test_the_meter_asks_in_the_background_and_once_at_a_time() -> None:
    async def scenario() -> None:
        answer = asyncio.get_running_loop().create_future()
        asked = []

        async def slow(program: str) -> str:
            asked.append(program)
            return str(await answer)

        meter = GpuMeter(slow, "nvidia-smi")
        meter.refresh()
        await until(lambda: bool(asked))
        meter.refresh()
        assert not meter.busy()
        answer.set_result("5, 1, 2\n")
        await until(meter.busy)
        assert asked == ["nvidia-smi"]
        await meter.close()

    asyncio.run(scenario())


def test_a_machine_without_nvidia_smi_is_never_asked() -> None:
    async def scenario() -> None:
        meter = GpuMeter(program=None)
        meter.refresh()
        await meter.close()
        assert meter.gpus == ()

    asyncio.run(scenario())


@pytest.mark.guarantee("undisturbed", fault="no thread is left that could wait for nvidia-smi")
def test_what_goes_wrong_in_asking_is_no_word_on_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async def broken(_program: str) -> str:
        raise RuntimeError("something else")

    async def scenario() -> str:
        meter = GpuMeter(broken, "nvidia-smi")
        meter.refresh()
        await asyncio.sleep(0)
        await meter.close()
        monkeypatch.setattr(asyncio, "create_subprocess_exec", none_left)
        return await ask("nvidia-smi")

    assert asyncio.run(scenario()) == ""
