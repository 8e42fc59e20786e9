"""How much is done in each row. ``small`` only shows that the benchmark works; its figures mean nothing."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
KB = 1000


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes in bytes, numbers of files, and times in seconds."""

    name: str
    large: int
    huge: int
    small_files: int
    small: int
    many_files: int
    many: int
    dataset_files: int
    rows: int
    steps: int
    log_bytes: int
    log_seconds: float
    log_every: int
    settle_seconds: float


FULL = Scale(
    name="full",
    large=1024 * MIB,
    huge=2048 * MIB,
    small_files=300,
    small=200 * KB,
    many_files=10_000,
    many=2 * KB,
    dataset_files=2000,
    rows=100_000,
    steps=1500,
    log_bytes=100_000 * KB,
    log_seconds=300.0,
    log_every=15,
    settle_seconds=30.0,
)
SMALL = Scale(
    name="small",
    large=13 * MIB,
    huge=26 * MIB,
    small_files=12,
    small=20 * KB,
    many_files=30,
    many=2 * KB,
    dataset_files=20,
    rows=40,
    steps=5,
    log_bytes=1000 * KB,
    log_seconds=8.0,
    log_every=1,
    settle_seconds=1.0,
)
SCALES = {scale.name: scale for scale in (FULL, SMALL)}
