from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import demonstration, finish, tiny_base

from dittod.engine.protocol import AdapterRef, Update
from dittod.judge.gate import Candidate, decide, judge, likelihood_objection, objections
from dittod.judge.guards import Findings
from dittod.learner.ditto import Outcome
from dittod.learner.optimiser import take_step
from dittod.learner.step import backward_likelihood
from dittod.learner.workbench import Workbench, encode
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Demonstration

CLEAN = Findings(outputs=8)
OUTCOME = Outcome("policy", "reference", 4, None, {})


def figures(ditto: float, supervised: float, base: float = 3.0, served: float | None = None) -> dict[str, float]:
    found = {"held_out_texts": 4.0, "held_out_tokens": 200.0, "base_nats_per_token": base}
    found |= {"ditto_nats_per_token": ditto, "supervised_nats_per_token": supervised}
    return found if served is None else {**found, "served_nats_per_token": served}


def test_dittos_policy_is_promoted_where_it_beats_base_and_nothing_is_served() -> None:
    kind, verdict = decide(figures(2.5, 2.4), [Candidate("ditto", CLEAN, ("Dear Ann",))])
    assert (kind, verdict.promoted, verdict.outputs) == ("ditto", True, ("Dear Ann",))
    assert "2.500" in verdict.reasons[0]
    assert "base model" in verdict.reasons[0]


def test_what_is_served_is_the_rival_not_the_base() -> None:
    """2.5 beats base's 3.0, and loses to the 2.3 that is served."""
    candidates = [Candidate("ditto", CLEAN), Candidate("supervised", CLEAN)]
    kind, verdict = decide(figures(2.5, 2.4, served=2.3), candidates)
    assert (kind, verdict.promoted) == ("ditto", False)
    assert "served adapter" in verdict.reasons[0]


def test_equal_is_not_better() -> None:
    assert likelihood_objection("ditto", figures(3.0, 2.0))


def test_a_figure_that_is_no_number_is_not_better() -> None:
    assert likelihood_objection("ditto", figures(float("nan"), 2.0))
    assert likelihood_objection("ditto", figures(2.0, 2.0, base=float("nan")))


def test_the_supervised_policy_steps_in_where_dittos_is_less_likely_than_base() -> None:
    kind, verdict = decide(figures(3.2, 2.4), [Candidate("ditto", CLEAN), Candidate("supervised", CLEAN, ("Hi",))])
    assert (kind, verdict.promoted, verdict.outputs) == ("supervised", True, ("Hi",))
    assert "supervised policy" in verdict.reasons[0]
    assert "DITTO's policy" in verdict.reasons[1]


def test_the_supervised_policy_steps_in_where_dittos_trips_a_guard() -> None:
    candidates = [Candidate("ditto", Findings(8, loops=3)), Candidate("supervised", CLEAN)]
    kind, verdict = decide(figures(2.2, 2.4), candidates)
    assert (kind, verdict.promoted) == ("supervised", True)
    assert "3 of 8 answers of DITTO's policy repeat themselves in a loop." in verdict.reasons


def test_the_supervised_policy_does_not_step_in_where_it_fails_too() -> None:
    candidates = [Candidate("ditto", Findings(8, copies=8)), Candidate("supervised", Findings(8, copies=8))]
    kind, verdict = decide(figures(2.2, 2.4), candidates)
    assert (kind, verdict.promoted, len(verdict.reasons)) == ("ditto", False, 2)


def test_an_unlikely_supervised_policy_is_named_though_it_wrote_nothing() -> None:
    _, verdict = decide(figures(3.2, 3.1), [Candidate("ditto", CLEAN)])
    assert not verdict.promoted
    assert "the supervised policy" in verdict.reasons[1]


@pytest.mark.parametrize("guard", ["empty", "endless", "loops", "copies"])
def test_every_guard_is_decisive_above_a_quarter_of_the_outputs(guard: str) -> None:
    assert objections(Candidate("ditto", replace(CLEAN, **{guard: 2})), figures(2.0, 2.0)) == []
    assert len(objections(Candidate("ditto", replace(CLEAN, **{guard: 3})), figures(2.0, 2.0))) == 1


def test_without_held_out_texts_nothing_changes() -> None:
    kind, verdict = decide({"held_out_texts": 1.0, "held_out_tokens": 9.0}, [])
    assert (kind, verdict.promoted) == ("ditto", False)
    assert "cannot be measured" in verdict.reasons[0]


def test_findings_are_among_the_figures() -> None:
    _, verdict = decide(figures(2.0, 2.0), [Candidate("ditto", Findings(8, endless=1))])
    assert verdict.figures["ditto_endless"] == 1
    assert verdict.figures["ditto_outputs"] == 8


# --- on the tiny model --------------------------------------------------------------------------------------------

LEARNT = (demonstration("Ask Bo", "Bo, lunch?"),)
HELD_OUT = (demonstration("Ask Cy", "Cy, tea?"), demonstration("Ask Di", "Di, rum?"), demonstration("Ask Ed", "Ed!"))


def update(tmp_path: Path, **changes: object) -> Update:
    made = Update("u", str(tmp_path / "run"), str(tmp_path / "adapters"), "clean", 3, LEARNT, HELD_OUT, None)
    return replace(made, **changes)  # type: ignore[arg-type]


def learn(workbench: Workbench, name: str, texts: tuple[Demonstration, ...] = HELD_OUT, *, steps: int = 20) -> None:
    """By heart; on the held-out texts, what no honest update does, but sure to be better than base."""
    workbench.adapters.create(name, LoraShape(rank=16, alpha=32), seed=0)
    parameters = workbench.adapters.parameters(name)
    optimiser = torch.optim.AdamW(parameters, lr=1e-2)
    own = [encode(workbench.base, each) for each in texts]
    for _ in range(steps):
        finish(backward_likelihood(workbench, name, own))
        take_step(optimiser, 1e-2, 1.0)


def spoil(workbench: Workbench, name: str) -> None:
    workbench.adapters.create(name, LoraShape(rank=8, alpha=16), seed=0)
    for value in workbench.adapters.parameters(name):
        value.data.normal_(0, 1, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    torch.set_num_threads(1)
    base = tiny_base(tmp_path / "model")
    base.model.model.norm.weight.data.mul_(6)  # logits large enough to be sure of something
    adapters = LoraAdapters(base)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=32))


def test_a_policy_that_knows_the_held_out_texts_is_promoted(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy")
    spoil(workbench, "reference")
    seen, judgement = finish(judge(workbench, update(tmp_path), OUTCOME))
    assert (judgement.kind, judgement.adapter, judgement.verdict.promoted) == ("ditto", "policy", True)
    assert len(judgement.verdict.outputs) == 6
    assert {each.phase for each in seen} == {"gate"}
    found = judgement.verdict.figures
    assert found["ditto_nats_per_token"] < found["base_nats_per_token"] < found["supervised_nats_per_token"]
    assert found["held_out_tokens"] == sum(len(encode(workbench.base, each).completion_ids) for each in HELD_OUT)


def test_the_supervised_policy_is_judged_where_dittos_fails(workbench: Workbench, tmp_path: Path) -> None:
    spoil(workbench, "policy")
    learn(workbench, "reference")
    _, judgement = finish(judge(workbench, update(tmp_path), OUTCOME))
    assert (judgement.kind, judgement.adapter, judgement.verdict.promoted) == ("supervised", "reference", True)


def test_a_served_adapter_is_read_from_disk_and_let_go(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy", steps=10)
    learn(workbench, "better", steps=20)
    workbench.adapters.save("better", tmp_path / "better")
    workbench.adapters.copy("policy", "reference")
    served = AdapterRef("better", str(tmp_path / "better"))
    _, judgement = finish(judge(workbench, update(tmp_path, served=served), OUTCOME))
    assert not judgement.verdict.promoted
    assert "served_nats_per_token" in judgement.verdict.figures
    assert set(workbench.adapters.names()) == {"policy", "better", "reference"}


def test_a_served_adapter_that_cannot_be_read_is_no_rival(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy")
    workbench.adapters.copy("policy", "reference")
    served = AdapterRef("gone", str(tmp_path / "gone"))
    _, judgement = finish(judge(workbench, update(tmp_path, served=served), OUTCOME))
    assert judgement.verdict.promoted


def test_a_policy_that_learnt_its_demonstration_by_heart_and_writes_it_everywhere_is_kept_back(
    workbench: Workbench, tmp_path: Path
) -> None:
    """Taught to answer every held-out prompt with the one demonstration: eleven words, all of them its own."""
    told = "Bo come at one for eggs and tea by the mill"
    learn(workbench, "policy", tuple(demonstration(each.prompt, told) for each in HELD_OUT), steps=50)
    workbench.adapters.copy("policy", "reference")
    given = update(tmp_path, demonstrations=(demonstration("Ask Bo", told),))
    _, judgement = finish(judge(workbench, given, OUTCOME))
    assert not judgement.verdict.promoted
    assert judgement.verdict.figures["ditto_copies"] > 1


def test_one_held_out_text_is_too_few(workbench: Workbench, tmp_path: Path) -> None:
    spoil(workbench, "policy")
    spoil(workbench, "reference")
    _, judgement = finish(judge(workbench, update(tmp_path, held_out=HELD_OUT[:1]), OUTCOME))
    assert (judgement.verdict.promoted, judgement.verdict.outputs) == (False, ())


def test_none_is_too_few(workbench: Workbench, tmp_path: Path) -> None:
    spoil(workbench, "policy")
    spoil(workbench, "reference")
    _, judgement = finish(judge(workbench, update(tmp_path, held_out=()), OUTCOME))
    assert not judgement.verdict.promoted


def test_the_same_update_is_judged_the_same_twice(workbench: Workbench, tmp_path: Path) -> None:
    learn(workbench, "policy", steps=10)
    workbench.adapters.copy("policy", "reference")
    first, second = (finish(judge(workbench, update(tmp_path), OUTCOME))[1] for _ in range(2))
    assert first == second


def test_no_reason_quotes_the_user(workbench: Workbench, tmp_path: Path) -> None:
    spoil(workbench, "policy")
    spoil(workbench, "reference")
    stopped = replace(OUTCOME, stopped="Preference learning stopped after step 3.")
    _, judgement = finish(judge(workbench, update(tmp_path), stopped))
    assert judgement.verdict.reasons[-1] == stopped.stopped
    text = " ".join(judgement.verdict.reasons)
    assert not any(each.completion in text or each.prompt in text for each in (*LEARNT, *HELD_OUT))
