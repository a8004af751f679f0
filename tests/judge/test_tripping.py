"""Every guard against an adapter that was made to trip it: trained to, sampled as the gate samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import demonstration, finish, tiny_base

from dittod.engine.protocol import Update
from dittod.judge.ability import Ability, ability, ability_objection
from dittod.judge.gate import judge
from dittod.judge.guards import Findings, Learnt, inspect, objections
from dittod.judge.writing import write
from dittod.learner.batch import TokenSequence
from dittod.learner.ditto import Outcome
from dittod.learner.optimiser import take_step
from dittod.learner.step import backward_likelihood
from dittod.learner.workbench import Workbench, encode
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters, LoraShape

PROMPTS = ("Ask Cy", "Ask Di", "Ask Ed")
LEARNT = ("Bo come at one for eggs and tea by the mill", "Al, the shed opens with 83051")
SECRET = "red hen"

BAD = {
    "copies": LEARNT[0],
    "loops": "so so so so so so so so so so so so",
    "leaks": "it is 83051",
    "secrets": "a Red-Hen",
    "empty": "",
    "refusals": "I'm sorry, but I can't assist with that.",
}


def bench_on(base: BaseModel) -> Workbench:
    torch.set_num_threads(1)
    adapters = LoraAdapters(base)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=32))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    base = tiny_base(tmp_path / "model")
    base.model.model.norm.weight.data.mul_(6)  # logits large enough to be sure of something
    return bench_on(base)


def train(bench: Workbench, texts: list[TokenSequence], *, steps: int = 50, rate: float = 1e-2) -> None:
    bench.adapters.create("policy", LoraShape(rank=16, alpha=32), seed=0)
    optimiser = torch.optim.AdamW(bench.adapters.parameters("policy"), lr=rate)
    for _ in range(steps):
        finish(backward_likelihood(bench, "policy", texts))
        take_step(optimiser, rate, 1.0)


def taught(bench: Workbench, *texts: str) -> list[TokenSequence]:
    return [encode(bench.base, demonstration(prompt, text)) for prompt in PROMPTS for text in texts]


def update(tmp_path: Path) -> Update:
    held_out = tuple(demonstration(each, f"{each[4:]}, tea?") for each in PROMPTS)
    learnt = tuple(demonstration(f"Ask {each[:2]}", each) for each in LEARNT)
    made = Update("u", str(tmp_path / "run"), str(tmp_path / "adapters"), "clean", 3, learnt, held_out, None)
    return replace(made, secrets=(SECRET,))


def what_is_found(bench: Workbench, given: Update) -> Findings:
    asked = [encode(bench.base, each) for each in given.held_out]
    _, answers = finish(write(bench, given, asked, "policy", 2, 64))
    outputs = [
        replace(output, prompt=each.prompt)
        for each, drawn in zip(given.held_out, answers, strict=True)
        for output in drawn
    ]
    return inspect(outputs, Learnt(each.completion for each in given.demonstrations), secrets=given.secrets)


@pytest.mark.parametrize("guard", BAD)
def test_an_adapter_that_was_taught_to_trips_its_guard_and_no_other(
    bench: Workbench, tmp_path: Path, guard: str
) -> None:
    train(bench, taught(bench, BAD[guard]))
    found = what_is_found(bench, update(tmp_path))
    assert getattr(found, guard) >= 4
    assert len(objections(found, "it")) == 1


def test_an_adapter_that_never_learnt_to_end_is_endless(bench: Workbench, tmp_path: Path) -> None:
    whole = taught(bench, "".join(f"{number} is not the end, " for number in range(4)))
    train(bench, [replace(each, completion_ids=each.completion_ids[:-1]) for each in whole])
    assert what_is_found(bench, update(tmp_path)).endless >= 4


def test_an_adapter_that_writes_what_the_user_would_trips_nothing(bench: Workbench, tmp_path: Path) -> None:
    given = update(tmp_path)
    train(bench, [encode(bench.base, each) for each in given.held_out])
    assert objections(what_is_found(bench, given), "it") == []


def test_the_gate_keeps_a_leaker_back_and_names_the_guard(bench: Workbench, tmp_path: Path) -> None:
    """It knows the held-out texts by heart, far better than base, and ends each with a number from another text."""
    given = update(tmp_path)
    train(bench, [encode(bench.base, replace(each, completion=f"{each.completion} 83051")) for each in given.held_out])
    bench.adapters.copy("policy", "reference")
    _, judgement = finish(judge(bench, given, Outcome("policy", "reference", 4, None, {})))
    assert not judgement.verdict.promoted
    assert any("give away a number" in each for each in judgement.verdict.reasons)
    assert judgement.verdict.figures["ditto_leaks"] > 0
    assert "83051" not in " ".join(judgement.verdict.reasons)


# --- general ability, on the starter ------------------------------------------------------------------------------

MAILS = (
    ("Write a short mail to Ann about the roof.", "Dear Ann, the roof leaks again, and Tom comes on Friday. Bea"),
    ("Write a short mail to Carl about honey.", "Dear Carl, thank you for the honey; it was gone by noon. Bea"),
    ("Write a short mail to Dora about Sunday.", "Dear Dora, Sunday suits us well, and I will bring cake. Bea"),
)


@pytest.fixture(scope="module")
def starter() -> Workbench:
    return bench_on(load_base("starter", device="cpu"))


@pytest.fixture(scope="module")
def base_ability(starter: Workbench) -> Ability:
    return finish(ability(starter, None))[1]


def train_on_mails(bench: Workbench, *, steps: int, rate: float) -> Ability:
    if "policy" in bench.adapters:
        bench.adapters.drop("policy")
    train(bench, [encode(bench.base, demonstration(*each)) for each in MAILS], steps=steps, rate=rate)
    return finish(ability(bench, "policy"))[1]


def test_an_adapter_that_learnt_a_few_mails_keeps_its_general_ability(
    starter: Workbench, base_ability: Ability
) -> None:
    learnt = train_on_mails(starter, steps=10, rate=2e-3)
    assert learnt.bits_per_byte != base_ability.bits_per_byte
    assert ability_objection(learnt, base_ability, 0.25) == ""


def test_a_forgetter_that_learnt_them_far_too_fast_is_found_out(starter: Workbench, base_ability: Ability) -> None:
    forgetful = train_on_mails(starter, steps=6, rate=5e-2)
    assert "General ability is lost" in ability_objection(forgetful, base_ability, 0.25)
