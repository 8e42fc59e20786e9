"""Numbers of bytes and of things, for people."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def shown(count: float) -> str:
    """Return ``count`` bytes in the unit that fits, as in ``1.5 GiB`` or ``150 GiB``."""
    unit = _unit(count)
    return f"{_in(unit, count)} {_UNITS[unit]}"


def shown_of(count: float, total: float) -> str:
    """Return how many of ``total`` bytes there are, in the unit that fits the whole, as in ``0.2/1.5 GiB``."""
    unit = _unit(total)
    return f"{_in(unit, count)}/{shown(total)}"


def counted(count: int, what: str) -> str:
    """Return how many there are of ``what``, in the singular where it is one, as in ``1 file`` or ``2 files``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _unit(count: float) -> int:
    """Return the number of the first unit in which ``count`` has at most three digits."""
    return next((unit for unit in range(len(_UNITS)) if count < 1000 << 10 * unit), len(_UNITS) - 1)


def _in(unit: int, count: float) -> str:
    value = count / (1 << 10 * unit)
    return f"{value:.{1 if unit and value < 100 else 0}f}"
