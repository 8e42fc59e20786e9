"""The disk: whether there is room, whether it outlives the worker, and where models are kept."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from shared.sizes import shown
from shared.toolkit import MODEL_BYTES, model_cache
from uploader.disk import space_at
from uploader.doctor.checks import Check, doubtful, fine, wrong
from uploader.doctor.volume import mount_of, mounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from uploader.disk import Space
    from uploader.doctor.checks import Finding
    from uploader.doctor.volume import Mount

LITTLE_BYTES = 10 << 30
_CACHE_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")
_ATTACH = "Attach a network volume, and keep TRAINING_ROOT on it."


def disk_checks(folder: Path, *, trains: bool, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield what there is to ask of the disk under ``folder``; ``trains``: models are downloaded here as well."""
    yield Check("disk", lambda: check_disk(folder, space_at(folder)))
    yield Check("volume", lambda: check_volume(mount_of(folder, mounts())))
    if trains:
        cache = model_cache(environ)
        named = any(environ.get(name) for name in _CACHE_VARIABLES)
        yield Check(
            "models",
            lambda: check_models(
                cache, space_at(cache), mount_of(folder, mounts()), mount_of(cache, mounts()), named=named
            ),
        )


def check_disk(folder: Path, space: Space) -> Finding:
    """Return whether ``folder``, where it is or will be, can be written and has room."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"doctor")
            file.flush()
    except OSError as error:
        return wrong(f"{there} cannot be written: {error.strerror}", "Mend its rights, or set TRAINING_ROOT elsewhere.")
    told = f"{shown(space.free)} free of {shown(space.total)} at {folder}"
    if space.free < LITTLE_BYTES:
        return doubtful(told, "Checkpoints and samples need more: make room, or use a larger volume.")
    return fine(told)


def check_volume(mount: Mount | None) -> Finding:
    """Return whether what waits for its upload outlives the worker."""
    if mount is None:
        return doubtful("the system does not say what lies there", _ATTACH)
    if mount.fleeting:
        return doubtful(f"{mount}: what has not been uploaded goes with the container", _ATTACH)
    if mount.network:
        return fine(f"{mount}: a network file system, which outlives the worker; its free space is not your quota")
    whose = "this machine's own disk" if mount.path == "/" else "a disk of its own, which outlives the container"
    return fine(f"{mount}: {whose}")


def check_models(cache: Path, space: Space, volume: Mount | None, mount: Mount | None, *, named: bool) -> Finding:
    """Return whether models that are downloaded to ``cache``, on ``mount``, are there again for the next worker.

    ``volume`` is what the training root lies on; ``named``: somebody has said where the cache is to be.
    """
    told = f"models are kept in {cache}, where {shown(space.free)} are free"
    durable = volume is not None and not volume.fleeting and volume.path != "/"
    if durable and mount != volume and (mount is None or mount.fleeting or not named):
        remedy = f"Set HF_HOME to a folder on the volume, such as {volume.path}/huggingface." if volume else _ATTACH
        return doubtful(f"{told}; each new worker downloads them again", remedy)
    if space.free < MODEL_BYTES:
        return doubtful(told, f"Models like FLUX.1-dev take {shown(MODEL_BYTES)}: set HF_HOME to where there is room.")
    return fine(told)
