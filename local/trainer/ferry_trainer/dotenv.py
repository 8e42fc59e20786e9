"""The ``.env`` file beside ``run.py``: variables for the process that the environment does not set already."""

from collections.abc import MutableMapping
from pathlib import Path


def load_dotenv(path: Path, environment: MutableMapping[str, str]) -> None:
    """Add the ``NAME=value`` lines of ``path``, if it is there, to ``environment``; what is set already wins."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            environment.setdefault(name.strip(), value.strip().strip("'\""))
