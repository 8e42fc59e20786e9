"""What the handler works with, passed from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handler.reporter import Reporter
    from shared.clock import Clock
    from shared.settings import Settings
    from shared.storage.client import Storage


@dataclass(frozen=True, slots=True)
class Workshop:
    """Settings, Storage and clock of this worker; ``reporter`` and ``environ`` are those of the job."""

    settings: Settings
    storage: Storage
    clock: Clock
    reporter: Reporter
    environ: Mapping[str, str]
