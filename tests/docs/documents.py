"""The documents as a reader finds them: their text, tables, examples and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = tuple(path for where in ("*.md", "docs/*.md", "examples/**/*.md") for path in sorted(PROJECT.glob(where)))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One document."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    def blocks(self, language: str) -> list[str]:
        """Return the fenced blocks in ``language``."""
        return [content for name, content in _FENCE.findall(self.text) if name == language]

    def commands(self) -> list[str]:
        """Return everything that is shown as code, a line each; drawings are left out."""
        blocks = [line for name, content in _FENCE.findall(self.text) if name == "sh" for line in content.splitlines()]
        return blocks + _CODE.findall(_FENCE.sub("", self.text))

    def code(self) -> list[str]:
        """Return everything that is shown as code, whatever the language; a block is one text."""
        return [content for _, content in _FENCE.findall(self.text)] + _CODE.findall(_FENCE.sub("", self.text))

    def links(self) -> list[str]:
        return _LINK.findall(_FENCE.sub("", self.text))

    def anchors(self) -> set[str]:
        """Return what a link can lead to, as GitHub names headings."""
        headings = _HEADING.findall(_FENCE.sub("", self.text))
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    def table(self, first: str) -> list[tuple[str, ...]]:
        """Return the rows of every table whose first column is headed ``first``, cell by cell."""
        rows: list[tuple[str, ...]] = []
        inside = False
        for line in self.text.splitlines():
            cells = tuple(cell.strip() for cell in line.strip("|").split("|")) if line.startswith("|") else ()
            if not cells:
                inside = False
            elif inside:
                rows.append(cells)
            else:
                inside = cells[0] == first
        return [cells for cells in rows if set(cells[0]) != {"-"}]


def quoted(cell: str) -> list[str]:
    """Return what a cell shows as code."""
    return _CODE.findall(cell)


README = Page(PROJECT / "README.md")


def page(name: str) -> Page:
    """Return the document ``docs/{name}.md``."""
    return Page(PROJECT / "docs" / f"{name}.md")
