"""Settings: file, environment, defaults; what cannot be used is named with its remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dittod.config import load_settings
from dittod.errors import SettingsError
from dittod.paths import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path))
    return Home(tmp_path)


def test_without_a_file_the_defaults_hold_and_the_folder_lies_in_the_home(home: Home) -> None:
    settings = load_settings(home)
    assert (settings.port, settings.base_model, settings.watched_folder) == (3488, "starter", home.root / "watched")


def test_the_environment_wins_over_the_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.settings.write_text("port = 1\ndemonstrations = 5\nlearner = {samples = 3}\n")
    monkeypatch.setenv("DITTOD_PORT", "2")
    settings = load_settings(home)
    assert (settings.port, settings.demonstrations, settings.learner) == (2, 5, {"samples": 3.0})


@pytest.mark.parametrize(
    ("text", "title", "hint"),
    [
        ("prot = 1", "unknown setting prot", "did you mean port?"),
        ("port = 70000", "setting port cannot be 70000", "DITTOD_PORT"),
        ("port = ", "not valid TOML", "correct that line"),
        ('preset = "fast"', "setting preset cannot be 'fast'", "dittod.toml"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(home: Home, text: str, title: str, hint: str) -> None:
    home.settings.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert title in caught.value.title and hint in caught.value.hint


def test_an_unknown_variable_names_the_nearest(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_BASEMODEL", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert "DITTOD_BASEMODEL" in caught.value.title and "DITTOD_BASE_MODEL" in caught.value.hint


def test_an_empty_variable_is_no_setting(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_WATCHED_FOLDER", "")
    assert load_settings(home).watched_folder == home.watched


def test_a_list_that_is_no_json_is_an_error_with_an_example(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_IDENTITIES", "me@x.org")
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert "identities" in caught.value.title and "JSON" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "expected"),
    [('"6GiB"', 6 * 2**30), ('"800MB"', 800_000_000), ("1500000000", 1_500_000_000), ('"1.5 GiB"', 3 * 2**29)],
)
def test_a_memory_budget_is_given_with_its_unit_or_in_bytes(home: Home, given: str, expected: int) -> None:
    home.settings.write_text(f"memory_budget = {given}\n")
    assert load_settings(home).memory_budget == expected


def test_without_one_the_memory_budget_is_left_to_the_machine(home: Home) -> None:
    settings = load_settings(home)
    assert (settings.memory_budget, settings.quantisation) == (None, "auto")


@pytest.mark.parametrize("given", ["a lot", "-3GB", "0", "6 GiBi", "1,5GiB", "6.5.5GiB", "6 GiB please", "true"])
def test_a_memory_budget_that_is_no_size_is_an_error_with_an_example(
    home: Home, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("DITTOD_MEMORY_BUDGET", given)
    with pytest.raises(SettingsError) as caught:
        load_settings(home)
    assert repr(given) in caught.value.title and "6GiB" in caught.value.title
    assert "DITTOD_MEMORY_BUDGET" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("IDENTITIES", value) for value in ("me@", "", "@x.org", "...")), ("SECRETS", "a"), ("SECRETS", " -- ")],
)
def test_identities_and_secrets_that_mean_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"DITTOD_{name}", json.dumps([value]))
    with pytest.raises(SettingsError) as error:
        load_settings(Home(tmp_path))
    assert name.lower() in error.value.title and error.value.hint.endswith(f"DITTOD_{name}")
