"""Who takes part, and whose weights are in memory when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import demonstration, equal, tiny_base

from dittod.engine.protocol import AdapterRef, Update
from dittod.errors import ModelError
from dittod.judge.candidates import LENT, SERVED, Candidate, Lineup, candidates_of, named
from dittod.learner import iterates
from dittod.learner.ditto import Outcome
from dittod.learner.task import Task, prepare
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Recipe

BASE = named(Recipe("base"))
OUTCOME = Outcome("policy", "reference", 6, None, {})
LEARNT = (demonstration("Ask Bo", "Bo, lunch?"), demonstration("Ask Al", "Al, bread?"))


def names(rival: Candidate = BASE, examples: int = 0, steps: int = 6, rounds: tuple[int, ...] = ()) -> list[str]:
    return [each.name for each in candidates_of(rival, examples, steps, rounds)]


def test_the_rival_is_no_candidate_and_the_simplest_come_first() -> None:
    assert names(rounds=(1, 2)) == ["supervised", "ditto-1", "ditto-2", "ditto"]
    assert names(Candidate(SERVED, Recipe("ditto"))) == ["base", "supervised", "ditto"]


def test_with_examples_there_are_as_many_again_but_for_iterates() -> None:
    found = names(examples=3, rounds=(1,))
    assert found == ["supervised", "ditto-1", "ditto", "few_shot", "supervised_few_shot", "ditto_few_shot"]


def test_base_with_as_many_examples_as_are_served_is_what_is_served() -> None:
    assert "few_shot" not in names(Candidate(SERVED, Recipe("base", examples=3)), 3)
    assert "few_shot" in names(Candidate(SERVED, Recipe("base", examples=2)), 3)
    assert "few_shot" in names(Candidate(SERVED, Recipe("ditto", examples=3)), 3)


def test_without_a_step_of_preference_learning_there_is_no_ditto() -> None:
    assert names(steps=0, rounds=()) == ["supervised"]


def test_every_recipe_has_words_of_its_own() -> None:
    everybody = candidates_of(Candidate(SERVED, Recipe("ditto")), 3, 6, (1, 2))
    words = [each.words for each in (Candidate(SERVED, Recipe("ditto", examples=3)), *everybody)]
    assert len(set(words)) == len(words)
    assert {"what is served now", "the base model with examples", "DITTO's policy after round 2"} <= set(words)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    torch.set_num_threads(1)
    base = tiny_base(tmp_path / "model")
    adapters = LoraAdapters(base)
    for seed, name in enumerate(("policy", "reference", "another")):
        adapters.create(name, LoraShape(rank=4, alpha=8), seed=seed)
    adapters.save("another", tmp_path / "served")
    adapters.drop("another")
    bench = Workbench(base, adapters, Decoder(base, adapters, max_rows=4))
    numbers = {"rank": 4.0, "alpha": 8.0, "resample_every": 2.0, "dpo_steps": 8.0}
    given = Update("u", str(tmp_path / "run"), str(tmp_path), "clean", 0, LEARNT, (), None, overrides=numbers)
    return prepare(bench, given)


def served(task: Task, tmp_path: Path, **changes: object) -> Task:
    reference = replace(AdapterRef("served", str(tmp_path / "served")), **changes)  # type: ignore[arg-type]
    return replace(task, update=replace(task.update, served=reference))


def keep_iterate(task: Task, number: int, seed: int, name: str = "policy") -> dict[str, torch.Tensor]:
    weights = task.workbench.adapters.state(name)
    changed = {key: value + seed for key, value in weights.items()}
    iterates.save(task.directory, task.fingerprint, number, changed)
    return changed


def test_policy_reference_and_base_are_in_memory_already(task: Task) -> None:
    lineup = Lineup(task, OUTCOME)
    assert lineup.rival == BASE
    wanted = [Recipe("ditto"), Recipe("supervised"), Recipe("base"), Recipe("ditto", examples=3)]
    assert [lineup.adapter(named(each)) for each in wanted] == ["policy", "reference", None, "policy"]
    assert task.workbench.adapters.names() == ["policy", "reference"]


def test_served_and_iterates_take_turns_in_one_place(task: Task, tmp_path: Path) -> None:
    first, second = keep_iterate(task, 1, 1), keep_iterate(task, 2, 2)
    adapters = task.workbench.adapters
    lineup = Lineup(served(task, tmp_path), OUTCOME)
    assert [each.name for each in lineup.candidates] == ["base", "supervised", "ditto-1", "ditto-2", "ditto"]
    before = adapters.state(LENT)
    for number, weights in ((1, first), (2, second), (1, first)):
        assert lineup.adapter(named(Recipe("ditto", number))) == LENT
        assert equal(adapters.state(LENT), weights)
    assert lineup.adapter(lineup.rival) == LENT and equal(adapters.state(LENT), before)
    assert len(adapters.names()) == 3
    lineup.let_go_but("policy")
    assert adapters.names() == ["policy", "reference"]


def test_an_iterate_that_the_last_policy_equals_or_that_is_damaged_is_left_out(task: Task) -> None:
    """Six steps, two for each round: after the third, the policy is the last one itself."""
    for number in (1, 2, 3):
        keep_iterate(task, number, number)
    (task.directory / "iterate-000001").write_bytes(b"torn")
    assert [each.name for each in Lineup(task, OUTCOME).candidates] == ["supervised", "ditto-2", "ditto"]


def test_an_iterate_that_goes_meanwhile_is_no_silent_other(task: Task) -> None:
    keep_iterate(task, 1, 1)
    lineup = Lineup(task, OUTCOME)
    (task.directory / "iterate-000001").unlink()
    with pytest.raises(ModelError, match="gone from the disk"):
        lineup.adapter(named(Recipe("ditto", 1)))


def test_a_served_version_without_weights_is_a_rival_that_needs_no_file(task: Task, tmp_path: Path) -> None:
    given = served(task, tmp_path, path=str(tmp_path / "nowhere"), weights=False, examples=3)
    lineup = Lineup(given, OUTCOME)
    assert (lineup.rival, lineup.adapter(lineup.rival)) == (Candidate(SERVED, Recipe("base", examples=3)), None)


def test_a_served_version_that_cannot_be_read_is_no_rival(task: Task, tmp_path: Path) -> None:
    lineup = Lineup(served(task, tmp_path, path=str(tmp_path / "nowhere")), OUTCOME)
    assert lineup.rival == BASE
    assert LENT not in task.workbench.adapters


def test_what_learning_was_to_lead_to_is_ditto_if_it_came_so_far(task: Task) -> None:
    assert Lineup(task, OUTCOME).learnt.name == "ditto"
    assert Lineup(task, replace(OUTCOME, steps=0)).learnt.name == "supervised"
