"""`dittod plan`: a table or JSON from config.json alone, the settings behind it, and errors that can be acted on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import QWEN3_06B

from dittod.cli import plan
from dittod.engine.room import read_shape
from dittod.errors import EngineUnavailable
from dittod.learner.memory import Device


@pytest.fixture
def show_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod):
    """The command on a machine of 16 GB without a card."""
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(plan, "ask", lambda model: (Device("cpu", 2, 16 * 10**9, four_bits=True), read_shape(model)))
    return lambda *arguments: dittod("plan", *arguments)


@pytest.fixture
def qwen(tmp_path: Path) -> str:
    """A folder with a config.json and nothing else."""
    folder = tmp_path / "qwen"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN3_06B))
    return str(folder)


def test_each_choice_has_its_reason_and_the_peak_its_terms(show_plan, qwen: str) -> None:
    code, out, _ = show_plan("--model", qwen, "--budget", "3GiB")
    assert code == 0
    assert "of 3.22 GB" in out
    for expected in ("quantisation", "checkpointing", "sampling_rows", "would need", "weights", "together"):
        assert expected in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_json_holds_the_same_in_bytes(show_plan, qwen: str) -> None:
    found = json.loads(show_plan("--model", qwen, "--budget", "3GiB", "--json")[1])
    assert found["budget_bytes"] == 3 * 2**30
    assert found["plan"].keys() - found["reasons"].keys() == {"peak_bytes"}
    totals = [sum(terms.values()) for terms in found["phases"].values()]
    assert found["plan"]["peak_bytes"] == max(totals) <= found["budget_bytes"]


def test_without_options_the_settings_decide_and_the_budget_is_half_of_the_machine(
    show_plan, qwen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads(show_plan("--json")[1])
    assert (found["base_model"], found["budget_bytes"]) == ("starter", 8 * 10**9)
    monkeypatch.setenv("DITTOD_BASE_MODEL", qwen)
    monkeypatch.setenv("DITTOD_MEMORY_BUDGET", "5GB")
    monkeypatch.setenv("DITTOD_QUANTISATION", "nf4")
    monkeypatch.setenv("DITTOD_PRESET", "as_released")
    found = json.loads(show_plan("--json")[1])
    assert (found["base_model"], found["budget_bytes"]) == (qwen, 5 * 10**9)
    assert (found["plan"]["quantisation"], found["plan"]["rank"]) == ("nf4", 32)


def test_what_does_not_fit_is_refused_with_the_budget_that_would_do(show_plan, qwen: str) -> None:
    code, out, err = show_plan("--model", qwen, "--budget", "500MB")
    assert (code, out) == (1, "")
    assert "the budget is 500 MB" in err and "set memory_budget to" in err


def test_a_budget_that_is_no_size_is_refused_with_an_example(show_plan) -> None:
    code, _, err = show_plan("--budget", "plenty")
    assert code == 1
    assert "'plenty'" in err and "6GiB" in err


def test_a_model_that_was_not_downloaded_is_refused_with_the_command_that_would(show_plan) -> None:
    code, _, err = show_plan("--model", "org/not-here")
    assert code == 1
    assert "org/not-here" in err and "dittod init --model ID" in err


def test_a_child_that_cannot_be_started_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("dittod.cli.plan.subprocess.run", fail)
    with pytest.raises(EngineUnavailable, match="torch could not be asked") as raised:
        plan.ask("starter")
    assert "dittod.engine.room starter" in raised.value.hint
