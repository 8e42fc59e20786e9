"""The trainer's own pruning and resume beside an uploader that keeps everything: it finds them undisturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.contract.process import identify
from tests.scenario.uploader.port import until
from tests.scenario.vanishing.training import NAME, Leg, Trainer, dataset, holds, names, step_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenario.uploader.port import Port


def alone(folder: Path, data: Path, legs: list[Leg]) -> tuple[list[str], list[str]]:
    """Train without an uploader; return what lies there then, and what the trainer said."""
    told: list[str] = []
    for number, leg in enumerate(legs):
        trainer = Trainer(folder / "output", data, leg, folder / f"{number}.log", waits=False)
        trainer.process.wait(60)
        told += trainer.told()
    return names(folder / "output" / NAME), told


def beside(port: Port, data: Path, legs: list[Leg]) -> tuple[list[str], list[str]]:
    """Train beside an uploader that has every checkpoint wait; return the same."""
    folder, told = port.session(), []
    uploader = port.processes[-1]

    def noticed(name: str) -> None:
        until(lambda: holds(uploader, name), f"the uploader's hold of {name}")

    for number, leg in enumerate(legs):
        trainer = Trainer(folder.output, data, leg, port.folder / f"beside-{number}.log", waits=True)
        port.session(trainer=identify(trainer.process.pid))
        trainer.run(noticed)
        told += trainer.told()
    return names(folder.output / NAME), told


@pytest.mark.guarantee("undisturbed", fault="every checkpoint is held and copied while the trainer prunes and resumes")
@pytest.mark.parametrize("keep", [1, 2])
def test_the_trainers_own_pruning_and_resume_are_the_same_beside_the_spool(at_work: Port, keep: int) -> None:
    harbour = at_work
    data = dataset(harbour.folder / "data")
    legs = [Leg(steps=12, keep=keep, dies_at=7), Leg(steps=12, keep=keep)]
    expected = alone(harbour.folder / "alone", data, legs)

    down = harbour.server.faults.down()
    assert beside(harbour, data, legs) == expected
    assert any(line.startswith("Removing old save: pictures_") for line in expected[1])
    assert "IMPORTANT RESUMING FROM pictures_000000006.safetensors ####" in expected[1]

    harbour.server.faults.clear(down)
    harbour.session(trainer=None)
    receipt = harbour.drain().receipt
    assert receipt is not None
    assert receipt.complete, receipt.missing
    harbour.checked_manifest()
    for step in range(2, 12, 2):
        content = harbour.content(f"checkpoints/pictures_{step:09d}.safetensors")
        assert content is not None, f"step {step} was lost"
        assert step_of(content) == step
