"""A session and trees that are only thought of: rewriting needs no disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from handler.config import parse_config
from handler.rewrite import Rewritten, rewrite
from handler.stage import StagedTree
from shared.layout import SessionFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Rewrites(Protocol):
    """Rewrites a configuration for a dataset of these paths."""

    def __call__(
        self, config: str | Mapping[str, Any], paths: Iterable[str] = ("1.jpg",), name: str = ""
    ) -> Rewritten: ...


@pytest.fixture
def session(tmp_path: Path) -> SessionFolder:
    return SessionFolder(tmp_path / "training" / "training_session_1")


@pytest.fixture
def rewrites(session: SessionFolder, tmp_path: Path) -> Rewrites:
    def rewritten(config: str | Mapping[str, Any], paths: Iterable[str] = ("1.jpg",), name: str = "") -> Rewritten:
        tree = StagedTree.of(session.dataset, paths, name)
        return rewrite(parse_config(config), tree=tree, session=session, toolkit=tmp_path / "toolkit")

    return rewritten
