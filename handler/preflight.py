"""Before GPU time is spent: is everything there that the job needs? A check ends in silence, a warning or an error."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from handler.masking import given_away
from handler.neighbours import check_place
from handler.retention import prune
from handler.room import OUTPUT_BYTES, dataset_bytes, free_bytes, models_to_download
from handler.stage.listing import list_items
from handler.trainer import check_none_lives
from shared import keys
from shared.clock import Deadline
from shared.contract.upload import Worker
from shared.errors import ErrorCode, FerryError
from shared.layout import worker_file
from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call
from shared.toolkit import MODEL_BYTES, check_toolkit, model_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import Event

    from handler.job import BucketFolder, Job
    from handler.stage.listing import Item
    from shared.clock import Clock
    from shared.settings import Settings
    from shared.storage.client import Storage
    from shared.storage.records import BucketRecord

# A Storage that is just being restarted is back by then; a wrong address never is.
STORAGE_PATIENCE = Patience(seconds=30, first=0.5, longest=5)
UPLOADER_SECONDS = 30.0
# A beat older than this is of a process that is gone: the uploader beats every five seconds.
_SILENT_SECONDS = 20.0
_LOOK_SECONDS = 0.1
# From a large LoRA down to what a free project takes.
_TRIED_BYTES = (2 << 30, 1 << 30, 500 << 20, 200 << 20, 50 << 20, 10 << 20)

T = TypeVar("T")

_SAMPLE_TYPE = "image/jpeg"
_TYPES = {
    "application/octet-stream": "checkpoints",
    _SAMPLE_TYPE: "samples",
    "text/plain": "logs",
    "application/json": "status and manifest",
}


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything needed is there: ``dataset`` is what is to be staged. ``warnings`` are sentences for the answer."""

    toolkit_version: str
    dataset: tuple[Item, ...]
    warnings: tuple[str, ...] = ()


class Preflight:
    """The checks of one job. Blocking: runs in a thread, and ends early when ``stop`` is set."""

    def __init__(
        self, settings: Settings, storage: Storage, clock: Clock, environ: Mapping[str, str], stop: Event
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._clock = clock
        self._environ = environ
        self._stop = stop

    def check(self, job: Job) -> Ready:
        """Raise FerryError for the first thing that is not as it must be."""
        self._secrecy(job)
        version = check_toolkit(self._settings.handler)
        check_none_lives(self._settings.root)
        warnings = list(self._upload_side(job))
        dataset: tuple[Item, ...] = ()
        if job.dataset is not None:
            self._bucket(job.dataset, "dataset_config")
            dataset = self._listed(job.dataset)
        self._room(dataset_bytes(dataset))
        warnings += self._room_for_models(job)
        self._uploader()
        return Ready(version, dataset, tuple(warnings))

    def _secrecy(self, job: Job) -> None:
        """Refuse a job that holds a secret: a trainer prints its configuration and writes it into its checkpoints."""
        names = given_away(job.model_dump(exclude={"warnings"}), self._environ)
        if names:
            raise FerryError(
                ErrorCode.INVALID_INPUT,
                f"The job holds the value of {' and '.join(names)}, which must stay secret: leave it out. "
                "The trainer finds HF_TOKEN in its environment.",
            )

    def _listed(self, source: BucketFolder) -> tuple[Item, ...]:
        return self._ask(lambda: list_items(self._storage, source.bucket_name, source.folder_path))

    def _room(self, dataset: int) -> None:
        """Delete old sessions, more of them than usual where there is too little room, and see that there is enough."""
        settings, needed = self._settings, dataset + OUTPUT_BYTES
        prune(
            settings.root,
            settings.worker,
            settings.handler.keep_sessions,
            lambda: free_bytes(settings.root) >= needed,
        )
        free = free_bytes(settings.root)
        if free < needed:
            raise FerryError(
                ErrorCode.DISK_FULL,
                f"The job needs {_shown(needed)} at {settings.root} ({_shown(dataset)} for the dataset, "
                f"{_shown(OUTPUT_BYTES)} for checkpoints and samples), but only {_shown(free)} are free: make room, or "
                "use a larger volume.",
            )

    def _room_for_models(self, job: Job) -> list[str]:
        """Return a warning where a download may not fit; how large a model is, only the hub knows."""
        cache = model_cache(self._environ)
        missing = models_to_download(job.config, cache)
        free = free_bytes(cache)
        if not missing or free >= MODEL_BYTES:
            return []
        sentence = (
            f"{', '.join(missing)} must be downloaded to {cache}, where only {_shown(free)} are free, and models like "
            f"FLUX.1-dev take {_shown(MODEL_BYTES)}: set HF_HOME to a folder with more room if it fails."
        )
        return [sentence]

    def _upload_side(self, job: Job) -> list[str]:
        bucket = self._bucket(job.upload, "upload_config")
        refused = [what for kind, what in _TYPES.items() if not bucket.allows(kind)]
        if refused:
            raise FerryError(
                ErrorCode.STORAGE_DENIED,
                f"The bucket {bucket.name} does not take the types of {', '.join(refused)} "
                f"(it allows {', '.join(bucket.allowed_mime_types or ())}): clear its allowed MIME types in Supabase.",
            )
        self._ask(partial(check_place, self._storage, bucket.name, job.prefix))
        self._writable(job)
        return self._largest(bucket)

    def _bucket(self, place: BucketFolder, field: str) -> BucketRecord:
        try:
            return self._ask(lambda: self._storage.bucket(place.bucket_name))
        except StorageError as error:
            if error.trouble is not Trouble.BUCKET_NOT_FOUND:
                raise
            raise FerryError(
                ErrorCode.BUCKET_NOT_FOUND,
                f"{field}.bucket_name: there is no bucket {place.bucket_name!r} at {self._settings.storage.url}: "
                "create it in Supabase, or correct the name.",
            ) from error

    def _writable(self, job: Job) -> None:
        key = keys.join(job.prefix, f".ferry-preflight-{uuid.uuid4().hex}")
        bucket = job.upload.bucket_name
        body = BytesBody(b"Ferry tries whether it may write here.\n")
        self._ask(lambda: self._storage.put(bucket, key, body, content_type="text/plain", metadata={}))
        self._ask(lambda: self._storage.remove(bucket, [key]))

    def _largest(self, bucket: BucketRecord) -> list[str]:
        """Return a warning when Storage would refuse a large checkpoint; no record tells its limit, so it is tried."""
        refused = 0
        for size in _TRIED_BYTES:
            if self._ask(partial(self._storage.takes, bucket.name, size)):
                break
            refused = size
        if not refused:
            return []
        sentence = (
            f"Storage takes no file of {refused >> 20} MiB into bucket {bucket.name}, and larger checkpoints could not "
            "be uploaded: raise the file size limit of the bucket and of the project in Supabase's Storage settings."
        )
        return [sentence]

    def _uploader(self) -> None:
        file = worker_file(self._settings.root, self._settings.worker)
        deadline = Deadline(self._clock, UPLOADER_SECONDS)
        while not self._beats(Worker.read(file)):
            if deadline.passed() or self._stop.wait(_LOOK_SECONDS):
                raise FerryError(
                    ErrorCode.UPLOADER_DOWN,
                    f"No uploader has been alive on this worker for {UPLOADER_SECONDS:.0f} s, so nothing would reach "
                    "the bucket: start python -m uploader run, or see in its log why it ends.",
                )

    def _beats(self, beat: Worker | None) -> bool:
        return beat is not None and self._clock.now() - beat.at < _SILENT_SECONDS

    def _ask(self, question: Callable[[], T]) -> T:
        return call(question, STORAGE_PATIENCE, clock=self._clock, wait=self._stop.wait)


def _shown(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
