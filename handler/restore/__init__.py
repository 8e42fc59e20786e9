"""Brings back what an interrupted training left, so that ai-toolkit goes on with it."""

from __future__ import annotations

from handler.restore.choice import trained_halves
from handler.restore.from_bucket import Restored, restore
from handler.restore.in_place import put_right

__all__ = ["Restored", "put_right", "restore", "trained_halves"]
