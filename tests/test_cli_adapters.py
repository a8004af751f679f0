"""What `dittod adapters show` says of how an adapter was learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dittod.paths import Home
from dittod.rows import StepRow
from dittod.store import Store
from dittod.types import Adapter, Run, Verdict

COURSE = (
    *(StepRow("supervised", step, 0, {"loss": 3.0 - step}) for step in (1, 2)),
    StepRow("sampling", 1, 0, {"eos_rate": 0.75}),
    *(StepRow("dpo", step, 0, {"margin": 0.125 * (step - 1), "chosen_drift": -2.0 * step}) for step in (1, 2, 3)),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two adapters: one whose run left figures, and one of a time when none were kept."""
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    made = Home(tmp_path / "home")
    made.create()
    store = Store(made.store)
    for letter in "ab":
        run = store.request_run(Run(f"run-{letter}", letter, "done", 7, "clean", 5.0))
        verdict = Verdict(True, ("likelier",), {"base_nats_per_token": 4.0})
        store.add_adapter(
            Adapter(
                letter * 64, letter, 0, "candidate", "/none", run.id, "starter", "1", "t", (), 7, 1.0, None, verdict
            )
        )
    for step in COURSE:
        store.record_step("run-a", step)
    store.close()
    return made


def shown(dittod, *arguments: str) -> str:
    code, printed, _ = dittod("adapters", "show", *arguments)
    assert not code
    return printed


def test_each_figure_is_shown_with_its_first_and_its_last_value(home: Home, dittod) -> None:
    lines = [line.split() for line in shown(dittod, "a@1").splitlines()]
    table = lines[lines.index(["stage", "steps", "figure", "first", "last"]) + 1 :]
    assert table == [
        ["supervised", "2", "loss", "2", "1"],
        ["sampling", "1", "eos_rate", "0.75", "0.75"],
        ["dpo", "3", "margin", "0", "0.25"],
        ["dpo", "3", "chosen_drift", "-2", "-6"],
    ]


def test_the_document_has_every_step(home: Home, dittod) -> None:
    steps = json.loads(shown(dittod, "a@1", "--json"))["steps"]
    assert [StepRow(**each) for each in steps] == list(COURSE)


def test_an_adapter_without_figures_is_shown_without_them(home: Home, dittod) -> None:
    assert "learning" not in shown(dittod, "b@1")
    assert json.loads(shown(dittod, "b@1", "--json"))["steps"] == []


def test_a_pinned_version_is_shown_as_such_until_it_is_unpinned(home: Home, dittod) -> None:
    assert dittod("adapters", "pin", "a@1")[1].strip() == "a@1 stays until it is unpinned"
    assert "(candidate, pinned)" in shown(dittod, "a@1") and "candidate, pinned" in dittod("adapters", "list")[1]
    listed = json.loads(dittod("adapters", "list", "--json")[1])["adapters"]
    assert {each["profile"]: each["pinned"] for each in listed} == {"a": True, "b": False}
    dittod("adapters", "unpin", "a@1")
    assert "pinned" not in dittod("adapters", "list")[1]


def test_a_pruned_version_is_shown_with_its_figures_and_refused_where_its_weights_are_needed(
    home: Home, dittod
) -> None:
    store = Store(home.store)
    store.prune("a" * 64)
    store.close()
    assert "(pruned)" in shown(dittod, "a@1") and "base_nats_per_token" in shown(dittod, "a@1")
    for command in ("promote", "pin"):
        code, _, said = dittod("adapters", command, "a@1")
        assert code == 1 and "a@1 was pruned: its weights are gone" in said
