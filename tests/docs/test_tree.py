"""The README's tree is the repository's: what it names exists, and nothing at the core's top is left out."""

from __future__ import annotations

import re

from .pages import README, ROOT, section_of

LINES = section_of(README, "## The tree").partition("```text\n")[2].partition("```")[0].splitlines()


def paths() -> set[str]:
    """Of every line, from the root on."""
    found, above = set(), [""]
    for line in LINES:
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        above[depth + 1 :] = [f"{above[depth]}{name}"]
        found.add(f"{above[depth]}{name}")
    return found


def beside() -> set[str]:
    """Modules of the core that are named in the words about another."""
    return {f"dittod/{name}" for line in LINES for name in re.findall(r"\b\w+\.py\b", line.strip().partition(" ")[2])}


def test_everything_in_the_tree_exists() -> None:
    assert [each for each in paths() | beside() if not (ROOT / each).exists()] == []
    assert [each for each in paths() if (ROOT / each).is_dir() is not each.endswith("/")] == []


def test_no_package_or_module_of_the_core_is_left_out() -> None:
    core = [each for each in (ROOT / "dittod").iterdir() if not each.name.startswith("_")]
    there = {f"dittod/{each.name}{'/' if each.is_dir() else ''}" for each in core}
    assert there - paths() - beside() == set()
