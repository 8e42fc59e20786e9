"""``/_proxy/…``: switching faults, changing the line and reading the counters from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local.proxy.faults import Fault

if TYPE_CHECKING:
    from local.proxy.rig import Rig

CONTROL = "/_proxy/"


class _Setting(BaseModel):
    """The line as it is to be; what is left out has no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round_trip: float = Field(default=0.0, ge=0.0)
    bandwidth: int | None = Field(default=None, ge=1)


class Control:
    """Answers what is asked of the proxy itself."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body (JSON) of the answer to a request."""
        what, _, number = path.removeprefix(CONTROL).partition("/")
        try:
            status, said = self._do(method, what, number, body)
        except ValidationError as error:
            status, said = 400, {"message": f"Not understood: {error}"}
        return status, json.dumps(said).encode()

    def _do(self, method: str, what: str, number: str, body: bytes) -> tuple[int, object]:
        rig = self._rig
        match method, what:
            case "POST", "faults":
                return 201, {"id": rig.faults.add(Fault.model_validate_json(body))}
            case "GET", "faults":
                return 200, rig.faults.shown()
            case "DELETE", "faults":
                rig.faults.clear(int(number) if number.isdecimal() else None)
                return 200, rig.faults.shown()
            case "PUT", "line":
                setting = _Setting.model_validate_json(body)
                rig.line.round_trip, rig.line.bandwidth = setting.round_trip, setting.bandwidth
                return 200, setting.model_dump()
            case "GET", "line":
                return 200, {"round_trip": rig.line.round_trip, "bandwidth": rig.line.bandwidth}
            case "GET", "tally":
                return 200, rig.tally.shown()
            case "DELETE", "tally":
                rig.tally.reset()
                return 200, rig.tally.shown()
        return 404, {"message": f"There is no {method} {CONTROL}{what}"}
