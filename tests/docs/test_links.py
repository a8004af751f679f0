"""No page leads nowhere: links and anchors exist, every page is reached from the README, every command is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_cli_help import COMMANDS

from dittod.cli.help import GROUPS

from .pages import DOCS, EVERY_PAGE, GUIDE, README, ROOT, SPAN, anchors_of, links_of, rows_of, section_of

TO_RUN = {
    name for name, command in COMMANDS.items() if name and not hasattr(command, "commands")
}  # the groups themselves only lead to others

each_page = pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
ELSEWHERE = ("https://", "http://")  # not looked up: tests ask no network


def target_of(page: Path, link: str) -> tuple[Path, str]:
    """The file that a link of that page leads to, and the place in it."""
    path, _, anchor = link.partition("#")
    return ((page.parent / path).resolve() if path else page), anchor


def fault_of(page: Path, link: str) -> str | None:
    """Why nobody gets where it leads."""
    path, anchor = target_of(page, link)
    if not path.exists():
        return f"there is no {link}"
    if anchor and anchor not in anchors_of(path):
        return f"no heading of {path.name} makes #{anchor}"
    return None


def inner(page: Path) -> list[str]:
    return [link for link in links_of(page) if not link.startswith(ELSEWHERE)]


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [fault for link in inner(page) if (fault := fault_of(page, link))] == []


def test_a_link_that_leads_nowhere_would_be_seen() -> None:
    assert fault_of(README, "docs/nothing.md") == "there is no docs/nothing.md"
    assert fault_of(README, "docs/settings.md#nothing") == "no heading of settings.md makes #nothing"
    assert fault_of(README, "docs/settings.md#numbers-of-the-method") is None


@each_page
def test_no_link_leads_out_of_the_repository(page: Path) -> None:
    assert [link for link in inner(page) if not target_of(page, link)[0].is_relative_to(ROOT)] == []


def test_every_page_of_the_guide_is_one_step_from_the_readme() -> None:
    reached = {target_of(README, link)[0] for link in inner(README)}
    assert set(GUIDE) - {README} <= reached


def test_every_picture_is_shown_and_light() -> None:
    shown = {target_of(page, link)[0] for page in GUIDE for link in inner(page)}
    pictures = {each for each in DOCS.iterdir() if each.suffix in (".svg", ".png", ".webp")}
    assert pictures <= shown
    assert all(each.stat().st_size < 150_000 for each in pictures)


def commands_in(text: str) -> set[str]:
    """The commands that rows of tables are about: `dittod demos list`, `show ID` names two of one group."""
    named: set[str] = set()
    for first, *_ in rows_of(text):
        group = ""
        for span in SPAN.findall(first):
            words = span.split()
            start = words[1:] if words[0] == "dittod" else [group, *words]
            known = [" ".join(start[:count]) for count in (2, 1) if " ".join(start[:count]).strip() in TO_RUN]
            named.update(each.strip() for each in known[:1])
            group = start[0] if known and " " in known[0] else ""
    return named


def test_the_page_of_commands_has_every_command_and_no_other() -> None:
    assert commands_in((DOCS / "cli.md").read_text(encoding="utf-8")) == TO_RUN


def test_the_readme_has_every_command_in_its_group() -> None:
    rows = rows_of(section_of(README, "## Commands"))
    assert {row[0]: tuple(SPAN.findall(row[1])) for row in rows} == GROUPS
