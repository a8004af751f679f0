"""The documents as their readers see them: blocks, tables, headings, links. It knows Markdown as far as these pages use
it, and nothing of what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
GUIDE = [README, *sorted(DOCS.glob("*.md"))]  # what users read
EVERY_PAGE = [*GUIDE, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((DOCS / "decisions").glob("*.md"))]

FENCE = re.compile(r"^( *)```(\w*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"(?:src|srcset)=\"([^\"]+)\"")
SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences."""

    page: Path
    line: int  # of the opening fence
    language: str  # '' where none is named
    text: str

    @property
    def name(self) -> str:
        """For a test's name and an error."""
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Every fenced block. A fence that is never closed is an error."""
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence is None:
            lines.append(line.removeprefix(opened[1] if opened else ""))
        elif opened is None:
            opened, lines = (number, fence[1], fence[2]), []
        else:
            yield Block(page, opened[0], opened[2], "\n".join(lines) + "\n")
            opened = None
    assert opened is None, f"{page.name}:{opened}: not closed"


def prose_of(page: Path) -> str:
    """The page without its blocks."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def links_of(page: Path) -> list[str]:
    """Where it leads, pictures among them."""
    prose = prose_of(page)
    return [*LINK.findall(SPAN.sub("", prose)), *IMAGE.findall(prose)]


def anchors_of(page: Path) -> set[str]:
    """What can stand behind '#', as GitHub and most others make it of headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", prose_of(page), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", SPAN.sub(r"\1", LINK.sub("", heading)).lower()).replace(" ", "-")
        count = sum(each == words or re.fullmatch(rf"{re.escape(words)}-\d+", each) is not None for each in found)
        found.add(f"{words}-{count}" if count else words)
    return found


def rows_of(text: str) -> list[list[str]]:
    """The cells of every table's rows, without the headings."""
    rows, before = [], ""
    for line in text.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line) and before.startswith("|"):
            rows.append([each.strip() for each in re.split(r"(?<!\\)\|", line)[1:-1]])
        before = line
    return rows


def section_of(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next of the same depth or less. With its blocks."""
    depth = len(heading) - len(heading.lstrip("#"))
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{depth}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page.name} has no section {heading!r}"
    return found[1]
