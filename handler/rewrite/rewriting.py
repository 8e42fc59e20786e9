"""From the configuration that was submitted to the one that runs here: inputs staged, outputs in the session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from handler.config.problems import quoted, told
from handler.rewrite.beside import placed, plan_moves
from handler.rewrite.companions import Companions
from handler.rewrite.complete import completed
from handler.rewrite.inputs import Inputs
from handler.rewrite.json_dataset import MAX_BYTES as LARGEST_JSON
from handler.rewrite.json_dataset import JsonDataset, rewrite_keys
from handler.rewrite.outputs import output_path
from handler.rewrite.paths import Reference, map_paths
from handler.rewrite.rules import INPUTS, Form, Kind
from handler.stage.beside import Move, beside_folder, put_beside
from shared.atomic import write_atomic
from shared.errors import ErrorCode, FerryError
from shared.place import model_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from handler.stage.tree import StagedTree
    from shared.layout import SessionFolder

# What cuts a path short in the forms that hold it in the middle of a text.
_CUTTING = {Form.PROMPTS: "--", Form.COMMAS: ","}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What is to run, and what must be done to the staged dataset before, which ``put_in_place`` does."""

    config: dict[str, Any]
    dataset: Path
    moves: tuple[Move, ...] = ()
    json_datasets: tuple[JsonDataset, ...] = ()
    warnings: tuple[str, ...] = ()


def required_inputs(config: Mapping[str, Any]) -> bool:
    """Return whether ``config`` names anything that must be staged. Raises ConfigError for a path that is no text."""
    return any(reference.kind in INPUTS for reference in _references(config))


def rewrite(config: Mapping[str, Any], *, tree: StagedTree, session: SessionFolder, toolkit: Path) -> Rewritten:
    """Return ``config`` with every path leading into the session, apart from models.

    Raises FerryError naming every key that does not fit, and what the staged dataset holds.
    """
    config, warnings = completed(config, session)
    inputs = Inputs(_references(config), model_name(config), tree, session, toolkit)
    _refuse(inputs.problems, tree)
    rewriter = _Rewriter(inputs, tree, session)
    rewritten = map_paths(config, rewriter.replacement)
    _refuse(rewriter.problems, tree)
    companions = Companions(config, tree, inputs, rewriter.moves)
    _refuse(companions.emptiness(), tree, ErrorCode.DATASET_EMPTY)
    return Rewritten(
        config=rewritten,
        dataset=tree.root,
        moves=rewriter.moves,
        json_datasets=tuple(rewriter.json_datasets.values()),
        warnings=told((*warnings, *inputs.warnings, *companions.warnings())),
    )


def put_in_place(rewritten: Rewritten) -> None:
    """Make the staged dataset what the rewritten configuration says it is. Raises OSError as the disk does."""
    put_beside(rewritten.dataset, rewritten.moves)
    for dataset in rewritten.json_datasets:
        dataset.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(dataset.path, dataset.content)


class _Rewriter:
    """Replaces one path after the other, given what each means."""

    def __init__(self, inputs: Inputs, tree: StagedTree, session: SessionFolder) -> None:
        self._inputs = inputs
        self._tree = tree
        self._session = session
        self.moves = plan_moves(inputs.all(), tree)
        self.json_datasets: dict[str, JsonDataset] = {}
        self.problems: list[str] = []

    def replacement(self, reference: Reference) -> str:
        """Return what is to stand in place of ``reference``."""
        try:
            return self._output(reference) or self._input(reference) or reference.text
        except ValueError as error:
            self.problems.append(f"{reference.place} ({quoted(reference.text)}) {error}")
            return reference.text

    def _output(self, reference: Reference) -> str | None:
        if reference.kind is Kind.CACHE and self._inputs.staged(reference) is None:
            reference = replace(reference, kind=Kind.OUTPUT_FILE)
        return output_path(reference, self._session)

    def _input(self, reference: Reference) -> str | None:
        staged = self._inputs.staged(reference)
        if staged is None:
            return None
        is_json = reference.kind is Kind.TRAINING and staged in self._tree.files
        path = self._json(staged) if is_json else self._placed(staged)
        return _checked(str(path), reference.form)

    def _placed(self, staged: str) -> Path:
        return placed(staged, self._tree.root, self.moves)

    def _json(self, staged: str) -> Path:
        """Rewrite a JSON dataset, once however often it is named, and return where it will lie."""
        known = self.json_datasets.get(staged)
        if known is None:
            name = PurePosixPath(staged)
            content = rewrite_keys(_first_bytes(self._tree.root / staged), lambda key: self._listed(key, name))
            path = beside_folder(self._tree.root) / f"json-{len(self.json_datasets) + 1}" / name.name
            known = self.json_datasets[staged] = JsonDataset(path, content)
        return known.path

    def _listed(self, key: str, listed_in: PurePosixPath) -> Path | None:
        staged = self._inputs.file(key, str(listed_in.parent))
        return None if staged is None else self._placed(staged)


def _first_bytes(file: Path) -> bytes:
    """Return so much of a JSON dataset as it takes to see that it is too large, and else all of it."""
    with file.open("rb") as opened:
        return opened.read(LARGEST_JSON + 1)


def _checked(path: str, form: Form) -> str:
    cutting = _CUTTING.get(form)
    if cutting and cutting in path:
        raise ValueError(f"would be {path!r} here, which ai-toolkit cuts at {cutting!r}; rename the file or its folder")
    if "[name]" in path:
        raise ValueError("means a staged path with [name] in it, where ai-toolkit puts in the name; rename it")
    return path


def _references(config: Mapping[str, Any]) -> list[Reference]:
    found: list[Reference] = []

    def note(reference: Reference) -> str:
        found.append(reference)
        return reference.text

    map_paths(config, note)
    return found


def _refuse(problems: list[str], tree: StagedTree, code: ErrorCode = ErrorCode.INVALID_CONFIG) -> None:
    if problems:
        sentence = f"The configuration does not fit the dataset: {'; '.join(told(tuple(problems)))}."
        raise FerryError(code, f"{sentence} {tree.description()}.")
