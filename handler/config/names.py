"""What a run is called: in the bucket, and on the trainer's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from handler.config.problems import kind
from shared.place import first_process, inner_config, model_name

if TYPE_CHECKING:
    from collections.abc import Mapping

# ai-toolkit adds up to some 40 characters to the name for a file's name, of which a disk takes 255 bytes.
MAX_NAME_BYTES = 200


def config_name(config: Mapping[str, Any]) -> str:
    """Return the name of the folder that ai-toolkit writes to, and of its checkpoints.

    A process's own name goes before the configuration's, which takes the place of ``[name]`` in it.
    """
    name = model_name(config)
    own = first_process(inner_config(config)).get("name")
    return own.replace("[name]", name) if isinstance(own, str) and own else name


def name_problems(place: str, name: object) -> list[str]:
    """Return what keeps ``name`` from being a folder's name. ai-toolkit pastes it into JSON text, hence the quote."""
    if name is None:
        return []
    if not isinstance(name, str):
        return [f"{place} must be text, not {kind(name)}; put it in quotes"]
    if not name.strip():
        return [f"{place} is empty"]
    if name.startswith(".") or ".." in name:
        return [f"{place} is {name!r}, but a name must not begin with a dot nor hold two dots in a row"]
    if not name.isprintable() or any(mark in name for mark in '/\\"'):
        return [f"{place} is {name!r}, but a name must not hold slashes, double quotes or control characters"]
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return [f"{place} is longer than {MAX_NAME_BYTES} bytes"]
    return []
