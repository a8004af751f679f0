"""Whole judgements on the tiny model, with adapters that are better, worse, spoilt or cheating on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import demonstration, finish, make_tiny_model, teach, tiny_base

from dittod.engine.protocol import AdapterRef, Update
from dittod.judge import gate, hearing
from dittod.judge.ability import Ability
from dittod.judge.candidates import LENT
from dittod.judge.gate import Judgement, judge
from dittod.learner import iterates
from dittod.learner.ditto import Outcome
from dittod.learner.optimiser import take_step
from dittod.learner.step import backward_likelihood
from dittod.learner.task import prepare
from dittod.learner.workbench import Workbench, encode
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Demonstration, Recipe

LEARNT = tuple(
    demonstration(f"Ask {name}", f"{name}, {what}? Ta, Kit", written_at=float(place))
    for place, (name, what) in enumerate([("Bo", "lunch"), ("Al", "bread"), ("Jo", "a run"), ("Ed", "a cup")])
)
HELD_OUT = tuple(
    demonstration(f"Ask {name}", f"{name}, {what}? Ta, Kit", written_at=9.0 + place)
    for place, (name, what) in enumerate([("Cy", "tea"), ("Di", "rum"), ("Mo", "eggs")])
)
OUTCOME = Outcome("policy", "reference", 4, None, {})
OVERRIDES = {"resample_every": 2.0, "dpo_steps": 6.0}


def update(tmp_path: Path, **changes: object) -> Update:
    made = Update("u", str(tmp_path / "run"), str(tmp_path / "adapters"), "clean", 3, LEARNT, HELD_OUT, None)
    return replace(made, **{"overrides": OVERRIDES, **changes})  # type: ignore[arg-type]


Texts = tuple[Demonstration, ...]
LESSONS: dict[tuple[Texts, int], dict[str, torch.Tensor]] = {}  # all tiny models are equal: learnt once for all tests


def learn(workbench: Workbench, name: str, texts: Texts = HELD_OUT, *, steps: int = 40) -> None:
    """By heart; on the held-out texts, what no honest update does, but sure to be better than base."""
    workbench.adapters.create(name, LoraShape(rank=16, alpha=32), seed=0)
    if (texts, steps) not in LESSONS:
        train(workbench, name, texts, steps)
        LESSONS[texts, steps] = workbench.adapters.state(name)
    workbench.adapters.load_state(name, LESSONS[texts, steps])


def train(workbench: Workbench, name: str, texts: Texts, steps: int) -> None:
    optimiser = torch.optim.AdamW(workbench.adapters.parameters(name), lr=1e-2)
    own = [encode(workbench.base, each) for each in texts]
    for _ in range(steps):
        finish(backward_likelihood(workbench, name, own))
        take_step(optimiser, 1e-2, 1.0)


def spoil(workbench: Workbench, name: str) -> None:
    workbench.adapters.create(name, LoraShape(rank=16, alpha=32), seed=0)
    for value in workbench.adapters.parameters(name):
        value.data.normal_(0, 1, generator=torch.Generator().manual_seed(0))


def judged(workbench: Workbench, given: Update, outcome: Outcome = OUTCOME) -> Judgement:
    seen, judgement = finish(judge(workbench, given, outcome))
    assert {each.phase for each in seen} <= {"gate"} and all(0 <= each.done <= each.of for each in seen)
    assert not seen or seen[-1].done == seen[-1].of
    return judgement


@pytest.fixture(autouse=True)
def _no_general_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that knows three texts by heart has forgotten bytes at large; test_tripping.py has that guard."""

    def measure(_: Workbench, adapter: str | None) -> Iterator[int]:
        yield 1
        return Ability(float(len(adapter or "")), (True,))

    monkeypatch.setattr(hearing, "ability", measure)
    monkeypatch.setattr(gate, "ability_objection", lambda *_: "")


def bench_on(base: BaseModel) -> Workbench:
    adapters = LoraAdapters(base)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=32))


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    torch.set_num_threads(1)
    base = tiny_base(tmp_path / "model")
    base.model.model.norm.weight.data.mul_(6)  # logits large enough to be sure of something
    return bench_on(base)


def test_a_policy_that_writes_as_the_person_does_is_promoted_with_its_figures(
    workbench: Workbench, tmp_path: Path
) -> None:
    learn(workbench, "policy")
    spoil(workbench, "reference")
    found = judged(workbench, update(tmp_path))
    assert (found.recipe, found.adapter, found.verdict.promoted) == (Recipe("ditto"), "policy", True)
    figures = found.verdict.figures
    assert figures["ditto_nats_per_token"] < figures["base_nats_per_token"] < figures["supervised_nats_per_token"]
    assert figures["candidate_nats_per_token"] == figures["ditto_nats_per_token"]
    assert figures["ditto_verifier"] > figures["base_verifier"] and figures["ditto_style"] < figures["base_style"]
    assert figures["panel_low"] < figures["panel_mean"] == figures["ditto_advantage"] < figures["panel_high"]
    assert (figures["held_out_texts"], figures["ditto_outputs"]) == (3, 6)
    assert figures["held_out_tokens"] == sum(len(encode(workbench.base, each).completion_ids) for each in HELD_OUT)


def test_the_first_answers_of_the_candidate_and_of_base_are_kept_for_every_prompt(
    workbench: Workbench, tmp_path: Path
) -> None:
    learn(workbench, "policy")
    spoil(workbench, "reference")
    outputs = judged(workbench, update(tmp_path)).verdict.outputs
    assert [(each.by, each.demonstration_id) for each in outputs] == [
        (name, each.id) for name in ("ditto", "base") for each in HELD_OUT
    ]
    assert outputs[0].text == HELD_OUT[0].completion


def test_whom_likelihood_is_sure_to_be_worse_does_not_write(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy")
    spoil(workbench, "reference")
    figures = judged(workbench, update(tmp_path)).verdict.figures
    assert "supervised_nats_per_token" in figures and "supervised_verifier" not in figures


def test_the_supervised_policy_is_promoted_where_dittos_is_spoilt(workbench: Workbench, tmp_path: Path) -> None:
    spoil(workbench, "policy")
    learn(workbench, "reference")
    found = judged(workbench, update(tmp_path))
    assert (found.recipe, found.adapter, found.verdict.promoted) == (Recipe("supervised"), "reference", True)


def test_an_iterate_that_is_better_than_the_last_is_promoted_and_stays_in_memory(
    workbench: Workbench, tmp_path: Path
) -> None:
    given = update(tmp_path)
    task = prepare(workbench, given)
    learn(workbench, "policy")
    good = workbench.adapters.state("policy")
    iterates.save(task.directory, task.fingerprint, 1, good)
    spoil(workbench, "policy")
    iterates.save(task.directory, task.fingerprint, 2, workbench.adapters.state("policy"))
    spoil(workbench, "reference")
    found = judged(workbench, given, replace(OUTCOME, steps=6))
    assert (found.recipe, found.adapter, found.verdict.promoted) == (Recipe("ditto", 1), LENT, True)
    assert all(torch.equal(value, good[key]) for key, value in workbench.adapters.state(LENT).items())
    assert {"ditto-1_verifier", "ditto-2_nats_per_token"} <= found.verdict.figures.keys()


def test_examples_are_judged_in_the_prompt_and_a_version_may_have_no_weights(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base was made to say what was said before: an induction head in two layers is more than a test can train, so
    the candidate's likelihood is set by what stands in its prompt."""
    read: list[tuple[int, ...]] = []
    original = gate.Hearing._after_prompts

    def note(self: gate.Hearing, examples: int) -> list[object]:
        sequences = original(self, examples)
        read.append((examples, *(len(each.prompt_ids) for each in sequences)))
        return sequences  # type: ignore[return-value]

    monkeypatch.setattr(gate.Hearing, "_after_prompts", note)
    spoil(workbench, "policy")
    spoil(workbench, "reference")
    found = judged(workbench, update(tmp_path, pool=LEARNT, examples=2))
    assert {"few_shot_nats_per_token", "ditto_few_shot_nats_per_token"} <= found.verdict.figures.keys()
    plain, longer = (next(each[1:] for each in read if each[0] == examples) for examples in (0, 2))
    assert all(many > few + 30 for few, many in zip(plain, longer, strict=True))


def test_without_a_pool_there_are_no_examples_to_be_judged(workbench: Workbench, tmp_path: Path) -> None:
    spoil(workbench, "policy")
    spoil(workbench, "reference")
    assert "few_shot_nats_per_token" not in judged(workbench, update(tmp_path, examples=3)).verdict.figures


def test_what_is_served_is_the_rival_read_from_disk_and_let_go(workbench: Workbench, tmp_path: Path) -> None:
    """It beats base by far, and the candidate is the same."""
    learn(workbench, "policy")
    workbench.adapters.save("policy", tmp_path / "served")
    workbench.adapters.copy("policy", "reference")
    served = AdapterRef("served", str(tmp_path / "served"))
    found = judged(workbench, update(tmp_path, served=served))
    assert not found.verdict.promoted
    assert found.verdict.reasons[0].startswith("No candidate is better than what is served now")
    figures = found.verdict.figures
    assert figures["served_nats_per_token"] == figures["ditto_nats_per_token"] < figures["base_nats_per_token"]
    assert figures["panel_mean"] == 0
    assert [each.by for each in found.verdict.outputs[::3]] == ["supervised", "served", "base"]
    assert set(workbench.adapters.names()) == {"policy", "reference"}


def test_base_is_promoted_where_what_is_served_has_become_worse(tmp_path: Path) -> None:
    """A base that writes as the person does by itself, and an adapter that spoils it."""
    torch.set_num_threads(1)
    lessons = [(each.prompt, each.completion) for each in HELD_OUT]
    workbench = bench_on(load_base(str(teach(make_tiny_model(tmp_path / "model"), lessons, steps=60)), device="cpu"))
    spoil(workbench, "policy")
    workbench.adapters.copy("policy", "reference")
    workbench.adapters.save("policy", tmp_path / "served")
    found = judged(workbench, update(tmp_path, served=AdapterRef("served", str(tmp_path / "served"))))
    assert (found.recipe, found.adapter, found.verdict.promoted) == (Recipe("base"), None, True)
    assert found.verdict.figures["base_advantage"] > found.verdict.figures["ditto_advantage"] == 0


def test_a_served_adapter_that_cannot_be_read_is_no_rival(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy")
    workbench.adapters.copy("policy", "reference")
    found = judged(workbench, update(tmp_path, served=AdapterRef("gone", str(tmp_path / "gone"))))
    assert found.verdict.promoted and "served_nats_per_token" not in found.verdict.figures


def test_a_guard_keeps_back_whom_all_judges_would_let_pass(workbench: Workbench, tmp_path: Path) -> None:
    """Both know the held-out texts by heart, and have the demonstration in front of each."""
    told = "Bo come at one for eggs and tea by the mill Ta, Kit"
    learnt = (*LEARNT[1:], demonstration("Ask Bo", told))
    copying = tuple(demonstration(each.prompt, told) for each in HELD_OUT)
    learn(workbench, "policy", (*copying, *HELD_OUT), steps=50)
    workbench.adapters.copy("policy", "reference")
    found = judged(workbench, update(tmp_path, demonstrations=learnt))
    assert not found.verdict.promoted
    assert found.verdict.figures["ditto_copies"] > 1
    assert any("copy a demonstration" in each for each in found.verdict.reasons)


def test_a_demonstration_that_is_there_twice_is_copied_as_well(workbench: Workbench, tmp_path: Path) -> None:
    told = "Bo come at one for eggs and tea by the mill Ta, Kit"
    learnt = tuple(demonstration(asked, told) for asked in ("Ask Bo", "Ask Bo again"))
    learn(workbench, "policy", tuple(demonstration(each.prompt, told) for each in HELD_OUT), steps=50)
    workbench.adapters.save("policy", tmp_path / "served")
    workbench.adapters.copy("policy", "reference")
    served = AdapterRef("served", str(tmp_path / "served"))  # else likelihood would have a veto
    found = judged(workbench, update(tmp_path, demonstrations=learnt, served=served))
    assert found.verdict.figures["supervised_copies"] > 1


def test_between_texts_and_candidates_of_the_guards_something_else_can_be_done(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(workbench, "policy")
    workbench.adapters.copy("policy", "reference")
    calls: list[str] = []
    add, original = gate.Learnt.add, gate.inspect
    monkeypatch.setattr(gate.Learnt, "add", lambda self, text: (calls.append("text"), add(self, text))[1])
    monkeypatch.setattr(gate, "inspect", lambda *args, **named: (calls.append("look"), original(*args, **named))[1])
    between = [len(calls) for _ in judge(workbench, update(tmp_path), OUTCOME)]
    assert calls == ["text"] * len(LEARNT) + ["look"] * calls.count("look") and "look" in calls
    assert set(range(len(calls) + 1)) == set(between)


def test_an_objection_to_its_general_ability_brings_the_next_best(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DITTO's weights are said to have forgotten everything; with examples, they are the same weights."""
    learn(workbench, "policy", steps=60)
    learn(workbench, "reference", steps=25)
    asked: list[Ability] = []

    def object_to_the_first(candidate: Ability, base: Ability, max_loss: float) -> str:
        asked.append(candidate)
        return "General ability is lost." if candidate == asked[0] else ""

    monkeypatch.setattr(gate, "ability_objection", object_to_the_first)
    found = judged(workbench, update(tmp_path))
    first, second = ("ditto", "supervised") if found.recipe == Recipe("supervised") else ("supervised", "ditto")
    assert found.verdict.promoted and found.recipe.name == second
    assert any("general ability is lost" in each for each in found.verdict.reasons)
    assert {f"{first}_bits_per_byte", f"{second}_bits_per_byte", "base_bits_per_byte"} <= found.verdict.figures.keys()


@pytest.mark.parametrize("held_out", [0, 1])
def test_too_few_held_out_texts_change_nothing(workbench: Workbench, tmp_path: Path, held_out: int) -> None:
    spoil(workbench, "policy")
    spoil(workbench, "reference")
    found = judged(workbench, update(tmp_path, held_out=HELD_OUT[:held_out]))
    assert (found.recipe, found.adapter, found.verdict.promoted) == (Recipe("ditto"), "policy", False)
    assert "cannot be measured" in found.verdict.reasons[0] and found.verdict.outputs == ()


def test_learning_that_ended_before_its_first_preference_has_a_supervised_policy_only(
    workbench: Workbench, tmp_path: Path
) -> None:
    learn(workbench, "reference")
    workbench.adapters.copy("reference", "policy")
    stopped = Outcome("policy", "reference", 0, "The time limit of 3 s was reached.", {})
    found = judged(workbench, update(tmp_path), stopped)
    assert (found.recipe, found.verdict.reasons[-1]) == (Recipe("supervised"), stopped.stopped)
    assert "ditto_nats_per_token" not in found.verdict.figures


def test_the_same_update_is_judged_the_same_twice(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy", steps=15)
    workbench.adapters.copy("policy", "reference")
    assert judged(workbench, update(tmp_path)) == judged(workbench, update(tmp_path))


def test_left_between_any_two_steps_it_leaves_no_answer_half_drawn(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy", steps=15)
    workbench.adapters.copy("policy", "reference")
    for place in (1, 5, 20, 60, 120):
        work = judge(workbench, update(tmp_path), OUTCOME)
        for _ in range(place):
            next(work)
        work.close()
        assert not workbench.decoder.busy


def test_no_reason_quotes_the_user(workbench: Workbench, tmp_path: Path) -> None:
    spoil(workbench, "policy")
    spoil(workbench, "reference")
    verdict = judged(workbench, update(tmp_path, secrets=("Ta, Kit",))).verdict
    assert verdict.reasons[0].startswith(("Supervised", "The supervised policy", "DITTO's policy"))
    text = " ".join(verdict.reasons)
    assert not any(each.completion in text or each.prompt in text for each in (*LEARNT, *HELD_OUT))
    assert "Kit" not in text
