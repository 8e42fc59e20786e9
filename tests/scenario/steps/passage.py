"""One run: the story from its beginning to its end, whatever befalls the uploader, and what came of it."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from local.storage.server import running_storage
from shared.clock import Deadline, SystemClock
from shared.settings import StorageSettings
from shared.storage.client import Storage
from tests.scenario.steps.crew import Crew
from tests.scenario.steps.exchanges import Cut, Exchanges
from tests.scenario.steps.nursery import Launch, nursery
from tests.scenario.steps.reckoning import reckon
from tests.scenario.steps.story import BUCKET, WORKER, Story
from tests.scenario.steps.tracer import Blow
from tests.scenario.steps.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.types import ASGIApp

    from local.storage.catalogue.store import Store

_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.01


@dataclass(slots=True)
class Verdict:
    """What came of one run.

    ``struck`` is the step at which the blow fell, None when the run never came that far; ``steps`` are those of the
    uploader that was struck. ``faults`` is everything that is wrong, ``printed`` then the uploaders' log.
    """

    struck: str | None = None
    steps: list[str] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0
    manifests: int = 0
    faults: list[str] = field(default_factory=list)
    printed: str = ""


class Passages:
    """A Storage, a nursery, and a folder: everything that runs have in common."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._count = 0

    def __enter__(self) -> Self:
        self._nursery = self._stack.enter_context(nursery())
        self._server = self._stack.enter_context(running_storage(self._folder / "storage", around=self._around))
        settings = StorageSettings(self._server.url, self._server.service_key)
        self._storage = self._stack.enter_context(Storage(settings))
        self._storage.make_bucket(BUCKET)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def obstacle(self) -> str | None:
        """Return why steps cannot be followed on this machine, or None when they can."""
        return self._nursery.obstacle()

    def _around(self, app: ASGIApp, store: Store) -> ASGIApp:
        self._witness = Witness(store, BUCKET)
        self._exchanges = Exchanges(app, self._witness.look)
        return self._exchanges

    def at_step(self, point: int, error: int | None = None) -> Verdict:
        """Let the story run with a blow at the durable step of number ``point``.

        The blow is SIGKILL, or the failure of that call with ``error``.
        """
        story = self._new_story(follow=True, blow=Blow(point, error))
        verdict = self._run(story, cut=None)
        assert story.crew.first is not None
        verdict.struck, verdict.steps = story.crew.first.struck, story.crew.first.steps
        return verdict

    def at_exchange(self, cut: Cut) -> Verdict:
        """Let the story run with the uploader killed in the exchange that ``cut`` names."""
        verdict = self._run(self._new_story(), cut)
        verdict.struck, verdict.steps = self._exchanges.struck, self._exchanges.seen
        return verdict

    def _new_story(self, *, follow: bool = False, blow: Blow | None = None) -> Story:
        self._count += 1
        root = self._folder / f"root-{self._count}"
        root.mkdir()
        launch = Launch(root, self._environ(root), self._folder / f"printed-{self._count}.log", follow, blow)
        crew = Crew(self._nursery, launch)
        return Story(root, f"run-{self._count}/pictures", self._server, self._storage, crew, self._exchanges.resting)

    def _run(self, story: Story, cut: Cut | None) -> Verdict:
        clock, verdict, crew = SystemClock(), Verdict(), story.crew
        began = clock.monotonic()
        story.prepare()
        self._server.stats.reset()
        self._witness.watch(story.prefix)
        self._exchanges.watch(cut, crew.strike)
        crew.start()
        try:
            verdict.faults += _play(story)
        finally:
            crew.dismiss(_PATIENCE_SECONDS)
            self._exchanges.rest()
            self._server.faults.clear()
        verdict.starts, verdict.manifests = crew.starts, self._witness.manifests
        verdict.faults += self._witness.lies
        verdict.faults += reckon(story, self._storage, self._server.stats.received_for)
        if verdict.faults:
            verdict.printed = crew.launch.printed.read_text(errors="replace")
        self._clear(story)
        verdict.seconds = clock.monotonic() - began
        return verdict

    def _clear(self, story: Story) -> None:
        shutil.rmtree(story.root)
        story.crew.launch.printed.unlink()
        self._storage.remove(BUCKET, [record.key for record in self._storage.walk(BUCKET, story.prefix)])

    def _environ(self, root: Path) -> Mapping[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self._folder),
            "RUNPOD_POD_ID": WORKER,
            "SUPABASE_URL": self._server.url,
            "SUPABASE_SERVICE_KEY": self._server.service_key,
            "TRAINING_ROOT": str(root),
            "UPLOAD_CONCURRENCY": "1",
            "UPLOAD_DEBOUNCE_SECONDS": "0",
            "UPLOAD_POLL_SECONDS": "0.05",
            "UPLOAD_LOG_SECONDS": "4",
        }


def _play(story: Story) -> list[str]:
    """Let the story happen, with a new uploader whenever one has ended; return what it waited for in vain."""
    clock = SystemClock()
    for number, happened in enumerate(story.tell()):
        deadline = Deadline(clock, _PATIENCE_SECONDS)
        while not happened():
            if deadline.passed():
                return [f"chapter {number} of the story never ends"]
            story.crew.attend(_LOOK_SECONDS)
    return []
