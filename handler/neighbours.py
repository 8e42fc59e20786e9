"""Whether a run's place and another's would meet in the bucket: neither may lie among the objects of the other.

Runs may lie below one another otherwise, ``runs/1`` and ``runs/1/other``: no key of one can be the other's then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import CLAIMS, MANIFESTS
from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from shared.storage.client import Storage

# Where a run's own objects lie below its prefix.
RUN_FOLDERS = frozenset({"samples", "checkpoints", "logs", "outputs", "incomplete", "damaged", MANIFESTS, CLAIMS})


def check_place(storage: Storage, bucket: str, prefix: str) -> None:
    """Refuse the place ``prefix`` where it and another run's would meet.

    Raises FerryError (INVALID_INPUT), and StorageError where Storage does not answer.
    """
    _check_around(storage, bucket, prefix)
    _check_below(storage, bucket, prefix)


def _check_around(storage: Storage, bucket: str, prefix: str) -> None:
    parts = prefix.split("/")
    for count in (count for count in range(1, len(parts)) if parts[count] in RUN_FOLDERS):
        around = "/".join(parts[:count])
        if storage.folder(bucket, keys.join(around, CLAIMS)).files:
            raise FerryError(
                ErrorCode.INVALID_INPUT,
                f"upload_config.folder_path leads into {parts[count]}/ of the run whose results are at {around}: "
                "choose a folder outside of them.",
            )


def _check_below(storage: Storage, bucket: str, prefix: str) -> None:
    there = RUN_FOLDERS.intersection(storage.folder(bucket, prefix).folders)
    # A run that was here before has been looked at then, and who came later has looked for it.
    for folder in sorted(there) if CLAIMS not in there else ():
        for record in storage.walk(bucket, keys.join(prefix, folder)):
            place, slash, _ = record.key.rpartition(f"/{CLAIMS}/")
            if slash:
                raise FerryError(
                    ErrorCode.INVALID_INPUT,
                    f"The results of another run are at {place}, among what this one would write into "
                    f"{keys.join(prefix, folder)}/: choose another upload_config.folder_path, or another name.",
                )
