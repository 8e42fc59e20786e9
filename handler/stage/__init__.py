"""Brings the dataset of a job from the bucket to the disk."""

from __future__ import annotations

from handler.stage.staging import Staged, stage
from handler.stage.tree import StagedTree, read_tree

__all__ = ["Staged", "StagedTree", "read_tree", "stage"]
