"""A job: one configuration, with the processes that it lists."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from .generating import Generating
from .section import ConfigError, Section
from .settings import TrainingSettings, read_training
from .training import Training

TRAINERS = ("sd_trainer", "diffusion_trainer")
PROCESS_TYPES = {"extension": (*TRAINERS, "ui_trainer"), "generate": ("to_folder",)}
RULE = "#" * 45


class Process(Protocol):
    """Something that a job runs."""

    def run(self) -> None:
        """Run to the end."""


class Job:
    """The processes of one configuration, in their order. Each is printed as soon as it is read."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        config = Section("config", document["config"])
        self.name = config.required("name")
        self.stop_seconds = 0.0
        if "process" not in config.values:
            raise ConfigError('config file is invalid. Missing "config.process" key')
        self._processes = [self._make(process, config) for process in config.sections("process")]
        if not self._processes:
            raise ConfigError('config file is invalid. "config.process" must be a list of processes')

    def run(self) -> None:
        """Run one process after the other."""
        count = len(self._processes)
        print(f"\n{RULE}\n# Running job: {self.name}\n{RULE}\n\n")
        print(f"Running  {count} process{'' if count == 1 else 'es'}")
        for process in self._processes:
            process.run()

    def _make(self, process: Section, config: Section) -> Process:
        kind = process.required("type")
        if kind not in PROCESS_TYPES[self._document["job"]]:
            raise ConfigError(f"config file is invalid. Unknown process type: {kind}")
        print(json.dumps(process.values, indent=4))
        if kind == "ui_trainer":
            raise ConfigError(f"SQLite database not found at {process.text('sqlite_db_path', './aitk_db.db')}")
        if kind == "to_folder":
            return Generating(process)
        settings = read_training(process, self.name, config.values.get("training_folder"))
        self.stop_seconds = max(self.stop_seconds, settings.knobs.stop_seconds)
        self._copy_config(settings)
        return Training(settings, self._document.get("meta") or {})

    def _copy_config(self, settings: TrainingSettings) -> None:
        settings.folder.mkdir(parents=True, exist_ok=True)
        copy = yaml.safe_dump(dict(self._document), sort_keys=False, allow_unicode=True)
        Path(settings.folder, "config.yaml").write_text(copy, encoding="utf-8")


def make_job(document: Mapping[str, Any]) -> Job:
    """The job that a configuration describes; ``ConfigError`` for what this trainer cannot run."""
    if document["job"] not in PROCESS_TYPES:
        raise ConfigError(f"Unknown job type {document['job']}")
    return Job(document)
