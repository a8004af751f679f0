"""docs/settings.md says of every setting what it is without a word of the user's, and of no other; likewise of the
numbers of the method."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import fields
from typing import Any

import pytest

from dittod.config import Settings
from dittod.learner.preset import AS_RELEASED, CLEAN, Preset

from .pages import DOCS, SPAN, rows_of, section_of

PAGE = DOCS / "settings.md"
SETTINGS = {
    name: default
    for names, default, _ in rows_of(section_of(PAGE, "# Settings").partition("\n## ")[0])
    for name in SPAN.findall(names)
}
NUMBERS = rows_of(section_of(PAGE, "## Numbers of the method"))
COMPUTED = {"watched_folder", "memory_budget"}  # None stands for a value that depends on the machine


def value_of(cell: str) -> Any:
    """What a cell says the default is: a value as dittod.toml takes it, or a size as people write it."""
    written = SPAN.fullmatch(cell)
    return tomllib.loads(f"value = {written[1]}")["value"] if written else cell


def in_force(name: str, cell: str) -> Any:
    """The value that a setting has when the cell's is given."""
    return getattr(Settings(**{name: value_of(cell)}), name)


def test_every_setting_has_one_row_and_no_row_is_without_a_setting() -> None:
    named = Counter(
        name
        for names, *_ in rows_of(section_of(PAGE, "# Settings").partition("\n## ")[0])
        for name in SPAN.findall(names)
    )
    assert named == Counter(list(Settings.model_fields))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_default_is_the_one_that_the_page_names(name: str) -> None:
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    if name in COMPUTED:
        assert default is None and not SPAN.fullmatch(SETTINGS[name])
    elif default is None:
        assert SETTINGS[name] == "none"
    else:
        assert in_force(name, SETTINGS[name]) == default


def test_a_wrong_default_would_be_seen() -> None:
    assert in_force("port", "`3489`") != Settings.model_fields["port"].default
    assert in_force("min_free_disk", '`"1 GiB"`') == 2**30 != in_force("min_free_disk", '`"1 GB"`')
    assert in_force("quiet_hours", "`[]`") == () and in_force("learner", "`{}`") == {}


def numbers_of(preset: Preset) -> dict[str, float]:
    """What `learner` may override."""
    values = {each.name: getattr(preset, each.name) for each in fields(preset)}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def test_every_number_of_the_method_has_one_row_and_no_row_is_without_one() -> None:
    assert Counter(name for names, *_ in NUMBERS for name in SPAN.findall(names)) == Counter(list(numbers_of(CLEAN)))


@pytest.mark.parametrize(("column", "preset"), [(1, CLEAN), (2, AS_RELEASED)], ids=["clean", "as_released"])
def test_the_numbers_are_those_of_the_presets(column: int, preset: Preset) -> None:
    numbers = numbers_of(preset)
    for row in NUMBERS:
        (name,) = SPAN.findall(row[0])
        same = not row[column] and column == 2
        assert value_of(row[1] if same else row[column]) == numbers[name], name
