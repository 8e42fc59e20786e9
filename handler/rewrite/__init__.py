"""Makes every path of an ai-toolkit configuration lead into the session."""

from __future__ import annotations

from handler.rewrite.json_dataset import JsonDataset
from handler.rewrite.rewriting import Rewritten, put_in_place, required_inputs, rewrite

__all__ = ["JsonDataset", "Rewritten", "put_in_place", "required_inputs", "rewrite"]
