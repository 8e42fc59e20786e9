from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Status
from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import SETTINGS, Berth, Harbour, safetensors, write
from uploader.lag import LagAlarm

if TYPE_CHECKING:
    from pathlib import Path


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().split()[0] for record in caplog.records if "lag_" in record.getMessage()]


def test_the_alarm_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alarm = LagAlarm("session", 600)
    assert alarm.look(599) is None
    warnings = {alarm.look(600 + seconds) for seconds in range(30)}
    assert warnings == {"A checkpoint has been waiting for 10 minutes to be uploaded."}
    assert alarm.look(0) is None
    assert alarm.look(0) is None
    assert events(caplog) == ["lag_alarm", "lag_over"]


@pytest.mark.guarantee("told", fault="a checkpoint cannot be uploaded for a long time")
def test_a_checkpoint_that_waits_too_long_is_in_upload_json_in_status_json_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    harbour = Harbour(tmp_path)
    berth = Berth(harbour, harbour.session_run())
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints", times=10**6)
    write(berth.run.output / "pictures/pictures_000000100.safetensors", safetensors())
    berth.until(lambda: berth.carrier.upload.lag_seconds > 0)
    harbour.clock.advance(SETTINGS.lag_alarm_seconds)
    for _ in range(20):
        berth.probe()
        berth.tick()
    status = Status.parse(harbour.storage.objects["run/pictures/status.json"].content)
    assert status is not None
    for warnings in (berth.carrier.upload.warnings, status.warnings):
        assert any("waiting for 1" in warning and "minutes to be uploaded" in warning for warning in warnings)
    harbour.storage.faults.clear()
    berth.until(lambda: berth.carrier.upload.lag_seconds == 0)
    berth.tick(2)
    assert not berth.carrier.upload.warnings
    assert events(caplog) == ["lag_alarm", "lag_over"]
